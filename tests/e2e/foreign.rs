//! Runs that another tool started, taken over in the middle.

use std::fs;

use rstest::rstest;
use serde_json::{Value, json};

use super::gateways::Version;
use crate::support::{eventually, is_alive, kill_hard};

/// What openclaw-scheduler's dispatch writes of a run.
const ITS_FIELDS: [&str; 16] = [
    "sessionKey",
    "runId",
    "agent",
    "mode",
    "model",
    "thinking",
    "origin",
    "deliverTo",
    "deliverChannel",
    "deliveryMode",
    "spawnedAt",
    "timeoutSeconds",
    "timeout",
    "status",
    "summary",
    "taskPrompt",
];

#[rstest]
fn a_run_of_the_reference_is_followed_to_its_end_once_it_is_taken_over(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let prompt = "Take me. @fake gate=take reply=\"all taken\"";
    house.ask("take", prompt, &[]);
    house.model_is_asked("Take me.");
    let watcher = house.watcher_pid("take");
    kill_hard(watcher);
    eventually("its watcher is gone", || (!is_alive(watcher)).then_some(()));
    let ours = house.entry("take");
    let its: serde_json::Map<String, Value> = ITS_FIELDS
        .iter()
        .map(|name| ((*name).to_owned(), ours[*name].clone()))
        .collect();
    fs::write(house.ledger_path(), format!("{:#}\n", json!({"take": its}))).expect("writable");
    let status = house
        .dispatch(&["status", "--label", "take"])
        .exits(0)
        .json();
    assert_eq!(
        status["liveness"]["error"],
        "another tool started this session"
    );
    let taken = house
        .dispatch(&["watcher-handoff", "--label", "take"])
        .exits(0)
        .json();
    assert_eq!(taken["scheduled"], true, "{taken:#}");
    version.gateway().expect("it runs").open_gate("take");
    assert_eq!(house.settled("take")["status"], "done");
    let result = house
        .dispatch(&["result", "--label", "take"])
        .exits(0)
        .json();
    assert_eq!(result["lastReply"], "all taken", "{result:#}");
}
