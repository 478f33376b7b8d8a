//! The retry rule: which failure is tried again, when, and how the next attempt is claimed. Pure.
//!
//! Watcher and scan act by it alike. Counts, pause and claim are in the entry and change under the ledger's lock alone, so
//! that whoever claims first acts and nobody else does.

use std::fmt;
use std::time::Duration;

use super::fallback;
use crate::config::RetryWindows;
use crate::failure::policy::{self, Budget};
use crate::record::{Attempt, Claim, Entry, Failure, Phase, Selection, Status};

/// A failure that has waited longer than this for its turn is final.
const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// The least time between two retries at one provider.
const SPACING: Duration = Duration::from_secs(5);

/// How long a provider is left alone after [`FAILURES_IN_A_ROW`] retries have failed.
const COOL_DOWN: Duration = Duration::from_secs(60);

/// So many failed retries in a row make a provider one to be left alone.
pub const FAILURES_IN_A_ROW: usize = 3;

/// What stands in for the provider of failures that name none.
const NO_PROVIDER: &str = "?";

/// A retry that is due later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// Which retry of its budget, from 1.
    pub number: u32,
    /// Of how many.
    pub at_most: u32,
    /// The pause before it.
    pub delay: Duration,
    /// It is made with the fallback, at once, and spends no budget.
    pub fallback: Option<Selection>,
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fallback {
            Some(selection) => write!(f, "the fallback {selection} follows"),
            None => write!(
                f,
                "retry {} of {} follows in {} s",
                self.number,
                self.at_most,
                self.delay.as_secs()
            ),
        }
    }
}

/// What an entry has left of its budgets.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Account {
    /// The label's work can be asked for again: its prompt is stored, and nobody has asked for its end.
    is_open: bool,
    spent: [u32; 3],
    fallback: Option<Selection>,
    /// Names the attempt; spreads pauses.
    key: String,
    own: RetryWindows,
}

const BUDGETS: [Budget; 3] = [Budget::Model, Budget::Restart, Budget::Takeover];

impl Account {
    /// The account of a label's entry.
    pub fn of(label: &str, entry: &Entry, own: &RetryWindows) -> Self {
        let spent = BUDGETS.map(|budget| spent(entry, budget));
        let attempt = entry.attempt();
        Self {
            // A bare command is no agent: whether it may be run twice, nobody has said.
            is_open: entry.text("promptPath").is_some()
                && entry.text("backend").is_some()
                && !entry.cancel_requested()
                && entry.stop_order().is_none(),
            spent,
            fallback: fallback::unused(entry),
            key: format!("{label}/{}/{attempt}", entry.generation()),
            own: limits_of(entry, own),
        }
    }

    /// The retry of this failure, if there is one.
    pub fn next(&self, failure: &Failure) -> Option<Next> {
        if let Some(selection) = &self.fallback
            && self.is_open
            && policy::allows_fallback(failure)
        {
            return Some(Next {
                number: 1,
                at_most: 1,
                delay: Duration::ZERO,
                fallback: Some(selection.clone()),
            });
        }
        let retry = policy::retry_of(failure.kind, &self.own).filter(|_| self.is_open)?;
        let index = BUDGETS.iter().position(|budget| *budget == retry.budget)?;
        let spent = self.spent.get(index).copied()?;
        let wished = failure
            .retry_after_ms
            .filter(|_| policy::of(failure.kind).waits);
        let delay = policy::next_delay_ms(retry, spent, wished, &self.key)?;
        Some(Next {
            number: spent + 1,
            at_most: retry.at_most,
            delay: Duration::from_millis(delay),
            fallback: None,
        })
    }
}

/// The operator's limits, with the one that a scan was given for this label.
fn limits_of(entry: &Entry, own: &RetryWindows) -> RetryWindows {
    let limit = entry.number("retryLimit");
    RetryWindows {
        at_most: limit.and_then(|n| u32::try_from(n).ok()).or(own.at_most),
        ..own.clone()
    }
}

fn spent(entry: &Entry, budget: Budget) -> u32 {
    let count = entry.number(budget.field()).unwrap_or(0);
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// What the attempt that follows the recorded failure is made with.
pub fn next_selection(entry: &Entry) -> Selection {
    let called_for = entry
        .failure()
        .and_then(|failure| fallback::called_for(entry, &failure));
    called_for.unwrap_or_else(|| entry.primary_selection())
}

/// Puts the label's work off until its retry is due.
pub fn put_off(entry: &mut Entry, failure: &Failure, delay: Duration, now_ms: i64) {
    entry.set_passing_failure(failure);
    fallback::note_failure(entry, failure);
    entry.set_phase(Phase::RetryWait);
    let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
    entry.set_time("retryAt", now_ms.saturating_add(delay));
}

/// How long the label's retry is to be waited for yet, by the wall clock; no longer than any pause of the rule.
pub fn due_in(entry: &Entry, now_ms: i64) -> Duration {
    let at_ms = entry.time("retryAt").unwrap_or(now_ms);
    let left = u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0);
    let longest = crate::failure::retry_after::MAX_MS;
    Duration::from_millis(left.min(longest + longest / 4))
}

/// Takes up a label that had failed for good before its budget was spent: it waits for its retry again.
pub fn reopen(entry: &mut Entry, delay: Duration, now_ms: i64) {
    let Some(failure) = entry.failure() else {
        return;
    };
    entry.set_status(&Status::Running);
    entry.set("error", serde_json::Value::Null);
    entry.clear("endedAt");
    put_off(entry, &failure, delay, now_ms);
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The next attempt stands in the ledger.
    Yes,
    /// Nothing was changed: the label no longer waits for this retry.
    No,
    /// Nothing was changed: the provider is to be left alone for so long.
    Held(Duration),
    /// Nothing was changed: it has waited too long for its turn.
    TooOld,
}

/// Claims the next attempt of a label that waits for its retry. `seen` is the entry that the attempt was prepared over,
/// `others` the ledger's other entries.
pub fn claim(
    label: &str,
    entry: &mut Entry,
    seen: &Entry,
    attempt: &Attempt,
    others: &[Entry],
    own: &RetryWindows,
    now_ms: i64,
) -> Claimed {
    let waits = entry.generation() == seen.generation()
        && entry.attempt() == seen.attempt()
        && entry.status() == Status::Running
        && entry.phase() == Some(Phase::RetryWait)
        && !entry.cancel_requested();
    let Some(failure) = entry.failure().filter(|_| waits) else {
        return Claimed::No;
    };
    if let Some(selection) = fallback::called_for(entry, &failure) {
        // Another model may be another provider's: it is no retry at the one that failed.
        begin(entry, attempt, None, now_ms);
        fallback::begin(entry, selection, &failure);
        return Claimed::Yes;
    }
    let Some(retry) = policy::retry_of(failure.kind, &limits_of(entry, own)) else {
        return Claimed::No;
    };
    let spent = spent(entry, retry.budget);
    if spent >= retry.at_most {
        return Claimed::No;
    }
    let provider = (retry.budget == Budget::Model).then(|| provider_of(entry));
    if let Some(provider) = &provider {
        let due_ms = entry.time("retryAt").unwrap_or(now_ms);
        let key = format!("{label}/{}", entry.attempt());
        let held = held_for(provider, others, own, &key, now_ms);
        if !held.is_zero() {
            let waited = u64::try_from(now_ms.saturating_sub(due_ms)).unwrap_or(0);
            let max_age = own_time(own.max_age_seconds, MAX_AGE);
            return match Duration::from_millis(waited) > max_age {
                true => Claimed::TooOld,
                false => Claimed::Held(held),
            };
        }
    }
    begin(entry, attempt, provider, now_ms);
    entry.set(retry.budget.field(), spent + 1);
    Claimed::Yes
}

/// Makes the attempt the entry's current one.
fn begin(entry: &mut Entry, attempt: &Attempt, provider: Option<String>, now_ms: i64) {
    let claim = Claim {
        attempt: entry.attempt().saturating_add(1),
        key: attempt.run_id.clone(),
        at: now_ms,
        provider,
        ..Claim::default()
    };
    entry.set_claim(&claim);
    entry.set("sessionKey", attempt.session_key.as_str());
    entry.set_baseline(&attempt.baseline);
    entry.set_phase(Phase::Accepting);
    entry.set_time("lastRetryAt", now_ms);
    entry.clear("retryAt");
    entry.keep_steers();
}

/// Whose failure it was.
fn provider_of(entry: &Entry) -> String {
    let failed = entry.failure().and_then(|failure| failure.provider);
    let asked = || {
        let (provider, _) = entry.text("model")?.split_once('/')?;
        Some(provider.to_owned())
    };
    let provider = failed.or_else(asked);
    provider.map_or_else(|| NO_PROVIDER.to_owned(), |name| name.to_lowercase())
}

/// How long a provider is to be left alone yet: since its last retry, and since the last of several that failed.
fn held_for(
    provider: &str,
    others: &[Entry],
    own: &RetryWindows,
    key: &str,
    now_ms: i64,
) -> Duration {
    let retried = others.iter().filter_map(|entry| {
        let claim = entry.claim()?;
        (claim.provider.as_deref() == Some(provider)).then_some((entry, claim))
    });
    let mut last_ms = i64::MIN;
    let mut outcomes: Vec<(i64, bool)> = Vec::new();
    for (entry, claim) in retried {
        last_ms = last_ms.max(claim.at);
        let failed = entry.failure().filter(|failure| failure.at >= claim.at);
        match (failed, entry.status()) {
            (Some(failure), _) => {
                outcomes.push((failure.at, policy::spends_models_budget(failure.kind)))
            }
            (None, Status::Done) => {
                outcomes.push((entry.time("endedAt").unwrap_or(claim.at), false));
            }
            (None, _) => {}
        }
    }
    outcomes.sort_unstable_by_key(|(at, _)| std::cmp::Reverse(*at));
    let newest = outcomes.get(..FAILURES_IN_A_ROW);
    let is_down = newest.is_some_and(|newest| newest.iter().all(|(_, failed)| *failed));
    let failed_ms = outcomes.first().map_or(i64::MIN, |(at, _)| *at);
    let cool_down = own_time(own.cool_down_seconds, COOL_DOWN);
    let spacing = own_time(own.spacing_seconds, SPACING);
    let spread = 0.8 + 0.4 * f64::from(policy::spread(key)) / 1_000.0;
    let mut held = left_of(spacing.mul_f64(spread), last_ms, now_ms);
    if is_down {
        held = held.max(left_of(cool_down, failed_ms, now_ms));
        // One at a time asks whether it has recovered.
        held = held.max(left_of(cool_down, last_ms, now_ms));
    }
    held
}

/// What is left of a pause. A time in the future, which a clock that was put back leaves, counts as now.
fn left_of(pause: Duration, since_ms: i64, now_ms: i64) -> Duration {
    if since_ms == i64::MIN {
        return Duration::ZERO;
    }
    let gone = u64::try_from(now_ms.saturating_sub(since_ms)).unwrap_or(0);
    pause.saturating_sub(Duration::from_millis(gone))
}

fn own_time(own: Option<f64>, built_in: Duration) -> Duration {
    own.map_or(built_in, |seconds| {
        Duration::from_secs_f64(seconds.clamp(0.0, 10.0 * 365.0 * 86_400.0))
    })
}

#[cfg(test)]
#[path = "retries_tests.rs"]
mod tests;
