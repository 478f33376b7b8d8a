//! Whether a session is alive, on the local backend.

use std::fs;

use serde_json::{Value, json};

use super::refused;
use crate::support::{House, eventually};

fn beat(house: &House, words: &[&str]) -> Value {
    let words = [&["heartbeat"], words].concat();
    house.dispatch(&words).exits(0).json()
}

#[test]
fn a_session_that_was_just_updated_is_alive_by_label_and_by_key() {
    let house = House::new();
    let gate = house.gate("gate");
    let asked = house
        .enqueue("work", &format!("echo hi; {}", gate.pass()))
        .json();
    // The runner writes the session's row after it has begun.
    eventually("the session's row", || {
        (house.session_row("work")["status"] == "running").then_some(())
    });
    let key = asked["sessionKey"].as_str().expect("a text");
    for words in [["--label", "work"], ["--session-key", key]] {
        let beat = beat(&house, &words);
        assert_eq!(beat["ok"], true, "{beat:#}");
        assert_eq!(beat["alive"], true, "{beat:#}");
        assert_eq!(beat["carried"], true, "{beat:#}");
        assert_eq!(beat["label"], "work");
        assert_eq!(beat["sessionKey"], key);
        let age = beat["ageMs"].as_i64().expect("a number");
        assert!((0..600_000).contains(&age), "{beat:#}");
    }
    let table = house.dispatch(&["heartbeat", "--label", "work", "--output", "table"]);
    let table = table.exits(0).stdout;
    assert!(table.contains("alive") && table.contains("yes"), "{table}");
    gate.open();
    house.ended("work");
    // The runner leaves a moment later.
    for words in [["--label", "work"], ["--session-key", key]] {
        eventually("the session is over", || {
            let beat = beat(&house, &words);
            assert_eq!(beat["ok"], true, "{beat:#}");
            (beat["alive"] == false && beat["status"] == "done").then_some(())
        });
    }
}

#[test]
fn a_session_that_was_not_updated_for_long_is_not_alive() {
    let house = House::new();
    let key = "agent:main:subagent:1f";
    let sessions = house.state().join("sessions");
    fs::create_dir_all(&sessions).expect("creatable");
    let store =
        json!({key: {"sessionId": "1f", "updatedAt": 1_700_000_000_000_i64, "status": "running"}});
    fs::write(sessions.join("sessions.json"), store.to_string()).expect("writable");
    let beat = beat(&house, &["--session-key", key]);
    assert_eq!((&beat["ok"], &beat["alive"]), (&json!(true), &json!(false)));
    assert_eq!(beat["sessionId"], "1f");
    assert_eq!(beat["updatedAt"], "2023-11-14T22:13:20.000Z");
    assert_eq!(beat["label"], Value::Null);
}

#[test]
fn what_is_not_there_is_told() {
    let house = House::new();
    let unknown = house.dispatch(&["heartbeat", "--session-key", "agent:main:main"]);
    let unknown = unknown.exits(0).json();
    assert_eq!(unknown["ok"], false);
    assert_eq!(unknown["alive"], false);
    assert_eq!(unknown["message"], "there is no session agent:main:main");
    refused(
        &house,
        &["heartbeat", "--label", "nobody"],
        1,
        "no session found for label \"nobody\"; 'dispatch list' shows what there is",
    );
    refused(
        &house,
        &["heartbeat", "--session-key", "main"],
        2,
        "--session-key: \"main\" is no session key: expected agent:<agentId>:<rest>",
    );
    house.dispatch(&["heartbeat"]).exits(2);
}
