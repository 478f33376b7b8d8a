//! What is told to whom: modes, the start, notes, failures and corrections.

use std::fs;

use serde_json::json;

use super::receiver::{Answer, Receiver};
use super::{enqueue_to, house_with, quiet, record_in, records, signal_done};
use crate::support::{House, eventually, finish_soon, is_alive};

/// The kinds that arrived, in order.
fn kinds(receiver: &Receiver) -> Vec<String> {
    let requests = receiver.requests();
    requests.iter().map(|r| r.text("kind")).collect()
}

#[test]
fn announce_tells_the_result_alone_and_none_tells_nothing() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let flags = ["--delivery-mode", "none"];
    enqueue_to(&house, "webhook:ops", "silent", &flags, "echo hi");
    house.ended("silent");
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    quiet(&house);
    assert_eq!(kinds(&receiver), ["result"]);
    assert!(records(&house, "silent").is_empty());
    assert_eq!(house.full_text("silent"), "hi\n");
}

#[test]
fn announce_always_tells_the_start_first_then_the_notes_in_order_then_the_result() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    let flags = ["--delivery-mode", "announce-always"];
    let script = format!("{}; echo hi", gate.pass());
    enqueue_to(&house, "webhook:ops", "w", &flags, &script);
    record_in(&house, "w", "starting", "delivered");
    let long = "step ".repeat(1000);
    for (number, text) in [(1, "half way"), (2, "half way"), (3, long.as_str())] {
        let answer = house.dispatch(&["note", "--label", "w", text]).exits(0);
        assert_eq!(answer.json()["note"], number);
    }
    receiver.received(4);
    gate.open();
    record_in(&house, "w", "result", "delivered");
    let expected = ["starting", "note", "note", "note", "result"];
    assert_eq!(kinds(&receiver), expected);
    let requests = receiver.requests();
    assert_eq!(
        requests[0].text("text"),
        "\u{1f336}\u{fe0f} *dispatch* [w] starting..."
    );
    let generation = &house.entry("w")["generation"];
    for (number, request) in (1..=3).zip(&requests[1..]) {
        let key = format!("w/{generation}/1/note/webhook:ops#{number}");
        assert_eq!(request.text("key"), key);
    }
    assert_eq!(requests[1].text("text"), "half way");
    assert_eq!(requests[3].text("text"), long, "the whole note");
}

#[test]
fn notes_wait_for_the_one_before_that_could_not_be_told_yet() {
    let receiver = Receiver::answering(&[Answer::Status(503)]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    let script = format!("{}; echo hi", gate.pass());
    enqueue_to(&house, "webhook:ops", "w", &[], &script);
    for text in ["one", "two", "three"] {
        house.dispatch(&["note", "--label", "w", text]).exits(0);
    }
    let texts: Vec<String> = receiver
        .received(4)
        .iter()
        .map(|r| r.text("text"))
        .collect();
    assert_eq!(texts, ["one", "one", "two", "three"]);
    gate.open();
    record_in(&house, "w", "result", "delivered");
}

#[test]
fn a_result_does_not_wait_for_a_note_that_cannot_be_told() {
    let receiver = Receiver::answering(&[Answer::With(503, "Retry-After: 3600")]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    let script = format!("{}; echo hi", gate.pass());
    enqueue_to(&house, "webhook:ops", "w", &[], &script);
    house.dispatch(&["note", "--label", "w", "one"]).exits(0);
    record_in(&house, "w", "note", "retrying");
    gate.open();
    record_in(&house, "w", "result", "delivered");
    assert_eq!(kinds(&receiver), ["note", "result"]);
}

#[test]
fn of_many_delivered_notes_ten_stay_in_the_ledger() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    let script = format!("{}; echo hi", gate.pass());
    enqueue_to(&house, "webhook:ops", "w", &[], &script);
    for number in 1..=13 {
        let text = format!("note {number}");
        house.dispatch(&["note", "--label", "w", &text]).exits(0);
        eventually("every note is delivered", || {
            let mut open = records(&house, "w").into_iter();
            open.all(|record| record["state"] == "delivered")
                .then_some(())
        });
    }
    gate.open();
    record_in(&house, "w", "result", "delivered");
    let notes: Vec<String> = records(&house, "w")
        .iter()
        .filter(|record| record["kind"] == "note")
        .map(|record| {
            record["content"]["text"]
                .as_str()
                .expect("a text")
                .to_owned()
        })
        .collect();
    // Pruned when a note is added: the one that came last is not delivered by then.
    let kept = 13 - notes.len() + 1;
    assert!((10..=11).contains(&notes.len()), "{notes:?}");
    let expected: Vec<String> = (kept..=13).map(|n| format!("note {n}")).collect();
    assert_eq!(notes, expected);
}

#[test]
fn a_failed_run_is_told_as_a_failure_and_a_late_signal_corrects_it() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    enqueue_to(
        &house,
        "webhook:ops",
        "w",
        &[],
        "echo half; echo oops >&2; exit 3",
    );
    record_in(&house, "w", "failure", "delivered");
    quiet(&house);
    let told = receiver.requests().remove(0).text("text");
    assert!(
        told.contains("[w]") && !told.contains("completed:"),
        "{told}"
    );
    assert!(
        told.contains("the command exited with code 3: oops"),
        "{told}"
    );
    assert!(told.contains("half"), "{told}");
    signal_done(&house, "w", "All is well after all.").exits(0);
    record_in(&house, "w", "correction", "delivered");
    let told = receiver.requests().remove(1).text("text");
    assert!(
        told.ends_with("completed:\n\nAll is well after all."),
        "{told}"
    );
    assert_eq!(kinds(&receiver), ["failure", "correction"]);
    assert_eq!(house.entry("w")["status"], "done");
}

#[test]
fn a_cancelled_label_tells_nothing() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    enqueue_to(&house, "webhook:ops", "w", &[], &gate.pass());
    house.runner_pid("w");
    house.dispatch(&["cancel", "--label", "w"]).exits(0);
    quiet(&house);
    assert_eq!(house.entry("w")["status"], "cancelled");
    assert!(records(&house, "w").is_empty());
    assert!(receiver.requests().is_empty());
}

#[test]
fn a_signal_for_a_label_that_nobody_enqueued_goes_to_the_configured_target() {
    let receiver = Receiver::answering(&[]);
    let house = House::new();
    house.configure(&json!({
        "webhooks": {"ops": {"url": receiver.url()}},
        "deliverTo": "ops",
        "deliveryChannel": "webhook",
    }));
    signal_done(&house, "w", "Done by hand.").exits(0);
    record_in(&house, "w", "result", "delivered");
    let told = receiver.requests().remove(0).text("text");
    assert!(told.ends_with("[w] completed:\n\nDone by hand."), "{told}");
}

#[test]
fn the_stdout_of_a_foreground_watcher_is_its_runs_only_sink() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    let script = format!("{}; echo hi", gate.pass());
    enqueue_to(&house, "webhook:ops", "w", &[], &script);
    let detached = house.watcher_pid("w");
    let foreground = house.start("watcher", &["--label", "w"]);
    eventually("the hand-over", || (!is_alive(detached)).then_some(()));
    gate.open();
    let ran = finish_soon(foreground).exits(0);
    assert!(ran.stdout.ends_with("completed:\n\nhi\n"), "{ran:?}");
    let records = records(&house, "w");
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["target"], "stdout");
    assert_eq!(records[0]["state"], "delivered");
    let ledger = fs::read(house.ledger_path()).expect("readable");
    assert_eq!(house.recover().stdout, "");
    quiet(&house);
    assert!(receiver.requests().is_empty());
    assert_eq!(fs::read(house.ledger_path()).expect("readable"), ledger);
}

#[test]
fn a_foreground_watcher_sends_the_notes_and_prints_the_result() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    enqueue_to(
        &house,
        "webhook:ops",
        "w",
        &[],
        &format!("{}; echo hi", gate.pass()),
    );
    let foreground = house.start("watcher", &["--label", "w"]);
    eventually("the hand-over", || {
        (house.watcher_pid("w") == foreground.id()).then_some(())
    });
    house
        .dispatch(&["note", "--label", "w", "half way"])
        .exits(0);
    record_in(&house, "w", "note", "delivered");
    gate.open();
    let ran = finish_soon(foreground).exits(0);
    assert!(ran.stdout.ends_with("\n\nhi\n"), "{ran:?}");
    quiet(&house);
    assert_eq!(kinds(&receiver), ["note"]);
}

#[test]
fn what_a_foreground_watcher_leaves_unsent_goes_out_without_a_scan() {
    let receiver = Receiver::answering(&[Answer::With(503, "Retry-After: 2")]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    enqueue_to(
        &house,
        "webhook:ops",
        "w",
        &[],
        &format!("{}; echo hi", gate.pass()),
    );
    let foreground = house.start("watcher", &["--label", "w"]);
    eventually("the hand-over", || {
        (house.watcher_pid("w") == foreground.id()).then_some(())
    });
    house
        .dispatch(&["note", "--label", "w", "half way"])
        .exits(0);
    record_in(&house, "w", "note", "retrying");
    gate.open();
    finish_soon(foreground).exits(0);
    record_in(&house, "w", "note", "delivered");
    assert_eq!(house.entry("w")["status"], "done");
}
