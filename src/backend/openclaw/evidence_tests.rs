//! What two real gateways answered about a run, and what is made of it.

use std::fs;
use std::path::PathBuf;

use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::session::line::Line;
use crate::session::terminal::decide;

#[path = "evidence_takeover_tests.rs"]
mod takeovers;

const OLD: &str = "2026.5.18";
const NEW: &str = "2026.9.6";

fn lines(dir: &str, version: &str, run: &str) -> Vec<Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(dir)
        .join(version)
        .join(format!("{run}.jsonl"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each line is JSON"))
        .collect()
}

/// The messages as the gateway hands them out: without the transcript's other lines.
fn messages(lines: Vec<Value>) -> Vec<Message> {
    lines
        .into_iter()
        .filter_map(|line| match Line::from_value(line).ok()? {
            Line::Message(message) => Some(*message),
            _ => None,
        })
        .collect()
}

fn turn_of(messages: Vec<Message>) -> Turn {
    let lines = without_echoes(messages).into_iter().rev();
    decide(lines.map(|message| Line::Message(Box::new(message))))
}

/// The last answers that were recorded about a run, with its transcript.
fn recorded(version: &str, run: &str) -> Seen {
    let answers = lines("wire", version, run);
    let last = |method: &str| {
        let mut of_method = answers.iter().filter(|answer| answer["method"] == method);
        of_method
            .next_back()
            .map(|answer| answer["frame"]["payload"].clone())
    };
    let row = last("sessions.describe").expect("every run was described")["session"].clone();
    let mut seen = blank();
    seen.wait = WaitAnswer::from_value(&last("agent.wait").unwrap_or_default());
    seen.is_active = Some(row["status"] == "running");
    seen.row = SessionRow::from_value(row);
    seen.turn = turn_of(messages(lines("transcripts", version, run)));
    seen
}

fn blank() -> Seen {
    let nothing = (None, None);
    let (leading, now_ms) = (WaitAnswer::default(), 1_795_300_000_000);
    Seen::of_run(&RunRef::default(), leading, Vec::new(), nothing, now_ms)
}

/// `done` or the failure's kind, and the text.
fn told(seen: &Seen) -> Option<(String, String)> {
    let text_of = |text: Text| match text {
        Text::Inline(text) => text,
        Text::File { .. } => unreachable!("gateways send texts"),
    };
    Some(match evidence(seen).settled? {
        Settled::Reply {
            text, truncated, ..
        } => {
            let word = if truncated { "truncated" } else { "done" };
            (word.to_owned(), text_of(text))
        }
        Settled::Failed {
            failure, partial, ..
        } => (failure.kind.as_str().to_owned(), text_of(partial)),
    })
}

#[rstest]
#[case(OLD, "tool-calls", "done", "The file says hi.")]
#[case(NEW, "tool-calls", "done", "The file says hi.")]
#[case(OLD, "long", "done", "1: All work")]
#[case(NEW, "long", "done", "1: All work")]
#[case(OLD, "error-529", "overload", "")]
#[case(NEW, "error-529", "overload", "")]
#[case(NEW, "error-400", "model", "")]
#[case(OLD, "inflight-aborted", "aborted", "")]
#[case(NEW, "inflight-aborted", "aborted", "")]
#[case(OLD, "inflight-first-aborted", "aborted", "")]
#[case(NEW, "inflight-first-aborted", "aborted", "")]
#[case(OLD, "aborted-partial", "aborted", "This reply comes in many")]
#[case(NEW, "aborted-partial", "aborted", "This reply comes in many")]
#[case(OLD, "timeout", "timeout", "")]
#[case(NEW, "timeout", "timeout", "")]
fn a_recorded_run_ends_as_it_did(
    #[case] version: &str,
    #[case] run: &str,
    #[case] end: &str,
    #[case] text_start: &str,
) {
    let (word, text) = told(&recorded(version, run)).expect("the run has ended");
    assert_eq!(word, end);
    assert!(text.starts_with(text_start), "{text}");
    assert_eq!(text.is_empty(), text_start.is_empty(), "{text}");
}

/// The older generation's row goes on saying `running` for up to 15 s after a failure.
#[test]
fn a_row_that_runs_says_nothing_about_the_end() {
    assert_eq!(told(&recorded(OLD, "error-400")), None);
}

#[test]
fn a_row_that_failed_leaves_the_reason_open_for_a_while() {
    let seen = recorded(OLD, "takeover");
    assert!(seen.is_unexplained());
    assert_eq!(told(&seen).expect("ended").0, "unknown");
    let mut later = seen;
    later.wait = WaitAnswer::from_value(&json!({
        "status": "error",
        "endedAt": 1_795_263_540_000_i64,
        "error": "EmbeddedAttemptSessionTakeoverError: session file changed while embedded prompt lock was released: /s.jsonl",
    }));
    assert!(!later.is_unexplained());
    assert_eq!(told(&later).expect("ended").0, "session-takeover");
    assert!(!recorded(NEW, "error-529").is_unexplained());
}

#[test]
fn a_wait_that_ran_out_is_no_end() {
    for version in [OLD, NEW] {
        let answers = lines("wire", version, "inflight-aborted");
        let first = answers
            .iter()
            .find(|answer| answer["method"] == "agent.wait");
        let mut seen = blank();
        seen.wait = WaitAnswer::from_value(&first.expect("recorded")["frame"]["payload"]);
        assert_eq!(seen.wait.status, "timeout");
        assert_eq!(told(&seen), None, "{version}");
    }
}

/// What an aborted run of 2026.5.18 left, as its `sessions.get` told it; texts shortened.
#[test]
fn a_stopped_reply_that_is_repeated_as_a_finished_one_is_none() {
    let message = |fields: Value| json!({"type": "message", "id": "x", "message": fields});
    let text = json!([{"type": "text", "text": "alpha beta gam"}]);
    let left = vec![
        message(json!({"role": "user", "content": "Talk slowly."})),
        message(
            json!({"role": "assistant", "content": text, "api": "openai-completions", "stopReason": "aborted", "errorMessage": "Request was aborted"}),
        ),
        message(json!({"role": "assistant", "content": text, "api": "cli", "stopReason": "stop"})),
    ];
    let mut seen = blank();
    seen.turn = turn_of(messages(left));
    let ok = json!({"status": "ok", "endedAt": 1, "stopReason": "stop"});
    let stopped = json!({"status": "timeout", "endedAt": 1, "error": "aborted", "stopReason": "rpc", "livenessState": "working"});
    for wait in [ok, stopped] {
        seen.wait = WaitAnswer::from_value(&wait);
        let (word, text) = told(&seen).expect("ended");
        assert_eq!(
            (word.as_str(), text.as_str()),
            ("aborted", "alpha beta gam")
        );
    }
}

#[test]
fn an_end_without_a_reply_to_show_waits_for_better_evidence() {
    let mut seen = blank();
    seen.wait = WaitAnswer::from_value(&json!({"status": "ok", "endedAt": 1}));
    seen.row = SessionRow::from_value(json!({"status": "running"}));
    seen.is_active = Some(true);
    assert!(seen.is_unproven());
    // The row tells that it was no good end after all.
    seen.row = SessionRow::from_value(json!({"status": "timeout", "endedAt": 2}));
    seen.is_active = Some(false);
    assert_ne!(told(&seen).expect("ended").0, "done");
    // Or that it was.
    seen.row = SessionRow::from_value(json!({"status": "done", "endedAt": 2}));
    assert!(!seen.is_unproven());
    assert_eq!(told(&seen), Some(("done".to_owned(), String::new())));
}

#[test]
fn an_answer_of_nothing_is_an_answer() {
    for text in [json!([]), json!([{"type": "text", "text": "NO_REPLY"}])] {
        let reply = json!({"type": "message", "message": {"role": "assistant", "content": text, "stopReason": "stop"}});
        let mut seen = blank();
        seen.turn = turn_of(messages(vec![reply]));
        seen.wait = WaitAnswer::from_value(&json!({"status": "ok", "endedAt": 1}));
        assert!(!seen.is_unproven());
        assert_eq!(told(&seen), Some(("done".to_owned(), String::new())));
    }
}

/// What was sent into the session goes on after the run that was asked for.
#[test]
fn a_session_that_was_sent_more_ends_with_the_last_of_it() {
    let steer = crate::record::Steer::new("s", "More.", false, 1_000);
    let answered = |wait: Value| Followed {
        steer: steer.clone(),
        wait: WaitAnswer::from_value(&wait),
        is_seen: true,
    };
    let mut seen = recorded(NEW, "tool-calls");
    seen.wait = WaitAnswer::from_value(&json!({"status": "ok", "endedAt": 4}));
    seen.followed = vec![answered(json!({"status": "pending"}))];
    assert_eq!(told(&seen), None, "it waits for its turn");
    seen.followed = vec![answered(json!({"status": "ok", "endedAt": 5}))];
    seen.is_active = Some(true);
    seen.row.as_mut().expect("described").status = Some(SessionStatus::Running);
    assert_eq!(told(&seen), None, "somebody works on it");
    seen.is_active = Some(false);
    assert_eq!(told(&seen).expect("nothing is at work").0, "done");
    assert!(!seen.is_unproven());
    seen.is_unanswered = true;
    assert!(seen.is_unproven(), "its answer may be about to come");
}

/// In a reused session the row of an earlier run is not this one's.
#[test]
fn an_earlier_runs_row_is_not_ours() {
    let mut seen = recorded(NEW, "tool-calls");
    seen.wait = WaitAnswer::default();
    let row = seen.row.clone().expect("described");
    assert_eq!(told(&seen).expect("its own run").0, "done");
    seen.reused = true;
    seen.baseline_started_ms = row.started_at_ms;
    assert_eq!(told(&seen), None);
    seen.baseline_started_ms = row.started_at_ms.map(|at| at - 1);
    assert_eq!(told(&seen).expect("begun after the baseline").0, "done");
}

#[test]
fn what_a_restart_leaves_is_neither_alive_nor_ended() {
    let mut seen = blank();
    seen.row = SessionRow::from_value(json!({"status": "running", "startedAt": 1}));
    seen.is_active = Some(false);
    assert!(seen.is_left_behind());
    assert_eq!(evidence(&seen).liveness, Liveness::Gone);
    // A task that the gateway gave up when it started again does not tell of the run itself.
    seen.task = Some(Task {
        status: "cancelled".to_owned(),
        error: Some("Task execution process exited".to_owned()),
    });
    assert!(seen.is_left_behind() && told(&seen).is_none());
    // The older generation writes such a row of a session that was deleted under its run.
    for (aborted, is_left) in [(true, true), (false, false)] {
        let row = json!({"abortedLastRun": aborted, "startedAt": 1});
        let mut cut = seen.clone();
        cut.row = SessionRow::from_value(row);
        assert_eq!(cut.is_left_behind(), is_left, "{aborted}");
    }
    seen.task = Some(Task {
        status: "completed".to_owned(),
        error: None,
    });
    assert!(seen.is_ended());
}

fn failed_with_lines(lines: Vec<Value>) -> Turn {
    let lines = lines
        .into_iter()
        .map(|message| json!({"type": "message", "message": message}));
    turn_of(messages(lines.collect()))
}

#[test]
fn a_typed_detail_of_the_transcript_decides_and_the_facts_reach_the_failure() {
    let mut seen = blank();
    seen.turn = failed_with_lines(vec![
        json!({"role": "user", "content": "Go."}),
        json!({"role": "assistant", "content": [], "stopReason": "error", "provider": "fake", "model": "fake-1",
            "errorMessage": "it did not work", "errorType": "rate_limit_error", "retryAfterMs": 7000}),
    ]);
    seen.wait = WaitAnswer::from_value(
        &json!({"status": "error", "endedAt": 1, "error": "The AI service returned an error. Please try again."}),
    );
    let Some(Settled::Failed { failure, .. }) = evidence(&seen).settled else {
        panic!("it failed");
    };
    assert_eq!(failure.kind, FailureKind::RateLimit);
    assert_eq!(failure.message, "it did not work");
    assert_eq!(failure.retry_after_ms, Some(7_000));
    assert_eq!(failure.model.as_deref(), Some("fake-1"));
}

#[test]
fn an_events_failover_reason_is_heard_where_the_words_say_nothing() {
    let mut seen = blank();
    seen.wait = WaitAnswer::from_value(&json!({"status": "error", "endedAt": 1, "error": "hm"}));
    assert_eq!(told(&seen).expect("ended").0, "unknown");
    seen.observed = Facts::from_value(&json!({"failoverReason": "billing", "provider": "fake"}));
    assert_eq!(told(&seen).expect("ended").0, "billing");
}

#[test]
fn what_a_stopped_run_had_said_is_taken_from_the_events_where_the_session_has_none_of_it() {
    let partial = |seen: &Seen| match evidence(seen).settled.expect("ended") {
        Settled::Failed { partial, .. } => partial,
        reply @ Settled::Reply { .. } => panic!("{reply:?}"),
    };
    let heard = Text::Inline("alpha beta".to_owned());
    let mut seen = blank();
    seen.heard = "alpha beta".to_owned();
    seen.wait = WaitAnswer::from_value(
        &json!({"status": "timeout", "endedAt": 1, "error": "aborted", "stopReason": "rpc"}),
    );
    assert_eq!(partial(&seen), heard);
    let aborted = |text: &str| {
        let content = json!([{"type": "text", "text": text}]);
        vec![json!({"role": "assistant", "content": content, "stopReason": "aborted"})]
    };
    seen.turn = failed_with_lines(aborted(""));
    assert_eq!(partial(&seen), heard);
    seen.turn = failed_with_lines(aborted("alpha beta gamma"));
    assert_eq!(partial(&seen), Text::Inline("alpha beta gamma".to_owned()));
    // What a run said before the model failed is no part of a reply.
    seen.turn = failed_with_lines(vec![
        json!({"role": "assistant", "content": [], "stopReason": "error", "errorMessage": "529 Overloaded"}),
    ]);
    assert_eq!(partial(&seen), Text::Inline(String::new()));
}

#[test]
fn a_run_that_a_restart_cut_is_no_stop_and_no_time_out() {
    let mut seen = blank();
    // As 2026.9.6 answered when it was asked to end.
    seen.wait = WaitAnswer::from_value(
        &json!({"status": "timeout", "endedAt": 1, "summary": "aborted", "stopReason": "restart", "timeoutPhase": "gateway_draining"}),
    );
    assert_eq!(told(&seen).expect("ended").0, "gateway-restart");
    seen.wait = WaitAnswer::from_value(
        &json!({"status": "error", "endedAt": 1, "error": "agent run aborted for restart | OPENCLAW_RESTART_ABORT"}),
    );
    assert_eq!(told(&seen).expect("ended").0, "gateway-restart");
}

/// What an earlier run's late copy of its reply does to the messages of the next run.
#[rstest]
#[case::behind_the_prompt(&["user", "old", "user", "echo:old"], None)]
#[case::behind_the_new_reply(&["user", "old", "user", "new", "echo:old"], Some("new"))]
#[case::before_the_prompt(&["user", "old", "echo:old", "user", "new"], Some("new"))]
#[case::a_gap_that_was_filled(&["user", "old", "user", "echo:new"], Some("new"))]
#[case::the_same_words_twice(&["user", "old", "user", "old"], Some("old"))]
#[case::a_gateway_that_writes_them_all(&["user", "echo:old", "user", "echo:old"], Some("old"))]
fn a_late_copy_of_an_earlier_reply_is_no_reply(#[case] said: &[&str], #[case] reply: Option<&str>) {
    let lines = said.iter().map(|word| match word.split_once(':') {
        _ if *word == "user" => json!({"role": "user", "content": "Again."}),
        Some((_, text)) => {
            json!({"role": "assistant", "content": text, "stopReason": "stop", "api": "cli"})
        }
        None => {
            json!({"role": "assistant", "content": word, "stopReason": "stop", "api": "openai-completions"})
        }
    });
    let found = match turn_of(messages(lines.collect())) {
        Turn::Reply(reply) => Some(reply.text),
        _ => None,
    };
    assert_eq!(found.as_deref(), reply);
}

/// A run has ended for everybody before the gateway has filed it.
#[rstest]
#[case::told_by_the_row(json!({"status": "done", "startedAt": 2000}), json!([]), true)]
#[case::told_by_the_task_alone(json!({"status": "running", "startedAt": 2000}), json!([{"endedAt": 3000}]), true)]
#[case::an_earlier_task(json!({"status": "running", "startedAt": 2000}), json!([{"endedAt": 1000}]), false)]
#[case::at_work(json!({"status": "running", "startedAt": 2000}), json!([{"startedAt": 2000}]), false)]
#[case::not_begun(json!({"sessionId": "s"}), json!([{"endedAt": 1000}]), false)]
fn a_run_that_is_over_is_told_from_one_at_work(
    #[case] row: Value,
    #[case] tasks: Value,
    #[case] over: bool,
) {
    // Times far enough from 1970 to be milliseconds.
    let shift = |mut value: Value| {
        for name in ["startedAt", "endedAt"] {
            if let Some(ms) = value[name].as_i64() {
                value[name] = json!(ms + 1_795_000_000_000);
            }
        }
        value
    };
    let row = SessionRow::from_value(shift(row)).expect("an object");
    let tasks: Vec<Value> = tasks
        .as_array()
        .expect("a list")
        .iter()
        .cloned()
        .map(shift)
        .collect();
    assert_eq!(is_over(&row, &tasks), over);
}

/// As 2026.5.18 told of a run that came to its limit of 15 s: a transcript with nothing but what there was of the reply, put in
/// as a finished one, and a row that says done.
#[test]
fn a_reply_that_was_cut_is_told_once_the_run_is_filed() {
    let begun_ms = 1_795_284_600_000_i64;
    let cut =
        json!({"role": "assistant", "content": "one two", "stopReason": "stop", "api": "cli"});
    let lines = messages(vec![cut]);
    let mut seen = blank();
    seen.is_copy = ends_in_a_copy(&lines);
    seen.turn = turn_of(lines);
    seen.since_ms = begun_ms;
    seen.limit_ms = Some(15_000);
    seen.wait = WaitAnswer::from_value(&json!({"status": "ok", "endedAt": begun_ms + 19_000}));
    let row = |aborted: bool| {
        let row = json!({"status": "done", "startedAt": begun_ms, "endedAt": begun_ms + 19_000, "abortedLastRun": aborted});
        SessionRow::from_value(row)
    };
    seen.row = row(false);
    seen.is_active = Some(true);
    assert!(seen.is_unproven());
    seen.row = row(true);
    seen.is_active = Some(false);
    assert!(!seen.is_unproven());
    let cut = ("timeout".to_owned(), "one two".to_owned());
    assert_eq!(told(&seen), Some(cut.clone()));
    seen.wait = WaitAnswer::from_value(
        &json!({"status": "timeout", "endedAt": begun_ms + 19_000, "error": "aborted", "stopReason": "rpc", "livenessState": "working"}),
    );
    assert_eq!(told(&seen), Some(cut));
    // Before its limit somebody else has stopped it.
    seen.limit_ms = Some(300_000);
    assert_eq!(told(&seen).expect("ended").0, "aborted");
    // A reply that the transcript lacked, of a run that nobody stopped.
    seen.wait = WaitAnswer::from_value(&json!({"status": "ok", "endedAt": begun_ms + 19_000}));
    seen.row = row(false);
    assert_eq!(told(&seen).expect("ended").0, "done");
}

/// As 2026.5.18 told of a prompt of 5 MB for a model of 200,000 tokens: the run itself knew ("Context overflow: ..."), and
/// neither the wait's answer nor the session repeats it.
#[test]
fn a_prompt_that_the_model_was_never_given_is_no_silent_success() {
    let begun_ms = 1_795_302_478_109_i64;
    let ended_ms = begun_ms + 20_269;
    let mut seen = blank();
    seen.wait = WaitAnswer::from_value(
        &json!({"status": "ok", "endedAt": ended_ms, "livenessState": "blocked"}),
    );
    let row = json!({"status": "done", "startedAt": begun_ms, "endedAt": ended_ms});
    seen.row = SessionRow::from_value(row);
    seen.is_active = Some(false);
    assert!(!seen.is_unproven());
    let (kind, _) = told(&seen).expect("ended");
    assert_eq!(kind, "context-length");
    seen.wait.liveness = Some("working".to_owned());
    assert_eq!(told(&seen).expect("ended").0, "done");
}
