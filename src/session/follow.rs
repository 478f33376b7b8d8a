//! Following a transcript as it grows.
//!
//! A [`Follower`] keeps the file open, so that looking for news opens nothing and wakes nobody who watches for that. It
//! consumes whole lines only. A file that became shorter, that another one replaced, or whose bytes just before the
//! reading position changed, is read again from its start and the batch says so. Memory is bounded by
//! [`BATCH_BYTES`] and the longest line.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::lines::{BLOCK_BYTES, LineCutter, read_at_most};
use super::reader::{PositionedLine, parse};
use crate::storage::open_to_read;

/// A batch ends with the line that reaches this many bytes.
pub const BATCH_BYTES: u64 = 4 * 1024 * 1024;

/// So many bytes before the reading position are remembered and compared, to notice a file that was written anew.
const ANCHOR_BYTES: usize = 64;

/// What a poll found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// New lines, oldest first.
    pub lines: Vec<PositionedLine>,
    /// The file was replaced or cut: forget what came before, these lines start at its beginning.
    pub restarted: bool,
    /// Lines that could not be read.
    pub skipped: u64,
    /// There is more: poll again at once.
    pub more: bool,
}

/// A place in a growing transcript.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    open: Option<OpenFile>,
    cutter: LineCutter,
    /// The bytes just before the reading position.
    anchor: Vec<u8>,
    /// Length and time of the last change when everything had been read.
    seen: Option<(u64, i64, i64)>,
    /// Started over, and no batch has said so yet.
    restarted: bool,
}

#[derive(Debug)]
struct OpenFile {
    file: File,
    device: u64,
    inode: u64,
}

impl Follower {
    /// Follows from the file's start. The file need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self::starting_at(path, 0)
    }

    /// Follows from `offset`, which is a line's start, such as a baseline's. If it is none, the file is another one.
    pub fn starting_at(path: impl Into<PathBuf>, offset: u64) -> Self {
        Self {
            path: path.into(),
            open: None,
            cutter: LineCutter::new(offset),
            anchor: if offset == 0 { Vec::new() } else { vec![b'\n'] },
            seen: None,
            restarted: false,
        }
    }

    /// The file that is followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The offset after the last newline that was consumed.
    pub fn offset(&self) -> u64 {
        self.cutter.line_start()
    }

    /// The complete lines that were appended since the last poll; an empty batch while there is no file.
    ///
    /// # Errors
    /// The file cannot be read. The place is kept: the next poll tries again.
    pub fn poll(&mut self) -> io::Result<Batch> {
        let mut batch = Batch::default();
        let Some(metadata) = self.reopen_if_replaced()? else {
            return Ok(batch);
        };
        let now = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
        if self.seen == Some(now) {
            return Ok(batch);
        }
        if metadata.len() < self.cutter.position || !self.anchor_holds()? {
            self.restart();
        }
        self.read_lines(&mut batch)?;
        batch.restarted = std::mem::take(&mut self.restarted);
        self.seen = (!batch.more).then_some(now);
        Ok(batch)
    }

    /// Facts of the open file, after making sure that it is the one at the path.
    fn reopen_if_replaced(&mut self) -> io::Result<Option<Metadata>> {
        let at_path = match fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let is_open = |open: &OpenFile| (open.device, open.inode) == (at_path.dev(), at_path.ino());
        if self.open.as_ref().is_some_and(is_open) {
            return Ok(Some(at_path));
        }
        let file = match open_to_read(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        let metadata = file.metadata()?;
        let replaced = self.open.replace(OpenFile {
            file,
            device: metadata.dev(),
            inode: metadata.ino(),
        });
        self.seen = None;
        if replaced.is_some() {
            self.restart();
        }
        Ok(Some(metadata))
    }

    fn restart(&mut self) {
        self.cutter = LineCutter::new(0);
        self.anchor.clear();
        self.restarted = true;
    }

    fn anchor_holds(&self) -> io::Result<bool> {
        let Some(open) = &self.open else {
            return Ok(true);
        };
        let mut bytes = vec![0; self.anchor.len()];
        let at = self.cutter.position.saturating_sub(bytes.len() as u64);
        let len = read_at_most(&open.file, &mut bytes, at)?;
        Ok(bytes.get(..len) == Some(self.anchor.as_slice()))
    }

    fn read_lines(&mut self, batch: &mut Batch) -> io::Result<()> {
        let Some(open) = &self.open else {
            return Ok(());
        };
        let start = self.cutter.line_start();
        let skipped = self.cutter.skipped;
        let mut block = vec![0; BLOCK_BYTES];
        while !batch.more {
            let len = match read_at_most(&open.file, &mut block, self.cutter.position) {
                Ok(len) => len,
                // What was read before the fault is kept and given out; the next poll meets the fault again.
                Err(_) if !batch.lines.is_empty() => {
                    batch.more = true;
                    break;
                }
                Err(e) => return Err(e),
            };
            let mut rest = block.get(..len).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            while !rest.is_empty() && !batch.more {
                let (used, raw) = self.cutter.cut(rest);
                let (taken, left) = rest.split_at(used);
                remember(&mut self.anchor, taken);
                rest = left;
                if let Some(raw) = raw {
                    if let Some(line) = parse(&raw.bytes, &mut batch.skipped) {
                        batch.lines.push(PositionedLine {
                            offset: raw.offset,
                            end: self.cutter.position,
                            line,
                        });
                    }
                    batch.more = self.cutter.line_start() - start >= BATCH_BYTES;
                }
            }
        }
        batch.skipped += self.cutter.skipped - skipped;
        Ok(())
    }
}

/// Keeps the last bytes of what was read.
fn remember(anchor: &mut Vec<u8>, taken: &[u8]) {
    let newest = taken.get(taken.len().saturating_sub(ANCHOR_BYTES)..);
    let newest = newest.unwrap_or_default();
    let surplus = (anchor.len() + newest.len()).saturating_sub(ANCHOR_BYTES);
    anchor.drain(..surplus.min(anchor.len()));
    anchor.extend_from_slice(newest);
}

#[cfg(test)]
#[path = "follow_tests.rs"]
mod tests;
