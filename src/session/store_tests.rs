//! Tests of reading the session store.
#![allow(clippy::unwrap_used)]

use std::fs;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;
use tempfile::TempDir;

use super::*;

fn store(content: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.json");
    fs::write(&path, content).unwrap();
    (dir, path)
}

fn row_of(content: &[u8], key: &str) -> Option<SessionRow> {
    let (_dir, path) = store(content);
    read_row(&path, key).unwrap()
}

#[test]
fn a_row_is_read_whole() {
    let row = SessionRow::from_value(json!({
        "sessionId": "s1", "sessionFile": "/home/user/s1.jsonl", "updatedAt": 1_795_263_512_499_i64,
        "status": "running", "startedAt": 1_795_263_512, "endedAt": "2026-11-21T12:18:32.434Z",
        "totalTokens": 8949, "model": "fake-1", "modelProvider": "fake", "label": "l", "abortedLastRun": false,
        "spawnedBy": "agent:main:main", "spawnDepth": 1, "skillsSnapshot": {"big": 1}, "systemPromptReport": {}
    }));
    let expected = SessionRow {
        session_id: Some("s1".into()),
        session_file: Some("/home/user/s1.jsonl".into()),
        updated_at_ms: Some(1_795_263_512_499),
        status: Some(SessionStatus::Running),
        started_at_ms: Some(1_795_263_512_000),
        ended_at_ms: Some(1_795_263_512_434),
        total_tokens: Some(8949),
        model: Some("fake-1".into()),
        model_provider: Some("fake".into()),
        label: Some("l".into()),
        aborted_last_run: Some(false),
        spawned_by: Some("agent:main:main".into()),
        extra: json!({"spawnDepth": 1}).as_object().unwrap().clone(),
    };
    assert_eq!(row, Some(expected));
}

#[test]
fn fields_of_a_wrong_type_count_as_absent() {
    let row = SessionRow::from_value(json!({
        "sessionId": 7, "updatedAt": {}, "status": null, "totalTokens": -1, "abortedLastRun": "no", "model": ""
    }));
    assert_eq!(row, Some(SessionRow::default()));
    assert_eq!(SessionRow::from_value(json!("text")), None);
}

#[rstest]
#[case("running", SessionStatus::Running)]
#[case("done", SessionStatus::Done)]
#[case("failed", SessionStatus::Failed)]
#[case("timeout", SessionStatus::Timeout)]
#[case("killed", SessionStatus::Killed)]
#[case("paused", SessionStatus::Other("paused".into()))]
fn a_status_keeps_its_word(#[case] word: &str, #[case] status: SessionStatus) {
    assert_eq!(SessionStatus::from(word.to_owned()), status);
    assert_eq!(status.as_str(), word);
}

#[test]
fn a_baseline_takes_over_what_the_store_knows() {
    let row = SessionRow {
        session_id: Some("s1".into()),
        status: Some(SessionStatus::Timeout),
        started_at_ms: Some(1),
        ended_at_ms: Some(2),
        ..SessionRow::default()
    };
    let mut baseline = Baseline {
        offset: 9,
        ..Baseline::default()
    };
    row.complete_baseline(&mut baseline);
    assert_eq!(baseline.session_id.as_deref(), Some("s1"));
    assert_eq!(baseline.status.as_deref(), Some("timeout"));
    assert_eq!(
        (baseline.started_at, baseline.ended_at, baseline.offset),
        (Some(1), Some(2), 9)
    );
}

#[test]
fn a_missing_store_has_no_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sessions.json");
    assert_eq!(read_row(&path, "agent:main:main").unwrap(), None);
    assert!(read_rows(&path).unwrap().is_empty());
}

#[test]
fn keys_are_matched_ignoring_case_and_the_exact_one_goes_first_then_the_last() {
    let content = br#"{"agent:m:x": {"sessionId": "lower"}, "agent:M:X": {"sessionId": "upper"}}"#;
    let id = |key| row_of(content, key).and_then(|row| row.session_id);
    assert_eq!(id("agent:m:x").as_deref(), Some("lower"));
    assert_eq!(id("agent:M:X").as_deref(), Some("upper"));
    assert_eq!(id("AGENT:m:X").as_deref(), Some("upper"));
    assert_eq!(id("agent:m:y"), None);
}

#[test]
fn a_row_that_is_no_object_is_no_row() {
    assert_eq!(row_of(br#"{"a": null}"#, "a"), None);
    let (_dir, path) = store(br#"{"a": null, "b": {}}"#);
    assert_eq!(
        read_rows(&path).unwrap(),
        [("b".to_owned(), SessionRow::default())]
    );
}

#[test]
fn what_javascript_writes_is_read() {
    let lone = br#"{"a": {"label": "cut \ud83d"}, "b": {"label": "whole"}}"#;
    assert_eq!(
        row_of(lone, "a").unwrap().label.as_deref(),
        Some("cut \u{fffd}")
    );
    assert_eq!(
        row_of(b"{\"a\": {\"label\": \"x\xff\"}}", "a")
            .unwrap()
            .label
            .as_deref(),
        Some("x\u{fffd}")
    );
}

#[rstest]
#[case(b"", 1, 0)]
#[case(b"[]", 1, 0)]
#[case(b"{\"a\": {}", 1, 8)]
#[case(b"{\n  \"a\": {\"x\": ]}\n}", 2, 14)]
#[case(b"{\"a\": {}} trailing", 1, 11)]
#[case(b"\0\0\0\0", 1, 1)]
fn a_damaged_store_is_named_with_line_and_column(
    #[case] content: &[u8],
    #[case] at_line: usize,
    #[case] at_column: usize,
) {
    let (_dir, path) = store(content);
    for error in [
        read_row(&path, "z").unwrap_err(),
        read_rows(&path).unwrap_err(),
    ] {
        let StoreError::Damaged { line, column, .. } = &error else {
            panic!("not damaged: {error}");
        };
        assert_eq!((*line, *column), (at_line, at_column));
        let start = format!(
            "the session store {} is damaged at line {line}, column {column}: ",
            path.display()
        );
        assert!(error.to_string().starts_with(&start), "{error}");
    }
}

#[test]
fn a_store_that_cannot_be_read_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(
        read_row(dir.path(), "a"),
        Err(StoreError::Read { .. })
    ));
}

proptest! {
    #[test]
    fn one_row_is_what_all_rows_say(
        rows in proptest::collection::btree_map("[a-c:A-C]{0,4}", "[a-z\"\\\\🦞]{0,5}", 0..8),
    ) {
        let object: Map<String, Value> =
            rows.iter().map(|(key, label)| (key.clone(), json!({"label": label}))).collect();
        let (_dir, path) = store(serde_json::to_string_pretty(&object).unwrap().as_bytes());
        let all = read_rows(&path).unwrap();
        prop_assert_eq!(all.len(), rows.len());
        for (key, row) in all {
            prop_assert_eq!(read_row(&path, &key).unwrap(), Some(row));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let (_dir, path) = store(&bytes);
        let _ = (read_row(&path, "a"), read_rows(&path));
    }
}
