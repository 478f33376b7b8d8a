//! `dispatch wait`: until labels have ended.

mod progress;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use self::progress::Progress;
use super::args::WaitArgs;
use super::exit::{FAILURE, OK, TIMED_OUT};
use super::output::Output;
use super::{labels, views};
use crate::backend::RunRef;
use crate::clock::Clock;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::record::{Entry, Status};
use crate::storage::parent_of;
use crate::wake::Wake;
use crate::watchers::{Post, ensure_watcher};

/// How often it is checked that each watcher still lives.
const WATCHER_CHECK: Duration = Duration::from_secs(5);

/// How often a person sees that time passes.
const TICK: Duration = Duration::from_secs(1);

/// When the wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// All have ended.
    All,
    /// One has.
    Any,
}

/// What is known of the watchers when a wait begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watchers {
    /// Nothing: they are looked for at once.
    Unknown,
    /// They were just started, and may not be at their posts yet: they are looked for at the next check.
    Started,
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Waited {
    /// Labels that have ended, with their entries.
    pub ended: Vec<(String, Entry)>,
    /// Labels that have not, with their entries.
    pub running: Vec<(String, Entry)>,
    /// Time was up.
    pub timed_out: bool,
}

impl Waited {
    /// The exit code.
    pub fn code(&self) -> u8 {
        let all_done = self
            .ended
            .iter()
            .all(|(_, entry)| entry.status() == Status::Done);
        match (self.timed_out, all_done) {
            (true, _) => TIMED_OUT,
            (false, true) => OK,
            (false, false) => FAILURE,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// An unknown label; a ledger that cannot be read.
pub fn run(home: &Home, output: Output, args: &WaitArgs) -> Result<u8> {
    let book = Ledger::new(home).read()?;
    let wanted: Vec<String> = match args.all {
        true => book
            .entries_containing("\"running\"")
            .filter(|(_, entry)| entry.status() == Status::Running)
            .map(|(label, _)| label.to_owned())
            .collect(),
        false => args.labels.clone(),
    };
    for label in &wanted {
        labels::find(home, &book, label)?;
    }
    let until = if args.any { Until::Any } else { Until::All };
    let waited = until_ended(home, &wanted, until, Watchers::Unknown, args.timeout)?;
    print(home, output, &waited)?;
    Ok(waited.code())
}

/// Waits. Starts watchers for labels that have none.
///
/// # Errors
/// When the ledger cannot be read.
pub fn until_ended(
    home: &Home,
    wanted: &[String],
    until: Until,
    watchers: Watchers,
    timeout: Option<Duration>,
) -> Result<Waited> {
    let ledger = Ledger::new(home);
    let mut wake = Wake::new();
    wake.watch(parent_of(ledger.path()));
    let clock = home.clock.as_ref();
    let begun = clock.monotonic();
    let mut next_check = match watchers {
        Watchers::Unknown => begun,
        Watchers::Started => begun + WATCHER_CHECK,
    };
    let mut seen = None;
    let mut waited = Waited {
        ended: Vec::new(),
        running: Vec::new(),
        timed_out: false,
    };
    let mut progress = Progress::on_stderr();
    loop {
        let facts = home.storage.facts(ledger.path()).ok().flatten();
        if seen.is_none() || facts != seen {
            seen = facts;
            let book = ledger.read()?;
            waited = sort(wanted, |label| book.get(label));
        }
        let over = waited.running.is_empty() || (until == Until::Any && !waited.ended.is_empty());
        if over {
            progress.clear();
            return Ok(waited);
        }
        let now = clock.monotonic();
        let passed = now.saturating_sub(begun);
        if timeout.is_some_and(|limit| passed >= limit) {
            progress.clear();
            waited.timed_out = true;
            return Ok(waited);
        }
        if now >= next_check {
            next_check = now + WATCHER_CHECK;
            check_watchers(home, &ledger, &waited.running)?;
        }
        progress.show(home, &waited.running);
        let left = timeout.map_or(Duration::MAX, |limit| limit.saturating_sub(passed));
        wake.wait(left.min(next_look(clock, next_check, &progress)));
    }
}

fn next_look(clock: &dyn Clock, next_check: Duration, progress: &Progress) -> Duration {
    let check = next_check.saturating_sub(clock.monotonic());
    if progress.is_on() {
        check.min(TICK)
    } else {
        check
    }
}

fn sort(wanted: &[String], get: impl Fn(&str) -> Option<Entry>) -> Waited {
    let mut waited = Waited {
        ended: Vec::new(),
        running: Vec::new(),
        timed_out: false,
    };
    let mut known = BTreeSet::new();
    for label in wanted.iter().filter(|label| known.insert(label.as_str())) {
        match get(label) {
            Some(entry) if entry.status() == Status::Running => {
                waited.running.push((label.clone(), entry));
            }
            // A label that left the ledger meanwhile has ended; its status is in the archive.
            entry => waited
                .ended
                .push((label.clone(), entry.unwrap_or_default())),
        }
    }
    waited
}

/// A running label whose watcher died would be waited for until the next recovery scan.
fn check_watchers(home: &Home, ledger: &Ledger, running: &[(String, Entry)]) -> Result<()> {
    let book = ledger.read()?;
    for (label, _) in running {
        let Some(entry) = book.get(label) else {
            continue;
        };
        let watchable = RunRef::of_entry(label, &entry).is_some();
        if watchable && !Post::of(home, label, entry.generation()).is_held() {
            ensure_watcher(home, label, entry.generation());
        }
    }
    Ok(())
}

fn print(home: &Home, output: Output, waited: &Waited) -> Result<()> {
    if output.is_json() {
        let mut rows: Vec<Value> = waited
            .ended
            .iter()
            .map(|(label, entry)| Value::Object(views::result_fields(home, label, entry)))
            .collect();
        rows.extend(
            waited
                .running
                .iter()
                .map(|(label, _)| json!({"label": label, "status": "running"})),
        );
        output.json(&json!({
            "ok": waited.code() == OK,
            "timedOut": waited.timed_out,
            "count": rows.len(),
            "labels": rows,
        }))?;
        return Ok(());
    }
    if waited.ended.is_empty() && waited.running.is_empty() {
        output.untrusted("nothing is running")?;
        return Ok(());
    }
    let mut table = output.table(&["LABEL", "STATUS", "SUMMARY"]);
    for (label, entry) in &waited.ended {
        let status = entry.status();
        let said = entry
            .text("error")
            .or(entry.text("summary"))
            .unwrap_or_default();
        table.add_row(vec![
            output.label_cell(label),
            output.status_cell(&status, status.as_str()),
            output.sentence_cell(said),
        ]);
    }
    for (label, _) in &waited.running {
        table.add_row(vec![
            output.label_cell(label),
            output.status_cell(&Status::Running, "running"),
            comfy_table::Cell::new(""),
        ]);
    }
    output.print_table(&table)?;
    if waited.timed_out {
        let running: Vec<&str> = waited.running.iter().map(|(l, _)| l.as_str()).collect();
        home.say(&format!("timed out: {} still running", running.join(", ")));
    }
    Ok(())
}
