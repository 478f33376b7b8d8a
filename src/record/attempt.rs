//! A further attempt at a label's work, within its generation.

use std::fmt;

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

/// Which model a run uses, and through which account. What is `None` is the agent's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selection {
    /// The model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The profile of the provider's credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_profile: Option<String>,
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.model.as_deref().unwrap_or("the agent's model"))?;
        match &self.auth_profile {
            Some(profile) => write!(f, " as {profile}"),
            None => Ok(()),
        }
    }
}

/// The one attempt that was made with the fallback, and what failed beside it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FallbackUse {
    /// Which attempt it was.
    pub attempt: u32,
    /// With what.
    #[serde(flatten)]
    pub selection: Selection,
    /// How the primary selection had failed.
    pub primary_error: String,
    /// How the fallback failed, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
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
