//! Resolving a running label that nobody watches: whoever does it holds the watcher's post meanwhile.

use std::io;

use super::Reader;
use super::changes::Recorded;
use super::conclude::{file_ending, record_ending};
use super::driver::{Limits, policy_of};
use super::machine::Conclusion;
use super::orphan::{Orphan, Verdict, verdict};
use crate::backend::{BackendName, Evidence, RunRef, Settled, backend_of};
use crate::delivery::is_owed;
use crate::home::Home;
use crate::ledger::{Ledger, LedgerError};
use crate::record::{Entry, Status};
use crate::recovery::retries::Account;
use crate::watchers::{Post, ensure_watcher};

/// What resolving a label makes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// Its status.
    pub to: Status,
    /// Why, in one line.
    pub why: String,
}

/// Whether the change is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It is made, and recorded.
    Act,
    /// It is only told.
    Look,
}

/// What the evidence makes of a running label; `None` when it goes on, somebody watches it, or it has changed since
/// `entry` was read. A result that a verify command has to pass first, and a failure that is followed by a retry, are its
/// watcher's, which is started.
///
/// # Errors
/// When the ledger cannot be read or written; nothing is changed then.
pub fn resolve(
    home: &Home,
    label: &str,
    entry: &Entry,
    evidence: &Evidence,
    way: Way,
) -> Result<Option<Change>, LedgerError> {
    let generation = entry.generation();
    let home = &home.of_agent(entry.text("agent"));
    let Some(run) = RunRef::of_entry(label, entry) else {
        return Ok(None);
    };
    let found = verdict(&orphan(home, entry), evidence, home.now_ms());
    if found == Verdict::GoesOn || entry.is_signalled() {
        return Ok(None);
    }
    let hand_over =
        |settled: &Settled, status: &Status| hand_over(home, label, entry, settled, status);
    if way == Way::Look {
        let (settled, status) = ending(home, &run, entry, evidence, &found);
        return Ok(match hand_over(&settled, &status) {
            Some(change) => change,
            None => Some(Change {
                why: reason(&settled),
                to: status,
            }),
        });
    }
    let post = Post::of(home, label, generation);
    let lock = match post.take(home) {
        Ok(Ok(lock)) => lock,
        Ok(Err(_)) | Err(_) => return Ok(None),
    };
    let ledger = Ledger::new(home);
    let is_unchanged = ledger
        .read()?
        .get(label)
        .is_some_and(|now| now.generation() == generation && now.rev() == entry.rev());
    let (settled, status) = ending(home, &run, entry, evidence, &found);
    let handed_over = hand_over(&settled, &status);
    if !is_unchanged || handed_over.is_some() {
        drop(lock);
        // One that found the post taken by us has left.
        ensure_watcher(home, label, generation);
        return Ok(handed_over.flatten().filter(|_| is_unchanged));
    }
    let change = Change {
        why: reason(&settled),
        to: status,
    };
    let conclusion = match change.to {
        Status::Done => Conclusion::Done,
        Status::Cancelled => Conclusion::Cancelled,
        _ => Conclusion::Failed,
    };
    let mut ending = file_ending(home, &run, conclusion, &settled);
    ending.status = change.to.clone();
    let reader = Reader::after(home, &post);
    let recorded = record_ending(home, &ledger, &run, entry, &ending, reader)?;
    drop(lock);
    if ledger.entry(label)?.is_some_and(|now| is_owed(&now)) {
        ensure_watcher(home, label, generation);
    }
    Ok((recorded == Recorded::Yes).then_some(change))
}

/// What is left to the label's watcher: a result that a verify command has to pass first, of which nothing is told, and a
/// failure that is followed by a retry.
fn hand_over(
    home: &Home,
    label: &str,
    entry: &Entry,
    settled: &Settled,
    status: &Status,
) -> Option<Option<Change>> {
    match (settled, status) {
        (_, Status::Done) => entry.text("verifyCmd").map(|_| None),
        (Settled::Failed { failure, .. }, Status::Error) => {
            let next = Account::of(label, entry, &home.config.retry).next(failure)?;
            Some(Some(Change {
                to: Status::Running,
                why: format!("{}; its watcher sees to it: {next}", reason(settled)),
            }))
        }
        _ => None,
    }
}

/// The end and the status that it gives the label.
fn ending(
    home: &Home,
    run: &RunRef,
    entry: &Entry,
    evidence: &Evidence,
    found: &Verdict,
) -> (Settled, Status) {
    let left = match found.leaves_something(evidence) {
        true => abandoned(home, run, entry),
        false => None,
    };
    found.ending(evidence, left, entry.cancel_requested(), home.now_ms())
}

fn abandoned(home: &Home, run: &RunRef, entry: &Entry) -> Option<Settled> {
    let backend = backend_of(home, BackendName::of_entry(entry)?).ok()?;
    let found: io::Result<Option<Settled>> = backend.abandoned(run);
    found.ok().flatten()
}

fn reason(settled: &Settled) -> String {
    match settled {
        Settled::Reply { .. } => "the session has its reply".to_owned(),
        Settled::Failed { failure, .. } => format!("{}: {}", failure.kind, failure.message),
    }
}

fn orphan(home: &Home, entry: &Entry) -> Orphan {
    Orphan {
        phase: entry.phase(),
        spawned_at_ms: entry.time("spawnedAt").unwrap_or(0),
        policy: policy_of(home, entry, &Limits::default()),
        has_prompt: entry.text("promptPath").is_some(),
        is_carried: BackendName::of_entry(entry) == Some(BackendName::Local),
    }
}
