//! Recording a run's end: the full text into an artifact, then state and outbox in one ledger write.
//!
//! Every step finds what an earlier try of it left, so that a crash anywhere in between is repaired by doing it again.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use super::Reader;
use super::changes::{Charge, Recorded};
use super::ending::{Ending, set_artifact, told};
use super::machine::Conclusion;
use crate::backend::{RunRef, Settled, Text};
use crate::completion::artifact::{ArtifactName, copy_artifact, write_artifact};
use crate::completion::cap::{ArtifactOutcome, CLUSTER_MAX_BYTES, inline_limit_from};
use crate::delivery::release_results;
use crate::home::Home;
use crate::ledger::{Ledger, LedgerError, Patience};
use crate::record::{Entry, Failure, FailureKind};

/// Pauses before an artifact is tried again: a failure that passes must not cost the full text.
const ARTIFACT_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// Writes the artifact and puts the end into words. An artifact that cannot be written does not stop the end.
pub fn file_ending(home: &Home, run: &RunRef, conclusion: Conclusion, settled: &Settled) -> Ending {
    let told = told(settled, run.is_command());
    let name = ArtifactName::new(told.at_ms, &run.label, &run.run_id);
    let artifact = file_text(home, &name, &told.text);
    let (head, full_bytes) = head_of(home, &told.text);
    told.ending(conclusion, head, full_bytes, artifact)
}

/// A failure that the watcher itself found, as a settlement.
pub fn given_up(home: &Home, kind: FailureKind, text: &str) -> Settled {
    super::ending::given_up(kind, text, home.now_ms())
}

/// A result that was not accepted, as a settlement: the text of the run's `reply`, or else of the completion that the agent
/// signalled, is kept beside the failure.
pub fn unaccepted(
    home: &Home,
    entry: &Entry,
    failure: Failure,
    reply: Option<&Settled>,
) -> Settled {
    let partial = match (reply, super::artifact_path(home, entry, "artifact")) {
        (Some(Settled::Reply { text, .. }), _) => text.clone(),
        (_, Some(_)) if entry.is_signalled() => Text::Inline(super::recorded_text(home, entry)),
        _ => Text::Inline(String::new()),
    };
    Settled::Failed {
        cancelled: failure.kind == FailureKind::Aborted,
        failure,
        partial,
    }
}

/// Keeps a text as an artifact; a failure that lasts becomes part of the message.
pub fn file_text(home: &Home, name: &ArtifactName, text: &Text) -> ArtifactOutcome {
    let storage = home.storage.as_ref();
    let dir = &home.paths.artifacts;
    let write = || -> io::Result<PathBuf> {
        match text {
            Text::Inline(text) => write_artifact(storage, dir, name, text),
            Text::File { lead, path, .. } => copy_artifact(storage, dir, name, lead, path),
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

/// The start of a text and its whole length.
fn head_of(home: &Home, text: &Text) -> (String, u64) {
    match text {
        Text::Inline(text) => (text.clone(), text.len() as u64),
        Text::File { lead, path, bytes } => {
            let limit = inline_limit_from(home.config.inline_limit.as_deref());
            let mut head = Vec::new();
            let enough = (limit + 4 * CLUSTER_MAX_BYTES) as u64;
            let read = File::open(path).and_then(|file| file.take(enough).read_to_end(&mut head));
            if let Err(e) = read {
                home.say(&format!("cannot read {}: {e}", path.display()));
            }
            let head = String::from_utf8_lossy(&head);
            (format!("{lead}{head}"), *bytes)
        }
    }
}

/// Changes the label's entry if it is there, under the ledger's lock; `change` says whether anything was changed.
///
/// # Errors
/// When the ledger cannot be written; nothing is changed then.
pub fn amend<T>(
    ledger: &Ledger,
    label: &str,
    change: impl FnOnce(&mut Entry, i64) -> (T, bool),
) -> Result<Option<T>, LedgerError> {
    ledger.update(Patience::Unlimited, |book| {
        let mut entry = book.get(label)?;
        let (outcome, is_changed) = change(&mut entry, book.now_ms());
        if is_changed {
            book.put(label, entry);
        }
        Some(outcome)
    })
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
    let charge = charge(home, run, reader);
    let recorded = amend(ledger, &run.label, |entry, now_ms| {
        let before = entry.clone();
        let recorded = charge.end(entry, seen, &run.steers, ending, now_ms);
        (recorded, *entry != before)
    })?;
    Ok(recorded.unwrap_or_else(|| Recorded::No("the label is no longer in the ledger".to_owned())))
}

/// Records that the completion which the agent signalled, and which `seen` holds, stands.
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
    let charge = charge(home, run, reader);
    let recorded = amend(ledger, &run.label, |entry, now_ms| {
        let recorded = charge.stand(entry, seen, now_ms);
        let is_changed = recorded == Recorded::Yes;
        (recorded, is_changed)
    })?;
    Ok(recorded
        .unwrap_or_else(|| Recorded::No("the signal no longer waits for its end".to_owned())))
}

/// The run's label as a charge.
pub fn charge<'a>(home: &'a Home, run: &'a RunRef, reader: Reader) -> Charge<'a> {
    Charge {
        label: &run.label,
        generation: run.generation,
        brand: home.brand(),
        reader,
    }
}

/// No more words are waited for: what was put off for them, as `seen` says, is told now.
///
/// # Errors
/// When the ledger cannot be written.
pub fn tell_what_was_held(ledger: &Ledger, run: &RunRef, seen: &Entry) -> Result<(), LedgerError> {
    if !release_results(&mut seen.clone(), None) {
        return Ok(());
    }
    amend(ledger, &run.label, |entry, _| {
        let is_ours = entry.generation() == run.generation;
        let is_changed = is_ours && release_results(entry, None);
        ((), is_changed)
    })?;
    Ok(())
}

/// Keeps the agent's last words beside the completion that it signalled itself, or as the result where that said little.
/// Does nothing when there is no such completion, or the words are kept already.
///
/// # Errors
/// When the ledger cannot be written.
pub fn file_last_words(
    home: &Home,
    ledger: &Ledger,
    run: &RunRef,
    settled: &Settled,
) -> Result<(), LedgerError> {
    // What a gateway's run had said before it broke off is no answer to anybody; a command's output is whole.
    let (text, at_ms, is_whole) = match settled {
        Settled::Reply { text, at_ms, .. } => (text, *at_ms, true),
        Settled::Failed {
            failure, partial, ..
        } => (partial, failure.at, run.is_command()),
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
    let name = ArtifactName::new(at_ms, &run.label, &run.run_id);
    let artifact = file_text(home, &name, text);
    let (head, bytes) = head_of(home, text);
    let charge = charge(home, run, Reader::Outbox);
    ledger.update(Patience::Unlimited, |book| {
        if let Some(mut entry) = book.get(&run.label).filter(wanted) {
            set_artifact(&mut entry, "lastWords", &artifact, bytes);
            if is_whole {
                charge.tell_last_words(&mut entry, &head, &artifact, bytes);
            }
            book.put(&run.label, entry);
        }
    })
}
