//! What a gateway does not take, and one that is not there.

use rstest::rstest;
use serde_json::json;

use super::gateways::Version;
use crate::support::eventually;

#[rstest]
fn a_wrong_token_is_told_before_anything_is_written(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let gateway = version.gateway().expect("it runs");
    let mut config = gateway.config();
    config["gateway"]["auth"]["token"] = json!("not-the-secret");
    house.use_config(&config);
    let ran = house.try_to_ask("door", "Let me in.", &[]).exits(1);
    assert!(!ran.stderr.contains("not-the-secret"), "{ran:?}");
    assert!(ran.stderr.contains("token mismatch"), "{ran:?}");
    assert!(house.entry("door").is_null());
    assert!(house.model_requests("Let me in.").is_empty());
}

/// The newer generation goes on without the level.
#[test]
fn a_thinking_level_that_the_model_lacks_ends_the_label() {
    let Some(house) = Version::Old.house() else {
        return;
    };
    house.ask("deep", "Think hard.", &["--thinking", "high"]);
    let entry = house.settled("deep");
    assert_eq!(entry["status"], "error");
    let words = "Error: Thinking level \"high\" is not supported for fake/fake-1. Use one of: off.";
    assert_eq!(entry["error"], words);
    eventually("the watcher leaves", || {
        house.processes().is_empty().then_some(())
    });
}

#[rstest]
fn an_agent_that_the_gateway_does_not_have_is_refused(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let ran = house
        .try_to_ask("who", "Who are you?", &["--agent", "nobody"])
        .exits(1);
    let entry = house.entry("who");
    assert_eq!(entry["status"], "error");
    assert_eq!(entry["failure"]["kind"], "spawn");
    let told = entry["error"].as_str().expect("a text");
    assert!(told.starts_with("the gateway refused agent: "), "{told}");
    assert!(
        told.contains("nobody") && told.ends_with("(INVALID_REQUEST)"),
        "{told}"
    );
    assert_eq!(ran.stderr, format!("[dispatch] {told}\n"));
    eventually("the watcher leaves", || {
        house.processes().is_empty().then_some(())
    });
    assert_eq!(house.entry("who")["status"], "error");
}
