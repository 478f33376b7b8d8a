//! What is decided between two attempts. Pure.

use std::time::Duration;

use super::{Action, EntrySight, Leaving, State, Step};
use crate::record::{Failure, FailureKind};
use crate::recovery::retries::Next;

/// How soon a retry that could not be claimed is tried again.
const RETRY_LOOK: Duration = Duration::from_secs(5);

/// A session that was seen and is gone is given this long to come back: a gateway that has just started reads its store.
const VANISHED: Duration = Duration::from_secs(30);

/// The attempt has failed and is followed by another.
pub(super) fn put_off(state: State, failure: &Failure, next: Next) -> Step {
    let reason = format!("{}: {}; {next}", failure.kind, failure.message);
    Step::new(state, "retry-wait", reason)
        .act(Action::PutOff {
            failure: failure.clone(),
            next,
        })
        // The wait itself begins with what the ledger says then.
        .within(Duration::ZERO)
}

/// A label between two attempts.
pub(super) fn wait_for_retry(mut state: State, entry: &EntrySight, now: Duration) -> Step {
    if entry.cancel_requested {
        let reason = "cancelled while it waited for its retry";
        return Step::new(state, "concluding", reason)
            .act(Action::ConcludeWaiting)
            .act(Action::Leave(Leaving::Ended));
    }
    let due = *state.retry_at.get_or_insert(now + entry.retry_in);
    if now < due {
        let reason = "the attempt failed; its retry is not due yet";
        return Step::new(state, "retry-wait", reason).within(due - now);
    }
    state.retry_at = Some(now + RETRY_LOOK);
    Step::new(state, "retrying", "the retry is due")
        .act(Action::Retry)
        .within(RETRY_LOOK)
}

/// A session that was seen and is there no more.
pub(super) fn vanished(mut state: State, entry: &EntrySight, now: Duration) -> Step {
    let message = "the session vanished after it was seen";
    let since = *state.missing_since.get_or_insert(now);
    let gone = now.saturating_sub(since);
    if gone < VANISHED {
        return Step::new(state, "waiting", message).within(VANISHED - gone);
    }
    let kind = FailureKind::GatewayRestart;
    let failure = Failure::new(kind, message, 0);
    if let Some(next) = entry
        .account
        .next(&failure)
        .filter(|_| !entry.cancel_requested)
    {
        return put_off(state, &failure, next);
    }
    let step = Step::new(state, "concluding", message);
    match entry.cancel_requested {
        true => step.act(Action::ConcludeWaiting),
        false => step.act(Action::GiveUp {
            kind,
            message: message.to_owned(),
        }),
    }
    .act(Action::Leave(Leaving::Ended))
}
