//! The session store and the transcript, in the shape that OpenClaw's readers know.

use serde_json::{Value, json};

use crate::support::{House, eventually};

fn rfc3339(value: &Value) -> bool {
    value
        .as_str()
        .is_some_and(|text| chrono::DateTime::parse_from_rfc3339(text).is_ok())
}

#[test]
fn a_transcript_is_a_chain_of_enveloped_lines_from_the_prompt_to_the_end() {
    let house = House::new();
    let words = [
        "enqueue",
        "--label",
        "t",
        "--message",
        "the task",
        "--",
        "sh",
        "-c",
        "echo hi",
    ];
    house.dispatch(&words).exits(0);
    let entry = house.ended("t");
    let lines = house.transcript("t");
    let header = &lines[0];
    assert_eq!(header["type"], "session");
    assert_eq!(header["version"], 3);
    assert_eq!(header["id"], entry["sessionId"]);
    assert_eq!(header["cwd"], json!(house.root()));
    let messages = &lines[1..];
    let mut parent = Value::Null;
    for line in messages {
        assert_eq!(line["type"], "message");
        assert_eq!(line["parentId"], parent);
        assert_eq!(line["dispatch"]["runId"], entry["runId"]);
        assert!(rfc3339(&line["timestamp"]), "{line}");
        parent = line["id"].clone();
    }
    assert_eq!(messages[0]["message"]["role"], "user");
    assert_eq!(
        messages[0]["message"]["content"],
        json!([{"type": "text", "text": "the task"}])
    );
    let end = &messages[messages.len() - 1];
    assert_eq!(end["message"]["role"], "assistant");
    assert_eq!(end["message"]["stopReason"], "stop");
    assert_eq!(
        end["message"]["content"],
        json!([{"type": "text", "text": "hi\n"}])
    );
    assert_eq!(end["dispatch"]["end"], true);
}

#[test]
fn the_session_store_tells_of_a_run_while_it_goes_on_and_when_it_has_ended() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("s", "read go < gate");
    let row = eventually("the row of the running session", || {
        let row = house.session_row("s");
        (row["status"] == "running").then_some(row)
    });
    let entry = house.entry("s");
    let key = entry["sessionKey"].as_str().expect("a key");
    assert!(key.starts_with("agent:main:subagent:"), "{key}");
    assert_eq!(row["sessionId"], entry["sessionId"]);
    let file = row["sessionFile"].as_str().expect("a path");
    assert!(file.ends_with(&format!(
        "{}.jsonl",
        entry["sessionId"].as_str().expect("an id")
    )));
    assert!(
        row["startedAt"].is_i64() && row["endedAt"].is_null(),
        "{row}"
    );
    gate.open();
    house.ended("s");
    let row = eventually("the row is closed", || {
        let row = house.session_row("s");
        (row["status"] == "done").then_some(row)
    });
    assert!(
        row["endedAt"].as_i64() >= row["startedAt"].as_i64(),
        "{row}"
    );
}

#[test]
fn output_is_in_the_transcript_while_the_command_runs() {
    let house = House::new();
    let (first, second) = (house.gate("first"), house.gate("second"));
    house.enqueue(
        "o",
        "printf 'one é'; read go < first; echo two; read go < second; echo three",
    );
    eventually("the first words", || {
        (house.streamed("o") == "one é").then_some(())
    });
    first.open();
    eventually("the second words", || {
        (house.streamed("o") == "one étwo\n").then_some(())
    });
    assert_eq!(house.entry("o")["status"], "running");
    second.open();
    house.ended("o");
    assert_eq!(house.full_text("o"), "one étwo\nthree\n");
}

#[test]
fn a_failed_command_ends_with_its_exit_code_its_last_stderr_and_its_text() {
    let house = House::new();
    house.enqueue(
        "e",
        "echo half a result; echo 'what went wrong: ü' >&2; exit 7",
    );
    let entry = house.ended("e");
    assert_eq!(entry["status"], "error");
    assert_eq!(entry["failure"]["kind"], "command");
    let message = entry["failure"]["message"].as_str().expect("a message");
    assert_eq!(
        message,
        "the command exited with code 7: what went wrong: ü"
    );
    let lines = house.transcript("e");
    let end = &lines[lines.len() - 1]["message"];
    assert_eq!(end["stopReason"], "error");
    assert_eq!(end["errorMessage"], message);
    assert_eq!(end["content"][0]["text"], "half a result\n");
    assert_eq!(house.full_text("e"), "half a result\n");
    house.dispatch(&["wait", "e"]).exits(1);
}

#[test]
fn a_command_that_dies_of_a_signal_ends_with_its_name() {
    let house = House::new();
    house.enqueue("k", "echo so far; kill -SEGV $$");
    let entry = house.ended("k");
    assert_eq!(entry["failure"]["kind"], "command");
    let message = entry["failure"]["message"].as_str().expect("a message");
    assert!(
        message.starts_with("the command was ended by SIGSEGV"),
        "{message}"
    );
    assert!(house.full_text("k").contains("so far"));
}
