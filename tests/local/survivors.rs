//! A command that lives on after its label's end: it is seen, it can be stopped, and a new one is not begun beside it
//! unnoticed.

use std::fs;

use serde_json::{Value, json};

use crate::support::{House, eventually, holder_of, is_alive, program};

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
    let first = house.entry("w")["generation"].clone();
    let ran = house.enqueue("w", "echo second");
    let warning = format!(
        "[dispatch] warn: the command of label \"w\" lived on after its label's end and is at work beside this one (process group {pid}); to stop it: dispatch cancel --label w --generation {first}; another time, --replace does so first\n"
    );
    assert_eq!(ran.stderr, warning);
    house.ended("w");
    assert_eq!(house.full_text("w"), "second\n");
    assert!(is_alive(pid), "nobody's work is stopped unasked");
    // The new generation's own command has ended: nothing is said of it.
    let ran = house.enqueue("w", "echo third");
    assert_eq!(ran.stderr, warning);
}

/// A command that lives on beside a new generation which waits at a gate. Returns the groups of both, and the older
/// generation.
fn two_at_work(house: &House) -> (u32, u32, Value) {
    let old = signals_and_goes_on(house, "w", "");
    let older = house.entry("w")["generation"].clone();
    house.enqueue("w", &house.gate("second").pass());
    (old, house.waiter_pid("w"), older)
}

#[test]
fn a_command_of_an_older_generation_is_shown_and_stopped_alone() {
    let house = House::new();
    let (old, new, older) = two_at_work(&house);
    let status = house.dispatch(&["status", "--label", "w"]).exits(0).json();
    assert_eq!(status["status"], "running");
    assert_eq!(status["commandAtWork"], Value::Null);
    let seen = &status["olderCommandsAtWork"];
    assert_eq!(
        (&seen[0]["pid"], &seen[0]["generation"]),
        (&json!(old), &older)
    );
    assert!(seen[0]["since"].is_string() && seen[1].is_null(), "{seen}");
    let list = house.dispatch(&["list"]).exits(0).json();
    assert_eq!(list["labels"][0]["olderCommandsAtWork"], *seen);
    let table = |words: &[&str]| {
        let words = [words, &["--output", "table"]].concat();
        house.dispatch(&words).exits(0).stdout
    };
    let told = table(&["status", "--label", "w"]);
    let how = format!(
        "(process group {old}); to stop it: dispatch cancel --label w --generation {older}\n"
    );
    assert!(
        told.contains(&format!(
            "that of generation {older} lives on after its end"
        )) && told.contains(&how),
        "{told}"
    );
    let told = table(&["list"]);
    assert!(told.contains("[an older command lives on]"), "{told}");
    let generation = older.to_string();
    let words = ["cancel", "--label", "w", "--generation", &generation];
    let answer = house.dispatch(&words).exits(0).json();
    assert_eq!(
        (&answer["ok"], &answer["status"], &answer["generation"]),
        (&json!(true), &json!("done"), &older)
    );
    assert_eq!(
        answer["message"],
        format!(
            "the command of generation {older}, which lived on, is stopped (process group {old})"
        )
    );
    assert!(!is_alive(old) && is_alive(new));
    assert_eq!(house.entry("w")["status"], "running");
    let status = house.dispatch(&["status", "--label", "w"]).exits(0).json();
    assert_eq!(status["olderCommandsAtWork"], Value::Null);
    let ran = house.dispatch(&words).exits(1);
    assert_eq!(
        ran.stderr,
        format!("[dispatch] generation {older} of label \"w\" is not running: it is done\n")
    );
}

#[test]
fn cancel_stops_the_label_and_what_lives_on_of_its_older_generations() {
    let house = House::new();
    let (old, new, older) = two_at_work(&house);
    let answer = house.dispatch(&["cancel", "--label", "w"]).exits(0).json();
    assert_eq!(answer["status"], "cancelled");
    assert_eq!(
        answer["message"],
        format!(
            "cancelled; the command of generation {older}, which lived on, is stopped (process group {old})"
        )
    );
    assert!(!is_alive(old) && !is_alive(new));
}

#[test]
fn cancel_of_the_running_generation_leaves_an_older_command_alone() {
    let house = House::new();
    let (old, new, _) = two_at_work(&house);
    let current = house.entry("w")["generation"].to_string();
    let words = ["cancel", "--label", "w", "--generation", &current];
    let answer = house.dispatch(&words).exits(0).json();
    assert_eq!(answer["message"], "cancelled");
    assert!(is_alive(old) && !is_alive(new));
    // The label has ended, and there still is something to stop.
    let answer = house.dispatch(&["cancel", "--label", "w"]).exits(0).json();
    let message = answer["message"].as_str().expect("a text");
    assert!(message.starts_with("it stays cancelled; the command of generation "));
    assert!(!is_alive(old));
    let ran = house.dispatch(&["cancel", "--label", "w"]).exits(1);
    assert_eq!(
        ran.stderr,
        "[dispatch] label \"w\" is not running: it is cancelled\n"
    );
}

#[test]
fn a_replacing_enqueue_ends_what_lives_on_of_every_generation_first() {
    let house = House::new();
    let (old, new, _) = two_at_work(&house);
    let words = ["enqueue", "--label", "w", "--replace", "--", "sh", "-c"];
    let script = format!("kill -0 {old} || kill -0 {new} && echo beside || echo alone");
    let ran = house.dispatch(&[&words[..], &[&script]].concat()).exits(0);
    assert_eq!(ran.stderr, "");
    has_gone(old);
    has_gone(new);
    house.ended("w");
    assert_eq!(house.full_text("w"), "alone\n");
    assert_eq!(house.entry("w")["olderRuns"], Value::Null);
}

#[test]
fn a_label_is_not_pruned_while_an_older_command_of_it_is_at_work() {
    let house = House::new();
    let old = signals_and_goes_on(&house, "w", "");
    house.enqueue("w", "true");
    house.ended("w");
    crate::support::eventually("its watcher leaves", || {
        let kept = house.dispatch(&["prune", "--label", "w"]).exits(1).json();
        (kept["kept"][0]["reason"] == "an older command of it is at work").then_some(())
    });
    assert!(is_alive(old));
}

#[test]
fn doctor_says_how_a_command_of_a_generation_long_gone_is_stopped() {
    let house = House::new();
    let old = signals_and_goes_on(&house, "w", "");
    let (run, older) = (house.run_dir("w"), house.entry("w")["generation"].clone());
    house.enqueue("w", "true");
    let current = house.ended("w")["generation"].clone();
    let post = house.post_lock("w");
    eventually("its watcher leaves", || {
        holder_of(&post).is_none().then_some(())
    });
    // As if all of it had been long ago: a generation's number is a time.
    for (path, from, to) in [
        (run.join("run.json"), &older, "5"),
        (house.state().join("archive.jsonl"), &older, "5"),
        (house.ledger_path(), &older, "5"),
        (house.ledger_path(), &current, "6"),
        (house.run_dir("w").join("run.json"), &current, "6"),
    ] {
        let text = fs::read_to_string(&path).expect("readable");
        fs::write(&path, text.replace(&from.to_string(), to)).expect("writable");
    }
    let told = house.dispatch(&["doctor", "--output", "table"]).stdout;
    let start = format!(
        "the command of label \"w\" (generation 5, process group {old}) is still at work, and its label ended "
    );
    let end = "to stop it: dispatch cancel --label w --generation 5";
    assert!(told.contains(&start) && told.contains(end), "{told}");
    let words = ["cancel", "--label", "w", "--generation", "5"];
    house.dispatch(&words).exits(0);
    has_gone(old);
}

#[test]
fn a_generation_that_never_was_is_not_stopped() {
    let house = House::new();
    house.enqueue("w", "true");
    let current = house.ended("w")["generation"].clone();
    let words = ["cancel", "--label", "w", "--generation", "5"];
    let ran = house.dispatch(&words).exits(1);
    assert_eq!(
        ran.stderr,
        format!(
            "[dispatch] label \"w\" has no generation 5, neither in the ledger nor in the archive; the current one is {current}\n"
        )
    );
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
