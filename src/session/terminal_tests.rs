//! Tests of the turn's end: each transcript is written oldest first, as it lies in a file.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn line(value: Value) -> Line {
    Line::from_value(value).unwrap()
}

fn user(text: &str) -> Line {
    line(json!({"type": "message", "message": {"role": "user", "content": text}}))
}

fn says(stop: &str, text: &str) -> Line {
    line(json!({"type": "message", "message": {
        "role": "assistant", "model": "fake-1", "stopReason": stop,
        "content": [{"type": "text", "text": text}]
    }}))
}

fn calls(stop: &str, text: &str) -> Line {
    line(
        json!({"role": "assistant", "stop_reason": stop, "content": [
            {"type": "text", "text": text}, {"type": "tool_use", "id": "c", "name": "read"}
        ]}),
    )
}

fn tool_result() -> Line {
    line(json!({"role": "toolResult", "toolCallId": "c", "content": "ok"}))
}

fn chunk(text: &str) -> Line {
    line(
        json!({"type": "message", "dispatch": {"runId": "r"}, "message": {"role": "assistant", "content": text}}),
    )
}

fn fails(stop: &str, error: &str, text: &str) -> Line {
    line(
        json!({"role": "assistant", "provider": "fake", "model": "fake-1", "stopReason": stop,
        "errorMessage": error, "content": text}),
    )
}

fn end(stop: &str, text: &str) -> Line {
    line(json!({
        "type": "message", "id": "e9", "dispatch": {"runId": "r", "end": true},
        "message": {"role": "assistant", "content": text, "stopReason": stop}
    }))
}

fn injected(text: &str) -> Line {
    line(
        json!({"role": "assistant", "model": "gateway-injected", "stopReason": "stop", "content": text}),
    )
}

fn abort_marker(run_id: &str, text: &str) -> Line {
    line(
        json!({"role": "assistant", "model": "gateway-injected", "provider": "openclaw", "stopReason": "stop",
        "content": text, "openclawAbort": {"aborted": true, "runId": run_id}}),
    )
}

fn prompt_error(run_id: &str) -> Line {
    line(
        json!({"type": "custom", "customType": "openclaw:prompt-error", "timestamp": 1_795_263_469_288_i64,
        "data": {"runId": run_id, "provider": "fake", "model": "fake-1", "error": "This operation was aborted"}}),
    )
}

fn turn_aborted() -> Line {
    line(
        json!({"type": "custom_message", "customType": "openclaw:turn-aborted", "content": "<turn_aborted>"}),
    )
}

fn bookkeeping() -> Line {
    line(json!({"type": "custom", "customType": "openclaw.cache-ttl", "data": {}}))
}

fn turn(oldest_first: Vec<Line>) -> Turn {
    decide(oldest_first.into_iter().rev())
}

fn reply_text(oldest_first: Vec<Line>) -> String {
    match turn(oldest_first) {
        Turn::Reply(reply) => reply.text,
        other => panic!("no reply: {other:?}"),
    }
}

fn failure(oldest_first: Vec<Line>) -> Failure {
    match turn(oldest_first) {
        Turn::Failed(failure) => failure,
        other => panic!("no failure: {other:?}"),
    }
}

fn pending(oldest_first: Vec<Line>) -> Pending {
    match turn(oldest_first) {
        Turn::MidTurn { why } => why,
        other => panic!("not mid-turn: {other:?}"),
    }
}

#[test]
fn no_line_is_no_evidence() {
    assert_eq!(turn(vec![]), Turn::Nothing);
    assert_eq!(turn(vec![bookkeeping(), bookkeeping()]), Turn::Nothing);
    assert_eq!(turn(vec![injected("note")]), Turn::Nothing);
}

#[rstest]
#[case("stop", false)]
#[case("end_turn", false)]
#[case("length", true)]
#[case("max_tokens", true)]
fn a_stop_with_text_is_a_reply(#[case] stop: &str, #[case] truncated: bool) {
    let expected = Reply {
        text: "Done.".into(),
        truncated,
        model: Some("fake-1".into()),
        ..Reply::default()
    };
    assert_eq!(
        turn(vec![user("go"), says(stop, "Done."), bookkeeping()]),
        Turn::Reply(expected)
    );
}

#[test]
fn the_last_reply_wins() {
    let lines = vec![
        user("a"),
        says("stop", "one"),
        user("b"),
        says("stop", "two"),
    ];
    assert_eq!(reply_text(lines), "two");
}

#[test]
fn work_in_progress_is_mid_turn() {
    let go = || user("go");
    assert_eq!(pending(vec![go()]), Pending::UserMessage);
    assert_eq!(
        pending(vec![go(), says("stop", "one"), user("more")]),
        Pending::UserMessage
    );
    assert_eq!(pending(vec![go(), calls("toolUse", "")]), Pending::ToolCall);
    assert_eq!(
        pending(vec![go(), says("tool_use", "I will read")]),
        Pending::ToolCall
    );
    assert_eq!(
        pending(vec![go(), calls("stop", "Done?")]),
        Pending::ToolCall
    );
    assert_eq!(
        pending(vec![go(), calls("toolUse", ""), tool_result()]),
        Pending::ToolResult
    );
    assert_eq!(
        pending(vec![go(), says("stop", "one"), tool_result()]),
        Pending::ToolResult
    );
    assert_eq!(pending(vec![go(), chunk("par")]), Pending::Chunk);
    assert_eq!(
        pending(vec![go(), says("stop", " \n")]),
        Pending::EmptyReply
    );
    assert_eq!(
        pending(vec![go(), says("refusal", "No.")]),
        Pending::UnknownStop("refusal".into())
    );
}

#[test]
fn injected_notes_are_passed_over() {
    assert_eq!(
        reply_text(vec![user("go"), says("stop", "Done."), injected("note")]),
        "Done."
    );
    assert_eq!(
        pending(vec![user("go"), injected("note")]),
        Pending::UserMessage
    );
    let overloaded = failure(vec![
        user("go"),
        fails("error", "529", ""),
        injected("note"),
    ]);
    assert_eq!(overloaded.message.as_deref(), Some("529"));
}

#[rstest]
#[case("NO_REPLY")]
#[case("HEARTBEAT_OK")]
#[case(" HEARTBEAT_OK\n")]
fn silent_answers_never_count(#[case] silent: &str) {
    assert_eq!(
        pending(vec![user("go"), says("stop", silent)]),
        Pending::SilentReply
    );
    let heartbeat = || vec![user("heartbeat"), says("stop", silent)];
    let mut after_reply = vec![user("go"), says("stop", "Done.")];
    after_reply.extend(heartbeat());
    after_reply.extend(heartbeat());
    assert_eq!(reply_text(after_reply), "Done.");
    let mut after_work = vec![user("go"), calls("toolUse", "")];
    after_work.extend(heartbeat());
    assert_eq!(pending(after_work), Pending::ToolCall);
    let with_tools = vec![
        user("go"),
        says("stop", "Done."),
        user("announce"),
        calls("toolUse", ""),
        tool_result(),
        says("stop", silent),
    ];
    assert_eq!(reply_text(with_tools), "Done.");
}

#[test]
fn an_exec_event_is_not_the_turn_of_the_task() {
    let event = || user("System: [2026-11-21 12:17:00 UTC] Exec completed (ab12, code 0) :: ok");
    assert_eq!(turn(vec![event()]), Turn::Nothing);
    assert_eq!(
        reply_text(vec![user("go"), says("stop", "Done."), event()]),
        "Done."
    );
    assert_eq!(
        pending(vec![user("go"), calls("toolUse", ""), event()]),
        Pending::ToolCall
    );
    assert_eq!(
        reply_text(vec![
            user("go"),
            says("stop", "Started."),
            event(),
            says("stop", "Built.")
        ]),
        "Built."
    );
    assert_eq!(
        reply_text(vec![
            user("go"),
            says("stop", "Done."),
            event(),
            says("stop", "HEARTBEAT_OK")
        ]),
        "Done."
    );
}

#[test]
fn an_error_line_is_a_failure() {
    let found = failure(vec![
        user("go"),
        fails("error", "400 bad", ""),
        fails("error", "529 Overloaded", ""),
    ]);
    assert_eq!(found.stop, FailedStop::Error);
    assert_eq!(found.message.as_deref(), Some("529 Overloaded"));
    assert_eq!(found.provider.as_deref(), Some("fake"));
    assert_eq!((found.partial.as_str(), found.earlier_reply), ("", None));
}

#[test]
fn a_reply_after_an_error_is_a_reply() {
    let lines = vec![user("go"), fails("error", "529", ""), says("stop", "Done.")];
    assert_eq!(reply_text(lines), "Done.");
}

#[test]
fn abort_entries_are_evidence_of_an_abort() {
    let found = failure(vec![user("go"), prompt_error("r1")]);
    assert_eq!(found.stop, FailedStop::Aborted);
    assert_eq!(found.run_id.as_deref(), Some("r1"));
    assert_eq!(found.message.as_deref(), Some("This operation was aborted"));
    assert_eq!(found.timestamp_ms, Some(1_795_263_469_288));
    let found = failure(vec![
        user("go"),
        calls("toolUse", ""),
        tool_result(),
        turn_aborted(),
    ]);
    assert_eq!((found.stop, found.message), (FailedStop::Aborted, None));
}

#[test]
fn evidence_of_one_failure_is_put_together() {
    let found = failure(vec![
        user("go"),
        prompt_error("r1"),
        fails("aborted", "LLM idle timeout", "half"),
        turn_aborted(),
    ]);
    assert_eq!(found.message.as_deref(), Some("LLM idle timeout"));
    assert_eq!(found.run_id.as_deref(), Some("r1"));
    assert_eq!(found.partial, "half");
}

#[test]
fn an_abort_marker_keeps_the_cut_text_and_is_no_reply() {
    let found = failure(vec![user("go"), abort_marker("r1", "This reply co")]);
    assert_eq!(found.stop, FailedStop::Aborted);
    assert_eq!(found.partial, "This reply co");
    assert_eq!((found.provider, found.model), (None, None));
    assert_eq!(found.run_id.as_deref(), Some("r1"));
}

#[test]
fn an_abort_of_a_later_turn_hides_the_earlier_reply() {
    let lines = vec![
        user("a"),
        says("stop", "one"),
        user("b"),
        abort_marker("r2", "tw"),
    ];
    assert_eq!(failure(lines).earlier_reply, None);
}

#[test]
fn an_abort_marker_that_repeats_a_finished_reply_came_too_late() {
    let lines = vec![
        user("a"),
        says("stop", "This reply is whole."),
        abort_marker("r", "This reply"),
    ];
    assert_eq!(reply_text(lines), "This reply is whole.");
    let other = vec![
        user("a"),
        says("stop", "This reply is whole."),
        abort_marker("r", "Another"),
    ];
    let found = failure(other);
    assert_eq!(found.partial, "Another");
    assert_eq!(found.earlier_reply.unwrap().text, "This reply is whole.");
}

#[test]
fn an_abort_marker_of_the_run_that_had_finished_came_too_late() {
    let finished = line(
        json!({"role": "assistant", "stopReason": "stop", "content": "Done.",
        "__openclaw": {"runId": "r1"}}),
    );
    let lines = |run: &str| vec![user("a"), finished.clone(), abort_marker(run, "")];
    assert_eq!(reply_text(lines("r1")), "Done.");
    assert_eq!(failure(lines("r2")).run_id.as_deref(), Some("r2"));
}

#[test]
fn an_abort_entry_behind_a_reply_is_an_abort_that_names_the_reply() {
    for entry in [prompt_error("r"), turn_aborted(), fails("error", "529", "")] {
        let found = failure(vec![user("a"), says("stop", "Done."), entry]);
        assert_eq!(found.earlier_reply.unwrap().text, "Done.");
    }
}

#[test]
fn the_end_line_of_the_local_runner_settles_the_turn() {
    let lines = vec![user("go"), chunk("Do"), chunk("ne."), end("stop", "Done.")];
    let Turn::Reply(reply) = turn(lines) else {
        panic!("no reply");
    };
    assert_eq!(reply.text, "Done.");
    assert_eq!(reply.entry_id.as_deref(), Some("e9"));
    assert_eq!(reply.run_id.as_deref(), Some("r"));
    assert_eq!(reply.dispatch, Some(json!({"runId": "r", "end": true})));
    assert_eq!(reply_text(vec![user("go"), end("stop", "")]), "");
    assert_eq!(
        reply_text(vec![user("go"), end("stop", "NO_REPLY")]),
        "NO_REPLY"
    );
}

#[test]
fn a_failed_end_line_keeps_what_was_said() {
    let found = failure(vec![user("go"), chunk("ha"), chunk("lf"), end("error", "")]);
    assert_eq!(
        (found.stop, found.partial.as_str()),
        (FailedStop::Error, "half")
    );
    assert!(found.dispatch.is_some());
    let found = failure(vec![user("go"), chunk("ha"), end("aborted", "half of it")]);
    assert_eq!(found.partial, "half of it");
    let old = vec![
        user("a"),
        end("stop", "one"),
        user("b"),
        chunk("tw"),
        prompt_error("r"),
    ];
    assert_eq!(failure(old).partial, "tw");
}

#[test]
fn gathering_chunks_is_bounded() {
    let mut lines = vec![chunk("lost")];
    lines.extend((0..20).map(|_| chunk(&"x".repeat(100_000))));
    lines.push(prompt_error("r"));
    assert_eq!(failure(lines).partial.len(), 1_100_000);
}

#[test]
fn nothing_older_than_the_decision_is_read() {
    let mut read = 0;
    let lines = [
        user("a"),
        says("stop", "one"),
        user("b"),
        says("stop", "two"),
        bookkeeping(),
    ];
    let counted = lines.into_iter().rev().inspect(|_| read += 1);
    assert!(matches!(decide(counted), Turn::Reply(_)));
    assert_eq!(read, 2);
}

proptest! {
    /// What follows the baseline decides alone: bookkeeping and notes anywhere change nothing.
    #[test]
    fn bookkeeping_never_changes_the_turn(picks in proptest::collection::vec((0_usize..9, any::<bool>()), 0..12)) {
        let pick = |n: usize| match n {
            0 => user("go"),
            1 => says("stop", "Done."),
            2 => calls("toolUse", ""),
            3 => tool_result(),
            4 => chunk("part"),
            5 => fails("error", "529", ""),
            6 => says("stop", "NO_REPLY"),
            7 => prompt_error("r"),
            _ => abort_marker("r", "par"),
        };
        let plain = picks.iter().map(|(n, _)| pick(*n)).collect();
        let mixed = picks.iter().flat_map(|(n, extra)| {
            let mut lines = vec![pick(*n)];
            lines.extend(extra.then(bookkeeping));
            lines.extend(extra.then(|| injected("note")));
            lines
        }).collect();
        prop_assert_eq!(turn(plain), turn(mixed));
    }
}
