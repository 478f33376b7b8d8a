//! A run's end in the words that are recorded and delivered. Pure.

use serde_json::json;

use crate::completion::cap::{ArtifactOutcome, cap_head, failure_header, header, message};
use crate::record::{Content, Entry, Failure, MAX_TEXT_BYTES, Status, clip_text};

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
        entry.set_text("summary", self.head.trim());
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
        text: clip_text(text.trim_end(), MAX_TEXT_BYTES),
        artifact: match artifact {
            ArtifactOutcome::Written(path) => Some(path.to_string_lossy().into_owned()),
            ArtifactOutcome::Failed(_) => None,
        },
        bytes,
        ..Content::default()
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
