//! What follows when another program took an agent's session over.

use std::fs;
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::{ask, house, waiting};
use crate::local::takeovers::{append, transcript_path};
use crate::support::{House, eventually, kill_hard};

const THEIRS: &str =
    "{\"type\":\"message\",\"id\":\"x1\",\"message\":{\"role\":\"user\",\"content\":\"theirs\"}}\n";

/// An agent that is at work for as long as nobody stops it in its first attempts, and answers in the one after them.
fn agent(times: u32) -> String {
    format!(
        "echo \"${{DISPATCH_ATTEMPT:-1}} $DISPATCH_MODEL\" >> starts; trap 'exit 0' TERM
        echo \"at work ${{DISPATCH_ATTEMPT:-1}}\"
        while [ \"${{DISPATCH_ATTEMPT:-1}}\" -le {times} ]; do read go < never; done; echo answered"
    )
}

/// Writes to the session once the agent's attempt has said something.
#[track_caller]
fn take_over(house: &House, label: &str, attempt: u32) {
    let words = format!("at work {attempt}\n");
    eventually("the agent is at work", || {
        (house.streamed(label) == words).then_some(())
    });
    append(house, label, THEIRS);
}

#[test]
fn an_agent_whose_session_was_taken_over_is_asked_once_more_and_nothing_else_is_spent() {
    let house = house(&json!({"takeoverSeconds": 0.05}));
    let _never = house.gate("never");
    let models = ["--model", "anthropic/x", "--fallback-model", "anthropic/y"];
    ask(&house, "l", &models, &agent(1));
    take_over(&house, "l", 1);
    let entry = house.ended("l");
    assert_eq!(entry["status"], "done", "{entry:#}");
    assert_eq!(house.full_text("l"), "at work 2\nanswered\n");
    assert_eq!(
        (
            &entry["attempt"],
            &entry["takeoverRetryCount"],
            &entry["retryCount"]
        ),
        (&json!(2), &json!(1), &json!(null))
    );
    assert!(entry["claim"]["provider"].is_null(), "{entry:#}");
    assert_eq!(house.text("starts"), "1 anthropic/x\n2 anthropic/x\n");
    let texts = house.transcript("l");
    assert!(
        texts
            .iter()
            .any(|line| line["message"]["content"] == "theirs")
    );
}

#[test]
fn one_that_is_taken_over_again_fails_with_what_was_seen() {
    let house = house(&json!({"takeoverSeconds": 0.05}));
    let _never = house.gate("never");
    ask(&house, "l", &[], &agent(9));
    take_over(&house, "l", 1);
    take_over(&house, "l", 2);
    let entry = house.ended("l");
    assert_eq!(
        (&entry["status"], &entry["failure"]["kind"]),
        (&json!("error"), &json!("session-takeover"))
    );
    assert_eq!(
        (&entry["takeoverRetryCount"], &entry["retryCount"]),
        (&json!(1), &json!(null))
    );
    assert_eq!(house.text("starts").lines().count(), 2);
    let texts = house.transcript("l");
    let theirs = texts
        .iter()
        .filter(|line| line["message"]["content"] == "theirs");
    assert_eq!(theirs.count(), 2);
    assert_eq!(house.recover().stdout, "", "the scan does not ask again");
}

/// An agent that was taken over; nobody has come to its retry, which is due.
#[track_caller]
fn due(house: &House, label: &str) {
    ask(house, label, &[], &agent(1));
    take_over(house, label, 1);
    waiting(house, label);
    kill_hard(house.watcher_pid(label));
    house.change_ledger(|ledger| ledger[label]["retryAt"] = json!("2026-01-01T00:00:00.000Z"));
}

#[test]
fn the_retry_waits_until_the_other_program_leaves_the_session_alone() {
    let house = house(&json!({"takeoverSeconds": 3600}));
    let _never = house.gate("never");
    due(&house, "l");
    // The session has not been left alone for an hour.
    house.recover();
    house.wrote_in_log("l", "another program goes on writing to the session");
    let held = waiting(&house, "l");
    assert_eq!(
        (&held["attempt"], &held["takeoverRetryCount"]),
        (&json!(1), &json!(null))
    );
    assert_eq!(house.text("starts").lines().count(), 1);
    let path = transcript_path(&house, "l");
    let transcript = fs::OpenOptions::new().append(true).open(path);
    let long_ago = SystemTime::now() - Duration::from_secs(7200);
    transcript
        .and_then(|file| file.set_modified(long_ago))
        .expect("our own file");
    assert_eq!(house.ended("l")["status"], "done");
    assert_eq!(house.text("starts").lines().count(), 2);
}

#[test]
fn a_session_that_does_not_come_to_rest_fails_in_the_end() {
    let house = house(&json!({"takeoverSeconds": 3600}));
    let _never = house.gate("never");
    due(&house, "l");
    // As if that were long ago, and the transcript had been written to ever since.
    let path = transcript_path(&house, "l");
    let text = fs::read_to_string(&path).expect("readable");
    let ended = house.transcript("l").pop().expect("a line")["timestamp"].clone();
    let ended = ended.as_str().expect("a time");
    fs::write(&path, text.replace(ended, "2026-01-01T00:00:00.000Z")).expect("writable");
    house.recover();
    let entry = house.ended("l");
    assert_eq!(entry["failure"]["kind"], "session-takeover");
    let message = entry["failure"]["message"].as_str().expect("a message");
    assert!(
        message.contains("it cannot be tried again: another program goes on writing"),
        "{message}"
    );
    assert_eq!(house.text("starts").lines().count(), 1);
}
