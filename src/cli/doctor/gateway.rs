//! Whether the configured gateway is there, what it is, and whether it lets us in. Its token is never shown.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::clock::TOLERATED_MS;
use super::findings::Findings;
use crate::clock::{Clock, SystemClock};
use crate::duration::format_duration;
use crate::gateway::{
    Client, Endpoint, GatewayError, Generation, Refused, Secret, configured, endpoint,
};
use crate::home::Home;

/// How long the gateway may take for the handshake, and then for one question.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);

/// After this it is told that the gateway hangs, whatever it hangs in: a name may take long to be looked up, and so may the
/// start of the `openclaw` program.
const LIMIT: Duration = Duration::from_secs(6);

/// Adds what is to be said of the gateway; nothing where none is configured.
pub(super) fn check(home: &Home, found: &mut Findings) {
    if configured(&home.paths, &home.environment).is_none() {
        return;
    }
    let endpoint = match endpoint(home) {
        Ok(endpoint) => endpoint,
        Err(e) => {
            found.wrong("gateway", e.to_string());
            return;
        }
    };
    let url = endpoint.url.clone();
    let secret = secret_words(home, &endpoint.secret);
    let (tell, told) = channel();
    thread::spawn(move || {
        let _ = tell.send(ask(&endpoint));
    });
    match told.recv_timeout(LIMIT) {
        Ok(Ok(answer)) => {
            let what = format!("{url}: {}; {secret} is accepted", answer.what);
            found.fine("gateway", what);
            if let Some(words) = answer.skew_ms.and_then(skew_words) {
                found
                    .warn("clock", format!("the gateway's clock is {words} this machine's"))
                    .todo("set the one that is wrong (timedatectl, chronyc makestep): what is old and what is new is told by both");
            }
        }
        Ok(Err(error)) => {
            found.wrong("gateway", trouble(&url, &secret, &error));
        }
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            let what = format!(
                "the gateway at {url} did not answer within {} s",
                LIMIT.as_secs()
            );
            found
                .wrong("gateway", what)
                .todo("look at its log, or restart it");
        }
    }
}

/// A gateway that has let us in.
struct Answer {
    what: String,
    /// How far its clock is ahead of ours, where it tells its time.
    skew_ms: Option<i64>,
}

/// What the gateway is, once it has let us in and answered a question.
fn ask(endpoint: &Endpoint) -> Result<Answer, GatewayError> {
    let mut client = Client::connect(endpoint, ANSWER_LIMIT)?;
    let clock = SystemClock::new();
    let asked_ms = clock.now_ms();
    let answer = client.call("sessions.list", &json!({"limit": 1}), ANSWER_LIMIT)?;
    let told_ms = answer.get("ts").and_then(Value::as_i64);
    let skew_ms = told_ms.map(|told_ms| skew(asked_ms, told_ms, clock.now_ms()));
    let sessions = match client.generation() {
        Generation::Files => "sessions in files (up to 2026.7)",
        Generation::Database => "sessions in SQLite (from 2026.8)",
    };
    let what = match client.version() {
        "" => format!("OpenClaw, {sessions}"),
        version => format!("OpenClaw {version}, {sessions}"),
    };
    Ok(Answer { what, skew_ms })
}

/// How far a time that was told between two of ours lies outside them. Pure.
fn skew(asked_ms: i64, told_ms: i64, heard_ms: i64) -> i64 {
    match told_ms {
        told if told < asked_ms => told.saturating_sub(asked_ms),
        told if told > heard_ms => told.saturating_sub(heard_ms),
        _ => 0,
    }
}

/// `None` for clocks that agree well enough. Pure.
fn skew_words(skew_ms: i64) -> Option<String> {
    let apart = format_duration(skew_ms.saturating_abs());
    match skew_ms {
        ahead if ahead > TOLERATED_MS => Some(format!("{apart} ahead of")),
        behind if behind < -TOLERATED_MS => Some(format!("{apart} behind")),
        _ => None,
    }
}

/// Which secret is shown at the door, and where it comes from.
fn secret_words(home: &Home, secret: &Secret) -> String {
    let is_set = |name: &str| (home.environment)(name).is_some_and(|value| !value.is_empty());
    let (what, variable) = match secret {
        Secret::None => return "no token".to_owned(),
        Secret::Token(_) => ("token", "OPENCLAW_GATEWAY_TOKEN"),
        Secret::Password(_) => ("password", "OPENCLAW_GATEWAY_PASSWORD"),
    };
    match is_set(variable) {
        true => format!("the {what} in {variable}"),
        false => format!("the {what} in {}", home.paths.openclaw_config.display()),
    }
}

fn trouble(url: &str, secret: &str, error: &GatewayError) -> String {
    match error.refusal() {
        Some(refused) if is_about_the_secret(refused) => format!(
            "the gateway at {url} refuses {secret}: give the one that it was started with (gateway.auth.token in its openclaw.json) in OPENCLAW_GATEWAY_TOKEN"
        ),
        Some(_) => format!("{error}; the gateway at {url} was shown {secret}"),
        None => match error {
            GatewayError::TimedOut { .. } | GatewayError::Broken(_) => {
                format!("{url}: {error}; look at the gateway's log, or restart it")
            }
            _ => error.to_string(),
        },
    }
}

fn is_about_the_secret(refused: &Refused) -> bool {
    let code = refused.details.get("code").and_then(|code| code.as_str());
    let is_auth = code.is_some_and(|code| code.starts_with("AUTH_"));
    is_auth || refused.message.starts_with("unauthorized") || refused.wants_pairing()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, message: &str, details: Value) -> GatewayError {
        GatewayError::Refused {
            method: "connect".to_owned(),
            refused: Box::new(Refused {
                code: code.to_owned(),
                message: message.to_owned(),
                details,
                ..Refused::default()
            }),
        }
    }

    #[test]
    fn clocks_are_compared_whatever_the_answer_took() {
        assert_eq!(skew(1_000, 5_000, 9_000), 0);
        assert_eq!(skew(1_000, 400, 9_000), -600);
        assert_eq!(skew(1_000, 9_700, 9_000), 700);
        assert_eq!(skew_words(60_000), None);
        assert_eq!(skew_words(-60_000), None);
        assert_eq!(skew_words(3_600_000).as_deref(), Some("1h ahead of"));
        assert_eq!(skew_words(-120_000).as_deref(), Some("2m behind"));
    }

    #[test]
    fn a_secret_that_is_refused_is_named_by_where_it_stands() {
        let mismatch = refused(
            "INVALID_REQUEST",
            "unauthorized: gateway token mismatch (provide gateway auth token)",
            json!({"code": "AUTH_TOKEN_MISMATCH"}),
        );
        let unpaired = refused("NOT_PAIRED", "device identity required", Value::Null);
        for (error, secret) in [(mismatch, "the token in FILE"), (unpaired, "no token")] {
            assert_eq!(
                trouble("ws://h/", secret, &error),
                format!(
                    "the gateway at ws://h/ refuses {secret}: give the one that it was started with (gateway.auth.token in its openclaw.json) in OPENCLAW_GATEWAY_TOKEN"
                )
            );
        }
        let scope = refused("FORBIDDEN", "missing scope: operator.read", Value::Null);
        assert_eq!(
            trouble("ws://h/", "the token in FILE", &scope),
            "the gateway refused connect: missing scope: operator.read (FORBIDDEN); the gateway at ws://h/ was shown the token in FILE"
        );
    }
}
