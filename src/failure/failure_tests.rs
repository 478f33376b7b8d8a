//! What gateways and providers were seen to write, and what only looks like it.

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

#[path = "compound_tests.rs"]
mod compounds;

#[path = "last_words_tests.rs"]
mod last_words;

const NOW: i64 = 1_795_300_000_000;

const TAKEOVER: &str = "session file changed while embedded prompt lock was released: /home/user/.openclaw/agents/main/sessions/f300cad1-fb0a-4d1b-b880-8614e6fb86ef.jsonl";

fn kind(text: &str) -> FailureKind {
    read_text(text, NOW).kind
}

#[rstest]
#[case(FailureKind::Overload, "529 Overloaded")]
#[case(FailureKind::Overload, "HTTP 529: overloaded")]
#[case(
    FailureKind::Overload,
    "The AI service is temporarily overloaded. Please try again in a moment."
)]
#[case(
    FailureKind::Overload,
    "⚠️ The AI service is temporarily overloaded. Please try again in a moment."
)]
#[case(FailureKind::Overload, "FailoverError: LLM request failed.")]
#[case(FailureKind::Overload, "FailoverError: it did not work")]
#[case(
    FailureKind::Auth,
    "FailoverError: 401 Incorrect API key provided: sk-x"
)]
#[case(
    FailureKind::Model,
    "FailoverError: LLM request failed: provider rejected the request schema or tool payload."
)]
#[case(
    FailureKind::Model,
    "LLM request failed: provider rejected the request schema or tool payload."
)]
#[case(FailureKind::Model, "LLM request rejected: tools.3: bad schema")]
#[case(FailureKind::Model, "LLM request failed.")]
#[case(FailureKind::Model, "400 fake failure 400")]
#[case(
    FailureKind::Model,
    "The AI service returned an internal error. Please try again in a moment."
)]
#[case(
    FailureKind::Model,
    "Thinking level \"high\" is not supported for fake/fake-1. Use one of: off."
)]
#[case(
    FailureKind::RateLimit,
    "The AI service is temporarily rate-limited. Please try again in a moment."
)]
#[case(
    FailureKind::RateLimit,
    "⚠️ API rate limit reached. Please try again later."
)]
#[case(
    FailureKind::RateLimit,
    "⚠️ All models are temporarily rate-limited. Please try again in a few minutes."
)]
#[case(
    FailureKind::RateLimit,
    "Provider anthropic is in cooldown (suspending lanes)"
)]
#[case(
    FailureKind::RateLimit,
    "No available auth profile for openai (all in cooldown or unavailable)."
)]
#[case(
    FailureKind::Auth,
    "⚠️ fake/fake-1 request failed (authentication failed, HTTP 401). Check the key."
)]
#[case(
    FailureKind::Auth,
    "Inline API key for provider \"fake\" is temporarily disabled after a provider auth/billing failure"
)]
#[case(FailureKind::Auth, "LLM request unauthorized.")]
#[case(
    FailureKind::Auth,
    "The selected auth profile is unavailable in this agent's OpenClaw credential store. Import or migrate that credential into the agent, select another configured profile, or run `openclaw configure`, then retry."
)]
#[case(
    FailureKind::Billing,
    "⚠️ API provider returned a billing error — your API key has run out of credits"
)]
#[case(
    FailureKind::ContextLength,
    "Context overflow: prompt too large for the model (precheck)."
)]
#[case(
    FailureKind::ContextLength,
    "⚠️ Context limit exceeded. I've reset our conversation to start fresh - please try again."
)]
#[case(
    FailureKind::Timeout,
    "LLM idle timeout (120s): no response from model"
)]
#[case(FailureKind::Timeout, "LLM request timed out.")]
#[case(FailureKind::Timeout, "request timed out | request timed out")]
#[case(
    FailureKind::Timeout,
    "Request timed out before a response was generated. Please try again, or increase `agents.defaults.timeoutSeconds` in your config."
)]
#[case(FailureKind::Aborted, "aborted")]
#[case(FailureKind::Aborted, "Request was aborted.")]
#[case(FailureKind::Aborted, "This operation was aborted | 20")]
#[case(FailureKind::Aborted, "AbortError: This operation was aborted")]
#[case(FailureKind::Aborted, "agent run aborted | OPENCLAW_DIRECT_ABORT")]
#[case(
    FailureKind::GatewayRestart,
    "agent run aborted for restart | OPENCLAW_RESTART_ABORT"
)]
#[case(FailureKind::GatewayRestart, "OPENCLAW_RESTART_ABORT")]
#[case(FailureKind::SessionTakeover, TAKEOVER)]
#[case(
    FailureKind::SessionTakeover,
    "EmbeddedAttemptSessionTakeoverError: session file changed while embedded prompt lock was released: /s/1.jsonl"
)]
#[case(
    FailureKind::SessionTakeover,
    "SessionWriteLockTimeoutError: session file locked (timeout 60000ms): pid=12 /s/1.jsonl.lock"
)]
#[case(
    FailureKind::SessionTakeover,
    "session file locked (timeout 60000ms): pid=12 /s/1.jsonl.lock"
)]
#[case(
    FailureKind::SessionTakeover,
    "Error: file lock stale for /s/1.jsonl: code=file_lock_stale"
)]
fn a_gateways_words_name_the_kind(#[case] expected: FailureKind, #[case] text: &str) {
    assert_eq!(kind(text), expected);
}

#[rstest]
#[case(
    FailureKind::Overload,
    "lane task error: lane=main durationMs=20311 error=\"FailoverError: 529 Overloaded\""
)]
#[case(
    FailureKind::SessionTakeover,
    "2026-11-21T12:17:40Z [diagnostic] lane task error: lane=session:agent:main:subagent:1f durationMs=19802 error=\"EmbeddedAttemptSessionTakeoverError: session file changed while embedded prompt lock was released: /s/1.jsonl\""
)]
#[case(
    FailureKind::Timeout,
    "lane task error: lane=subagent durationMs=120011 error=\"FailoverError: LLM idle timeout (120s): no response from model\""
)]
#[case(
    FailureKind::Unknown,
    "lane task error: lane=main durationMs=3 error=\"TypeError: x is not a function\""
)]
fn a_log_line_is_read_by_the_error_in_it(#[case] expected: FailureKind, #[case] text: &str) {
    assert_eq!(kind(text), expected);
}

#[rstest]
// Anthropic.
#[case(
    FailureKind::Overload,
    r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#
)]
#[case(
    FailureKind::Overload,
    r#"529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#
)]
#[case(
    FailureKind::Overload,
    r#"API Error: 529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#
)]
#[case(
    FailureKind::Overload,
    r#"API Error: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#
)]
#[case(
    FailureKind::Overload,
    "API Error: Repeated 529 Overloaded errors · check status"
)]
#[case(
    FailureKind::RateLimit,
    r#"429 {"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 50,000 input tokens per minute"}}"#
)]
#[case(
    FailureKind::RateLimit,
    "This request would exceed your account's rate limit. Please try again later."
)]
#[case(FailureKind::RateLimit, "Claude AI usage limit reached|1795300000")]
#[case(
    FailureKind::Auth,
    r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#
)]
#[case(
    FailureKind::Auth,
    "API Error: 401 OAuth token has expired. Please run /login"
)]
#[case(
    FailureKind::Billing,
    r#"400 {"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."}}"#
)]
#[case(FailureKind::Billing, "Credit balance is too low")]
#[case(
    FailureKind::ContextLength,
    r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 maximum"}}"#
)]
#[case(
    FailureKind::ContextLength,
    "413 {\"type\":\"error\",\"error\":{\"type\":\"request_too_large\",\"message\":\"Request exceeds the maximum size\"}}"
)]
#[case(
    FailureKind::Model,
    r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#
)]
#[case(
    FailureKind::Model,
    r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-nope"}}"#
)]
#[case(
    FailureKind::Timeout,
    r#"{"type":"error","error":{"type":"timeout_error","message":"Request timed out"}}"#
)]
// OpenAI.
#[case(
    FailureKind::RateLimit,
    r#"{"error":{"message":"Rate limit reached for gpt-5 in organization org-x on tokens per min (TPM): Limit 30000, Used 29000, Requested 2000. Please try again in 20s. Visit the page.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#
)]
#[case(
    FailureKind::RateLimit,
    "Error code: 429 - {'error': {'message': 'Rate limit reached', 'type': 'requests', 'code': 'rate_limit_exceeded'}}"
)]
#[case(FailureKind::RateLimit, "429 Too Many Requests")]
#[case(
    FailureKind::RateLimit,
    "exceeded retry limit, last status: 429 Too Many Requests"
)]
#[case(
    FailureKind::RateLimit,
    "You've hit your usage limit. Upgrade, or try again in 3 hours 5 minutes."
)]
#[case(
    FailureKind::Billing,
    r#"429 {"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#
)]
#[case(
    FailureKind::Billing,
    "429 You exceeded your current quota, please check your plan and billing details."
)]
#[case(
    FailureKind::Auth,
    r#"{"error":{"message":"Incorrect API key provided: sk-x.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#
)]
#[case(
    FailureKind::Auth,
    "unexpected status 401 Unauthorized: Missing bearer authentication"
)]
#[case(
    FailureKind::ContextLength,
    r#"400 {"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#
)]
#[case(
    FailureKind::ContextLength,
    "400 Your input exceeds the context window of this model. Please adjust your input and try again."
)]
#[case(
    FailureKind::Overload,
    "The server is currently overloaded with other requests. Sorry about that!"
)]
#[case(
    FailureKind::Overload,
    "503 That model is currently overloaded with other requests. You can retry your request."
)]
#[case(
    FailureKind::Overload,
    "Selected model is at capacity. Please try a different model."
)]
#[case(
    FailureKind::Model,
    r#"404 {"error":{"message":"The model `gpt-x` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#
)]
#[case(FailureKind::Model, "500 Internal Server Error")]
#[case(FailureKind::Model, "HTTP/1.1 502 Bad Gateway")]
#[case(FailureKind::Timeout, "504 Gateway Timeout")]
#[case(FailureKind::RateLimit, "openai.RateLimitError: slow down")]
// Others.
#[case(
    FailureKind::Overload,
    r#"{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}"#
)]
#[case(
    FailureKind::RateLimit,
    r#"[{"error":{"code":429,"message":"You exceeded your current quota. Please retry in 25.7s.","status":"RESOURCE_EXHAUSTED","details":[{"retryDelay":"25s"}]}}]"#
)]
#[case(FailureKind::Billing, "402 Payment Required")]
#[case(FailureKind::Billing, "insufficient credits: add more to your account")]
fn a_providers_words_name_the_kind(#[case] expected: FailureKind, #[case] text: &str) {
    assert_eq!(kind(text), expected);
}

#[rstest]
#[case("see issue 529")]
#[case("fixed in #529")]
#[case("5290 things")]
#[case("port 5290 is in use")]
#[case("listen EADDRINUSE: address already in use 127.0.0.1:5290")]
#[case("529.txt is gone")]
#[case("/var/log/529/overloaded.log: no such file")]
#[case("cannot open src/errors/429.rs")]
#[case("v4.29.529 is not supported")]
#[case("429ms passed")]
#[case("it took 529 ms")]
#[case("Please make the HTTP 529 handler retry")]
#[case("The report says that the AI service is temporarily overloaded.")]
#[case("The service is overloaded with options, please simplify it")]
#[case("Overloaded operators should be documented")]
#[case("overloaded functions confuse the reader")]
#[case("add a rate limit to the API")]
#[case("rate limiting middleware is missing")]
#[case("explain what overloaded_error means")]
#[case("The billing page times out")]
#[case("the user said: 529 Overloaded")]
#[case("http://example.org/529")]
#[case("https://example.org/models: 529 Overloaded")]
#[case("build/output: done")]
#[case("529")]
#[case("")]
#[case("   ")]
#[case("it failed")]
#[case("request failed (no)")]
#[case("TypeError: overloaded is not a function")]
#[case("{\"message\":\"hello\"}")]
#[case("{\"code\":\"UNAVAILABLE\"}")]
#[case("{")]
#[case("All models failed")]
#[case("All tests failed (3): a | b | c")]
#[case("ümlaut")]
fn what_only_looks_like_a_failure_of_the_model_is_unknown(#[case] text: &str) {
    let expected = match text {
        // Alone, it is what a provider without words leaves.
        "529" => FailureKind::Overload,
        _ => FailureKind::Unknown,
    };
    assert_eq!(kind(text), expected);
}

#[test]
fn the_failover_reason_wins_over_the_other_typed_facts_and_those_over_words() {
    // As a gateway wrote it about an HTTP 529.
    let observed = json!({"phase": "finishing", "error": "it broke", "errorObservation": {"provider": "fake", "model": "fake-1", "failoverReason": "overloaded", "providerRuntimeFailureKind": "timeout"}});
    let facts = Facts::from_value(&observed);
    let reading = read(&facts, "401 no", NOW);
    assert_eq!(reading.kind, FailureKind::Overload);
    assert_eq!(reading.model.as_deref(), Some("fake-1"));
    let kind = |value, text| read(&Facts::from_value(&value), text, NOW).kind;
    assert_eq!(
        kind(
            json!({"failoverReason": "rate_limit", "httpStatus": 529}),
            ""
        ),
        FailureKind::RateLimit
    );
    assert_eq!(
        kind(
            json!({"errorType": "overloaded_error", "errorCode": "overloaded_error"}),
            "request timed out"
        ),
        FailureKind::Overload
    );
    assert_eq!(
        kind(json!({"httpStatus": 529}), "400 bad"),
        FailureKind::Overload
    );
    assert_eq!(
        kind(json!({"providerRuntimeFailureKind": "timeout"}), ""),
        FailureKind::Timeout
    );
}

#[test]
fn a_typed_fact_that_leaves_it_open_is_made_sure_by_words() {
    let kind = |value, text| read(&Facts::from_value(&value), text, NOW).kind;
    let invalid = json!({"errorType": "invalid_request_error", "httpStatus": 400});
    assert_eq!(
        kind(invalid.clone(), "400 prompt is too long: 3 tokens > 2"),
        FailureKind::ContextLength
    );
    assert_eq!(kind(invalid.clone(), "400 fake"), FailureKind::Model);
    assert_eq!(kind(invalid, ""), FailureKind::Model);
    for empty in ["unknown", "unclassified", "no_error_details", "later-made"] {
        assert_eq!(
            kind(json!({"failoverReason": empty}), "529 Overloaded"),
            FailureKind::Overload,
            "{empty}"
        );
    }
    // The error of a provider behind a takeover is the cause, even where it is only suggested.
    assert_eq!(
        kind(json!({"httpStatus": 500}), TAKEOVER),
        FailureKind::Model
    );
    assert_eq!(kind(json!({}), TAKEOVER), FailureKind::SessionTakeover);
}

#[test]
fn a_recorded_body_inside_a_line_is_read() {
    let message = json!({"stopReason": "error", "provider": "fake", "model": "fake-1", "errorBody": "{\"code\":\"overloaded_error\",\"message\":\"Overloaded\",\"param\":null,\"type\":\"overloaded_error\"}"});
    let facts = Facts::from_value(&message);
    assert_eq!(facts.error_type.as_deref(), Some("overloaded_error"));
    assert_eq!(read(&facts, "", NOW).kind, FailureKind::Overload);
}

#[test]
fn a_wait_is_kept_where_it_means_something() {
    let limited = "429 Rate limit reached for gpt-5. Please try again in 20s.";
    assert_eq!(read_text(limited, NOW).retry_after_ms, Some(20_000));
    assert_eq!(
        read_text("401 no. Please try again in 20s.", NOW).retry_after_ms,
        None
    );
    let typed = Facts::from_value(&json!({"failoverReason": "overloaded", "retryAfterMs": 1500}));
    assert_eq!(read(&typed, limited, NOW).retry_after_ms, Some(1_500));
}

#[test]
fn the_runners_own_kind_counts_and_nothing_is_guessed_from_a_commands_words() {
    let note = json!({"kind": "timeout"});
    let failure = of_local_end(Some(&note), Some("529 overloaded"), 7);
    assert_eq!((failure.kind, failure.at), (FailureKind::Timeout, 7));
    assert_eq!(
        of_local_end(None, Some("529 overloaded"), 7).kind,
        FailureKind::Unknown
    );
    let note = json!({"kind": "rate-limit", "retryAfterMs": 900, "model": "m"});
    let failure = of_local_end(Some(&note), None, 7);
    assert_eq!(
        (failure.retry_after_ms, failure.model.as_deref()),
        (Some(900), Some("m"))
    );
}

const PIECES: &str = "(529|429 |401: |Overloaded|All models failed \\(2\\): | \\| | <- |a/b: |FailoverError: |Error: |EmbeddedAttemptSessionTakeoverError: |session file changed while embedded prompt lock was released: /x|\\{\"error\":|\\{|\\}|\"|\\(overloaded\\)| \\(auth\\)|rate limit reached|try again in 20s|OPENCLAW_RESTART_ABORT|lane task error: lane=a durationMs=1 error=\"|⚠️ |é|\\n| ){0,14}";

proptest! {
    #[test]
    fn no_text_panics_and_what_decided_decides_again(pieces in PIECES, any in "\\PC{0,60}", now in any::<i64>()) {
        for text in [pieces, any] {
            let reading = read_text(&text, now);
            prop_assert_eq!(&reading, &read_text(&text, now));
            if let Some(words) = &reading.decided_by {
                prop_assert_eq!(read_text(words, now).kind, reading.kind, "{} of {}", words, text);
            }
            let failure = reading.clone().into_failure(text, now);
            prop_assert_eq!(read_text(&failure.message, now).kind, reading.kind);
            let _ = read_last_words(&failure.message, now);
        }
    }

    #[test]
    fn no_object_panics(reason in ".{0,12}", status in any::<u64>(), body in PIECES) {
        let value = json!({"failoverReason": reason, "status": status, "errorBody": body, "error": {"error": {"error": {"error": {"error": {"type": "x"}}}}}});
        let _ = read(&Facts::from_value(&value), &body, NOW);
    }
}
