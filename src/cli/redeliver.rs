//! `dispatch redeliver`: deliveries that were given up go out again.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::RedeliverArgs;
use super::exit::{FAILURE, OK};
use super::labels;
use super::output::Output;
use crate::delivery::outbox::unpark;
use crate::home::Home;
use crate::ledger::{Ledger, Patience};
use crate::record::{Delivery, DeliveryState, Generation};
use crate::storage::parent_of;
use crate::wake::Wake;
use crate::watchers::ensure_watcher;

/// How long the outcome is waited for.
const OUTCOME_WAIT: Duration = Duration::from_secs(30);

/// What was parked: label, generation, key of the record.
type Parked = (String, Generation, String);

/// Runs the command.
///
/// # Errors
/// An unknown label; an unwritable ledger.
pub fn run(home: &Home, output: Output, args: &RedeliverArgs) -> Result<u8> {
    let ledger = Ledger::new(home);
    if let Some(label) = &args.label {
        labels::find(&ledger.read()?, label)?;
    }
    let unparked = ledger.update(Patience::Command, |book| {
        let mut unparked: Vec<Parked> = Vec::new();
        let wanted: Vec<String> = match &args.label {
            Some(label) => vec![label.clone()],
            None => book
                .entries_containing("\"parked\"")
                .map(|(label, _)| label.to_owned())
                .collect(),
        };
        for label in wanted {
            let Some(mut entry) = book.get(&label) else {
                continue;
            };
            let mut parked = entry.deliveries();
            parked.retain(|d| d.state == DeliveryState::Parked);
            for mut delivery in parked {
                unpark(&mut delivery, book.now_ms());
                unparked.push((label.clone(), entry.generation(), delivery.key.clone()));
                entry.put_delivery(&delivery);
                book.put(&label, entry.clone());
            }
        }
        unparked
    })?;
    for (label, generation, _) in &unparked {
        ensure_watcher(home, label, *generation);
    }
    let outcome = wait_for_outcome(home, &ledger, &unparked)?;
    tell(output, &unparked, &outcome)
}

/// The records once each has left its first try, or as they are when that takes long.
fn wait_for_outcome(
    home: &Home,
    ledger: &Ledger,
    unparked: &[Parked],
) -> Result<Vec<Option<Delivery>>> {
    let mut wake = Wake::new();
    wake.watch(parent_of(ledger.path()));
    let limit = home.clock.monotonic() + OUTCOME_WAIT;
    loop {
        let book = ledger.read()?;
        let now: Vec<Option<Delivery>> = unparked
            .iter()
            .map(|(label, _, key)| {
                book.get(label)?
                    .deliveries()
                    .into_iter()
                    .find(|d| d.key == *key)
            })
            .collect();
        let under_way = now
            .iter()
            .flatten()
            .any(|d| matches!(d.state, DeliveryState::Pending | DeliveryState::Sending));
        let left = limit.saturating_sub(home.clock.monotonic());
        if !under_way || left.is_zero() {
            return Ok(now);
        }
        wake.wait(left.min(Duration::from_secs(1)));
    }
}

fn tell(output: Output, unparked: &[Parked], outcome: &[Option<Delivery>]) -> Result<u8> {
    let delivered = outcome
        .iter()
        .flatten()
        .filter(|d| d.state == DeliveryState::Delivered)
        .count();
    let code = if delivered == unparked.len() {
        OK
    } else {
        FAILURE
    };
    if output.is_json() {
        let rows: Vec<Value> = unparked
            .iter()
            .zip(outcome)
            .map(|((label, _, key), delivery)| {
                json!({
                    "label": label,
                    "key": key,
                    "state": delivery.as_ref().map(|d| d.state),
                    "lastError": delivery.as_ref().and_then(|d| d.last_error.clone()),
                })
            })
            .collect();
        output.json(&json!({
            "ok": code == OK,
            "count": unparked.len(),
            "delivered": delivered,
            "deliveries": rows,
        }))?;
        return Ok(code);
    }
    if unparked.is_empty() {
        output.untrusted("nothing is parked")?;
    }
    for ((label, _, _), delivery) in unparked.iter().zip(outcome) {
        let line = match delivery {
            Some(d) if d.state == DeliveryState::Delivered => {
                format!("{label}: delivered to {}", d.target)
            }
            Some(d) => {
                let why = d.last_error.as_deref().unwrap_or("no answer yet");
                format!("{label}: not delivered to {}: {why}", d.target)
            }
            None => format!("{label}: the record is gone"),
        };
        output.untrusted(&line)?;
    }
    Ok(code)
}
