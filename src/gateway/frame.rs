//! The frames of the wire protocol (version 4): one JSON object each. Pure.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

/// What the gateway sends.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// The answer to the request with this id.
    Response {
        /// The request's id.
        id: String,
        /// Payload or refusal. A failed final answer may have had both; the refusal counts.
        answer: Result<Value, Refused>,
    },
    /// Something happened.
    Event {
        /// What.
        name: String,
        /// About what.
        payload: Value,
    },
    /// Nothing that this client knows.
    Other,
}

/// A refusal in the gateway's own words.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Refused {
    /// `INVALID_REQUEST`, `UNAVAILABLE`, `NOT_PAIRED`, ...
    pub code: String,
    /// One sentence.
    pub message: String,
    /// More, where there is more.
    pub details: Value,
    /// The same call may succeed later.
    pub retryable: bool,
    /// How long to wait before, in ms.
    pub retry_after_ms: Option<u64>,
}

impl Refused {
    /// Device pairing stands in the way.
    pub fn wants_pairing(&self) -> bool {
        self.code == "NOT_PAIRED"
            || self.details.get("code").and_then(Value::as_str) == Some("PAIRING_REQUIRED")
    }

    /// How long to wait before the call is worth repeating, if it is.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retryable
            .then(|| Duration::from_millis(self.retry_after_ms.unwrap_or(500).clamp(50, 10_000)))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if !self.code.is_empty() {
            write!(f, " ({})", self.code)?;
        }
        if self.wants_pairing() {
            let request = self.details.get("requestId").and_then(Value::as_str);
            let approve = request.map_or_else(String::new, |id| {
                format!("approve it with 'openclaw devices approve {id}', or ")
            });
            write!(
                f,
                "; the gateway wants this device paired: {approve}give its shared token in OPENCLAW_GATEWAY_TOKEN"
            )?;
        }
        Ok(())
    }
}

impl Frame {
    /// Reads a frame; what is no JSON object, or no known type, is [`Frame::Other`].
    pub fn parse(text: &str) -> Self {
        let Ok(Value::Object(mut fields)) = crate::record::json::parse_value(text) else {
            return Frame::Other;
        };
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        match fields.get("type").and_then(Value::as_str) {
            Some("res") => {
                let Some(id) = text(fields.get("id")) else {
                    return Frame::Other;
                };
                let ok = fields.get("ok") == Some(&Value::Bool(true));
                let payload = fields.remove("payload").unwrap_or_default();
                let answer = match ok {
                    true => Ok(payload),
                    false => Err(
                        Refused::deserialize(fields.remove("error").unwrap_or_default())
                            .unwrap_or_default(),
                    ),
                };
                Frame::Response { id, answer }
            }
            Some("event") => Frame::Event {
                name: text(fields.get("event")).unwrap_or_default(),
                payload: fields.remove("payload").unwrap_or_default(),
            },
            _ => Frame::Other,
        }
    }

    /// A request, as text to send.
    pub fn request(id: &str, method: &str, params: &Value) -> String {
        json!({"type": "req", "id": id, "method": method, "params": params}).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_the_gateways_words_and_a_failed_final_answer_is_one() {
        let text = r#"{"type":"res","id":"r1","ok":false,"payload":{"runId":"x"},"error":{"code":"UNAVAILABLE","message":"starting","retryable":true,"retryAfterMs":700}}"#;
        let Frame::Response {
            id,
            answer: Err(refused),
        } = Frame::parse(text)
        else {
            panic!("no refusal");
        };
        assert_eq!(id, "r1");
        assert_eq!(refused.retry_after(), Some(Duration::from_millis(700)));
        assert_eq!(refused.to_string(), "starting (UNAVAILABLE)");
    }

    #[test]
    fn pairing_names_its_remedy() {
        let text = r#"{"type":"res","id":"r","ok":false,"error":{"code":"NOT_PAIRED","message":"pairing required","details":{"code":"PAIRING_REQUIRED","requestId":"q7"}}}"#;
        let Frame::Response {
            answer: Err(refused),
            ..
        } = Frame::parse(text)
        else {
            panic!("no refusal");
        };
        assert!(
            refused.to_string().contains("openclaw devices approve q7"),
            "{refused}"
        );
    }

    #[test]
    fn noise_is_passed_over() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"type":"res"}"#,
            r#"{"type":"new"}"#,
            "\u{0}",
        ] {
            assert_eq!(Frame::parse(text), Frame::Other, "{text}");
        }
    }
}
