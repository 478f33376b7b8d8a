//! What is decided over a complete result. Pure.

use std::time::Duration;

use super::{Action, EntrySight, Leaving, Sight, State, Step, Verify, carry_on};
use crate::backend::Liveness;

/// How often a verify command at work is looked at.
const VERIFY_LOOK: Duration = Duration::from_millis(50);

/// A complete result is recorded, by `conclude`, once nothing stands against it.
pub(super) fn verified(
    state: State,
    entry: &EntrySight,
    sight: &Sight,
    now: Duration,
    conclude: Action,
) -> Step {
    match &entry.verify {
        Verify::Wanted => Step::new(
            state,
            "verifying",
            "the result is there; the verify command starts",
        )
        .act(Action::Verify),
        Verify::UnderWay => {
            Step::new(state, "verifying", "the verify command is at work").within(VERIFY_LOOK)
        }
        Verify::Rejected(why) => Step::new(state, "concluding", why.clone())
            .act(Action::Reject(why.clone()))
            .act(Action::Leave(Leaving::Ended)),
        Verify::NotWanted | Verify::Passed => {
            Step::new(state, "concluding", "the result is complete")
                .act(conclude)
                .act(Action::Leave(Leaving::Ended))
        }
        Verify::CalledOff => called_off(state, entry, sight, now),
    }
}

/// Nobody accepts the result any more. A run that goes on beside its signal is stopped first.
fn called_off(state: State, entry: &EntrySight, sight: &Sight, now: Duration) -> Step {
    let may_go_on =
        sight.is_carried || sight.blind.is_some() || sight.evidence.liveness == Liveness::Alive;
    if sight.evidence.settled.is_none() && may_go_on {
        return carry_on(state, entry, sight, now);
    }
    let reason = "cancelled before the verify command had accepted the result";
    Step::new(state, "concluding", reason)
        .act(Action::ConcludeWaiting)
        .act(Action::Leave(Leaving::Ended))
}
