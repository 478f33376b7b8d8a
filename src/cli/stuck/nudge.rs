//! A nudge: one message into a silent session, recorded in its label's entry before it goes out, as `dispatch send` does.

use anyhow::Result;
use uuid::Uuid;

use super::look::Gateway;
use crate::backend::RunRef;
use crate::backend::openclaw;
use crate::cli::send::take_back;
use crate::home::Home;
use crate::ledger::{Ledger, Patience};
use crate::record::{Entry, Steer};
use crate::watch::requests;
use crate::watchers::ensure_watcher;

/// What came of it.
pub enum Nudged {
    /// The gateway has it, or may have it.
    Sent,
    /// It was not sent; why.
    Unsent(String),
}

/// What a silent session is told.
pub fn message(brand: &str, silent: &str) -> String {
    format!(
        "[{brand}] No sign of progress has been seen here for {silent}. If the work is done, give your whole final reply now: the last thing you say in this turn is delivered as the result. If it is not, say in a line where you are and go on, and do not end the turn before the work is complete. If something stands in your way, finish with what it is."
    )
}

/// Nudges the session of a label, if it still has this run.
///
/// # Errors
/// When the ledger cannot be written.
pub fn nudge(
    home: &Home,
    gateway: &mut Gateway<'_>,
    ledger: &Ledger,
    run: &RunRef,
    message: &str,
) -> Result<Nudged> {
    let key = run.session_key.as_str();
    let client = match gateway.client() {
        Ok(client) => client,
        Err(why) => return Ok(Nudged::Unsent(why)),
    };
    let found_started_at = match openclaw::find_session(client, key) {
        Ok(Some((started_at, _))) => started_at,
        Ok(None) => return Ok(Nudged::Unsent("the gateway has no such session".to_owned())),
        Err(e) => return Ok(Nudged::Unsent(e.to_string())),
    };
    let mut steer = Steer::new(&Uuid::new_v4().to_string(), message, false, home.now_ms());
    steer.found_started_at = found_started_at;
    steer.nudge = true;
    if !record(ledger, run, &steer)? {
        let why = "it has gone on to something else meanwhile";
        return Ok(Nudged::Unsent(why.to_owned()));
    }
    ensure_watcher(home, &run.label, run.generation);
    let sent = openclaw::steer(client, key, message, &steer);
    match sent {
        Ok(_) => Ok(Nudged::Sent),
        Err(e) if e.refusal().is_some() => {
            take_back(ledger, &run.label, &steer)?;
            ensure_watcher(home, &run.label, run.generation);
            Ok(Nudged::Unsent(e.to_string()))
        }
        // It may have arrived.
        Err(e) => {
            gateway.give_up(&e.to_string());
            Ok(Nudged::Sent)
        }
    }
}

/// Records the nudge, if the label is still at this run and takes messages.
fn record(ledger: &Ledger, run: &RunRef, steer: &Steer) -> Result<bool> {
    let is_recorded = ledger.update(Patience::Command, |book| {
        let is_same = |entry: &Entry| {
            entry.generation() == run.generation && entry.text("runId") == Some(run.run_id.as_str())
        };
        let Some(mut entry) = book.get(&run.label).filter(is_same) else {
            return false;
        };
        let is_taken = requests::steer(&mut entry, steer).is_ok();
        if is_taken {
            book.put(&run.label, entry);
        }
        is_taken
    })?;
    Ok(is_recorded)
}
