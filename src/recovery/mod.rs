//! The recovery scan: what a crash left undone is taken up again.
//!
//! In this build it revives watchers: a running label whose watcher is dead gets a new one, which finds the run where
//! it is, or its end on the disk, and records it. Safe to run at any time and twice at once: a watcher that finds its
//! post taken leaves.

use crate::backend::{BackendName, RunRef};
use crate::home::Home;
use crate::ledger::{Ledger, LedgerError};
use crate::record::Status;
use crate::watchers::{Post, start_watcher};

/// What a scan did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Labels that got a new watcher.
    pub revived: Vec<String>,
    /// Labels that could not be helped, and why.
    pub failed: Vec<(String, String)>,
    /// Running labels that this build leaves alone, and why.
    pub skipped: Vec<(String, String)>,
}

/// Looks at every running label once.
///
/// # Errors
/// When the ledger cannot be read.
pub fn scan(home: &Home) -> Result<Scan, LedgerError> {
    let mut scan = Scan::default();
    let book = Ledger::new(home).read()?;
    for (label, entry) in book.entries_containing("\"running\"") {
        if entry.status() != Status::Running {
            continue;
        }
        let label = label.to_owned();
        if BackendName::of_entry(&entry) != BackendName::Local {
            let why = "it runs on an OpenClaw gateway, which this build cannot watch yet";
            scan.skipped.push((label, why.to_owned()));
            continue;
        }
        if RunRef::of_entry(&label, &entry).is_none() {
            scan.skipped.push((label, "it names no session".to_owned()));
            continue;
        }
        if Post::of(home, &label, entry.generation()).is_held() {
            continue;
        }
        match start_watcher(home, &label, entry.generation()) {
            Ok(_) => scan.revived.push(label),
            Err(e) => {
                let program = home.programs.watcher.display();
                scan.failed
                    .push((label, format!("cannot start {program}: {e}")));
            }
        }
    }
    Ok(scan)
}
