//! A command that lives on after its label's end: it is seen, it can be stopped, and a new one is not begun beside it
//! unnoticed.

use serde_json::{Value, json};

use crate::support::{House, eventually, is_alive, program};

/// Enqueues a command that signals done and then works on until somebody lets it pass, or stops it.
fn signals_and_goes_on(house: &House, label: &str, traps: &str) -> u32 {
    let dispatch = program("dispatch").display().to_string();
    let gate = house.gate(&format!("gate-{label}"));
    let script = format!(
        "{traps} '{dispatch}' done --label {label} --summary 'All six.' --checklist '{{\"work_complete\":true}}'; {}",
        gate.pass()
    );
    house.enqueue(label, &script);
    house.ended(label);
    house.waiter_pid(label)
}

fn has_gone(pid: u32) {
    eventually("the command is gone", || (!is_alive(pid)).then_some(()));
}

#[test]
fn a_command_that_lives_on_is_shown_wherever_its_label_is() {
    let house = House::new();
    house.enqueue("quiet", "true");
    house.ended("quiet");
    let pid = signals_and_goes_on(&house, "w", "");
    let status = house.dispatch(&["status", "--label", "w"]).exits(0).json();
    assert_eq!(status["status"], "done");
    assert_eq!(status["commandAtWork"]["pid"], pid);
    assert_eq!(
        status["commandAtWork"]["since"],
        house.entry("w")["endedAt"]
    );
    let table = house
        .dispatch(&["status", "--label", "w", "--output", "table"])
        .exits(0)
        .stdout;
    let said = format!("(process group {pid}); to stop it: dispatch cancel --label w");
    assert!(
        table.contains("lives on after its label's end") && table.contains(&said),
        "{table}"
    );
    let doctor = house.dispatch(&["doctor", "--verbose", "--output", "table"]);
    let watched =
        "watchers: 1 alive, 1 of them with a label that has ended: for last words, or deliveries";
    assert!(doctor.stdout.contains(watched), "{doctor:?}");
    let list = house.dispatch(&["list"]).exits(0).json();
    let row = |label: &str| -> Value {
        let rows = list["labels"].as_array().expect("rows");
        let mut rows = rows.iter().filter(|row| row["label"] == label);
        rows.next().expect("the label is listed").clone()
    };
    assert_eq!(row("w")["commandAtWork"]["pid"], pid);
    assert_eq!(row("quiet")["commandAtWork"], Value::Null);
    let table = house.dispatch(&["list", "--output", "table"]).exits(0);
    assert!(
        table.stdout.contains("[its command lives on] All six."),
        "{table:?}"
    );
}

#[test]
fn cancel_stops_a_command_that_lives_on_and_its_label_stays_done() {
    let house = House::new();
    let pid = signals_and_goes_on(
        &house,
        "w",
        "trap 'echo goodbye; exit 1' TERM; echo working;",
    );
    let ran = house.dispatch(&["cancel", "--label", "w"]).exits(0);
    assert!(!is_alive(pid));
    let answer = ran.json();
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["status"], "done");
    assert_eq!(
        answer["message"],
        format!("it stays done; its command, which lived on, is stopped (process group {pid})")
    );
    assert_eq!(house.full_text("w"), "All six.");
    assert_eq!(house.entry("w")["status"], "done");
    eventually("what it said is kept", || {
        house.entry("w")["lastWords"].is_object().then_some(())
    });
    let ran = house.dispatch(&["cancel", "--label", "w"]).exits(1);
    assert_eq!(
        ran.stderr,
        "[dispatch] label \"w\" is not running: it is done\n"
    );
}

#[test]
fn a_command_that_lives_on_without_a_runner_is_stopped_all_the_same() {
    let house = House::new();
    let pid = signals_and_goes_on(&house, "w", "");
    for carrier in [house.watcher_pid("w"), house.runner_pid("w")] {
        crate::support::kill_hard(carrier);
    }
    house.dispatch(&["cancel", "--label", "w"]).exits(0);
    assert!(!is_alive(pid));
}

#[test]
fn an_enqueue_beside_a_command_that_lives_on_says_so() {
    let house = House::new();
    let pid = signals_and_goes_on(&house, "w", "");
    let ran = house.enqueue("w", "echo second");
    assert!(
        ran.stderr.contains(&format!(
            "warn: the command of label \"w\" lived on after its label's end and is at work beside this one (process group {pid})"
        )),
        "{ran:?}"
    );
    house.ended("w");
    assert_eq!(house.full_text("w"), "second\n");
    assert!(is_alive(pid), "nobody's work is stopped unasked");
    // The new generation's own command has ended: nothing is said of it.
    let ran = house.enqueue("w", "echo third");
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_replacing_enqueue_ends_a_command_that_lives_on_first() {
    let house = House::new();
    let pid = signals_and_goes_on(&house, "w", "");
    let words = [
        "enqueue",
        "--label",
        "w",
        "--replace",
        "--",
        "sh",
        "-c",
        &format!("kill -0 {pid} && echo both || echo alone"),
    ];
    house.dispatch(&words).exits(0);
    has_gone(pid);
    house.ended("w");
    assert_eq!(house.full_text("w"), "alone\n");
}

#[test]
fn a_call_that_was_made_before_stops_nothing() {
    let house = House::new();
    let words = |script: &str| {
        let words = [
            "enqueue",
            "--label",
            "w",
            "--replace",
            "--idempotency-key",
            "k",
            "--",
            "sh",
            "-c",
            script,
        ];
        house.dispatch(&words).exits(0)
    };
    let gate = house.gate("gate");
    let script = gate.pass();
    words(&script);
    crate::outbox::signal_done(&house, "w", "All six.").exits(0);
    let pid = house.waiter_pid("w");
    let again = words(&script);
    assert_eq!(again.json()["repeated"], true);
    assert!(is_alive(pid));
    gate.open();
    has_gone(pid);
}

#[test]
fn a_signal_that_comes_because_of_the_cancel_is_told_as_that_and_stands() {
    let house = House::new();
    let dispatch = program("dispatch").display().to_string();
    let gate = house.gate("never");
    let script = format!(
        "trap '\"{dispatch}\" done --label w --summary \"Saved at step 3.\" --checklist \"{{\\\"work_complete\\\":true}}\"; exit 0' TERM; echo ready > ready; while :; do {}; done",
        gate.pass()
    );
    house.configure(&json!({"termGraceSeconds": 3600}));
    house.enqueue("w", &script);
    house.wrote("ready", "ready");
    let pid = house.waiter_pid("w");
    let ran = house.dispatch(&["cancel", "--label", "w"]).exits(1);
    assert!(!is_alive(pid), "the command is gone when cancel answers");
    assert_eq!(
        ran.json()["message"],
        "not cancelled: the agent signalled done after it was told to stop, and what it said is kept"
    );
    assert_eq!(house.entry("w")["status"], "done");
    assert_eq!(house.full_text("w"), "Saved at step 3.");
}
