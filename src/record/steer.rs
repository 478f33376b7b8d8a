//! A message that was sent into a running session.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The most characters of the message that are kept, to find its line by.
const HEAD_CHARS: usize = 160;

/// Recorded before the message goes out: it begins a further run, and the session settles with the last of them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Steer {
    /// The run that it begins, which is its idempotency key.
    pub run_id: String,
    /// When it was recorded, ms since the epoch.
    pub at: i64,
    /// It stops the turn that runs: what ends by it is no failure.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub interrupts: bool,
    /// When the run that it found had started, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found_started_at: Option<i64>,
    /// Of the watcher's own requests for a final reply: which it is, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<u8>,
    /// The stuck detector sent it: it says nothing of the work.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub nudge: bool,
    /// How the message begins.
    pub head: String,
    /// The file with the whole message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_path: Option<String>,
    /// Fields that other versions wrote.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Steer {
    /// The record of a message under this run's id.
    pub fn new(run_id: &str, message: &str, interrupts: bool, at: i64) -> Self {
        Self {
            run_id: run_id.to_owned(),
            at,
            interrupts,
            head: message.trim().chars().take(HEAD_CHARS).collect(),
            ..Self::default()
        }
    }
}
