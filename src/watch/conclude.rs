//! Recording a run's end: the full text into an artifact, then state and outbox in one ledger write.
//!
//! Every step finds what an earlier try of it left, so that a crash anywhere in between is repaired by doing it again.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::Reader;
use super::machine::Conclusion;
use super::verify::signal_of;
use crate::backend::{RunRef, Settled, Text};
use crate::completion::artifact::{ArtifactName, copy_artifact, write_artifact};
use crate::completion::cap::{
    ArtifactOutcome, CLUSTER_MAX_BYTES, cap_head, failure_header, header, inline_limit_from,
    message,
};
use crate::completion::choice::choose;
use crate::delivery::{owe, owe_stdout};
use crate::home::Home;
use crate::ledger::{Ledger, LedgerError, Patience};
use crate::record::{
    Content, DeliveryKind, Entry, Failure, FailureKind, Generation, MAX_TEXT_BYTES, Status,
    clip_text,
};

/// What stands in for a command's output that is empty.
const NOTHING_PRINTED: &str = "The command exited with code 0 and printed nothing.";

/// What stands in for a gateway's reply that is empty, or says that there is none.
const NO_REPLY: &str = "The session ended normally without a reply.";

/// What stands in for a reply that is no message to anybody.
const NOTHING_SAID: &str =
    "The session ended normally without a message: its only output was a status line.";

/// Pauses before an artifact is tried again: a failure that passes must not cost the full text.
const ARTIFACT_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// A run's end in the words that are delivered.
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
    fn header(&self, home: &Home, label: &str) -> String {
        match &self.failure {
            Some(failure) => failure_head(home, label, failure, &self.head),
            None => header(&home.config.brand, label),
        }
    }

    /// What an outbox record keeps of it.
    fn content(&self, home: &Home, label: &str) -> Content {
        content(
            self.header(home, label),
            &self.head,
            &self.artifact,
            self.full_bytes,
        )
    }

    /// The message for people: header, body, and where the rest is.
    pub fn message(&self, home: &Home, label: &str) -> String {
        let limit = inline_limit_from(home.config.inline_limit.as_deref());
        let head = self.header(home, label);
        let body = cap_head(&self.head, self.full_bytes, limit, &self.artifact).text;
        message(&head, &body)
    }
}

/// What comes before the text of a failure: the header, and the reason where the text does not begin with it. A text
/// too long for a line is the output as it was, without a word about the failure.
pub(super) fn failure_head(home: &Home, label: &str, failure: &Failure, text: &str) -> String {
    let head = failure_header(&home.config.brand, label, failure.kind.as_str());
    match text.starts_with(&failure.message) {
        true => head,
        false => message(&head, &failure.message),
    }
}

/// Writes the artifact and puts the end into words. An artifact that cannot be written does not stop the end.
pub fn file_ending(home: &Home, run: &RunRef, conclusion: Conclusion, settled: &Settled) -> Ending {
    let (text, failure, at_ms, truncated) = match settled {
        Settled::Reply {
            text,
            truncated,
            at_ms,
        } => (spoken(run, text), None, *at_ms, *truncated),
        Settled::Failed {
            failure, partial, ..
        } => (
            explained(failure, partial),
            Some(failure.clone()),
            failure.at,
            false,
        ),
    };
    let name = ArtifactName::new(at_ms, &run.label, &run.run_id);
    let artifact = file_text(home, &name, &text);
    let (head, full_bytes) = head_of(home, &text);
    let status = match conclusion {
        Conclusion::Done => Status::Done,
        Conclusion::Failed => Status::Error,
        Conclusion::Cancelled => Status::Cancelled,
    };
    Ending {
        status,
        failure,
        at_ms,
        head,
        full_bytes,
        artifact,
        truncated,
    }
}

/// A failure that the watcher itself found, as a settlement.
pub fn given_up(home: &Home, kind: FailureKind, text: &str) -> Settled {
    Settled::Failed {
        failure: Failure::new(kind, text, home.now_ms()),
        partial: Text::Inline(String::new()),
        cancelled: false,
    }
}

/// A result that the verify command rejected, as a settlement: the text of the run's `reply`, or else of the completion
/// that the agent signalled, is kept beside the failure.
pub fn rejected(home: &Home, entry: &Entry, why: &str, reply: Option<&Settled>) -> Settled {
    let partial = match (reply, super::artifact_path(entry, "artifact")) {
        (Some(Settled::Reply { text, .. }), _) => text.clone(),
        (_, Some(_)) => Text::Inline(super::recorded_text(entry)),
        (_, None) => Text::Inline(String::new()),
    };
    Settled::Failed {
        failure: Failure::new(FailureKind::Verify, why, home.now_ms()),
        partial,
        cancelled: false,
    }
}

/// Keeps a text as an artifact; a failure that lasts becomes part of the message.
pub fn file_text(home: &Home, name: &ArtifactName, text: &Text) -> ArtifactOutcome {
    let storage = home.storage.as_ref();
    let dir = &home.paths.artifacts;
    let write = || -> io::Result<PathBuf> {
        match text {
            Text::Inline(text) => write_artifact(storage, dir, name, text),
            Text::File { path, .. } => copy_artifact(storage, dir, name, path),
        }
    };
    let mut written = write();
    for pause in ARTIFACT_PAUSES {
        if written.is_err() {
            std::thread::sleep(pause);
            written = write();
        }
    }
    if let Err(e) = &written {
        home.say(&format!("the full text could not be kept: {e}"));
    }
    ArtifactOutcome::from(&written)
}

fn spoken(run: &RunRef, text: &Text) -> Text {
    match text {
        text if text.is_empty() => {
            let words = match run.is_command() {
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

/// The start of a text and its whole length.
fn head_of(home: &Home, text: &Text) -> (String, u64) {
    match text {
        Text::Inline(text) => (text.clone(), text.len() as u64),
        Text::File { path, bytes } => {
            let limit = inline_limit_from(home.config.inline_limit.as_deref());
            let mut head = Vec::new();
            let enough = (limit + 4 * CLUSTER_MAX_BYTES) as u64;
            let read = File::open(path).and_then(|file| file.take(enough).read_to_end(&mut head));
            if let Err(e) = read {
                home.say(&format!("cannot read {}: {e}", path.display()));
            }
            (String::from_utf8_lossy(&head).into_owned(), *bytes)
        }
    }
}

/// What became of recording an end.
#[derive(Debug, Clone, PartialEq)]
pub enum Recorded {
    /// It is in the ledger, by this write or an earlier one.
    Yes,
    /// The label had ended in another way, or has a newer generation; nothing was changed.
    No(String),
    /// Since the label was looked at, the agent has signalled done, which comes first, or a message was sent into the
    /// session, which goes on; nothing was changed.
    Overtaken,
}

/// Records the end: status, texts and outbox in one write, if the label still stands where the run left it. `seen` is the
/// entry that the end was decided over.
///
/// # Errors
/// When the ledger cannot be written; nothing is recorded then.
pub fn record_ending(
    home: &Home,
    ledger: &Ledger,
    run: &RunRef,
    seen: &Entry,
    ending: &Ending,
    reader: Reader,
) -> Result<Recorded, LedgerError> {
    let content = ending.content(home, &run.label);
    ledger.update(Patience::Unlimited, |book| {
        let Some(mut entry) = book.get(&run.label) else {
            return Recorded::No("the label is no longer in the ledger".to_owned());
        };
        if let Some(obstacle) = obstacle(&entry, run.generation, &ending.status) {
            return obstacle;
        }
        let is_steered = entry.status() == Status::Running && entry.steers() != run.steers;
        if is_steered || is_overtaken(&entry, seen) {
            return Recorded::Overtaken;
        }
        let late = entry.status().is_ended();
        write_ending(&mut entry, ending);
        let kind = match (&ending.status, late) {
            (Status::Done, false) => Some(DeliveryKind::Result),
            (Status::Done, true) => Some(DeliveryKind::Correction),
            (Status::Cancelled, _) => None,
            _ => Some(DeliveryKind::Failure),
        };
        match (kind, reader) {
            (Some(kind), Reader::Outbox) => {
                owe(&run.label, &mut entry, kind, &content, book.now_ms())
            }
            (Some(kind), Reader::Stdout) => {
                owe_stdout(&run.label, &mut entry, kind, &content, book.now_ms())
            }
            (None, _) => {}
        }
        book.put(&run.label, entry);
        Recorded::Yes
    })
}

/// The entry holds a signal that `seen` did not.
fn is_overtaken(entry: &Entry, seen: &Entry) -> bool {
    entry.is_signalled() && signal_of(entry) != signal_of(seen)
}

/// Records that the completion which the agent signalled, and which `seen` holds, stands: its text was filed with the
/// signal.
///
/// # Errors
/// When the ledger cannot be written; nothing is recorded then.
pub fn record_signal(
    home: &Home,
    ledger: &Ledger,
    run: &RunRef,
    seen: &Entry,
    reader: Reader,
) -> Result<Recorded, LedgerError> {
    ledger.update(Patience::Unlimited, |book| {
        let entry = book.get(&run.label);
        let Some(mut entry) =
            entry.filter(|e| e.generation() == run.generation && e.is_signalled())
        else {
            return Recorded::No("the signal no longer waits for its end".to_owned());
        };
        if is_overtaken(&entry, seen) {
            return Recorded::Overtaken;
        }
        let kind = match entry.status() {
            Status::Running => DeliveryKind::Result,
            _ => DeliveryKind::Correction,
        };
        finish_signal(home, &run.label, &mut entry, reader, kind, book.now_ms());
        book.put(&run.label, entry);
        Recorded::Yes
    })
}

/// Makes a signalled completion the label's end, with what it owes.
pub fn finish_signal(
    home: &Home,
    label: &str,
    entry: &mut Entry,
    reader: Reader,
    kind: DeliveryKind,
    now_ms: i64,
) {
    entry.set_status(&Status::Done);
    entry.set("error", serde_json::Value::Null);
    entry.clear("failure");
    entry.set_time("endedAt", now_ms);
    let artifact = match super::artifact_path(entry, "artifact") {
        Some(path) => ArtifactOutcome::Written(path),
        None => ArtifactOutcome::Failed("it was not kept".to_owned()),
    };
    let bytes = entry
        .value("artifact")
        .and_then(|a| a.get("bytes")?.as_u64())
        .unwrap_or(0);
    let text = entry.text("summary").unwrap_or_default().to_owned();
    let content = content(header(&home.config.brand, label), &text, &artifact, bytes);
    match reader {
        Reader::Outbox => owe(label, entry, kind, &content, now_ms),
        Reader::Stdout => owe_stdout(label, entry, kind, &content, now_ms),
    }
}

/// What forbids the change, if anything. `done` and `cancelled` are final; a failure may still become `done`.
fn obstacle(entry: &Entry, generation: Generation, to: &Status) -> Option<Recorded> {
    if entry.generation() != generation {
        let now = entry.generation();
        return Some(Recorded::No(format!(
            "the label has generation {now} by now"
        )));
    }
    match entry.status() {
        Status::Running => None,
        Status::Error | Status::Interrupted if *to == Status::Done => None,
        // A late signal that the operator's check has rejected.
        Status::Error | Status::Interrupted if entry.is_signalled() => None,
        status if status == *to => Some(Recorded::Yes),
        status => Some(Recorded::No(format!("the label is {status} already"))),
    }
}

fn write_ending(entry: &mut Entry, ending: &Ending) {
    entry.set_status(&ending.status);
    entry.set_time("endedAt", ending.at_ms);
    entry.set_text("summary", ending.head.trim());
    match &ending.failure {
        Some(failure) => entry.set_failure(failure),
        None => {
            entry.clear("failure");
            entry.clear("error");
        }
    }
    if ending.truncated {
        entry.set("truncated", true);
    }
    set_artifact(entry, "artifact", &ending.artifact, ending.full_bytes);
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

/// Keeps the agent's last words beside the completion that it signalled itself. Does nothing when there is no such
/// completion, or the words are kept already.
///
/// # Errors
/// When the ledger cannot be written.
pub fn file_last_words(
    home: &Home,
    ledger: &Ledger,
    run: &RunRef,
    settled: &Settled,
) -> Result<(), LedgerError> {
    let Settled::Reply { text, at_ms, .. } = settled else {
        return Ok(());
    };
    let wanted = |entry: &Entry| {
        entry.generation() == run.generation
            && entry.value("completion").is_some()
            && entry.value("lastWords").is_none()
    };
    let book = ledger.read()?;
    if text.is_empty() || !book.get(&run.label).as_ref().is_some_and(wanted) {
        return Ok(());
    }
    let name = ArtifactName::new(*at_ms, &run.label, &run.run_id);
    let artifact = file_text(home, &name, text);
    let (_, bytes) = head_of(home, text);
    ledger.update(Patience::Unlimited, |book| {
        if let Some(mut entry) = book.get(&run.label).filter(wanted) {
            set_artifact(&mut entry, "lastWords", &artifact, bytes);
            book.put(&run.label, entry);
        }
    })
}
