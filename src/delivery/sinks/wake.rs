//! The session that asked for the work, told through its gateway.
//!
//! The text joins the queue of events that the session drains with its next turn, and that turn is asked for at once; a
//! sub-agent's session gets it as a message. A gateway remembers no key of a wake: a repeat is seen as one, and says so.

use std::time::Duration;

use serde_json::{Value, json};

use super::Payload;
use super::chat::connect;
use crate::delivery::outbox::Outcome;
use crate::gateway::{GatewayError, Refused};
use crate::home::Home;

/// How long a gateway may take for it.
const TIME_OUT: Duration = Duration::from_secs(30);

/// Tells the session with the key `requester`.
pub(super) fn send(
    home: &Home,
    requester: &str,
    payload: &Payload,
    limit: Option<Duration>,
) -> Outcome {
    let mut client = match connect(home, "wake") {
        Ok(client) => client,
        Err(outcome) => return outcome,
    };
    let route = client.routing().route(requester);
    let method = route.by.method();
    let params = route.by.params(&payload.text, &payload.key);
    match client.call(method, &params, limit.unwrap_or(TIME_OUT)) {
        // `{"ok":false,"reason":..}`: a session that nobody can wake.
        Ok(answer) if answer.get("ok") == Some(&Value::Bool(false)) => Outcome::Refused {
            why: format!(
                "the gateway cannot wake {requester}: {}",
                answer.get("reason").unwrap_or(&Value::Null)
            ),
        },
        Ok(_) => Outcome::Delivered {
            receipt: json!({"method": method, "queue": route.queue}),
        },
        Err(e) => judge(&e),
    }
}

/// What a wake without success leaves.
fn judge(error: &GatewayError) -> Outcome {
    let why = error.to_string();
    match error.refusal().map(Refused::retry_after) {
        None => Outcome::Unknown {
            why,
            retry_after: None,
            remembered: None,
        },
        Some(Some(pause)) => Outcome::Failed {
            why,
            retry_after: Some(pause),
        },
        Some(None) => Outcome::Refused { why },
    }
}
