//! Whether the configured gateway is there, what it is, and whether it lets us in. Its token is never shown.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use serde_json::json;

use super::Findings;
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
        Err(e) => return found.wrong("gateway", e.to_string()),
    };
    let url = endpoint.url.clone();
    let secret = secret_words(home, &endpoint.secret);
    let (tell, told) = channel();
    thread::spawn(move || {
        let _ = tell.send(ask(&endpoint));
    });
    match told.recv_timeout(LIMIT) {
        Ok(Ok(what)) => found.fine("gateway", format!("{url}: {what}; {secret} is accepted")),
        Ok(Err(error)) => found.wrong("gateway", trouble(&url, &secret, &error)),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => found.wrong(
            "gateway",
            format!(
                "the gateway at {url} did not answer within {} s; look at its log, or restart it",
                LIMIT.as_secs()
            ),
        ),
    }
}

/// What the gateway is, once it has let us in and answered a question.
fn ask(endpoint: &Endpoint) -> Result<String, GatewayError> {
    let mut client = Client::connect(endpoint, ANSWER_LIMIT)?;
    client.call("sessions.list", &json!({"limit": 1}), ANSWER_LIMIT)?;
    let sessions = match client.generation() {
        Generation::Files => "sessions in files (up to 2026.7)",
        Generation::Database => "sessions in SQLite (from 2026.8)",
    };
    Ok(match client.version() {
        "" => format!("OpenClaw, {sessions}"),
        version => format!("OpenClaw {version}, {sessions}"),
    })
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
    use serde_json::Value;

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
