//! Another program writes to a session's transcript while its run is under way.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rstest::rstest;
use serde_json::{Value, json};

use crate::support::{House, eventually, kill_hard};

/// What another program adds.
const THEIRS: &str =
    "{\"type\":\"message\",\"id\":\"x1\",\"message\":{\"role\":\"user\",\"content\":\"theirs\"}}\n";

/// A command that says what it has to say and then waits to be told to stop.
const PATIENT: &str =
    "trap 'echo last words; exit 0' TERM; echo first; while :; do read go < never; done";

pub fn transcript_path(house: &House, label: &str) -> PathBuf {
    let id = house.entry(label)["sessionId"].clone();
    let name = format!("{}.jsonl", id.as_str().expect("a session"));
    house.state().join("sessions").join(name)
}

/// Appends as a program does that knows nothing of locks.
pub fn append(house: &House, label: &str, text: &str) {
    let path = transcript_path(house, label);
    let file = fs::OpenOptions::new().append(true).open(path);
    let mut file = file.expect("the transcript is there");
    file.write_all(text.as_bytes()).expect("writable");
}

#[track_caller]
fn said_first(house: &House, label: &str) {
    eventually("the first words", || {
        (house.streamed(label) == "first\n").then_some(())
    });
}

/// The label failed of a takeover, with the text of the run kept and nothing of any budget spent.
#[track_caller]
fn is_taken_over(house: &House, label: &str, seen: &str) -> Value {
    let entry = house.ended(label);
    assert_eq!(entry["status"], "error", "{entry:#}");
    assert_eq!(entry["failure"]["kind"], "session-takeover", "{entry:#}");
    let message = entry["failure"]["message"].as_str().expect("a message");
    assert!(
        message.starts_with(seen) && message.ends_with("; the command was stopped"),
        "{message}"
    );
    assert!(entry["retryCount"].is_null(), "{entry:#}");
    let text = house.full_text(label);
    assert!(text.contains("first\nlast words\n"), "{text}");
    eventually("the row is closed", || {
        (house.session_row(label)["status"] == "failed").then_some(())
    });
    entry
}

/// The last line of the transcript ends the run with all that it said.
#[track_caller]
fn ends_whole(house: &House, label: &str) {
    let lines = house.transcript(label);
    let ends: Vec<&Value> = lines
        .iter()
        .filter(|line| line["dispatch"]["end"] == true)
        .collect();
    let last = lines.last().expect("a line");
    assert_eq!(ends, [last]);
    assert_eq!(last["dispatch"]["kind"], "session-takeover");
    assert_eq!(last["message"]["content"][0]["text"], "first\nlast words\n");
}

#[test]
fn a_run_whose_transcript_another_program_adds_to_is_stopped_and_both_texts_stay() {
    let house = House::new();
    let _never = house.gate("never");
    house.enqueue("t", PATIENT);
    said_first(&house, "t");
    append(&house, "t", THEIRS);
    let seen = format!(
        "another program added {} bytes to the session's transcript (/",
        THEIRS.len()
    );
    is_taken_over(&house, "t", &seen);
    ends_whole(&house, "t");
    let lines = house.transcript("t");
    let roles: Vec<&Value> = lines.iter().map(|line| &line["message"]["role"]).collect();
    // Between their line and the end line nothing was added.
    let expected = [
        &Value::Null,
        &json!("user"),
        &json!("assistant"),
        &json!("user"),
        &json!("assistant"),
    ];
    assert_eq!(roles, expected);
    assert_eq!(lines[3]["message"]["content"], "theirs");
}

#[rstest]
#[case::cut("cut the session's transcript from ")]
#[case::replaced("put another file in the place of the session's transcript (")]
#[case::removed("removed the session's transcript (")]
#[case::rewritten("changed the session's transcript in place (")]
fn a_run_whose_own_lines_are_taken_away_is_stopped_and_says_where_its_text_is(#[case] seen: &str) {
    let house = House::new();
    let _never = house.gate("never");
    house.enqueue("t", PATIENT);
    said_first(&house, "t");
    let path = transcript_path(&house, "t");
    let whole = fs::read_to_string(&path).expect("readable");
    let header = whole.lines().next().expect("a header");
    let kept = match seen.split(' ').next().expect("a word") {
        "cut" => {
            let file = fs::OpenOptions::new().write(true).open(&path);
            let len = header.len() as u64 + 1;
            file.expect("writable").set_len(len).expect("writable");
            header.to_owned()
        }
        "put" => {
            let other = path.with_extension("other");
            fs::write(&other, THEIRS).expect("writable");
            fs::rename(&other, &path).expect("same directory");
            THEIRS.to_owned()
        }
        "removed" => {
            fs::remove_file(&path).expect("removable");
            String::new()
        }
        _ => {
            let file = fs::OpenOptions::new().write(true).open(&path);
            let changed = whole.replace("first", "FIRST");
            let mut file = file.expect("writable");
            file.write_all(changed.as_bytes()).expect("writable");
            // The file system's clock may stand still for some milliseconds.
            let later = SystemTime::now() + Duration::from_secs(1);
            file.set_modified(later).expect("our own file");
            changed
        }
    };
    let entry = is_taken_over(&house, "t", &format!("another program {seen}"));
    let stdout = house.run_dir("t").join("stdout");
    let named = format!("what the command said is in {}", stdout.display());
    let message = entry["failure"]["message"].as_str().expect("a message");
    assert!(message.contains(&named), "{message}");
    assert_eq!(
        fs::read_to_string(stdout).expect("kept"),
        "first\nlast words\n"
    );
    ends_whole(&house, "t");
    let now = fs::read_to_string(&path).expect("readable");
    assert!(now.starts_with(&kept), "written over: {now}");
}

#[test]
fn a_command_that_writes_to_its_own_transcript_is_another_program_too() {
    let house = House::new();
    let _never = house.gate("never");
    let script = format!(
        "trap 'echo last words; exit 0' TERM; echo first
        for file in \"$DISPATCH_HOME\"/sessions/*.jsonl; do echo '{}' >> \"$file\"; done
        while :; do read go < never; done",
        THEIRS.trim_end()
    );
    house.enqueue("t", &script);
    is_taken_over(&house, "t", "another program added ");
}

#[test]
fn half_a_line_of_another_program_stays_and_the_end_line_begins_a_new_one() {
    let house = House::new();
    let _never = house.gate("never");
    house.enqueue("t", PATIENT);
    said_first(&house, "t");
    append(&house, "t", "{\"half\":");
    is_taken_over(&house, "t", "another program added 8 bytes ");
    let text = fs::read_to_string(transcript_path(&house, "t")).expect("readable");
    assert!(text.contains("\n{\"half\":\n{"), "{text}");
}

#[test]
fn nothing_is_lost_of_a_program_that_goes_on_writing_while_the_run_is_stopped() {
    let house = House::new();
    let script = "trap 'exit 0' TERM; while :; do echo first; done";
    house.enqueue("t", script);
    eventually("the first words", || {
        house.streamed("t").starts_with("first").then_some(())
    });
    let mut theirs = Vec::new();
    while house.entry("t")["status"] == "running" {
        let line =
            json!({"message": {"role": "user", "content": format!("line {}", theirs.len())}});
        append(&house, "t", &format!("{line}\n"));
        theirs.push(line);
    }
    let lines = house.transcript("t");
    let kept: Vec<&Value> = lines
        .iter()
        .filter(|line| line["dispatch"].is_null() && line["message"].is_object())
        .collect();
    assert_eq!(kept, theirs.iter().collect::<Vec<_>>());
    let ends = lines.iter().filter(|line| line["dispatch"]["end"] == true);
    assert_eq!(ends.count(), 1);
    assert_eq!(
        house.entry("t")["failure"]["kind"],
        "session-takeover",
        "{:#}",
        house.entry("t")
    );
}

/// Leaves the run without a watcher and a runner, its command at work.
fn alone(house: &House, label: &str) {
    kill_hard(house.watcher_pid(label));
    kill_hard(house.runner_pid(label));
}

#[test]
fn what_is_added_while_the_run_has_no_runner_is_seen_by_the_next() {
    let house = House::new();
    let _never = house.gate("never");
    house.enqueue("t", PATIENT);
    said_first(&house, "t");
    alone(&house, "t");
    append(&house, "t", THEIRS);
    house.recover();
    is_taken_over(
        &house,
        "t",
        "another program added a line to the session's transcript (",
    );
    ends_whole(&house, "t");
}

#[test]
fn what_is_taken_away_while_the_run_has_no_runner_is_seen_by_the_next() {
    let house = House::new();
    let _never = house.gate("never");
    house.enqueue("t", PATIENT);
    said_first(&house, "t");
    alone(&house, "t");
    fs::remove_file(transcript_path(&house, "t")).expect("removable");
    house.recover();
    is_taken_over(&house, "t", "another program removed, cut or replaced ");
    ends_whole(&house, "t");
}

#[test]
fn half_a_line_of_a_killed_runner_is_no_takeover() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("t", &format!("echo first; {}; echo second", gate.pass()));
    said_first(&house, "t");
    alone(&house, "t");
    // As a runner leaves it that is killed in the middle of its next line.
    let chunk = house.transcript("t").pop().expect("a line").to_string();
    append(&house, "t", &chunk[..chunk.len() / 2]);
    house.recover();
    house.runner_pid("t");
    gate.open();
    assert_eq!(house.ended("t")["status"], "done");
    assert_eq!(house.full_text("t"), "first\nsecond\n");
    // Each line is JSON, and nobody's words are there twice.
    assert_eq!(house.streamed("t").matches("first").count(), 1);
}

#[test]
fn a_command_that_ended_by_itself_before_anybody_saw_it_keeps_its_reply() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("t", &format!("echo first; {}; echo second", gate.pass()));
    said_first(&house, "t");
    alone(&house, "t");
    append(&house, "t", THEIRS);
    gate.open();
    eventually("the command's own end", || {
        house.run_dir("t").join("exit.json").exists().then_some(())
    });
    house.recover();
    assert_eq!(house.ended("t")["status"], "done");
    assert_eq!(house.full_text("t"), "first\nsecond\n");
    let lines = house.transcript("t");
    assert!(
        lines
            .iter()
            .any(|line| line["message"]["content"] == "theirs")
    );
}

#[rstest]
#[case::a_message(THEIRS)]
#[case::half_a_line("{\"half\":")]
fn what_is_added_behind_the_end_line_changes_nothing(#[case] text: &str) {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("t", &format!("echo first; {}; echo second", gate.pass()));
    let runner = house.runner_pid("t");
    kill_hard(house.watcher_pid("t"));
    gate.open();
    eventually("the runner leaves", || {
        (!crate::support::is_alive(runner)).then_some(())
    });
    append(&house, "t", text);
    let before = fs::read(transcript_path(&house, "t")).expect("readable");
    // Nobody has recorded the end yet: who looks now finds their text behind it.
    assert_eq!(house.entry("t")["status"], "running");
    house.recover();
    assert_eq!(house.ended("t")["status"], "done");
    assert_eq!(house.full_text("t"), "first\nsecond\n");
    let after = fs::read(transcript_path(&house, "t")).expect("readable");
    assert_eq!(before, after);
}

#[test]
fn a_later_run_of_the_session_goes_on_behind_what_another_program_left() {
    let house = House::new();
    house.enqueue("t", "echo one");
    house.ended("t");
    append(&house, "t", THEIRS);
    append(&house, "t", "{\"half\":");
    let words = [
        "enqueue", "--label", "t", "--mode", "reuse", "--", "sh", "-c", "echo two",
    ];
    eventually("everything leaves", || {
        house.processes().is_empty().then_some(())
    });
    house.dispatch(&words).exits(0);
    assert_eq!(house.ended("t")["status"], "done");
    assert_eq!(house.full_text("t"), "two\n");
    let text = fs::read_to_string(transcript_path(&house, "t")).expect("readable");
    assert!(
        text.contains(THEIRS) && text.contains("\n{\"half\":\n{"),
        "{text}"
    );
}
