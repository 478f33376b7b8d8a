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
