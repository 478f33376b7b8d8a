//! What comes back from a gateway's session when its run ends well.

use rstest::rstest;
use serde_json::json;

use super::gateways::Version;

#[rstest]
fn a_reply_is_the_result(#[values(Version::Old, Version::New)] version: Version) {
    let Some(house) = version.house() else { return };
    let asked = house
        .ask("greet", "Greet me. @fake reply=\"Good day.\"", &[])
        .json();
    assert_eq!(asked["backend"], "openclaw");
    assert_eq!(asked["status"], "accepted");
    let key = asked["sessionKey"].as_str().expect("a text");
    assert!(key.starts_with("agent:main:subagent:"), "{key}");
    assert_eq!(house.reply("greet"), "Good day.");
    let entry = house.entry("greet");
    assert_eq!(entry["summary"], "Good day.");
    assert_eq!(entry["error"], json!(null));
    assert_eq!(entry["timeoutSeconds"], 300);
    assert_eq!(house.artifact("greet"), b"Good day.");
    assert_eq!(house.model_requests("Greet me.").len(), 1);
}

#[rstest]
fn a_reply_after_tool_calls_is_the_last_one(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let prompt =
        "Look twice. @fake tool=exec args={\"command\":\"echo hi\"} rounds=2 reply=\"Seen both.\"";
    house.ask("tools", prompt, &[]);
    assert_eq!(house.reply("tools"), "Seen both.");
    assert_eq!(house.model_requests("Look twice.").len(), 3);
}

#[rstest]
fn a_long_reply_is_kept_whole_and_shown_in_part(
    #[values(Version::Old, Version::New)] version: Version,
    // The older generation leaves out what is longer than 256 KiB.
    #[values(70_000, 300_000)] bytes: usize,
) {
    let Some(house) = version.house() else { return };
    house.ask("long", &format!("Write much. @fake long={bytes}"), &[]);
    let whole = house.reply("long");
    assert!(whole.len() >= bytes, "{} bytes", whole.len());
    assert!(whole.starts_with("1: All work and no play. Żółć"));
    assert!(whole.trim_end().ends_with("emoji 🦞🚀."), "{whole}");
    let numbers: Vec<String> = (1..=whole.lines().count()).map(|n| n.to_string()).collect();
    let first_words: Vec<&str> = whole
        .lines()
        .filter_map(|line| line.split(':').next())
        .collect();
    assert_eq!(first_words, numbers, "a line is missing or twice there");
    assert_eq!(house.artifact("long"), whole.as_bytes());
    let shown = house.dispatch(&["result", "--label", "long"]).exits(0);
    let shown = shown.json()["lastReply"]
        .as_str()
        .expect("a text")
        .to_owned();
    assert!(shown.len() <= 61_440, "{} bytes", shown.len());
    assert!(whole.starts_with(shown.split("\n\n").next().expect("a first part")));
    assert!(shown.contains("artifacts/dispatch-completions/"), "{shown}");
}

#[rstest]
fn two_labels_at_once_get_their_own_replies(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    house.ask("one", "First. @fake delay=2 reply=\"This is one.\"", &[]);
    house.ask("two", "Second. @fake delay=2 reply=\"This is two.\"", &[]);
    assert_eq!(house.reply("two"), "This is two.");
    assert_eq!(house.reply("one"), "This is one.");
}

#[rstest]
fn a_reply_that_the_token_limit_cut_is_marked(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    house.ask("cut", "Too long. @fake length reply=\"So far and\"", &[]);
    assert_eq!(house.reply("cut"), "So far and");
    assert_eq!(house.entry("cut")["truncated"], true);
}

#[rstest]
fn an_agent_that_says_nothing_is_reported_so(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    house.ask("silent", "Say nothing. @fake reply=\"NO_REPLY\"", &[]);
    house.ask("empty", "Be empty. @fake empty", &[]);
    for label in ["silent", "empty"] {
        let said = house.reply(label);
        assert_eq!(said, "The session ended normally without a reply.");
    }
}
