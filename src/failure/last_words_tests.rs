//! What programs and command lines of agents say last, and what of it is a provider's error.

use rstest::rstest;

use super::super::*;
use super::NOW;

fn kind(line: &str) -> FailureKind {
    read_last_words(line, NOW).kind
}

#[rstest]
#[case("529 passed, 1 failed")]
#[case("401 files changed, lint failed")]
#[case("429 tests failed")]
#[case("402 warnings")]
#[case("413 lines")]
#[case("503 errors found")]
#[case("529 errors and 3 warnings")]
#[case("Error: 529 files could not be read")]
#[case("error: 429 of 500 tests failed")]
#[case("error 529")]
#[case("529")]
#[case("Error: 529")]
#[case("[429] tests failed")]
#[case("429: tests failed")]
#[case("500 - 3 of them skipped")]
#[case("403 forbidden words found")]
#[case("401 unauthorized users were removed")]
#[case("529 overloaded functions")]
#[case("503 timed out")]
#[case("504 cancelled")]
#[case("404 not found words")]
#[case("see HTTP 529 docs")]
#[case("tests/unit: 529 passed, 1 failed")]
#[case("tests/login: 3 failed (auth)")]
#[case("src | 529 passed, 1 failed")]
#[case("All tests failed (2): unit/a: 529 passed | unit/b: 401 failed (auth)")]
#[case("AssertionError: 529 is not 530")]
#[case("NotFoundError: the node is no child of this node")]
#[case("requests.exceptions.HTTPError: 401 Client Error: Unauthorized for url: http://example.org")]
#[case("{\"message\":\"529 passed, 1 failed\"}")]
fn a_program_that_counts_is_no_provider(#[case] line: &str) {
    assert_eq!(kind(line), FailureKind::Unknown);
}

#[rstest]
#[case(FailureKind::Overload, "529 Overloaded")]
#[case(FailureKind::Overload, "[529] Overloaded.")]
#[case(FailureKind::Overload, "HTTP 529")]
#[case(FailureKind::Overload, "status code 529: later")]
#[case(
    FailureKind::Overload,
    r#"529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#
)]
#[case(FailureKind::Overload, "API Error: 529 no capacity")]
#[case(
    FailureKind::Overload,
    "API Error: 529 Overloaded. This is a server-side issue, usually temporary"
)]
#[case(
    FailureKind::Overload,
    "503 That model is currently overloaded with other requests."
)]
#[case(
    FailureKind::Overload,
    "All models failed (2): anthropic/opus: 401 no | openai/gpt-5: 529 no"
)]
#[case(FailureKind::RateLimit, "429 Too Many Requests")]
#[case(FailureKind::RateLimit, "429 Too Many Requests, please slow down")]
#[case(FailureKind::RateLimit, "Error: 429 rate limit exceeded for gpt-5")]
#[case(FailureKind::RateLimit, "429 - rate limit reached")]
#[case(
    FailureKind::RateLimit,
    "Error code: 429 - {'error': {'message': 'slow down'}}"
)]
#[case(FailureKind::RateLimit, "openai.RateLimitError: 429 slow down")]
#[case(FailureKind::Auth, "Error: 401 invalid x-api-key")]
#[case(FailureKind::Auth, "401 Unauthorized")]
#[case(FailureKind::Auth, "API Error (401 no)")]
#[case(FailureKind::Billing, "402 Payment Required")]
#[case(FailureKind::ContextLength, "413 Payload Too Large")]
#[case(FailureKind::Model, "503 Service Unavailable")]
#[case(FailureKind::Model, "unexpected status 500: it broke")]
fn an_agent_that_names_a_providers_error_is_believed(
    #[case] expected: FailureKind,
    #[case] line: &str,
) {
    assert_eq!(kind(line), expected);
}

#[rstest]
#[case(
    FailureKind::Overload,
    r#"{"type":"result","subtype":"success","is_error":true,"duration_ms":9,"result":"API Error: 529 Overloaded","session_id":"s"}"#
)]
#[case(
    FailureKind::Overload,
    r#"{"type":"result","subtype":"success","is_error":true,"result":"it broke","api_error_status":529}"#
)]
#[case(
    FailureKind::Overload,
    r#"{"type":"result","is_error":true,"error":{"type":"overloaded_error","message":"no"}}"#
)]
#[case(
    FailureKind::RateLimit,
    r#"{"type":"result","is_error":true,"error":"unknown","result":"API Error: Request rejected (429) \u00b7 slow down"}"#
)]
// It answered, and failed for another reason.
#[case(
    FailureKind::Unknown,
    r#"{"type":"result","subtype":"success","is_error":false,"result":"API Error: 529 Overloaded","api_error_status":529}"#
)]
#[case(FailureKind::Unknown, r#"{"result":"API Error: 529 Overloaded"}"#)]
#[case(
    FailureKind::RateLimit,
    "ERROR: exceeded retry limit, last status: 429 Too Many Requests, request id: 1f"
)]
#[case(
    FailureKind::Model,
    "ERROR: unexpected status 503 Service Unavailable: upstream, url: https://example.org"
)]
#[case(FailureKind::Unknown, "ERROR: 503 errors found")]
#[case(
    FailureKind::RateLimit,
    "ERROR: You\u{2019}ve hit your usage limit. Try again later."
)]
#[case(
    FailureKind::RateLimit,
    "You\u{2019}ve hit your limit \u{b7} resets 3pm"
)]
#[case(
    FailureKind::Overload,
    "ERROR: stream disconnected before completion: Selected model is at capacity."
)]
#[case(
    FailureKind::Unknown,
    "stream disconnected before completion: stream closed before response.completed"
)]
#[case(
    FailureKind::RateLimit,
    r#"✕ [API Error: {"error":{"message":"{\n \"error\": {\n \"code\": 429,\n \"status\": \"RESOURCE_EXHAUSTED\"\n }\n}\n","code":429,"status":"Too Many Requests"}}]"#
)]
#[case(FailureKind::Auth, "Failed to authenticate. API Error: 403 no access")]
fn an_agents_own_frame_is_taken_off(#[case] expected: FailureKind, #[case] line: &str) {
    assert_eq!(kind(line), expected);
}

#[rstest]
#[case(
    "stream disconnected before completion: Rate limit reached for gpt-5 in organization org-x on tokens per min (TPM): Limit 30000. Please try again in 11.054s. Visit the page.",
    Some(11_054)
)]
#[case(
    "ERROR: stream disconnected before completion: Rate limit is exceeded. Try again in 17 seconds.",
    Some(17_000)
)]
#[case("API Error: Request rejected (429) retry after 20s", Some(20_000))]
#[case(
    r#"[API Error: got status: 429 Too Many Requests. {"error":{"code":429,"retryDelay":"34s"}}]"#,
    Some(34_000)
)]
#[case("[API Error: got status: 429 …]", None)]
fn an_agents_rate_limit_is_read_with_its_wait(#[case] line: &str, #[case] wait_ms: Option<u64>) {
    let reading = read_last_words(line, NOW);
    assert_eq!(
        (reading.kind, reading.retry_after_ms),
        (FailureKind::RateLimit, wait_ms)
    );
}

#[rstest]
#[case("LLM request timed out.", true)]
#[case("Error: LLM idle timeout (120s): no response from model", true)]
#[case("API Error: 504 Gateway Timeout", true)]
#[case("504 Gateway Time-out", true)]
#[case("HTTP 408: it took too long", true)]
#[case("API Error: Request timed out.", true)]
#[case("openai.APITimeoutError: Request timed out.", true)]
#[case(
    r#"{"type":"error","error":{"type":"timeout_error","message":"Request timed out"}}"#,
    true
)]
#[case(
    "All models failed (2): a/b: LLM request timed out. (timeout) | c/d: it broke",
    true
)]
// It may be the program's own request, or the run's own time.
#[case("Request timed out.", false)]
#[case("timed out", false)]
#[case(
    "Request timed out before a response was generated. Please try again.",
    false
)]
#[case(
    "All models failed (1): a/b: This operation was aborted | 20 (timeout)",
    false
)]
fn a_model_that_did_not_answer_in_time_is_told_from_other_time_outs(
    #[case] line: &str,
    #[case] is_silent: bool,
) {
    let reading = read_last_words(line, NOW);
    assert_eq!(
        (reading.kind, reading.model_silent, reading.is_models()),
        (FailureKind::Timeout, is_silent, is_silent)
    );
    let mut note = serde_json::Map::new();
    reading.note_on(&mut note);
    let failure = of_local_end(Some(&note.into()), Some("it failed"), NOW);
    assert_eq!(policy::allows_fallback(&failure), is_silent);
}

#[test]
fn a_gateways_typed_time_out_is_the_models_only_where_its_provider_told_of_it() {
    let silent = |value| read(&Facts::from_value(&value), "it failed", NOW).model_silent;
    assert!(silent(serde_json::json!({"httpStatus": 504})));
    assert!(silent(serde_json::json!({"errorType": "timeout_error"})));
    assert!(!silent(serde_json::json!({"failoverReason": "timeout"})));
    assert!(!silent(
        serde_json::json!({"failoverReason": "overloaded", "httpStatus": 504})
    ));
}
