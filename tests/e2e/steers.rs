//! Messages into a running session.

use rstest::rstest;
use serde_json::Value;

use super::gateways::{GatewayHouse, Version, in_a_runs_time};
use crate::support::finish;

#[track_caller]
fn send(house: &GatewayHouse, label: &str, message: &str, more: &[&str]) -> Value {
    let words = ["send", "--label", label, "--message", message];
    house.dispatch(&[&words, more].concat()).exits(0).json()
}

#[rstest]
fn a_message_is_seen_by_the_model_and_its_answer_is_the_result(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    house.ask(
        "work",
        "Work for a while. @fake gate=work reply=\"Worked.\"",
        &[],
    );
    house.model_is_asked("Work for a while.");
    let sent = send(
        &house,
        "work",
        "Add a word. @fake reply=\"Worked, a word.\"",
        &[],
    );
    let outcome = sent["outcome"].as_str().expect("a text");
    assert!(
        ["injected", "queued", "pending"].contains(&outcome),
        "{sent:#}"
    );
    assert_eq!(house.entry("work")["runIds"][1], sent["runId"]);
    version.gateway().expect("it runs").open_gate("work");
    assert_eq!(house.reply("work"), "Worked, a word.");
    assert_eq!(house.model_requests("Add a word.").len(), 1);
    let entry = house.entry("work");
    assert_eq!(entry["attempt"], 1, "{entry:#}");
}

#[rstest]
fn a_message_between_tool_calls_joins_the_turn(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let prompt = "Use a tool. @fake gate=tool delay=5 tool=exec args={\"command\":\"echo hi\"} rounds=3 reply=\"Used it.\"";
    house.ask("tool", prompt, &[]);
    house.model_is_asked("Use a tool.");
    let message = "Stop using it. @fake reply=\"Not used.\"";
    let words = ["send", "--label", "tool", "--message", message, "--wait"];
    let sending = house.start("dispatch", &words);
    in_a_runs_time("the message is on its way", || {
        house.entry("tool")["runIds"][1].is_string().then_some(())
    });
    version.gateway().expect("it runs").open_gate("tool");
    let waited = finish(sending).exits(0).json();
    assert_eq!(waited["status"], "done", "{waited:#}");
    assert_eq!(waited["lastReply"], "Not used.", "{waited:#}");
    assert_eq!(house.model_requests("Stop using it.").len(), 1);
}

#[rstest]
fn an_interruption_is_no_failure(#[values(Version::Old, Version::New)] version: Version) {
    let Some(house) = version.house() else { return };
    house.ask("turn", "Go the wrong way. @fake hang", &[]);
    house.model_is_asked("Go the wrong way.");
    let message = "Go the right way. @fake reply=\"Turned round.\"";
    let sent = send(&house, "turn", message, &["--interrupt"]);
    assert_eq!(sent["outcome"], "interrupted", "{sent:#}");
    assert_eq!(house.reply("turn"), "Turned round.");
    assert_eq!(house.entry("turn")["status"], "done");
}

#[rstest]
fn a_session_that_has_ended_takes_no_message(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    house.ask("over", "Be quick. @fake reply=\"Was quick.\"", &[]);
    assert_eq!(house.reply("over"), "Was quick.");
    let words = [
        "steer",
        "--label",
        "over",
        "--message",
        "Too late for this.",
    ];
    let refused = house.dispatch(&words).exits(1);
    assert_eq!(
        refused.stderr,
        "[dispatch] label \"over\" is not running: it is done; go on with its session by: dispatch enqueue --label over --mode reuse\n"
    );
    assert!(house.model_requests("Too late for this.").is_empty());
    // The session itself may be spoken to.
    let key = house.entry("over")["sessionKey"].clone();
    let key = key.as_str().expect("a text");
    let message = "One more thing. @fake reply=\"One more reply.\"";
    let words = ["send", "--session-key", key, "--message", message, "--wait"];
    let answered = house.dispatch(&words).exits(0).json();
    assert_eq!(answered["lastReply"], "One more reply.", "{answered:#}");
    assert_eq!(house.entry("over")["summary"], "Was quick.");
    let words = [
        "send",
        "--session-key",
        "agent:main:subagent:nobody",
        "--message",
        "x",
    ];
    let unknown = house.dispatch(&words).exits(1);
    assert!(
        unknown
            .stderr
            .contains("has no session agent:main:subagent:nobody"),
        "{unknown:?}"
    );
}
