//! The rules of the outbox: when a record is due, what a try makes of it, what a repeat says. Pure.
//!
//! A try is recorded before it is made. So a record that is found being sent by nobody, or whose try timed out, may have
//! arrived: it is sent again under its key, and says that it may be a repeat. Only a key that its receiver answers with a
//! failure, and that has therefore brought nothing, gives way to another.

use std::time::Duration;

use serde_json::Value;

use crate::record::{Delivery, DeliveryState, Generation};

/// Pauses after the first, second, ... failed try.
const PAUSES_S: [u64; 8] = [2, 5, 15, 60, 120, 300, 900, 1800];

/// What came of a try.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The receiver has it.
    Delivered {
        /// What it answered.
        receipt: Value,
    },
    /// It did not arrive; a later try may succeed.
    Failed {
        /// Why.
        why: String,
        /// How long the receiver asked to wait.
        retry_after: Option<Duration>,
    },
    /// Nobody knows whether it arrived.
    Unknown {
        /// Why.
        why: String,
        /// How long the receiver asked to wait.
        retry_after: Option<Duration>,
        /// How long the receiver would answer a repeat with this from memory.
        remembered: Option<Duration>,
    },
    /// No try will ever succeed.
    Refused {
        /// Why.
        why: String,
    },
    /// As the inner one, which says that nothing arrived; and the receiver answers the key with it from memory, so that a
    /// later try takes another.
    Spent(Box<Outcome>),
}

/// When a record is to be sent next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Now.
    Now,
    /// At this time, ms since the epoch.
    At(i64),
    /// Not by itself.
    Never,
}

/// When the record is due, for somebody who sends nothing at the moment.
pub fn due(delivery: &Delivery, now_ms: i64) -> Due {
    match delivery.state {
        DeliveryState::Delivered | DeliveryState::Parked => Due::Never,
        DeliveryState::Sending => Due::Now,
        DeliveryState::Pending | DeliveryState::Retrying | DeliveryState::Unknown => {
            match delivery.next_at {
                Some(at) if at > now_ms => Due::At(at),
                _ => Due::Now,
            }
        }
    }
}

/// How soon it is looked again whether another watcher's try has ended.
const OTHERS_LOOK_MS: i64 = 250;

/// A watcher that is at its post and has not told the end of its try for so long is not waited for any more.
const OTHERS_PATIENCE_MS: i64 = 5 * 60_000;

/// The watcher of another generation began this try and still is at its post, as `is_at_post` says.
pub fn is_sent_by_another(
    delivery: &Delivery,
    own: Generation,
    now_ms: i64,
    is_at_post: impl Fn(Generation) -> bool,
) -> bool {
    let by = delivery.tried_by.filter(|by| *by != own);
    let is_recent = delivery
        .tried_at
        .is_some_and(|at| now_ms.saturating_sub(at) < OTHERS_PATIENCE_MS);
    delivery.state == DeliveryState::Sending && is_recent && by.is_some_and(is_at_post)
}

/// What is to be done next for a list of records.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Next<'a> {
    /// Send this one.
    Send(&'a Delivery),
    /// Look again at this time, ms since the epoch.
    LookAt(i64),
    /// Nothing, by itself.
    Nothing,
}

/// Chooses: the first that is due, where progress to one target keeps its order. Results wait for nobody.
/// `is_under_way` says that another watcher is at work on a record.
pub fn next<'a>(
    records: impl IntoIterator<Item = &'a Delivery>,
    now_ms: i64,
    is_under_way: impl Fn(&Delivery) -> bool,
) -> Next<'a> {
    let mut waiting: Vec<&str> = Vec::new();
    let mut look: Option<i64> = None;
    for record in records {
        let is_progress = record.kind.is_progress();
        if is_progress && waiting.contains(&record.target.as_str()) {
            continue;
        }
        let at = match due(record, now_ms) {
            Due::Now if !is_under_way(record) => return Next::Send(record),
            Due::Now => now_ms.saturating_add(OTHERS_LOOK_MS),
            Due::At(at) => at,
            Due::Never => continue,
        };
        if is_progress {
            waiting.push(&record.target);
        }
        look = Some(look.map_or(at, |other| other.min(at)));
    }
    look.map_or(Next::Nothing, Next::LookAt)
}

/// Records that a try of this generation's watcher begins.
pub fn begin(delivery: &mut Delivery, by: Generation, now_ms: i64) {
    if matches!(
        delivery.state,
        DeliveryState::Sending | DeliveryState::Unknown
    ) {
        delivery.may_be_repeat = true;
    }
    delivery.state = DeliveryState::Sending;
    delivery.attempts = delivery.attempts.saturating_add(1);
    delivery.tried_at = Some(now_ms);
    delivery.tried_by = Some(by);
    delivery.remembered_until = None;
    delivery.next_at = None;
}

/// Records what came of a try. `ttl` is how long a record is tried at all; `jitter` is between 0 and 1.
pub fn finish(delivery: &mut Delivery, outcome: Outcome, now_ms: i64, ttl: Duration, jitter: f64) {
    match outcome {
        Outcome::Delivered { receipt } => {
            delivery.state = DeliveryState::Delivered;
            delivery.receipt = Some(receipt);
            delivery.last_error = None;
            delivery.next_at = None;
        }
        Outcome::Refused { why } => park(delivery, why),
        Outcome::Spent(inner) => {
            delivery.spent_keys = delivery.spent_keys.saturating_add(1);
            finish(delivery, *inner, now_ms, ttl, jitter);
        }
        Outcome::Failed { why, retry_after } => {
            retry(
                delivery,
                DeliveryState::Retrying,
                why,
                now_ms,
                ttl,
                pause(delivery.attempts, retry_after, jitter),
            );
        }
        Outcome::Unknown {
            why,
            retry_after,
            remembered,
        } => {
            delivery.remembered_until = remembered.map(|pause| after(now_ms, pause));
            retry(
                delivery,
                DeliveryState::Unknown,
                why,
                now_ms,
                ttl,
                pause(delivery.attempts, retry_after.max(remembered), jitter),
            );
        }
    }
}

fn park(delivery: &mut Delivery, why: String) {
    delivery.state = DeliveryState::Parked;
    delivery.last_error = Some(why);
    delivery.next_at = None;
}

fn retry(
    delivery: &mut Delivery,
    state: DeliveryState,
    why: String,
    now_ms: i64,
    ttl: Duration,
    pause: Duration,
) {
    let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    let last_at = delivery.at.saturating_add(ttl_ms);
    if now_ms >= last_at {
        let after = match ttl.as_secs() {
            seconds if seconds >= 3600 => format!("{} h", seconds / 3600),
            seconds => format!("{seconds} s"),
        };
        // Whether it may have arrived is still told by a later redelivery.
        delivery.may_be_repeat |= state == DeliveryState::Unknown;
        park(delivery, format!("given up after {after}: {why}"));
        return;
    }
    delivery.state = state;
    delivery.last_error = Some(why);
    // Whatever the receiver asked for, the last try is made at the end of the record's time.
    delivery.next_at = Some(after(now_ms, pause).min(last_at));
}

fn after(now_ms: i64, pause: Duration) -> i64 {
    now_ms.saturating_add(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX))
}

/// The pause after so many tries: growing, spread by +-20 %, and never shorter than the receiver asked.
fn pause(attempts: u32, retry_after: Option<Duration>, jitter: f64) -> Duration {
    let last = PAUSES_S.len() - 1;
    let index = usize::try_from(attempts.saturating_sub(1))
        .unwrap_or(last)
        .min(last);
    let base = PAUSES_S.get(index).copied().unwrap_or(1800);
    let spread = Duration::from_secs(base).mul_f64(0.8 + 0.4 * jitter.clamp(0.0, 1.0));
    spread.max(retry_after.unwrap_or_default())
}

/// Somebody wants the record sent now: a parked one again, one that waits for its time without waiting. Says whether there
/// was anything to change.
pub fn hurry(delivery: &mut Delivery, now_ms: i64) -> bool {
    match delivery.state {
        DeliveryState::Parked => {
            delivery.state = DeliveryState::Pending;
            delivery.at = now_ms;
        }
        DeliveryState::Retrying | DeliveryState::Unknown => {}
        DeliveryState::Pending | DeliveryState::Sending | DeliveryState::Delivered => return false,
    }
    // Under the old key it would not be sent, and the words of a repeat stand for what may have arrived.
    if delivery
        .remembered_until
        .is_some_and(|until| until > now_ms)
    {
        delivery.spent_keys = delivery.spent_keys.saturating_add(1);
        delivery.remembered_until = None;
    }
    delivery.next_at = None;
    true
}

/// The words that a repeat carries.
pub fn repeat_words(delivery: &Delivery) -> Option<String> {
    let key = &delivery.key;
    delivery.may_be_repeat.then(|| match delivery.attempts {
        // The ledger that knew of them is lost.
        0 | 1 => {
            format!("(This may be a repeat: earlier tries under the key {key} are not on record.)")
        }
        tries => format!("(This may be a repeat: try {tries} under the key {key}.)"),
    })
}

#[cfg(test)]
#[path = "outbox_tests.rs"]
mod tests;
