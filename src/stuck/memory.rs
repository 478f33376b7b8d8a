//! What the detector remembers from run to run (`stuck.json`): who was silent, who was nudged, who was told of.
//!
//! Losing it costs a nudge more and an alert a cycle later, no more. So a damaged one is set aside by beginning anew.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::backend::{Pulse, Work};
use crate::home::Home;
use crate::process::{FileLock, LockHolder};
use crate::record::Generation;
use crate::storage::{create_dir_synced, parent_of, replace_synced, sweep_temporaries};

/// The file's name in the state directory.
const NAME: &str = "stuck.json";

/// Held by the detector that works with it.
const LOCK: &str = "stuck.json.lock";

/// One silence of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Suspicion {
    /// The label's generation.
    pub generation: Generation,
    /// The run.
    pub run_id: String,
    /// When the silence was found, ms since the epoch.
    pub seen_at: i64,
    /// When the session was nudged, ms since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nudged_at: Option<i64>,
    /// When it was first told of, ms since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alerted_at: Option<i64>,
    /// When the first witness had seen the session move last by then, ms since the epoch.
    #[serde(default)]
    pub moved_at: Option<i64>,
    /// What it had seen.
    #[serde(default)]
    pub position: u64,
    /// What the second had.
    #[serde(default)]
    pub amount: u64,
    /// When the last of that was done, ms since the epoch.
    #[serde(default)]
    pub worked_at: Option<i64>,
}

impl Suspicion {
    /// A silence that is found now.
    pub fn new(generation: Generation, run_id: &str, pulse: Option<&Pulse>, now_ms: i64) -> Self {
        let work = pulse.and_then(|pulse| pulse.work).unwrap_or_default();
        Self {
            generation,
            run_id: run_id.to_owned(),
            seen_at: now_ms,
            moved_at: pulse.and_then(|pulse| pulse.evidence.last_activity_ms),
            position: pulse.map_or(0, |pulse| pulse.evidence.position),
            amount: work.amount,
            worked_at: work.at_ms,
            ..Self::default()
        }
    }

    /// Nothing was done since it was found.
    pub fn is_same_silence(&self, pulse: &Pulse) -> bool {
        let Work { amount, at_ms, .. } = pulse.work.unwrap_or_default();
        let now = (pulse.evidence.position, amount, at_ms);
        now == (self.position, self.amount, self.worked_at)
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    /// When a run of the detector ended last, ms since the epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_run_at: Option<i64>,
    labels: BTreeMap<String, Suspicion>,
}

/// The memory, which is this detector's alone while it has it.
pub struct Memory {
    path: PathBuf,
    kept: BTreeMap<String, Suspicion>,
    labels: BTreeMap<String, Suspicion>,
    last_run_at: Option<i64>,
    is_another_run: bool,
    /// Of one that is only looked at there is none.
    _lock: Option<FileLock>,
}

impl Memory {
    /// Opens the memory; `Err(holder)` while another detector has it.
    ///
    /// # Errors
    /// When its lock cannot be taken or its file cannot be read.
    pub fn open(home: &Home) -> io::Result<Result<Self, Option<LockHolder>>> {
        let path = Self::path(home);
        create_dir_synced(home.storage.as_ref(), parent_of(&path))?;
        let lock = match FileLock::try_acquire(&path.with_file_name(LOCK), &home.program)? {
            Ok(lock) => lock,
            Err(holder) => return Ok(Err(holder)),
        };
        Self::of_file(home, path, Some(lock)).map(Ok)
    }

    /// The memory as it is now, for one who does not save it: nothing is written or locked.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn look(home: &Home) -> io::Result<Self> {
        Self::of_file(home, Self::path(home), None)
    }

    fn of_file(home: &Home, path: PathBuf, lock: Option<FileLock>) -> io::Result<Self> {
        let Content {
            last_run_at,
            labels,
        } = read(home, &path)?;
        Ok(Self {
            kept: labels.clone(),
            labels,
            last_run_at,
            is_another_run: false,
            path,
            _lock: lock,
        })
    }

    /// Where it is kept.
    pub fn path(home: &Home) -> PathBuf {
        home.paths.home.join(NAME)
    }

    /// The label's suspicion, if it is of this run.
    pub fn of(&self, label: &str, generation: Generation, run_id: &str) -> Option<&Suspicion> {
        let known = self.labels.get(label)?;
        (known.generation == generation && known.run_id == run_id).then_some(known)
    }

    /// Remembers a label.
    pub fn keep(&mut self, label: &str, suspicion: Suspicion) {
        self.labels.insert(label.to_owned(), suspicion);
    }

    /// Forgets a label.
    pub fn forget(&mut self, label: &str) {
        self.labels.remove(label);
    }

    /// Forgets every label but these.
    pub fn keep_only(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.labels.retain(|label, _| is_kept(label));
    }

    /// A run of the detector ends now.
    pub fn note_run(&mut self, now_ms: i64) {
        self.last_run_at = Some(now_ms);
        self.is_another_run = true;
    }

    /// When a run of the detector ended last, ms since the epoch; `None` where none is recorded that can be read.
    pub fn last_run(home: &Home) -> Option<i64> {
        let bytes = home.storage.read(&home.paths.home.join(NAME)).ok()?;
        let content: Content = serde_json::from_slice(&bytes).ok()?;
        content.last_run_at
    }

    /// Writes what has changed.
    ///
    /// # Errors
    /// When the file cannot be replaced; it is then as it was.
    pub fn save(&mut self, home: &Home) -> io::Result<()> {
        if self.kept == self.labels && !self.is_another_run {
            return Ok(());
        }
        let storage = home.storage.as_ref();
        // Whoever has the lock owns them all.
        sweep_temporaries(storage, parent_of(&self.path), NAME, |_| true);
        let labels = self.labels.clone();
        let last_run_at = self.last_run_at;
        let content = Content {
            last_run_at,
            labels,
        };
        let mut bytes = serde_json::to_vec_pretty(&content)?;
        bytes.push(b'\n');
        replace_synced(storage, &self.path, &bytes)?;
        self.kept = self.labels.clone();
        self.is_another_run = false;
        Ok(())
    }
}

fn read(home: &Home, path: &Path) -> io::Result<Content> {
    let bytes = match home.storage.read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Content::default()),
        Err(e) => return Err(e),
    };
    Ok(serde_json::from_slice(&bytes).unwrap_or_else(|e| {
        home.say(&format!(
            "{} is damaged ({e}): who was nudged is forgotten, and it is begun anew",
            path.display()
        ));
        Content::default()
    }))
}
