//! The detached child that sends what the history has and nobody was told of yet.
//!
//! One sends at a time and one waits behind it: whoever appends an event while somebody waits knows that it will be read.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::thread;

use super::event::Event;
use super::history::{History, Mark};
use super::receivers::{Unheard, post_to_webhook, push_to_loki, run_command};
use crate::config::EventReceivers;
use crate::home::Home;
use crate::process::{FileLock, LockError, log_of};
use crate::storage::{open_to_read, replace_synced};

/// Events older than this are news to nobody: receivers were down, or named only now.
const NEWS_MS: i64 = 10 * 60_000;

/// The most events in one push.
const BATCH: usize = 200;

/// The sender's log is begun anew above this size.
const MAX_LOG_BYTES: u64 = 256 * 1024;

/// The words by which a line of the log tells what was not heard.
const UNHEARD: &str = "did not hear of";

/// So much of the log's end is read for its last line.
const TAIL_BYTES: u64 = 4096;

fn lock_path(home: &Home) -> PathBuf {
    home.paths.home.join("events.lock")
}

fn waiting_path(home: &Home) -> PathBuf {
    home.paths.home.join("events.next.lock")
}

fn mark_path(home: &Home) -> PathBuf {
    home.paths.home.join("events.json")
}

/// Where senders say what went wrong.
pub fn log_path(home: &Home) -> PathBuf {
    home.paths.home.join("events.log")
}

/// What a receiver did not hear of last, as its sender told it; `None` once later events were heard.
pub fn unheard(home: &Home) -> Option<String> {
    let written = |path: PathBuf| {
        let facts = home.storage.facts(&path).ok()??;
        (!facts.is_symlink && !facts.is_dir).then_some(facts)
    };
    let log = written(log_path(home))?;
    // The mark is moved before events are sent, and the log has a line after those that were not heard.
    let mark = written(mark_path(home))?;
    if log.mtime_ns < mark.mtime_ns {
        return None;
    }
    let mut file = open_to_read(&log_path(home)).ok()?;
    let mut text = Vec::new();
    file.seek(SeekFrom::Start(log.len.saturating_sub(TAIL_BYTES)))
        .ok()?;
    file.take(TAIL_BYTES).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let last = text.lines().rfind(|line| line.contains(UNHEARD))?;
    let (_, line) = last.split_once("] ").unwrap_or(("", last));
    Some(line.to_owned())
}

/// Somebody waits for its turn, and has not begun to read.
pub(super) fn is_about_to_send(home: &Home) -> bool {
    FileLock::is_held(&waiting_path(home))
}

/// The log, to be written to.
pub(super) fn log(home: &Home) -> io::Result<File> {
    let path = log_path(home);
    log_of(&path, MAX_LOG_BYTES)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot open {}: {e}", path.display())))
}

/// Sends every event that is news, to each receiver, once. Leaves at once where somebody else will.
///
/// # Errors
/// When the locks cannot be taken or the mark cannot be written.
pub fn send_new(home: &Home) -> Result<(), LockError> {
    let failed = |path: PathBuf| move |source| LockError::Io { path, source };
    let waiting = FileLock::try_acquire(&waiting_path(home), &home.program)
        .map_err(failed(waiting_path(home)))?;
    let Ok(waiting) = waiting else {
        return Ok(());
    };
    let _sending = FileLock::acquire(&lock_path(home), &home.program, None, &|_| {})?;
    drop(waiting);
    let history = History::of(home);
    let mut mark = read_mark(home);
    loop {
        let (events, behind) = history.since(mark);
        if behind == mark {
            return Ok(());
        }
        // Before they are sent: an event is told at most once.
        mark = behind;
        let text = serde_json::to_vec(&mark).expect("two numbers are always serialisable");
        replace_synced(home.storage.as_ref(), &mark_path(home), &text)
            .map_err(failed(mark_path(home)))?;
        let newer_than = home.now_ms().saturating_sub(NEWS_MS);
        let news: Vec<Event> = events
            .into_iter()
            .filter(|event| event.ts >= newer_than)
            .collect();
        for batch in news.chunks(BATCH) {
            tell_all(home, &home.config.events, batch);
        }
    }
}

fn read_mark(home: &Home) -> Mark {
    let bytes = home.storage.read(&mark_path(home)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

/// Tells every receiver at once: a slow one holds up no other.
fn tell_all(home: &Home, receivers: &EventReceivers, events: &[Event]) {
    let say = |who: &str, outcome: Result<(), Unheard>| {
        if let Err(Unheard { count, why }) = outcome {
            home.say(&format!("{who} {UNHEARD} {count} event(s): {why}"));
        }
    };
    thread::scope(|scope| {
        if let Some(address) = &receivers.loki {
            scope.spawn(move || say("Loki", push_to_loki(address, events)));
        }
        if let Some(hook) = &receivers.webhook {
            scope.spawn(move || say("the webhook", post_to_webhook(hook, events)));
        }
        if let Some(argv) = &receivers.command {
            scope.spawn(move || say("the command", run_command(argv, events)));
        }
    });
}
