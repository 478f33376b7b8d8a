//! Whether a command works: the transcript that its runner writes, and the files into which it prints itself.

use std::io;
use std::time::UNIX_EPOCH;

use super::{LocalBackend, RunFiles};
use crate::backend::{Backend, Pulse, RunRef, Work};

impl LocalBackend<'_> {
    /// What transcript and output files say of a run now. They do not know of each other: a runner that stands still
    /// writes nothing of what its command prints.
    ///
    /// # Errors
    /// When the transcript cannot be read.
    pub fn pulse(&self, run: &RunRef) -> io::Result<Pulse> {
        let evidence = self.observe(run)?;
        let is_over = evidence.settled.is_some();
        let files = RunFiles::of(self.home, &run.run_id);
        Ok(Pulse {
            evidence,
            work: (!is_over).then(|| printed(&files)),
        })
    }
}

fn printed(files: &RunFiles) -> Work {
    let mut work = Work::default();
    for path in [files.stdout(), files.stderr()] {
        let Ok(facts) = std::fs::metadata(&path) else {
            // Nothing was started yet.
            continue;
        };
        work.amount = work.amount.wrapping_add(facts.len());
        let modified = facts.modified().ok();
        let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let at_ms = since.and_then(|since| i64::try_from(since.as_millis()).ok());
        work.at_ms = work.at_ms.max(at_ms);
    }
    work
}
