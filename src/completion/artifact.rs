//! The file that holds the full text of a result, written and synced before anything is delivered.
//!
//! Promises that a returned path holds exactly the text and lasts, that no file of another result is ever touched, and
//! that doing the step again with the same name and text finds the first file instead of making a second.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

use crate::completion::cap::ArtifactOutcome;
use crate::process::ProcessIdentity;
use crate::record::file_stem_of;
use crate::storage::{self, Storage};

/// How many results of one name find a place; more than a handful means that something loops.
const MAX_SAME_NAME: u32 = 99;

/// Characters of the run id that the name shows.
const RUN_ID_PREFIX_CHARS: usize = 8;

/// A text is copied in blocks of this size.
const COPY_BLOCK_BYTES: usize = 256 * 1024;

/// The last millisecond of the year 9999, up to which a time stamp has its usual width.
const LAST_MS: i64 = 253_402_300_799_999;

/// The name of an artifact, made only from what the ledger keeps, so that a redo computes the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactName {
    time: String,
    label_stem: String,
    run_id_prefix: String,
}

impl ArtifactName {
    /// The name for the session of `label` and `run_id` that ended at `ended_at_ms` (ms since the epoch, recorded, never
    /// the present time). Label and run id may be any text.
    pub fn new(ended_at_ms: i64, label: &str, run_id: &str) -> Self {
        let at = DateTime::<Utc>::from_timestamp_millis(ended_at_ms.clamp(0, LAST_MS));
        let prefix: String = run_id
            .chars()
            .take(RUN_ID_PREFIX_CHARS)
            .map(|c| match c {
                'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' | '-' => c,
                _ => '_',
            })
            .collect();
        Self {
            time: at.unwrap_or_default().format("%Y%m%dT%H%M%SZ").to_string(),
            label_stem: file_stem_of(label),
            run_id_prefix: if prefix.is_empty() {
                "run".to_owned()
            } else {
                prefix
            },
        }
    }

    /// The file name of the `n`-th different text under this name, `n` from 1.
    fn numbered(&self, n: u32) -> String {
        match n {
            1 => self.to_string(),
            n => format!("{}-{n}.txt", self.stem()),
        }
    }

    fn stem(&self) -> String {
        format!("{}-{}-{}", self.time, self.label_stem, self.run_id_prefix)
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.txt", self.stem())
    }
}

impl From<&io::Result<PathBuf>> for ArtifactOutcome {
    fn from(result: &io::Result<PathBuf>) -> Self {
        match result {
            Ok(path) => Self::Written(path.clone()),
            Err(e) => Self::Failed(e.to_string()),
        }
    }
}

/// Writes `text` into `dir` (created with mode 0700) and returns the path once file and directory are on disk.
///
/// A file of that name with the same text is the earlier try of this very step: its path is returned. With another
/// text it is left alone and `-2`, `-3`, ... are tried in the same way.
///
/// # Errors
/// The failing call's error kind with the path in the message; `AlreadyExists` when all numbered names are taken.
/// What a failed try left behind is either nothing or the complete file, which the next try finds.
pub fn write_artifact(
    storage: &dyn Storage,
    dir: &Path,
    name: &ArtifactName,
    text: &str,
) -> io::Result<PathBuf> {
    storage::create_dir_synced(storage, dir).map_err(|e| naming("cannot create", dir, &e))?;
    for n in 1..=MAX_SAME_NAME {
        let path = dir.join(name.numbered(n));
        if place(storage, &path, text).map_err(|e| naming("cannot write", &path, &e))? {
            sweep(storage, dir);
            return Ok(path);
        }
    }
    Err(too_many(dir, name))
}

/// As [`write_artifact`], for a text that lies in a file and may be too long for memory. Bytes that are not UTF-8 are
/// replaced on the way.
///
/// # Errors
/// As [`write_artifact`]; also when `source` cannot be read.
pub fn copy_artifact(
    storage: &dyn Storage,
    dir: &Path,
    name: &ArtifactName,
    lead: &str,
    source: &Path,
) -> io::Result<PathBuf> {
    storage::create_dir_synced(storage, dir).map_err(|e| naming("cannot create", dir, &e))?;
    let temporary = storage::temporary_beside(&dir.join(name.to_string()));
    let placed = copy_text(storage, lead, source, &temporary)
        .map_err(|e| naming("cannot copy", source, &e))
        .and_then(|()| link_copy(storage, dir, name, &temporary));
    let removed = storage.remove(&temporary);
    let path = placed?;
    removed.map_err(|e| naming("cannot remove", &temporary, &e))?;
    storage
        .sync_dir(dir)
        .map_err(|e| naming("cannot sync", dir, &e))?;
    sweep(storage, dir);
    Ok(path)
}

/// Removes what tries left that were killed, whatever their name; it may be large.
fn sweep(storage: &dyn Storage, dir: &Path) {
    let is_dead = |pid| ProcessIdentity::of(pid).is_none();
    storage::sweep_temporaries(storage, dir, "", is_dead);
}

fn link_copy(
    storage: &dyn Storage,
    dir: &Path,
    name: &ArtifactName,
    temporary: &Path,
) -> io::Result<PathBuf> {
    for n in 1..=MAX_SAME_NAME {
        let path = dir.join(name.numbered(n));
        match storage.hard_link(temporary, &path) {
            Ok(()) => return Ok(path),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                if same_content(temporary, &path).unwrap_or(false) {
                    return Ok(path);
                }
            }
            Err(e) => return Err(naming("cannot write", &path, &e)),
        }
    }
    Err(too_many(dir, name))
}

fn copy_text(storage: &dyn Storage, lead: &str, source: &Path, target: &Path) -> io::Result<()> {
    let mut from = File::open(source)?;
    let mut to = storage.create_new(target)?;
    storage::write_all(to.as_mut(), lead.as_bytes())?;
    let mut buffer = Vec::with_capacity(COPY_BLOCK_BYTES);
    loop {
        let read = (&mut from)
            .take((COPY_BLOCK_BYTES - buffer.len()) as u64)
            .read_to_end(&mut buffer)?;
        let whole = match read {
            0 => buffer.len(),
            _ => buffer.len() - unfinished_bytes(&buffer),
        };
        let text = String::from_utf8_lossy(buffer.get(..whole).unwrap_or_default());
        storage::write_all(to.as_mut(), text.as_bytes())?;
        buffer.drain(..whole);
        if read == 0 && buffer.is_empty() {
            return to.sync();
        }
    }
}

/// How many bytes at the very end are the start of a character whose rest may follow.
fn unfinished_bytes(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let end = last.map_or(&[][..], |chunk| chunk.invalid());
    match std::str::from_utf8(end) {
        Err(e) if e.error_len().is_none() => end.len(),
        _ => 0,
    }
}

fn same_content(one: &Path, other: &Path) -> io::Result<bool> {
    if fs::symlink_metadata(one)?.len() != fs::symlink_metadata(other)?.len() {
        return Ok(false);
    }
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    loop {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        (&mut one)
            .take(COPY_BLOCK_BYTES as u64)
            .read_to_end(&mut a)?;
        (&mut other)
            .take(COPY_BLOCK_BYTES as u64)
            .read_to_end(&mut b)?;
        if a != b {
            return Ok(false);
        }
        if a.is_empty() {
            return Ok(true);
        }
    }
}

fn too_many(dir: &Path, name: &ArtifactName) -> io::Error {
    io::Error::new(
        io::ErrorKind::AlreadyExists,
        format!(
            "cannot write {}: {MAX_SAME_NAME} different texts of that name exist; remove the ones you do not need",
            dir.join(name.to_string()).display()
        ),
    )
}

/// The text of an artifact; bytes that are not UTF-8 are replaced.
///
/// # Errors
/// `FileTooLarge` above `max_bytes`, `InvalidInput` when the path is no regular file, else the failing call's error.
pub fn read_artifact(path: &Path, max_bytes: u64) -> io::Result<String> {
    let read = || {
        // Asked before opening: opening a FIFO would wait for a writer.
        if !fs::metadata(path)?.is_file() {
            let kind = io::ErrorKind::InvalidInput;
            return Err(io::Error::new(kind, "it is not a regular file"));
        }
        let mut bytes = Vec::new();
        File::open(path)?
            .take(max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > max_bytes {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("it is larger than {max_bytes} bytes"),
            ));
        }
        Ok(bytes)
    };
    match read() {
        Ok(bytes) => Ok(String::from_utf8(bytes)
            .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())),
        Err(e) => Err(naming("cannot read", path, &e)),
    }
}

/// Puts `text` at `path`; false when something else is there.
fn place(storage: &dyn Storage, path: &Path, text: &str) -> io::Result<bool> {
    if storage.facts(path)?.is_none() {
        match storage::create_synced(storage, path, text.as_bytes()) {
            Ok(()) => return Ok(true),
            // Another process was faster; whether with the same text is seen below.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    if !holds(storage, path, text) {
        return Ok(false);
    }
    // The earlier try may have ended between making the name and making it last.
    storage.sync_dir(storage::parent_of(path))?;
    Ok(true)
}

/// Whether `path` is a regular file with exactly `text`. One that cannot be read counts as another text: a second copy
/// under the next name does no harm, a missing one would.
fn holds(storage: &dyn Storage, path: &Path, text: &str) -> bool {
    let same_length = matches!(storage.facts(path), Ok(Some(facts))
        if !facts.is_symlink && !facts.is_dir && facts.len == text.len() as u64);
    same_length && storage.read(path).is_ok_and(|b| b == text.as_bytes())
}

fn naming(what: &str, path: &Path, e: &io::Error) -> io::Error {
    io::Error::new(e.kind(), format!("{what} {}: {e}", path.display()))
}

#[cfg(test)]
mod tests;
