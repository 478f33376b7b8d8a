//! The line that settles a run: how it ended, and all that its command said.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::ending::{Ending, unkept_words};
use super::transcript::MAX_LINE_TEXT_BYTES;
use crate::record::FailureKind;

/// What goes into the transcript at a run's end.
pub struct EndLine {
    /// The message.
    pub message: Value,
    /// Our own note beside it.
    pub note: Value,
    /// The session store's word for it.
    pub status: &'static str,
}

impl EndLine {
    /// The end line of a run whose output is in the file `raw`. Output that the disk did not take is told of by `unkept`.
    pub fn of(
        run_id: &str,
        raw: &Path,
        ending: &Ending,
        unkept: Option<&str>,
        now_ms: i64,
    ) -> Self {
        let bytes = std::fs::metadata(raw).map_or(0, |m| m.len());
        let mut note = Map::new();
        note.insert("runId".to_owned(), json!(run_id));
        note.insert("end".to_owned(), json!(true));
        note.insert("bytes".to_owned(), json!(bytes));
        note.insert("rawPath".to_owned(), json!(raw));
        let mut text = if bytes <= MAX_LINE_TEXT_BYTES {
            String::from_utf8_lossy(&std::fs::read(raw).unwrap_or_default()).into_owned()
        } else {
            note.insert("raw".to_owned(), json!(true));
            format!("[{bytes} bytes of output: {}]", raw.display())
        };
        if let Some(why) = unkept {
            note.insert("unkept".to_owned(), json!(why));
            // A failure says so itself; a command that looks after none of its writes takes it for success. It is said
            // first, where every look at the label shows it.
            if *ending == Ending::Reply {
                let lead = format!("[{}]\n\n", unkept_words(why));
                text.insert_str(0, &lead);
                note.insert("lead".to_owned(), json!(lead));
            }
        }
        let mut message = assistant(&text, now_ms);
        let status = match ending {
            Ending::Reply => {
                set(&mut message, "stopReason", json!("stop"));
                store_status(None)
            }
            Ending::Failed {
                reading,
                message: why,
                cancelled,
            } => {
                set(
                    &mut message,
                    "stopReason",
                    json!(if *cancelled { "aborted" } else { "error" }),
                );
                set(&mut message, "errorMessage", json!(why));
                reading.note_on(&mut note);
                note.insert("cancelled".to_owned(), json!(cancelled));
                store_status(Some(reading.kind))
            }
        };
        Self {
            message,
            note: Value::Object(note),
            status,
        }
    }
}

/// The session store's word for a run that ended so; `None`: with a reply.
pub fn store_status(failure: Option<FailureKind>) -> &'static str {
    match failure {
        None => "done",
        Some(FailureKind::Timeout) => "timeout",
        Some(FailureKind::Aborted) => "killed",
        Some(_) => "failed",
    }
}

/// A message of the command's own words.
pub fn assistant(text: &str, now_ms: i64) -> Value {
    json!({
        "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "provider": "local",
        "timestamp": now_ms,
    })
}

fn set(message: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = message {
        fields.insert(name.to_owned(), value);
    }
}
