//! Going on with a session, naming one, and asking twice.

use rstest::rstest;

use super::gateways::Version;

#[rstest]
fn a_reused_session_answers_anew(#[values(Version::Old, Version::New)] version: Version) {
    let Some(house) = version.house() else { return };
    let first = house
        .ask("talk", "Ask one. @fake reply=\"The old reply.\"", &[])
        .json();
    assert_eq!(house.reply("talk"), "The old reply.");
    // At once, while the gateway may still be writing about the first run.
    let prompt = "Ask two. @fake reply=\"The new reply.\"";
    let second = house.ask("talk", prompt, &["--mode", "reuse"]).json();
    assert_eq!(first["sessionKey"], second["sessionKey"]);
    assert_ne!(first["runId"], second["runId"]);
    assert_eq!(house.reply("talk"), "The new reply.");
    let request = house.model_requests("Ask two.").pop().expect("asked");
    assert!(request["turns"].as_u64() > Some(3), "{}", request["turns"]);
}

#[rstest]
fn a_failure_in_a_reused_session_is_not_covered_by_the_old_reply(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    house.ask("talk", "Go well. @fake reply=\"All went well.\"", &[]);
    assert_eq!(house.reply("talk"), "All went well.");
    house.ask("talk", "Go wrong. @fake error=400", &["--mode", "reuse"]);
    let entry = house.settled("talk");
    assert_eq!(entry["status"], "error", "{entry:#}");
    let told = || house.dispatch(&["result", "--label", "talk"]).stdout;
    assert!(!told().contains("All went well."), "{}", told());
    house.ask("talk", "Hang. @fake hang", &["--mode", "reuse"]);
    house.model_is_asked("Hang.");
    house.cancelled("talk");
    assert!(!told().contains("All went well."), "{}", told());
}

#[rstest]
fn a_session_may_be_named(#[values(Version::Old, Version::New)] version: Version) {
    let Some(house) = version.house() else { return };
    let key = format!("agent:main:subagent:Named-{}", std::process::id());
    let prompt = "By name. @fake reply=\"Named.\"";
    house.ask("named", prompt, &["--session-key", &key]);
    assert_eq!(house.reply("named"), "Named.");
    assert_eq!(house.entry("named")["sessionKey"], key.as_str());
    // Another label goes on with it, with or without saying that it is there already.
    let prompt = "Again. @fake reply=\"Named again.\"";
    house.ask("other", prompt, &["--mode", "reuse", "--session-key", &key]);
    assert_eq!(house.reply("other"), "Named again.");
    let prompt = "And again. @fake reply=\"Named once more.\"";
    house.ask("third", prompt, &["--session-key", &key]);
    assert_eq!(house.reply("third"), "Named once more.");
}

#[rstest]
fn the_same_key_is_answered_once(#[values(Version::Old, Version::New)] version: Version) {
    let Some(house) = version.house() else { return };
    let key = format!("key-{version:?}-{}", std::process::id());
    let more = ["--idempotency-key", key.as_str()];
    let prompt = "Only once. @fake delay=1 reply=\"Once.\"";
    let first = house.ask("once", prompt, &more).json();
    let again = house.ask("once", prompt, &more).json();
    assert_eq!(first["runId"], again["runId"]);
    assert_eq!(again["repeated"], true);
    assert_eq!(house.reply("once"), "Once.");
    let later = house.ask("once", prompt, &more).json();
    assert_eq!(later["generation"], first["generation"]);
    let other = house.try_to_ask("once", "Something else.", &more).exits(1);
    assert!(other.stderr.contains("belongs to other work"), "{other:?}");
    let asked = house.model_requests("Only once.");
    let ours = asked.len();
    assert_eq!(ours, 1);
}
