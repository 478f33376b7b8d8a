//! What a gateway says of its sessions: rows, messages, tasks.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{CALL_LIMIT, evidence};
use crate::gateway::{Client, GatewayError};
use crate::record::Baseline;
use crate::session::line::{Line, Message};
use crate::session::store::{SessionRow, SessionStatus, StoreError, read_rows};

/// The most sessions that are asked for at once.
const LIST_LIMIT: u32 = 5_000;

/// How many sessions whose names hold the key are looked through for it.
const SEARCH_LIMIT: u32 = 100;

/// How long the gateway is given to file a session's last run before the next one is asked for.
const REST_LIMIT: Duration = Duration::from_secs(30);

/// How often it is asked meanwhile.
const REST_LOOK: Duration = Duration::from_millis(100);

/// The session as it is before a run. Waits, within bounds, until the gateway has filed the session's last run.
///
/// # Errors
/// As any call.
pub fn take_baseline(client: &mut Client, session_key: &str) -> Result<Baseline, GatewayError> {
    let mut baseline = Baseline::default();
    let Some(row) = rested(client, session_key)? else {
        return Ok(baseline);
    };
    row.complete_baseline(&mut baseline);
    baseline.session_id = row.session_id.or(baseline.session_id);
    let newest = messages(client, session_key)?.pop();
    baseline.last_entry_id = newest.and_then(|message| message.id);
    Ok(baseline)
}

/// The sessions that were written within `window`, with their keys.
///
/// # Errors
/// As any call.
pub fn recent_sessions(
    client: &mut Client,
    window: Duration,
) -> Result<Vec<(String, SessionRow)>, GatewayError> {
    let params = json!({"activeMinutes": window.as_secs().div_ceil(60), "limit": SEARCH_LIMIT});
    let mut listed = client.call("sessions.list", &params, CALL_LIMIT)?;
    let Some(Value::Array(rows)) = listed.get_mut("sessions").map(Value::take) else {
        return Ok(Vec::new());
    };
    let keyed = |row: Value| {
        let key = row.get("key")?.as_str()?.to_owned();
        Some((key, SessionRow::from_value(row)?))
    };
    Ok(rows.into_iter().filter_map(keyed).collect())
}

pub(super) fn messages(
    client: &mut Client,
    session_key: &str,
) -> Result<Vec<Message>, GatewayError> {
    let answer = client.call("sessions.get", &json!({"key": session_key}), CALL_LIMIT)?;
    Ok(read_messages(&answer))
}

fn read_messages(answer: &Value) -> Vec<Message> {
    let Some(Value::Array(list)) = answer.get("messages").cloned() else {
        return Vec::new();
    };
    let lines = list
        .into_iter()
        .filter_map(|message| Line::from_value(message).ok());
    lines
        .filter_map(|line| match line {
            Line::Message(message) => Some(*message),
            _ => None,
        })
        .collect()
}

/// The session's newest messages, oldest first, at most `limit`; `None` when the gateway has no such session.
pub(super) fn newest_messages(
    client: &mut Client,
    session_key: &str,
    limit: usize,
    patience: Duration,
) -> Result<Option<Vec<Message>>, GatewayError> {
    let end = Instant::now() + patience;
    let params = json!({"key": session_key, "limit": limit});
    let answer = client.call("sessions.get", &params, patience)?;
    let newest = read_messages(&answer);
    if !newest.is_empty() {
        return Ok(Some(newest));
    }
    // It answers the same for a session that it does not have.
    let left = end.saturating_duration_since(Instant::now());
    let told = client.call("sessions.describe", &json!({"key": session_key}), left)?;
    let is_known = told.get("session").is_some_and(Value::is_object);
    Ok(is_known.then_some(newest))
}

/// The session's row and whether it is being worked on.
///
/// The list, narrowed to the key, tells both in one call of a few milliseconds. It leaves out some sessions (those of cron
/// runs, say) that `sessions.describe` knows; that one takes the older generation's whole attention for 100 ms and more.
pub(super) fn describe(
    client: &mut Client,
    session_key: &str,
) -> Result<(Option<SessionRow>, Option<bool>), GatewayError> {
    let params = json!({"search": session_key, "limit": SEARCH_LIMIT});
    let mut listed = client.call("sessions.list", &params, CALL_LIMIT)?;
    let rows = listed.get_mut("sessions").and_then(Value::as_array_mut);
    let ours = rows.and_then(|rows| {
        rows.iter_mut().find(|row| {
            let key = row.get("key").and_then(Value::as_str).unwrap_or_default();
            crate::session::key::same_key(key, session_key)
        })
    });
    let row = match ours {
        Some(row) => row.take(),
        None => {
            let params = json!({"key": session_key});
            let mut told = client.call("sessions.describe", &params, CALL_LIMIT)?;
            told.get_mut("session").map(Value::take).unwrap_or_default()
        }
    };
    let is_active = row.get("hasActiveRun").and_then(Value::as_bool);
    Ok((SessionRow::from_value(row), is_active))
}

/// The session's row once its last run is filed. A run has ended for everybody before the gateway has done with it: the
/// older generation may then write its reply into the transcript once more, and a run that has begun meanwhile fails of it.
/// A session at work is not waited for; the gateway queues behind it.
fn rested(client: &mut Client, session_key: &str) -> Result<Option<SessionRow>, GatewayError> {
    let end = Instant::now() + REST_LIMIT;
    loop {
        let (row, is_active) = describe(client, session_key)?;
        let Some(row) = row else {
            return Ok(None);
        };
        let is_filing = is_active == Some(true) && {
            let tasks = tasks(client, session_key)?;
            evidence::is_over(&row, &tasks)
        };
        if !is_filing || Instant::now() >= end {
            return Ok(Some(row));
        }
        std::thread::sleep(REST_LOOK);
    }
}

pub(super) fn tasks(client: &mut Client, session_key: &str) -> Result<Vec<Value>, GatewayError> {
    let params = json!({"sessionKey": session_key, "limit": 20});
    let mut answer = client.call("tasks.list", &params, CALL_LIMIT)?;
    Ok(match answer.get_mut("tasks").map(Value::take) {
        Some(Value::Array(tasks)) => tasks,
        _ => Vec::new(),
    })
}

/// The session as a message to it finds it: the start of its last run in ms since the epoch, and whether it is worked on.
///
/// # Errors
/// As any call. A session that the gateway does not have is `None`.
pub fn find_session(
    client: &mut Client,
    session_key: &str,
) -> Result<Option<(Option<i64>, bool)>, GatewayError> {
    let (row, is_active) = describe(client, session_key)?;
    Ok(row.map(|row| (row.started_at_ms, is_active == Some(true))))
}

/// The session's row; `None` when the gateway has no such session.
///
/// # Errors
/// As any call.
pub fn session_row(
    client: &mut Client,
    session_key: &str,
) -> Result<Option<SessionRow>, GatewayError> {
    let params = json!({"key": session_key});
    let answer = client.call("sessions.describe", &params, CALL_LIMIT)?;
    let row = answer.get("session").cloned().unwrap_or_default();
    Ok(SessionRow::from_value(row))
}

/// The ids of the gateway's agents.
///
/// # Errors
/// As any call.
pub fn agent_ids(client: &mut Client) -> Result<Vec<String>, GatewayError> {
    let answer = client.call("agents.list", &json!({}), CALL_LIMIT)?;
    let agents = answer.get("agents").and_then(Value::as_array);
    let ids = agents.into_iter().flatten().filter_map(|agent| {
        let id = agent.get("id")?.as_str()?;
        Some(id.to_owned())
    });
    Ok(ids.collect())
}

/// A session in the gateway's list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its row.
    pub row: SessionRow,
    /// It is being worked on.
    pub is_active: bool,
}

/// The gateway's sessions, and whether these are all.
///
/// # Errors
/// As any call.
pub fn list_sessions(client: &mut Client) -> Result<(Vec<Listed>, bool), GatewayError> {
    let answer = client.call("sessions.list", &json!({"limit": LIST_LIMIT}), CALL_LIMIT)?;
    let is_whole = answer.get("hasMore") != Some(&Value::Bool(true));
    let rows = answer.get("sessions").and_then(Value::as_array).cloned();
    let sessions = rows.unwrap_or_default().into_iter().filter_map(|row| {
        Some(Listed {
            key: row.get("key")?.as_str()?.to_owned(),
            is_active: row.get("hasActiveRun") == Some(&Value::Bool(true)),
            row: SessionRow::from_value(row)?,
        })
    });
    Ok((sessions.collect(), is_whole))
}

/// The sessions of the stores that the older generation keeps in files below `openclaw_state`, for when its gateway does not
/// answer; `None` where there are none. A store that the newer generation has replaced is passed over; what a row says is
/// running may go on once the gateway is back.
///
/// # Errors
/// A store that is there and cannot be read.
pub fn stored_sessions(openclaw_state: &Path) -> Result<Option<Vec<Listed>>, StoreError> {
    let agents = std::fs::read_dir(openclaw_state.join("agents"));
    let mut sessions = None;
    for agent in agents.into_iter().flatten().flatten() {
        let store = agent.path().join("sessions/sessions.json");
        let is_replaced = agent.path().join("agent/openclaw-agent.sqlite").exists();
        if is_replaced || !store.is_file() {
            continue;
        }
        let rows = read_rows(&store)?.into_iter().map(|(key, row)| Listed {
            is_active: row.status == Some(SessionStatus::Running),
            key,
            row,
        });
        sessions.get_or_insert_with(Vec::new).extend(rows);
    }
    Ok(sessions)
}
