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
