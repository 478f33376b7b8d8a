//! Errors that are put together of several, and what of them decides.

use rstest::rstest;

use super::*;

#[test]
fn of_several_attempts_what_a_retry_may_mend_decides_and_is_named() {
    let text = "All models failed (3): anthropic/opus: 401 invalid x-api-key (auth) | openai/gpt-5: 429 Too Many Requests. Please try again in 20s. (rate_limit) | fake/fake-1: This operation was aborted | 20 (timeout)";
    let reading = read_text(text, NOW);
    assert_eq!(reading.kind, FailureKind::RateLimit);
    assert_eq!(
        reading.decided_by.as_deref(),
        Some("openai/gpt-5: 429 Too Many Requests. Please try again in 20s. (rate_limit)")
    );
    assert_eq!(reading.provider.as_deref(), Some("openai"));
    assert_eq!(reading.model.as_deref(), Some("gpt-5"));
    assert_eq!(reading.retry_after_ms, Some(20_000));
    let failure = reading.into_failure(text, 7);
    assert_eq!((failure.at, failure.message.as_str()), (7, text));
    assert!(
        failure.extra["decidedBy"]
            .as_str()
            .is_some_and(|words| words.starts_with("openai/gpt-5: 429"))
    );
}

#[rstest]
#[case(
    "All models failed (2): a/b: LLM request failed. | c/d: Context overflow: too large",
    FailureKind::ContextLength,
    Some("c/d: Context overflow: too large")
)]
#[case(
    "All models failed (2): a/b: 402 no money (billing) | c/d: 401 no (auth)",
    FailureKind::Billing,
    Some("a/b: 402 no money (billing)")
)]
#[case(
    "all models failed (2): a/b: session file changed while embedded prompt lock was released: /x | c/d: nothing known (unknown)",
    FailureKind::SessionTakeover,
    Some("a/b: session file changed while embedded prompt lock was released: /x")
)]
#[case(
    "FailoverError: All models failed (1): a/b: something (overloaded)",
    FailureKind::Overload,
    Some("a/b: something (overloaded)")
)]
#[case(
    "FallbackSummaryError: All models failed (2): a/b: x (auth) | a/c: 529 Overloaded (overloaded)",
    FailureKind::Overload,
    Some("a/c: 529 Overloaded (overloaded)")
)]
#[case(
    "All models failed (3): 529 Overloaded | see 429.txt | port 5290",
    FailureKind::Overload,
    Some("529 Overloaded")
)]
#[case(
    "All models failed (2): openrouter/anthropic/opus: provider said no | x/y: it broke",
    FailureKind::Unknown,
    None
)]
#[case(
    "request timed out | This operation was aborted",
    FailureKind::Timeout,
    Some("request timed out")
)]
fn a_compound_is_taken_apart(
    #[case] text: &str,
    #[case] expected: FailureKind,
    #[case] decided_by: Option<&str>,
) {
    let reading = read_text(text, NOW);
    assert_eq!(
        (reading.kind, reading.decided_by.as_deref()),
        (expected, decided_by)
    );
}

#[test]
fn an_attempt_that_names_its_model_alone_is_read_too() {
    let reading = read_text("fake/fake-1: 529 Overloaded", NOW);
    assert_eq!(reading.kind, FailureKind::Overload);
    assert_eq!(reading.model.as_deref(), Some("fake-1"));
}

#[test]
fn what_decided_is_in_the_ledger_as_the_local_runner_noted_it() {
    let text = "All models failed (3): anthropic/a: HTTP 529 overloaded | openai/b: 401 no | google/c: 429 Too Many Requests, try again in 20s";
    let reading = read_last_words(text, NOW);
    let mut note = serde_json::Map::new();
    reading.note_on(&mut note);
    assert_eq!(
        json!(note),
        json!({"kind": "overload", "provider": "anthropic", "model": "a",
            "decidedBy": "anthropic/a: HTTP 529 overloaded"})
    );
    let failure = of_local_end(Some(&json!(note)), Some(text), 7);
    assert_eq!(failure, reading.into_failure(text, 7));
    // As lines without it were written.
    let failure = of_local_end(Some(&json!({"kind": "overload"})), Some(text), 7);
    assert_eq!(failure, Failure::new(FailureKind::Overload, text, 7));
}
