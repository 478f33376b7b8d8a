//! A webhook: the payload as JSON in a POST, signed where a secret is set.

use std::io;
use std::time::Duration;

use serde_json::json;
use ureq::Agent;

use super::{Payload, excerpt};
use crate::config::Webhook;
use crate::delivery::outbox::Outcome;
use crate::failure::retry_after;
use crate::signature::{SIGNATURE_HEADER, signature};

/// A receiver that takes longer than this may or may not have it, unless the configuration says otherwise.
const TIME_OUT: Duration = Duration::from_secs(20);

/// The most of an answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

/// Posts the payload. `now_ms` is what a date in the answer is counted from.
pub(super) fn post(
    hook: &Webhook,
    payload: &Payload,
    limit: Option<Duration>,
    now_ms: impl Fn() -> i64,
) -> Outcome {
    let body = match serde_json::to_string(payload) {
        Ok(body) => body,
        Err(e) => return Outcome::Refused { why: e.to_string() },
    };
    let agent: Agent = Agent::config_builder()
        .timeout_global(Some(limit.unwrap_or(TIME_OUT)))
        .timeout_connect(Some(Duration::from_secs(5)))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .build()
        .into();
    let mut request = agent
        .post(&hook.url)
        .header("Content-Type", "application/json")
        .header(
            "User-Agent",
            concat!("dispatch/", env!("CARGO_PKG_VERSION")),
        )
        .header("Idempotency-Key", header_value(&payload.key))
        .header("X-Dispatch-Key", header_value(&payload.key));
    if let Some(secret) = &hook.secret {
        request = request.header(SIGNATURE_HEADER, signature(secret, body.as_bytes()));
    }
    match request.send(&body) {
        Ok(mut response) => {
            let status = response.status().as_u16();
            let wait = response
                .headers()
                .get("retry-after")
                .and_then(|value| retry_after::of_header(value.to_str().ok()?, now_ms()))
                .map(Duration::from_millis);
            let said = response
                .body_mut()
                .with_config()
                .limit(MAX_ANSWER_BYTES)
                .read_to_string()
                .unwrap_or_default();
            judge(status, wait, &said)
        }
        Err(e) => fate(&e),
    }
}

/// 2xx is a receipt; what may pass is tried again; anything else never will. With 429 and 503 a receiver says that it has
/// not taken the request; whoever answers 408 or another 5xx, a proxy in front of it among them, may have it all the same.
fn judge(status: u16, retry_after: Option<Duration>, said: &str) -> Outcome {
    match status {
        200..=299 => Outcome::Delivered {
            receipt: json!({"status": status, "body": excerpt(said)}),
        },
        429 | 503 => Outcome::Failed {
            why: format!("the receiver answered {status}"),
            retry_after,
        },
        408 | 500..=599 => Outcome::Unknown {
            why: format!("the receiver answered {status}"),
            retry_after,
            remembered: None,
        },
        _ => Outcome::Refused {
            why: format!("the receiver answered {status}: {}", excerpt(said)),
        },
    }
}

/// An error before the request was out is a failure; one after it leaves the fate open.
fn fate(error: &ureq::Error) -> Outcome {
    use ureq::{Error, Timeout};
    let why = match error {
        // It repeats the address, which may hold a secret.
        Error::BadUri(_) => "the webhook's url is not usable".to_owned(),
        Error::Io(e) => e.to_string(),
        Error::Timeout(_) => "the receiver did not answer in time".to_owned(),
        error => error.to_string(),
    };
    match error {
        Error::HostNotFound
        | Error::ConnectionFailed
        | Error::Timeout(Timeout::Resolve | Timeout::Connect) => Outcome::Failed {
            why,
            retry_after: None,
        },
        Error::Io(e) if e.kind() == io::ErrorKind::ConnectionRefused => Outcome::Failed {
            why,
            retry_after: None,
        },
        Error::BadUri(_) | Error::Http(_) => Outcome::Refused { why },
        _ => Outcome::Unknown {
            why,
            retry_after: None,
            remembered: None,
        },
    }
}

/// A key in header form: what a header cannot carry is escaped as in a URL.
fn header_value(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b'%' => "%25".to_owned(),
            0x21..=0x7e => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_by_whether_a_repeat_can_help() {
        let kind = |status| match judge(status, None, "") {
            Outcome::Delivered { .. } => "delivered",
            Outcome::Failed { .. } => "failed",
            Outcome::Unknown { .. } => "unknown",
            Outcome::Refused { .. } => "refused",
            Outcome::Spent(_) => "spent",
        };
        for status in [200, 202, 204] {
            assert_eq!(kind(status), "delivered");
        }
        for status in [429, 503] {
            assert_eq!(kind(status), "failed");
        }
        for status in [408, 500, 501, 502, 504, 599] {
            assert_eq!(kind(status), "unknown");
        }
        for status in [301, 307, 400, 401, 403, 404, 410, 422] {
            assert_eq!(kind(status), "refused");
        }
    }

    #[test]
    fn a_key_with_any_label_fits_a_header() {
        assert_eq!(
            header_value("a b/5/1/result/é%"),
            "a%20b/5/1/result/%C3%A9%25"
        );
    }
}
