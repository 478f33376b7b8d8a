use super::*;
use rstest::rstest;
use serde_json::json;

const START: &str = "2026-11-20T09:00:00.000Z";

fn entry(value: Value) -> Entry {
    match value {
        Value::Object(fields) => Entry::from_fields(fields),
        other => panic!("no object: {other}"),
    }
}

/// After so many milliseconds of a run with this time limit.
fn after(ms: i64, timeout: Value, flags: Flags<'_>) -> Verdict {
    let entry =
        entry(json!({"spawnedAt": START, "timeoutSeconds": timeout, "backend": "openclaw"}));
    let start = entry.time("spawnedAt").expect("a time");
    running_time(&entry, &flags, start + ms)
}

#[rstest]
#[case(0, json!(300), false)]
#[case(59_999, json!(300), false)]
#[case(60_000, json!(300), true)]
#[case(60_000, json!(600), true)]
#[case(60_000, json!(601), false)]
#[case(119_999, json!(601), false)]
#[case(120_000, json!(601), true)]
#[case(60_000, json!(null), true)]
#[case(60_000, json!("900"), false)]
// A clock that was set back.
#[case(-5_000, json!(300), false)]
fn a_run_is_long_enough_from_a_minute_on_and_from_two_where_much_time_was_given(
    #[case] ms: i64,
    #[case] timeout: Value,
    #[case] passes: bool,
) {
    assert_eq!(after(ms, timeout, Flags::default()).is_ok(), passes);
}

#[test]
fn a_short_run_passes_by_force_and_with_a_reason_alone() {
    let force = Flags {
        force: true,
        ..Flags::default()
    };
    let reason = Flags {
        reason: Some("tiny"),
        ..Flags::default()
    };
    let both = Flags {
        reason: Some("tiny"),
        ..force
    };
    assert_eq!(
        after(5_900, json!(300), Flags::default()),
        Err("Session ran for only 5s -- suspiciously short (less than 1m); if the work is complete all the same, say why: --force-done --reason \"...\"".to_owned())
    );
    assert_eq!(
        after(5_900, json!(900), force),
        Err("--force-done requires --reason for a run of 5s, which is less than 120s".to_owned())
    );
    assert!(after(5_900, json!(300), reason).is_err());
    assert_eq!(after(5_900, json!(300), both), Ok(None));
    assert_eq!(after(60_000, json!(300), force), Ok(None));
}

#[rstest]
#[case::command(json!({"spawnedAt": START, "backend": "local"}), true)]
#[case::gateway(json!({"spawnedAt": START, "backend": "openclaw"}), false)]
#[case::other_tool(json!({"spawnedAt": START}), false)]
#[case::no_start(json!({"backend": "openclaw"}), true)]
#[case::odd_start(json!({"spawnedAt": "soon"}), true)]
#[case::seconds(json!({"spawnedAt": 1_795_302_000}), true)]
fn commands_and_runs_without_a_start_are_exempt(#[case] fields: Value, #[case] passes: bool) {
    let start = entry(json!({"spawnedAt": START}))
        .time("spawnedAt")
        .expect("a time");
    // The one in seconds is older.
    let now_ms = start.max(1_795_302_000_000) + 1_000;
    let now_ms = match fields["spawnedAt"].is_number() {
        true => now_ms + 3_600_000,
        false => start + 1_000,
    };
    let verdict = running_time(&entry(fields), &Flags::default(), now_ms);
    assert_eq!(verdict.is_ok(), passes);
}

#[test]
fn a_task_with_a_git_command_needs_its_commit() {
    let none = Flags::default();
    let sha = Flags {
        sha: Some("abcdef0"),
        ..none
    };
    assert_eq!(
        git("l", Some("Fix it and git   push."), &none),
        Err("Task involves git commits (\"git push\") but --sha was not provided; give the commit that holds the work".to_owned())
    );
    assert_eq!(git("l", Some("Fix it and git push."), &sha), Ok(None));
    assert_eq!(git("l", Some("Fix it; never git push."), &none), Ok(None));
    assert_eq!(
        git("l", None, &none),
        Ok(Some(
            "no prompt is stored for label \"l\": not checked whether it orders a git command"
                .to_owned()
        ))
    );
}

#[rstest]
#[case("abcdef0", true)]
#[case("ABCDEF0", true)]
#[case("0123456789abcdef0123456789abcdef01234567", true)]
#[case("abcdef", false)]
#[case("0123456789abcdef0123456789abcdef012345678", false)]
#[case("abcdefg", false)]
#[case("", false)]
#[case("HEAD", false)]
#[case("--help1", false)]
#[case("abcdef0 ", false)]
#[case("abcdef0\n", false)]
#[case("abcdef0^{}", false)]
#[case("١٢٣٤٥٦٧", false)]
fn a_commits_name_is_hex_and_nothing_else(#[case] sha: &str, #[case] passes: bool) {
    assert_eq!(sha_form(sha).is_ok(), passes);
}

#[test]
fn a_hostile_commits_name_is_shown_escaped_and_cut() {
    let shown = sha_form(&format!("\u{1b}[31m{}", "x".repeat(500))).expect_err("no name");
    assert!(shown.starts_with("--sha \"\\u{1b}[31mxxx"), "{shown}");
    assert!(shown.len() < 200, "{shown}");
}

#[test]
fn a_commit_that_is_not_there_is_rejected_and_one_that_nobody_can_look_up_is_not() {
    assert_eq!(sha_lookup("abcdef0", "/w", &Lookup::Found), Ok(None));
    assert_eq!(
        sha_lookup("abcdef0", "/w", &Lookup::Missing),
        Err("SHA abcdef0 not found: it is no commit of the git repository in /w".to_owned())
    );
    assert_eq!(
        sha_lookup(
            "abcdef0",
            "/w",
            &Lookup::Unknown("git is not installed".to_owned())
        ),
        Ok(Some(
            "SHA abcdef0 could not be looked up in /w: git is not installed".to_owned()
        ))
    );
}

#[test]
fn two_messages_are_too_few() {
    for count in 0..=2 {
        let why = activity(&Activity::Messages(count)).expect_err("too few");
        assert!(
            why.starts_with(&format!("Session has only {count} messages")),
            "{why}"
        );
    }
    assert_eq!(activity(&Activity::Messages(3)), Ok(None));
    assert_eq!(
        activity(&Activity::Unknown("nobody answers".to_owned())),
        Ok(Some(
            "session activity check unavailable: nobody answers".to_owned()
        ))
    );
}

#[test]
fn a_checklist_that_the_ledger_cannot_keep_is_rejected() {
    let with = |text: String| {
        checklist(Some(
            &json!({"work_complete": true, "more": [{"text": text}]}).to_string(),
        ))
    };
    assert!(with("x".repeat(MAX_TEXT_BYTES)).is_ok());
    assert!(with("x".repeat(MAX_TEXT_BYTES + 1)).is_err());
    let many: Map<String, Value> = (0..2_000).map(|n| (format!("k{n}"), json!(1))).collect();
    let mut many = Value::Object(many);
    many["work_complete"] = json!(true);
    let why = checklist(Some(&many.to_string())).expect_err("too long");
    assert!(why.contains("put the words into --summary"), "{why}");
}
