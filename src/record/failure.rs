//! Why a session failed, in one taxonomy.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What kind of failure it was; decides what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The model's provider is overloaded (HTTP 529).
    Overload,
    /// Too many requests (HTTP 429).
    RateLimit,
    /// Another process wrote to the session's transcript: local coordination, not the model's fault.
    SessionTakeover,
    /// The session vanished after it was seen, or a restart cut it.
    GatewayRestart,
    /// The session never appeared.
    Spawn,
    /// The local runner and the command's process group are gone without an exit status.
    RunnerLost,
    /// No sign of life for longer than the idle limit.
    Stalled,
    /// The verify command rejected the result.
    Verify,
    /// Credentials were refused.
    Auth,
    /// The account cannot pay.
    Billing,
    /// The context window is full.
    ContextLength,
    /// The time limit passed.
    Timeout,
    /// The model refused or broke in another way.
    Model,
    /// The run was aborted.
    Aborted,
    /// The command ended with a non-zero exit code or a signal.
    Command,
    /// None of these.
    #[serde(other)]
    Unknown,
}

impl FailureKind {
    /// The text in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            FailureKind::Overload => "overload",
            FailureKind::RateLimit => "rate-limit",
            FailureKind::SessionTakeover => "session-takeover",
            FailureKind::GatewayRestart => "gateway-restart",
            FailureKind::Spawn => "spawn",
            FailureKind::RunnerLost => "runner-lost",
            FailureKind::Stalled => "stalled",
            FailureKind::Verify => "verify",
            FailureKind::Auth => "auth",
            FailureKind::Billing => "billing",
            FailureKind::ContextLength => "context-length",
            FailureKind::Timeout => "timeout",
            FailureKind::Model => "model",
            FailureKind::Aborted => "aborted",
            FailureKind::Command => "command",
            FailureKind::Unknown => "unknown",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What kind it was.
    pub kind: FailureKind,
    /// One sentence for people.
    pub message: String,
    /// When it happened, ms since the epoch; age windows count from here.
    pub at: i64,
    /// The model's provider, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How long the provider asked to wait, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Of a time-out: it was the model that did not answer in time, not the run's own time that was up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub model_silent: bool,
    /// Fields that other versions wrote.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Failure {
    /// A failure of this kind with nothing more known.
    pub fn new(kind: FailureKind, message: impl Into<String>, at_ms: i64) -> Self {
        Self {
            kind,
            message: message.into(),
            at: at_ms,
            provider: None,
            model: None,
            retry_after_ms: None,
            model_silent: false,
            extra: Map::new(),
        }
    }
}
