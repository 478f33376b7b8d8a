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
        /// How long the receiver would answer a repeat with this from memory.
        retry_after: Option<Duration>,
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
        Outcome::Unknown { why, retry_after } => {
            delivery.remembered_until = retry_after.map(|pause| after(now_ms, pause));
            retry(
                delivery,
                DeliveryState::Unknown,
                why,
                now_ms,
                ttl,
                pause(delivery.attempts, retry_after, jitter),
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
    delivery.may_be_repeat.then(|| {
        let tries = delivery.attempts;
        format!(
            "(This may be a repeat: try {tries} under the key {}.)",
            delivery.key
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Content, DeliveryKind};
    use serde_json::json;

    const BY: Generation = Generation::new(1);
    const TTL: Duration = Duration::from_secs(48 * 3600);

    fn record() -> Delivery {
        Delivery::new(
            "k".to_owned(),
            DeliveryKind::Result,
            "webhook:x",
            Content::default(),
            1_000,
        )
    }

    fn failed(why: &str) -> Outcome {
        Outcome::Failed {
            why: why.to_owned(),
            retry_after: None,
        }
    }

    #[test]
    fn a_new_record_is_due_and_a_delivered_one_never_again() {
        let mut d = record();
        assert_eq!(due(&d, 1_000), Due::Now);
        begin(&mut d, BY, 1_000);
        let receipt = json!({"status": 200});
        finish(&mut d, Outcome::Delivered { receipt }, 1_001, TTL, 0.5);
        assert_eq!(
            (d.state, d.attempts, due(&d, i64::MAX)),
            (DeliveryState::Delivered, 1, Due::Never)
        );
        assert!(!d.may_be_repeat);
    }

    #[test]
    fn pauses_grow_and_a_plain_failure_is_no_repeat() {
        let mut d = record();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            begin(&mut d, BY, 0);
            finish(&mut d, failed("refused"), 0, TTL, 0.5);
            pauses.push(d.next_at.unwrap_or(-1) / 1000);
        }
        assert_eq!(pauses, [2, 5, 15, 60, 120, 300, 900, 1800, 1800, 1800]);
        assert!(!d.may_be_repeat);
        assert_eq!(due(&d, 5), Due::At(1_800_000));
    }

    #[test]
    fn jitter_spreads_by_a_fifth_and_the_receivers_wish_counts() {
        for (jitter, ms) in [(0.0, 1_600), (1.0, 2_400)] {
            assert_eq!(pause(1, None, jitter).as_millis(), ms);
        }
        assert_eq!(
            pause(1, Some(Duration::from_secs(60)), 0.5),
            Duration::from_secs(60)
        );
    }

    #[test]
    fn a_try_of_unknown_fate_is_repeated_as_a_possible_repeat() {
        let mut d = record();
        begin(&mut d, BY, 0);
        let timed_out = Outcome::Unknown {
            why: "timed out".to_owned(),
            retry_after: None,
        };
        finish(&mut d, timed_out, 0, TTL, 0.5);
        assert_eq!((d.state, d.may_be_repeat), (DeliveryState::Unknown, false));
        begin(&mut d, BY, 10);
        assert!(d.may_be_repeat);
        assert_eq!(
            repeat_words(&d).as_deref(),
            Some("(This may be a repeat: try 2 under the key k.)")
        );
    }

    #[test]
    fn a_key_gives_way_to_another_only_when_it_has_brought_nothing() {
        let mut d = record();
        let unknown = || Outcome::Unknown {
            why: "timed out".to_owned(),
            retry_after: None,
        };
        let mut keys = Vec::new();
        let refused = Outcome::Refused {
            why: "blocked".to_owned(),
        };
        for outcome in [
            Outcome::Spent(Box::new(failed("500"))),
            unknown(),
            unknown(),
            Outcome::Spent(Box::new(failed("500"))),
            failed("no route"),
            Outcome::Spent(Box::new(refused)),
        ] {
            keys.push(d.key_of_try());
            begin(&mut d, BY, 0);
            finish(&mut d, outcome, 0, TTL, 0.5);
        }
        assert_eq!(keys, ["k", "k~2", "k~2", "k~2", "k~3", "k~3"]);
        assert_eq!(d.state, DeliveryState::Parked);
        assert!(hurry(&mut d, 0));
        assert_eq!((d.key.as_str(), d.key_of_try()), ("k", "k~4".to_owned()));
    }

    #[test]
    fn a_plain_failure_under_a_spent_key_is_no_repeat_and_waits_its_usual_time() {
        let mut d = record();
        begin(&mut d, BY, 0);
        finish(&mut d, Outcome::Spent(Box::new(failed("500"))), 0, TTL, 0.5);
        assert_eq!((d.state, d.next_at), (DeliveryState::Retrying, Some(2_000)));
        begin(&mut d, BY, 2_000);
        assert!(!d.may_be_repeat);
    }

    #[test]
    fn a_sender_that_died_leaves_a_possible_repeat_that_is_due_at_once() {
        let mut d = record();
        begin(&mut d, BY, 0);
        assert_eq!(due(&d, 1), Due::Now);
        begin(&mut d, BY, 1);
        assert!(d.may_be_repeat);
    }

    #[test]
    fn refusals_park_and_so_does_age() {
        let mut d = record();
        begin(&mut d, BY, 0);
        finish(
            &mut d,
            Outcome::Refused {
                why: "404".to_owned(),
            },
            0,
            TTL,
            0.5,
        );
        assert_eq!(
            (d.state, d.last_error.as_deref()),
            (DeliveryState::Parked, Some("404"))
        );
        assert!(hurry(&mut d, 5_000));
        assert_eq!(due(&d, 5_000), Due::Now);
        begin(&mut d, BY, 5_000);
        let late = 5_000 + 48 * 3_600_000;
        finish(&mut d, failed("no route"), late, TTL, 0.5);
        assert_eq!(
            d.last_error.as_deref(),
            Some("given up after 48 h: no route")
        );
        assert_eq!(due(&d, late), Due::Never);
    }

    #[test]
    fn what_waits_for_its_time_is_sent_at_once_when_somebody_wants_it() {
        let mut d = record();
        assert!(!hurry(&mut d, 0), "a new one is under way already");
        begin(&mut d, BY, 0);
        assert!(!hurry(&mut d, 0));
        finish(&mut d, failed("no route"), 0, TTL, 0.5);
        assert!(hurry(&mut d, 1));
        assert_eq!((due(&d, 1), d.key_of_try().as_str()), (Due::Now, "k"));
        begin(&mut d, BY, 1);
        assert!(!d.may_be_repeat);
        // A lost answer: its receiver may still answer the key with a success.
        let lost = |retry_after| Outcome::Unknown {
            why: "lost".to_owned(),
            retry_after,
        };
        finish(&mut d, lost(None), 2, TTL, 0.5);
        assert!(hurry(&mut d, 3));
        begin(&mut d, BY, 3);
        assert_eq!((d.may_be_repeat, d.key_of_try().as_str()), (true, "k"));
        // A failure that its receiver remembers: under that key nothing more would be sent.
        let minute = Duration::from_secs(60);
        finish(&mut d, lost(Some(minute)), 4, TTL, 0.5);
        let mut later = d.clone();
        assert!(hurry(&mut d, 5) && hurry(&mut later, 60_004));
        assert_eq!(d.key_of_try(), "k~2");
        assert_eq!(later.key_of_try(), "k", "it is forgotten by then");
        begin(&mut d, BY, 5);
        let receipt = json!(1);
        finish(&mut d, Outcome::Delivered { receipt }, 6, TTL, 0.5);
        assert!(!hurry(&mut d, 7));
    }

    #[test]
    fn progress_keeps_its_order_and_a_result_waits_for_nobody() {
        let note = |key: &str, next_at| {
            let content = Content::default();
            let mut d = Delivery::new(key.to_owned(), DeliveryKind::Note, "webhook:x", content, 0);
            if next_at > 0 {
                d.state = DeliveryState::Retrying;
                d.next_at = Some(next_at);
            }
            d
        };
        let nobody = |_: &Delivery| false;
        let notes = [note("1", 900), note("2", 0)];
        assert_eq!(next(&notes, 10, nobody), Next::LookAt(900));
        assert_eq!(next(&notes, 900, nobody), Next::Send(&notes[0]));
        let mut elsewhere = note("3", 0);
        elsewhere.target = "command:y".to_owned();
        let all = [notes[0].clone(), notes[1].clone(), elsewhere];
        assert_eq!(next(&all, 10, nobody), Next::Send(&all[2]));
        let all = [notes[0].clone(), notes[1].clone(), record()];
        assert_eq!(next(&all, 10, nobody), Next::Send(&all[2]));
        assert_eq!(next(&[], 10, nobody), Next::Nothing);
    }

    #[test]
    fn what_another_watcher_sends_is_left_to_it() {
        let mut d = record();
        begin(&mut d, BY, 0);
        let records = [d];
        assert_eq!(next(&records, 10, |_| true), Next::LookAt(260));
        assert_eq!(next(&records, 10, |_| false), Next::Send(&records[0]));
    }
}
