//! `dispatch prune`: labels that ended long ago leave the ledger for the archive, and old files go.
//!
//! In this order, each step repairable from the one before: the entries are in the archive, on the disk; one ledger write
//! takes them out, under the lock under which they were chosen; then the files go. Killed in between, the next call finds
//! an entry in both places, or files that an archived entry still names.

mod choice;
mod files;

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use self::choice::{Verdict, Wanted, end_of};
use self::files::{Removed, remove_old};
use super::args::PruneArgs;
use super::exit::{FAILURE, OK, usage};
use super::labels;
use super::output::Output;
use crate::backend::BackendName;
use crate::backend::local::{RunFiles, Survivor};
use crate::home::Home;
use crate::ledger::{Archive, Archived, Book, Ledger, LedgerError, Patience};
use crate::nearest::nearest;
use crate::record::{Entry, Status, time};
use crate::watchers::Post;

/// How long the watcher and the runner of a named label that has ended are given to leave.
const LEAVING_PATIENCE: Duration = Duration::from_secs(5);

/// How often it is looked whether they have.
const LEAVING_LOOK: Duration = Duration::from_millis(10);

/// What the ledger says to the call.
#[derive(Default)]
struct Chosen {
    /// Oldest end first, so that the archive's newest is its last.
    leaving: Vec<Archived>,
    staying: Vec<(String, String)>,
    /// They were named, and had left the ledger before.
    archived_before: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// An unknown label or status; a ledger or an archive that cannot be read or written.
pub fn run(home: &Home, output: Output, args: &PruneArgs) -> Result<u8> {
    let wanted = Wanted {
        labels: args.label.clone(),
        status: args.status.as_deref().map(status).transpose()?,
        older_than: args.older_than,
    };
    let ledger = Ledger::new(home);
    let archived_before = check_labels(home, &ledger.read()?, &wanted)?;
    let_leave(home, &wanted, &ledger.read()?);
    let mut chosen = match args.dry_run {
        true => choose(home, &wanted, &ledger.read()?),
        false => ledger.update(Patience::Command, |book| archive(home, &wanted, book))??,
    };
    chosen.archived_before = archived_before;
    let mut book = ledger.read()?;
    for archived in &chosen.leaving {
        // In a dry run it is still there; otherwise another call may have begun the label anew.
        let is_leaving =
            |entry: &Entry| args.dry_run && entry.generation() == archived.entry.generation();
        if book.get(&archived.label).as_ref().is_some_and(is_leaving) {
            book.remove(&archived.label);
        }
    }
    let leaving: &[Archived] = if args.dry_run { &chosen.leaving } else { &[] };
    let removed = remove_old(home, &wanted, &book, leaving, args.dry_run)?;
    tell(home, output, args, &chosen, &removed)
}

/// A status that is an end.
fn status(text: &str) -> Result<Status> {
    let status = Status::from_text(text);
    if status.is_ended() {
        return Ok(status);
    }
    if status == Status::Running {
        return Err(usage(
            "--status: what is running is never pruned; give done, error, interrupted or cancelled",
        ));
    }
    let ends: Vec<Status> = Status::WRITTEN
        .into_iter()
        .filter(Status::is_ended)
        .collect();
    let near = nearest(text, ends.iter().map(Status::as_str));
    let hint = near
        .first()
        .map_or_else(String::new, |near| format!("; did you mean {near}?"));
    Err(usage(format!(
        "--status: \"{text}\" is no end (done, error, interrupted, cancelled){hint}"
    )))
}

/// Every label that was named is in the ledger, or was. Returns those that were.
fn check_labels(home: &Home, book: &Book, wanted: &Wanted) -> Result<Vec<String>> {
    let mut archived = Vec::new();
    for label in &wanted.labels {
        if book.get(label).is_some() {
            continue;
        }
        labels::check_readable(book, label)?;
        match Archive::new(home).latest(label)? {
            Some(_) => archived.push(label.clone()),
            None => return Err(labels::absent(book, label)),
        }
    }
    Ok(archived)
}

/// Waits for those who carried a named label to its end and are about to leave: whoever waited for that end need not call
/// twice.
fn let_leave(home: &Home, wanted: &Wanted, book: &Book) {
    let clock = home.clock.as_ref();
    let give_up = clock.monotonic() + LEAVING_PATIENCE;
    for label in &wanted.labels {
        let Some(entry) = book.get(label) else {
            continue;
        };
        let verdict = wanted.verdict(label, &entry, book.now_ms(), || None);
        let lives_on = || {
            Survivor::of(home, label, &entry).is_some()
                || !Survivor::older(home, label, &entry).is_empty()
        };
        if verdict != Verdict::Goes || lives_on() {
            continue;
        }
        while at_work(home, label, &entry).is_some() && clock.monotonic() < give_up {
            std::thread::sleep(LEAVING_LOOK);
        }
    }
}

fn choose(home: &Home, wanted: &Wanted, book: &Book) -> Chosen {
    let mut chosen = Chosen::default();
    for (label, entry) in book.entries() {
        let verdict = wanted.verdict(label, &entry, book.now_ms(), || {
            at_work(home, label, &entry)
        });
        let label = label.to_owned();
        match verdict {
            Verdict::Goes => chosen.leaving.push(Archived { label, entry }),
            Verdict::Stays(why) => chosen.staying.push((label, why)),
            Verdict::Spared => {}
        }
    }
    chosen
        .leaving
        .sort_by_key(|archived| end_of(&archived.entry));
    chosen
}

fn at_work(home: &Home, label: &str, entry: &Entry) -> Option<&'static str> {
    if Post::of(home, label, entry.generation()).is_held() {
        return Some("its watcher");
    }
    let is_local = BackendName::of_entry(entry) == Some(BackendName::Local);
    let run = entry.text("runId").filter(|_| is_local);
    if run.is_some_and(|run| RunFiles::of(home, run).is_at_work(home.storage.as_ref())) {
        return Some("its command");
    }
    (!Survivor::older(home, label, entry).is_empty()).then_some("an older command of it")
}

/// Chooses, and moves what was chosen; the ledger's lock is held.
fn archive(home: &Home, wanted: &Wanted, book: &mut Book) -> Result<Chosen, LedgerError> {
    let chosen = choose(home, wanted, book);
    if chosen.leaving.is_empty() {
        return Ok(chosen);
    }
    let leaving = chosen.leaving.iter();
    Archive::new(home).append_all(leaving.map(|gone| (gone.label.as_str(), &gone.entry)))?;
    for gone in &chosen.leaving {
        book.remove(&gone.label);
    }
    Ok(chosen)
}

fn tell(
    home: &Home,
    output: Output,
    args: &PruneArgs,
    chosen: &Chosen,
    removed: &Removed,
) -> Result<u8> {
    // Whoever names a label wants that one to go.
    let is_kept = |(label, _): &(String, String)| args.label.contains(label);
    let ok = removed.failed.is_empty() && !chosen.staying.iter().any(is_kept);
    let code = if ok { OK } else { FAILURE };
    if output.is_json() {
        let labels: Vec<Value> = chosen
            .leaving
            .iter()
            .map(|Archived { label, entry }| {
                json!({
                    "label": label,
                    "generation": entry.generation(),
                    "status": entry.status().as_str(),
                    "endedAt": end_of(entry).map(time::iso),
                })
            })
            .collect();
        let kept = chosen.staying.iter();
        let kept: Vec<Value> = kept
            .map(|(label, reason)| json!({"label": label, "reason": reason}))
            .collect();
        output.json(&json!({
            "ok": ok,
            "dryRun": args.dry_run,
            "count": labels.len(),
            "labels": labels,
            "kept": kept,
            "archivedBefore": chosen.archived_before,
            "files": {"count": removed.files, "bytes": removed.bytes},
            "errors": removed.failed,
        }))?;
        return Ok(code);
    }
    let (archived, gone) = match args.dry_run {
        true => ("would be archived", "would be removed"),
        false => ("archived", "removed"),
    };
    for Archived { label, entry } in &chosen.leaving {
        output.untrusted(&format!("{label}: {archived} ({})", entry.status()))?;
    }
    for (label, why) in &chosen.staying {
        output.untrusted(&format!("{label}: kept, because {why}"))?;
    }
    for label in &chosen.archived_before {
        output.untrusted(&format!("{label}: was archived before"))?;
    }
    let labels = match chosen.leaving.len() {
        1 => "1 label".to_owned(),
        n => format!("{n} labels"),
    };
    let files = match removed.files {
        1 => "1 file".to_owned(),
        n => format!("{n} files"),
    };
    output.untrusted(&format!(
        "{labels} {archived}, {files} of {} bytes {gone}",
        removed.bytes
    ))?;
    for line in &removed.failed {
        home.say(line);
    }
    Ok(code)
}
