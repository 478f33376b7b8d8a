//! OpenClaw's session store, `sessions.json`: session key -> row. Read only.
//!
//! Reading is lenient within a row: a field of an unexpected type counts as absent, unknown fields are kept. It is strict
//! about the file: one that is not a JSON object is damaged and the error says where. The gateway replaces the file
//! atomically, so that a reader never needs a lock.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::key::same_key;
use crate::record::time;
use crate::record::{Baseline, json};
use crate::storage::open_to_read;

/// The largest store that is read, in bytes.
pub const MAX_STORE_BYTES: u64 = 256 * 1024 * 1024;

/// Diagnostics of several KB in every row, which are not kept.
const DROPPED_FIELDS: [&str; 2] = ["skillsSnapshot", "systemPromptReport"];

/// What the store says about one session.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SessionRow {
    /// The session's present id, which names its transcript.
    pub session_id: Option<String>,
    /// The transcript's path, where the store names it.
    pub session_file: Option<PathBuf>,
    /// When the row last changed, ms since the Unix epoch.
    pub updated_at_ms: Option<i64>,
    /// How its last run stands.
    pub status: Option<SessionStatus>,
    /// Start of its last run, ms since the Unix epoch.
    pub started_at_ms: Option<i64>,
    /// End of its last run, ms since the Unix epoch.
    pub ended_at_ms: Option<i64>,
    /// Prompt tokens of the last model call.
    pub total_tokens: Option<u64>,
    /// The model.
    pub model: Option<String>,
    /// The model's provider.
    pub model_provider: Option<String>,
    /// The label that its creator gave it.
    pub label: Option<String>,
    /// Its last run was aborted.
    pub aborted_last_run: Option<bool>,
    /// Key of the session that spawned it.
    pub spawned_by: Option<String>,
    /// The row's other fields, but for the gateway's bulky prompt diagnostics.
    pub extra: Map<String, Value>,
}

/// How a session's last run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionStatus {
    /// A run is in flight, or was when the gateway died.
    Running,
    /// It ended by itself.
    Done,
    /// It failed.
    Failed,
    /// It ended by a time limit or an abort.
    Timeout,
    /// It was killed.
    Killed,
    /// A status that is not known here.
    Other(String),
}

/// Why the store cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file cannot be read.
    #[error("cannot read the session store {}: {source}", path.display())]
    Read {
        /// The store.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The file is over [`MAX_STORE_BYTES`].
    #[error("the session store {} is larger than {MAX_STORE_BYTES} bytes; clean up old sessions", path.display())]
    TooLarge {
        /// The store.
        path: PathBuf,
    },
    /// The file is not a JSON object.
    #[error("the session store {} is damaged at line {line}, column {column}: {source}", path.display())]
    Damaged {
        /// The store.
        path: PathBuf,
        /// Line of the damage, from 1.
        line: usize,
        /// Column of the damage.
        column: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
}

/// The row of one session, its key compared ignoring case; `None` without file or row.
///
/// The other rows are checked for being JSON and not kept.
///
/// # Errors
/// [`StoreError`].
pub fn read_row(path: &Path, key: &str) -> Result<Option<SessionRow>, StoreError> {
    let Some(text) = read_text(path)? else {
        return Ok(None);
    };
    let found = Pick { key }
        .read(&text)
        .map_err(|source| damaged(path, source))?;
    Ok(found.and_then(SessionRow::from_raw))
}

/// All rows in the file's order; a row that is no object is left out. Empty without a file.
///
/// # Errors
/// [`StoreError`].
pub fn read_rows(path: &Path) -> Result<Vec<(String, SessionRow)>, StoreError> {
    let Some(text) = read_text(path)? else {
        return Ok(Vec::new());
    };
    All.read(&text).map_err(|source| damaged(path, source))
}

impl SessionRow {
    /// Reads a row; `None` when it is no object.
    pub fn from_value(value: Value) -> Option<Self> {
        let Value::Object(mut fields) = value else {
            return None;
        };
        for name in DROPPED_FIELDS {
            fields.remove(name);
        }
        let mut take = |name: &str| fields.remove(name).unwrap_or_default();
        let row = Self {
            session_id: text(take("sessionId")),
            session_file: text(take("sessionFile")).map(PathBuf::from),
            updated_at_ms: time::parse(&take("updatedAt")),
            status: text(take("status")).map(SessionStatus::from),
            started_at_ms: time::parse(&take("startedAt")),
            ended_at_ms: time::parse(&take("endedAt")),
            total_tokens: take("totalTokens").as_u64(),
            model: text(take("model")),
            model_provider: text(take("modelProvider")),
            label: text(take("label")),
            aborted_last_run: take("abortedLastRun").as_bool(),
            spawned_by: text(take("spawnedBy")),
            extra: Map::new(),
        };
        Some(Self {
            extra: fields,
            ..row
        })
    }

    /// Puts what the store knows into a baseline.
    pub fn complete_baseline(&self, baseline: &mut Baseline) {
        baseline.session_id = self.session_id.clone().or(baseline.session_id.take());
        baseline.status = self
            .status
            .as_ref()
            .map(|status| status.as_str().to_owned());
        baseline.started_at = self.started_at_ms;
        baseline.ended_at = self.ended_at_ms;
    }

    fn from_raw(raw: &RawValue) -> Option<Self> {
        Self::from_value(json::parse_value(raw.get()).ok()?)
    }
}

impl SessionStatus {
    /// The store's word for it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Killed => "killed",
            Self::Other(word) => word,
        }
    }
}

impl From<String> for SessionStatus {
    fn from(word: String) -> Self {
        match word.as_str() {
            "running" => Self::Running,
            "done" => Self::Done,
            "failed" => Self::Failed,
            "timeout" => Self::Timeout,
            "killed" => Self::Killed,
            _ => Self::Other(word),
        }
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// The file's text; invalid UTF-8 is replaced, so that one bad row costs no other.
fn read_text(path: &Path) -> Result<Option<String>, StoreError> {
    let failed = |source| StoreError::Read {
        path: path.to_owned(),
        source,
    };
    let file = match open_to_read(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    let len = file.metadata().map_err(failed)?.len();
    let mut bytes = Vec::with_capacity(len.min(MAX_STORE_BYTES) as usize + 1);
    let mut bounded = file.take(MAX_STORE_BYTES + 1);
    bounded.read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_STORE_BYTES {
        return Err(StoreError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(Some(String::from_utf8(bytes).unwrap_or_else(|invalid| {
        String::from_utf8_lossy(invalid.as_bytes()).into_owned()
    })))
}

fn damaged(path: &Path, source: serde_json::Error) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        line: source.line(),
        column: source.column(),
        source,
    }
}

/// A way to read the store's text to its end.
trait StoreReading<'de>: Visitor<'de> {
    fn read(self, text: &'de str) -> Result<Self::Value, serde_json::Error> {
        let mut parser = serde_json::Deserializer::from_str(text);
        let value = parser.deserialize_map(self)?;
        parser.end()?;
        Ok(value)
    }
}

impl<'de, V: Visitor<'de>> StoreReading<'de> for V {}

/// Finds one row; a key in the very same letters goes before one that differs in case, of equals the last one counts.
struct Pick<'k> {
    key: &'k str,
}

impl<'de> Visitor<'de> for Pick<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of sessions")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let mut is_exact = false;
        while let Some(matching) = rows.next_key_seed(KeyMatch { key: self.key })? {
            let better = match matching {
                Match::Exact => true,
                Match::IgnoringCase => !is_exact,
                Match::None => false,
            };
            if better {
                found = Some(rows.next_value()?);
                is_exact = matching == Match::Exact;
            } else {
                rows.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Match {
    Exact,
    IgnoringCase,
    None,
}

/// Compares a key where it lies, without making a string of it.
#[derive(Clone, Copy)]
struct KeyMatch<'k> {
    key: &'k str,
}

impl<'de> DeserializeSeed<'de> for KeyMatch<'_> {
    type Value = Match;

    fn deserialize<D: Deserializer<'de>>(self, key: D) -> Result<Match, D::Error> {
        key.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyMatch<'_> {
    type Value = Match;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a session key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Match, E> {
        Ok(if key == self.key {
            Match::Exact
        } else if same_key(key, self.key) {
            Match::IgnoringCase
        } else {
            Match::None
        })
    }
}

/// Reads every row.
struct All;

impl<'de> Visitor<'de> for All {
    type Value = Vec<(String, SessionRow)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of sessions")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut rows: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some((key, raw)) = rows.next_entry::<String, &RawValue>()? {
            if let Some(row) = SessionRow::from_raw(raw) {
                all.push((key, row));
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
