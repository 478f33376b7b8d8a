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
        remembered: None,
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
fn a_first_try_that_may_be_a_repeat_says_that_nobody_knows_of_others() {
    let mut d = record();
    d.may_be_repeat = true;
    begin(&mut d, BY, 0);
    assert_eq!(
        repeat_words(&d).as_deref(),
        Some("(This may be a repeat: earlier tries under the key k are not on record.)")
    );
}

#[test]
fn a_key_gives_way_to_another_only_when_it_has_brought_nothing() {
    let mut d = record();
    let unknown = || Outcome::Unknown {
        why: "timed out".to_owned(),
        retry_after: None,
        remembered: None,
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
    let lost = |remembered| Outcome::Unknown {
        why: "lost".to_owned(),
        retry_after: None,
        remembered,
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
