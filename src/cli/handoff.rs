//! `dispatch watcher-handoff`: a fresh watcher takes over a label, or begins where none is.
//!
//! The successor is started first and asks the old watcher to leave: at every moment the label has a watcher, or one that
//! waits for its post, and should both die the recovery scan finds the label.

mod foreign;

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::HandoffArgs;
use super::exit::{FAILURE, OK, failure};
use super::labels;
use super::output::Output;
use super::views::{open_deliveries, open_delivery_line};
use super::watcher::HANDOVER_WAIT;
use crate::delivery::STDOUT;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::process::{Detached, FileLock, ProcessIdentity};
use crate::record::{DeliveryState, Entry, Status};
use crate::recovery::needs_watcher;
use crate::shell;
use crate::wake::Wake;
use crate::watchers::{Keeper, Post, start_successor};

/// Labels whose successors begin together.
const AT_ONCE: usize = 16;

/// Beyond the wait for the post, a successor is given this long.
const MARGIN: Duration = Duration::from_secs(5);

/// What became of one label.
struct Outcome {
    label: String,
    generation: u64,
    old_pid: Option<u32>,
    new_pid: Option<u32>,
    message: String,
    status: Status,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A fresh watcher has the post.
    TakenOver,
    /// No watcher is needed.
    Idle,
    /// Whoever watches it is not to be robbed.
    LeftAlone,
    /// It did not work.
    Failed,
}

/// A successor on its way.
struct Successor {
    child: Detached,
    post: Post,
    old: Option<ProcessIdentity>,
    outcome: Outcome,
}

/// Runs the command.
///
/// # Errors
/// An unknown label; an unreadable ledger.
pub fn run(home: &Home, output: Output, args: &HandoffArgs) -> Result<u8> {
    let book = Ledger::new(home).read()?;
    let Some(label) = &args.label else {
        let mut entries: Vec<(String, Entry)> = book
            .entries()
            .map(|(label, entry)| (label.to_owned(), entry))
            .collect();
        drop(book);
        entries.retain(|(label, entry)| {
            needs_watcher(home, label, entry) || has_keeper(home, label, entry)
        });
        let outcomes = take_over(home, &entries);
        return tell_all(output, &outcomes, args.reason.as_deref());
    };
    let mut entry = labels::find(home, &book, label)?;
    drop(book);
    // Only by name: of all labels, those of another tool are that tool's.
    if foreign::is_foreign(&entry) {
        entry = foreign::take_over(home, label, &entry)?;
    }
    if let Some(outcome) = take_over(home, &[(label.clone(), entry)]).pop() {
        return tell(output, &outcome, args.reason.as_deref());
    }
    Ok(OK)
}

fn has_keeper(home: &Home, label: &str, entry: &Entry) -> bool {
    Post::of(home, label, entry.generation()).is_held()
}

/// Has each label taken over, some at a time.
fn take_over(home: &Home, entries: &[(String, Entry)]) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for some in entries.chunks(AT_ONCE) {
        let begun: Vec<_> = some
            .iter()
            .map(|(label, entry)| begin(home, label, entry))
            .collect();
        for begun in begun {
            outcomes.push(match begun {
                Ok(successor) => successor.finish(home),
                Err(outcome) => outcome,
            });
        }
    }
    outcomes
}

/// Starts the successor, where one is wanted.
fn begin(home: &Home, label: &str, entry: &Entry) -> Result<Successor, Outcome> {
    let post = Post::of(home, label, entry.generation());
    let outcome = |kind, old_pid, message: String| Outcome {
        label: label.to_owned(),
        generation: entry.generation().get(),
        old_pid,
        new_pid: None,
        message,
        status: entry.status(),
        kind,
    };
    let old = match post.keeper() {
        Keeper::Foreground(holder) => {
            let message = format!(
                "its {holder} prints the result for whoever started it, and is not replaced; end it first, or let it finish"
            );
            return Err(outcome(Kind::LeftAlone, Some(holder.process.pid), message));
        }
        Keeper::OfEveryLabel(holder) => {
            let message = format!("{holder} watches it with all others; restart that one instead");
            return Err(outcome(Kind::LeftAlone, Some(holder.process.pid), message));
        }
        Keeper::Detached(holder) => Some(holder.process),
        Keeper::Passing => None,
        Keeper::Nobody if needs_watcher(home, label, entry) => None,
        Keeper::Nobody if entry.status() == Status::Running => {
            let message = "it cannot be watched from here".to_owned();
            return Err(outcome(Kind::Failed, None, message));
        }
        Keeper::Nobody => {
            let status = entry.status();
            let is = match status.is_ended() {
                true => format!("has ended ({status})"),
                false => format!("is {status}"),
            };
            let message = match parked_line(home, label, entry) {
                Some(parked) => format!("it {is} and needs no watcher, but {parked}"),
                None => format!("it {is} and owes nothing: it needs no watcher"),
            };
            return Err(outcome(Kind::Idle, None, message));
        }
    };
    let old_pid = old.as_ref().map(|process| process.pid);
    match start_successor(home, label, entry.generation()) {
        Ok(child) => Ok(Successor {
            child,
            post,
            old,
            outcome: outcome(Kind::Failed, old_pid, String::new()),
        }),
        Err(e) => {
            let program = home.programs.watcher.display();
            let message = format!("cannot start {program}: {e}");
            Err(outcome(Kind::Failed, old_pid, message))
        }
    }
}

/// What was given up, and how it is sent again; `None` where nothing was.
fn parked_line(home: &Home, label: &str, entry: &Entry) -> Option<String> {
    let mut parked = open_deliveries(entry);
    parked.retain(|delivery| delivery.state == DeliveryState::Parked);
    let what = match parked.len() {
        0 => return None,
        1 => "a delivery was given up".to_owned(),
        several => format!("{several} deliveries were given up"),
    };
    let now_ms = home.now_ms();
    let line = |delivery| open_delivery_line(delivery, now_ms);
    let lines: Vec<String> = parked.iter().map(line).collect();
    let mut told = format!("{what} ({})", lines.join("; "));
    // What a stdout did not take says itself what to do.
    if parked.iter().any(|delivery| delivery.target != STDOUT) {
        let label = shell::label(label);
        told += &format!("; mend that, then run: dispatch redeliver {label}");
    }
    Some(told)
}

impl Successor {
    /// Waits until it has the post, or somebody else who is as fresh.
    fn finish(mut self, home: &Home) -> Outcome {
        let lock = self.post.lock_path();
        let mut wake = Wake::new();
        wake.watch(&lock);
        let limit = home.clock.monotonic() + HANDOVER_WAIT + MARGIN;
        loop {
            // It may have ended by the time its signature is read.
            let has_left = self.child.reap();
            let holder = FileLock::holder(&lock).map(|holder| holder.process);
            let fresh = holder.filter(|process| {
                process.pid == self.child.pid()
                    || (has_left && self.old.as_ref() != Some(process) && process.is_alive())
            });
            if let Some(process) = fresh {
                self.outcome.new_pid = Some(process.pid);
                self.outcome.kind = Kind::TakenOver;
                self.outcome.message = match self.outcome.old_pid {
                    Some(old) => format!("pid {} has taken over from pid {old}", process.pid),
                    None => format!("pid {} watches it now; nobody did", process.pid),
                };
                return self.outcome;
            }
            let left = limit.saturating_sub(home.clock.monotonic());
            if has_left || left.is_zero() {
                let log = self.post.log_path();
                self.outcome.message = format!(
                    "the new watcher did not get the post; {} says why",
                    log.display()
                );
                return self.outcome;
            }
            wake.wait(left.min(Duration::from_secs(1)));
        }
    }
}

impl Outcome {
    /// Under `reason` stands the caller's, or why nothing was scheduled.
    fn json(&self, reason: Option<&str>) -> Value {
        let is_scheduled = self.kind == Kind::TakenOver;
        let why = (!is_scheduled).then_some(self.message.as_str());
        json!({
            "ok": matches!(self.kind, Kind::TakenOver | Kind::Idle),
            "scheduled": is_scheduled,
            "jobId": null,
            "reason": why.or(reason),
            "status": self.status.as_str(),
            "label": self.label,
            "generation": self.generation,
            "oldPid": self.old_pid,
            "newPid": self.new_pid,
            "message": self.message,
        })
    }
}

fn tell(output: Output, outcome: &Outcome, reason: Option<&str>) -> Result<u8> {
    let is_ok = matches!(outcome.kind, Kind::TakenOver | Kind::Idle);
    if output.is_json() {
        output.json(&outcome.json(reason))?;
        return Ok(if is_ok { OK } else { FAILURE });
    }
    let line = format!("{}: {}", outcome.label, outcome.message);
    match is_ok {
        true => output.untrusted(&line).map(|()| OK).map_err(Into::into),
        false => Err(failure(line)),
    }
}

fn tell_all(output: Output, outcomes: &[Outcome], reason: Option<&str>) -> Result<u8> {
    let count = |kind| {
        outcomes
            .iter()
            .filter(|outcome| outcome.kind == kind)
            .count()
    };
    let code = if count(Kind::Failed) == 0 {
        OK
    } else {
        FAILURE
    };
    if output.is_json() {
        output.json(&json!({
            "ok": code == OK,
            "count": count(Kind::TakenOver),
            "leftAlone": count(Kind::LeftAlone),
            "failed": count(Kind::Failed),
            "labels": outcomes.iter().map(|outcome| outcome.json(reason)).collect::<Vec<_>>(),
        }))?;
        return Ok(code);
    }
    if outcomes.is_empty() {
        output.untrusted("no label needs a watcher")?;
    }
    for outcome in outcomes {
        output.untrusted(&format!("{}: {}", outcome.label, outcome.message))?;
    }
    Ok(code)
}
