//! The stuck detector at real gateways.

use rstest::rstest;
use serde_json::{Value, json};

use super::gateways::{GatewayHouse, Version, in_a_runs_time};
use crate::support::{Ran, kill};

/// Hands a prompt to a session whose silence somebody wants to be told of after this many minutes.
#[track_caller]
fn ask(house: &GatewayHouse, label: &str, message: &str, minutes: f64) {
    house.configure(&json!({"commands": {"keep": ["sh", "-c", "cat >> /dev/null"]}}));
    let words = ["enqueue", "--label", label, "--message", message];
    house
        .dispatch(&[&words[..], &["--deliver-to", "command:keep"]].concat())
        .exits(0);
    // The watcher that would write the entry stands still meanwhile.
    let watcher = house.halt_watcher(label);
    house.change_ledger(|ledger| ledger[label]["monitorTimeoutMin"] = json!(minutes));
    kill(watcher, "CONT");
}

/// Runs the detector until the gateway, which may have much else to do, answers it in time.
fn detect(house: &GatewayHouse, words: &[&str]) -> Ran {
    let words = [&["--threshold-min", "1s"], words].concat();
    in_a_runs_time("the gateway answers the detector", || {
        let ran = house.run("stuck-detector", &words);
        let is_unanswered =
            ran.stdout.starts_with("gateway: ") || ran.stdout.contains("\"gateway_error\": \"");
        (!is_unanswered).then_some(ran)
    })
}

fn nudges(house: &GatewayHouse, label: &str) -> usize {
    let entry = house.entry(label);
    let steers = entry["steers"].as_array().cloned().unwrap_or_default();
    steers.iter().filter(|s| s["nudge"] == true).count()
}

/// What the detector remembers of a label.
fn remembered(house: &GatewayHouse, label: &str) -> Value {
    let bytes = std::fs::read(house.state().join("stuck.json")).unwrap_or_default();
    let memory: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    memory["labels"][label].clone()
}

/// Runs the detector until it has nudged the label.
#[track_caller]
fn is_nudged(house: &GatewayHouse, label: &str) {
    in_a_runs_time(&format!("{label} is nudged"), || {
        let ran = detect(house, &[]).exits(0);
        let line = format!("[dispatch] \"{label}\" was nudged: no sign of progress for ");
        ran.stderr.starts_with(&line).then_some(())
    });
    assert_eq!(nudges(house, label), 1, "{:#}", house.entry(label));
}

#[rstest]
fn a_silent_session_is_nudged_once_then_told_of_and_cancelled_where_that_is_asked_for(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    ask(&house, "work", "Never answers. @fake hang", 0.05);
    house.model_is_asked("Never answers.");
    is_nudged(&house, "work");
    let told = in_a_runs_time("it is told of", || {
        let ran = detect(&house, &["--quiet"]);
        (ran.code != Some(0)).then_some(ran)
    })
    .exits(1);
    for words in [
        "stuck: \"work\": no sign of progress for ",
        ", and no answer to the nudge of ",
        ": its session's row has not moved since ",
        "; its agent has never done anything",
    ] {
        assert!(told.stdout.contains(words), "{told:?}");
    }
    assert_eq!(told.stdout.lines().count(), 1, "{told:?}");
    let again = detect(&house, &["--json"]).exits(1).json();
    assert_eq!(again["labels"][0]["verdict"], "stuck", "{again:#}");
    assert_eq!(nudges(&house, "work"), 1);
    assert_eq!(house.entry("work")["status"], "running");
    detect(&house, &["--cancel"]).exits(1);
    assert_eq!(house.settled("work")["status"], "cancelled");
    assert_eq!(detect(&house, &["--quiet"]).exits(0).stdout, "");
    assert_eq!(remembered(&house, "work"), Value::Null);
}

#[rstest]
fn a_session_that_goes_on_is_forgotten_and_its_long_tool_call_let_be(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let gate = format!("goes-on-{version:?}");
    let tool = "tool=exec args={\"command\":\"sleep 100\",\"yieldMs\":100000}";
    let prompt = format!("Think, then use a tool. @fake gate={gate} {tool} reply=\"Used it.\"");
    ask(&house, "work", &prompt, 0.05);
    house.model_is_asked("Think, then use a tool.");
    is_nudged(&house, "work");
    assert!(remembered(&house, "work")["nudgedAt"].is_i64());
    version.gateway().expect("it has a house").open_gate(&gate);
    in_a_runs_time("its tool call is seen", || {
        // Until it is, it may be told of as one that stays silent.
        let verdict = detect(&house, &["--json"]).json()["labels"][0].clone();
        let reason = verdict["reason"].as_str()?;
        let is_open = reason.starts_with("a tool call is open since ");
        is_open.then(|| assert_eq!(verdict["verdict"], "alive"))
    });
    assert_eq!(remembered(&house, "work"), Value::Null);
    assert_eq!(nudges(&house, "work"), 1);
    assert_eq!(house.entry("work")["status"], "running");
    house.cancelled("work");
}

#[rstest]
fn a_session_that_makes_progress_is_let_be(#[values(Version::Old, Version::New)] version: Version) {
    let Some(house) = version.house() else { return };
    let tool = "tool=exec args={\"command\":\"echo hi\"}";
    let prompt = format!("Work on and on. @fake delay=5 {tool} rounds=8 reply=\"Worked.\"");
    // Longer than any pause, and shorter than the whole.
    ask(&house, "work", &prompt, 0.5);
    let over = in_a_runs_time("it has worked", || {
        let ran = detect(&house, &[]).exits(0);
        assert_eq!(nudges(&house, "work"), 0, "{ran:?}");
        (house.entry("work")["status"] != "running").then(|| house.entry("work"))
    });
    assert_eq!(over["status"], "done", "{over:#}");
    assert_eq!(house.full_text("work"), "Worked.");
}
