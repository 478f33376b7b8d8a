//! The history: every event as a line of JSON in `history.jsonl`, newest last, the file before it in `history.1.jsonl`.
//!
//! Lines are appended with one write each time, without a sync: an event is worth no disk round trip. Above a size the file
//! becomes the one before it, so that the two never hold more than twice that size.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::event::Event;
use crate::home::Home;
use crate::storage::{create_dir_synced, open_to_read, open_to_write, parent_of};

/// A file above this size becomes the one before.
const MAX_FILE_BYTES: u64 = 8 * 1024 * 1024;

/// The most that one reading returns.
const MAX_READ_BYTES: u64 = 1024 * 1024;

/// The history of a state directory.
pub struct History {
    path: PathBuf,
    home: Home,
}

/// How far a reader has come: the file it was in, and the offset behind the last line it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub inode: u64,
    pub offset: u64,
}

impl History {
    /// The history of `home`.
    pub fn of(home: &Home) -> Self {
        Self {
            path: home.paths.home.join("history.jsonl"),
            home: home.clone(),
        }
    }

    /// The file with the newest events.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn path_before(&self) -> PathBuf {
        self.path.with_file_name("history.1.jsonl")
    }

    /// Appends events.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&self, events: &[Event]) -> io::Result<()> {
        let lines: String = events
            .iter()
            .map(|event| format!("{}\n", event.line()))
            .collect();
        create_dir_synced(self.home.storage.as_ref(), parent_of(&self.path))?;
        let mut file = open_to_write(&self.path, OpenOptions::new().append(true).create(true))?;
        file.write_all(lines.as_bytes())?;
        // Whoever is late renames a file that has just begun, which costs the older one of the two.
        let facts = file.metadata()?;
        let is_still_it = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|named| named.ino() == facts.ino() && named.dev() == facts.dev());
        if facts.len() > MAX_FILE_BYTES && is_still_it {
            std::fs::rename(&self.path, self.path_before())?;
        }
        Ok(())
    }

    /// The labels that its events name; none where it cannot be read.
    pub fn labels(&self) -> BTreeSet<String> {
        let mut labels = BTreeSet::new();
        for path in [self.path_before(), self.path.clone()] {
            let Ok(file) = open_to_read(&path) else {
                continue;
            };
            // No line is longer than the file may grow.
            for line in BufReader::new(file.take(2 * MAX_FILE_BYTES)).split(b'\n') {
                let event = line.ok().map(|line| serde_json::from_slice::<Event>(&line));
                if let Some(Ok(event)) = event
                    && let Some(label) = event.fields.get("label").and_then(Value::as_str)
                {
                    labels.insert(label.to_owned());
                }
            }
        }
        labels
    }

    /// The events behind the mark, oldest first, at most a megabyte of them, and the mark behind them. A mark whose file is gone
    /// begins with the oldest that there is. A line that cannot be read is left out, and one that is not whole yet is not taken.
    pub(super) fn since(&self, mark: Mark) -> (Vec<Event>, Mark) {
        let open = |path: &Path| {
            let file = open_to_read(path).ok()?;
            let inode = file.metadata().ok()?.ino();
            Some((file, inode))
        };
        let current = open(&self.path);
        let is_current = current.as_ref().is_some_and(|(_, ino)| *ino == mark.inode);
        if !is_current
            && let Some((file, inode)) = open(&self.path_before())
            && mark
                != (Mark {
                    inode: 0,
                    offset: 0,
                })
        {
            let from = if inode == mark.inode { mark.offset } else { 0 };
            let (events, offset) = read_from(file, from);
            if !events.is_empty() {
                return (events, Mark { inode, offset });
            }
        }
        let Some((file, inode)) = current else {
            return (Vec::new(), mark);
        };
        let from = if is_current { mark.offset } else { 0 };
        let (events, offset) = read_from(file, from);
        (events, Mark { inode, offset })
    }
}

fn read_from(mut file: File, from: u64) -> (Vec<Event>, u64) {
    let mut bytes = Vec::new();
    let read = file
        .seek(SeekFrom::Start(from))
        .and_then(|_| file.take(MAX_READ_BYTES).read_to_end(&mut bytes));
    if read.is_err() {
        return (Vec::new(), from);
    }
    let whole = bytes.iter().rposition(|byte| *byte == b'\n');
    let Some(taken) = whole.and_then(|end| bytes.get(..=end)) else {
        return (Vec::new(), from);
    };
    let events = taken
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    (events, from + taken.len() as u64)
}
