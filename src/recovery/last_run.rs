//! When the scan ran last (`recovery.json`): for whoever asks whether anybody has it run by the clock.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::home::Home;
use crate::storage::{replace_synced, sweep_temporaries};

/// The file's name in the state directory.
const NAME: &str = "recovery.json";

/// A run of the scan over every label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// When it ended, ms since the epoch.
    pub last_run_at: i64,
    /// `ok`, or `failed` where a label could not be helped.
    pub outcome: String,
}

fn path(home: &Home) -> PathBuf {
    home.paths.home.join(NAME)
}

impl LastRun {
    /// The last one; `None` where none is recorded that can be read.
    pub fn read(home: &Home) -> Option<Self> {
        let bytes = home.storage.read(&path(home)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Records a run that ends now. Where there is no state directory there is nothing to record.
    ///
    /// # Errors
    /// When the file cannot be replaced; it is then as it was.
    pub fn record(home: &Home, outcome: &str) -> io::Result<()> {
        let storage = home.storage.as_ref();
        if storage.facts(&home.paths.home)?.is_none() {
            return Ok(());
        }
        let run = Self {
            last_run_at: home.now_ms(),
            outcome: outcome.to_owned(),
        };
        let mut bytes = serde_json::to_vec(&run)?;
        bytes.push(b'\n');
        replace_synced(storage, &path(home), &bytes)?;
        sweep_temporaries(storage, &home.paths.home, NAME, |pid| {
            crate::process::ProcessIdentity::of(pid).is_none()
        });
        Ok(())
    }
}
