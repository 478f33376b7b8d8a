//! Runs that are tried again on real gateways, which first try again by themselves.

use rstest::rstest;
use serde_json::json;

use super::gateways::{Gateway, Version};
use crate::support::kill_hard;

#[rstest]
fn an_overloaded_run_is_tried_again_in_its_session_and_answers(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = Gateway::start(version, "overloaded") else {
        return;
    };
    let house = gateway.house();
    house.configure(&json!({"retry": {"overloadSeconds": 5, "rateLimitSeconds": 5}}));
    gateway.force("error=529", 10_000);
    house.ask("busy", "Count the sheep.", &[]);
    let first = house.waits_for_its_retry("busy");
    assert_eq!(first["failure"]["kind"], "overload", "{first:#}");
    gateway.force("reply=\"Twelve.\"", 1);
    // Whoever watches when the retry is due makes it.
    kill_hard(house.watcher_pid("busy"));
    house.recover();
    assert_eq!(house.reply("busy"), "Twelve.");
    let entry = house.entry("busy");
    assert_eq!(
        (&entry["attempt"], &entry["retryCount"]),
        (&json!(2), &json!(1))
    );
    assert_eq!(entry["sessionKey"], first["sessionKey"]);
    let again = house.model_requests("This is a retry (attempt 2)");
    assert_eq!(again.len(), 1, "{again:?}");
    let prompt = again[0]["prompt"].to_string();
    assert!(prompt.contains("Count the sheep."), "{prompt}");
}
