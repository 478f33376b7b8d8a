//! A run of an older generation whose command lived on when its label went on to other work.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Generation;

/// What is needed to see whether the command still is at work, and to stop it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OlderRun {
    /// The generation that it was.
    pub generation: Generation,
    /// The run's id.
    pub run_id: String,
    /// Its session's key.
    pub session_key: String,
    /// Its session's id.
    pub session_id: String,
    /// When that generation ended, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
    /// Fields that other versions wrote.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
