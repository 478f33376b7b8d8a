//! What a watcher changes in its label's entry. Pure: each change looks at the entry as it stands in the ledger at that
//! moment, makes it or not, and says which.

use serde_json::{Value, json};

use super::Reader;
use super::ending::{Ending, content, recorded_artifact, set_artifact};
use super::machine::LAST_WORDS_WAIT;
use crate::backend::RunRef;
use crate::completion::cap::{ArtifactOutcome, failure_header, header};
use crate::completion::choice::{choose, is_generic_summary};
use crate::completion::structured::{Said, said};
use crate::delivery::{
    DeliveryMode, PRINTER_GONE, hold_results, owe, owe_passing_failure, owe_stdout, pass_on_stdout,
    release_results,
};
use crate::record::{Content, DeliveryKind, Entry, Failure, Generation, Phase, Status, Steer};
use crate::recovery::retries::{self, Next};

/// The label in a watcher's charge.
#[derive(Debug, Clone, Copy)]
pub struct Charge<'a> {
    /// The label.
    pub label: &'a str,
    /// The generation.
    pub generation: Generation,
    /// The name under which people are told.
    pub brand: &'a str,
    /// Who is told.
    pub reader: Reader,
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

/// The status that a change found.
enum Standing {
    /// It can be made.
    Open,
    /// It cannot.
    Shut(Recorded),
}

impl Charge<'_> {
    /// Records the end: status, texts and outbox, if the label still stands where the run left it. `seen` is the entry that
    /// the end was decided over, `steers` what had been sent into the session by then.
    pub fn end(
        &self,
        entry: &mut Entry,
        seen: &Entry,
        steers: &[Steer],
        ending: &Ending,
        now_ms: i64,
    ) -> Recorded {
        if let Standing::Shut(why) = self.standing(entry, &ending.status) {
            return why;
        }
        let is_steered = entry.status() == Status::Running && entry.steers() != steers;
        if is_steered || is_overtaken(entry, seen) || entry.attempt() != seen.attempt() {
            return Recorded::Overtaken;
        }
        let late = entry.status().is_ended();
        ending.write(entry);
        let kind = match (&ending.status, late) {
            (Status::Done, false) => DeliveryKind::Result,
            (Status::Done, true) => DeliveryKind::Correction,
            (Status::Cancelled, _) => return Recorded::Yes,
            _ => DeliveryKind::Failure,
        };
        let content = ending.content(self.brand, self.label);
        self.owe(entry, kind, &content, now_ms);
        Recorded::Yes
    }

    /// Records that the completion which the agent signalled, and which `seen` holds, stands: its text was filed with the
    /// signal.
    pub fn stand(&self, entry: &mut Entry, seen: &Entry, now_ms: i64) -> Recorded {
        if entry.generation() != self.generation || !entry.is_signalled() {
            return Recorded::No("the signal no longer waits for its end".to_owned());
        }
        if is_overtaken(entry, seen) {
            return Recorded::Overtaken;
        }
        let kind = match entry.status() {
            Status::Running => DeliveryKind::Result,
            _ => DeliveryKind::Correction,
        };
        self.finish_signal(entry, kind, now_ms);
        Recorded::Yes
    }

    /// Makes a signalled completion the label's end, with what it owes.
    ///
    /// An agent that said no more than that it is done says the rest as it ends its run: where that goes on under our eyes,
    /// its result is told then, or after [`LAST_WORDS_WAIT`].
    pub fn finish_signal(&self, entry: &mut Entry, kind: DeliveryKind, now_ms: i64) {
        let goes_on =
            entry.status() == Status::Running && RunRef::of_entry(self.label, entry).is_some();
        entry.set_status(&Status::Done);
        entry.set("error", Value::Null);
        entry.clear("failure");
        entry.set_time("endedAt", now_ms);
        let artifact = recorded_artifact(entry, "artifact");
        let filed = entry.value("artifact");
        let bytes = filed.and_then(|filed| filed.get("bytes")?.as_u64());
        let text = entry.text("summary").unwrap_or_default().to_owned();
        let header = header(self.brand, self.label);
        let content = content(header, &text, &artifact, bytes.unwrap_or(0));
        self.owe(entry, kind, &content, now_ms);
        if goes_on && says_little(entry) {
            let wait_ms = i64::try_from(LAST_WORDS_WAIT.as_millis()).unwrap_or(i64::MAX);
            hold_results(entry, now_ms.saturating_add(wait_ms));
        }
    }

    /// Makes the agent's last words, of `bytes` in all, the result of a label whose signal said little.
    pub fn tell_last_words(
        &self,
        entry: &mut Entry,
        head: &str,
        artifact: &ArtifactOutcome,
        bytes: u64,
    ) {
        let Some(words) = choose(None, Some(head), None) else {
            return;
        };
        if entry.status() != Status::Done || !says_little(entry) || is_generic_summary(words.text) {
            return;
        }
        entry.set_text("summary", words.text.trim());
        set_artifact(entry, "artifact", artifact, bytes);
        let header = header(self.brand, self.label);
        release_results(entry, Some(&content(header, words.text, artifact, bytes)));
    }

    /// Puts the label's work off until its retry: the attempt has failed, and the label has not. Who wants to hear of
    /// everything hears of it.
    pub fn put_off(
        &self,
        entry: &mut Entry,
        steers: &[Steer],
        attempt: u32,
        failure: &Failure,
        next: &Next,
        now_ms: i64,
    ) -> Recorded {
        let is_overtaken = !self.is_at_work(entry)
            || entry.cancel_requested()
            || entry.is_signalled()
            || entry.attempt() != attempt
            || entry.steers() != steers;
        if is_overtaken {
            return Recorded::Overtaken;
        }
        if entry.phase() == Some(Phase::RetryWait) {
            return Recorded::Yes;
        }
        retries::put_off(entry, failure, next.delay, now_ms);
        let text = format!("{}\n\nNot the end: {next}.", failure.message);
        let header = failure_header(self.brand, self.label, failure.kind.as_str());
        if let Some(content) = self.progress(entry, header, text) {
            owe_passing_failure(self.label, entry, &content, now_ms);
        }
        Recorded::Yes
    }

    /// Tells those who want to hear of everything that the next attempt begins.
    pub fn tell_retry(&self, entry: &mut Entry, now_ms: i64) {
        let (brand, label, attempt) = (self.brand, self.label, entry.attempt());
        let header = format!("🌶️ *{brand}* [{label}] starting again (attempt {attempt})...");
        if let Some(content) = self.progress(entry, header, String::new()) {
            owe(self.label, entry, DeliveryKind::Starting, &content, now_ms);
        }
    }

    /// What is told between two attempts, to those who want to hear of everything.
    fn progress(&self, entry: &Entry, header: String, text: String) -> Option<Content> {
        let mode = DeliveryMode::from_text(entry.text("deliveryMode"));
        let is_told = mode == DeliveryMode::AnnounceAlways && self.reader != Reader::Stdout;
        is_told.then(|| Content {
            header,
            bytes: text.len() as u64,
            text,
            ..Content::default()
        })
    }

    /// Records a request for the final reply that is about to be sent.
    pub fn ask(&self, entry: &mut Entry, steer: &Steer) -> bool {
        let may = self.is_at_work(entry)
            && entry.phase() != Some(Phase::Verifying)
            && !entry.cancel_requested();
        if may {
            entry.put_steer(steer);
        }
        may
    }

    /// Records why the run is stopped, so that its end is told as that whoever sees it.
    pub fn order_stop(&self, entry: &mut Entry, why: &Failure) -> bool {
        let may = self.is_at_work(entry) && entry.stop_order().is_none();
        if may {
            entry.set_stop_order(why);
        }
        may
    }

    /// Moves the phase on.
    pub fn move_phase(&self, entry: &mut Entry, from: &[Phase], to: Phase) -> bool {
        let may = self.is_at_work(entry) && entry.phase().is_none_or(|phase| from.contains(&phase));
        if may {
            entry.set_phase(to);
        }
        may
    }

    fn is_at_work(&self, entry: &Entry) -> bool {
        entry.generation() == self.generation && entry.status() == Status::Running
    }

    /// Whether the entry may take this end. `done` and `cancelled` are final; a failure may still become `done`.
    fn standing(&self, entry: &Entry, to: &Status) -> Standing {
        if entry.generation() != self.generation {
            let now = entry.generation();
            let why = format!("the label has generation {now} by now");
            return Standing::Shut(Recorded::No(why));
        }
        match entry.status() {
            Status::Running => Standing::Open,
            Status::Error | Status::Interrupted if *to == Status::Done => Standing::Open,
            // A late signal that the operator's check has rejected.
            Status::Error | Status::Interrupted if entry.is_signalled() => Standing::Open,
            status if status == *to => Standing::Shut(Recorded::Yes),
            status => Standing::Shut(Recorded::No(format!("the label is {status} already"))),
        }
    }

    fn owe(&self, entry: &mut Entry, kind: DeliveryKind, content: &Content, now_ms: i64) {
        match self.reader {
            Reader::Outbox => owe(self.label, entry, kind, content, now_ms),
            Reader::Stdout => owe_stdout(self.label, entry, kind, content, now_ms),
            Reader::AfterStdout => {
                owe_stdout(self.label, entry, kind, content, now_ms);
                pass_on_stdout(self.label, entry, PRINTER_GONE, false, now_ms);
            }
        }
    }
}

/// The signal holds no words of the agent's own.
fn says_little(entry: &Entry) -> bool {
    let said = entry.value("completion").and_then(said);
    !matches!(said, Some(Said::Own(_)))
}

/// The entry holds a signal that `seen` did not.
fn is_overtaken(entry: &Entry, seen: &Entry) -> bool {
    entry.is_signalled() && signal_of(entry) != signal_of(seen)
}

/// What tells one signal from another: where its text is kept and when it came.
pub fn signal_of(entry: &Entry) -> Option<Value> {
    entry
        .is_signalled()
        .then(|| json!([entry.value("artifact"), entry.value("completion")]))
}
