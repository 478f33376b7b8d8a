//! `dispatch doctor`: what is wrong in the state directory, and what to do about it.

mod gateway;
mod reference;
mod settings;

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::DoctorArgs;
use super::exit::{DAMAGED, FAILURE, OK};
use super::output::Output;
use super::views;
use crate::backend::RunRef;
use crate::delivery::is_owed;
use crate::home::Home;
use crate::ledger::{Book, Ledger, LedgerError, Repair, salvage};
use crate::record::{Delivery, DeliveryState, Status};
use crate::recovery::{adopt_forgotten_runs, forgotten_runs};
use crate::watchers::Post;

/// With less room than this the next result may not fit.
const MIN_FREE_BYTES: u64 = 16 * 1024 * 1024;

/// A delivery that is tried for longer than this is told of: a chat or a gateway that restarts is back by then.
const SLOW_DELIVERY_MS: i64 = 10 * 60_000;

/// One thing that was looked at.
struct Check {
    name: &'static str,
    ok: bool,
    message: String,
}

/// What was found.
#[derive(Default)]
struct Findings {
    checks: Vec<Check>,
    /// Labels whose watchers are being started by this very run.
    adopted: Vec<String>,
    damaged: bool,
}

impl Findings {
    fn fine(&mut self, name: &'static str, message: impl Into<String>) {
        self.checks.push(Check {
            name,
            ok: true,
            message: message.into(),
        });
    }

    fn wrong(&mut self, name: &'static str, message: impl Into<String>) {
        self.checks.push(Check {
            name,
            ok: false,
            message: message.into(),
        });
    }

    fn code(&self) -> u8 {
        match (self.damaged, self.checks.iter().all(|check| check.ok)) {
            (true, _) => DAMAGED,
            (false, true) => OK,
            (false, false) => FAILURE,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When a repair cannot be written; the broken ledger is then untouched.
pub fn run(home: &Home, output: Output, args: &DoctorArgs) -> Result<u8> {
    let ledger = Ledger::new(home);
    let mut found = Findings::default();
    if args.repair {
        match ledger.repair()? {
            Some(repair) => tell_repair(&mut found, &repair),
            None => found.fine("repair", "the ledger is sound; nothing to repair"),
        }
    }
    settings::check(home, &mut found);
    if args.repair {
        let adopted = adopt_forgotten_runs(home, &ledger)?;
        if !adopted.is_empty() {
            found.fine("runs", format!("taken up again: {}", adopted.join(", ")));
        }
        found.adopted = adopted;
    }
    check_ledger(home, &ledger, &mut found);
    check_disk(home, &mut found);
    check_permissions(home, &ledger, &mut found);
    reference::check_ledger(home, &mut found);
    gateway::check(home, &mut found);
    print(output, &found)?;
    Ok(found.code())
}

fn tell_repair(found: &mut Findings, repair: &Repair) {
    let aside = match &repair.kept_aside {
        Some(path) => format!("the broken file is kept as {}", path.display()),
        None => "the ledger was missing".to_owned(),
    };
    let names = |labels: &[String]| match labels.is_empty() {
        true => "none".to_owned(),
        false => labels.join(", "),
    };
    let older = match repair.from_backup.is_empty() {
        true => "",
        false => ", whose last change may be missing: the backup is one version older",
    };
    found.fine(
        "repair",
        format!(
            "repaired: {aside}; {} saved from it; {} taken from the backup ({}){older}; lost: {}",
            repair.salvaged.len(),
            repair.from_backup.len(),
            names(&repair.from_backup),
            names(&repair.lost),
        ),
    );
}

fn check_ledger(home: &Home, ledger: &Ledger, found: &mut Findings) {
    match ledger.read() {
        Ok(book) => {
            let count = book.labels().count();
            found.fine(
                "ledger",
                match count {
                    1 => format!("{}: 1 label", ledger.path().display()),
                    _ => format!("{}: {count} labels", ledger.path().display()),
                },
            );
            for damage in book.labels().filter_map(|label| book.unreadable(label)) {
                found.wrong(
                    "entry",
                    format!("{damage}; it is kept as it is, and a change of it is refused: mend it by hand"),
                );
            }
            check_watchers(home, &book, found);
            check_runs(home, &book, found);
            check_deliveries(home, &book, found);
            reference::check_work(home, ledger, &book, found);
        }
        Err(error @ LedgerError::Damaged { .. }) => {
            found.damaged = true;
            let bytes = home.storage.read(ledger.path()).unwrap_or_default();
            let saved = salvage(&bytes);
            let backup = home.storage.read(&ledger.backup_path()).unwrap_or_default();
            let in_backup = salvage(&backup).entries.len();
            found.wrong(
                "ledger",
                format!(
                    "{error}; 'dispatch doctor --repair' would save {} labels from it ({} broken) and has a backup with {in_backup}",
                    saved.entries.len(),
                    saved.broken.len(),
                ),
            );
        }
        Err(error) => found.wrong("ledger", error.to_string()),
    }
}

/// A run that the ledger forgot has a result nobody hears of.
fn check_runs(home: &Home, book: &Book, found: &mut Findings) {
    let forgotten = forgotten_runs(home, book);
    if !forgotten.is_empty() {
        let labels: Vec<&str> = forgotten.iter().map(|spec| spec.label.as_str()).collect();
        found.wrong(
            "runs",
            format!(
                "{} on disk are not in the ledger ({}); 'dispatch doctor --repair' takes them up again",
                labels.len(),
                labels.join(", ")
            ),
        );
    }
}

fn check_disk(home: &Home, found: &mut Findings) {
    let Ok(disk) = rustix::fs::statvfs(&home.paths.home) else {
        return;
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if free < MIN_FREE_BYTES {
        found.wrong(
            "disk",
            format!(
                "{} has {} KiB free; results wait until there is room",
                home.paths.home.display(),
                free / 1024
            ),
        );
    }
}

fn check_watchers(home: &Home, book: &Book, found: &mut Findings) {
    let mut alive = 0;
    for (label, entry) in book.entries_containing("\"running\"") {
        if entry.status() != Status::Running {
            continue;
        }
        if RunRef::of_entry(label, &entry).is_none() {
            found.wrong(
                "watcher",
                format!("label \"{label}\" is running, and another tool started it; where that no longer watches it, take it over: dispatch watcher-handoff --label {label}"),
            );
            continue;
        }
        match Post::of(home, label, entry.generation()).is_held() {
            true => alive += 1,
            false if found.adopted.iter().any(|adopted| adopted == label) => {}
            false => found.wrong(
                "watcher",
                format!("label \"{label}\" is running and its watcher is dead; '529-recovery' starts a new one"),
            ),
        }
    }
    found.fine("watchers", format!("{alive} alive"));
}

fn check_deliveries(home: &Home, book: &Book, found: &mut Findings) {
    for (label, entry) in book.entries_containing("\"deliveries\"") {
        let deliveries = entry.deliveries();
        let parked: Vec<&Delivery> = deliveries
            .iter()
            .filter(|d| d.state == DeliveryState::Parked)
            .collect();
        for delivery in &parked {
            let why = delivery
                .last_error
                .as_deref()
                .unwrap_or("no reason is recorded");
            found.wrong(
                "delivery",
                format!("label \"{label}\": to {} parked: {why}; mend that, then run: dispatch redeliver --label {label}", delivery.target),
            );
        }
        let now_ms = home.now_ms();
        for delivery in &deliveries {
            let waits = matches!(
                delivery.state,
                DeliveryState::Retrying | DeliveryState::Unknown
            );
            if waits && now_ms.saturating_sub(delivery.at) >= SLOW_DELIVERY_MS {
                let line = views::open_delivery_line(delivery, now_ms);
                found.wrong(
                    "delivery",
                    format!("label \"{label}\": {line}; mend that, or try at once: dispatch redeliver --label {label}"),
                );
            }
        }
        let waits = is_owed(&entry) && entry.status().is_ended();
        if waits && !Post::of(home, label, entry.generation()).is_held() {
            found.wrong(
                "delivery",
                format!("label \"{label}\" owes a delivery and nobody sends it; '529-recovery' starts a watcher"),
            );
        }
    }
}

fn check_permissions(home: &Home, ledger: &Ledger, found: &mut Findings) {
    let private = |path: &Path, found: &mut Findings| {
        if let Ok(Some(facts)) = home.storage.facts(path)
            && facts.mode & 0o077 != 0
        {
            let wanted = if facts.is_dir { "700" } else { "600" };
            found.wrong(
                "permissions",
                format!(
                    "{} is open to others (mode {:o}); run: chmod {wanted} {}",
                    path.display(),
                    facts.mode,
                    path.display()
                ),
            );
        }
    };
    private(ledger.path(), found);
    for dir in [
        &home.paths.prompts(),
        &home.paths.sessions(),
        &home.paths.watchers(),
        &home.paths.artifacts,
    ] {
        private(dir, found);
    }
}

fn print(output: Output, found: &Findings) -> Result<()> {
    if output.is_json() {
        let checks: Vec<Value> = found
            .checks
            .iter()
            .map(|check| json!({"name": check.name, "ok": check.ok, "message": check.message}))
            .collect();
        output.json(&json!({"ok": found.code() == OK, "checks": checks}))?;
        return Ok(());
    }
    for check in &found.checks {
        output.check(check.ok, &format!("{}: {}", check.name, check.message))?;
    }
    Ok(())
}
