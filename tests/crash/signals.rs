//! `dispatch done`, the agent's own word: as soon as it is acknowledged it stands.

use crate::support::House;

use super::commands::enqueue_words;
use super::faults::{DEATHS, FAILURES, Fault, Struck, at_every_call};
use super::outcome::{brought_to_its_end, configure_sink, is_sound, kinds_received};

const SUMMARY: &str = "All of it is done.";

const DONE: [&str; 7] = [
    "done",
    "--label",
    "w",
    "--summary",
    SUMMARY,
    "--checklist",
    r#"{"work_complete":true}"#,
];

/// What is acknowledged stands; what is not is said again.
fn signalled(house: &House, struck: &Struck) {
    let entry = house.entry("w");
    assert!(
        !struck.acknowledged() || entry["status"] == "done",
        "acknowledged and lost: {entry}"
    );
    house.dispatch(&DONE).exits(0);
}

#[track_caller]
fn stands(house: &House, kinds: &[&str]) {
    brought_to_its_end(house);
    let entry = house.entry("w");
    assert_eq!(entry["status"], "done");
    assert_eq!(entry["completion"]["summary"], SUMMARY);
    assert_eq!(house.artifact("w"), SUMMARY.as_bytes());
    assert_eq!(kinds_received(house, "w"), kinds);
    is_sound(house);
}

fn unregistered(house: &House, fault: &Fault) {
    configure_sink(house);
    let struck = fault.strike(house, &DONE);
    if struck.acknowledged() {
        // Nobody asks again.
        return stands(house, &["result"]);
    }
    signalled(house, &struck);
    stands(house, &["result"]);
}

#[test]
fn a_signal_for_a_label_that_nobody_enqueued_is_never_lost() {
    at_every_call("dispatch done", &DEATHS, 15, unregistered);
    at_every_call("dispatch done", &FAILURES, 15, unregistered);
}

fn running(house: &House, fault: &Fault) {
    configure_sink(house);
    let gate = house.gate("gate");
    let script = "read -r _ < gate; echo last words";
    house.dispatch(&enqueue_words(script, &[])).exits(0);
    let struck = fault.strike(house, &DONE);
    signalled(house, &struck);
    gate.open();
    stands(house, &["result"]);
}

#[test]
fn a_signal_for_a_running_label_is_never_lost() {
    at_every_call("dispatch done", &DEATHS, 15, running);
    at_every_call("dispatch done", &FAILURES, 15, running);
}

fn after_an_error(house: &House, fault: &Fault) {
    configure_sink(house);
    house.dispatch(&enqueue_words("exit 3", &[])).exits(0);
    brought_to_its_end(house);
    assert_eq!(house.entry("w")["status"], "error");
    let struck = fault.strike(house, &DONE);
    signalled(house, &struck);
    stands(house, &["failure", "correction"]);
}

#[test]
fn a_signal_after_a_failure_is_told_as_its_correction() {
    at_every_call("dispatch done", &DEATHS, 15, after_an_error);
    at_every_call("dispatch done", &FAILURES, 15, after_an_error);
}
