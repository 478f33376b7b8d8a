//! How a run is stopped: at its time limit, or because somebody cancelled it.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::ledger::full_disk::SmallDisk;
use crate::support::{House, eventually, finish, finish_soon, is_alive, kill_hard};

/// A command with a child and a grandchild that ignore TERM, all of which write down who they are.
const STUBBORN: &str = r#"trap '' TERM
(echo $(sh -c 'echo $PPID') >> pids; sh -c 'echo $$ >> pids; while :; do sleep 60; done'; :) &
echo $$ >> pids; echo the words so far; echo ready > ready
while :; do sleep 60; done"#;

fn stubborn(house: &House) -> Vec<u32> {
    house.wrote("ready", "ready");
    eventually("three pids", || {
        let pids: Vec<u32> = house
            .text("pids")
            .lines()
            .filter_map(|l| l.parse().ok())
            .collect();
        (pids.len() == 3).then_some(pids)
    })
}

/// The label is told before the row is written.
fn row_closes(house: &House, label: &str, status: &str) {
    eventually("the row is closed", || {
        (house.session_row(label)["status"] == status).then_some(())
    });
}

/// Sets the beginning of the label's run back by an hour.
fn an_hour_passes(house: &House, label: &str) {
    let path = house.run_dir(label).join("started.json");
    let bytes = fs::read(&path).expect("the run has begun");
    let mut started: Value = serde_json::from_slice(&bytes).expect("JSON");
    let at = started["atMs"].as_i64().expect("a time");
    started["atMs"] = json!(at - 3_600_000);
    let aside = house.path("started");
    fs::write(&aside, started.to_string()).expect("writable");
    fs::rename(&aside, &path).expect("replaceable");
}

fn no_grace(house: &House) {
    house.configure(&json!({"termGraceSeconds": 0.1}));
}

#[test]
fn at_its_time_limit_a_command_is_killed_with_all_its_children() {
    let house = House::new();
    no_grace(&house);
    house
        .dispatch(&[
            "enqueue",
            "--label",
            "t",
            "--timeout",
            "1h",
            "--",
            "sh",
            "-c",
            STUBBORN,
        ])
        .exits(0);
    let pids = stubborn(&house);
    an_hour_passes(&house, "t");
    let entry = house.ended("t");
    for pid in pids {
        assert!(!is_alive(pid), "{pid} outlived its run");
    }
    assert_eq!(entry["status"], "error");
    assert_eq!(entry["failure"]["kind"], "timeout");
    assert_eq!(
        entry["failure"]["message"],
        "stopped at its time limit of 1h"
    );
    assert!(house.full_text("t").contains("the words so far"));
    row_closes(&house, "t", "timeout");
}

#[test]
fn the_time_limit_comes_without_anybody_else_stirring() {
    let house = House::new();
    let words = ["enqueue", "--label", "t", "--timeout", "1"];
    house
        .dispatch(&[&words[..], &["--", "sleep", "1000"]].concat())
        .exits(0);
    assert_eq!(
        house.ended("t")["failure"]["message"],
        "stopped at its time limit of 1s"
    );
}

#[test]
fn a_command_is_asked_with_term_before_it_is_killed() {
    let house = House::new();
    // Were it killed at once, its last words would be missing; were it not asked, this would take an hour.
    house.configure(&json!({"termGraceSeconds": 3600}));
    let script =
        "trap 'echo last words; exit 0' TERM; echo first; while :; do read go < never; done";
    let _never = house.gate("never");
    house
        .dispatch(&[
            "enqueue",
            "--label",
            "t",
            "--timeout",
            "3600",
            "--",
            "sh",
            "-c",
            script,
        ])
        .exits(0);
    eventually("the first words", || {
        (house.streamed("t") == "first\n").then_some(())
    });
    an_hour_passes(&house, "t");
    let entry = house.ended("t");
    assert_eq!(entry["failure"]["kind"], "timeout");
    assert!(house.full_text("t").contains("first\nlast words\n"));
}

#[test]
fn cancel_ends_the_command_with_all_its_children_and_keeps_the_reason() {
    let house = House::new();
    no_grace(&house);
    house.enqueue("c", STUBBORN);
    let pids = stubborn(&house);
    let answer = house
        .dispatch(&["cancel", "--label", "c", "--reason", "no longer needed"])
        .exits(0)
        .json();
    for pid in pids {
        assert!(!is_alive(pid), "{pid} outlived its run");
    }
    assert_eq!(answer["status"], "cancelled");
    let entry = house.entry("c");
    assert_eq!(entry["status"], "cancelled");
    assert_eq!(entry["cancelRequested"]["reason"], "no longer needed");
    assert!(house.full_text("c").contains("the words so far"));
    row_closes(&house, "c", "killed");
}

#[test]
fn a_reply_that_was_complete_before_the_cancel_wins() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("r", "read go < gate; echo the result");
    house.runner_pid("r");
    kill_hard(house.watcher_pid("r"));
    gate.open();
    eventually("the run's end line", || {
        house
            .transcript("r")
            .last()
            .filter(|line| line["dispatch"]["end"] == true)
            .map(|_| ())
    });
    // Nobody has recorded it: to the ledger the label still runs.
    assert_eq!(house.entry("r")["status"], "running");
    let ran = house.dispatch(&["cancel", "--label", "r"]).exits(1);
    assert_eq!(
        ran.json()["message"],
        "not cancelled: its result was complete before"
    );
    assert_eq!(house.entry("r")["status"], "done");
    assert_eq!(house.full_text("r"), "the result\n");
}

#[test]
fn cancelling_a_label_that_has_ended_or_never_was_is_refused_in_a_sentence() {
    let house = House::new();
    house.enqueue("over", "echo done");
    house.ended("over");
    let ran = house.dispatch(&["cancel", "--label", "over"]).exits(1);
    assert_eq!(ran.stdout, "");
    assert_eq!(
        ran.stderr,
        "[dispatch] label \"over\" is not running: it is done\n"
    );
    assert_eq!(house.entry("over")["cancelRequested"], json!(null));
    let ran = house.dispatch(&["cancel", "--label", "ovver"]).exits(1);
    assert!(ran.stderr.contains("\"over\""), "{ran:?}");
}

#[test]
fn a_runner_that_takes_over_a_stopping_run_still_ends_its_whole_group() {
    let house = House::new();
    house.configure(&json!({"termGraceSeconds": 3600}));
    let _never = house.gate("never");
    let script = "trap 'exit 0' TERM
        (trap '' TERM; sh -c 'echo $$ > child; while :; do sleep 60; done'; :) &
        while :; do read go < never; done";
    house.enqueue("c", script);
    let child = eventually("the child", || {
        house.text("child").trim().parse::<u32>().ok()
    });
    let runner = house.runner_pid("c");
    let cancel = house.start("dispatch", &["cancel", "--label", "c"]);
    eventually("the command's own end", || {
        house.run_dir("c").join("exit.json").exists().then_some(())
    });
    assert!(is_alive(child));
    // The second runner begins a grace of its own, which is a short one.
    let run = house.run_dir("c").join("run.json");
    let spec = fs::read_to_string(&run).expect("readable");
    let short = spec.replace("\"termGraceMs\": 3600000", "\"termGraceMs\": 100");
    assert_ne!(short, spec);
    fs::write(&run, short).expect("writable");
    kill_hard(runner);
    assert_eq!(house.ended("c")["status"], "cancelled");
    assert!(!is_alive(child), "a child outlived its cancelled run");
    finish_soon(cancel).exits(0);
}

#[test]
fn where_a_request_cannot_be_recorded_it_says_how_the_command_is_ended() {
    let house = House::new();
    let Some(disk) = SmallDisk::under(&house, 4096) else {
        return;
    };
    house.enqueue("much", "exec sleep 3600");
    let waiter = house.waiter_pid("much");
    let filler = disk.fill(0);
    let ran = house.dispatch(&["cancel", "--label", "much"]).exits(1);
    let advice = format!(
        "; the command of label \"much\" works on; it is stopped without a record by: kill -TERM -- -{waiter}\n"
    );
    assert!(ran.stderr.ends_with(&advice), "{ran:?}");
    assert!(ran.stderr.contains("No space left on device"), "{ran:?}");
    fs::remove_file(filler).expect("removable");
    let group = format!("-{waiter}");
    let sent = Command::new("kill").args(["-TERM", "--", &group]).status();
    assert!(sent.is_ok_and(|status| status.success()));
    assert_eq!(house.ended("much")["status"], "error");
}

/// A killed process may hold its lock a moment longer than it lives.
#[test]
fn a_label_whose_watcher_is_just_dying_is_cancelled_all_the_same() {
    let house = House::new();
    house.enqueue("d", "exec sleep 1000");
    let watcher = house.watcher_pid("d");
    kill_hard(watcher);
    let lock = fs::File::open(house.post_lock("d")).expect("it was held");
    eventually("the lock is free", || {
        fs2::FileExt::try_lock_exclusive(&lock).ok()
    });
    let cancel = house.start("dispatch", &["cancel", "--label", "d"]);
    eventually("the command has ended", || {
        house.run_dir("d").join("exit.json").is_file().then_some(())
    });
    drop(lock);
    let told = finish(cancel).exits(0).json();
    assert_eq!(told["status"], "cancelled");
    assert_eq!(house.entry("d")["status"], "cancelled");
}
