//! The ledger and the gateway's sessions brought together again.

use rstest::rstest;
use serde_json::{Value, json};

use super::gateways::{Gateway, GatewayHouse, Version, in_a_runs_time};
use crate::support::{eventually, kill_hard};

/// The detail about a label.
fn detail(answer: &Value, label: &str) -> Value {
    let details = answer["details"].as_array().expect("a list");
    let about = details.iter().find(|detail| detail["label"] == label);
    about.cloned().unwrap_or_default()
}

/// Ends the label's watcher once it has seen the run.
#[track_caller]
fn leave_alone(house: &GatewayHouse, label: &str) {
    eventually("the run is seen", || {
        (house.entry(label)["phase"] == "running").then_some(())
    });
    kill_hard(house.watcher_pid(label));
}

#[rstest]
fn sessions_that_vanished_are_told_and_unknown_ones_are_imported(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = Gateway::start(version, "vanished") else {
        return;
    };
    let house = gateway.house();
    house.configure(&json!({"retry": {"restartSeconds": 0.1}}));
    house.ask("gone", "Vanish. @fake hang", &[]);
    house.model_is_asked("Vanish.");
    leave_alone(&house, "gone");
    let key = house.entry("gone")["sessionKey"].clone();
    gateway.call("sessions.delete", &json!({"key": key}));
    let neighbour = gateway.house();
    neighbour.ask(
        "theirs",
        "Nobody here knows me. @fake reply=\"Known.\"",
        &[],
    );
    neighbour.reply("theirs");
    let theirs = neighbour.entry("theirs")["sessionKey"].clone();
    // Now the gateway has forgotten the run, too.
    gateway.kill();
    gateway.bring_up();

    // The older generation writes the session's row once more while its run is stopped: that one is given a moment.
    let told = eventually("both are told", || {
        let told = house.dispatch(&["sync", "--dry-run"]).exits(0).json();
        (told["changes"] == 2).then_some(told)
    });
    assert_eq!(told["dryRun"], true);
    let gone = detail(&told, "gone");
    let is_retried = |gone: &Value| {
        let change = (&gone["from"], &gone["to"]);
        assert_eq!(change, (&json!("running"), &json!("running")), "{gone:#}");
        let why = gone["reason"].to_string();
        assert!(why.starts_with("\"gateway-restart: "), "{why}");
        assert!(why.contains("retry 1 of 2 follows"), "{why}");
    };
    is_retried(&gone);
    let told = house.dispatch(&["sync", "--no-import"]).exits(0).json();
    assert_eq!(told["changes"], 1, "{told:#}");
    is_retried(&detail(&told, "gone"));
    // Its session is gone for good: the whole prompt goes into a new one.
    in_a_runs_time("it is asked again", || {
        (house.model_requests("Vanish.").len() == 2).then_some(())
    });
    let entry = house.entry("gone");
    assert_eq!(
        (&entry["attempt"], &entry["gwRestartRetryCount"]),
        (&json!(2), &json!(1))
    );
    // The older generation has written the session's row once more, and goes on in it.
    assert!(
        version == Version::Old || entry["sessionKey"] != key,
        "{entry:#}"
    );
    house.cancelled("gone");

    let told = house.dispatch(&["sync"]).exits(0).json();
    assert_eq!(told["changes"], 1, "{told:#}");
    let imported = detail(&told, "theirs");
    assert_eq!(imported["action"], "imported", "{told:#}");
    assert_eq!(imported["sessionKey"], theirs);
    let entry = house.entry("theirs");
    assert_eq!(
        (&entry["status"], &entry["stale"]),
        (&json!("interrupted"), &json!(true))
    );
    let told = house.dispatch(&["sync"]).exits(0).json();
    assert_eq!(told["changes"], 0, "{told:#}");
    // An imported session may be gone on with.
    let prompt = "Go on as ours. @fake reply=\"Gone on.\"";
    house.ask("theirs", prompt, &["--mode", "reuse"]);
    assert_eq!(house.reply("theirs"), "Gone on.");
    assert_eq!(house.entry("theirs")["sessionKey"], theirs);
}

#[rstest]
fn status_resolves_a_label_that_nobody_watches(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    house.ask(
        "alone",
        "Work alone. @fake gate=alone reply=\"Done alone.\"",
        &[],
    );
    let status = house
        .dispatch(&["status", "--label", "alone"])
        .exits(0)
        .json();
    assert_eq!(status["syncAction"], json!(null), "{status:#}");
    leave_alone(&house, "alone");
    version.gateway().expect("it runs").open_gate("alone");
    let status = in_a_runs_time("the label is resolved", || {
        let status = house
            .dispatch(&["status", "--label", "alone"])
            .exits(0)
            .json();
        (status["status"] != "running").then_some(status)
    });
    assert_eq!(status["status"], "done", "{status:#}");
    assert_eq!(
        status["syncAction"],
        "running -> done: the session has its reply"
    );
    assert_eq!(house.full_text("alone"), "Done alone.");
}
