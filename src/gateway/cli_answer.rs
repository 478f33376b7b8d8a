//! What the `openclaw` program's output says about a call: the same answers and errors as over a socket. Pure.
//!
//! The newer generation prints errors as JSON. The older one prints sentences without the gateway's code, which stays empty.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::GatewayError;
use super::frame::Refused;
use crate::record::json;

/// What the program left when it ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printed<'a> {
    /// It ended with exit code 0.
    pub(super) success: bool,
    /// Its standard output.
    pub(super) stdout: &'a str,
    /// Its standard error.
    pub(super) stderr: &'a str,
}

/// A call that was made through the program.
#[derive(Debug, Clone, Copy)]
pub(super) struct Made<'a> {
    /// The method.
    pub(super) method: &'a str,
    /// The gateway's address as this program knows it.
    pub(super) url: &'a str,
    /// How long the gateway had.
    pub(super) limit: Duration,
}

/// The answer to a call, or the error it came to.
pub(super) fn answer(made: Made<'_>, printed: Printed<'_>) -> Result<Value, GatewayError> {
    let value = payload(printed.stdout);
    match (printed.success, value) {
        (true, Some(value)) => Ok(value),
        (true, None) => Err(GatewayError::Broken(format!(
            "the openclaw program printed no JSON: {}",
            excerpt(&[printed.stdout, printed.stderr])
        ))),
        (false, Some(value)) if value.get("error").is_some_and(Value::is_object) => {
            let error = value.get("error").cloned().unwrap_or_default();
            Err(of_object(made, &error))
        }
        (false, _) => Err(of_words(made, printed)),
    }
}

/// The last JSON object or array that begins a line; log lines may stand around it.
fn payload(stdout: &str) -> Option<Value> {
    let mut found = None;
    let mut at = 0;
    while let Some(rest) = stdout.get(at..).filter(|rest| !rest.is_empty()) {
        let mut next = rest.find('\n').map_or(rest.len(), |end| end + 1);
        if rest.starts_with(['{', '[']) {
            let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
            if let Some(Ok(value)) = values.next() {
                let end = values.byte_offset();
                let ends_line = rest.get(end..).is_some_and(|after| {
                    let line = after.split('\n').next().unwrap_or_default();
                    line.trim().is_empty()
                });
                if ends_line {
                    found = rest
                        .get(..end)
                        .and_then(|text| json::parse_value(text).ok());
                    next = next.max(end);
                }
                drop(value);
            }
        }
        at += next;
    }
    found
}

/// The newer generation's error object.
fn of_object(made: Made<'_>, error: &Value) -> GatewayError {
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
    let (message, reason) = (text("message"), text("reason"));
    match (text("type"), text("kind")) {
        ("gateway_request_error", _) => refused(
            made,
            Refused::deserialize(error.clone()).unwrap_or_default(),
        ),
        (_, "timeout") => timed_out(made),
        _ => of_transport(made, message, reason),
    }
}

/// The older generation's sentence.
fn of_words(made: Made<'_>, printed: Printed<'_>) -> GatewayError {
    let mut lines = printed.stderr.lines().map(str::trim);
    let Some(words) = lines.find_map(|line| line.strip_prefix("Gateway call failed: ")) else {
        return GatewayError::Broken(format!(
            "the openclaw program failed: {}",
            excerpt(&[printed.stderr, printed.stdout])
        ));
    };
    if let Some(message) = words.strip_prefix("GatewayClientRequestError: ") {
        let message = message.to_owned();
        return refused(
            made,
            Refused {
                message,
                ..Refused::default()
            },
        );
    }
    let message = words
        .strip_prefix("GatewayTransportError: ")
        .unwrap_or(words);
    if message.starts_with("Error: gateway url override requires") {
        return GatewayError::Configuration(format!(
            "the openclaw program wants the secret of the gateway at {}: set OPENCLAW_GATEWAY_TOKEN",
            made.url
        ));
    }
    of_transport(made, message, "")
}

/// A connection that came to nothing, by what the program says of it.
fn of_transport(made: Made<'_>, message: &str, reason: &str) -> GatewayError {
    let says = |words: &str| message.contains(words) || reason.contains(words);
    if message.starts_with("gateway timeout after ") {
        return timed_out(made);
    }
    // Close code 1008: the gateway let us in to nothing, so no call was made.
    if says("pairing required") || says("device identity required") {
        let id = message.split_once("(requestId: ").map(|(_, rest)| rest);
        let id = id.and_then(|rest| rest.split(')').next());
        return refused(
            made,
            Refused {
                code: "NOT_PAIRED".to_owned(),
                message: message.to_owned(),
                details: json!({"code": "PAIRING_REQUIRED", "requestId": id}),
                ..Refused::default()
            },
        );
    }
    if says("unauthorized: ") || says("(1008)") {
        return refused(
            made,
            Refused {
                code: "INVALID_REQUEST".to_owned(),
                message: message.to_owned(),
                ..Refused::default()
            },
        );
    }
    let nobody = [
        "ECONNREFUSED",
        "ENOTFOUND",
        "EHOSTUNREACH",
        "ENETUNREACH",
        "EAI_AGAIN",
    ];
    if nobody.into_iter().any(says) {
        return GatewayError::Unreachable {
            url: made.url.to_owned(),
            why: excerpt(&[reason, message]),
        };
    }
    GatewayError::Broken(excerpt(&[message, reason]))
}

fn timed_out(made: Made<'_>) -> GatewayError {
    GatewayError::TimedOut {
        method: made.method.to_owned(),
        limit: made.limit,
    }
}

fn refused(made: Made<'_>, refused: Refused) -> GatewayError {
    GatewayError::Refused {
        method: made.method.to_owned(),
        refused: Box::new(refused),
    }
}

/// The first line of the first text that has one, for a message.
fn excerpt(texts: &[&str]) -> String {
    let line = texts
        .iter()
        .flat_map(|text| text.lines())
        .map(str::trim)
        .find(|line| !line.is_empty());
    line.unwrap_or("it printed nothing")
        .chars()
        .take(300)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn told(success: bool, stdout: &str, stderr: &str) -> Result<Value, GatewayError> {
        let made = Made {
            method: "agent.wait",
            url: "ws://127.0.0.1:1/",
            limit: Duration::from_secs(3),
        };
        let printed = Printed {
            success,
            stdout,
            stderr,
        };
        answer(made, printed)
    }

    #[rstest]
    #[case("{\n  \"ok\": true\n}\n")]
    #[case("{\"ok\":true}")]
    #[case("[plugins] loaded 3\n12:00:01 {not json\n{\n  \"ok\": true\n}\n")]
    #[case("{\"level\":\"info\"}\n{\"ok\":true}\n\n")]
    #[case("{\"ok\":true}\nbye\n")]
    fn log_lines_around_the_answer_are_passed_over(#[case] stdout: &str) {
        let value = told(true, stdout, "").expect("an answer");
        assert_eq!(value, json!({"ok": true}));
    }

    #[rstest]
    #[case("")]
    #[case("done\n")]
    #[case("{\"ok\":")]
    #[case("  {\"ok\":true} and more")]
    fn no_answer_leaves_the_call_open(#[case] stdout: &str) {
        assert!(matches!(
            told(true, stdout, ""),
            Err(GatewayError::Broken(_))
        ));
    }

    #[test]
    fn the_newer_generations_refusal_keeps_code_and_message() {
        let stdout = "{\n  \"ok\": false,\n  \"error\": {\n    \"type\": \"gateway_request_error\",\n    \"code\": \"INVALID_REQUEST\",\n    \"message\": \"unknown method: nope\",\n    \"retryable\": false\n  }\n}\n";
        let error = told(false, stdout, "").expect_err("refused");
        let refused = error.refusal().expect("a refusal");
        assert_eq!(
            (refused.code.as_str(), refused.message.as_str()),
            ("INVALID_REQUEST", "unknown method: nope")
        );
    }

    #[test]
    fn the_older_generations_refusal_keeps_its_sentence() {
        let stderr = "Gateway call failed: GatewayClientRequestError: invalid agent params: must have required property 'idempotencyKey'\n";
        let error = told(false, "", stderr).expect_err("refused");
        let refused = error.refusal().expect("a refusal");
        assert_eq!(
            refused.to_string(),
            "invalid agent params: must have required property 'idempotencyKey'"
        );
    }

    #[rstest]
    #[case(
        "",
        "Gateway call failed: GatewayTransportError: gateway timeout after 3000ms\nGateway target: ws://127.0.0.1:35083\n"
    )]
    #[case(
        r#"{"ok":false,"error":{"type":"gateway_transport_error","kind":"timeout","message":"gateway timeout after 3000ms","timeoutMs":3000},"gateway":{"url":"ws://127.0.0.1:1"}}"#,
        ""
    )]
    fn a_time_out_leaves_the_call_open(#[case] stdout: &str, #[case] stderr: &str) {
        let error = told(false, stdout, stderr).expect_err("timed out");
        assert!(matches!(error, GatewayError::TimedOut { .. }), "{error}");
        assert!(error.refusal().is_none());
    }

    #[test]
    fn a_closed_connection_says_why() {
        let pairing = "gateway connect failed: GatewayClientRequestError: scope upgrade pending approval (requestId: q7)\nGateway call failed: GatewayTransportError: gateway closed (1008): pairing required: device is asking for more scopes than currently approved (requestId: q7)\nGateway target: ws://127.0.0.1:1\n";
        let error = told(false, "", pairing).expect_err("refused");
        let refused = error.refusal().expect("a refusal");
        assert!(refused.wants_pairing());
        assert!(refused.to_string().contains("q7"), "{refused}");
        let token = "Gateway call failed: GatewayTransportError: gateway closed (1008): unauthorized: gateway token mismatch (set gateway.remote.token to match gateway.auth.token)\n";
        let error = told(false, "", token).expect_err("refused");
        assert!(error.refusal().is_some(), "{error}");
        let gone = "Gateway call failed: GatewayTransportError: gateway closed (1006 abnormal closure (no close frame)): no close reason\n";
        let error = told(false, "", gone).expect_err("broken");
        assert!(matches!(error, GatewayError::Broken(_)), "{error}");
        let nobody = r#"{"ok":false,"error":{"type":"gateway_transport_error","kind":"closed","message":"Gateway not reachable at ws://127.0.0.1:1 (ECONNREFUSED).","reason":"connect ECONNREFUSED 127.0.0.1:1"}}"#;
        let error = told(false, nobody, "").expect_err("nobody");
        assert!(matches!(error, GatewayError::Unreachable { .. }), "{error}");
        let crash = told(false, "", "node:internal: out of memory\n at x").expect_err("broken");
        assert!(matches!(crash, GatewayError::Broken(_)), "{crash}");
    }

    proptest! {
        #[test]
        fn no_output_panics(success in any::<bool>(), stdout in "(\\{|\\}|\\[|\\]|\"ok\"|:|true|,|\n|é|\"error\":\\{|x){0,20}", stderr in "(Gateway call failed: |GatewayTransportError: |\\(requestId: |\\)|pairing required|\n|é){0,8}") {
            let _ = told(success, &stdout, &stderr);
        }
    }
}
