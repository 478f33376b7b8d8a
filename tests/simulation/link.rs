//! A watcher's standing connection, as `backend/openclaw/link.rs` keeps it: what it heard last, and what can be believed
//! of it already.

use std::time::Duration;

use dispatch::backend::openclaw::{Seen, evidence, left_behind};
use dispatch::backend::{Evidence, RunRef, Settled};

use super::sabotage::Sabotage;
use super::world::World;

/// As in `link.rs` of the backend.
const LEFT_BEHIND_PATIENCE: Duration = Duration::from_secs(30);
const LATE_STATUS: Duration = Duration::from_secs(20);

/// The connection of one watcher.
#[derive(Debug, Default)]
pub struct Link {
    evidence: Option<Evidence>,
    is_in_trouble: bool,
    left_behind_since: Option<Duration>,
    ended_since: Option<Duration>,
    /// When the evidence was true, by true time.
    pub heard_at: i64,
}

impl Link {
    /// The latest evidence, after a look of its own where there was time for one. The words are why the run cannot be seen.
    pub fn look(&mut self, world: &mut World, run: &RunRef) -> (Evidence, Option<String>) {
        let is_told = matches!(&self.evidence, Some(evidence) if evidence.settled.is_some());
        // News may be on their way yet.
        if !is_told && !world.mishap() {
            match world.observe(run) {
                Ok(seen) => {
                    let evidence = self.weigh(&seen, world.monotonic());
                    self.evidence = Some(world.with_tools(run, evidence));
                    self.heard_at = world.now;
                    self.is_in_trouble = false;
                }
                Err(_) => self.is_in_trouble = true,
            }
        }
        if world.is_broken_by(Sabotage::ReplyIsNoNews)
            && let Some(evidence) = &mut self.evidence
            && matches!(evidence.settled, Some(Settled::Reply { .. }))
        {
            evidence.settled = None;
        }
        match &self.evidence {
            Some(evidence) if evidence.settled.is_some() || !self.is_in_trouble => {
                (evidence.clone(), None)
            }
            _ if self.is_in_trouble => (Evidence::unknown(), Some("silence".to_owned())),
            _ => (
                Evidence::unknown(),
                Some("no answer about it has come yet".to_owned()),
            ),
        }
    }

    fn weigh(&mut self, seen: &Seen, now: Duration) -> Evidence {
        let mut evidence = evidence(seen);
        let failed = matches!(evidence.settled, Some(Settled::Failed { .. }));
        if (failed && seen.is_unexplained()) || seen.is_unproven() {
            let since = *self.ended_since.get_or_insert(now);
            if now.saturating_sub(since) < LATE_STATUS {
                evidence.settled = None;
            }
        }
        if !seen.is_ended() {
            self.ended_since = None;
        }
        match seen.is_left_behind() {
            false => self.left_behind_since = None,
            true => {
                let since = *self.left_behind_since.get_or_insert(now);
                if now.saturating_sub(since) >= LEFT_BEHIND_PATIENCE {
                    evidence.settled = Some(left_behind(seen));
                }
            }
        }
        evidence
    }
}
