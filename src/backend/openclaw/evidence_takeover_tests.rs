//! Takeovers of a session beside what the model, the session or its reply says.

use rstest::rstest;

use super::*;

#[test]
fn what_made_the_gateway_try_again_is_the_cause_and_not_the_takeover() {
    let error = |words: &str| json!({"role": "assistant", "content": [], "stopReason": "error", "errorMessage": words});
    let mut seen = blank();
    seen.wait = WaitAnswer::from_value(
        &json!({"status": "error", "endedAt": 1, "error": "EmbeddedAttemptSessionTakeoverError: session file changed while embedded prompt lock was released: /s.jsonl"}),
    );
    let takeover = "session file changed while embedded prompt lock was released: /s.jsonl";
    seen.turn = failed_with_lines(vec![error("529 Overloaded"), error(takeover)]);
    assert_eq!(told(&seen).expect("ended").0, "overload");
    seen.turn = failed_with_lines(vec![error(takeover)]);
    assert_eq!(told(&seen).expect("ended").0, "session-takeover");
    // Who stops a run changes its session under it.
    seen.wait.stop_reason = Some("rpc".to_owned());
    assert_eq!(told(&seen).expect("ended").0, "aborted");
}

#[rstest]
#[case::overload("529 Overloaded", "overload")]
#[case::rate_limit("429 Too Many Requests", "rate-limit")]
#[case::cut_stream("LLM request timed out.", "timeout")]
#[case::nothing_of_the_providers("fetch failed: disk quota exceeded", "session-takeover")]
fn a_providers_error_in_the_same_run_outranks_the_takeover(
    #[case] provider: &str,
    #[case] kind: &str,
) {
    let error = |words: &str| json!({"role": "assistant", "content": [], "stopReason": "error", "errorMessage": words});
    let takeover = "session file changed while embedded prompt lock was released: /s.jsonl";
    let mut seen = blank();
    // Both in the transcript, in the order in which the gateway met them.
    seen.wait =
        WaitAnswer::from_value(&json!({"status": "error", "endedAt": 1, "error": takeover}));
    seen.turn = failed_with_lines(vec![error(provider), error(takeover)]);
    assert_eq!(told(&seen).expect("ended").0, kind);
    // The transcript tells of the provider, the gateway of the takeover alone.
    seen.turn = failed_with_lines(vec![error(provider)]);
    assert_eq!(told(&seen).expect("ended").0, kind);
}

#[rstest]
#[case("done", "done")]
#[case("failed", "session-takeover")]
fn a_complete_reply_of_a_session_that_is_done_stands_whatever_is_said_of_a_takeover(
    #[case] status: &str,
    #[case] expected: &str,
) {
    let mut seen = blank();
    seen.wait = WaitAnswer::from_value(
        &json!({"status": "error", "endedAt": 1, "error": "EmbeddedAttemptSessionTakeoverError: session file changed while embedded prompt lock was released: /s.jsonl"}),
    );
    seen.row = SessionRow::from_value(json!({"status": status, "endedAt": 1}));
    let reply = json!({"role": "assistant", "content": "whole", "stopReason": "stop"});
    seen.turn = turn_of(messages(vec![reply]));
    assert_eq!(told(&seen).expect("ended").0, expected);
}
