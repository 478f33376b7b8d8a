//! `cancel` while the gateway of the session is away.

use std::net::TcpListener;

use serde_json::json;

use super::doctor::house_at;
use crate::support::Ran;

/// Cancels a label that runs on a gateway at this port, where nobody answers.
fn cancel_at(port: u16) -> Ran {
    let house = house_at(port);
    let entry = json!({"status": "running", "phase": "running", "generation": 5, "attempt": 1, "backend": "openclaw",
        "sessionKey": "agent:main:subagent:1f", "runId": "r1", "promptPath": house.path("prompt"),
        "spawnedAt": "2026-01-02T03:04:05.000Z"});
    house.write_ledger(json!({"away": entry}).to_string());
    let ran = house
        .dispatch(&["cancel", "--label", "away", "--reason", "enough"])
        .exits(1);
    let entry = house.entry("away");
    assert_eq!(entry["status"], "running");
    assert_eq!(entry["cancelRequested"]["reason"], "enough");
    // Its watcher is at its post.
    house.watcher_pid("away");
    ran
}

#[test]
fn a_gateway_that_is_away_is_told_by_the_watcher_later() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let ran = cancel_at(port);
    let message = ran.json()["message"].as_str().expect("a text").to_owned();
    let start = format!(
        "cancellation is recorded; the gateway does not answer (no gateway answers at ws://127.0.0.1:{port}/: "
    );
    assert!(message.starts_with(&start), "{message}");
    let end = "), and the watcher cancels the session once it does";
    assert!(message.ends_with(end), "{message}");
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_gateway_that_hangs_is_told_by_the_watcher_later() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let ran = cancel_at(listener.local_addr().expect("bound").port());
    let message = ran.json()["message"].as_str().expect("a text").to_owned();
    assert!(message.contains("it took the connection"), "{message}");
}
