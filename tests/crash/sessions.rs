//! The processes that carry a session: waiter, runner, watcher.

use serde_json::json;

use crate::support::{House, run};

use super::commands::enqueue_words;
use super::faults::{DEATHS, FAILURES, Fault, Kind, at_every_call};
use super::outcome::{brought_to_its_end, configure_sink, is_done_once, is_sound, kinds_received};

const SCRIPT: &str = "echo ran >> runs; echo result";

/// Enqueues with a fault that waits for one of the processes that are started.
fn enqueue(house: &House, fault: &Fault, more: &[&str]) {
    configure_sink(house);
    let mut command = house.command("dispatch");
    command.args(enqueue_words(SCRIPT, more));
    fault.put_into(&mut command);
    run(command, b"").exits(0);
    brought_to_its_end(house);
}

fn waiter(house: &House, fault: &Fault) {
    enqueue(house, fault, &[]);
    let entry = house.entry("w");
    if entry["status"] == "done" {
        is_done_once(house, "w", "result\n");
        assert_eq!(kinds_received(house, "w"), ["result"]);
    } else {
        // A start that was claimed is not made again: whether the command ran is told, not tried.
        assert!(["", "ran\n"].contains(&house.text("runs").as_str()));
        let kind = &entry["failure"]["kind"];
        assert!(*kind == "runner-lost" || *kind == "spawn", "{entry}");
        assert_eq!(kinds_received(house, "w"), ["failure"]);
        if !house.text("runs").is_empty() {
            assert_eq!(house.full_text("w"), "result\n", "what it printed is lost");
        }
    }
    is_sound(house);
}

#[test]
fn a_waiter_that_dies_at_any_call_starts_the_command_at_most_once() {
    at_every_call("dispatch local-waiter", &DEATHS, 8, waiter);
}

#[test]
fn a_waiter_that_fails_at_any_call_starts_the_command_at_most_once() {
    at_every_call("dispatch local-waiter", &FAILURES, 8, waiter);
}

fn done_and_delivered(house: &House, fault: &Fault) {
    enqueue(house, fault, &[]);
    is_delivered(house);
}

#[track_caller]
fn is_delivered(house: &House) {
    is_done_once(house, "w", "result\n");
    assert_eq!(kinds_received(house, "w"), ["result"]);
    is_sound(house);
}

fn done_by_its_runner(house: &House, fault: &Fault) {
    enqueue(house, fault, &[]);
    if house.session_row("w")["status"] != "done" {
        // It died after its end line, and the label was done without it.
        house.recover();
        brought_to_its_end(house);
    }
    assert_eq!(house.session_row("w")["status"], "done");
    is_delivered(house);
    let transcript = house.transcript("w");
    let ends = transcript
        .iter()
        .filter(|line| line["dispatch"]["end"] == true);
    assert_eq!(ends.count(), 1);
    let prompts = transcript
        .iter()
        .filter(|line| line["message"]["role"] == "user");
    assert_eq!(prompts.count(), 1);
}

#[test]
fn a_runner_that_dies_at_any_call_is_replaced_and_the_run_is_done_once() {
    at_every_call("dispatch local-runner", &DEATHS, 40, done_by_its_runner);
}

#[test]
fn a_runner_that_fails_at_any_call_is_replaced_and_the_run_is_done_once() {
    at_every_call("dispatch local-runner", &FAILURES, 40, done_by_its_runner);
}

#[test]
fn a_watcher_that_dies_at_any_call_loses_no_result_and_no_delivery() {
    at_every_call("detached watcher", &DEATHS, 60, done_and_delivered);
}

#[test]
fn a_watcher_that_fails_at_any_call_loses_no_result_and_no_delivery() {
    at_every_call("detached watcher", &FAILURES, 60, done_and_delivered);
}

fn verified(house: &House, fault: &Fault) {
    let verified = house.path("verified");
    let command = format!("grep -q result && echo yes >> '{}'", verified.display());
    enqueue(house, fault, &["--verify-cmd", &command]);
    is_done_once(house, "w", "result\n");
    assert_eq!(kinds_received(house, "w"), ["result"]);
    assert!(house.text("verified").starts_with("yes\n"));
    assert_eq!(house.entry("w")["failure"], json!(null));
    is_sound(house);
}

#[test]
fn a_watcher_that_dies_at_any_call_verifies_before_it_calls_a_label_done() {
    // What differs from an end without a verify command is a small part of the many calls.
    at_every_call("detached watcher", &[Kind::Power], 60, verified);
}
