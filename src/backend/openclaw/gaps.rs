//! Messages that the older generation does not give out because they are long: they stand whole in its transcript.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::CALL_LIMIT;
use crate::gateway::Client;
use crate::paths::Paths;
use crate::session::key::SessionKey;
use crate::session::line::{Line, Message, Role, StopReason};
use crate::session::reader::read_all;
use crate::session::store::SessionRow;

/// What stands in place of a message of more than 256 KiB, in 2026.5.18.
const PLACEHOLDER: &str = "[chat.history omitted: message too large]";

fn is_gap(message: &Message) -> bool {
    message.text.trim() == PLACEHOLDER
}

/// Some message was left out.
pub(super) fn has_gaps(messages: &[Message]) -> bool {
    messages.iter().any(is_gap)
}

/// Puts the messages that were left out in their places, if the gateway is on this machine.
pub(super) fn close(
    client: &mut Client,
    paths: &Paths,
    session_key: &str,
    row: Option<&SessionRow>,
    messages: &mut [Message],
) {
    if !has_gaps(messages) {
        return;
    }
    let health = client.call("health", &json!({}), CALL_LIMIT);
    let store = health.ok().and_then(|health| {
        let path = health.pointer("/sessions/path")?.as_str()?;
        Some(PathBuf::from(path))
    });
    // <state>/agents/<agent>/sessions/sessions.json
    let agents = store.as_deref().and_then(|store| store.ancestors().nth(3));
    let agents = agents.map_or_else(|| paths.openclaw_state.join("agents"), Path::to_path_buf);
    let path = row.and_then(|row| transcript_path(&agents, session_key, row));
    fill(messages, path.as_deref());
}

/// The transcript of a session below the directory of all agents.
fn transcript_path(agents: &Path, session_key: &str, row: &SessionRow) -> Option<PathBuf> {
    if let Some(path) = row.session_file.as_ref().filter(|path| path.is_absolute()) {
        return Some(path.clone());
    }
    let key = SessionKey::parse(session_key).ok()?;
    let name = format!("{}.jsonl", row.session_id.as_deref()?);
    Some(agents.join(key.agent_id()).join("sessions").join(name))
}

/// Puts the messages that were left out in their places. One that the transcript does not have becomes a message that says
/// where it is: nobody may take a reply that cannot be had for none.
fn fill(messages: &mut [Message], transcript: Option<&Path>) {
    let found = match transcript.map(|path| find(messages, path)) {
        Some(Ok(found)) => found,
        Some(Err(_)) | None => Vec::new(),
    };
    for gap in messages.iter_mut().filter(|message| is_gap(message)) {
        if let Some(whole) = found.iter().find(|whole| whole.id == gap.id) {
            *gap = whole.clone();
            continue;
        }
        let place = match transcript {
            Some(path) => path.display().to_string(),
            None => "its transcript".to_owned(),
        };
        gap.text = format!(
            "This message is longer than the gateway gives out (256 KiB). It stands whole in the gateway's {place}."
        );
        if gap.role == Role::Assistant && gap.stop_reason.is_none() {
            gap.stop_reason = Some(StopReason::Length);
        }
    }
}

/// The gaps' messages as the transcript has them.
fn find(messages: &[Message], transcript: &Path) -> io::Result<Vec<Message>> {
    let mut found = Vec::new();
    for line in read_all(transcript)? {
        if let Line::Message(message) = line?.line
            && message.id.is_some()
            && messages
                .iter()
                .any(|gap| is_gap(gap) && gap.id == message.id)
        {
            found.push(*message);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    fn message(id: &str, text: &str) -> Message {
        let value = json!({"role": "assistant", "content": text, "__openclaw": {"id": id}});
        match Line::from_value(value) {
            Ok(Line::Message(message)) => *message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_was_left_out_comes_from_the_transcript_or_says_where_it_is() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("s.jsonl");
        let long = "long ".repeat(60_000);
        let line = json!({"type": "message", "id": "a", "message":
            {"role": "assistant", "content": [{"type": "text", "text": long}], "stopReason": "stop"}});
        fs::write(&path, format!("{line}\n{{\"type\": \"custom\"}}\n")).expect("writable");
        let mut messages = vec![
            message("x", "short"),
            message("a", PLACEHOLDER),
            message("b", PLACEHOLDER),
        ];
        assert!(has_gaps(&messages));
        fill(&mut messages, Some(&path));
        assert_eq!(messages[0].text, "short");
        assert_eq!(messages[1].text, long);
        assert_eq!(messages[1].stop_reason, Some(StopReason::Stop));
        let lost = &messages[2];
        assert!(
            lost.text.contains(&path.display().to_string()),
            "{}",
            lost.text
        );
        assert_eq!(lost.stop_reason, Some(StopReason::Length));
        let mut messages = vec![message("a", PLACEHOLDER)];
        fill(&mut messages, None);
        assert!(
            messages[0]
                .text
                .contains("longer than the gateway gives out")
        );
        assert!(!has_gaps(&messages));
    }
}
