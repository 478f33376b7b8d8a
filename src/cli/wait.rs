//! `dispatch wait`: until labels have ended.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::WaitArgs;
use super::exit::{FAILURE, OK, TIMED_OUT};
use super::output::Output;
use super::{labels, views};
use crate::backend::RunRef;
use crate::clock::Clock;
use crate::duration::format_duration;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::record::{Entry, Status};
use crate::storage::parent_of;
use crate::wake::Wake;
use crate::watchers::{Post, ensure_watcher};

/// How often it is checked that each watcher still lives.
const WATCHER_CHECK: Duration = Duration::from_secs(5);

/// How often a person sees that time passes.
const PROGRESS: Duration = Duration::from_secs(1);

/// When the wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// All have ended.
    All,
    /// One has.
    Any,
}

/// How a wait ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Waited {
    /// Labels that have ended, with their entries.
    pub ended: Vec<(String, Entry)>,
    /// Labels that have not.
    pub running: Vec<String>,
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
        labels::find(&book, label)?;
    }
    let until = if args.any { Until::Any } else { Until::All };
    let waited = until_ended(home, output, &wanted, until, args.timeout)?;
    print(home, output, &waited)?;
    Ok(waited.code())
}

/// Waits. Starts watchers for labels that have none.
///
/// # Errors
/// When the ledger cannot be read.
pub fn until_ended(
    home: &Home,
    output: Output,
    wanted: &[String],
    until: Until,
    timeout: Option<Duration>,
) -> Result<Waited> {
    let ledger = Ledger::new(home);
    let mut wake = Wake::new();
    wake.watch(parent_of(ledger.path()));
    let clock = home.clock.as_ref();
    let begun = clock.monotonic();
    let mut next_check = begun;
    let mut seen = None;
    let mut waited = Waited {
        ended: Vec::new(),
        running: wanted.to_vec(),
        timed_out: false,
    };
    let mut progress = Progress::new(output);
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
        progress.show(&waited, passed);
        let left = timeout.map_or(Duration::MAX, |limit| limit.saturating_sub(passed));
        wake.wait(left.min(next_look(clock, next_check, &progress)));
    }
}

fn next_look(clock: &dyn Clock, next_check: Duration, progress: &Progress) -> Duration {
    let check = next_check.saturating_sub(clock.monotonic());
    if progress.shown {
        check.min(PROGRESS)
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
            Some(entry) if entry.status() == Status::Running => waited.running.push(label.clone()),
            // A label that left the ledger meanwhile has ended; its status is in the archive.
            entry => waited
                .ended
                .push((label.clone(), entry.unwrap_or_default())),
        }
    }
    waited
}

/// A running label whose watcher died would be waited for until the next recovery scan.
fn check_watchers(home: &Home, ledger: &Ledger, running: &[String]) -> Result<()> {
    let book = ledger.read()?;
    for label in running {
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
                .map(|label| json!({"label": label, "status": "running"})),
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
        let said: String = output.cell_text(said).chars().take(80).collect();
        table.add_row(vec![
            output.label_cell(label),
            output.status_cell(&status, status.as_str()),
            comfy_table::Cell::new(said),
        ]);
    }
    for label in &waited.running {
        table.add_row(vec![
            output.label_cell(label),
            output.status_cell(&Status::Running, "running"),
            comfy_table::Cell::new(""),
        ]);
    }
    output.print_table(&table)?;
    if waited.timed_out {
        home.say(&format!(
            "timed out: {} still running",
            waited.running.join(", ")
        ));
    }
    Ok(())
}

/// One line on the terminal that is written over.
struct Progress {
    on: bool,
    shown: bool,
    output: Output,
}

impl Progress {
    fn new(output: Output) -> Self {
        Self {
            on: std::io::stderr().is_terminal() && !output.is_json(),
            shown: false,
            output,
        }
    }

    fn show(&mut self, waited: &Waited, passed: Duration) {
        if !self.on {
            return;
        }
        self.shown = true;
        let names: Vec<&str> = waited.running.iter().take(3).map(String::as_str).collect();
        let more = waited.running.len().saturating_sub(3);
        let rest = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let time = format_duration(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX));
        let line = format!("waiting for {}{rest} ({time})", names.join(", "));
        let line: String = self.output.cell_text(&line).chars().take(78).collect();
        let _ = write!(std::io::stderr(), "\r\x1b[2K{line}");
    }

    fn clear(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[2K");
            self.shown = false;
        }
    }
}
