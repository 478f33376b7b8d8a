//! Sessions that are silent, and sessions that only seem to be.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{alerts, detect, remembered, stuck};
use crate::support::{House, eventually, halt, kill, kill_hard};

/// A run that waits at a gate, of which two seconds of silence are told, though its watcher, which stands still, would
/// let it be for longer.
fn silent_run(house: &House, label: &str, script: &str) -> u32 {
    limited_run(house, label, &["--monitor-timeout", "2s"], script)
}

fn limited_run(house: &House, label: &str, limits: &[&str], script: &str) -> u32 {
    let words = ["enqueue", "--label", label, "--idle-threshold", "2h"];
    let rest = ["--", "sh", "-c", script];
    house
        .dispatch(&[&words, limits, &rest[..]].concat())
        .exits(0);
    house.halt_watcher(label)
}

#[test]
fn a_silent_run_has_a_cycle_and_is_told_of_until_it_ends() {
    let house = House::new();
    let gate = house.gate("gate");
    let watcher = silent_run(&house, "w", &format!("echo hi; {}", gate.pass()));
    let first = eventually("its silence is found", || {
        let ran = detect(&house, &[]).exits(0);
        (!ran.stderr.is_empty()).then_some(ran)
    });
    assert_eq!(
        first.stdout,
        "nothing is stuck: 1 running, 1 silent with one cycle left\n"
    );
    assert!(
        first
            .stderr
            .starts_with("[dispatch] \"w\" has one cycle left: no sign of progress for "),
        "{first:?}"
    );
    let memory = house.state().join("stuck.json");
    let mode = std::fs::metadata(&memory).expect("there").permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    let told = alerts(&house, &["--quiet"]);
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert_eq!((lines.len(), told.stderr.as_str()), (1, ""), "{told:?}");
    assert!(
        lines[0].starts_with("stuck: \"w\": no sign of progress for "),
        "{told:?}"
    );
    for proof in [
        ": its transcript has not grown since ",
        "; it has printed nothing since ",
    ] {
        assert!(lines[0].contains(proof), "{told:?}");
    }
    let alerted = remembered(&house, "w");
    assert!(alerted["alertedAt"].is_i64(), "{alerted}");
    // It is told of as long as it is so, and when that began is not forgotten.
    let again = detect(&house, &["--json"]).exits(1).json();
    assert_eq!(again["stuck_count"], 1, "{again:#}");
    assert_eq!(again["ok"], false);
    assert_eq!(again["stuck_sessions"][0]["label"], "w");
    assert_eq!(
        again["stuck_sessions"][0]["proofs"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    assert_eq!(again["labels"][0]["verdict"], "stuck");
    assert_eq!(remembered(&house, "w"), alerted);
    assert_eq!(house.entry("w")["status"], "running");
    gate.open();
    kill(watcher, "CONT");
    house.ended("w");
    let over = detect(&house, &[]).exits(0);
    assert_eq!(over.stdout, "nothing is stuck: 0 running\n");
    assert_eq!(remembered(&house, "w"), json!(null));
}

#[test]
fn a_run_that_goes_on_printing_is_forgotten() {
    let house = House::new();
    let (first, second) = (house.gate("first"), house.gate("second"));
    let script = format!("{}; echo more; {}", first.pass(), second.pass());
    let watcher = silent_run(&house, "w", &script);
    alerts(&house, &[]);
    // Its runner writes the transcript, but the output is there without it.
    halt(house.runner_pid("w"));
    first.open();
    eventually("the output is seen", || {
        let ran = detect(&house, &[]);
        (ran.code == Some(0)).then_some(())
    });
    let memory = remembered(&house, "w");
    assert!(memory["alertedAt"].is_null(), "{memory}");
    kill(house.runner_pid("w"), "CONT");
    second.open();
    kill(watcher, "CONT");
    house.ended("w");
}

#[test]
fn a_silent_command_without_a_limit_is_let_be_and_so_is_one_within_its_limit() {
    let house = House::new();
    let gates = [house.gate("one"), house.gate("two"), house.gate("three")];
    house.enqueue("plain", &gates[0].pass());
    let limited = ["enqueue", "--label", "limited", "--timeout", "1h", "--"];
    let script = gates[1].pass();
    house
        .dispatch(&[&limited, &["sh", "-c", &script][..]].concat())
        .exits(0);
    let waived = ["--monitor-timeout", "1s", "--no-monitor"];
    let watcher = limited_run(&house, "waived", &waived, &gates[2].pass());
    // The waived one has been silent for longer than it may when this one is told of.
    let canary = silent_run(&house, "canary", &house.gate("four").pass());
    let told = alerts(&house, &["--json"]).json();
    assert_eq!(told["stuck_count"], 1, "{told:#}");
    let mut verdicts: Vec<(String, String)> = told["labels"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|label| (label["label"].to_string(), label["verdict"].to_string()))
        .collect();
    verdicts.sort();
    let expected = [
        ("canary", "stuck"),
        ("limited", "young"),
        ("plain", "alive"),
        ("waived", "waived"),
    ];
    let expected = expected.map(|(l, v)| (format!("{l:?}"), format!("{v:?}")));
    assert_eq!(verdicts, expected);
    for pid in [watcher, canary] {
        kill(pid, "CONT");
    }
}

#[test]
fn a_watcher_that_pings_does_not_hide_a_silence_that_was_not_to_be() {
    let house = House::new();
    let gate = house.gate("gate");
    let limits = ["--idle-threshold", "2h", "--monitor-timeout", "1s"];
    let script = gate.pass();
    let rest = ["--", "sh", "-c", &script];
    house
        .dispatch(&[&["enqueue", "--label", "w"], &limits[..], &rest[..]].concat())
        .exits(0);
    let watcher = house.watcher_pid("w");
    let told = alerts(&house, &[]);
    assert!(told.stdout.starts_with("stuck: \"w\": "), "{told:?}");
    assert_eq!(house.watcher_pid("w"), watcher);
    assert_eq!(house.entry("w")["status"], "running");
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn the_command_tells_at_once_and_remembers_nothing() {
    let house = House::new();
    let gate = house.gate("gate");
    let watcher = silent_run(&house, "w", &gate.pass());
    let told = eventually("it is stuck", || {
        let ran = stuck(&house, &[]);
        (ran.code == Some(1)).then_some(ran)
    });
    assert!(told.stdout.starts_with("stuck: \"w\": "), "{told:?}");
    let quiet = stuck(&house, &["--quiet"]).exits(1);
    assert!(quiet.stdout.starts_with("stuck: \"w\": "), "{quiet:?}");
    let json = stuck(&house, &["--json"]).exits(1).json();
    assert_eq!(json["stuck_sessions"][0]["label"], "w");
    assert!(!house.state().join("stuck.json").exists());
    gate.open();
    kill(watcher, "CONT");
    house.ended("w");
    let calm = stuck(&house, &[]).exits(0).json();
    assert_eq!(calm["ok"], true);
    for (name, value) in [
        ("stuck_count", json!(0)),
        ("stuck_sessions", json!([])),
        ("auto_resolved_count", json!(0)),
        ("auto_resolved", json!([])),
        ("watcher_skipped", json!([])),
    ] {
        assert_eq!(calm[name], value, "{name}");
    }
    let default = house.dispatch(&["stuck"]).exits(0).json();
    assert_eq!(default["threshold_min"], 15);
    assert_eq!(stuck(&house, &["--quiet"]).exits(0).stdout, "");
    let table = stuck(&house, &["--output", "table"]).exits(0);
    assert_eq!(table.stdout, "nothing is stuck: 0 running\n");
}

#[test]
fn a_dry_run_writes_nothing() {
    let house = House::new();
    let gate = house.gate("gate");
    let watcher = silent_run(&house, "w", &gate.pass());
    let words = ["--dry-run", "--cancel"];
    eventually("its silence is found", || {
        let ran = detect(&house, &words).exits(0);
        ran.stdout.contains("one cycle left").then_some(())
    });
    let before = house.state_files();
    detect(&house, &words).exits(0);
    assert!(
        house.state_files() == before,
        "a dry run has changed something"
    );
    alerts(&house, &[]);
    detect(&house, &words).exits(1);
    assert_eq!(house.entry("w")["cancelRequested"], json!(null));
    gate.open();
    kill(watcher, "CONT");
    house.ended("w");
}

#[test]
fn what_is_stuck_is_cancelled_when_that_is_asked_for() {
    let house = House::new();
    let gate = house.gate("gate");
    let watcher = silent_run(&house, "w", &gate.pass());
    alerts(&house, &[]);
    // A watcher that stands still cancels nothing.
    kill_hard(watcher);
    let told = alerts(&house, &["--cancel"]);
    assert!(told.stdout.ends_with("; it is cancelled\n"), "{told:?}");
    assert_eq!(house.entry("w")["status"], "cancelled");
    let reason = house.entry("w")["cancelRequested"]["reason"].clone();
    let reason = reason.as_str().expect("a text");
    assert!(reason.starts_with("stuck: "), "{reason}");
    assert_eq!(detect(&house, &["--quiet"]).exits(0).stdout, "");
}
