//! Tests of reading transcripts from files.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::session::terminal::Pending;

const HEADER: &str = r#"{"type":"session","version":3,"id":"s1"}"#;

struct Transcript {
    _dir: TempDir,
    path: PathBuf,
}

fn transcript(lines: &[&str]) -> Transcript {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s1.jsonl");
    fs::write(&path, text(lines)).unwrap();
    Transcript { _dir: dir, path }
}

fn text(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

fn user(id: &str) -> String {
    format!(r#"{{"type":"message","id":"{id}","message":{{"role":"user","content":"go"}}}}"#)
}

fn says(id: &str, text: &str) -> String {
    format!(
        r#"{{"type":"message","id":"{id}","message":{{"role":"assistant","content":"{text}","stopReason":"stop"}}}}"#
    )
}

fn reply(reading: &TurnReading) -> &str {
    match &reading.turn {
        Turn::Reply(reply) => &reply.text,
        other => panic!("no reply: {other:?}"),
    }
}

#[test]
fn a_missing_file_is_no_evidence() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.jsonl");
    let reading = read_turn(&path, &Baseline::default()).unwrap();
    assert_eq!(reading.turn, Turn::Nothing);
    assert_eq!(
        (reading.last_activity_ms, reading.len, reading.restarted),
        (None, 0, false)
    );
    assert_eq!(take_baseline(&path, None).unwrap(), Baseline::default());
    let baseline = take_baseline(&path, Some("s1")).unwrap();
    assert_eq!(baseline.session_id.as_deref(), Some("s1"));
    assert_eq!(read_all(&path).unwrap().count(), 0);
}

#[test]
fn only_what_follows_the_baseline_counts() {
    let t = transcript(&[HEADER, &user("1"), &says("2", "old")]);
    let baseline = take_baseline(&t.path, Some("s1")).unwrap();
    assert_eq!(baseline.offset, fs::metadata(&t.path).unwrap().len());
    assert_eq!(baseline.last_entry_id.as_deref(), Some("2"));
    let reading = read_turn(&t.path, &baseline).unwrap();
    assert_eq!(reading.turn, Turn::Nothing);
    assert!(reading.last_activity_ms.is_some() && !reading.restarted);

    let old = fs::read_to_string(&t.path).unwrap();
    fs::write(&t.path, old.clone() + &text(&[&user("3")])).unwrap();
    let reading = read_turn(&t.path, &baseline).unwrap();
    assert_eq!(
        reading.turn,
        Turn::MidTurn {
            why: Pending::UserMessage
        }
    );
    fs::write(&t.path, old + &text(&[&user("3"), &says("4", "new")])).unwrap();
    assert_eq!(reply(&read_turn(&t.path, &baseline).unwrap()), "new");
}

#[test]
fn a_baseline_lies_before_a_half_written_line() {
    let t = transcript(&[HEADER, &user("1")]);
    let whole = fs::read_to_string(&t.path).unwrap();
    fs::write(&t.path, format!("{whole}{}", says("2", "late"))).unwrap();
    let baseline = take_baseline(&t.path, None).unwrap();
    assert_eq!(baseline.session_id.as_deref(), Some("s1"));
    assert_eq!(baseline.offset, whole.len() as u64);
    assert_eq!(read_turn(&t.path, &baseline).unwrap().turn, Turn::Nothing);
    fs::write(&t.path, format!("{whole}{}\n", says("2", "late"))).unwrap();
    assert_eq!(reply(&read_turn(&t.path, &baseline).unwrap()), "late");
}

#[test]
fn a_baseline_finds_the_last_id_behind_damaged_and_blank_lines() {
    let t = transcript(&[
        HEADER,
        &user("1"),
        "{broken",
        "",
        r#"{"role":"user","content":"bare"}"#,
    ]);
    let baseline = take_baseline(&t.path, None).unwrap();
    assert_eq!(baseline.last_entry_id.as_deref(), Some("1"));
    let bare = r#"{"role":"user","content":"bare"}"#;
    let t = transcript(&vec![bare; 1000]);
    assert_eq!(take_baseline(&t.path, None).unwrap().last_entry_id, None);
}

#[test]
fn a_shorter_file_is_another_one_and_is_read_from_its_start() {
    let t = transcript(&[
        HEADER,
        &user("1"),
        &says("2", "old"),
        &user("3"),
        &says("4", "older"),
    ]);
    let baseline = take_baseline(&t.path, Some("s1")).unwrap();
    fs::write(&t.path, text(&[HEADER, &user("8"), &says("9", "new")])).unwrap();
    let reading = read_turn(&t.path, &baseline).unwrap();
    assert!(reading.restarted);
    assert_eq!(reply(&reading), "new");
}

#[test]
fn an_old_reply_in_a_rewritten_file_is_still_old() {
    let t = transcript(&[
        HEADER,
        &user("1"),
        &says("2", "one"),
        &user("3"),
        &says("4", "two"),
    ]);
    let baseline = take_baseline(&t.path, Some("s1")).unwrap();
    fs::write(&t.path, text(&[HEADER, &says("4", "two")])).unwrap();
    let reading = read_turn(&t.path, &baseline).unwrap();
    assert!(reading.restarted);
    assert_eq!(reading.turn, Turn::Nothing);
}

#[test]
fn a_file_of_another_session_is_read_from_its_start() {
    let t = transcript(&[HEADER, &user("1")]);
    let baseline = take_baseline(&t.path, Some("s1")).unwrap();
    let other = HEADER.replace("s1", "s2");
    let lines = [
        other.as_str(),
        &user("8"),
        &says("9", "new"),
        r#"{"type":"x"}"#,
    ];
    fs::write(&t.path, text(&lines)).unwrap();
    let reading = read_turn(&t.path, &baseline).unwrap();
    assert!(reading.restarted);
    assert_eq!(reply(&reading), "new");
    let bare = Baseline {
        session_id: None,
        ..baseline
    };
    let reading = read_turn(&t.path, &bare).unwrap();
    assert_eq!(reply(&reading), "new");
}

#[test]
fn an_offset_that_is_no_start_of_a_line_means_another_file() {
    let t = transcript(&[HEADER, &user("1"), &says("2", "new")]);
    let baseline = Baseline {
        offset: 7,
        ..Baseline::default()
    };
    let reading = read_turn(&t.path, &baseline).unwrap();
    assert!(reading.restarted);
    assert_eq!(reply(&reading), "new");
}

#[test]
fn lines_that_cannot_be_read_are_skipped_and_counted() {
    let t = transcript(&[
        HEADER,
        &user("1"),
        &says("2", "Done."),
        "{broken",
        "",
        "  ",
        "7",
    ]);
    let reading = read_turn(&t.path, &Baseline::default()).unwrap();
    assert_eq!((reply(&reading), reading.skipped), ("Done.", 2));
}

#[test]
fn all_lines_come_in_order_with_their_places() {
    let t = transcript(&[HEADER, "{broken", "", &user("1")]);
    fs::write(&t.path, fs::read_to_string(&t.path).unwrap() + "{\"half\":").unwrap();
    let mut all = read_all(&t.path).unwrap();
    let lines: Vec<PositionedLine> = all.by_ref().map(Result::unwrap).collect();
    assert_eq!(all.skipped(), 1);
    let header_end = HEADER.len() as u64 + 1;
    assert_eq!((lines[0].offset, lines[0].end), (0, header_end));
    assert_eq!(lines[1].offset, header_end + 9);
    assert_eq!(lines[1].line.id(), Some("1"));
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_directory_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(read_turn(dir.path(), &Baseline::default()).is_err());
}

#[test]
fn a_runs_turn_is_told_by_its_own_lines_alone() {
    let ours = |id: &str, message: &str| {
        format!(
            r#"{{"dispatch":{{"runId":"r"}},"type":"message","id":"{id}","message":{message}}}"#
        )
    };
    let of = |more: &[&str]| {
        let prompt = ours("1", r#"{"role":"user","content":"go"}"#);
        let end = ours(
            "2",
            r#"{"role":"assistant","content":"whole","stopReason":"stop"}"#,
        );
        let file = transcript(&[&[HEADER, &prompt, &end], more].concat());
        read_run_turn(&file.path, &Baseline::default(), "r").unwrap()
    };
    let event = r#"{"type":"custom","customType":"openclaw:prompt-error","data":{"error":"no"}}"#;
    let other = r#"{"dispatch":{"runId":"q"},"type":"message","id":"9","message":{"role":"user","content":"next"}}"#;
    let cases: [&[&str]; 5] = [
        &[],
        &[&user("3")],
        &[&says("4", "theirs")],
        &[event],
        &[other],
    ];
    for more in cases {
        assert_eq!(reply(&of(more)), "whole", "{more:?}");
    }
    let nothing = transcript(&[HEADER, &user("3"), &says("4", "theirs")]);
    let reading = read_run_turn(&nothing.path, &Baseline::default(), "r").unwrap();
    assert_eq!(reading.turn, Turn::Nothing);
}
