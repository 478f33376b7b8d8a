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

    /// It tells how far the work is, and so makes sense in its order alone.
    pub fn is_progress(self) -> bool {
        matches!(self, DeliveryKind::Starting | DeliveryKind::Note)
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

impl DeliveryState {
    /// The text in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryState::Pending => "pending",
            DeliveryState::Sending => "sending",
            DeliveryState::Retrying => "retrying",
            DeliveryState::Unknown => "unknown",
            DeliveryState::Delivered => "delivered",
            DeliveryState::Parked => "parked",
        }
    }
}

/// What a delivery says: enough to say it after its label has gone on to other work.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Content {
    /// The first line; empty for a note.
    pub header: String,
    /// The text, cut to what the ledger keeps.
    pub text: String,
    /// The file with the whole text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// The length of the whole text.
    pub bytes: u64,
    /// Fields that other versions wrote.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
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
    /// What it says.
    #[serde(default)]
    pub content: Content,
    /// When it was recorded, ms since the epoch.
    #[serde(default)]
    pub at: i64,
    /// Tries so far.
    #[serde(default)]
    pub attempts: u32,
    /// Keys under which the receiver remembers that it failed: the next try takes one of its own.
    #[serde(default, skip_serializing_if = "is_none_spent")]
    pub spent_keys: u32,
    /// Until then, ms since the epoch, the receiver answers the key of the last try with its failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remembered_until: Option<i64>,
    /// When the last try began, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried_at: Option<i64>,
    /// The generation whose watcher made the last try.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tried_by: Option<Generation>,
    /// The receiver may have seen it already: the next try says so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_repeat: bool,
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

fn is_none_spent(spent_keys: &u32) -> bool {
    *spent_keys == 0
}

impl Delivery {
    /// A new record, to be tried at once.
    pub fn new(key: String, kind: DeliveryKind, target: &str, content: Content, at: i64) -> Self {
        Self {
            key,
            kind,
            state: DeliveryState::Pending,
            target: target.to_owned(),
            content,
            at,
            attempts: 0,
            spent_keys: 0,
            remembered_until: None,
            tried_at: None,
            tried_by: None,
            may_be_repeat: false,
            next_at: None,
            receipt: None,
            last_error: None,
            extra: Map::new(),
        }
    }

    /// label/generation/attempt/kind/target.
    pub fn key_of(
        label: &str,
        generation: Generation,
        attempt: u32,
        kind: DeliveryKind,
        target: &str,
    ) -> String {
        format!("{label}/{generation}/{attempt}/{}/{target}", kind.as_str())
    }

    /// The key that the next try goes under, for a receiver that answers a failed key from memory: the record's own, and
    /// one of its kin (`<key>~2`, `<key>~3`, ...) once that is spent.
    pub fn key_of_try(&self) -> String {
        match self.spent_keys {
            0 => self.key.clone(),
            spent => format!("{}~{}", self.key, u64::from(spent) + 1),
        }
    }

    /// Still owed to its target.
    pub fn is_open(&self) -> bool {
        self.state != DeliveryState::Delivered
    }

    /// Somebody is to send it without being told to again.
    pub fn is_to_be_sent(&self) -> bool {
        !matches!(self.state, DeliveryState::Delivered | DeliveryState::Parked)
    }
}
