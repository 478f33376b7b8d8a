//! Commands that outlive their label: an agent may signal done and work on, and some labels end unheard.

use std::io;

use super::{LocalBackend, RunFiles};
use crate::backend::{Backend, BackendName, RunRef};
use crate::home::Home;
use crate::process::led_group_alive;
use crate::record::{Entry, Generation, OlderRun};
use crate::storage::Storage;

/// A command that is at work although its label has ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Survivor {
    /// The leader of its process group.
    pub pid: u32,
    /// When its label ended, ms since the epoch, as far as that is on record.
    pub since_ms: Option<i64>,
    run: RunRef,
}

impl Survivor {
    /// The command of an entry that has ended, where it is at work all the same. What cannot be read counts as over.
    pub fn of(home: &Home, label: &str, entry: &Entry) -> Option<Self> {
        let is_local = BackendName::of_entry(entry) == Some(BackendName::Local);
        if !is_local || !entry.status().is_ended() {
            return None;
        }
        Self::of_run(home, RunRef::of_entry(label, entry)?, entry.time("endedAt"))
    }

    /// The commands of older generations that the entry's own found at work, and that still are.
    pub fn older(home: &Home, label: &str, entry: &Entry) -> Vec<Self> {
        let runs = entry.older_runs().into_iter();
        runs.filter_map(|older| {
            let run = RunRef {
                label: label.to_owned(),
                generation: older.generation,
                run_id: older.run_id,
                session_key: older.session_key,
                session_id: older.session_id,
                ..RunRef::default()
            };
            Self::of_run(home, run, older.ended_at)
        })
        .collect()
    }

    /// Every command that outlived a generation of the label, the oldest first.
    pub fn all(home: &Home, label: &str, entry: &Entry) -> Vec<Self> {
        let mut all = Self::older(home, label, entry);
        all.extend(Self::of(home, label, entry));
        all
    }

    fn of_run(home: &Home, run: RunRef, since_ms: Option<i64>) -> Option<Self> {
        let pid = command_at_work(home, &run)?;
        Some(Self { pid, since_ms, run })
    }

    /// As a label's next generation remembers it.
    pub fn to_record(&self) -> OlderRun {
        OlderRun {
            generation: self.run.generation,
            run_id: self.run.run_id.clone(),
            session_key: self.run.session_key.clone(),
            session_id: self.run.session_id.clone(),
            ended_at: self.since_ms,
            ..OlderRun::default()
        }
    }

    /// The generation that it was started for.
    pub fn generation(&self) -> Generation {
        self.run.generation
    }

    /// Its run.
    pub fn run(&self) -> &RunRef {
        &self.run
    }

    /// It has not ended, or whoever ends it is not through with that.
    pub fn is_at_work(&self, home: &Home) -> bool {
        let files = RunFiles::of(home, &self.run.run_id);
        group_at_work(home.storage.as_ref(), &files).is_some() || files.has_runner()
    }

    /// Asks for its end, and has it carried by somebody who hears that.
    ///
    /// # Errors
    /// When the request cannot be recorded, or no runner can be started.
    pub fn stop(&self, home: &Home) -> io::Result<()> {
        let backend = LocalBackend::new(home);
        backend.abort(&self.run)?;
        let files = RunFiles::of(home, &self.run.run_id);
        match files.has_runner() || backend.lack(&files)?.is_some() {
            true => Ok(()),
            false => backend.carry(&self.run).map(|_| ()),
        }
    }
}

/// The process group of a run's command that is at work. What cannot be read counts as over.
pub fn command_at_work(home: &Home, run: &RunRef) -> Option<u32> {
    group_at_work(home.storage.as_ref(), &RunFiles::of(home, &run.run_id))
}

/// The process group of a run whose command has not ended. What a command that has ended left in the background is nobody's
/// business.
pub(super) fn group_at_work(storage: &dyn Storage, files: &RunFiles) -> Option<u32> {
    if !matches!(files.exit(storage), Ok(None)) {
        return None;
    }
    let start = files.start(storage).ok()??;
    led_group_alive(&start.waiter).then_some(start.waiter.pid)
}
