//! What a watcher does of what the machine says, as `watch/driver/perform.rs` and `watch/conclude.rs` do it.

use dispatch::backend::{Settled, Text};
use dispatch::record::{Failure, FailureKind, Phase, Steer};
use dispatch::watch::Reader;
use dispatch::watch::changes::Recorded;
use dispatch::watch::ending::{given_up, set_artifact, told};
use dispatch::watch::machine::{Action, Conclusion, Leaving};

use super::super::gateway::Request;
use super::super::process::Then;
use super::super::sabotage::Sabotage;
use super::super::world::{LABELS, Trouble, World};
use super::{At, Watcher};

/// As in `watch/driver.rs`.
const FOREGROUND_TRIES: usize = 2;

/// What became of a part of an action.
pub(super) enum Part {
    /// The action has further parts.
    More,
    Done,
    /// Something else came first: what to do is decided anew, at once.
    LookAgain,
}

impl Watcher {
    pub(super) fn act(&mut self, world: &mut World, index: usize, part: usize) -> Then {
        let action = self
            .next
            .as_ref()
            .and_then(|next| next.actions.get(index))
            .cloned();
        let Some(action) = action else {
            self.troubles = 0;
            self.close_round();
            return Then::Go;
        };
        if let Action::Leave(leaving) = action {
            self.troubles = 0;
            self.left = Some(leaving);
            self.close_round();
            return Then::Go;
        }
        match self.part(world, &action, part) {
            Ok(Part::More) => self.at = At::Act(index, part + 1),
            Ok(Part::Done) => self.at = At::Act(index + 1, 0),
            Ok(Part::LookAgain) => {
                self.troubles = 0;
                self.pause = 0;
                self.close_round();
            }
            Err(Trouble) if self.prints_unrecorded(&action) => {
                // Whoever reads this stdout gets the end; the next watcher records it.
                self.left = Some(Leaving::Ended);
                self.close_round();
            }
            Err(Trouble) => self.pause_after(),
        }
        Then::Go
    }

    fn prints_unrecorded(&self, action: &Action) -> bool {
        let concludes = matches!(
            action,
            Action::Conclude(_) | Action::GiveUp { .. } | Action::ConcludeStopped(_)
        );
        concludes && self.reader == Reader::Stdout && self.troubles >= FOREGROUND_TRIES
    }

    fn part(&mut self, world: &mut World, action: &Action, part: usize) -> Result<Part, Trouble> {
        match action {
            Action::Carry => Ok(self.carry(world, part)),
            Action::ConfirmRunning => {
                self.move_phase(world, &[Phase::Accepting], Phase::Running);
                Ok(Part::Done)
            }
            Action::Verify => Ok(self.verify(world, part)),
            Action::Reject(why) => {
                let settled = Settled::Failed {
                    failure: Failure::new(FailureKind::Verify, why.as_str(), world.now_ms()),
                    partial: self.unaccepted(),
                    cancelled: false,
                };
                self.conclude(world, Conclusion::Failed, &settled, part)
            }
            Action::ConcludeSignal => self.conclude_signal(world),
            Action::Abort => {
                self.abort(world);
                Ok(Part::Done)
            }
            Action::Ask(number) => Ok(self.ask(world, *number, part)),
            Action::Stop { kind, message } => match part {
                0 => {
                    let why = Failure::new(*kind, message.clone(), world.now_ms());
                    let charge = self.charge();
                    let ordered =
                        world.amend(self.label, |entry, _| ((), charge.order_stop(entry, &why)));
                    if ordered.is_err() {
                        // A ledger that cannot take the order does not prolong the run.
                        self.abort(world);
                        return Err(Trouble);
                    }
                    Ok(Part::More)
                }
                _ => {
                    self.abort(world);
                    Ok(Part::Done)
                }
            },
            Action::ConcludeStopped(why) => {
                let partial = match self.settled() {
                    Some(Settled::Failed { partial, .. }) => partial,
                    _ => Text::Inline(String::new()),
                };
                let settled = Settled::Failed {
                    failure: why.clone(),
                    partial,
                    cancelled: false,
                };
                self.conclude(world, Conclusion::Failed, &settled, part)
            }
            Action::Conclude(conclusion) => match self.settled() {
                Some(settled) => self.conclude(world, *conclusion, &settled, part),
                None => Ok(Part::Done),
            },
            Action::GiveUp { kind, message } => {
                let settled = given_up(*kind, message, world.now_ms());
                self.conclude(world, Conclusion::Failed, &settled, part)
            }
            Action::PutOff { failure, next } => self.put_off(world, failure, next, part),
            Action::Retry => self.retry(world, part),
            Action::ConcludeWaiting => {
                let settled = Settled::Failed {
                    failure: Failure::new(FailureKind::Aborted, "cancelled", world.now_ms()),
                    partial: self.unaccepted(),
                    cancelled: true,
                };
                self.conclude(world, Conclusion::Cancelled, &settled, part)
            }
            Action::FileLastWords => self.file_last_words(world),
            Action::Leave(Leaving::Ended | Leaving::Superseded) => Ok(Part::Done),
        }
    }

    /// The text of a result that was not accepted.
    fn unaccepted(&self) -> Text {
        match self.settled() {
            _ if self.is_signalled() => {
                Text::Inline(self.entry.text("summary").unwrap_or_default().to_owned())
            }
            Some(Settled::Reply { text, .. }) => text,
            _ => Text::Inline(String::new()),
        }
    }

    fn is_signalled(&self) -> bool {
        let entry = self.sight.as_ref().and_then(|sight| sight.entry.as_ref());
        entry.is_some_and(|entry| entry.signalled)
    }

    pub(super) fn settled(&self) -> Option<Settled> {
        self.sight.as_ref()?.evidence.settled.clone()
    }

    /// As `carry` of the OpenClaw backend: it asks whether the run has begun, then for the run.
    pub(super) fn carry(&mut self, world: &mut World, part: usize) -> Part {
        if part == 0 {
            let Ok(connection) = world.connect() else {
                return Part::Done;
            };
            let is_broken = world.is_broken_by(Sabotage::RunAgain);
            if world.gateway.has_begun(&self.run) && !is_broken {
                return Part::Done;
            }
            self.connection = Some(connection);
            return Part::More;
        }
        let request = Request::Agent {
            session: self.run.session_key.clone(),
            run_id: self.run.run_id.clone(),
            label: self.label,
            generation: self.generation,
        };
        if let Some(connection) = self.connection.take() {
            let _ = world.call(connection, request);
        }
        Part::Done
    }

    fn abort(&mut self, world: &mut World) {
        let request = Request::Abort {
            session: self.run.session_key.clone(),
            by: self.generation,
        };
        if let Ok(connection) = world.connect() {
            let _ = world.call(connection, request);
        }
    }

    fn ask(&mut self, world: &mut World, number: u8, part: usize) -> Part {
        if part == 0 {
            let id = world.name("ask");
            let mut steer = Steer::new(&id, "final", false, world.now_ms());
            steer.request = Some(number);
            let charge = self.charge();
            let asked = world.amend(self.label, |entry, _| {
                let is_asked = charge.ask(entry, &steer);
                (is_asked, is_asked)
            });
            return match asked {
                Ok(Some(true)) => {
                    self.steer = Some(steer);
                    Part::More
                }
                _ => Part::Done,
            };
        }
        if let (Some(steer), Ok(connection)) = (self.steer.take(), world.connect()) {
            let request = Request::Send {
                session: self.run.session_key.clone(),
                steer,
                label: self.label,
                generation: self.generation,
            };
            let _ = world.call(connection, request);
        }
        Part::Done
    }

    fn move_phase(&mut self, world: &mut World, from: &[Phase], to: Phase) {
        let charge = self.charge();
        let _ = world.amend(self.label, |entry, _| {
            ((), charge.move_phase(entry, from, to))
        });
    }

    /// The result's text is on disk before the command begins.
    fn verify(&mut self, world: &mut World, part: usize) -> Part {
        match part {
            0 => {
                let settled = self.settled().filter(|_| !self.is_signalled());
                if let Some(settled) = settled
                    && let Text::Inline(text) = told(&settled, false).text
                {
                    world.file(&text);
                }
                Part::More
            }
            _ => {
                self.move_phase(world, &[Phase::Accepting, Phase::Running], Phase::Verifying);
                self.checker.start(world.monotonic(), &mut world.random);
                self.pause = 0;
                Part::Done
            }
        }
    }

    /// The artifact, then state and outbox in one write.
    pub(super) fn conclude(
        &mut self,
        world: &mut World,
        conclusion: Conclusion,
        settled: &Settled,
        part: usize,
    ) -> Result<Part, Trouble> {
        let told = told(settled, false);
        let Text::Inline(text) = told.text.clone() else {
            return Ok(Part::Done);
        };
        if part == 0 {
            self.artifact = Some(world.file(&text));
            return Ok(Part::More);
        }
        let Some(artifact) = self.artifact.clone() else {
            return Ok(Part::Done);
        };
        let bytes = text.len() as u64;
        let ending = told.ending(conclusion, text, bytes, artifact);
        let charge = self.charge();
        let (seen, steers) = (&self.entry, &self.run.steers);
        let owes_nothing = world.is_broken_by(Sabotage::EndOwesNothing);
        let name = LABELS[self.label];
        world.observer.decides(name, self.link.heard_at);
        let recorded = world.amend(self.label, |entry, now_ms| {
            let before = entry.clone();
            let recorded = charge.end(entry, seen, steers, &ending, now_ms);
            if owes_nothing {
                match before.value("deliveries") {
                    Some(kept) => entry.set("deliveries", kept.clone()),
                    None => entry.clear("deliveries"),
                }
            }
            (recorded, *entry != before)
        })?;
        Ok(match recorded {
            Some(Recorded::Overtaken) => Part::LookAgain,
            _ => Part::Done,
        })
    }

    fn conclude_signal(&mut self, world: &mut World) -> Result<Part, Trouble> {
        let charge = self.charge();
        let seen = &self.entry;
        let recorded = world.amend(self.label, |entry, now_ms| {
            let recorded = charge.stand(entry, seen, now_ms);
            let is_changed = recorded == Recorded::Yes;
            (recorded, is_changed)
        })?;
        Ok(match recorded {
            Some(Recorded::Overtaken) => Part::LookAgain,
            _ => Part::Done,
        })
    }

    fn file_last_words(&mut self, world: &mut World) -> Result<Part, Trouble> {
        let Some(Settled::Reply {
            text: Text::Inline(text),
            ..
        }) = self.settled()
        else {
            return Ok(Part::Done);
        };
        let generation = self.generation;
        let artifact = world.file(&text);
        world.amend(self.label, |entry, _| {
            let is_wanted = entry.generation() == generation
                && entry.value("completion").is_some()
                && entry.value("lastWords").is_none();
            if is_wanted {
                set_artifact(entry, "lastWords", &artifact, text.len() as u64);
            }
            ((), is_wanted)
        })?;
        Ok(Part::Done)
    }
}
