//! What the driver does of what the machine says.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use super::super::changes::Recorded;
use super::super::conclude::{
    amend, charge, file_ending, file_last_words, given_up, record_ending, record_signal,
    tell_what_was_held, unaccepted,
};
use super::super::machine::{Action, Conclusion, Leaving, Sight, Step};
use super::super::verify::Subject;
use super::super::{Reader, artifact_path};
use super::{Driver, FOREGROUND_TRIES, RETRY_PAUSES_S};
use uuid::Uuid;

use crate::backend::{Settled, Text};
use crate::completion::cap::ArtifactOutcome;
use crate::ledger::LedgerError;
use crate::record::{Failure, FailureKind, Phase, Steer};
use crate::recovery::fallback::last_message;

/// What the agent is asked at its deadline.
const FINAL_REQUEST: &str = "Your time is up. Stop what you are doing, start nothing new, and send your final reply now: what is done, what is not, and what whoever goes on with it must know.";

/// How the run ended, where the agent's own signal does not stand before that.
fn unsignalled(sight: &Sight) -> Option<&Settled> {
    let is_signalled = sight.entry.as_ref().is_some_and(|entry| entry.signalled);
    sight.evidence.settled.as_ref().filter(|_| !is_signalled)
}

impl Driver<'_> {
    /// Starts the verify command over the result's text, which is on disk by then.
    fn verify(&mut self, settled: Option<&Settled>) {
        let artifact = match settled {
            Some(settled) => {
                match file_ending(self.home, &self.run, Conclusion::Done, settled).artifact {
                    ArtifactOutcome::Written(path) => Some(path),
                    ArtifactOutcome::Failed(_) => None,
                }
            }
            None => artifact_path(self.home, &self.entry, "artifact"),
        };
        self.move_phase(&[Phase::Accepting, Phase::Running], Phase::Verifying);
        let cwd = PathBuf::from(self.entry.text("cwd").unwrap_or("/"));
        let subject = Subject {
            command: self.entry.text("verifyCmd").unwrap_or("true"),
            cwd: &cwd,
            path: self.entry.text("verifyPath"),
            text: artifact.as_deref(),
            label: &self.run.label,
            note: &self.verify_note,
        };
        self.checker.start(&subject, self.home.clock.monotonic());
        self.wake.waker().wake();
    }

    pub(super) fn perform(
        &mut self,
        step: &Step,
        sight: &Sight,
    ) -> Result<Option<Leaving>, LedgerError> {
        for action in &step.actions {
            match action {
                Action::Carry => self.carry(),
                Action::ConfirmRunning => self.move_phase(&[Phase::Accepting], Phase::Running),
                Action::Verify => self.verify(unsignalled(sight)),
                Action::Reject(why) => {
                    let failure = Failure::new(FailureKind::Verify, why, self.home.now_ms());
                    let reply = unsignalled(sight);
                    let settled = unaccepted(self.home, &self.entry, failure, reply);
                    if self.conclude(Conclusion::Failed, &settled)? == Recorded::Overtaken {
                        return Ok(self.look_again());
                    }
                }
                Action::ConcludeSignal => {
                    let (ledger, run) = (&self.ledger, &self.run);
                    match record_signal(self.home, ledger, run, &self.entry, self.reader)? {
                        Recorded::Overtaken => return Ok(self.look_again()),
                        Recorded::Yes => {}
                        Recorded::No(why) => self.voice.say(&why),
                    }
                }
                Action::Abort => {
                    if let Err(e) = self.backend.abort(&self.run) {
                        self.voice.say(&format!("cannot ask the run to stop: {e}"));
                    }
                }
                Action::Ask(number) => self.ask(*number),
                Action::Stop { kind, message } => {
                    let why = Failure::new(*kind, message.clone(), self.home.now_ms());
                    let ordered = self.order_stop(&why);
                    // A ledger that cannot take the order does not prolong the run.
                    if let Err(e) = self.backend.abort(&self.run) {
                        self.voice.say(&format!("cannot ask the run to stop: {e}"));
                    }
                    ordered?;
                }
                Action::ConcludeStopped(why) => {
                    let partial = match &sight.evidence.settled {
                        Some(Settled::Failed { partial, .. }) => partial.clone(),
                        _ => Text::Inline(String::new()),
                    };
                    let settled = Settled::Failed {
                        failure: why.clone(),
                        partial,
                        cancelled: false,
                    };
                    if self.conclude(Conclusion::Failed, &settled)? == Recorded::Overtaken {
                        return Ok(self.look_again());
                    }
                }
                Action::Conclude(conclusion) => {
                    if let Some(settled) = &sight.evidence.settled
                        && self.conclude(*conclusion, settled)? == Recorded::Overtaken
                    {
                        return Ok(self.look_again());
                    }
                }
                Action::GiveUp { kind, message } => {
                    let settled = given_up(self.home, *kind, message);
                    if self.conclude(Conclusion::Failed, &settled)? == Recorded::Overtaken {
                        return Ok(self.look_again());
                    }
                }
                Action::PutOff { failure, next } => {
                    if self.put_off(failure, next, sight.evidence.settled.as_ref())?
                        == Recorded::Overtaken
                    {
                        return Ok(self.look_again());
                    }
                }
                Action::Retry => {
                    if let Some(leaving) = self.retry()? {
                        return Ok(Some(leaving));
                    }
                }
                Action::ConcludeWaiting => {
                    let failure = Failure::new(
                        FailureKind::Aborted,
                        "cancelled on request",
                        self.home.now_ms(),
                    );
                    let reply = unsignalled(sight);
                    let settled = unaccepted(self.home, &self.entry, failure, reply);
                    if self.conclude(Conclusion::Cancelled, &settled)? == Recorded::Overtaken {
                        return Ok(self.look_again());
                    }
                }
                Action::FileLastWords => {
                    if let Some(settled) = &sight.evidence.settled {
                        file_last_words(self.home, &self.ledger, &self.run, settled)?;
                    }
                }
                Action::Leave(leaving) => {
                    if *leaving == Leaving::Ended {
                        match tell_what_was_held(&self.ledger, &self.run, &self.entry) {
                            // Whoever prints does not wait for a ledger that cannot be used.
                            Err(e) if self.reader == Reader::Stdout => {
                                self.voice.say(&format!("{e}"));
                            }
                            told => told?,
                        }
                    }
                    return Ok(Some(*leaving));
                }
            }
        }
        Ok(None)
    }

    /// Asks for the final reply; on record first, so that the run that it begins is followed.
    fn ask(&mut self, number: u8) {
        let mut steer = Steer::new(
            &Uuid::new_v4().to_string(),
            FINAL_REQUEST,
            false,
            self.home.now_ms(),
        );
        steer.request = Some(number);
        let charge = charge(self.home, &self.run, self.reader);
        let recorded = amend(&self.ledger, &self.run.label, |entry, _| {
            let is_asked = charge.ask(entry, &steer);
            (is_asked, is_asked)
        });
        let asked = match recorded {
            Ok(Some(true)) => self.backend.ask(&self.run, &steer, FINAL_REQUEST),
            Ok(_) => Ok(()),
            Err(e) => Err(std::io::Error::other(e)),
        };
        if let Err(e) = asked {
            self.voice
                .say(&format!("cannot ask for the final reply: {e}"));
        }
    }

    /// Records why the run is stopped, so that its end is told as that whoever sees it.
    fn order_stop(&mut self, why: &Failure) -> Result<(), LedgerError> {
        let charge = charge(self.home, &self.run, self.reader);
        amend(&self.ledger, &self.run.label, |entry, _| {
            let is_new = charge.order_stop(entry, why);
            ((), is_new)
        })
        .map(|_| ())
    }

    pub(super) fn carry(&mut self) {
        match self.backend.carry(&self.run) {
            Ok(carrier) => self.carriers.extend(carrier),
            Err(e) => self.voice.say(&format!("cannot start a runner: {e}")),
        }
    }

    fn move_phase(&mut self, from: &[Phase], to: Phase) {
        let charge = charge(self.home, &self.run, self.reader);
        let moved = amend(&self.ledger, &self.run.label, |entry, _| {
            let is_moved = charge.move_phase(entry, from, to);
            (is_moved, is_moved)
        });
        if let Err(e) = moved {
            self.voice.say(&format!("{e}"));
        }
    }

    /// Files the end. As long as the ledger cannot take it the caller comes again: the artifact is there, and nobody else
    /// has a reason to record another end.
    pub(super) fn conclude(
        &mut self,
        conclusion: Conclusion,
        settled: &Settled,
    ) -> Result<Recorded, LedgerError> {
        let (home, run) = (self.home, &self.run);
        let settled = self.last_settlement(conclusion, settled);
        let ending = file_ending(home, run, conclusion, &settled);
        let recorded = record_ending(home, &self.ledger, run, &self.entry, &ending, self.reader);
        match &recorded {
            Ok(Recorded::Yes) => self.ended = Some(ending),
            Ok(Recorded::No(why)) => self.voice.say(&format!("the end was not recorded: {why}")),
            Ok(Recorded::Overtaken) => {}
            Err(e) if self.reader == Reader::Stdout && self.troubles >= FOREGROUND_TRIES => {
                // Whoever reads our stdout gets the result; the next watcher finds the artifact and records it.
                self.voice.say(&format!(
                    "{e}; the end is not in the ledger yet, '529-recovery' records it"
                ));
                self.ended = Some(ending);
                return Ok(Recorded::No(e.to_string()));
            }
            Err(_) => {}
        }
        recorded
    }

    /// The settlement with the failure's last words: they name both selections where the fallback failed, too.
    fn last_settlement<'s>(
        &self,
        conclusion: Conclusion,
        settled: &'s Settled,
    ) -> Cow<'s, Settled> {
        let mut settled = Cow::Borrowed(settled);
        if conclusion == Conclusion::Failed
            && self.entry.fallback_use().is_some()
            && let Settled::Failed { failure, .. } = settled.to_mut()
        {
            failure.message = last_message(&self.entry, failure);
        }
        settled
    }

    /// Something else came first: what to do is decided anew, at once.
    pub(super) fn look_again(&self) -> Option<Leaving> {
        self.wake.waker().wake();
        None
    }

    /// How long to wait before the ledger is tried again.
    pub(super) fn pause_after(&mut self, error: &LedgerError) -> Duration {
        let last = RETRY_PAUSES_S.len() - 1;
        let pause = RETRY_PAUSES_S
            .get(self.troubles.min(last))
            .copied()
            .unwrap_or(30);
        self.troubles += 1;
        self.voice
            .say(&format!("{error}; trying again in {pause} s"));
        Duration::from_secs(pause)
    }
}
