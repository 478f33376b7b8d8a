//! Runs that fail, are stopped, or break off.

use rstest::rstest;
use serde_json::json;

use super::gateways::{GatewayHouse, Version};
use crate::support::eventually;

#[rstest]
fn a_model_that_refuses_the_request_is_a_failure_of_the_model(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    house.ask("bad", "Refuse this. @fake error=400", &[]);
    let entry = house.settled("bad");
    assert_eq!(entry["status"], "error", "{entry:#}");
    assert_eq!(entry["failure"]["kind"], "model", "{entry:#}");
}

/// Gateways retry by themselves for up to a minute and a half; both are waited for at once.
#[test]
fn a_model_that_stays_overloaded_is_a_failure_after_the_last_retry() {
    let houses: Vec<GatewayHouse> = Version::ALL
        .into_iter()
        .filter_map(Version::house)
        .collect();
    for house in &houses {
        house.configure(&json!({"retry": {"atMost": 1, "overloadSeconds": 0.1}}));
        house.ask("busy", "Much to do. @fake error=529", &[]);
    }
    for house in &houses {
        let entry = house.settled("busy");
        assert_eq!(entry["status"], "error", "{entry:#}");
        assert_eq!(entry["failure"]["kind"], "overload", "{entry:#}");
        let attempts = (&entry["attempt"], &entry["retryCount"]);
        assert_eq!(attempts, (&json!(2), &json!(1)), "{entry:#}");
        assert!(!house.model_requests("This is a retry").is_empty());
    }
}

#[rstest]
fn a_hanging_run_is_cancelled(#[values(Version::Old, Version::New)] version: Version) {
    let Some(house) = version.house() else { return };
    house.ask("hang", "Hang on. @fake hang", &[]);
    house.model_is_asked("Hang on.");
    house.cancelled("hang");
}

#[rstest]
fn what_a_stopped_run_had_said_is_no_result_and_kept(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let text =
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omikron pi";
    let prompt = format!("Stop midway. @fake stall drip=1 reply=\"{text}\"");
    let mut listener = version.gateway().expect("it runs").listener();
    house.ask("cut", &prompt, &[]);
    listener.hears("alpha beta");
    house.cancelled("cut");
    let kept = String::from_utf8(house.artifact("cut")).expect("UTF-8");
    assert!(kept.contains("alpha beta"), "{kept}");
    assert!(!kept.contains("omikron pi"), "{kept}");
}

#[rstest]
fn a_reply_that_breaks_off_is_no_result_and_its_run_is_stopped_after_two_requests(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    house.configure(&json!({"liveness": {
        "flatSeconds": 5, "extensionSeconds": 5, "firstRequestSeconds": 2, "secondRequestSeconds": 3,
        "lastWordsSeconds": 3,
    }}));
    house.ask(
        "stall",
        "Stall midway. @fake stall drip=1 reply=\"one two three four five six seven eight\"",
        &["--timeout", "15"],
    );
    let entry = house.settled("stall");
    assert_eq!(entry["status"], "error", "{entry:#}");
    assert_eq!(entry["failure"]["kind"], "timeout", "{entry:#}");
    let requests = entry["steers"].as_array().expect("two requests");
    let numbers: Vec<_> = requests.iter().map(|r| r["request"].clone()).collect();
    assert_eq!(numbers, [json!(1), json!(2)], "{entry:#}");
}

#[rstest]
fn a_cancelled_label_stays_so(#[values(Version::Old, Version::New)] version: Version) {
    let Some(house) = version.house() else { return };
    house.ask("stay", "Stay away. @fake hang", &[]);
    house.cancelled("stay");
    eventually("the watcher leaves", || {
        house.processes().is_empty().then_some(())
    });
    assert_eq!(house.entry("stay")["status"], "cancelled");
}
