//! What a watcher does between two attempts, as `watch/driver/retrying.rs` does it.

use std::rc::Rc;

use dispatch::backend::{Settled, Text};
use dispatch::record::{Attempt, Entry, Failure};
use dispatch::recovery::fallback::last_message;
use dispatch::recovery::retries::{Claimed, Next, claim};
use dispatch::watch::changes::Recorded;
use dispatch::watch::ending::told;
use dispatch::watch::machine::{Conclusion, Leaving};

use super::super::sabotage::Sabotage;
use super::super::world::{LABELS, Trouble, World, run_of};
use super::Watcher;
use super::acts::Part;

impl Watcher {
    /// What the attempt had said is kept first.
    pub(super) fn put_off(
        &mut self,
        world: &mut World,
        failure: &Failure,
        next: &Next,
        part: usize,
    ) -> Result<Part, Trouble> {
        if part == 0 {
            if let Some(settled) = self.settled()
                && let Text::Inline(text) = told(&settled, false).text
            {
                world.file(&text);
            }
            return Ok(Part::More);
        }
        let mut failure = failure.clone();
        if failure.at == 0 {
            failure.at = world.now_ms();
        }
        let charge = self.charge();
        let run = &self.run;
        let recorded = world.amend(self.label, |entry, now_ms| {
            let recorded = charge.put_off(entry, &run.steers, run.attempt, &failure, next, now_ms);
            let is_changed = recorded == Recorded::Yes;
            (recorded, is_changed)
        })?;
        Ok(match recorded {
            Some(Recorded::Yes | Recorded::No(_)) => Part::Done,
            Some(Recorded::Overtaken) | None => Part::LookAgain,
        })
    }

    /// The next attempt is prepared, claimed, and begun.
    pub(super) fn retry(&mut self, world: &mut World, part: usize) -> Result<Part, Trouble> {
        match part {
            0 => {
                if world.connect().is_err() {
                    return Ok(Part::Done);
                }
                let (label, generation) = (LABELS[self.label], self.generation);
                let run_id = match world.is_broken_by(Sabotage::ClaimUnderOldKey) {
                    true => self.run.run_id.clone(),
                    false => world.name(&format!("{label}.{generation}.")),
                };
                let baseline = world.gateway.baseline(&self.run.session_key);
                let is_there = baseline.session_id.is_some();
                self.attempt = Some(Attempt {
                    run_id,
                    session_key: match is_there {
                        true => self.run.session_key.clone(),
                        false => world.name("agent:main:subagent:s"),
                    },
                    baseline,
                });
                Ok(Part::More)
            }
            1 => {
                let Some(attempt) = self.attempt.take() else {
                    return Ok(Part::Done);
                };
                match self.claim(world, &attempt)? {
                    Claimed::Yes => Ok(Part::More),
                    Claimed::No => {
                        self.ledger_seen = None;
                        Ok(Part::Done)
                    }
                    Claimed::Held(left) => {
                        self.held_until = Some(world.monotonic() + left);
                        Ok(Part::Done)
                    }
                    Claimed::TooOld => self.end_retries(world),
                }
            }
            2 | 3 => Ok(self.carry(world, part - 2)),
            _ => Ok(Part::Done),
        }
    }

    fn claim(&mut self, world: &mut World, attempt: &Attempt) -> Result<Claimed, Trouble> {
        let label = LABELS[self.label];
        let charge = self.charge();
        let seen = Rc::clone(&self.entry);
        let others: Vec<Entry> = (0..LABELS.len())
            .filter(|other| *other != self.label)
            .filter_map(|other| world.truth(other).map(|entry| Entry::clone(entry)))
            .collect();
        let own = world.settings.retry.clone();
        let is_uncounted = world.is_broken_by(Sabotage::ClaimUncounted);
        let claimed = world.amend(self.label, |entry, now_ms| {
            let claimed = claim(label, entry, &seen, attempt, &others, &own, now_ms);
            let is_ours = claimed == Claimed::Yes;
            if is_ours {
                charge.tell_retry(entry, now_ms);
                if is_uncounted {
                    entry.clear("retryCount");
                }
            }
            (claimed, is_ours)
        })?;
        let claimed = claimed.unwrap_or(Claimed::No);
        if claimed == Claimed::Yes
            && let Some(entry) = world.truth(self.label).cloned()
        {
            self.entry = entry;
            if let Some(run) = run_of(self.label, &self.entry) {
                self.run = run;
                self.is_new_run = true;
            }
        }
        Ok(claimed)
    }

    fn end_retries(&mut self, world: &mut World) -> Result<Part, Trouble> {
        let Some(mut failure) = self.entry.failure() else {
            return Ok(Part::Done);
        };
        failure.message = last_message(&self.entry, &failure);
        let settled = Settled::Failed {
            failure,
            partial: Text::Inline(String::new()),
            cancelled: false,
        };
        self.conclude(world, Conclusion::Failed, &settled, 0)?;
        let concluded = self.conclude(world, Conclusion::Failed, &settled, 1)?;
        if matches!(concluded, Part::Done) {
            self.left = Some(Leaving::Ended);
        }
        Ok(concluded)
    }
}
