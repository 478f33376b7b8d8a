//! What a session looked like before anything was sent into it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Recorded before the first message goes out; only evidence after it counts, so that a reused session's old reply is
/// never taken for a result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Baseline {
    /// The session's id, which names its transcript file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// `id` of the last complete transcript entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_entry_id: Option<String>,
    /// Byte offset after the last newline of the transcript; 0 when there was none.
    pub offset: u64,
    /// The store's status of the session (`running`, `done`, ...).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Start of the session's last run, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    /// End of the session's last run, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<i64>,
    /// Fields that other versions wrote.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
