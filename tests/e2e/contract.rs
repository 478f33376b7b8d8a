//! What an agent is told around its task, and that its own shell can do what it says.

use rstest::rstest;
use serde_json::{Value, json};

use super::chats::{CHAT, sent};
use super::gateways::{Gateway, GatewayHouse, Version, in_a_runs_time};

/// What the model was shown as the newest message of a person.
fn shown(house: &GatewayHouse, task: &str) -> String {
    house.model_is_asked(task);
    let requests = house.model_requests(task);
    let messages = requests.last().expect("it was asked")["body"]["messages"].clone();
    let messages = messages.as_array().expect("a list").clone();
    let text = |content: &Value| match content {
        Value::String(text) => text.clone(),
        parts => {
            let parts = parts.as_array().expect("text or parts");
            let texts = parts.iter().filter_map(|part| part["text"].as_str());
            texts.collect::<Vec<_>>().join("\n")
        }
    };
    let mut asked = messages
        .iter()
        .rev()
        .filter(|message| message["role"] == "user");
    let newest = asked
        .find_map(|message| Some(text(&message["content"])).filter(|text| text.contains(task)));
    newest.expect("the task is there")
}

/// The line of a brief that calls `dispatch` with this command.
#[track_caller]
fn line<'a>(brief: &'a str, command: &str) -> &'a str {
    let call = format!("/dispatch {command} --label ");
    let mut lines = brief.lines().filter(|line| line.contains(&call));
    let (line, other) = (lines.next(), lines.next());
    assert_eq!(other, None, "{brief}");
    line.unwrap_or_else(|| panic!("no line for {command}:\n{brief}"))
}

#[rstest]
fn an_agent_runs_the_very_lines_that_it_was_given(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = Gateway::start_with(version, "contract", &["--telegram"]) else {
        return;
    };
    let house = gateway.house();
    let label = "it's \"$HOME\" `id` --now";
    let task = "  Mind \"quotes\", $(touch hit), `touch hit`, $HOME, \\n, %s and a \0.\r\n\n\t--label x --summary y\n\u{1f336} @fake gate=given tool=exec args={\"command\":\"true\"} reply=\"Last words.\"\n\n";
    std::fs::write(house.root().join("task"), task).expect("writable");
    let words = [
        "enqueue",
        "--label",
        label,
        "--message-file",
        "task",
        "--deliver-to",
        CHAT,
    ];
    house.dispatch(&words).exits(0);
    let brief = shown(&house, "Mind \"quotes\"");
    assert!(brief.contains(task), "{brief}");
    assert_eq!(brief.matches("ORIGIN_CHAT_ID").count(), 1, "{brief}");
    let named = format!("\nORIGIN_CHAT_ID: {CHAT}\n\n{task}");
    assert!(brief.contains(&named), "{brief}");
    assert!(!brief.contains(&gateway.token()), "{brief}");

    let note = line(&brief, "note");
    let done = line(&brief, "done");
    // A run this short is let through in the way that the brief names.
    let command = format!(
        "exec > '{}' 2>&1; cd /; {note} && {{ {done} || {done} --force-done --reason 'It was a short one'; }}",
        house.root().join("said").display()
    );
    let forced = format!("tool=exec args={} rounds=9", json!({"command": command}));
    gateway.force(&forced, 1);
    gateway.open_gate("given");
    let entry = house.settled(label);
    let said = std::fs::read_to_string(house.root().join("said")).unwrap_or_default();
    assert_eq!(entry["status"], "done", "{entry:#}\n{said}");
    assert_eq!(entry["summary"], "What came of it", "{entry:#}\n{said}");
    for told in ["What is done, and what comes next", "What came of it"] {
        in_a_runs_time(told, || {
            (!sent(&gateway, CHAT, told).is_empty()).then_some(())
        });
    }
    assert_eq!(house.entry(label)["noteCount"], 1, "{said}");

    // The session goes on with another generation, whose signal is another.
    let again = "Once more. @fake reply=\"Again.\"";
    let words = [
        "enqueue",
        "--label",
        label,
        "--message",
        again,
        "--deliver-to",
        CHAT,
        "--mode",
        "reuse",
    ];
    // Its watcher stays until then.
    house.with_last_words(label);
    let newer = house.dispatch(&words).exits(0).json();
    let brief = shown(&house, "Once more.");
    assert_eq!(brief.matches("ORIGIN_CHAT_ID").count(), 1, "{brief}");
    let generation = format!(" --generation {} ", newer["generation"]);
    assert!(line(&brief, "done").contains(&generation), "{brief}");
    assert_eq!(house.reply(label), "Again.");
}

#[rstest]
fn a_prompt_that_the_gateway_would_not_take_is_refused_before_anything_is_written(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    // The gateway says how much it takes: 25 MiB, of which the text's escapes take a part.
    let prompt = format!("Too much.{}", "\u{1}".repeat(25 * 1024 * 1024 / 6));
    std::fs::write(house.root().join("long"), prompt).expect("writable");
    let words = [
        "enqueue",
        "--label",
        "long",
        "--message-file",
        "long",
        "--no-monitor",
    ];
    let refused = house.dispatch(&words).exits(2);
    assert!(
        refused.stderr.contains(
            "the prompt is too long for the gateway: with everything around it the call has 2621"
        ),
        "{}",
        refused.stderr
    );
    assert!(!house.ledger_path().exists());
    assert!(!house.state().join("prompts").exists());
}
