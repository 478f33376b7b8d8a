//! A running watcher reads the configuration again when it is told to.

use serde_json::json;

use super::states::log;
use crate::outbox::receiver::Receiver;
use crate::outbox::{enqueue_to, record_in};
use crate::support::{House, eventually, kill};

/// The label's watcher's own lines, whatever they are about.
fn log_text(house: &House, label: &str) -> String {
    let path = house.post_lock(label).with_extension("log");
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Tells the label's watcher to read the configuration, and waits until its log says this once more.
#[track_caller]
fn hang_up(house: &House, label: &str, words: &str) {
    let count = || log_text(house, label).matches(words).count();
    let before = count();
    kill(house.watcher_pid(label), "HUP");
    eventually(&format!("{words:?} in the log"), || {
        (count() > before).then_some(())
    });
}

/// A label under an idle threshold, which the configuration may overrule.
fn enqueue_idle(house: &House) {
    let words = ["enqueue", "--label", "w", "--idle-threshold", "1h"];
    let command = ["--", "sh", "-c", "echo half; exec sleep 1000"];
    house.dispatch(&[&words[..], &command].concat()).exits(0);
    eventually("it watches", || {
        log(house, "w")
            .contains(&"watching: the run is at work".to_owned())
            .then_some(())
    });
}

#[test]
fn new_windows_count_from_the_signal_on() {
    let house = House::new();
    enqueue_idle(&house);
    house.configure(&json!({"name": "ops", "liveness": {"idleFailureSeconds": 0.5}}));
    hang_up(&house, "w", "again: the new settings count from now on");
    let entry = house.ended("w");
    assert_eq!(entry["failure"]["kind"], "stalled", "{entry}");
    assert!(log_text(&house, "w").contains("[ops] watcher [w] concluding"));
    let log = log_text(&house, "w");
    let begun = log.matches("watching: the run is at work").count();
    assert_eq!(begun, 1, "one watcher saw it through: {log}");
}

#[test]
fn an_unusable_file_is_named_and_the_old_settings_stay() {
    let house = House::new();
    house.configure(&json!({"name": "ops"}));
    house
        .dispatch(&["enqueue", "--label", "w", "--", "sleep", "1000"])
        .exits(0);
    house.watcher_pid("w");
    for (text, problem) in [
        ("{\"name\": \"other\",", "is not usable: EOF while parsing"),
        (
            "{\"name\": \"other\", \"liveness\": {\"flatSeconds\": \"long\"}}",
            "is not usable: \"liveness.flatSeconds\" must be a number",
        ),
    ] {
        house.write_config(text);
        hang_up(&house, "w", problem);
        let said = log_text(&house, "w");
        let line = said
            .lines()
            .find(|line| line.contains(problem))
            .expect("it is there");
        assert!(line.starts_with("[ops] the configuration "), "{line}");
        assert!(line.contains("config.json"), "{line}");
        assert!(
            line.ends_with("; going on with the settings as they were"),
            "{line}"
        );
    }
    house.configure(&json!({"name": "ops"}));
    hang_up(&house, "w", "again: nothing has changed");
    house.dispatch(&["cancel", "--label", "w"]).exits(0);
    assert_eq!(house.entry("w")["status"], "cancelled");
}

#[test]
fn a_broken_file_changes_no_window() {
    let house = House::new();
    enqueue_idle(&house);
    house.write_config("{\"liveness\": {\"idleFailureSeconds\": 0.5}, \"name\": 7}");
    hang_up(&house, "w", "\"name\" must be a text");
    // Had the windows of the refused file counted, the look that the first signal brought would have stopped the run.
    hang_up(&house, "w", "\"name\" must be a text");
    assert_eq!(house.entry("w")["status"], "running");
    assert!(
        !log(&house, "w")
            .iter()
            .any(|line| line.starts_with("stopping"))
    );
    house.write_config("{\"liveness\": {\"idleFailureSeconds\": 0.5}}");
    hang_up(&house, "w", "again: the new settings");
    assert_eq!(house.ended("w")["failure"]["kind"], "stalled");
}

#[test]
fn a_receiver_that_was_configured_meanwhile_gets_the_result() {
    let house = House::new();
    let receiver = Receiver::answering(&[]);
    let old = Receiver::answering(&[]);
    house.configure(&json!({"webhooks": {"ops": {"url": old.url()}}}));
    let gate = house.gate("gate");
    enqueue_to(
        &house,
        "webhook:ops",
        "w",
        &[],
        &format!("{}; echo result", gate.pass()),
    );
    house.configure(&json!({"webhooks": {"ops": {"url": receiver.url()}}}));
    hang_up(&house, "w", "again: the new settings");
    gate.open();
    record_in(&house, "w", "result", "delivered");
    assert_eq!(receiver.requests().len(), 1);
    assert_eq!(old.requests().len(), 0);
}

#[test]
fn a_verify_command_is_given_the_time_that_the_configuration_says() {
    let house = House::new();
    let words = [
        "enqueue",
        "--label",
        "w",
        "--verify-cmd",
        "echo checking; exec sleep 1000",
    ];
    house
        .dispatch(&[&words[..], &["--", "echo", "result"]].concat())
        .exits(0);
    eventually("it verifies", || {
        (house.entry("w")["phase"] == "verifying").then_some(())
    });
    house.configure(&json!({"verifyTimeoutSeconds": 0.5}));
    hang_up(&house, "w", "again: the new settings");
    let entry = house.ended("w");
    assert_eq!(entry["failure"]["kind"], "verify", "{entry}");
    let message = entry["failure"]["message"].as_str().expect("a message");
    assert!(
        message.contains("took longer than 0.5 s and was ended"),
        "{message}"
    );
}
