//! The recovery scan, as `recovery/mod.rs` does it, and `dispatch status`, which resolves a label that nobody watches, as
//! `watch/resolve.rs` does it.

use std::rc::Rc;
use std::time::Duration;

use dispatch::backend::openclaw::{evidence, left_behind};
use dispatch::backend::{Evidence, RunRef, Settled, Text};
use dispatch::completion::cap::ArtifactOutcome;
use dispatch::delivery::is_owed;
use dispatch::record::{Entry, Status};
use dispatch::recovery::needed;
use dispatch::recovery::overloads::{Candidacy, MAX_AGE, candidacy};
use dispatch::recovery::retries::{Account, reopen};
use dispatch::watch::ending::told;
use dispatch::watch::machine::Conclusion;
use dispatch::watch::orphan::{Orphan, Verdict, verdict};

use super::process::{Me, Process, Then};
use super::sabotage::Sabotage;
use super::world::{LABELS, World, run_of};

/// As in `recovery/mod.rs`.
const WEDGED_MS: i64 = 10 * 60_000;

/// `529-recovery`.
#[derive(Default)]
pub struct Scan {
    seen: Vec<(usize, Rc<Entry>)>,
    is_read: bool,
}

impl Process for Scan {
    fn name(&self) -> String {
        "scan".to_owned()
    }

    fn step(&mut self, world: &mut World, _me: Me) -> Then {
        if !self.is_read {
            self.is_read = true;
            for label in 0..LABELS.len() {
                self.seen
                    .extend(world.read(label).map(|entry| (label, entry)));
            }
            return Then::Go;
        }
        let Some((label, entry)) = self.seen.pop() else {
            return Then::Exit;
        };
        // A gateway's last words are not looked for by the scan.
        self.retry_overload(world, label);
        let why = needed(LABELS[label], &entry, || false).ok().flatten();
        let is_passed_over = world.is_broken_by(Sabotage::NobodySends) && entry.status().is_ended();
        if why.is_none() || is_passed_over {
            return Then::Go;
        }
        let generation = entry.generation();
        let now_ms = world.now_ms();
        let held = world
            .posts
            .iter()
            .find(|held| held.label == label && held.generation == generation);
        match held.map(|held| (held.by, now_ms - held.stirred_ms)) {
            Some((by, age)) if age >= WEDGED_MS => {
                world.tell(|_| format!("    the scan ends the watcher {by}"));
                world.killed.push(by);
                world.start_watcher(label, generation);
            }
            Some(_) => {}
            None => world.start_watcher(label, generation),
        }
        Then::Go
    }
}

impl Scan {
    /// As `retry` of `recovery/overloads.rs`, which then waits for the watcher to act.
    fn retry_overload(&mut self, world: &mut World, label: usize) {
        let own = world.settings.retry.clone();
        let reopened = world.amend(label, |entry, now_ms| {
            let found = candidacy(LABELS[label], entry, &own, MAX_AGE, now_ms);
            let is_due = found == Candidacy::Due;
            if is_due {
                reopen(entry, Duration::ZERO, now_ms);
            }
            (is_due.then(|| entry.generation()), is_due)
        });
        if let Ok(Some(Some(generation))) = reopened {
            world.ensure_watcher(label, generation);
        }
    }
}

/// `dispatch status`.
pub struct Resolve {
    label: usize,
    part: usize,
    entry: Rc<Entry>,
    run: RunRef,
    evidence: Evidence,
    left: Option<Settled>,
    seen_at: i64,
    end: Option<(Settled, Status)>,
    artifact: Option<ArtifactOutcome>,
}

impl Resolve {
    pub fn new(label: usize) -> Self {
        Self {
            label,
            part: 0,
            entry: Rc::default(),
            run: RunRef::default(),
            evidence: Evidence::unknown(),
            left: None,
            seen_at: 0,
            end: None,
            artifact: None,
        }
    }

    fn orphan(&self, world: &World) -> Orphan {
        Orphan {
            phase: self.entry.phase(),
            spawned_at_ms: self.entry.time("spawnedAt").unwrap_or(0),
            policy: world.settings.policy.clone(),
            has_prompt: true,
            is_carried: false,
        }
    }
}

impl Process for Resolve {
    fn name(&self) -> String {
        format!("status {} part {}", LABELS[self.label], self.part)
    }

    fn step(&mut self, world: &mut World, me: Me) -> Then {
        self.part += 1;
        let label = self.label;
        let generation = self.entry.generation();
        match self.part {
            1 => {
                let entry = world.read(label);
                let running = entry.filter(|entry| entry.status() == Status::Running);
                let run = running.as_ref().and_then(|entry| run_of(label, entry));
                let (Some(entry), Some(run)) = (running, run) else {
                    return Then::Exit;
                };
                let Ok(seen) = world.observe(&run) else {
                    return Then::Exit;
                };
                // As `observe` of the OpenClaw backend, for one look.
                let mut found = evidence(&seen);
                let failed = matches!(found.settled, Some(Settled::Failed { .. }));
                if (failed && seen.is_unexplained()) || seen.is_unproven() {
                    found.settled = None;
                }
                self.left = seen.is_left_behind().then(|| left_behind(&seen));
                self.evidence = world.with_tools(&run, found);
                self.seen_at = world.now;
                (self.entry, self.run) = (entry, run);
                Then::Go
            }
            2 => {
                let found = verdict(&self.orphan(world), &self.evidence, world.now_ms());
                if found == Verdict::GoesOn
                    || self.entry.is_signalled()
                    || !world.take(label, generation, me.pid, false)
                {
                    return Then::Exit;
                }
                world.observer.took_post(LABELS[label], generation, me.pid);
                let left = self
                    .left
                    .clone()
                    .filter(|_| found.leaves_something(&self.evidence));
                let cancelled = self.entry.cancel_requested();
                self.end = Some(found.ending(&self.evidence, left, cancelled, world.now_ms()));
                Then::Go
            }
            3 => {
                let now = world.read(label);
                let is_unchanged = now.is_some_and(|now| {
                    now.generation() == generation && now.rev() == self.entry.rev()
                });
                let is_watchers = match &self.end {
                    Some((_, Status::Done)) => self.entry.text("verifyCmd").is_some(),
                    Some((Settled::Failed { failure, .. }, Status::Error)) => {
                        let own = &world.settings.retry;
                        let account = Account::of(LABELS[label], &self.entry, own);
                        account.next(failure).is_some()
                    }
                    _ => false,
                };
                if !is_unchanged || is_watchers {
                    world.leave(label, generation, me.pid);
                    world.observer.left_post(LABELS[label], generation, me.pid);
                    world.ensure_watcher(label, generation);
                    return Then::Exit;
                }
                if let Some((settled, _)) = &self.end
                    && let Text::Inline(text) = told(settled, false).text
                {
                    self.artifact = Some(world.file(&text));
                }
                Then::Go
            }
            4 => {
                let (Some((settled, status)), Some(artifact)) =
                    (self.end.take(), self.artifact.take())
                else {
                    return Then::Exit;
                };
                let told = told(&settled, false);
                let Text::Inline(text) = told.text.clone() else {
                    return Then::Exit;
                };
                let bytes = text.len() as u64;
                let mut ending = told.ending(Conclusion::Failed, text, bytes, artifact);
                ending.status = status;
                let charge = World::charge(label, generation);
                let (seen, steers) = (&self.entry, &self.run.steers);
                world.observer.decides(LABELS[label], self.seen_at);
                let _ = world.amend(label, |entry, now_ms| {
                    let before = entry.clone();
                    let recorded = charge.end(entry, seen, steers, &ending, now_ms);
                    (recorded, *entry != before)
                });
                Then::Go
            }
            5 => {
                world.leave(label, generation, me.pid);
                world.observer.left_post(LABELS[label], generation, me.pid);
                Then::Go
            }
            _ => {
                if world.read(label).is_some_and(|now| is_owed(&now)) {
                    world.ensure_watcher(label, generation);
                }
                Then::Exit
            }
        }
    }
}
