//! What a gateway does not take, and one that is not there.

use rstest::rstest;
use serde_json::json;

use super::gateways::{GatewayHouse, Version, in_a_runs_time};
use crate::support::{Ran, eventually};

/// What doctor says once the gateway, which may have much else to do, answers it within the seconds that it waits.
fn doctor(house: &GatewayHouse, words: &[&str]) -> Ran {
    in_a_runs_time("the gateway answers doctor", || {
        let ran = house.dispatch(words);
        let is_late = [" did not answer ", "it took the connection"];
        let is_late = is_late.iter().any(|words| ran.stdout.contains(words));
        (!is_late).then_some(ran)
    })
}

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
    let ran = doctor(&house, &["doctor"]).exits(1);
    assert!(!ran.stdout.contains("not-the-secret"), "{ran:?}");
    let file = house.root().join("user/.openclaw/openclaw.json");
    let told = format!(
        "the gateway at {}/ refuses the token in {}: give the one that it was started with (gateway.auth.token in its openclaw.json) in OPENCLAW_GATEWAY_TOKEN",
        gateway.url(),
        file.display()
    );
    let doctor = ran.json();
    let checks = doctor["checks"].as_array().expect("checks");
    let wrong = json!({"name": "gateway", "ok": false, "state": "wrong", "message": told});
    assert!(checks.contains(&wrong), "{doctor:#}");
}

#[rstest]
fn doctor_says_which_gateway_lets_us_in(#[values(Version::Old, Version::New)] version: Version) {
    let Some(house) = version.house() else { return };
    let gateway = version.gateway().expect("it runs");
    let ran = doctor(&house, &["doctor", "--verbose", "--output", "table"]).exits(0);
    let sessions = match version {
        Version::Old => "files (up to 2026.7)",
        Version::New => "SQLite (from 2026.8)",
    };
    let told = format!(
        "ok     gateway: {}/: OpenClaw {}, sessions in {sessions}; the token in {} is accepted\n",
        gateway.url(),
        version.name(),
        house.root().join("user/.openclaw/openclaw.json").display()
    );
    assert!(ran.stdout.ends_with(&told), "{ran:?}");
    assert!(!ran.stdout.contains(&gateway.token()), "{ran:?}");
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
        .try_to_ask(
            "who",
            "Who are you?",
            &["--agent", "nobody", "--timeout", "5m"],
        )
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

/// One test, because the sessions of a gateway are for everybody: first there is no chat, then there is one.
#[rstest]
fn a_result_without_a_receiver_is_refused_or_goes_to_the_chat_that_is_at_work(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let words = [
        "enqueue",
        "--label",
        "whom",
        "--message",
        "Tell them. @fake reply=\"Told.\"",
    ];
    let refused = house.dispatch(&words).exits(2);
    assert_eq!(
        refused.stderr,
        format!(
            "[dispatch] nobody would be told of the result: give --deliver-to TARGET (a chat's id, @ALIAS, webhook:NAME or command:NAME), --origin telegram:ID, or \"deliverTo\" in {}; or --no-monitor, and read it with 'dispatch result'\n",
            house.state().join("config.json").display()
        )
    );
    assert!(house.entry("whom").is_null());
    let elsewhere = [&words[..], &["--origin", "slack:C1"]].concat();
    house.dispatch(&elsewhere).exits(2);
    let gateway = version.gateway().expect("it runs");
    let key = format!("agent:main:telegram:group:-100{}", std::process::id());
    let patch = json!({"key": key, "label": "a chat"});
    gateway.call("sessions.patch", &patch);
    let ran = house.dispatch(&words).exits(0);
    let to = format!("-100{}", std::process::id());
    let told = format!("[dispatch] no --deliver-to: the result goes to telegram {to}, where {key}");
    assert!(ran.stderr.starts_with(&told), "{ran:?}");
    assert_eq!(house.reply("whom"), "Told.");
    let entry = house.entry("whom");
    assert_eq!(entry["deliverChannel"], "telegram");
    assert_eq!(entry["deliverTo"], to.as_str());
    assert_eq!(entry["origin"], format!("telegram:{to}"));
    house.write_config(r#"{"deliverTo": "4711"}"#);
    house.dispatch(&words).exits(0);
    assert_eq!(house.entry("whom")["deliverTo"], "4711");
    assert_eq!(house.reply("whom"), "Told.");
}
