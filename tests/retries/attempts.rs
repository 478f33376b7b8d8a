//! What a watcher does after an attempt that may be tried again.

use std::collections::BTreeSet;

use serde_json::json;

use super::{agent, ask, house, house_with, quick, waiting};
use crate::outbox::receiver::Receiver;
use crate::outbox::{quiet, records, signal_done};
use crate::support::kill_hard;

#[test]
fn an_overloaded_agent_is_asked_again_with_the_whole_prompt_until_it_answers() {
    let house = house(&quick());
    ask(&house, "l", &[], &agent(2));
    let entry = house.ended("l");
    assert_eq!(entry["status"], "done", "{entry:#}");
    assert_eq!(house.full_text("l"), "answered at start 3\n");
    assert_eq!(
        house.text("starts"),
        "1 the whole task\n2 the whole task\n3 the whole task\n"
    );
    assert_eq!(
        (&entry["attempt"], &entry["retryCount"]),
        (&json!(3), &json!(2))
    );
    let runs: BTreeSet<String> = entry["runIds"]
        .as_array()
        .expect("runs")
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(runs.len(), 3, "each attempt has a key of its own");
    assert_eq!(entry["runId"], entry["runIds"][2]);
    assert!(
        entry["failure"].is_null() && entry["error"].is_null(),
        "{entry:#}"
    );
}

#[test]
fn one_that_stays_overloaded_is_asked_four_times_and_fails_once() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver, &quick());
    let to = ["--deliver-to", "ops", "--deliver-channel", "webhook"];
    ask(&house, "l", &to, &agent(99));
    let entry = house.ended("l");
    assert_eq!(
        (&entry["status"], &entry["failure"]["kind"]),
        (&json!("error"), &json!("overload"))
    );
    assert_eq!(house.text("starts").lines().count(), 4);
    assert_eq!(
        (&entry["attempt"], &entry["retryCount"]),
        (&json!(4), &json!(3))
    );
    quiet(&house);
    let kinds: Vec<String> = records(&house, "l")
        .iter()
        .map(|r| r["kind"].to_string())
        .collect();
    assert_eq!(
        kinds,
        ["\"failure\""],
        "the final failure alone is announced"
    );
    assert_eq!(receiver.received(1).len(), 1);
    // What each failed attempt had said is kept.
    let artifacts = house.state().join("artifacts/dispatch-completions");
    let kept = std::fs::read_dir(artifacts).expect("artifacts").count();
    assert_eq!(kept, 4);
}

#[test]
fn who_wants_to_hear_of_everything_hears_of_each_failure_and_each_retry() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver, &quick());
    let to = ["--deliver-to", "ops", "--deliver-channel", "webhook"];
    let always = ["--delivery-mode", "announce-always"];
    ask(&house, "l", &[&to[..], &always].concat(), &agent(1));
    house.ended("l");
    quiet(&house);
    let told: Vec<(String, String)> = records(&house, "l")
        .iter()
        .map(|r| (r["kind"].to_string(), r["key"].to_string()))
        .collect();
    let kinds: Vec<&str> = told
        .iter()
        .map(|(kind, _)| kind.trim_matches('"'))
        .collect();
    assert_eq!(kinds, ["starting", "failure", "starting", "result"]);
    let keys: BTreeSet<&String> = told.iter().map(|(_, key)| key).collect();
    assert_eq!(keys.len(), 4);
    let texts: Vec<String> = receiver
        .received(4)
        .iter()
        .map(|request| {
            request.json()["text"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    assert!(
        texts
            .iter()
            .any(|text| text.contains("retry 1 of 3 follows")),
        "{texts:?}"
    );
}

#[test]
fn a_bare_command_is_never_run_twice_whatever_it_prints() {
    let house = house(&quick());
    house.enqueue("l", &agent(99));
    let entry = house.ended("l");
    assert_eq!(
        (&entry["status"], &entry["failure"]["kind"]),
        (&json!("error"), &json!("command"))
    );
    assert_eq!(house.text("starts").lines().count(), 1);
}

#[test]
fn a_watcher_killed_between_two_attempts_leaves_the_retry_to_the_next() {
    let house = house(&json!({"overloadSeconds": 3600}));
    ask(&house, "l", &[], &agent(1));
    let before = waiting(&house, "l");
    assert!(
        before["retryAt"].is_string() && before["error"].is_null(),
        "{before:#}"
    );
    kill_hard(house.watcher_pid("l"));
    house.configure(&json!({"retry": quick()}));
    // The pause stands in the ledger; a test does not wait for an hour.
    house.change_ledger(|ledger| ledger["l"]["retryAt"] = json!("2026-01-01T00:00:00.000Z"));
    let said = house.recover().stdout;
    assert!(said.contains("started a watcher for \"l\""), "{said}");
    let entry = house.ended("l");
    assert_eq!(
        (&entry["status"], &entry["attempt"]),
        (&json!("done"), &json!(2))
    );
    assert_eq!(house.text("starts").lines().count(), 2);
}

#[test]
fn a_label_that_waits_for_its_retry_is_cancelled_at_once() {
    let house = house(&json!({"overloadSeconds": 3600}));
    ask(&house, "l", &[], &agent(1));
    waiting(&house, "l");
    house.dispatch(&["cancel", "--label", "l"]).exits(0);
    assert_eq!(house.entry("l")["status"], "cancelled");
    assert_eq!(house.text("starts").lines().count(), 1);
}

#[test]
fn an_agent_that_signals_between_two_attempts_is_done_and_not_asked_again() {
    let house = house(&json!({"overloadSeconds": 3600}));
    ask(&house, "l", &[], &agent(1));
    waiting(&house, "l");
    signal_done(&house, "l", "it was done after all").exits(0);
    let entry = house.ended("l");
    assert_eq!(
        (&entry["status"], &entry["summary"]),
        (&json!("done"), &json!("it was done after all"))
    );
    quiet(&house);
    assert_eq!(house.text("starts").lines().count(), 1);
}

#[test]
fn whoever_waits_waits_over_the_retries_and_sees_them_in_the_status() {
    let house = house(&json!({"overloadSeconds": 3600}));
    ask(&house, "l", &[], &agent(1));
    waiting(&house, "l");
    house.dispatch(&["wait", "l", "--timeout", "1"]).exits(4);
    let status = house
        .dispatch(&["status", "--label", "l", "--json"])
        .exits(0)
        .json();
    assert_eq!(
        (&status["status"], &status["phase"]),
        (&json!("running"), &json!("retry-wait"))
    );
    assert_eq!(status["failure"]["kind"], "overload");
    assert!(status["retryAt"].is_string(), "{status:#}");
    let table = house
        .dispatch(&["status", "--label", "l", "--output", "table"])
        .stdout;
    assert!(
        table.contains("failed before") && table.contains("overload: "),
        "{table}"
    );
    house.dispatch(&["cancel", "--label", "l"]).exits(0);
}

#[test]
fn a_watcher_in_the_foreground_prints_the_answer_of_the_last_attempt() {
    let house = house(&json!({"overloadSeconds": 3600}));
    ask(&house, "l", &[], &agent(1));
    waiting(&house, "l");
    house.configure(&json!({"retry": quick()}));
    house.change_ledger(|ledger| ledger["l"]["retryAt"] = json!("2026-01-01T00:00:00.000Z"));
    let ran = house.run("watcher", &["--label", "l"]).exits(0);
    assert!(
        ran.stdout.ends_with("answered at start 2\n"),
        "{}",
        ran.stdout
    );
}
