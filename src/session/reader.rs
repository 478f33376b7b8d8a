//! Reading a transcript of any size: from its end for the turn, from its start for `logs`.
//!
//! A line counts once its newline is written; a half-written last line is left for later. Memory is bounded by the
//! longest line that is accepted, [`MAX_LINE_BYTES`](super::lines::MAX_LINE_BYTES); a longer one is skipped and counted. Files are opened for reading
//! only and never locked.
//!
//! Limitation: a file that is rewritten in place to at least its old length, with a newline just before the baseline's
//! offset and the same session id, is not recognised as another one.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use super::line::{Line, Message};
use super::lines::{BLOCK_BYTES, ForwardLines, ReverseLines, read_at_most};
use super::terminal::{Turn, TurnSearch};
use crate::record::Baseline;
use crate::storage::open_to_read;

/// A session header is looked for in this many bytes at the start of a file.
const MAX_HEADER_BYTES: usize = BLOCK_BYTES;

/// How many lines [`take_baseline`] looks back for one that has an id.
const BASELINE_LINES: usize = 64;

/// A file that shrinks while it is read is read again this often.
const ATTEMPTS: usize = 3;

/// A line that was read, with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct PositionedLine {
    /// Where it starts, in bytes from the start of the file.
    pub offset: u64,
    /// The offset after its newline.
    pub end: u64,
    /// What it says.
    pub line: Line,
}

/// What a transcript says about the turn after a baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnReading {
    /// The turn.
    pub turn: Turn,
    /// Lines on the way that could not be read.
    pub skipped: u64,
    /// When the file last changed, ms since the Unix epoch; `None` while there is no file.
    pub last_activity_ms: Option<i64>,
    /// The file's length in bytes, 0 while there is none.
    pub len: u64,
    /// The file is not the one of the baseline: shorter, or of another session. It was read from its start.
    pub restarted: bool,
}

/// Decides the turn from what follows the baseline, reading from the file's end and no further than needed.
///
/// A missing file is no evidence: a session has none during its first turn.
///
/// # Errors
/// The file cannot be read.
pub fn read_turn(path: &Path, baseline: &Baseline) -> io::Result<TurnReading> {
    read_again(path, baseline, None)
}

/// As [`read_turn`], passing over every line that does not say that it is of this run: where runs share a session, one may
/// have begun before anybody looked at the end of the one before, and another program may have written to it.
///
/// # Errors
/// As [`read_turn`].
pub fn read_run_turn(path: &Path, baseline: &Baseline, run_id: &str) -> io::Result<TurnReading> {
    read_again(path, baseline, Some(run_id))
}

fn read_again(path: &Path, baseline: &Baseline, run_id: Option<&str>) -> io::Result<TurnReading> {
    let mut attempt = 1;
    loop {
        match read_turn_once(path, baseline, run_id) {
            // It shrank under our hands: someone rewrites it.
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof && attempt < ATTEMPTS => {
                attempt += 1
            }
            result => return result,
        }
    }
}

fn read_turn_once(
    path: &Path,
    baseline: &Baseline,
    run_id: Option<&str>,
) -> io::Result<TurnReading> {
    let mut reading = TurnReading {
        turn: Turn::Nothing,
        skipped: 0,
        last_activity_ms: None,
        len: 0,
        restarted: false,
    };
    let Some(file) = open_if_exists(path)? else {
        return Ok(reading);
    };
    let metadata = file.metadata()?;
    reading.len = metadata.len();
    reading.last_activity_ms = metadata.modified().ok().map(|time| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    });
    reading.restarted = is_replaced(&file, reading.len, baseline)?;
    let floor = if reading.restarted {
        0
    } else {
        baseline.offset
    };
    let mut lines = ReverseLines::new(file, floor)?;
    let mut search = TurnSearch::new();
    let mut decided = None;
    for raw in &mut lines {
        let Some(line) = parse(&raw?.bytes, &mut reading.skipped) else {
            continue;
        };
        // Also in a rewritten file, what lies before this entry is not of this turn.
        if line.id().is_some() && line.id() == baseline.last_entry_id.as_deref() {
            break;
        }
        if run_id.is_some_and(|run_id| !is_of_run(&line, run_id)) {
            continue;
        }
        if let ControlFlow::Break(turn) = search.push(line) {
            decided = Some(turn);
            break;
        }
    }
    reading.skipped += lines.skipped();
    reading.turn = decided.unwrap_or_else(|| search.finish());
    Ok(reading)
}

fn is_of_run(line: &Line, run_id: &str) -> bool {
    match line {
        Line::Message(message) => message.run_id.as_deref() == Some(run_id),
        _ => false,
    }
}

/// Whether the file cannot be the one that the baseline was taken from.
fn is_replaced(file: &File, len: u64, baseline: &Baseline) -> io::Result<bool> {
    if baseline.offset == 0 {
        return Ok(false);
    }
    if len < baseline.offset {
        return Ok(true);
    }
    let mut last = [0];
    file.read_exact_at(&mut last, baseline.offset - 1)?;
    if last != *b"\n" {
        return Ok(true);
    }
    Ok(match (header_id(file)?, &baseline.session_id) {
        (Some(header), Some(expected)) => header != *expected,
        _ => false,
    })
}

/// The session id in a transcript's header, `None` where there is no header.
fn header_id(file: &File) -> io::Result<Option<String>> {
    let mut start = vec![0; 4096];
    let mut len = read_at_most(file, &mut start, 0)?;
    if !start[..len].contains(&b'\n') && len == start.len() {
        start.resize(MAX_HEADER_BYTES, 0);
        len = read_at_most(file, &mut start, 0)?;
    }
    let mut lines = start[..len].split_inclusive(|byte| *byte == b'\n');
    let header = lines.next().filter(|line| line.ends_with(b"\n"));
    Ok(match header.map(Line::parse) {
        Some(Ok(Line::Session(header))) => header.id,
        _ => None,
    })
}

/// The baseline of a transcript as it is now: the offset after its last newline and the id of its last entry.
///
/// `session_id` is what the store says; without it the file's header is asked. A missing file gives offset 0. What the
/// store knows (status, times) is for the caller to add.
///
/// # Errors
/// The file cannot be read.
pub fn take_baseline(path: &Path, session_id: Option<&str>) -> io::Result<Baseline> {
    let mut baseline = Baseline {
        session_id: session_id.map(str::to_owned),
        ..Baseline::default()
    };
    let Some(file) = open_if_exists(path)? else {
        return Ok(baseline);
    };
    if baseline.session_id.is_none() {
        baseline.session_id = header_id(&file)?;
    }
    let mut lines = ReverseLines::new(file, 0)?;
    for raw in lines.by_ref().take(BASELINE_LINES) {
        baseline.last_entry_id = Line::parse(&raw?.bytes)
            .ok()
            .and_then(|line| line.id().map(str::to_owned));
        if baseline.last_entry_id.is_some() {
            break;
        }
    }
    baseline.offset = lines.end().unwrap_or_default();
    Ok(baseline)
}

/// The newest messages of a transcript, oldest first, at most `limit`; none without a file.
///
/// # Errors
/// The file cannot be opened or read.
pub fn newest_messages(path: &Path, limit: usize) -> io::Result<Vec<Message>> {
    let Some(file) = open_if_exists(path)? else {
        return Ok(Vec::new());
    };
    let mut newest = Vec::new();
    for raw in ReverseLines::new(file, 0)? {
        if newest.len() == limit {
            break;
        }
        if let Ok(Line::Message(message)) = Line::parse(&raw?.bytes) {
            newest.push(*message);
        }
    }
    newest.reverse();
    Ok(newest)
}

/// All complete lines of a transcript from its start, one at a time.
#[derive(Debug)]
pub struct AllLines {
    lines: Option<ForwardLines>,
    skipped: u64,
}

/// Reads a transcript from its start with constant memory; a missing file has no lines.
///
/// # Errors
/// The file cannot be opened.
pub fn read_all(path: &Path) -> io::Result<AllLines> {
    Ok(AllLines {
        lines: open_if_exists(path)?.map(ForwardLines::new),
        skipped: 0,
    })
}

impl AllLines {
    /// Lines so far that could not be read.
    pub fn skipped(&self) -> u64 {
        self.skipped + self.lines.as_ref().map_or(0, ForwardLines::skipped)
    }
}

impl Iterator for AllLines {
    type Item = io::Result<PositionedLine>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let raw = match self.lines.as_mut()?.next()? {
                Ok(raw) => raw,
                Err(e) => return Some(Err(e)),
            };
            if let Some(line) = parse(&raw.bytes, &mut self.skipped) {
                return Some(Ok(PositionedLine {
                    offset: raw.offset,
                    end: raw.offset + raw.bytes.len() as u64 + 1,
                    line,
                }));
            }
        }
    }
}

/// Parses a line; a blank one is nothing, one that cannot be read is counted.
pub(super) fn parse(bytes: &[u8], skipped: &mut u64) -> Option<Line> {
    if bytes.trim_ascii().is_empty() {
        return None;
    }
    match Line::parse(bytes) {
        Ok(line) => Some(line),
        Err(_) => {
            *skipped += 1;
            None
        }
    }
}

fn open_if_exists(path: &Path) -> io::Result<Option<File>> {
    match open_to_read(path) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
