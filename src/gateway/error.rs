//! Why a gateway did not do what was asked.

use std::time::Duration;

use thiserror::Error;

use super::frame::Refused;

/// A call, or a connection, that came to nothing.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// Nothing answers there.
    #[error(
        "no gateway answers at {url}: {why}; start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL"
    )]
    Unreachable {
        /// The address.
        url: String,
        /// What the system said.
        why: String,
    },
    /// The configuration that names the gateway cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// The gateway said no.
    #[error("the gateway refused {method}: {refused}")]
    Refused {
        /// The method.
        method: String,
        /// Its answer.
        refused: Box<Refused>,
    },
    /// No answer came in time: whether the call took effect is unknown.
    #[error("the gateway did not answer {method} within {} s", limit.as_secs())]
    TimedOut {
        /// The method.
        method: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The connection broke: whether the call took effect is unknown.
    #[error("the connection to the gateway broke: {0}")]
    Broken(String),
}

impl GatewayError {
    /// A call that is not made because it would be too long; `or_else` is another remedy than a shorter text.
    pub(super) fn too_large(method: &str, bytes: usize, most: usize, or_else: &str) -> Self {
        GatewayError::Refused {
            method: method.to_owned(),
            refused: Box::new(Refused {
                code: "TOO_LARGE".to_owned(),
                message: format!(
                    "with everything around it the call has {bytes} bytes, and at most {most} go; shorten it, or put it into a file that the agent can read{or_else}"
                ),
                ..Refused::default()
            }),
        }
    }

    /// The gateway's own refusal, if that is what it was.
    pub fn refusal(&self) -> Option<&Refused> {
        match self {
            GatewayError::Refused { refused, .. } => Some(refused),
            _ => None,
        }
    }
}
