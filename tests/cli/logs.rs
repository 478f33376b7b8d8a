//! `logs`: the transcript, readable, and followed live; every text appears once.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::support::House;

/// The text with each `[hh:mm:ss]` at the beginning of a line as `[TIME]`.
fn without_times(text: &str) -> String {
    let line = |line: &str| match line.split_once("] ") {
        Some((time, rest)) if time.len() == 9 && time.starts_with('[') => {
            format!("[TIME] {rest}\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

const TALE: &str = "\
[TIME] user
Say it
[TIME] assistant
one
two
[TIME] ended
";

#[test]
fn a_transcript_reads_as_a_tale() {
    let house = House::new();
    house
        .dispatch(&[
            "enqueue",
            "--label",
            "x",
            "--message",
            "Say it",
            "--",
            "sh",
            "-c",
            "echo one; printf two; echo oops >&2",
        ])
        .exits(0);
    house.ended("x");
    let logs = house.dispatch(&["logs", "--label", "x"]).exits(0);
    assert_eq!(without_times(&logs.stdout), TALE);
    let followed = house.dispatch(&["logs", "--label", "x", "-f"]).exits(0);
    assert_eq!(followed.stdout, logs.stdout);
    let stderr = house
        .dispatch(&["logs", "--label", "x", "--stderr"])
        .exits(0);
    assert_eq!(stderr.stdout, "oops\n");
}

#[test]
fn streamed_text_is_followed_live_and_appears_exactly_once() {
    let house = House::new();
    let gate = house.gate("gate");
    let script = format!("echo one; {}; printf two", gate.pass());
    house
        .dispatch(&[
            "enqueue",
            "--label",
            "x",
            "--message",
            "Say it",
            "--",
            "sh",
            "-c",
            &script,
        ])
        .exits(0);
    let mut command = house.command("dispatch");
    command
        .args(["logs", "--label", "x", "--follow"])
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    while !text.ends_with("one\n") {
        let read = reader.read_line(&mut text).expect("readable");
        assert!(read > 0, "it ended early: {text}");
    }
    gate.open();
    reader.read_to_string(&mut text).expect("readable");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(without_times(&text), TALE);
}

#[test]
fn stderr_is_followed_to_the_end() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("x", &format!("echo one >&2; {}; echo two >&2", gate.pass()));
    let mut command = house.command("dispatch");
    command
        .args(["logs", "--label", "x", "--stderr", "-f"])
        .stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut reader = BufReader::new(child.stdout.take().expect("piped"));
    let mut text = String::new();
    reader.read_line(&mut text).expect("readable");
    assert_eq!(text, "one\n");
    gate.open();
    reader.read_to_string(&mut text).expect("readable");
    assert_eq!(text, "one\ntwo\n");
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn raw_is_the_transcript_byte_for_byte() {
    let house = House::new();
    house.enqueue("x", "echo hi");
    house.ended("x");
    let raw = house
        .dispatch(&["logs", "--label", "x", "--raw"])
        .exits(0)
        .stdout;
    let id = house.entry("x")["sessionId"]
        .as_str()
        .expect("an id")
        .to_owned();
    let file = house
        .state_files()
        .into_iter()
        .find(|(path, _)| path.ends_with(format!("{id}.jsonl")));
    assert_eq!(raw.as_bytes(), file.expect("the transcript is there").1);
    for line in raw.lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("each line is JSON");
    }
}

#[test]
fn a_failure_is_told_at_the_end() {
    let house = House::new();
    house.enqueue("x", "echo hi; exit 3");
    house.ended("x");
    let logs = house.dispatch(&["logs", "--label", "x"]).exits(0).stdout;
    assert_eq!(
        without_times(&logs),
        "[TIME] user\n/usr/bin/sh -c echo hi; exit 3\n[TIME] assistant\nhi\n[TIME] ended: the command exited with code 3\n"
            .replace("/usr/bin/sh", &shell())
    );
}

/// Where PATH finds the shell.
fn shell() -> String {
    let path = std::env::var_os("PATH").expect("set");
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join("sh"))
        .find(|sh| sh.is_file());
    found.expect("there is a shell").display().to_string()
}

#[test]
fn a_label_of_another_tool_says_so() {
    let house = super::house_with_one_label();
    super::refused(
        &house,
        &["logs", "--label", "nightly-build"],
        1,
        "label \"nightly-build\" was started by another tool, which has its transcript",
    );
}

/// A house whose label `x` has this transcript.
fn house_with(transcript: &str) -> House {
    let house = House::new();
    house.write_ledger(
        r#"{"x": {"status": "done", "generation": 1, "backend": "local", "runId": "r", "sessionId": "s",
  "sessionKey": "agent:main:subagent:11111111-2222-4333-8444-555555555555"}}"#,
    );
    let sessions = house.state().join("sessions");
    std::fs::create_dir_all(&sessions).expect("creatable");
    std::fs::write(sessions.join("s.jsonl"), transcript).expect("writable");
    house
}

/// What `logs` tells of a transcript that a real gateway wrote.
fn told(version: &str, name: &str) -> String {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/transcripts");
    let path = fixtures.join(version).join(format!("{name}.jsonl"));
    let transcript = std::fs::read_to_string(path).expect("the fixture is there");
    let house = house_with(&transcript);
    house.dispatch(&["logs", "--label", "x"]).exits(0).stdout
}

#[test]
fn tool_calls_of_both_generations_read_as_a_line_and_the_beginning_of_the_answer() {
    assert_eq!(
        told("2026.5.18", "tool-calls"),
        r#"[12:17:17] user
[Sat 2026-11-21 12:17 UTC] Read hello.txt twice. @fake tool=read args={"path":"hello.txt"} rounds=2 reply="The file says hi."
[12:17:17] assistant
  calls read(path: "hello.txt")
[12:17:17] read answers, 9 bytes
  hi there
[12:17:17] assistant
  calls read(path: "hello.txt")
[12:17:18] read answers, 9 bytes
  hi there
[12:17:18] assistant
The file says hi.
"#
    );
    assert_eq!(
        told("2026.9.6", "tool-calls"),
        r#"[12:17:19] user
Read hello.txt twice. @fake tool=read args={"path":"hello.txt"} rounds=2 reply="The file says hi."
[12:17:19] assistant
  calls read(path: "hello.txt")
[12:17:19] read answers, 9 bytes
  hi there
[12:17:19] assistant
  calls read(path: "hello.txt")
[12:17:19] read answers, 9 bytes
  hi there
[12:17:19] assistant
The file says hi.
"#
    );
}

#[test]
fn failures_and_what_a_gateway_put_in_are_marked() {
    assert_eq!(
        told("2026.5.18", "error-529"),
        "\
[12:17:20] user
[Sat 2026-11-21 12:17 UTC] This will be overloaded. @fake error=529
[12:17:22] assistant failed: 529 Overloaded
[12:17:25] assistant failed: 529 Overloaded
[12:17:31] assistant failed: 529 Overloaded
[12:17:40] assistant failed: 529 Overloaded
"
    );
    assert_eq!(
        told("2026.5.18", "aborted-partial"),
        "\
[12:17:58] assistant (put in by the gateway)
This reply comes in many small pieces and is stopped somewhere in its middle, żó
"
    );
}

#[test]
fn long_answers_are_cut_failed_ones_marked_and_thinking_left_out() {
    let lines: Vec<String> = (1..=20).map(|n| format!("line {n}")).collect();
    let transcript = [
        serde_json::json!({"role": "assistant", "timestamp": 1_795_263_437_000_i64, "content": [
            {"type": "thinking", "thinking": "secret thoughts"},
            {"type": "text", "text": "Let me look."},
            {"type": "tool_use", "id": "1", "name": "exec", "input": {"command": "ls -la\ncat x", "timeout": 5}},
        ]}),
        serde_json::json!({"role": "user", "timestamp": 1_795_263_438_000_i64, "content": [
            {"type": "tool_result", "tool_use_id": "1", "content": lines.join("\n")},
        ]}),
        serde_json::json!({"role": "assistant", "timestamp": 1_795_263_439_000_i64, "content": [
            {"type": "thinking", "thinking": "secret thoughts"},
        ]}),
        serde_json::json!({"role": "toolResult", "toolName": "write", "isError": true,
            "timestamp": 1_795_263_440_000_i64, "content": [{"type": "text", "text": "no\u{1b}[31m room"}]}),
    ];
    let transcript: String = transcript.iter().map(|line| format!("{line}\n")).collect();
    let house = house_with(&transcript);
    assert_eq!(
        house.dispatch(&["logs", "--label", "x"]).exits(0).stdout,
        r#"[12:17:17] assistant
Let me look.
  calls exec(command: "ls -la\ncat x", timeout: 5)
[12:17:18] exec answers, 150 bytes
  line 1
  line 2
  line 3
  line 4
  line 5
  … 15 more lines
[12:17:19] assistant thinks
[12:17:20] write failed, 12 bytes
  no\x1b[31m room
"#
    );
    let raw = house.dispatch(&["logs", "--label", "x", "--raw"]).exits(0);
    assert_eq!(raw.stdout, transcript);
}
