//! What a watcher says of itself: why it changed its mind, in its log, and what it does next, to whoever asks.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{House, eventually, is_alive, kill};

fn log_path(house: &House, label: &str) -> PathBuf {
    house.post_lock(label).with_extension("log")
}

/// The lines of the label's detached watchers, without their prefix.
pub fn log(house: &House, label: &str) -> Vec<String> {
    let text = fs::read_to_string(log_path(house, label)).unwrap_or_default();
    let prefix = format!("[dispatch] watcher [{label}] ");
    let lines = text.lines().filter_map(|line| line.strip_prefix(&prefix));
    lines.map(str::to_owned).collect()
}

/// The label's watcher as `status` shows it.
pub fn shown(house: &House, label: &str) -> Value {
    let status = house.dispatch(&["status", "--label", label]).exits(0);
    status.json()["watcher"].clone()
}

#[test]
fn every_change_of_state_is_a_line_with_its_reason() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo result", gate.pass()));
    let watcher = house.watcher_pid("w");
    eventually("it watches", || {
        (shown(&house, "w")["state"] == "watching").then_some(())
    });
    gate.open();
    house.ended("w");
    eventually("it leaves", || (!is_alive(watcher)).then_some(()));
    let log = log(&house, "w");
    let ours = [
        "watching: the run is at work",
        "concluding: the result is complete",
    ];
    let found: Vec<&String> = log
        .iter()
        .filter(|line| ours.contains(&line.as_str()))
        .collect();
    assert_eq!(found, ours, "{log:?}");
    assert!(log.iter().all(|line| line.contains(": ")), "{log:?}");
}

#[test]
fn status_tells_state_reason_and_when_the_watcher_acts_next() {
    let house = House::new();
    let gate = house.gate("gate");
    let words = [
        "enqueue",
        "--label",
        "w",
        "--idle-threshold",
        "1h",
        "--",
        "sh",
        "-c",
    ];
    let script = gate.pass();
    house.dispatch(&[&words[..], &[&script]].concat()).exits(0);
    let pid = house.watcher_pid("w");
    let watcher = eventually("it watches", || {
        let watcher = shown(&house, "w");
        (watcher["state"] == "watching").then_some(watcher)
    });
    assert_eq!(watcher["alive"], true);
    assert_eq!(watcher["pid"], pid);
    assert_eq!(watcher["reason"], "the run is at work");
    // The run is probed every five minutes.
    let left = watcher["nextInMs"].as_i64().expect("a number");
    assert!((1..=300_000).contains(&left), "{watcher}");
    assert_eq!(watcher["nextAt"], watcher["actsAt"]);
    let table = ["status", "--label", "w", "--output", "table"];
    let table = house.dispatch(&table).exits(0).stdout;
    let line = table.lines().find(|line| line.starts_with("watcher"));
    let line = line.expect("a line about the watcher");
    assert!(
        line.contains("alive: watching: the run is at work; goes on at ") && line.contains(" (in "),
        "{line}"
    );
    gate.open();
    house.ended("w");
}

#[test]
fn a_detached_watcher_that_is_told_to_stop_says_so_and_leaves_the_label_as_it_is() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo result", gate.pass()));
    let watcher = house.watcher_pid("w");
    eventually("the phase moves on", || {
        (house.entry("w")["phase"] == "running").then_some(())
    });
    let before = fs::read(house.ledger_path()).expect("readable");
    kill(watcher, "TERM");
    eventually("it leaves", || (!is_alive(watcher)).then_some(()));
    assert_eq!(fs::read(house.ledger_path()).expect("readable"), before);
    let last = log(&house, "w").pop().expect("a line");
    assert!(last.starts_with("stopped: asked to stop"), "{last}");
    let gone = shown(&house, "w");
    assert_eq!(gone["alive"], false, "{gone}");
    assert_eq!(gone["state"], "stopped");
    assert_eq!(gone["pid"], watcher);
    assert_eq!(gone["nextAt"], Value::Null);
    house.recover();
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}
