//! The recovery scan: what a crash left undone is taken up again.
//!
//! A running label whose watcher is dead gets a new one, which finds the run where it is, or its end on the disk, and
//! records it; so does an ended label that still owes a delivery. A wedged watcher (its lock is held, its heartbeat is
//! old) is reported; after ten minutes, if it does not answer either, that very process is ended and replaced. A label
//! that failed of an overload while its budget was not spent is retried. Safe to run at any time and twice at once: everything is done by
//! watchers, and a watcher that finds its post taken leaves.

mod adopt;
pub mod fallback;
mod gateway;
mod last_run;
pub mod overloads;
pub mod retries;

use std::collections::HashSet;
use std::time::Duration;

use crate::backend::local::LocalBackend;
use crate::backend::{Backend, BackendName, Liveness, RunRef, Settled};
use crate::delivery::is_owed;
use crate::home::Home;
use crate::ledger::{Book, Ledger, LedgerError};
use crate::process::{Signal, signal_process};
use crate::record::{Entry, Generation, Status};
use crate::watchers::{DEATH_PATIENCE, Post, start_watcher};

use self::gateway::take_up_parked;
use self::overloads::retry_overloads;
pub use adopt::{adopt_forgotten_runs, forgotten_runs};
pub use last_run::LastRun;

/// A watcher whose heartbeat is older than this is ended.
pub const WEDGED_MS: i64 = 10 * 60_000;

/// How long such a watcher is given to answer that it lives.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Last words are looked for this long after the signal.
pub const LAST_WORDS_MS: i64 = 15 * 60_000;

/// What a scan is to do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// It only tells.
    pub dry_run: bool,
    /// Failures that are older are not retried.
    pub max_age: Option<Duration>,
    /// How often a label is retried at most.
    pub max_retries: Option<u32>,
    /// The only label that it is for.
    pub label: Option<String>,
}

impl Options {
    fn concerns(&self, label: &str) -> bool {
        self.label.as_deref().is_none_or(|only| only == label)
    }
}

/// What a scan did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Labels that got a new watcher, and why.
    pub revived: Vec<(String, String)>,
    /// Labels whose retry has started.
    pub retried: Vec<(String, String)>,
    /// Labels whose retries are used up.
    pub given_up: Vec<(String, String)>,
    /// Ended labels whose sessions the store still showed as running.
    pub closed: Vec<String>,
    /// Watchers that hold their post and do not stir.
    pub wedged: Vec<(String, String)>,
    /// Labels that could not be helped, and why.
    pub failed: Vec<(String, String)>,
    /// Running labels that this build leaves alone, and why.
    pub skipped: Vec<(String, String)>,
}

/// Looks at every label once.
///
/// # Errors
/// When the ledger cannot be read.
pub fn scan(home: &Home, options: &Options) -> Result<Scan, LedgerError> {
    let mut scan = Scan::default();
    take_up_parked(home, options)?;
    let book = Ledger::new(home).read()?;
    for (label, entry) in candidates(&book) {
        if !options.concerns(&label) {
            continue;
        }
        let Some(why) = need(home, &label, &entry, &mut scan) else {
            continue;
        };
        let post = Post::of(home, &label, entry.generation());
        if options.dry_run {
            if !post.is_held() {
                scan.revived.push((label, why.to_owned()));
            }
            continue;
        }
        let is_taken = post.is_held() && !post.is_abandoned(home, DEATH_PATIENCE);
        if is_taken && !is_freed(home, &label, &post, &mut scan) {
            continue;
        }
        start(home, &label, entry.generation(), why, &mut scan);
    }
    if !options.dry_run && options.label.is_none() {
        close_sessions(home, &book, &mut scan);
    }
    retry_overloads(home, &book, options, &mut scan)?;
    Ok(scan)
}

/// Sessions of labels that have ended, whose runner died before it could say so in the store.
fn close_sessions(home: &Home, book: &Book, scan: &mut Scan) {
    let is_watched = |label: &str| {
        book.get(label)
            .is_some_and(|entry| entry.status() == Status::Running)
    };
    match LocalBackend::new(home).close_left_open(is_watched) {
        Ok(closed) => scan.closed = closed,
        Err(e) => scan
            .failed
            .push(("sessions".to_owned(), format!("cannot close them: {e}"))),
    }
}

/// Labels that may need a watcher: a sieve over the text, before entries are parsed.
fn candidates(book: &Book) -> Vec<(String, Entry)> {
    let mut found = Vec::new();
    let mut known = HashSet::new();
    for needle in ["\"running\"", "\"deliveries\"", "\"completion\": {"] {
        for (label, entry) in book.entries_containing(needle) {
            if known.insert(label) {
                found.push((label.to_owned(), entry));
            }
        }
    }
    found
}

/// Every label of ours that needs a watcher, whether it has one or not.
pub fn in_need(home: &Home, book: &Book) -> Vec<(String, Entry)> {
    let mut needy = candidates(book);
    needy.retain(|(label, entry)| needs_watcher(home, label, entry));
    needy
}

/// The label needs a watcher, whether it has one or not.
pub fn needs_watcher(home: &Home, label: &str, entry: &Entry) -> bool {
    let needed = needed(label, entry, || owes_last_words(home, label, entry));
    matches!(needed, Ok(Some(_)))
}

/// Why the label needs a watcher, if it does.
fn need(home: &Home, label: &str, entry: &Entry, scan: &mut Scan) -> Option<&'static str> {
    match needed(label, entry, || owes_last_words(home, label, entry)) {
        Ok(why) => why,
        Err(skipped) => {
            scan.skipped.push((label.to_owned(), skipped.to_owned()));
            None
        }
    }
}

/// Why the label needs a watcher, if it does. Pure but for `owes_last_words`, which looks at the session of one that has
/// ended.
///
/// # Errors
/// Why a label that runs is left alone.
pub fn needed(
    label: &str,
    entry: &Entry,
    owes_last_words: impl FnOnce() -> bool,
) -> Result<Option<&'static str>, &'static str> {
    if entry.status().is_ended() {
        if is_owed(entry) {
            return Ok(Some("it owes a delivery"));
        }
        if entry.is_signalled() {
            return Ok(Some("its late result waits for the verify command"));
        }
        return Ok(owes_last_words().then_some("its agent's last words are not kept yet"));
    }
    if entry.status() != Status::Running {
        return Ok(None);
    }
    if RunRef::of_entry(label, entry).is_some() {
        return Ok(Some("it is running without a watcher"));
    }
    Err(match BackendName::of_entry(entry) {
        Some(_) => "it names no session",
        None => "another tool started it and watches it",
    })
}

/// The agent signalled done, and its run goes on or has said more since, but nobody has kept that.
fn owes_last_words(home: &Home, label: &str, entry: &Entry) -> bool {
    // What a label that failed has said is kept with its failure.
    let signalled =
        entry.status() == Status::Done && entry.value("completion").is_some_and(|c| c.is_object());
    let is_local = BackendName::of_entry(entry) == Some(BackendName::Local);
    let age_ms = entry
        .time("endedAt")
        .map_or(i64::MAX, |at| home.now_ms().saturating_sub(at));
    if !signalled || !is_local || entry.value("lastWords").is_some() || age_ms > LAST_WORDS_MS {
        return false;
    }
    let Some(run) = RunRef::of_entry(label, entry) else {
        return false;
    };
    match LocalBackend::new(home).observe(&run) {
        Ok(evidence) => match evidence.settled {
            Some(Settled::Reply { text, .. } | Settled::Failed { partial: text, .. }) => {
                !text.is_empty()
            }
            None => evidence.liveness != Liveness::Absent,
        },
        Err(_) => false,
    }
}

/// Looks at a watcher that holds its post. True when it was wedged and has been ended.
fn is_freed(home: &Home, label: &str, post: &Post, scan: &mut Scan) -> bool {
    let Some(wedged) = post.wedged(home) else {
        return false;
    };
    let age_ms = home.now_ms().saturating_sub(wedged.since_ms);
    let what = format!(
        "its watcher (pid {}) has not stirred for {} s",
        wedged.process.pid,
        age_ms / 1000
    );
    if age_ms < WEDGED_MS {
        scan.wedged.push((label.to_owned(), what));
        return false;
    }
    // An old heartbeat alone ends nobody: its age may be that of a clock which was set.
    if post.answers(home, ANSWER_PATIENCE) {
        return !post.is_held();
    }
    // It may live, and have no room for the answer.
    if let Err(e) = post.takes_files(home) {
        let dir = home.paths.watchers();
        let why = format!("nobody can write into {}: {e}", dir.display());
        scan.wedged.push((
            label.to_owned(),
            format!("{what}; it is left alone, because {why}"),
        ));
        return false;
    }
    match signal_process(&wedged.process, Signal::KILL) {
        Ok(()) => {
            scan.wedged
                .push((label.to_owned(), format!("{what}; it was ended")));
            post.wait_until_free(home);
            true
        }
        Err(e) => {
            scan.failed
                .push((label.to_owned(), format!("{what} and cannot be ended: {e}")));
            false
        }
    }
}

fn start(home: &Home, label: &str, generation: Generation, why: &str, scan: &mut Scan) {
    match start_watcher(home, label, generation) {
        Ok(_) => scan.revived.push((label.to_owned(), why.to_owned())),
        Err(e) => {
            let program = home.programs.watcher.display();
            scan.failed
                .push((label.to_owned(), format!("cannot start {program}: {e}")));
        }
    }
}
