//! A run whose description is damaged, and whose runner has died: nobody can carry it, and it comes to an end all the
//! same.

use std::fs;

use serde_json::json;

use crate::support::{Gate, House, eventually, is_alive, kill_hard};

/// A label whose command has printed a line and waits at a gate, without a watcher, a runner or a description of its run.
/// Returns the gate and the leader of the command's group.
fn undescribed(house: &House, before: &str) -> (Gate, u32) {
    house.configure(&json!({"termGraceSeconds": 0.1}));
    let gate = house.gate("gate");
    let script = format!(
        "{before} echo the words so far; echo ready > ready; {}",
        gate.pass()
    );
    house.enqueue("w", &script);
    house.wrote("ready", "ready");
    let waiter = house.waiter_pid("w");
    // The watcher first, lest it replace the runner.
    kill_hard(house.watcher_pid("w"));
    kill_hard(house.runner_pid("w"));
    fs::write(house.run_dir("w").join("run.json"), "{\n").expect("writable");
    (gate, waiter)
}

fn damage(house: &House) -> String {
    let path = house.run_dir("w").join("run.json");
    format!("{} is damaged: ", path.display())
}

#[track_caller]
fn row_is_closed(house: &House) {
    house.recover();
    assert_eq!(house.session_row("w")["status"], "failed");
    assert_eq!(house.recover().stdout, "");
}

#[test]
fn while_its_command_works_the_status_says_what_is_wrong_and_cancel_ends_it() {
    let house = House::new();
    let (_gate, group) = undescribed(&house, "");
    house.recover();
    let why = format!(
        "; its command is at work (process group {group}), and nobody can tell how it ends; to stop it: dispatch cancel --label w"
    );
    let status = house.dispatch(&["status", "--label", "w"]).exits(0).json();
    let told = status["liveness"]["error"].as_str().expect("a reason");
    assert!(
        told.starts_with(&damage(&house)) && told.ends_with(&why),
        "{told}"
    );
    eventually("its watcher says so", || {
        let table = house.dispatch(&["status", "--label", "w", "--output", "table"]);
        (table.stdout.contains(&damage(&house)) && table.stdout.contains(&why)).then_some(())
    });
    let ran = house.dispatch(&["cancel", "--label", "w", "--output", "table"]);
    assert_eq!(ran.exits(0).stdout, "w: cancelled\n");
    assert!(!is_alive(group));
    let entry = house.entry("w");
    assert_eq!(entry["status"], "cancelled");
    assert_eq!(entry["failure"]["kind"], "aborted");
    row_is_closed(&house);
}

#[test]
fn a_command_that_heeds_no_term_is_killed() {
    let house = House::new();
    let (_gate, group) = undescribed(&house, "trap '' TERM;");
    house.recover();
    house.dispatch(&["cancel", "--label", "w"]).exits(0);
    assert!(!is_alive(group));
    assert_eq!(house.entry("w")["status"], "cancelled");
}

#[test]
fn when_its_command_has_ended_the_run_is_lost_with_what_it_had_printed() {
    let house = House::new();
    let (gate, group) = undescribed(&house, "");
    house.recover();
    gate.open();
    eventually("it is gone", || (!is_alive(group)).then_some(()));
    let entry = house.ended("w");
    assert_eq!(entry["status"], "error");
    assert_eq!(entry["failure"]["kind"], "runner-lost");
    let told = entry["failure"]["message"].as_str().expect("a reason");
    let why = format!("nobody could carry the run to its end: {}", damage(&house));
    assert!(told.starts_with(&why), "{told}");
    assert!(house.full_text("w").contains("the words so far"));
    row_is_closed(&house);
}

#[test]
fn whoever_enqueues_the_label_anew_stops_it() {
    let house = House::new();
    let (_gate, group) = undescribed(&house, "");
    house
        .dispatch(&[
            "enqueue",
            "--label",
            "w",
            "--replace",
            "--",
            "echo",
            "second",
        ])
        .exits(0);
    assert!(!is_alive(group));
    assert_eq!(house.ended("w")["status"], "done");
    assert_eq!(house.full_text("w"), "second\n");
}
