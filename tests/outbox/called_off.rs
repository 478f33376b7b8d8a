//! A cancel while the verify command is at work: what that has not accepted does not count.

use serde_json::json;

use super::{quiet, signal_done};
use crate::support::{House, eventually, is_alive};

/// Writes down who it is and what it got, and goes on until it is stopped.
const ENDLESS: &str = "cat > text; echo $$ > check; exec sleep 1000";

fn enqueue(house: &House, check: &str, script: &str) {
    let flags = ["enqueue", "--label", "w", "--verify-cmd", check];
    let script = ["--", "sh", "-c", script];
    house.dispatch(&[&flags[..], &script].concat()).exits(0);
}

fn pid_in(house: &House, name: &str) -> u32 {
    eventually(&format!("a pid in {name}"), || {
        house.text(name).strip_suffix('\n')?.parse().ok()
    })
}

#[track_caller]
fn is_cancelled_with(house: &House, text: &str) {
    let entry = house.entry("w");
    assert_eq!(entry["status"], "cancelled", "{entry}");
    assert_eq!(entry["phase"], json!(null));
    let kept = house.full_text("w");
    assert!(kept.contains(text), "{kept}");
    quiet(house);
    assert_eq!(house.recover().stdout, "");
    assert_eq!(house.entry("w")["status"], "cancelled");
}

#[test]
fn a_cancel_ends_the_check_of_a_reply_and_keeps_its_text() {
    let house = House::new();
    enqueue(&house, ENDLESS, "echo the reply");
    let check = pid_in(&house, "check");
    let ran = house.dispatch(&["cancel", "--label", "w"]).exits(0);
    assert_eq!(ran.json()["message"], "cancelled");
    assert!(!is_alive(check));
    is_cancelled_with(&house, "the reply");
}

#[test]
fn a_check_that_does_not_heed_the_request_is_killed_with_all_that_it_started() {
    let house = House::new();
    house.configure(&json!({"termGraceSeconds": 0.1}));
    let check = "trap '' TERM; sh -c 'echo $$ > child; sleep 1000' & echo $$ > check; while :; do sleep 1000; done";
    enqueue(&house, check, "echo the reply");
    let pids = ["check", "child"].map(|name| pid_in(&house, name));
    house.dispatch(&["cancel", "--label", "w"]).exits(0);
    assert!(!pids.into_iter().any(is_alive));
    is_cancelled_with(&house, "the reply");
}

#[test]
fn a_check_that_passes_once_it_is_told_to_stop_has_accepted_nothing() {
    let house = House::new();
    let check = "trap 'exit 0' TERM; echo $$ > check; while :; do sleep 1000 & wait; done";
    enqueue(&house, check, "echo the reply");
    pid_in(&house, "check");
    house.dispatch(&["cancel", "--label", "w"]).exits(0);
    is_cancelled_with(&house, "the reply");
}

#[test]
fn a_cancel_ends_the_check_of_a_signal_and_the_run_beside_it_and_keeps_the_summary() {
    let house = House::new();
    let script = "echo $$ > run; echo half; exec sleep 1000";
    enqueue(&house, ENDLESS, script);
    let run = pid_in(&house, "run");
    signal_done(&house, "w", "The parser is fixed.").exits(0);
    let check = pid_in(&house, "check");
    let ran = house.dispatch(&["cancel", "--label", "w"]).exits(0);
    assert_eq!(ran.json()["message"], "cancelled");
    assert!(!is_alive(check) && !is_alive(run));
    is_cancelled_with(&house, "The parser is fixed.");
    let again = signal_done(&house, "w", "It is, I say.").exits(1);
    assert!(again.stderr.contains("REJECTED:"), "{again:?}");
}

#[test]
fn a_label_whose_check_hangs_is_replaced() {
    let house = House::new();
    enqueue(&house, ENDLESS, "echo the reply");
    let check = pid_in(&house, "check");
    let words = ["enqueue", "--label", "w", "--replace", "--", "echo", "next"];
    house.dispatch(&words).exits(0);
    assert!(!is_alive(check));
    assert_eq!(house.ended("w")["status"], "done");
    assert_eq!(house.full_text("w"), "next\n");
}

/// A label whose check spoke before anybody cancelled it.
fn decided(verdict: &str, status: &str) {
    let house = House::new();
    let gate = house.gate("gate");
    let check = format!("{}; {verdict}", gate.pass());
    enqueue(&house, &check, "echo the reply");
    gate.open();
    assert_eq!(house.ended("w")["status"], status);
    let before = house.full_text("w");
    house.dispatch(&["cancel", "--label", "w"]).exits(1);
    assert_eq!(house.entry("w")["status"], status);
    assert_eq!(house.entry("w")["cancelRequested"], json!(null));
    assert_eq!(house.full_text("w"), before);
}

#[test]
fn a_cancel_after_the_verdict_changes_nothing() {
    decided("exit 0", "done");
    decided("exit 1", "error");
}
