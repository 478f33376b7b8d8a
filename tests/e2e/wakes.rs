//! The session that asked for the work hears of its end.

use rstest::rstest;
use serde_json::{Value, json};

use super::chats::chat_gateway;
use super::gateways::{Gateway, GatewayHouse, Version, in_a_runs_time};

/// Has the label done for `requester`, and returns the wake's record once it is delivered.
#[track_caller]
fn wake_after(house: &GatewayHouse, label: &str, requester: &str, word: &str) -> Value {
    // The session that is woken has nothing to say about it: the older generation would say that again at its next turn.
    let prompt =
        format!("Work for another. @fake reply=\"{word} @fake reply=\\\"HEARTBEAT_OK\\\"\"");
    house.ask(label, &prompt, &["--requester", requester]);
    house.reply(label);
    in_a_runs_time("the wake is delivered", || {
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
fn a_requester_that_does_not_exist_is_refused_with_the_nearest_keys(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let refused = |requester: &str| {
        let ran = house
            .try_to_ask("lost", "Never asked.", &["--requester", requester])
            .exits(2);
        assert!(house.entry("lost").is_null());
        ran.stderr
    };
    assert_eq!(
        refused("agent:main:mian"),
        "[dispatch] --requester agent:main:mian is no session of the gateway; did you mean agent:main:main?\n"
    );
    assert_eq!(
        refused("agent:nobody:main"),
        "[dispatch] --requester agent:nobody:main names the agent \"nobody\", which the gateway does not have; did you mean agent:main:main?\n"
    );
    for malformed in ["main", "global"] {
        let said = refused(malformed);
        let told = format!(
            "[dispatch] --requester {malformed} is no session key; expected agent:<agentId>:<rest>; "
        );
        assert!(said.starts_with(&told), "{said}");
    }
    let subagent = "agent:main:subagent:5d1c1b6e-0000-4000-8000-000000000000";
    let said = refused(subagent);
    let told = format!("[dispatch] --requester {subagent} is no session of the gateway; ");
    assert!(said.starts_with(&told), "{said}");
    assert!(house.model_requests("Never asked.").is_empty());
}

#[rstest]
fn a_commands_requester_is_looked_for_too(#[values(Version::Old, Version::New)] version: Version) {
    let Some(house) = version.house() else { return };
    let enqueue = |requester| {
        let mut tries = 0;
        // Without an answer within seconds the command starts all the same: a gateway may have much else to do.
        in_a_runs_time("the gateway answers in time", || {
            tries += 1;
            let label = format!("l{tries}");
            let words = ["enqueue", "--label", &label, "--requester", requester];
            let ran = house.dispatch(&[&words[..], &["--", "true"]].concat());
            let is_answered = !ran.stderr.contains(" is not checked, and ");
            is_answered.then_some((label, ran))
        })
    };
    let (label, ran) = enqueue("agent:main:mian");
    let ran = ran.exits(2);
    assert!(
        ran.stderr.contains("did you mean agent:main:main?"),
        "{ran:?}"
    );
    assert!(house.entry(&label).is_null());
    // A main session that has not spoken yet is there all the same.
    let (_, ran) = enqueue("Agent:Main:Main");
    assert_eq!(ran.exits(0).stderr, "");
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
    // The queue itself may be named, too.
    let prompt = "More for all. @fake reply=\"HEARTBEAT_OK\"";
    house.ask("queue", prompt, &["--requester", "global"]);
    house.reply("queue");
}
