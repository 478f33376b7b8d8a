//! A run's end in the words that are recorded and delivered. Pure.

use std::path::PathBuf;

use serde_json::json;

use super::machine::Conclusion;
use crate::backend::{Settled, Text};
use crate::completion::cap::{ArtifactOutcome, cap_head, failure_header, header, message};
use crate::completion::choice::choose;
use crate::record::{Content, Entry, Failure, FailureKind, MAX_TEXT_BYTES, Status, clip_text};

/// What stands in for a command's output that is empty.
const NOTHING_PRINTED: &str = "The command exited with code 0 and printed nothing.";

/// What stands in for a gateway's reply that is empty, or says that there is none.
const NO_REPLY: &str = "The session ended normally without a reply.";

/// What stands in for a reply that is no message to anybody.
const NOTHING_SAID: &str =
    "The session ended normally without a message: its only output was a status line.";

/// How a run ended in words, its text not filed yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// The whole text.
    pub text: Text,
    /// Why, where it is a failure.
    pub failure: Option<Failure>,
    /// When, ms since the epoch.
    pub at_ms: i64,
    /// The token limit cut the reply.
    pub truncated: bool,
}

/// Puts the end of a run into words; `is_command` says that it is a command of this machine.
pub fn told(settled: &Settled, is_command: bool) -> Told {
    match settled {
        Settled::Reply {
            text,
            truncated,
            at_ms,
        } => Told {
            text: spoken(is_command, text),
            failure: None,
            at_ms: *at_ms,
            truncated: *truncated,
        },
        Settled::Failed {
            failure, partial, ..
        } => Told {
            text: explained(failure, partial),
            failure: Some(failure.clone()),
            at_ms: failure.at,
            truncated: false,
        },
    }
}

impl Told {
    /// The end as it is recorded: `head` is the start of the text, of `full_bytes` in all, which `artifact` keeps.
    pub fn ending(
        self,
        conclusion: Conclusion,
        head: String,
        full_bytes: u64,
        artifact: ArtifactOutcome,
    ) -> Ending {
        Ending {
            status: match conclusion {
                Conclusion::Done => Status::Done,
                Conclusion::Failed => Status::Error,
                Conclusion::Cancelled => Status::Cancelled,
            },
            failure: self.failure,
            at_ms: self.at_ms,
            head,
            full_bytes,
            artifact,
            truncated: self.truncated,
        }
    }
}

fn spoken(is_command: bool, text: &Text) -> Text {
    match text {
        text if text.is_empty() => {
            let words = match is_command {
                true => NOTHING_PRINTED,
                false => NO_REPLY,
            };
            Text::Inline(words.to_owned())
        }
        Text::Inline(reply) => match choose(None, Some(reply), None) {
            Some(choice) => Text::Inline(choice.text.to_owned()),
            None => Text::Inline(NOTHING_SAID.to_owned()),
        },
        Text::File { .. } => text.clone(),
    }
}

fn explained(failure: &Failure, partial: &Text) -> Text {
    match partial {
        text if text.is_empty() => Text::Inline(failure.message.clone()),
        Text::Inline(text) => Text::Inline(format!(
            "{}\n\nWhat it had said until then:\n\n{text}",
            failure.message
        )),
        Text::File { .. } => partial.clone(),
    }
}

/// A failure that nobody but the watcher found, as a settlement.
pub fn given_up(kind: FailureKind, text: &str, now_ms: i64) -> Settled {
    Settled::Failed {
        failure: Failure::new(kind, text, now_ms),
        partial: Text::Inline(String::new()),
        cancelled: false,
    }
}

/// How a run ended, its text filed.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// The label's status.
    pub status: Status,
    /// Why, where it is a failure.
    pub failure: Option<Failure>,
    /// When, ms since the epoch.
    pub at_ms: i64,
    /// The start of the text, enough to cut it.
    pub head: String,
    /// The length of the whole text.
    pub full_bytes: u64,
    /// Where the whole text is.
    pub artifact: ArtifactOutcome,
    /// The token limit cut the reply.
    pub truncated: bool,
}

impl Ending {
    /// The first line for people.
    fn header(&self, brand: &str, label: &str) -> String {
        match &self.failure {
            Some(failure) => failure_head(brand, label, failure, &self.head),
            None => header(brand, label),
        }
    }

    /// What an outbox record keeps of it.
    pub fn content(&self, brand: &str, label: &str) -> Content {
        let header = self.header(brand, label);
        content(header, &self.head, &self.artifact, self.full_bytes)
    }

    /// The message for people: header, body of at most `limit` bytes, and where the rest is.
    pub fn message(&self, brand: &str, label: &str, limit: usize) -> String {
        let head = self.header(brand, label);
        let body = cap_head(&self.head, self.full_bytes, limit, &self.artifact).text;
        message(&head, &body)
    }

    /// Writes it into the label's entry.
    pub fn write(&self, entry: &mut Entry) {
        entry.set_status(&self.status);
        entry.set_time("endedAt", self.at_ms);
        let text = ledger_text(&self.head, self.full_bytes, &self.artifact);
        entry.set_text("summary", text.trim());
        match &self.failure {
            Some(failure) => entry.set_failure(failure),
            None => {
                entry.clear("failure");
                entry.clear("error");
            }
        }
        if self.truncated {
            entry.set("truncated", true);
        }
        set_artifact(entry, "artifact", &self.artifact, self.full_bytes);
    }
}

/// What comes before the text of a failure: the header, and the reason where the text does not begin with it. A text
/// too long for a line is the output as it was, without a word about the failure.
pub fn failure_head(brand: &str, label: &str, failure: &Failure, text: &str) -> String {
    let head = failure_header(brand, label, failure.kind.as_str());
    match text.starts_with(&failure.message) {
        true => head,
        false => message(&head, &failure.message),
    }
}

/// What an outbox record keeps of a text: its start, and where the whole is.
pub fn content(header: String, text: &str, artifact: &ArtifactOutcome, bytes: u64) -> Content {
    Content {
        header,
        text: ledger_text(text, bytes, artifact),
        artifact: match artifact {
            ArtifactOutcome::Written(path) => Some(path.to_string_lossy().into_owned()),
            ArtifactOutcome::Failed(_) => None,
        },
        bytes,
        ..Content::default()
    }
}

/// As much of a text as the ledger keeps. What is kept nowhere else says that it was cut, and why.
fn ledger_text(text: &str, bytes: u64, artifact: &ArtifactOutcome) -> String {
    match artifact {
        ArtifactOutcome::Failed(_) => {
            let capped = cap_head(text, bytes, MAX_TEXT_BYTES, artifact);
            capped.text.trim_end().to_owned()
        }
        ArtifactOutcome::Written(_) => clip_text(text.trim_end(), MAX_TEXT_BYTES),
    }
}

/// Where a field of an entry says that a text is kept, or why it is not.
pub fn recorded_artifact(entry: &Entry, field: &str) -> ArtifactOutcome {
    let said = |name: &str| entry.value(field)?.get(name)?.as_str();
    match (said("path"), said("error")) {
        (Some(path), _) => ArtifactOutcome::Written(PathBuf::from(path)),
        (None, Some(why)) => ArtifactOutcome::Failed(why.to_owned()),
        (None, None) => ArtifactOutcome::Failed("it was not kept".to_owned()),
    }
}

/// Notes where a text is kept, or why it is not.
pub fn set_artifact(entry: &mut Entry, field: &str, artifact: &ArtifactOutcome, bytes: u64) {
    let note = match artifact {
        ArtifactOutcome::Written(path) => json!({"path": path, "bytes": bytes}),
        ArtifactOutcome::Failed(why) => json!({"error": why, "bytes": bytes}),
    };
    entry.set(field, note);
}
