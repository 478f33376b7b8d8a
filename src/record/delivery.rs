//! One record of the outbox: what is to be delivered where, and how far that got.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Generation;

/// What a delivery tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryKind {
    /// The session started.
    Starting,
    /// A progress message.
    Note,
    /// The session failed.
    Failure,
    /// The session's result.
    Result,
    /// A result that arrived after a failure was told.
    Correction,
}

impl DeliveryKind {
    /// The text in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryKind::Starting => "starting",
            DeliveryKind::Note => "note",
            DeliveryKind::Failure => "failure",
            DeliveryKind::Result => "result",
            DeliveryKind::Correction => "correction",
        }
    }
}

/// How far a delivery got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeliveryState {
    /// Recorded, not tried yet.
    Pending,
    /// A try is under way, or was when its sender died.
    Sending,
    /// Failed for now; tried again at `nextAt`.
    Retrying,
    /// A try timed out: the receiver may have it.
    Unknown,
    /// The receiver acknowledged it.
    Delivered,
    /// Given up until `redeliver`.
    Parked,
}

/// An outbox record; one per target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// label/generation/attempt/kind/target, stable over every repeat.
    pub key: String,
    /// What it tells.
    pub kind: DeliveryKind,
    /// How far it got.
    pub state: DeliveryState,
    /// `<channel>:<target>`.
    pub target: String,
    /// Tries so far.
    #[serde(default)]
    pub attempts: u32,
    /// Time of the next try, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<i64>,
    /// What the receiver answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Value>,
    /// Why the last try failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Fields that other versions wrote.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Delivery {
    /// A new record, to be tried at once.
    pub fn new(
        label: &str,
        generation: Generation,
        attempt: u32,
        kind: DeliveryKind,
        target: &str,
    ) -> Self {
        Self {
            key: format!("{label}/{generation}/{attempt}/{}/{target}", kind.as_str()),
            kind,
            state: DeliveryState::Pending,
            target: target.to_owned(),
            attempts: 0,
            next_at: None,
            receipt: None,
            last_error: None,
            extra: Map::new(),
        }
    }

    /// Still owed to its target.
    pub fn is_open(&self) -> bool {
        self.state != DeliveryState::Delivered
    }
}
