//! The session that asked for the work hears of its end.

use rstest::rstest;
use serde_json::{Value, json};

use super::chats::chat_gateway;
use super::gateways::{Gateway, GatewayHouse, Version};
use crate::support::eventually;

/// Has the label done for `requester`, and returns the wake's record once it is delivered.
#[track_caller]
fn wake_after(house: &GatewayHouse, label: &str, requester: &str, word: &str) -> Value {
    // The session that is woken has nothing to say about it: the older generation would say that again at its next turn.
    let prompt =
        format!("Work for another. @fake reply=\"{word} @fake reply=\\\"HEARTBEAT_OK\\\"\"");
    house.ask(label, &prompt, &["--requester", requester]);
    house.reply(label);
    eventually("the wake is delivered", || {
        let record = house.entry(label)["deliveries"][0].clone();
        (record["state"] == "delivered").then_some(record)
    })
}

/// Waits until a model was shown the word as an event.
#[track_caller]
fn event_is_seen(house: &GatewayHouse, word: &str) {
    house.model_is_shown(&["System: [", word]);
}

#[rstest]
fn the_main_session_is_woken(#[values(Version::Old, Version::New)] version: Version) {
    let Some(gateway) = chat_gateway(version) else {
        return;
    };
    let house = gateway.house();
    let record = wake_after(&house, "main", "agent:main:main", "The main word.");
    assert_eq!(record["target"], "wake:agent:main:main");
    assert_eq!(record["receipt"]["queue"], "agent:main:main", "{record:#}");
    event_is_seen(&house, "The main word.");
}

#[rstest]
fn a_cron_runs_wake_reaches_the_main_session(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = chat_gateway(version) else {
        return;
    };
    let house = gateway.house();
    let key = "agent:main:cron:nightly:run:7";
    let record = wake_after(&house, "cron", key, "The cron word.");
    assert_eq!(record["receipt"]["queue"], "agent:main:main", "{record:#}");
    event_is_seen(&house, "The cron word.");
    // Nothing was begun under the run's own key, whose session is over.
    let words = ["send", "--session-key", key, "--message", "Anybody?"];
    let refused = house.dispatch(&words).exits(1);
    assert!(refused.stderr.contains("has no session"), "{refused:?}");
}

#[rstest]
fn a_sub_agent_gets_a_message(#[values(Version::Old, Version::New)] version: Version) {
    let Some(house) = version.house() else { return };
    house.ask("boss", "Delegate. @fake reply=\"Delegated.\"", &[]);
    house.reply("boss");
    let key = house.entry("boss")["sessionKey"].clone();
    let key = key.as_str().expect("a text");
    let record = wake_after(&house, "helper", key, "The helper's word.");
    assert_eq!(record["receipt"]["method"], "sessions.send", "{record:#}");
    house.model_is_asked("The helper's word.");
}

#[rstest]
fn one_session_for_everybody_is_woken(#[values(Version::Old, Version::New)] version: Version) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let more = dir.path().join("global.json");
    let heartbeat = json!({"heartbeat": {"every": "1h"}});
    let config = json!({"session": {"scope": "global"}, "agents": {"defaults": heartbeat}});
    std::fs::write(&more, config.to_string()).expect("writable");
    let more = ["--config", more.to_str().expect("UTF-8")];
    let Some(gateway) = Gateway::start_with(version, "global", &more) else {
        return;
    };
    let house = gateway.house();
    let record = wake_after(&house, "all", "agent:main:main", "The word for all.");
    assert_eq!(record["receipt"]["queue"], "global", "{record:#}");
    event_is_seen(&house, "The word for all.");
}
