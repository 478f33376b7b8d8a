//! The lines of a file that only grows, from its end or from its start, a block at a time: memory is bounded by the block
//! and the longest line. Empty lines are passed over.

use std::io;
use std::path::{Path, PathBuf};

use crate::storage::Storage;

/// So much is read at once.
const BLOCK_BYTES: u64 = 128 * 1024;

/// The lines, last one first. What is written meanwhile is not seen.
pub(super) struct Backwards<'a> {
    storage: &'a dyn Storage,
    path: PathBuf,
    block: u64,
    /// What lies before this offset has not been read yet.
    unread: u64,
    /// The start of a line whose beginning has not been read yet.
    cut: Vec<u8>,
    /// Whole lines that have been read, the last one last.
    lines: Vec<Vec<u8>>,
}

impl<'a> Backwards<'a> {
    /// All lines of the file; none when it does not exist.
    pub(super) fn of(storage: &'a dyn Storage, path: &Path) -> io::Result<Self> {
        Self::in_blocks(storage, path, BLOCK_BYTES)
    }

    fn in_blocks(storage: &'a dyn Storage, path: &Path, block: u64) -> io::Result<Self> {
        Ok(Self {
            storage,
            path: path.to_owned(),
            block,
            unread: len(storage, path)?,
            cut: Vec::new(),
            lines: Vec::new(),
        })
    }

    fn read_block(&mut self) -> io::Result<()> {
        let start = self.unread.saturating_sub(self.block);
        // At most a block, which is small.
        let len = (self.unread - start) as usize;
        let mut bytes = self.storage.read_at(&self.path, start, len)?;
        if bytes.len() < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.unread = start;
        bytes.append(&mut self.cut);
        let whole_from = match bytes.iter().position(|b| *b == b'\n') {
            _ if start == 0 => 0,
            Some(newline) => newline + 1,
            None => bytes.len(),
        };
        let whole = bytes.split_off(whole_from);
        self.cut = bytes;
        let lines = whole.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        self.lines.extend(lines.map(<[u8]>::to_vec));
        Ok(())
    }
}

impl Iterator for Backwards<'_> {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(line) = self.lines.pop() {
                return Some(Ok(line));
            }
            if self.unread == 0 {
                return None;
            }
            if let Err(e) = self.read_block() {
                self.unread = 0;
                return Some(Err(e));
            }
        }
    }
}

/// Hands every line to `visit` with its number in the file, first one first, as far as the file reaches at the start.
pub(super) fn for_each(
    storage: &dyn Storage,
    path: &Path,
    mut visit: impl FnMut(u64, &[u8]),
) -> io::Result<()> {
    let end = len(storage, path)?;
    let mut at = 0;
    let mut rest = Vec::new();
    let mut number = 0;
    while at < end {
        // At most a block, which is small.
        let wanted = BLOCK_BYTES.min(end - at) as usize;
        let mut bytes = storage.read_at(path, at, wanted)?;
        if bytes.is_empty() {
            break;
        }
        at += bytes.len() as u64;
        rest.append(&mut bytes);
        let whole = rest.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        for line in rest
            .get(..whole)
            .unwrap_or_default()
            .split_inclusive(|b| *b == b'\n')
        {
            number += 1;
            if line != b"\n" {
                visit(number, line.strip_suffix(b"\n").unwrap_or(line));
            }
        }
        rest.drain(..whole);
    }
    if !rest.is_empty() {
        visit(number + 1, &rest);
    }
    Ok(())
}

fn len(storage: &dyn Storage, path: &Path) -> io::Result<u64> {
    Ok(storage.facts(path)?.map_or(0, |facts| facts.len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::RealStorage;

    #[test]
    fn lines_come_whole_and_in_order_whatever_the_block() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a");
        for text in [
            "",
            "\n",
            "one",
            "one\n",
            "one\n\ntwo\n",
            "\none\n\n\nä long line\nhalf",
            "x\ny\nz\n",
        ] {
            std::fs::write(&path, text).expect("writable");
            let expected: Vec<&[u8]> = text
                .as_bytes()
                .split(|b| *b == b'\n')
                .filter(|line| !line.is_empty())
                .collect();
            for block in 1..=text.len() as u64 + 1 {
                let lines = Backwards::in_blocks(&RealStorage, &path, block).expect("readable");
                let mut lines: Vec<Vec<u8>> = lines.map(|line| line.expect("readable")).collect();
                lines.reverse();
                assert_eq!(lines, expected, "{text:?} by {block}");
            }
            let mut forwards = Vec::new();
            for_each(&RealStorage, &path, |number, line| {
                forwards.push((number, line.to_vec()));
            })
            .expect("readable");
            let numbered: Vec<(u64, Vec<u8>)> = (1..)
                .zip(text.as_bytes().split(|b| *b == b'\n'))
                .filter(|(_, line)| !line.is_empty())
                .map(|(number, line)| (number, line.to_vec()))
                .collect();
            assert_eq!(forwards, numbered, "{text:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_has_no_lines() {
        let path = Path::new("/nowhere/at/all");
        let lines = Backwards::of(&RealStorage, path).expect("none");
        assert_eq!(lines.count(), 0);
        for_each(&RealStorage, path, |_, _| panic!("a line")).expect("none");
    }

    #[test]
    fn long_files_are_read_over_many_blocks() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a");
        let text: String = (0..40_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, &text).expect("writable");
        let lines = Backwards::of(&RealStorage, &path).expect("readable");
        let numbers: Vec<String> = lines
            .map(|line| String::from_utf8(line.expect("readable")).expect("UTF-8"))
            .collect();
        assert_eq!(numbers.len(), 40_000);
        assert_eq!(numbers.first().map(String::as_str), Some("line 39999"));
        let mut count = 0;
        for_each(&RealStorage, &path, |_, _| count += 1).expect("readable");
        assert_eq!(count, 40_000);
    }
}
