//! One event: what happened to which label, when and where.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A label was enqueued.
    #[serde(rename = "dispatch.started")]
    Started,
    /// It ended, or a late completion changed its end.
    #[serde(rename = "dispatch.finished")]
    Finished,
    /// Sessions were found stuck.
    #[serde(rename = "dispatch.stuck")]
    Stuck,
    /// It was stopped on request.
    #[serde(rename = "dispatch.cancelled")]
    Cancelled,
    /// A further attempt began.
    #[serde(rename = "dispatch.retried")]
    Retried,
    /// A receiver acknowledged a delivery.
    #[serde(rename = "dispatch.delivered")]
    Delivered,
}

impl EventKind {
    /// The name that receivers see.
    pub fn name(self) -> &'static str {
        match self {
            EventKind::Started => "dispatch.started",
            EventKind::Finished => "dispatch.finished",
            EventKind::Stuck => "dispatch.stuck",
            EventKind::Cancelled => "dispatch.cancelled",
            EventKind::Retried => "dispatch.retried",
            EventKind::Delivered => "dispatch.delivered",
        }
    }
}

/// An event: a flat JSON object `{event, ts, host, ...}`, as receivers get it and as a line of the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub event: EventKind,
    /// When, ms since the epoch.
    pub ts: i64,
    /// The machine.
    pub host: String,
    /// `label`, `run_id`, `status`, ...: what there is to say of this kind.
    #[serde(flatten)]
    pub fields: Map<String, Value>,
}

impl Event {
    /// An event with nothing but its kind, time and machine.
    pub fn new(event: EventKind, ts: i64, host: &str) -> Self {
        Self {
            event,
            ts,
            host: host.to_owned(),
            fields: Map::new(),
        }
    }

    /// Adds what there is to say; an absent value adds nothing.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Option<Value>>) -> Self {
        if let Some(value) = value.into().filter(|value| !value.is_null()) {
            self.fields.insert(name.to_owned(), value);
        }
        self
    }

    /// One line of JSON.
    pub fn line(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers are always serialisable")
    }
}
