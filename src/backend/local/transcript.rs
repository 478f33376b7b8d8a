//! Writing a local session's transcript, in the enveloped shape that OpenClaw up to 2026.7 writes.
//!
//! Only the runner that holds the session's lock writes; [`TranscriptWriter::change`] tells of a program that does not
//! ask for it. What others wrote is never cut or written over. A half-written last line of a killed runner, known by how
//! our lines begin, is cut off before the next line is added; followers have not consumed it.
//!
//! Limitation: a change in place that keeps the length and comes within the same tick of the file system's clock as our
//! own last line is not seen.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::intrusion::Intrusion;
use crate::home::Home;
use crate::record::time;
use crate::session::reader::take_baseline;
use crate::storage::{DurableFile, Storage, create_dir_synced, parent_of, write_all};

/// The longest text that one line carries; a longer reply is named by its raw file.
pub const MAX_LINE_TEXT_BYTES: u64 = 4 * 1024 * 1024;

/// How each of our messages begins, and no other program's.
const OUR_START: &[u8] = br#"{"dispatch":{"#;

/// No half-written line of ours is longer: every byte of the longest text escaped.
const MAX_TORN_BYTES: u64 = 8 * MAX_LINE_TEXT_BYTES;

/// A transcript open for writing.
pub struct TranscriptWriter {
    path: PathBuf,
    file: Box<dyn DurableFile>,
    storage: Arc<dyn Storage>,
    last_id: Option<String>,
    /// The file as it was after our last line.
    left: Known,
    /// A stranger's half-written line stands at the end.
    ends_in_half_a_line: bool,
}

impl TranscriptWriter {
    /// Opens the session's transcript as it is now, writing its header when it is new.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(home: &Home, path: &Path, session_id: &str, cwd: &Path) -> io::Result<Self> {
        let storage = Arc::clone(&home.storage);
        create_dir_synced(storage.as_ref(), parent_of(path))?;
        let before = take_baseline(path, Some(session_id))?;
        let header = json!({
            "type": "session",
            "version": 3,
            "id": session_id,
            "timestamp": time::iso(home.now_ms()),
            "cwd": cwd,
        });
        let mut file = storage.open_append(path)?;
        let tail = tail_after(path, before.offset)?;
        let mut is_ours = is_torn(&tail, header.to_string().as_bytes(), before.offset);
        if is_ours {
            // Somebody may have written behind it since it was read.
            let now = Place::of(path)?.map_or(0, |place| place.len);
            is_ours = now == before.offset + tail.len() as u64;
        }
        if is_ours {
            file.truncate(before.offset)?;
        }
        let mut writer = Self {
            file,
            path: path.to_owned(),
            storage,
            last_id: before.last_entry_id,
            left: Known::read(path)?.unwrap_or_default(),
            ends_in_half_a_line: !is_ours && !tail.is_empty(),
        };
        if writer.left.place.len == 0 {
            writer.line(&header)?;
        }
        Ok(writer)
    }

    /// Adds a message; `dispatch` is our own note beside it, and stands first so that half a line is known for ours.
    ///
    /// # Errors
    /// When it cannot be written; the transcript may then end in half a line, which the next open cuts off.
    pub fn message(&mut self, now_ms: i64, message: Value, dispatch: Value) -> io::Result<()> {
        let uuid = uuid::Uuid::new_v4().simple().to_string();
        let id = uuid.get(..8).unwrap_or_default().to_owned();
        let line = json!({
            "dispatch": dispatch,
            "type": "message",
            "id": id,
            "parentId": self.last_id,
            "timestamp": time::iso(now_ms),
            "message": message,
        });
        self.line(&line)?;
        self.last_id = Some(id);
        Ok(())
    }

    /// Brings everything to the disk.
    ///
    /// # Errors
    /// When the system cannot; the file must then be opened anew.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.storage.sync_dir(parent_of(&self.path))
    }

    /// What another program has done to the transcript since our last line.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn change(&mut self) -> io::Result<Option<Intrusion>> {
        let left = &self.left.place;
        let Some(now) = Place::of(&self.path)? else {
            return Ok(Some(Intrusion::Removed));
        };
        if now.identity != left.identity {
            return Ok(Some(Intrusion::Replaced));
        }
        if now.len < left.len {
            return Ok(Some(Intrusion::Cut {
                from: left.len,
                to: now.len,
            }));
        }
        if now.len > left.len {
            let bytes = now.len - left.len;
            return Ok(Some(Intrusion::Added { bytes }));
        }
        if now.modified != left.modified {
            let known = Known::read(&self.path)?;
            if known.is_none_or(|known| known.content != self.left.content) {
                return Ok(Some(Intrusion::Rewritten));
            }
            // Touched, or written with what it held: both change nothing.
            self.left.place.modified = now.modified;
        }
        Ok(None)
    }

    /// The transcript that has the path's name is still the file that our lines went into, and holds them.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn is_in_place(&self) -> io::Result<bool> {
        let left = &self.left.place;
        let now = Place::of(&self.path)?;
        Ok(now.is_some_and(|now| now.identity == left.identity && now.len >= left.len))
    }

    fn line(&mut self, line: &Value) -> io::Result<()> {
        let mut text = Vec::new();
        if std::mem::take(&mut self.ends_in_half_a_line) {
            text.push(b'\n');
        }
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
        write_all(self.file.as_mut(), &text)?;
        self.left.add(&text);
        // Anything else than our own line will be seen by the next look.
        let now = Place::of(&self.path)?;
        if let Some(now) = now.filter(|now| now.is_as_long_as(&self.left.place)) {
            self.left.place = now;
        }
        Ok(())
    }
}

/// What is known of a transcript.
#[derive(Debug, Clone, Default)]
struct Known {
    place: Place,
    content: Fingerprint,
}

impl Known {
    fn read(path: &Path) -> io::Result<Option<Self>> {
        let Some(place) = Place::of(path)? else {
            return Ok(None);
        };
        let mut known = Self {
            content: Fingerprint::default(),
            place,
        };
        // No further than the length goes: what comes later is for the next look.
        let mut reader = BufReader::new(File::open(path)?.take(place.len));
        loop {
            let block = reader.fill_buf()?;
            let len = block.len();
            if len == 0 {
                return Ok(Some(known));
            }
            known.content.add(block);
            reader.consume(len);
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.place.len += bytes.len() as u64;
        self.content.add(bytes);
    }
}

/// What tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Place {
    /// Device and inode.
    identity: (u64, u64),
    len: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
}

impl Place {
    fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::symlink_metadata(path) {
            Ok(m) => Ok(Some(Self {
                identity: (m.dev(), m.ino()),
                len: m.len(),
                modified: (m.mtime(), m.mtime_nsec()),
            })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn is_as_long_as(&self, other: &Self) -> bool {
        self.identity == other.identity && self.len == other.len
    }
}

/// A content in 64 bits (FNV-1a), however it is cut into pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    fn add(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    }
}

/// What follows the last newline.
fn tail_after(path: &Path, offset: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut tail = Vec::new();
    file.take(MAX_TORN_BYTES + 1).read_to_end(&mut tail)?;
    Ok(tail)
}

/// The tail is half a line of ours, or the zeros that a power cut leaves in the place of one.
fn is_torn(tail: &[u8], header: &[u8], offset: u64) -> bool {
    if tail.is_empty() || tail.len() as u64 > MAX_TORN_BYTES {
        return false;
    }
    let begins = |start: &[u8]| tail.starts_with(start) || start.starts_with(tail);
    let header = header.get(..common_start(header)).unwrap_or_default();
    tail.iter().all(|byte| *byte == 0) || begins(OUR_START) || offset == 0 && begins(header)
}

/// How much of a header does not tell of a time.
fn common_start(header: &[u8]) -> usize {
    let time = br#","timestamp""#;
    let at = header.windows(time.len()).position(|bytes| bytes == time);
    at.unwrap_or(header.len())
}

#[cfg(test)]
#[path = "transcript_tests.rs"]
mod tests;
