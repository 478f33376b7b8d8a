//! The operator's verify command, as the `Checker` of `watch/verify.rs` keeps it: a verdict over one text says nothing of
//! another. The command itself is a span of time and a verdict.

use std::time::Duration;

use dispatch::record::{Entry, FailureKind, Status};
use dispatch::watch::changes::signal_of;
use dispatch::watch::machine::Verify;
use serde_json::Value;

use super::random::Random;

/// How long one that is told to stop takes to be gone.
const STOP: Duration = Duration::from_millis(300);

/// The verify command of one watch.
#[derive(Debug, Default)]
pub struct Checker {
    under_way: Option<(Duration, bool)>,
    verdict: Option<bool>,
    signal: Option<Value>,
    /// When one that was told to stop is gone.
    gone_at: Option<Duration>,
}

impl Checker {
    pub fn sight(&mut self, entry: &Entry, now: Duration) -> Verify {
        let failure = entry.failure();
        if let Some(rejected) = failure.filter(|f| f.kind == FailureKind::Verify) {
            return Verify::Rejected(rejected.message);
        }
        if entry.text("verifyCmd").is_none() {
            return Verify::NotWanted;
        }
        if signal_of(entry) != self.signal {
            self.under_way = None;
            self.verdict = None;
            self.gone_at = None;
            self.signal = signal_of(entry);
        }
        let is_cancelled = entry.status() == Status::Running && entry.cancel_requested();
        if let Some((until, passes)) = self.under_way {
            if self.gone_at.is_none() && now >= until {
                self.verdict = Some(passes);
            } else if !is_cancelled || now < *self.gone_at.get_or_insert(now + STOP) {
                return Verify::UnderWay;
            }
            self.under_way = None;
        }
        match self.verdict {
            None if is_cancelled => Verify::CalledOff,
            None => Verify::Wanted,
            Some(true) => Verify::Passed,
            Some(false) => Verify::Rejected("the verify command exited with code 1".to_owned()),
        }
    }

    pub fn start(&mut self, now: Duration, random: &mut Random) {
        let lasts = Duration::from_millis(random.between(50, 3_000).unsigned_abs());
        self.under_way = Some((now + lasts, random.chance(700)));
    }
}
