//! The facts about a label's work that the guards decide over.

use std::path::PathBuf;
use std::time::Duration;

use super::guards::Activity;
use crate::backend::BackendName;
use crate::backend::openclaw::OpenclawBackend;
use crate::home::Home;
use crate::record::Entry;
use crate::session::activity::{NEWEST_MESSAGES, count};
use crate::session::key::SessionKey;
use crate::session::line::Message;
use crate::session::reader::newest_messages;
use crate::session::store::read_row;

/// How long a gateway is given to show a session's messages. The agent waits meanwhile.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(5);

/// The user's prompt: the whole of it where its file is there, else what the ledger has.
pub fn prompt_of(home: &Home, entry: &Entry) -> Option<String> {
    let file = entry
        .text("promptPath")
        .and_then(|path| std::fs::read(home.paths.found(path.as_ref())).ok());
    match file {
        Some(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        None => entry.text("taskPrompt").map(str::to_owned),
    }
}

/// How much was said in the entry's session since its work began.
pub fn activity_of(home: &Home, entry: &Entry, key: &str) -> Activity {
    // A later attempt goes on with what the ones before it have done.
    let baseline = entry.baseline().last_entry_id;
    let before = baseline.filter(|_| entry.attempt() == 1);
    let counted = |messages: Vec<Message>| Activity::Messages(count(&messages, before.as_deref()));
    // Other tools' sessions are looked for on the disk first: their gateway may be one that is not configured here.
    if BackendName::of_entry(entry).is_none()
        && let Some(path) = transcript_of(home, key)
        && let Ok(messages) = newest_messages(&path, NEWEST_MESSAGES)
    {
        return counted(messages);
    }
    let asked = OpenclawBackend::new(home).and_then(|backend| {
        let backend = backend.within(GATEWAY_PATIENCE);
        backend.newest_messages(key, NEWEST_MESSAGES)
    });
    match asked {
        Ok(Some(messages)) => counted(messages),
        Ok(None) => Activity::Unknown(format!("the gateway has no session {key}")),
        Err(e) => Activity::Unknown(e.to_string()),
    }
}

/// The transcript of a session that is kept in files.
fn transcript_of(home: &Home, key: &str) -> Option<PathBuf> {
    let key = SessionKey::parse(key).ok()?;
    let id = key.agent_id();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_@.".contains(c);
    if !id.chars().all(is_plain) || id.starts_with('.') {
        return None;
    }
    let agent = home.paths.openclaw_state.join("agents").join(id);
    let sessions = agent.join("sessions");
    if agent.join("agent/openclaw-agent.sqlite").exists() {
        return None;
    }
    let row = read_row(&sessions.join("sessions.json"), key.as_str()).ok()??;
    let named = row.session_file.unwrap_or_else(|| {
        let name = row.session_id.unwrap_or_default();
        PathBuf::from(format!("{name}.jsonl"))
    });
    Some(sessions.join(named)).filter(|path| path.is_file())
}
