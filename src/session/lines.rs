//! Cutting a file into lines, from either end, with bounded memory.
//!
//! A line counts once its newline is written: what follows the last newline is never given out. A line longer than the
//! bound is skipped and counted.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The longest line that is read, in bytes.
pub const MAX_LINE_BYTES: usize = 64 * 1024 * 1024;

/// Files are read in blocks of this many bytes.
pub(super) const BLOCK_BYTES: usize = 64 * 1024;

/// A line as it lies in the file, without its newline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawLine {
    /// Where it starts, in bytes from the start of the file.
    pub offset: u64,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Complete lines of a file, newest first.
#[derive(Debug)]
pub struct ReverseLines {
    file: File,
    /// Lines that start before it are not read.
    floor: u64,
    block: Vec<u8>,
    /// Offset of the block in the file.
    block_at: u64,
    /// Later parts of the line that is being put together, newest first.
    parts: Vec<Vec<u8>>,
    parts_len: usize,
    state: Reverse,
    end: Option<u64>,
    max_line: usize,
    skipped: u64,
}

/// Where reverse reading stands.
#[derive(Debug, PartialEq)]
enum Reverse {
    /// Behind the last newline, in what may be half a line.
    Tail,
    /// In a line whose newline was seen.
    InLine,
    /// In a line that is too long.
    InSkipped,
    Done,
}

impl ReverseLines {
    /// Reads from the file's present end down to `floor`, which is a line's start (0 for the whole file).
    ///
    /// # Errors
    /// The file's length cannot be told.
    pub fn new(file: File, floor: u64) -> io::Result<Self> {
        Self::bounded(file, floor, MAX_LINE_BYTES)
    }

    fn bounded(file: File, floor: u64, max_line: usize) -> io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(Self {
            file,
            floor,
            block: Vec::new(),
            block_at: len.max(floor),
            parts: Vec::new(),
            parts_len: 0,
            state: Reverse::Tail,
            end: None,
            max_line,
            skipped: 0,
        })
    }

    /// Lines so far that were too long.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The offset after the file's last newline, once a line was asked for; `None` when there is no newline.
    pub fn end(&self) -> Option<u64> {
        self.end
    }

    fn next_line(&mut self) -> io::Result<Option<RawLine>> {
        while self.state != Reverse::Done {
            if let Some(newline) = self.block.iter().rposition(|byte| *byte == b'\n') {
                let offset = self.block_at + newline as u64 + 1;
                self.end = self.end.or(Some(offset));
                let start = self.block.split_off(newline + 1);
                self.block.truncate(newline);
                let line = self.finish_line(offset, start);
                self.state = Reverse::InLine;
                if line.is_some() {
                    return Ok(line);
                }
            } else if self.block_at <= self.floor {
                let start = std::mem::take(&mut self.block);
                let line = self.finish_line(self.block_at, start);
                self.state = Reverse::Done;
                return Ok(line);
            } else {
                self.keep_part();
                self.read_block()?;
            }
        }
        Ok(None)
    }

    /// Ends the line that starts with `start` and goes on with the parts.
    fn finish_line(&mut self, offset: u64, start: Vec<u8>) -> Option<RawLine> {
        let parts = std::mem::take(&mut self.parts);
        let len = start.len() + std::mem::take(&mut self.parts_len);
        match self.state {
            Reverse::InLine if len <= self.max_line => {
                let mut bytes = start;
                bytes.reserve_exact(len - bytes.len());
                parts.iter().rev().for_each(|part| bytes.extend(part));
                Some(RawLine { offset, bytes })
            }
            Reverse::InLine | Reverse::InSkipped => {
                self.skipped += 1;
                None
            }
            Reverse::Tail | Reverse::Done => None,
        }
    }

    fn keep_part(&mut self) {
        let part = std::mem::take(&mut self.block);
        if self.state != Reverse::InLine || part.is_empty() {
            return;
        }
        self.parts_len += part.len();
        self.parts.push(part);
        if self.parts_len > self.max_line {
            self.parts.clear();
            self.parts_len = 0;
            self.state = Reverse::InSkipped;
        }
    }

    fn read_block(&mut self) -> io::Result<()> {
        let len = (self.block_at - self.floor).min(BLOCK_BYTES as u64);
        self.block_at -= len;
        self.block = vec![0; len as usize];
        self.file.read_exact_at(&mut self.block, self.block_at)
    }
}

impl Iterator for ReverseLines {
    type Item = io::Result<RawLine>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_line();
        if next.is_err() {
            self.state = Reverse::Done;
        }
        next.transpose()
    }
}

/// Complete lines of a file, oldest first.
#[derive(Debug)]
pub struct ForwardLines {
    file: File,
    block: Vec<u8>,
    /// The part of the block that holds bytes not cut into lines yet.
    unread: std::ops::Range<usize>,
    cutter: LineCutter,
}

impl ForwardLines {
    /// Reads from the file's start to its end as it is when it gets there.
    pub fn new(file: File) -> Self {
        Self {
            file,
            block: vec![0; BLOCK_BYTES],
            unread: 0..0,
            cutter: LineCutter::new(0),
        }
    }

    /// Lines so far that were too long.
    pub fn skipped(&self) -> u64 {
        self.cutter.skipped
    }

    fn next_line(&mut self) -> io::Result<Option<RawLine>> {
        loop {
            if self.unread.is_empty() {
                let len = read_at_most(&self.file, &mut self.block, self.cutter.position)?;
                if len == 0 {
                    return Ok(None);
                }
                self.unread = 0..len;
            }
            let bytes = self.block.get(self.unread.clone()).unwrap_or_default();
            let (used, line) = self.cutter.cut(bytes);
            self.unread.start += used;
            if line.is_some() {
                return Ok(line);
            }
        }
    }
}

impl Iterator for ForwardLines {
    type Item = io::Result<RawLine>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_line().transpose()
    }
}

/// Cuts bytes that come in any pieces into lines.
#[derive(Debug)]
pub(super) struct LineCutter {
    /// Offset in the file of the next byte to take.
    pub(super) position: u64,
    /// Lines so far that were too long.
    pub(super) skipped: u64,
    /// The line that has no newline yet.
    pending: Vec<u8>,
    /// Its bytes that were dropped because it is too long.
    dropped: u64,
    max_line: usize,
}

impl LineCutter {
    pub(super) fn new(position: u64) -> Self {
        Self {
            position,
            skipped: 0,
            pending: Vec::new(),
            dropped: 0,
            max_line: MAX_LINE_BYTES,
        }
    }

    /// Where the line starts that has no newline yet: the offset after the last newline.
    pub(super) fn line_start(&self) -> u64 {
        self.position - self.dropped - self.pending.len() as u64
    }

    /// Takes bytes up to and including the next newline; says how many, and the line that it ended.
    pub(super) fn cut(&mut self, bytes: &[u8]) -> (usize, Option<RawLine>) {
        let newline = bytes.iter().position(|byte| *byte == b'\n');
        let offset = self.line_start();
        let part = bytes.get(..newline.unwrap_or(bytes.len()));
        self.take(part.unwrap_or_default());
        if newline.is_none() {
            return (bytes.len(), None);
        }
        self.position += 1;
        let bytes = std::mem::take(&mut self.pending);
        let used = part.map_or(0, <[u8]>::len) + 1;
        if std::mem::take(&mut self.dropped) > 0 {
            self.skipped += 1;
            return (used, None);
        }
        (used, Some(RawLine { offset, bytes }))
    }

    fn take(&mut self, part: &[u8]) {
        self.position += part.len() as u64;
        if self.dropped == 0 && self.pending.len() + part.len() <= self.max_line {
            self.pending.extend_from_slice(part);
        } else {
            self.dropped += (self.pending.len() + part.len()) as u64;
            self.pending = Vec::new();
        }
    }
}

/// Reads until the buffer is full or the file ends; says how many bytes.
pub(super) fn read_at_most(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while let Some(free) = buffer.get_mut(len..).filter(|free| !free.is_empty()) {
        match file.read_at(free, offset + len as u64) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(len)
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
