//! Runs that do not end by themselves are helped to their end, and told as what they were.

use serde_json::{Value, json};

use crate::support::{House, eventually, finish_soon, is_alive, kill, kill_hard};

/// Enqueues a script that says `half` under an idle threshold of one second, which counts once that is said.
fn enqueue_idle(house: &House, label: &str, config: &Value, script: &str) {
    let mut patient = config.clone();
    patient["liveness"] = json!({"idleFailureSeconds": 3600});
    house.configure(&patient);
    let words = ["enqueue", "--label", label, "--idle-threshold", "1"];
    house
        .dispatch(&[&words[..], &["--", "sh", "-c", script]].concat())
        .exits(0);
    eventually("the first words", || {
        (house.streamed(label) == "half\n").then_some(())
    });
    house.configure(config);
    kill(house.watcher_pid(label), "HUP");
}

#[test]
fn a_command_without_progress_is_stopped_as_stalled_and_its_words_are_kept() {
    let house = House::new();
    enqueue_idle(&house, "w", &json!({}), "echo half; exec sleep 1000");
    let waiter = house.waiter_pid("w");
    let entry = house.ended("w");
    assert_eq!(entry["status"], "error", "{entry}");
    assert_eq!(entry["failure"]["kind"], "stalled");
    let message = entry["failure"]["message"].as_str().expect("a message");
    assert!(message.contains("at most 1 s are allowed"), "{message}");
    assert!(house.full_text("w").contains("half\n"));
    eventually("the command is gone", || (!is_alive(waiter)).then_some(()));
    let told = house.run("watcher", &["--label", "w"]).exits(1).stdout;
    assert!(told.contains("stalled"), "{told}");
}

#[test]
fn a_command_without_a_threshold_is_never_called_stalled() {
    let house = House::new();
    house.configure(&json!({"liveness": {"idleFailureSeconds": 0, "flatSeconds": 0}}));
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo result", gate.pass()));
    let ran = house.run("watcher", &["--label", "w", "--once"]).exits(0);
    assert!(ran.stderr.contains("WATCHER_PENDING"), "{ran:?}");
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_watcher_that_dies_after_its_order_to_stop_leaves_the_reason() {
    let house = House::new();
    let gate = house.gate("gate");
    // It does not let itself be stopped; nobody kills it within the hour.
    let script = format!("trap '' TERM; echo half; {}", gate.pass());
    enqueue_idle(&house, "w", &json!({"termGraceSeconds": 3600}), &script);
    eventually("the order to stop", || {
        (house.entry("w")["stopRequested"]["kind"] == "stalled").then_some(())
    });
    kill_hard(house.watcher_pid("w"));
    assert_eq!(house.entry("w")["status"], "running");
    house.recover();
    eventually("the runner is asked to stop it", || {
        house.run_dir("w").join("stop.json").exists().then_some(())
    });
    gate.open();
    let entry = house.ended("w");
    assert_eq!(entry["status"], "error", "{entry}");
    assert_eq!(entry["failure"]["kind"], "stalled");
    assert!(house.full_text("w").contains("half\n"));
}

#[test]
fn a_foreground_watcher_brings_its_own_threshold() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &gate.pass());
    let words = ["--label", "w", "--idle-threshold", "1"];
    let ran = finish_soon(house.start("watcher", &words)).exits(1);
    assert!(ran.stdout.contains("no progress"), "{ran:?}");
    assert_eq!(house.entry("w")["failure"]["kind"], "stalled");
}
