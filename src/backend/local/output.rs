//! Following a command's output file: whole characters only, in bounded pieces.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// The most bytes of one piece.
const PIECE_BYTES: usize = 64 * 1024;

/// A place in a growing output file.
#[derive(Debug)]
pub struct OutputReader {
    file: Option<File>,
    offset: u64,
}

impl OutputReader {
    /// Starts at a byte offset.
    pub fn at(offset: u64) -> Self {
        Self { file: None, offset }
    }

    /// The offset after the last piece.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next piece of text, `None` when there is nothing new. Invalid UTF-8 is replaced; the start of a character
    /// at the very end waits for its rest.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn next_piece(&mut self, path: &Path) -> io::Result<Option<String>> {
        if self.file.is_none() {
            self.file = match File::open(path) {
                Ok(file) => Some(file),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(e) => return Err(e),
            };
        }
        let Some(file) = &mut self.file else {
            return Ok(None);
        };
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::with_capacity(PIECE_BYTES);
        file.take(PIECE_BYTES as u64).read_to_end(&mut bytes)?;
        bytes.truncate(whole_characters(&bytes));
        if bytes.is_empty() {
            return Ok(None);
        }
        self.offset += bytes.len() as u64;
        Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
    }
}

/// How many bytes do not end in the middle of a character.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(e) if e.error_len().is_none() => e.valid_up_to(),
        Ok(_) => bytes.len(),
        // Invalid somewhere in the middle: only an unfinished character at the very end has to wait.
        Err(_) => {
            let start = bytes.len().saturating_sub(3);
            (start..bytes.len())
                .find(|at| {
                    let end = bytes.get(*at..).unwrap_or_default();
                    matches!(std::str::from_utf8(end), Err(e) if e.error_len().is_none() && e.valid_up_to() == 0)
                })
                .unwrap_or(bytes.len())
        }
    }
}

/// The last bytes of a file as text, at most `limit` of them.
pub fn tail_of(path: &Path, limit: u64) -> String {
    let (bytes, _) = tail(path, limit).unwrap_or_default();
    // A cut inside the first character leaves continuation bytes, which say nothing.
    let start = bytes.iter().take_while(|b| **b & 0xC0 == 0x80).count();
    String::from_utf8_lossy(bytes.get(start..).unwrap_or_default()).into_owned()
}

/// The whole lines among the last `limit` bytes of a file. One that is longer is left out: without its beginning it says
/// nothing.
pub fn last_lines_of(path: &Path, limit: u64) -> String {
    let (bytes, is_cut) = tail(path, limit).unwrap_or_default();
    let start = match is_cut {
        false => Some(0),
        true => bytes.iter().position(|b| *b == b'\n').map(|end| end + 1),
    };
    let lines = start.and_then(|start| bytes.get(start..));
    String::from_utf8_lossy(lines.unwrap_or_default()).into_owned()
}

/// The last bytes, and whether there are more before them.
fn tail(path: &Path, limit: u64) -> io::Result<(Vec<u8>, bool)> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(limit);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok((bytes, start > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read_all(reader: &mut OutputReader, path: &Path) -> String {
        let mut text = String::new();
        while let Some(piece) = reader.next_piece(path).expect("readable") {
            text.push_str(&piece);
        }
        text
    }

    #[test]
    fn written_byte_by_byte_every_character_arrives_whole() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("out");
        let mut reader = OutputReader::at(0);
        assert_eq!(reader.next_piece(&path).expect("absent is fine"), None);
        let text = "aé€😀 żó";
        let mut file = File::create(&path).expect("creatable");
        let mut seen = String::new();
        for byte in text.as_bytes() {
            file.write_all(&[*byte]).expect("writable");
            seen.push_str(&read_all(&mut reader, &path));
            assert!(text.starts_with(&seen), "{seen}");
        }
        assert_eq!(seen, text);
        assert_eq!(reader.offset(), text.len() as u64);
    }

    #[test]
    fn invalid_bytes_are_replaced_and_do_not_block() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("out");
        std::fs::write(&path, b"a\xff\xfeb\xe2\x82").expect("writable");
        let mut reader = OutputReader::at(0);
        assert_eq!(read_all(&mut reader, &path), "a\u{fffd}\u{fffd}b");
        assert_eq!(reader.offset(), 4);
    }

    #[test]
    fn the_tail_starts_at_a_character() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("out");
        std::fs::write(&path, "äöü").expect("writable");
        assert_eq!(tail_of(&path, 3), "ü");
        assert_eq!(tail_of(&path, 100), "äöü");
        assert_eq!(tail_of(&dir.path().join("absent"), 10), "");
    }

    #[test]
    fn the_last_lines_are_whole() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("out");
        std::fs::write(&path, "first\nsecond\nlast\n").expect("writable");
        assert_eq!(last_lines_of(&path, 100), "first\nsecond\nlast\n");
        assert_eq!(last_lines_of(&path, 11), "last\n");
        assert_eq!(last_lines_of(&path, 4), "");
        std::fs::write(&path, "one line").expect("writable");
        assert_eq!(last_lines_of(&path, 8), "one line");
        assert_eq!(last_lines_of(&path, 7), "");
        assert_eq!(last_lines_of(&dir.path().join("absent"), 10), "");
    }
}
