//! `dispatch cancel`: stop a running label. The request is recorded first, so that a crash in between leaves it to the
//! watcher; a reply that was complete before the stop wins.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::args::CancelArgs;
use super::exit::{FAILURE, OK, failure};
use super::output::Output;
use super::{labels, views};
use crate::backend::local::LocalBackend;
use crate::backend::openclaw::OpenclawBackend;
use crate::backend::{Backend, BackendName, RunRef};
use crate::home::Home;
use crate::ledger::{Archive, Ledger, Patience};
use crate::record::{Entry, Status};
use crate::storage::parent_of;
use crate::wake::Wake;
use crate::watch::requests::{Cancelling, cancel as request};
use crate::watchers::ensure_watcher;

/// Beyond the command's own grace, the settlement is waited for this long.
const SETTLE_WAIT: Duration = Duration::from_secs(30);

/// How long the gateway may take for the request; its watcher has more patience.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(4);

/// What came of a request to stop.
pub struct Stop {
    /// The entry as it is then.
    pub entry: Option<Entry>,
    /// Why the gateway was not told: the watcher tells it once it answers, and nobody waits for that.
    unheard: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// An unknown label, one that has ended, one whose backend this build lacks; an unwritable ledger.
pub fn run(home: &Home, output: Output, args: &CancelArgs) -> Result<u8> {
    let ledger = Ledger::new(home);
    let label = args.label.as_str();
    let entry = labels::find(&ledger.read()?, label)?;
    if entry.status() != Status::Running {
        return Err(failure(format!(
            "label \"{label}\" is not running: it is {}",
            entry.status()
        )));
    }
    let stop = settle(home, &ledger, label, args.reason.as_deref())?;
    let entry = stop.entry.unwrap_or(entry);
    let status = entry.status();
    let message = match &status {
        Status::Cancelled => "cancelled".to_owned(),
        Status::Running if let Some(why) = stop.unheard => format!(
            "cancellation is recorded; the gateway does not answer ({why}), and the watcher cancels the session once it does"
        ),
        Status::Running => {
            "cancellation is recorded; the session has not settled yet and its watcher goes on"
                .to_owned()
        }
        Status::Done => "not cancelled: its result was complete before".to_owned(),
        other => format!("not cancelled: it had ended as {other}"),
    };
    let code = if status == Status::Cancelled {
        OK
    } else {
        FAILURE
    };
    match output.is_json() {
        true => output.json(&json!({
            "ok": code == OK,
            "label": label,
            "status": status.as_str(),
            "generation": entry.generation(),
            "delivery": views::delivery_surface(&entry),
            "message": message,
        }))?,
        false => output.untrusted(&format!("{label}: {message}"))?,
    }
    Ok(code)
}

/// Stops the label's run, if it runs, and waits for its settlement, unless its gateway is away.
///
/// # Errors
/// When the request cannot be recorded, or the run is one that this build cannot stop.
pub fn settle(home: &Home, ledger: &Ledger, label: &str, reason: Option<&str>) -> Result<Stop> {
    let requested = ledger.update(Patience::Command, |book| {
        let mut entry = book.get(label)?;
        match request(&mut entry, reason, book.now_ms()) {
            Cancelling::Over => return None,
            Cancelling::Foreign => return Some(Err(())),
            Cancelling::Known => {}
            Cancelling::Recorded => book.put(label, entry.clone()),
        }
        Some(Ok(entry))
    })?;
    let entry = match requested {
        None => {
            let entry = ledger.read()?.get(label);
            return Ok(Stop {
                entry,
                unheard: None,
            });
        }
        Some(Err(())) => {
            return Err(failure(format!(
                "label \"{label}\" was started by another tool, which must stop it; or take it over first: dispatch watcher-handoff --label {label}"
            )));
        }
        Some(Ok(entry)) => entry,
    };
    let Some(run) = RunRef::of_entry(label, &entry) else {
        return Err(failure(format!(
            "label \"{label}\" names no session: there is nothing to stop"
        )));
    };
    let name = BackendName::of_entry(&entry).unwrap_or(BackendName::Local);
    let unheard = match name {
        BackendName::Local => {
            if let Err(e) = LocalBackend::new(home).abort(&run) {
                home.say(&format!(
                    "cannot reach the run ({e}); its watcher passes the request on"
                ));
            }
            None
        }
        BackendName::Openclaw => ask_gateway(home, &run)?,
    };
    ensure_watcher(home, label, run.generation);
    let entry = match unheard {
        Some(_) => ledger.read()?.get(label),
        None => wait_for_settlement(home, ledger, &run)?,
    };
    Ok(Stop { entry, unheard })
}

/// Asks the gateway to stop the run. Returns why it could not be asked.
fn ask_gateway(home: &Home, run: &RunRef) -> Result<Option<String>> {
    let asked = OpenclawBackend::new(home)?.abort_within(run, GATEWAY_PATIENCE);
    let Err(error) = asked else {
        return Ok(None);
    };
    Ok(match error.refusal() {
        // It answers, and its watcher finds out what became of the run.
        Some(_) => {
            home.say(&format!("{error}; the watcher passes the request on"));
            None
        }
        None => Some(error.to_string()),
    })
}

fn wait_for_settlement(home: &Home, ledger: &Ledger, run: &RunRef) -> Result<Option<Entry>> {
    let mut wake = Wake::new();
    wake.watch(parent_of(ledger.path()));
    let limit = home.clock.monotonic() + home.config.term_grace + SETTLE_WAIT;
    loop {
        let entry = ledger.read()?.get(&run.label);
        let over = entry
            .as_ref()
            .is_none_or(|e| e.status() != Status::Running || e.generation() != run.generation);
        let left = limit.saturating_sub(home.clock.monotonic());
        if over || left.is_zero() {
            return match entry {
                // The label has gone on to other work already: what became of this run is in the archive.
                Some(newer) if newer.generation() != run.generation => archived(home, run),
                entry => Ok(entry),
            };
        }
        wake.wait(left.min(Duration::from_secs(1)));
    }
}

fn archived(home: &Home, run: &RunRef) -> Result<Option<Entry>> {
    Ok(Archive::new(home).find(&run.label, run.generation)?)
}
