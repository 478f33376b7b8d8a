//! `dispatch redeliver`: deliveries that were given up, and those that wait for their next try, go out now.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::RedeliverArgs;
use super::exit::{FAILURE, OK};
use super::labels;
use super::output::Output;
use crate::delivery::outbox::hurry;
use crate::delivery::{STDOUT, lacks_gateway, pass_on_stdout, settle_unnamed};
use crate::gateway::configured;
use crate::home::Home;
use crate::ledger::{Ledger, Patience};
use crate::record::{Delivery, DeliveryState, Entry, Generation};
use crate::shell;
use crate::storage::parent_of;
use crate::wake::Wake;
use crate::watchers::{Keeper, Post, ensure_watcher, start_successor};

/// How long the outcome is waited for.
const OUTCOME_WAIT: Duration = Duration::from_secs(30);

/// Records in these states are sent now, as the ledger has them.
const HURRIED: [&str; 4] = ["\"parked\"", "\"retrying\"", "\"unknown\"", "\"stdout\""];

/// A record that is sent now.
struct Hurried {
    label: String,
    generation: Generation,
    key: String,
    /// What it waited in.
    was: DeliveryState,
    /// Tries before.
    attempts: u32,
    /// Its watcher knew of no gateway.
    lacked_gateway: bool,
    /// Nobody is named to hear it, and it is owed no more.
    is_settled: bool,
}

impl Hurried {
    fn of(label: &str, entry: &Entry, delivery: &Delivery, was: DeliveryState) -> Self {
        Self {
            label: label.to_owned(),
            generation: entry.generation(),
            key: delivery.key.clone(),
            was,
            attempts: delivery.attempts,
            lacked_gateway: false,
            is_settled: false,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// An unknown label; an unwritable ledger.
pub fn run(home: &Home, output: Output, args: &RedeliverArgs) -> Result<u8> {
    let ledger = Ledger::new(home);
    if let Some(label) = &args.label {
        labels::find(home, &ledger.read()?, label)?;
    }
    let hurried = ledger.update(Patience::Command, |book| {
        let wanted: BTreeSet<String> = match &args.label {
            Some(label) => BTreeSet::from([label.clone()]),
            None => HURRIED
                .iter()
                .flat_map(|state| book.entries_containing(state))
                .map(|(label, _)| label.to_owned())
                .collect(),
        };
        let mut hurried: Vec<Hurried> = Vec::new();
        for label in wanted {
            let Some(mut entry) = book.get(&label) else {
                continue;
            };
            let before = hurried.len();
            hurried.extend(take_from_stdout(home, &label, &mut entry, book.now_ms()));
            hurried.extend(settle(home, &label, &mut entry));
            for mut delivery in entry.deliveries() {
                let was = delivery.state;
                let lacked_gateway = lacks_gateway(&delivery);
                if delivery.target == STDOUT || !hurry(&mut delivery, book.now_ms()) {
                    continue;
                }
                hurried.push(Hurried {
                    lacked_gateway,
                    ..Hurried::of(&label, &entry, &delivery, was)
                });
                entry.put_delivery(&delivery);
            }
            if hurried.len() > before {
                book.put(&label, entry);
            }
        }
        hurried
    })?;
    for record in hurried.iter().filter(|record| !record.is_settled) {
        send_now(home, record);
    }
    let outcome = wait_for_outcome(home, &ledger, &hurried)?;
    tell(home, output, &hurried, &outcome)
}

/// Has the record's watcher send it. One that was parked by a watcher which knows of no gateway is sent by another, with
/// what our environment names.
fn send_now(home: &Home, record: &Hurried) {
    let (label, generation) = (&record.label, record.generation);
    let is_known = || configured(&home.paths, &home.environment).is_some();
    let keeper = || Post::of(home, label, generation).keeper();
    if record.lacked_gateway && is_known() && matches!(keeper(), Keeper::Detached(_)) {
        match start_successor(home, label, generation) {
            Ok(_) => return,
            Err(e) => home.say(&format!("cannot start a fresh watcher of \"{label}\": {e}")),
        }
    }
    ensure_watcher(home, label, generation);
}

/// What no stdout took, and nobody is printing now, goes to whom the label names; where it names nobody the record stays,
/// and says so.
fn take_from_stdout(home: &Home, label: &str, entry: &mut Entry, now_ms: i64) -> Vec<Hurried> {
    let before = entry.deliveries();
    let unsaid = before.iter().find(|d| d.target == STDOUT && d.is_open());
    let is_printed_now = || Post::of(home, label, entry.generation()).is_held();
    let Some(was) = unsaid.map(|d| d.state) else {
        return Vec::new();
    };
    if was != DeliveryState::Parked && is_printed_now() {
        return Vec::new();
    }
    let why = "the watcher that was to print it is gone";
    pass_on_stdout(label, entry, why, was != DeliveryState::Parked, now_ms);
    let is_new = |d: &Delivery| before.iter().all(|old| old.key != d.key);
    let records = entry.deliveries().into_iter();
    records
        .filter(|d| d.is_open() && (d.target == STDOUT || is_new(d)))
        .map(|d| Hurried::of(label, entry, &d, was))
        .collect()
}

/// What is owed to whomever the configuration names, where it can be read and names nobody: whoever calls has seen it parked
/// for that, or sees it now.
fn settle(home: &Home, label: &str, entry: &mut Entry) -> Vec<Hurried> {
    if home.config.deliver_to.is_some() || home.config.is_deliver_to_unread {
        return Vec::new();
    }
    let settled = settle_unnamed(entry).into_iter();
    settled
        .map(|record| Hurried {
            is_settled: true,
            ..Hurried::of(label, entry, &record, record.state)
        })
        .collect()
}

/// Why a record is owed no more.
fn why_settled(home: &Home, label: &str) -> String {
    format!(
        "{} has no \"deliverTo\", and nobody else is named to hear it; read it with: dispatch result {}",
        home.paths.config.display(),
        shell::label(label)
    )
}

/// The records once each has left its first try, or as they are when that takes long.
fn wait_for_outcome(
    home: &Home,
    ledger: &Ledger,
    hurried: &[Hurried],
) -> Result<Vec<Option<Delivery>>> {
    let mut wake = Wake::new();
    wake.watch(parent_of(ledger.path()));
    let limit = home.clock.monotonic() + OUTCOME_WAIT;
    loop {
        let book = ledger.read()?;
        let now: Vec<Option<Delivery>> = hurried
            .iter()
            .map(|record| {
                let mut all = book.get(&record.label)?.deliveries().into_iter();
                all.find(|d| d.key == record.key)
            })
            .collect();
        let under_way = hurried.iter().zip(&now).any(|(record, now)| {
            now.as_ref().is_some_and(|d| {
                d.is_to_be_sent()
                    && (d.state == DeliveryState::Sending || d.attempts == record.attempts)
            })
        });
        let left = limit.saturating_sub(home.clock.monotonic());
        if !under_way || left.is_zero() {
            return Ok(now);
        }
        wake.wait(left.min(Duration::from_secs(1)));
    }
}

fn tell(
    home: &Home,
    output: Output,
    hurried: &[Hurried],
    outcome: &[Option<Delivery>],
) -> Result<u8> {
    let delivered = outcome
        .iter()
        .flatten()
        .filter(|d| d.state == DeliveryState::Delivered)
        .count();
    let settled = hurried.iter().filter(|record| record.is_settled).count();
    let code = if delivered + settled == hurried.len() {
        OK
    } else {
        FAILURE
    };
    if output.is_json() {
        let rows: Vec<Value> = hurried
            .iter()
            .zip(outcome)
            .map(|(record, delivery)| {
                let mut row = json!({
                    "label": record.label,
                    "key": record.key,
                    "target": delivery.as_ref().map(|d| d.target.clone()),
                    "was": record.was,
                    "state": delivery.as_ref().map(|d| d.state),
                    "lastError": delivery.as_ref().and_then(|d| d.last_error.clone()),
                });
                if record.is_settled {
                    row["message"] = json!(why_settled(home, &record.label));
                }
                row
            })
            .collect();
        output.json(&json!({
            "ok": code == OK,
            "count": hurried.len(),
            "delivered": delivered,
            "deliveries": rows,
        }))?;
        return Ok(code);
    }
    if hurried.is_empty() {
        output.untrusted("nothing is parked, and nothing waits for its next try")?;
    }
    for (record, delivery) in hurried.iter().zip(outcome) {
        let (label, was) = (&record.label, record.was.as_str());
        let line = match delivery {
            Some(d) if d.state == DeliveryState::Delivered => {
                format!("{label}: was {was}, is delivered to {}", d.target)
            }
            Some(d) if d.target == STDOUT => {
                let why = d.last_error.as_deref().unwrap_or("nobody printed it");
                format!("{label}: {why}")
            }
            Some(d) => {
                let why = d.last_error.as_deref().unwrap_or("no answer yet");
                let (is, target) = (d.state.as_str(), &d.target);
                format!("{label}: was {was}, is {is}, not delivered to {target}: {why}")
            }
            None if record.is_settled => format!(
                "{label}: was {was}, is owed no more: {}",
                why_settled(home, label)
            ),
            None => format!("{label}: was {was}, and the record is gone"),
        };
        output.untrusted(&line)?;
    }
    Ok(code)
}
