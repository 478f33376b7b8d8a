//! Local runs: those that the ledger forgot, those that nobody carries, those that go on for nobody.

use std::io;
use std::path::Path;

use super::findings::Findings;
use super::watchers::unchanged;
use crate::backend::BackendName;
use crate::backend::local::{RunFiles, RunSpec, Survivor};
use crate::cli::cancel;
use crate::duration::format_duration;
use crate::home::Home;
use crate::ledger::{Archive, Book, Ledger};
use crate::process::ProcessIdentity;
use crate::record::{Entry, Generation, Status};
use crate::recovery::{LAST_WORDS_MS, forgotten_runs};
use crate::shell;

/// No more runs are looked at than this.
const MOST_RUNS: usize = 50_000;

pub(super) fn check(home: &Home, ledger: &Ledger, book: &Book, found: &mut Findings) {
    let forgotten = check_forgotten(home, ledger, book, found);
    check_undescribed(home, ledger, book, found);
    check_uncarried(home, ledger, book, found);
    check_strays(home, ledger, book, &forgotten, found);
    found.fine_else("runs", "each is somebody's");
}

/// A run that the ledger forgot has a result nobody hears of. Returns the labels.
fn check_forgotten(home: &Home, ledger: &Ledger, book: &Book, found: &mut Findings) -> Vec<String> {
    if forgotten_runs(home, book).is_empty() {
        return Vec::new();
    }
    // One that was enqueued since the ledger was read is in it now.
    let Ok(book) = ledger.read() else {
        return Vec::new();
    };
    let forgotten = forgotten_runs(home, &book).into_iter();
    let labels: Vec<String> = forgotten.map(|spec| spec.label).collect();
    if !labels.is_empty() {
        let what = format!(
            "{} on disk are not in the ledger ({})",
            labels.len(),
            labels.join(", ")
        );
        found
            .wrong("runs", what)
            .todo("'dispatch doctor --repair' takes them up again");
    }
    labels
}

/// Without its description a run can neither be begun, nor gone on with, nor stopped by its runner.
fn check_undescribed(home: &Home, ledger: &Ledger, book: &Book, found: &mut Findings) {
    let mut undescribed = Vec::new();
    for (label, entry) in book.entries_containing("\"running\"") {
        if trouble_of_description(home, &entry).is_some() {
            undescribed.push((label.to_owned(), entry));
        }
    }
    for (label, entry) in unchanged(ledger, undescribed) {
        let Some(trouble) = trouble_of_description(home, &entry) else {
            continue;
        };
        let what =
            format!("label \"{label}\": the description of its run cannot be read: {trouble}");
        found.wrong("runs", what).todo(format!(
            "put it back from a backup, or end the label: dispatch cancel {}",
            shell::label(&label)
        ));
    }
}

/// Why the description of the running label's run is no use. One that is not there was never made, or pruned.
fn trouble_of_description(home: &Home, entry: &Entry) -> Option<String> {
    if entry.status() != Status::Running || BackendName::of_entry(entry) != Some(BackendName::Local)
    {
        return None;
    }
    let files = RunFiles::of(home, entry.text("runId")?);
    let error = files.spec(home.storage.as_ref()).err()?;
    (error.kind() != io::ErrorKind::NotFound).then(|| error.to_string())
}

/// Its watcher has a new runner carry such a run within seconds; one that does not has its hands bound.
fn check_uncarried(home: &Home, ledger: &Ledger, book: &Book, found: &mut Findings) {
    let mut uncarried = Vec::new();
    for (label, entry) in book.entries_containing("\"running\"") {
        if run_without_runner(home, &entry).is_some() {
            uncarried.push((label.to_owned(), entry));
        }
    }
    for (label, entry) in unchanged(ledger, uncarried) {
        let Some(run_id) = run_without_runner(home, &entry) else {
            continue;
        };
        let what = format!("label \"{label}\": nobody carries its run ({run_id})");
        found.warn("runs", what).todo(format!(
            "its watcher starts a runner; where it does not: dispatch watcher-handoff {}",
            shell::label(&label)
        ));
    }
}

/// The running label's run, which has begun, has not ended, and has no runner.
fn run_without_runner(home: &Home, entry: &Entry) -> Option<String> {
    let storage = home.storage.as_ref();
    if entry.status() != Status::Running || BackendName::of_entry(entry) != Some(BackendName::Local)
    {
        return None;
    }
    let run_id = entry.text("runId")?;
    let files = RunFiles::of(home, run_id);
    let is_begun = matches!(files.start(storage), Ok(Some(_)));
    let is_open = is_begun && matches!(files.exit(storage), Ok(None));
    (is_open && !files.has_runner()).then(|| run_id.to_owned())
}

/// A process of a run whose label has ended.
struct Stray {
    spec: RunSpec,
    pid: u32,
    since_ms: Option<i64>,
}

fn check_strays(
    home: &Home,
    ledger: &Ledger,
    book: &Book,
    forgotten: &[String],
    found: &mut Findings,
) {
    let runs = home.paths.sessions().join("runs");
    let names = home.storage.list(&runs).unwrap_or_default();
    let dirs = names
        .into_iter()
        .take(MOST_RUNS)
        .map(|name| runs.join(name));
    let suspects: Vec<_> = dirs
        .filter(|dir| stray(home, dir, book).is_some())
        .collect();
    if suspects.is_empty() {
        return;
    }
    // What was enqueued since the ledger was read is in it now.
    let Ok(now) = ledger.read() else { return };
    let archive = Archive::new(home);
    let is_archived = |spec: &RunSpec| {
        let archived = archive.find(&spec.label, Generation::new(spec.generation));
        let entry = archived.ok().flatten();
        entry.is_some_and(|entry| Survivor::of(home, &spec.label, &entry).is_some())
    };
    let strays = suspects.iter().filter_map(|dir| stray(home, dir, &now));
    for stray in strays.filter(|stray| !forgotten.contains(&stray.spec.label)) {
        let Stray {
            spec,
            pid,
            since_ms,
        } = stray;
        let since = since_ms.map_or_else(
            || "is not in the ledger".to_owned(),
            |ms| format!("ended {} ago", format_duration(ms)),
        );
        let what = format!(
            "the command of label \"{}\" (generation {}, process group {pid}) is still at work, and its label {since}",
            spec.label, spec.generation
        );
        let stop = match now.get(&spec.label) {
            Some(entry) if entry.generation().get() == spec.generation => {
                format!("dispatch cancel {}", shell::label(&spec.label))
            }
            Some(_) if is_archived(&spec) => {
                cancel::words(&spec.label, Generation::new(spec.generation))
            }
            _ => format!("kill -TERM -- -{pid}"),
        };
        found.warn("runs", what).todo(format!("to stop it: {stop}"));
    }
}

fn stray(home: &Home, dir: &Path, book: &Book) -> Option<Stray> {
    let storage = home.storage.as_ref();
    let files = RunFiles::at(dir.to_owned());
    let waiter = files.start(storage).ok()??.waiter;
    let is_alive = ProcessIdentity::of(waiter.pid).is_some_and(|now| now == waiter);
    if !is_alive {
        return None;
    }
    let spec = files.spec(storage).ok()?;
    let since_ms = match book.get(&spec.label) {
        None => None,
        Some(entry)
            if entry.generation().get() == spec.generation && entry.status() == Status::Running =>
        {
            return None;
        }
        Some(entry) => {
            // A newer generation's number is the time when it replaced this one.
            let replaced = i64::try_from(entry.generation().get()).ok();
            let is_newer = entry.generation().get() > spec.generation;
            let at = replaced
                .filter(|_| is_newer)
                .or_else(|| entry.time("endedAt"));
            let age_ms = home.now_ms().saturating_sub(at.unwrap_or(0));
            // After a done signal the run is followed to its end.
            if age_ms < LAST_WORDS_MS {
                return None;
            }
            Some(age_ms)
        }
    };
    Some(Stray {
        spec,
        pid: waiter.pid,
        since_ms,
    })
}
