//! A further attempt at a label's work, within its generation.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Baseline;

/// The claim to an attempt: recorded before its run is asked for, so that whoever finds it repeats it under the same key.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Claim {
    /// Which attempt of the generation it is; the one that was enqueued is the first.
    pub attempt: u32,
    /// The run's id, which is its idempotency key.
    pub key: String,
    /// When it was claimed, ms since the epoch.
    pub at: i64,
    /// The provider that failed before, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Fields that other versions wrote.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What a further attempt goes on with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Attempt {
    /// The run's id.
    pub run_id: String,
    /// The session's key.
    pub session_key: String,
    /// What the session looked like before.
    pub baseline: Baseline,
}
