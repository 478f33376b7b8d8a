//! The watcher's decisions: `step(state, sight, now) -> (state, actions)`. Pure.
//!
//! What counts, in this order: the agent's own signal, a complete reply of this run, our own cancel, the backend's
//! settled failure, then liveness. Where there is a verify command, a signal or reply counts once that has accepted it:
//! a cancel that comes before wins. A session is never called done because it went quiet. The driver performs the
//! actions, and looks again when something changes or `look_within` has passed.

mod retrying;
mod verifying;

use std::time::Duration;

use self::retrying::{put_off, vanished, wait_for_retry};
use self::verifying::verified;
use super::liveness::{Advice, Cause, Past, Policy, Signs, Stage, Watchfulness};
use crate::backend::{Evidence, Liveness, Settled};
use crate::record::{Failure, FailureKind, Phase, Status};
use crate::recovery::retries::{Account, Next};

/// After the agent's own signal the run is followed to its end for this long.
pub const LAST_WORDS_WAIT: Duration = Duration::from_secs(600);

/// So long a gateway may not tell what became of a run that it has taken.
const LAST_WORDS_GAP: Duration = Duration::from_secs(30);

/// How long a healthy watcher sleeps when nothing happens.
const IDLE_LOOK: Duration = Duration::from_secs(5);

/// How long a run that was asked to stop may take, before it is asked again.
const ABORT_AGAIN: Duration = Duration::from_secs(30);

/// How long a cancelled run of a gateway may go on before it is recorded as cancelled all the same.
const CANCEL_PATIENCE: Duration = Duration::from_secs(600);

/// Pauses between attempts to carry a run.
const CARRY_PAUSES_S: [u64; 6] = [1, 2, 4, 8, 15, 30];

/// What the ledger says of the label.
#[derive(Debug, Clone, PartialEq)]
pub struct EntrySight {
    /// Its status.
    pub status: Status,
    /// Its phase.
    pub phase: Option<Phase>,
    /// Cancellation was asked for.
    pub cancel_requested: bool,
    /// The agent has signalled done, perhaps after the label had failed, and its result waits for the verify command.
    pub signalled: bool,
    /// What is known of the verify command.
    pub verify: Verify,
    /// The watcher has ordered the run to stop, for this reason.
    pub stopped: Option<Failure>,
    /// What is left of its retries.
    pub account: Account,
    /// How long its retry is to be waited for yet, by the wall clock.
    pub retry_in: Duration,
}

/// How far the verify command is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verify {
    /// There is none.
    NotWanted,
    /// It has not been started.
    Wanted,
    /// It is at work.
    UnderWay,
    /// It let the result pass.
    Passed,
    /// It did not; the sentence says why.
    Rejected(String),
    /// The label was cancelled before it had said anything; it is not at work.
    CalledOff,
}

/// Everything the watcher sees at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sight {
    /// The label's entry of this generation; `None` when the label is gone or has a newer generation.
    pub entry: Option<EntrySight>,
    /// What the backend knows.
    pub evidence: Evidence,
    /// How long whoever enqueued the run has for starting it, before the watcher does so.
    pub start_grace: Duration,
    /// The windows by which the run is judged.
    pub policy: Policy,
    /// What is known of the run from before this watcher.
    pub past: Past,
    /// Why nothing can be seen of the run just now, if that is so.
    pub blind: Option<String>,
    /// A run whose carrier is gone is taken over: it cannot vanish.
    pub is_carried: bool,
}

/// What the watcher remembers from step to step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// Monotonic time since when nothing carries the run.
    missing_since: Option<Duration>,
    /// How often it was tried to have it carried, and when next.
    carries: usize,
    next_carry: Duration,
    /// The run was at work when it was seen last.
    was_alive: bool,
    /// Monotonic time since when nobody tells what became of the run of a label that is done.
    unclear_since: Option<Duration>,
    /// Monotonic time until which the agent's last words are waited for.
    last_words_until: Option<Duration>,
    /// When the request to abort goes out again: one of them may have been lost.
    next_abort: Option<Duration>,
    /// Monotonic time since when a cancelled run is seen to go on.
    outlives_since: Option<Duration>,
    /// How the run's work is judged.
    watchfulness: Watchfulness,
    /// Monotonic time of the next retry.
    retry_at: Option<Duration>,
}

impl State {
    /// The retry was not let through: it is tried again at this monotonic time.
    pub fn hold_retry(&mut self, until: Duration) {
        self.retry_at = Some(until);
    }
}

/// How a run is to be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// It has a result.
    Done,
    /// It failed.
    Failed,
    /// It was stopped on request.
    Cancelled,
}

/// Why the watcher leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// The label has ended and everything is filed.
    Ended,
    /// The label is gone or has a newer generation.
    Superseded,
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Have the run carried (started, or taken over).
    Carry,
    /// The backend has it: move the phase on.
    ConfirmRunning,
    /// Ask for its end.
    Abort,
    /// Ask for its final reply, for the first or second time.
    Ask(u8),
    /// Record that the run is to be stopped, and why; then ask for its end.
    Stop {
        /// Why.
        kind: FailureKind,
        /// One sentence.
        message: String,
    },
    /// Record the end of a run that was stopped, for the reason it was stopped for.
    ConcludeStopped(Failure),
    /// Start the verify command.
    Verify,
    /// Record that the verify command rejected the result.
    Reject(String),
    /// Record that the agent's own completion stands.
    ConcludeSignal,
    /// File the result and record the end.
    Conclude(Conclusion),
    /// Record a failure that only the watcher knows of.
    GiveUp {
        /// Which.
        kind: FailureKind,
        /// One sentence.
        message: String,
    },
    /// Put the label's work off: its attempt has failed, and is followed by another.
    PutOff {
        /// Why it failed.
        failure: Failure,
        /// The retry.
        next: Next,
    },
    /// Claim the next attempt and have it carried.
    Retry,
    /// Record that the label was stopped on request, of which no run tells: it waited for its retry, its run does not say, or
    /// its result, whose text is kept, was not accepted yet.
    ConcludeWaiting,
    /// Keep the agent's last words beside its own signal.
    FileLastWords,
    /// End the watch.
    Leave(Leaving),
}

/// One step's outcome.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What to remember.
    pub state: State,
    /// What to do, in this order.
    pub actions: Vec<Action>,
    /// What the watcher is doing, in a word.
    pub doing: &'static str,
    /// Why, in a line.
    pub reason: String,
    /// Look again at the latest after this.
    pub look_within: Duration,
    /// Something is to be decided after this even when nothing changes, where that is known.
    pub acts_within: Option<Duration>,
}

impl Step {
    fn new(state: State, doing: &'static str, reason: impl Into<String>) -> Self {
        Self {
            state,
            actions: Vec::new(),
            doing,
            reason: reason.into(),
            look_within: IDLE_LOOK,
            acts_within: None,
        }
    }

    fn act(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    fn within(mut self, look: Duration) -> Self {
        self.look_within = look.min(self.look_within);
        self.acts_within = Some(look);
        self
    }
}

/// Decides. `now` is monotonic.
pub fn step(mut state: State, sight: &Sight, now: Duration) -> Step {
    let Some(entry) = &sight.entry else {
        return Step::new(
            state,
            "leaving",
            "the label is gone or has a newer generation",
        )
        .act(Action::Leave(Leaving::Superseded));
    };
    let settled = sight.evidence.settled.as_ref();
    match (&entry.status, settled) {
        // However it ended: the signal stands, and what was said after it is kept.
        (Status::Done, Some(_)) => {
            Step::new(state, "ended", "the label is done and its run has ended")
                .act(Action::FileLastWords)
                .act(Action::Leave(Leaving::Ended))
        }
        (Status::Done, None) if is_followed(&mut state, sight) => {
            let until = *state.last_words_until.get_or_insert(now + LAST_WORDS_WAIT);
            if now < until {
                return Step::new(
                    state,
                    "last-words",
                    "the label is done; its run is followed to the end for its last words",
                );
            }
            Step::new(
                state,
                "ended",
                "the label is done; its run goes on after ten minutes, and is followed no longer",
            )
            .act(Action::Leave(Leaving::Ended))
        }
        (Status::Done, None) if may_come_to_light(&mut state, sight, now) => Step::new(
            state,
            "last-words",
            "the label is done; whether its run has ended is not known yet",
        ),
        _ if entry.signalled => verified(state, entry, sight, now, Action::ConcludeSignal),
        // A complete reply that arrived after the label had failed, unless it was rejected.
        (Status::Error | Status::Interrupted, Some(Settled::Reply { .. }))
            if !matches!(entry.verify, Verify::Rejected(_)) =>
        {
            verified(state, entry, sight, now, Action::Conclude(Conclusion::Done))
        }
        (status, _) if *status != Status::Running => {
            let reason = format!("the label has ended: {status}");
            Step::new(state, "ended", reason).act(Action::Leave(Leaving::Ended))
        }
        (_, Some(Settled::Reply { .. })) => {
            verified(state, entry, sight, now, Action::Conclude(Conclusion::Done))
        }
        _ if entry.phase == Some(Phase::RetryWait) => wait_for_retry(state, entry, now),
        (
            _,
            Some(Settled::Failed {
                failure, cancelled, ..
            }),
        ) => {
            let ours = entry.stopped.as_ref();
            if let Some(why) = ours.filter(|_| *cancelled && !entry.cancel_requested) {
                return Step::new(state, "concluding", why.message.clone())
                    .act(Action::ConcludeStopped(why.clone()))
                    .act(Action::Leave(Leaving::Ended));
            }
            let is_cancelled = *cancelled || entry.cancel_requested;
            if let Some(next) = entry.account.next(failure).filter(|_| !is_cancelled) {
                return put_off(state, failure, next);
            }
            let (conclusion, reason) = match is_cancelled {
                true => (Conclusion::Cancelled, failure.message.clone()),
                false => (
                    Conclusion::Failed,
                    format!("{}: {}", failure.kind, failure.message),
                ),
            };
            Step::new(state, "concluding", reason)
                .act(Action::Conclude(conclusion))
                .act(Action::Leave(Leaving::Ended))
        }
        (_, None) => {
            (state.last_words_until, state.unclear_since) = (None, None);
            carry_on(state, entry, sight, now)
        }
    }
}

/// Whether the run of a label that is done goes on, as far as one can see. While nothing is seen, what was seen last counts:
/// a gateway that starts anew is waited for.
fn is_followed(state: &mut State, sight: &Sight) -> bool {
    if sight.blind.is_none() {
        state.was_alive = sight.evidence.liveness == Liveness::Alive;
    }
    if state.was_alive {
        state.unclear_since = None;
    }
    state.was_alive
}

/// Whether it may still be told what became of it. A gateway with much else to do may tell late of a run that already works,
/// and between its work and its end it may say for a moment that nothing works on it.
fn may_come_to_light(state: &mut State, sight: &Sight, now: Duration) -> bool {
    let since = *state.unclear_since.get_or_insert(now);
    !sight.is_carried && now.saturating_sub(since) < LAST_WORDS_GAP
}

fn carry_on(mut state: State, entry: &EntrySight, sight: &Sight, now: Duration) -> Step {
    let mut actions = Vec::new();
    if entry.cancel_requested && state.next_abort.is_none_or(|at| now >= at) {
        state.next_abort = Some(now + ABORT_AGAIN);
        actions.push(Action::Abort);
    }
    if let Some(why) = &sight.blind {
        let reason = format!("the run cannot be seen, and goes on where it is: {why}");
        let mut step = Step::new(state, "waiting", reason);
        step.actions = actions;
        return step;
    }
    state.was_alive = sight.evidence.liveness == Liveness::Alive;
    let mut step = match sight.evidence.liveness {
        Liveness::Alive => {
            state.missing_since = None;
            state.carries = 0;
            if entry.phase == Some(Phase::Accepting) {
                actions.push(Action::ConfirmRunning);
            }
            match entry.cancel_requested {
                true => outlive(state, sight, now),
                false => judge(state, sight, now),
            }
        }
        Liveness::Absent if entry.phase == Some(Phase::Running) && !sight.is_carried => {
            vanished(state, entry, now)
        }
        missing => without_carrier(state, missing, sight, now),
    };
    actions.append(&mut step.actions);
    step.actions = actions;
    step
}

/// A cancelled run is waited for. One that a gateway calls alive for so long in spite of every request may not be there: a
/// reused session tells of runs that nobody works on.
fn outlive(mut state: State, sight: &Sight, now: Duration) -> Step {
    let since = *state.outlives_since.get_or_insert(now);
    if sight.is_carried || now.saturating_sub(since) < CANCEL_PATIENCE {
        return Step::new(state, "aborting", "cancellation was requested");
    }
    let reason =
        "cancellation was requested; the run was told to stop and has not said that it did";
    Step::new(state, "concluding", reason)
        .act(Action::ConcludeWaiting)
        .act(Action::Leave(Leaving::Ended))
}

/// Helps a run that goes on to its end when that is due.
fn judge(mut state: State, sight: &Sight, now: Duration) -> Step {
    let signs = Signs {
        position: sight.evidence.position,
        activity_ms: sight.evidence.last_activity_ms,
        mid_turn: sight.evidence.mid_turn,
        open_tool: sight.evidence.open_tool,
    };
    let advice = state
        .watchfulness
        .judge(&sight.policy, signs, sight.past, now);
    match advice {
        Advice::Wait(pause) => match state.watchfulness.stage() {
            Stage::Working => Step::new(state, "watching", "the run is at work"),
            Stage::Asked => Step::new(
                state,
                "asking",
                "the deadline has passed; the agent was asked for its final reply",
            ),
            Stage::Stopped => Step::new(state, "stopping", "the run was told to stop"),
        }
        .within(pause),
        Advice::Ask(number) => {
            let reason = match number {
                1 => "the deadline has passed; asking the agent for its final reply",
                _ => "no final reply yet; asking the agent again",
            };
            Step::new(state, "asking", reason).act(Action::Ask(number))
        }
        Advice::Stop(cause) => {
            let (kind, message) = told(cause, &sight.policy);
            Step::new(state, "stopping", message.clone()).act(Action::Stop { kind, message })
        }
        Advice::GiveUp(cause) => {
            let (kind, why) = told(cause, &sight.policy);
            let message = format!("{why}; it was told to stop and has not said that it did");
            Step::new(state, "concluding", message.clone())
                .act(Action::GiveUp { kind, message })
                .act(Action::Leave(Leaving::Ended))
        }
    }
}

/// A cause as it is recorded.
fn told(cause: Cause, policy: &Policy) -> (FailureKind, String) {
    match cause {
        Cause::Stalled => {
            let window = policy.idle_failure.unwrap_or_default().as_secs();
            let words = format!("the session showed no progress (at most {window} s are allowed)");
            (FailureKind::Stalled, words)
        }
        Cause::Deadline => {
            let limit = policy.deadline.unwrap_or_default().as_secs();
            let words = format!(
                "the time limit of {limit} s has passed, and two requests for a final reply brought none"
            );
            (FailureKind::Timeout, words)
        }
    }
}

fn without_carrier(mut state: State, missing: Liveness, sight: &Sight, now: Duration) -> Step {
    if state.missing_since.is_none() && missing == Liveness::Absent {
        state.next_carry = now + sight.start_grace;
    }
    let since = *state.missing_since.get_or_insert(now);
    // A run that did start is never given up here: how it ended is on the disk, and a full disk or a missing program only
    // delays its telling.
    let patience = sight.policy.startup_grace;
    if missing == Liveness::Absent && now.saturating_sub(since) >= patience {
        let message = "the run never started";
        return Step::new(state, "concluding", message)
            .act(Action::GiveUp {
                kind: FailureKind::Spawn,
                message: message.to_owned(),
            })
            .act(Action::Leave(Leaving::Ended));
    }
    let reason = match missing {
        Liveness::Gone if !sight.is_carried => {
            "nothing at the gateway works on the run; it is given a moment to take it up"
        }
        Liveness::Gone => "the runner is gone; a new one takes over",
        _ => "the run has no runner yet",
    };
    if now < state.next_carry {
        let left = state.next_carry.saturating_sub(now);
        return Step::new(state, "waiting", reason).within(left);
    }
    let last = CARRY_PAUSES_S.len() - 1;
    let pause = CARRY_PAUSES_S
        .get(state.carries.min(last))
        .copied()
        .unwrap_or(30);
    state.carries += 1;
    state.next_carry = now + Duration::from_secs(pause);
    Step::new(state, "carrying", reason)
        .act(Action::Carry)
        .within(Duration::from_secs(pause))
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
