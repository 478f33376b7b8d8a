//! The watcher: follows one session to its end and files the result.
//!
//! [`machine`] decides and is pure; the driver looks and acts. One watcher per label and generation: a lock that the
//! kernel frees on any death says which one.

pub mod changes;
mod conclude;
mod driver;
pub mod ending;
mod every;
pub mod liveness;
pub mod machine;
mod orders;
pub mod orphan;
mod outbox;
pub mod requests;
mod resolve;
pub mod sighting;
mod verify;
mod voice;

use std::path::PathBuf;

pub use conclude::file_text;
pub use driver::{Limits, Span, Task, Watched, policy_of, watch};
pub use every::{still_owes, watch_every_label};
pub use orders::Orders;
pub use resolve::{Change, Way, resolve};

use crate::completion::artifact::read_artifact;
use crate::completion::cap::{
    ArtifactOutcome, cap, failure_header, header, inline_limit_from, message,
};
use crate::completion::choice::is_generic_summary;
use crate::completion::structured::{Said, said};
use crate::home::Home;
use crate::record::{Entry, Status};
use crate::shell;
use crate::watchers::{Keeper, Post};

/// Who gets the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Whoever reads this process's stdout.
    Stdout,
    /// The targets in the ledger.
    Outbox,
    /// As [`Reader::Outbox`], after a watcher that was killed before it printed the result: where the ledger names nobody,
    /// the delivery is parked.
    AfterStdout,
}

impl Reader {
    /// The reader of what the agent's own signal says: where a watcher in the foreground is at work, it prints that itself.
    pub fn of_signal(home: &Home, label: &str, entry: &Entry) -> Self {
        let post = Post::of(home, label, entry.generation());
        match (entry.status(), post.keeper()) {
            (Status::Running, Keeper::Foreground(_)) => Reader::Outbox,
            (Status::Running, _) => Self::after(home, &post),
            _ => Reader::Outbox,
        }
    }

    /// The reader of who has the post and prints nothing, while the run is not over.
    fn after(home: &Home, post: &Post) -> Self {
        match post.was_to_print(home) {
            true => Reader::AfterStdout,
            false => Reader::Outbox,
        }
    }
}

/// The most bytes of an artifact that are read back into memory.
pub const MAX_ARTIFACT_BYTES: u64 = 1024 * 1024 * 1024;

/// Why a label that runs cannot be watched.
fn nothing_to_watch(label: &str) -> String {
    format!(
        "label \"{label}\" names no session of dispatch; one that another tool started is taken over by: dispatch watcher-handoff {}",
        shell::label(label)
    )
}

/// The artifact that a field of an entry names, where it is now.
pub fn artifact_path(home: &Home, entry: &Entry, field: &str) -> Option<PathBuf> {
    let recorded = entry.value(field)?.get("path")?.as_str()?;
    Some(home.paths.found(recorded.as_ref()))
}

/// Where an ended label's text is now, or why it was not kept.
pub fn artifact(home: &Home, entry: &Entry) -> ArtifactOutcome {
    match ending::recorded_artifact(entry, "artifact") {
        ArtifactOutcome::Written(path) => ArtifactOutcome::Written(home.paths.found(&path)),
        failed => failed,
    }
}

/// An ended label's text, whole: the artifact, or what the ledger has where it cannot be read or there is none, as of a
/// label that another tool ended.
pub fn recorded_text(home: &Home, entry: &Entry) -> String {
    let whole = artifact_path(home, entry, "artifact")
        .and_then(|path| read_artifact(&path, MAX_ARTIFACT_BYTES).ok());
    whole.unwrap_or_else(|| {
        let known = recorded_summary(entry).or_else(|| entry.text("error").map(str::to_owned));
        known.unwrap_or_default()
    })
}

/// What the ledger says came out of a label, within the ledger's bounds: the agent's own words in its completion come
/// first, then the summary, then whatever else the completion says.
pub fn recorded_summary(entry: &Entry) -> Option<String> {
    let completed = (entry.status() == Status::Done)
        .then(|| said(entry.value("completion")?))
        .flatten();
    let summary = entry.text("summary").map(str::to_owned);
    match completed {
        Some(Said::Own(text)) => Some(text),
        Some(Said::Generic(text)) => {
            let is_better = summary.as_deref().is_some_and(|s| !is_generic_summary(s));
            if is_better { summary } else { Some(text) }
        }
        None => summary,
    }
}

/// What stands in a failure's text between the failure and what the run had said.
const SAID_BEFORE: &str = "\n\nWhat it had said until then:\n\n";

/// What an ended label's session said last: of one that failed, what there was before; `None` where it said nothing.
pub fn last_reply(home: &Home, entry: &Entry) -> Option<String> {
    let text = recorded_text(home, entry);
    if entry.status() == Status::Done {
        return Some(text).filter(|text| !text.is_empty());
    }
    // What the ledger alone has of another tool's label is that tool's word.
    let failure = entry.failure()?;
    match text.split_once(SAID_BEFORE) {
        Some((_, said)) => Some(said.to_owned()),
        // A long partial text stands alone.
        None => (artifact_path(home, entry, "artifact").is_some()
            && text.trim() != failure.message.trim())
        .then_some(text),
    }
}

/// What was, or would have been, delivered for an ended label.
pub fn recorded_message(home: &Home, label: &str, entry: &Entry) -> String {
    let text = recorded_text(home, entry);
    let brand = home.config.brand_of(entry.text("agent"));
    let head = match (entry.status(), entry.failure()) {
        (Status::Done, _) => header(brand, label),
        (_, Some(failure)) => ending::failure_head(brand, label, &failure, &text),
        (status, None) => failure_header(brand, label, status.as_str()),
    };
    let limit = inline_limit_from(home.config.inline_limit.as_deref());
    message(&head, &cap(&text, limit, &artifact(home, entry)).text)
}
