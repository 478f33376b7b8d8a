//! When the scan ran last (`recovery.json`): for whoever asks whether anybody has it run by the clock.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::home::Home;
use crate::storage::open_to_write;

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

impl LastRun {
    /// Where it is recorded.
    pub fn path(home: &Home) -> PathBuf {
        home.paths.home.join(NAME)
    }

    /// The last one; `None` where none is recorded that can be read.
    pub fn read(home: &Home) -> Option<Self> {
        let bytes = home.storage.read(&Self::path(home)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Records a run that ends now. Where there is no state directory there is nothing to record.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record(home: &Home, outcome: &str) -> io::Result<()> {
        if home.storage.facts(&home.paths.home)?.is_none() {
            return Ok(());
        }
        let run = Self {
            last_run_at: home.now_ms(),
            outcome: outcome.to_owned(),
        };
        let mut text = serde_json::to_vec(&run)?;
        text.push(b'\n');
        // In place and without a sync: half a stamp reads as none, and none is worth no more than the next one.
        let mut how = OpenOptions::new();
        how.write(true).create(true).truncate(false);
        let mut file = open_to_write(&Self::path(home), &mut how)?;
        file.write_all(&text)?;
        file.set_len(text.len() as u64)?;
        Ok(())
    }
}
