//! The watcher's own death: the run goes on, and the recovery scan sees to the rest.

use std::fs;

use serde_json::json;

use crate::support::{House, eventually, kill_hard};

#[test]
fn a_label_whose_watcher_was_killed_stays_running_until_the_scan_revives_it() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "read go < gate; echo ran >> runs; echo result");
    let runner = house.runner_pid("w");
    let killed = house.watcher_pid("w");
    kill_hard(killed);
    assert_eq!(house.entry("w")["status"], "running");
    assert_eq!(
        house.recover().stdout,
        "started a watcher for \"w\": it is running without a watcher\n"
    );
    assert_ne!(house.watcher_pid("w"), killed);
    assert_eq!(house.recover().stdout, "", "a living watcher needs no help");
    assert_eq!(house.runner_pid("w"), runner, "the runner is untouched");
    gate.open();
    let entry = house.ended("w");
    assert_eq!(entry["status"], "done");
    assert_eq!(house.full_text("w"), "result\n");
    assert_eq!(house.text("runs"), "ran\n");
    assert_eq!(house.recover().stdout, "");
    assert_eq!(house.entry("w")["rev"], entry["rev"], "recorded once");
}

#[test]
fn an_end_between_artifact_and_ledger_is_recorded_with_the_artifact_that_is_there() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "read go < gate; echo result");
    house.runner_pid("w");
    let before = fs::read(house.ledger_path()).expect("readable");
    gate.open();
    house.ended("w");
    let artifacts = || {
        fs::read_dir(house.state().join("artifacts/dispatch-completions"))
            .expect("there")
            .count()
    };
    assert_eq!(artifacts(), 1);
    eventually("the watcher leaves", || {
        house.processes().is_empty().then_some(())
    });
    // As if it had died after the artifact and before the ledger write.
    house.write_ledger(before);
    house.recover();
    house.ended("w");
    assert_eq!(house.full_text("w"), "result\n");
    assert_eq!(artifacts(), 1);
}

#[test]
fn a_run_that_was_entered_and_never_started_is_started_by_the_scan() {
    let house = House::new();
    let mut command = house.command("dispatch");
    command.args([
        "enqueue",
        "--label",
        "w",
        "--",
        "sh",
        "-c",
        "echo ran >> runs",
    ]);
    // No runner can be started from here; the watcher, which could not either, dies.
    command.env("DISPATCH_INDEX_PATH", "/nowhere/dispatch");
    crate::support::run(command, b"").exits(0);
    kill_hard(house.watcher_pid("w"));
    assert!(!house.path("runs").exists());
    house.recover();
    assert_eq!(house.ended("w")["status"], "done");
    assert_eq!(house.text("runs"), "ran\n");
}

#[test]
fn the_scan_leaves_ended_labels_and_those_of_a_gateway_alone() {
    let house = House::new();
    let ledger = json!({
        "ended": {"status": "done", "backend": "local", "sessionKey": "k", "runId": "r", "sessionId": "s"},
        "gateway": {"status": "running", "sessionKey": "agent:main:main"},
    });
    house.write_ledger(ledger.to_string());
    let scan = house.run("529-recovery", &["--json"]).exits(0).json();
    assert_eq!(scan["revived"], json!([]));
    assert_eq!(scan["skipped"][0]["label"], "gateway");
    assert_eq!(house.ledger(), ledger);
}
