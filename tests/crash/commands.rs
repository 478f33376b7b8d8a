//! The commands that people and agents call.

use crate::support::{House, kill_hard};

use super::faults::{DEATHS, FAILURES, Fault, at_every_call};
use super::outcome::{
    TO_SINK, brought_to_its_end, configure_sink, is_done_once, is_sound, kinds_received, received,
};

/// Appends to `runs` and says what its prompt was.
const SCRIPT: &str = "echo ran >> runs; cat; echo; echo result";
const TEXT: &str = "a task\nresult\n";

/// Appends to `runs`, then waits at the gate.
const GATED: &str = "echo ran >> runs; read -r _ < gate; echo result";

/// The words of an enqueue to the sink.
pub fn enqueue_words<'a>(script: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["enqueue", "--label", "w"];
    words.extend(TO_SINK);
    words.extend(more);
    words.extend(["--", "sh", "-c", script]);
    words
}

fn enqueue(house: &House, fault: &Fault) {
    configure_sink(house);
    let more = ["--message", "a task", "--idempotency-key", "once"];
    let words = enqueue_words(SCRIPT, &more);
    let struck = fault.strike(house, &words);
    if struck.acknowledged() {
        assert_eq!(
            house.entry("w")["generation"],
            struck.ran.json()["generation"]
        );
    }
    if fault.kind.is_death() {
        house.recover();
    }
    // Whoever heard no answer asks again under the same key.
    house.dispatch(&words).exits(0);
    brought_to_its_end(house);
    is_done_once(house, "w", TEXT);
    assert_eq!(kinds_received(house, "w"), ["result"]);
    is_sound(house);
}

#[test]
fn an_enqueue_that_dies_at_any_call_is_made_once_by_asking_again() {
    at_every_call("dispatch enqueue", &DEATHS, 20, enqueue);
}

#[test]
fn an_enqueue_that_fails_at_any_call_says_so_and_is_made_once_by_asking_again() {
    at_every_call("dispatch enqueue", &FAILURES, 20, enqueue);
}

/// An enqueue over an ended label, whose entry goes to the archive.
fn enqueue_again(house: &House, fault: &Fault) {
    configure_sink(house);
    house.dispatch(&enqueue_words("echo first", &[])).exits(0);
    brought_to_its_end(house);
    let generation = || house.entry("w")["generation"].to_string();
    let first = generation();
    let struck = fault.strike(house, &enqueue_words("echo ran >> runs; echo second", &[]));
    brought_to_its_end(house);
    let is_there = generation() != first;
    assert!(is_there || !struck.acknowledged(), "acknowledged and lost");
    if !is_there {
        house
            .dispatch(&enqueue_words("echo ran >> runs; echo second", &[]))
            .exits(0);
        brought_to_its_end(house);
    }
    is_done_once(house, "w", "second\n");
    assert_eq!(kinds_received(house, "w"), ["result", "result"]);
    let old = ["result", "--label", "w", "--generation", &first];
    assert_eq!(house.dispatch(&old).exits(0).json()["lastReply"], "first\n");
    is_sound(house);
}

#[test]
fn an_enqueue_over_an_ended_label_loses_neither_result_at_any_call() {
    at_every_call("dispatch enqueue", &DEATHS, 25, enqueue_again);
}

/// A running label whose command waits at the gate.
fn at_the_gate(house: &House) -> crate::support::Gate {
    configure_sink(house);
    let gate = house.gate("gate");
    house.dispatch(&enqueue_words(GATED, &[])).exits(0);
    gate
}

fn note(house: &House, fault: &Fault) {
    let gate = at_the_gate(house);
    let struck = fault.strike(house, &["note", "--label", "w", "first"]);
    house.dispatch(&["note", "--label", "w", "second"]).exits(0);
    gate.open();
    brought_to_its_end(house);
    is_done_once(house, "w", "result\n");
    let texts: Vec<_> = received(house).iter().map(|p| p["text"].clone()).collect();
    let arrived = |text: &str| texts.iter().any(|t| *t == text);
    assert!(arrived("first") || !struck.acknowledged(), "{texts:?}");
    assert!(arrived("second"), "{texts:?}");
    is_sound(house);
}

#[test]
fn a_note_that_was_acknowledged_arrives_wherever_the_command_dies_or_fails() {
    at_every_call("dispatch note", &DEATHS, 8, note);
    at_every_call("dispatch note", &FAILURES, 8, note);
}

fn cancel(house: &House, fault: &Fault) {
    let _gate = at_the_gate(house);
    house.wrote("runs", "ran");
    let struck = fault.strike(house, &["cancel", "--label", "w"]);
    assert!(!struck.acknowledged() || house.entry("w")["status"] == "cancelled");
    // Asked again, it goes on; or the first request has done it.
    let again = house.dispatch(&["cancel", "--label", "w"]);
    let is_over = again.stderr.contains("is not running: it is cancelled");
    assert!(again.code == Some(0) || is_over, "{again:?}");
    brought_to_its_end(house);
    assert_eq!(house.entry("w")["status"], "cancelled");
    assert_eq!(house.text("runs"), "ran\n");
    is_sound(house);
}

#[test]
fn a_cancel_that_dies_or_fails_at_any_call_is_finished_by_asking_again() {
    at_every_call("dispatch cancel", &DEATHS, 12, cancel);
    at_every_call("dispatch cancel", &FAILURES, 12, cancel);
}

fn redeliver(house: &House, fault: &Fault) {
    configure_sink(house);
    std::fs::write(house.path("closed"), "").expect("writable");
    house
        .dispatch(&enqueue_words("echo ran >> runs; echo result", &[]))
        .exits(0);
    brought_to_its_end(house);
    assert_eq!(house.entry("w")["deliveries"][0]["state"], "parked");
    std::fs::remove_file(house.path("closed")).expect("it is there");
    let struck = fault.strike(house, &["redeliver", "--label", "w"]);
    assert!(!struck.acknowledged() || !received(house).is_empty());
    brought_to_its_end(house);
    house.dispatch(&["redeliver", "--label", "w"]).exits(0);
    brought_to_its_end(house);
    is_done_once(house, "w", "result\n");
    assert_eq!(kinds_received(house, "w"), ["result"]);
    is_sound(house);
}

#[test]
fn a_redelivery_that_dies_or_fails_at_any_call_is_made_by_asking_again() {
    at_every_call("dispatch redeliver", &DEATHS, 10, redeliver);
    at_every_call("dispatch redeliver", &FAILURES, 10, redeliver);
}

fn recovery(house: &House, fault: &Fault) {
    let gate = at_the_gate(house);
    kill_hard(house.watcher_pid("w"));
    fault.strike_program(house, "529-recovery", &[]);
    gate.open();
    brought_to_its_end(house);
    is_done_once(house, "w", "result\n");
    assert_eq!(kinds_received(house, "w"), ["result"]);
    is_sound(house);
}

#[test]
fn a_recovery_scan_that_dies_or_fails_at_any_call_is_made_good_by_the_next() {
    at_every_call("529-recovery", &DEATHS, 3, recovery);
    at_every_call("529-recovery", &FAILURES, 3, recovery);
}
