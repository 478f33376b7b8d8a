use super::*;
use crate::record::Generation;

fn entry(mode: &str) -> Entry {
    let mut e = Entry::new();
    e.set_generation(Generation::new(5));
    e.set("deliverTo", "-100");
    e.set("deliverChannel", "telegram");
    e.set("deliveryMode", mode);
    e
}

#[test]
fn each_target_is_owed_one_record_a_kind_however_often_it_is_asked() {
    let mut e = entry("announce");
    owe("l", &mut e, DeliveryKind::Result, &Content::default(), 0);
    owe("l", &mut e, DeliveryKind::Result, &Content::default(), 0);
    owe(
        "l",
        &mut e,
        DeliveryKind::Correction,
        &Content::default(),
        0,
    );
    let keys: Vec<String> = e.deliveries().into_iter().map(|d| d.key).collect();
    assert_eq!(
        keys,
        [
            "l/5/1/result/telegram:-100",
            "l/5/1/correction/telegram:-100"
        ]
    );
}

#[test]
fn the_session_that_asked_hears_of_the_end_in_a_record_of_its_own() {
    let mut e = entry("announce-always");
    e.set("requester", "agent:main:main");
    for kind in [DeliveryKind::Starting, DeliveryKind::Result] {
        owe("l", &mut e, kind, &Content::default(), 0);
    }
    owe_note("l", &mut e, &Content::default(), 0);
    let keys: Vec<String> = e.deliveries().into_iter().map(|d| d.key).collect();
    assert_eq!(
        keys,
        [
            "l/5/1/starting/telegram:-100",
            "l/5/1/result/telegram:-100",
            "l/5/1/result/wake:agent:main:main",
            "l/5/1/note/telegram:-100#1"
        ]
    );
}

#[test]
fn what_a_lost_ledger_may_have_delivered_already_says_so() {
    let mut e = entry("announce");
    e.set("adopted", true);
    owe("l", &mut e, DeliveryKind::Result, &Content::default(), 0);
    assert!(e.deliveries()[0].may_be_repeat);
}

#[test]
fn a_result_that_is_put_off_is_told_once_with_the_better_words() {
    let mut e = entry("announce");
    e.set("requester", "agent:main:main");
    let content = |text: &str| Content {
        text: text.to_owned(),
        ..Content::default()
    };
    owe("l", &mut e, DeliveryKind::Result, &content("Done."), 0);
    owe_note("l", &mut e, &content("a note"), 0);
    hold_results(&mut e, 600);
    let times: Vec<Option<i64>> = e.deliveries().iter().map(|d| d.next_at).collect();
    assert_eq!(times, [Some(600), Some(600), None]);
    assert!(release_results(&mut e, Some(&content("Fixed it."))));
    let told: Vec<(String, Option<i64>)> = e
        .deliveries()
        .into_iter()
        .map(|d| (d.content.text, d.next_at))
        .collect();
    let fixed = ("Fixed it.".to_owned(), None);
    assert_eq!(told, [fixed.clone(), fixed, ("a note".to_owned(), None)]);
    assert!(!release_results(&mut e, Some(&content("Again."))));
}

#[test]
fn mode_none_and_no_target_owe_nothing() {
    let mut e = entry("none");
    owe("l", &mut e, DeliveryKind::Result, &Content::default(), 0);
    assert!(!is_owed(&e));
    let mut e = entry("announce");
    e.clear("deliverTo");
    owe("l", &mut e, DeliveryKind::Result, &Content::default(), 0);
    assert!(!is_owed(&e));
}

#[test]
fn a_failure_that_a_retry_was_to_follow_does_not_hide_the_end() {
    let mut e = entry("announce-always");
    e.set("requester", "agent:main:main");
    owe_passing_failure("l", &mut e, &Content::default(), 0);
    owe("l", &mut e, DeliveryKind::Failure, &Content::default(), 0);
    let keys: Vec<String> = e.deliveries().into_iter().map(|d| d.key).collect();
    assert_eq!(
        keys,
        [
            "l/5/1/failure/telegram:-100#retry",
            "l/5/1/failure/telegram:-100",
            "l/5/1/failure/wake:agent:main:main"
        ]
    );
}

#[test]
fn an_end_is_told_once_however_often_it_is_looked_at() {
    let ended = |status: Status| {
        let mut e = entry("announce");
        e.set_status(&status);
        e.set_time("spawnedAt", 1_000);
        e.set_time("endedAt", 5_000);
        e
    };
    let put = |e: &mut Entry, kind, target: &str, state| {
        let key = Delivery::key_of("l", Generation::new(5), 1, kind, target);
        let mut d = Delivery::new(key, kind, target, Content::default(), 0);
        d.state = state;
        e.put_delivery(&d);
    };
    use DeliveryKind::{Correction, Failure, Note, Result};
    use DeliveryState::{Delivered, Parked, Pending, Retrying};
    let under_way = || Telling::UnderWay("telegram:1".to_owned());
    let table = [
        (Status::Done, vec![], Telling::Due),
        (
            Status::Done,
            vec![(Result, "telegram:1", Delivered)],
            Telling::Done,
        ),
        (
            Status::Done,
            vec![(Result, "telegram:1", Retrying)],
            under_way(),
        ),
        (
            Status::Done,
            vec![(Result, "telegram:1", Parked)],
            Telling::Due,
        ),
        (Status::Done, vec![(Result, STDOUT, Pending)], Telling::Due),
        (
            Status::Done,
            vec![(Result, STDOUT, Delivered)],
            Telling::Done,
        ),
        (
            Status::Done,
            vec![(Note, "telegram:1", Delivered)],
            Telling::Due,
        ),
        (
            Status::Done,
            vec![(Result, "wake:agent:main:main", Delivered)],
            Telling::Due,
        ),
        (
            Status::Done,
            vec![(Failure, STDOUT, Delivered)],
            Telling::Due,
        ),
        (
            Status::Done,
            vec![
                (Failure, STDOUT, Delivered),
                (Correction, "telegram:1", Pending),
            ],
            under_way(),
        ),
        (
            Status::Error,
            vec![(Failure, "telegram:1", Delivered)],
            Telling::Done,
        ),
        (Status::Cancelled, vec![], Telling::Due),
    ];
    for (status, records, expected) in table {
        let mut e = ended(status);
        for (kind, target, state) in &records {
            put(&mut e, *kind, target, *state);
        }
        assert_eq!(telling("l", &e), expected, "{records:?}");
        if expected == Telling::Due {
            mark_told("l", &mut e, 5_000);
            assert_eq!(telling("l", &e), Telling::Done, "{records:?}");
        }
    }
}

#[test]
fn what_an_earlier_run_left_does_not_tell_of_this_end() {
    let mut e = entry("announce");
    e.set_status(&Status::Done);
    e.set_time("spawnedAt", 1_000);
    e.set_time("completionDeliveredAt", 500);
    let key = Delivery::key_of("l", Generation::new(4), 1, DeliveryKind::Result, STDOUT);
    let kind = DeliveryKind::Result;
    let mut old = Delivery::new(key, kind, STDOUT, Content::default(), 0);
    old.state = DeliveryState::Delivered;
    e.put_delivery(&old);
    assert_eq!(telling("l", &e), Telling::Due);
    e.set_time("completionDeliveredAt", 1_000);
    assert_eq!(telling("l", &e), Telling::Done);
    // Nor does the failure of an attempt that was followed by another.
    let mut e = entry("announce");
    e.set_status(&Status::Error);
    owe("l", &mut e, DeliveryKind::Failure, &Content::default(), 0);
    let mut first = e.deliveries().remove(0);
    first.state = DeliveryState::Delivered;
    e.put_delivery(&first);
    assert_eq!(telling("l", &e), Telling::Done);
    e.set("attempt", 2);
    assert_eq!(telling("l", &e), Telling::Due);
}

#[test]
fn a_new_generation_carries_what_is_open_and_only_that() {
    let mut old = entry("announce");
    owe("l", &mut old, DeliveryKind::Failure, &Content::default(), 0);
    owe(
        "l",
        &mut old,
        DeliveryKind::Correction,
        &Content::default(),
        0,
    );
    let mut sent = old.deliveries().remove(0);
    sent.state = DeliveryState::Delivered;
    old.put_delivery(&sent);
    let mut new = entry("announce");
    carry_over(&old, &mut new);
    assert_eq!(new.deliveries().len(), 1);
    assert!(is_owed(&new));
}
