//! What commands change in a label's entry: the agent's signal, a cancellation, a message, a note, and the next
//! generation. Pure: each looks at the entry as it stands in the ledger at that moment, makes its change or not, and says
//! which.

use serde_json::{Value, json};

use super::Reader;
use super::changes::Charge;
use super::ending::set_artifact;
use crate::backend::{BackendName, RunRef};
use crate::completion::cap::ArtifactOutcome;
use crate::completion::structured::Report;
use crate::delivery::{carry_over, owe_note};
use crate::record::{
    Baseline, Content, DeliveryKind, Entry, FailureKind, Generation, MAX_TEXT_BYTES, Phase, Status,
    Steer, clip_text, time,
};

/// The agent's own completion signal.
#[derive(Debug, Clone, Copy)]
pub struct Signal<'a> {
    /// The label.
    pub label: &'a str,
    /// The name under which people are told.
    pub brand: &'a str,
    /// The generation that the agent means; the current one where it names none.
    pub generation: Option<Generation>,
    /// What people are told.
    pub summary: &'a str,
    /// What it reports.
    pub report: Report<'a>,
    /// Where the summary is kept.
    pub artifact: &'a ArtifactOutcome,
    /// Who gets the result.
    pub reader: Reader,
}

/// What became of a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signalled {
    /// It is in the entry: the label is done by it, or its verify command is to be asked.
    Taken,
    /// The label was done before; nothing was changed.
    Again,
    /// Something forbids it; nothing was changed.
    Rejected(String),
}

/// What becomes of a signal for an entry that it can no longer change.
pub fn answered(label: &str, entry: &Entry, generation: Option<Generation>) -> Option<Signalled> {
    let current = entry.generation();
    if let Some(wanted) = generation.filter(|wanted| *wanted != current) {
        return Some(Signalled::Rejected(format!(
            "generation {wanted} of label \"{label}\" is over; the current one is {current}"
        )));
    }
    match entry.status() {
        Status::Done => Some(Signalled::Again),
        Status::Cancelled => Some(Signalled::Rejected(format!(
            "label \"{label}\" was cancelled"
        ))),
        Status::Error | Status::Interrupted if is_rejected(entry) => {
            Some(Signalled::Rejected(format!(
                "the verify command rejected the result of label \"{label}\"; 'dispatch enqueue --mode reuse' has it worked on again"
            )))
        }
        _ => None,
    }
}

/// The operator's check has spoken: no later word of the agent outweighs it.
fn is_rejected(entry: &Entry) -> bool {
    entry
        .failure()
        .is_some_and(|failure| failure.kind == FailureKind::Verify)
}

impl Signal<'_> {
    /// Takes the signal into the label's entry.
    pub fn apply(&self, entry: &mut Entry, now_ms: i64) -> Signalled {
        if let Some(answer) = answered(self.label, entry, self.generation) {
            return answer;
        }
        let kind = match entry.status() {
            Status::Error | Status::Interrupted => DeliveryKind::Correction,
            _ => DeliveryKind::Result,
        };
        self.complete(entry, kind, now_ms);
        Signalled::Taken
    }

    /// Makes the signal the entry's completion, to be told as `kind`.
    pub fn complete(&self, entry: &mut Entry, kind: DeliveryKind, now_ms: i64) {
        entry.set_text("summary", self.summary);
        let before = entry.value("completion").cloned();
        let completion = self.report.record(now_ms, before.as_ref());
        entry.set("completion", completion);
        if let Some(sha) = self.report.sha {
            entry.set_text("sha", sha);
        }
        set_artifact(entry, "artifact", self.artifact, self.summary.len() as u64);
        // The operator's check comes first; the watcher runs it, and the label is done when it passes. Another tool's label
        // has no watcher of ours.
        let is_ours = RunRef::of_entry(self.label, entry).is_some();
        match is_ours && entry.text("verifyCmd").is_some() {
            true => entry.set_phase(Phase::Verifying),
            false => {
                let charge = Charge {
                    label: self.label,
                    generation: entry.generation(),
                    brand: self.brand,
                    reader: self.reader,
                };
                charge.finish_signal(entry, kind, now_ms);
            }
        }
    }
}

/// What became of a request to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelling {
    /// It is recorded now.
    Recorded,
    /// It was recorded before.
    Known,
    /// The label does not run: there is nothing to stop.
    Over,
    /// Another tool started it, which must stop it.
    Foreign,
}

/// Records that a running label is to be stopped.
pub fn cancel(entry: &mut Entry, reason: Option<&str>, now_ms: i64) -> Cancelling {
    if entry.status() != Status::Running {
        return Cancelling::Over;
    }
    if BackendName::of_entry(entry).is_none() {
        return Cancelling::Foreign;
    }
    if entry.cancel_requested() {
        return Cancelling::Known;
    }
    let reason = reason.map(|reason| clip_text(reason, MAX_TEXT_BYTES));
    let request = json!({"at": time::iso(now_ms), "reason": reason});
    entry.set("cancelRequested", request);
    Cancelling::Recorded
}

/// Why a message is not sent into a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unsent {
    /// Its label does not run.
    NotRunning(Status),
    /// Its label is being cancelled.
    Cancelling,
    /// Its label has its result, which is being verified.
    Verifying,
    /// Its label waits for its retry.
    Waiting,
}

/// Records a message that is about to be sent, if the label still runs and its end is not being recorded.
///
/// # Errors
/// Why not; nothing was changed.
pub fn steer(entry: &mut Entry, steer: &Steer) -> Result<(), Unsent> {
    if entry.status() != Status::Running {
        return Err(Unsent::NotRunning(entry.status()));
    }
    if entry.cancel_requested() {
        return Err(Unsent::Cancelling);
    }
    if entry.phase() == Some(Phase::Verifying) {
        return Err(Unsent::Verifying);
    }
    if entry.phase() == Some(Phase::RetryWait) {
        return Err(Unsent::Waiting);
    }
    entry.put_steer(steer);
    Ok(())
}

/// Records a note of a running label and what it owes. Returns its number.
///
/// # Errors
/// The label's status, where it does not run: nobody waits for a note.
pub fn note(label: &str, entry: &mut Entry, content: &Content, now_ms: i64) -> Result<u64, Status> {
    match entry.status() {
        Status::Running => Ok(owe_note(label, entry, content, now_ms)),
        status => Err(status),
    }
}

/// The label runs: no new generation may take its place.
pub fn is_occupied(old: Option<&Entry>) -> bool {
    old.is_some_and(|old| old.status() == Status::Running)
}

/// How far a label's work was when a run was planned: whose words its session holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Planned {
    generation: Generation,
    status: Option<Status>,
    /// The ids of its runs: retries and messages begin further ones.
    runs: Option<Value>,
}

impl Planned {
    /// The work of this entry.
    pub fn over(entry: Option<&Entry>) -> Self {
        let Some(entry) = entry else {
            return Self::default();
        };
        Self {
            generation: entry.generation(),
            status: Some(entry.status()),
            runs: entry.value("runIds").cloned(),
        }
    }

    /// The session was there before, and has been worked in since: what that said would pass for the new run's.
    pub fn is_outdated(&self, old: Option<&Entry>, baseline: &Baseline) -> bool {
        baseline.session_id.is_some() && *self != Self::over(old)
    }
}

/// Puts `entry`, a new generation, into the place of an old one that has ended: it takes over what is still owed.
pub fn succeed(old: Option<&Entry>, entry: &mut Entry) {
    if let Some(old) = old {
        carry_over(old, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_has_been_worked_in_since_is_looked_at_again() {
        let mut old = Entry::new();
        old.set_generation(Generation::new(7));
        old.set_status(&Status::Running);
        let reused = Baseline {
            session_id: Some("s".to_owned()),
            ..Baseline::default()
        };
        let planned = Planned::over(Some(&old));
        old.set("rev", 9);
        assert!(!planned.is_outdated(Some(&old), &reused));
        let mut retried = old.clone();
        retried.set("runIds", json!(["r1", "r2"]));
        let mut ended = old.clone();
        ended.set_status(&Status::Done);
        let mut newer = old.clone();
        newer.set_generation(Generation::new(8));
        for since in [&retried, &ended, &newer] {
            assert!(planned.is_outdated(Some(since), &reused), "{since:?}");
        }
        assert!(planned.is_outdated(None, &reused));
        assert!(!Planned::over(None).is_outdated(None, &reused));
        // A session of its own has nothing to mix.
        assert!(!planned.is_outdated(Some(&newer), &Baseline::default()));
    }
}
