//! A label's entry as the machine sees it. Pure.

use std::time::Duration;

use super::liveness::{Cause, Past};
use super::machine::{EntrySight, Verify};
use crate::record::{Entry, FailureKind};
use crate::recovery::retries::{Account, due_in};

/// What the machine takes of an entry; `verify` is what is known of its verify command, `account` what it has left of its
/// budgets.
pub fn entry_sight(entry: &Entry, verify: Verify, account: Account, now_ms: i64) -> EntrySight {
    EntrySight {
        status: entry.status(),
        phase: entry.phase(),
        cancel_requested: entry.cancel_requested(),
        signalled: entry.is_signalled(),
        verify,
        stopped: entry.stop_order(),
        account,
        retry_in: due_in(entry, now_ms),
    }
}

/// What is known of a run from before it was watched: it was asked for at `since_ms` and last active at `activity_ms`, in ms
/// since the epoch as `now_ms` is. A message that was sent into it since is activity, too: the run has had no time to show
/// what it makes of it.
pub fn past(entry: &Entry, since_ms: i64, activity_ms: Option<i64>, now_ms: i64) -> Past {
    let since = |at_ms: i64| {
        Duration::from_millis(u64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(0))
    };
    let steers = entry.steers();
    let asked = steers.iter().filter_map(|steer| steer.request).max();
    let sent_ms = steers.last().map(|steer| steer.at);
    let active_ms = activity_ms
        .unwrap_or(since_ms)
        .max(sent_ms.unwrap_or(since_ms));
    Past {
        age: since(since_ms),
        idle: since(active_ms),
        requests: asked.unwrap_or(0),
        stopped: entry.stop_order().map(|why| match why.kind {
            FailureKind::Stalled => Cause::Stalled,
            _ => Cause::Deadline,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Steer;

    #[test]
    fn a_message_that_was_sent_into_a_silent_run_is_no_silence() {
        let mut entry = Entry::new();
        let quiet = past(&entry, 1_000, Some(5_000), 600_000);
        assert_eq!(quiet.idle, Duration::from_millis(595_000));
        entry.put_steer(&Steer::new("s", "Go on.", false, 599_000));
        let spoken_to = past(&entry, 1_000, Some(5_000), 600_000);
        assert_eq!(spoken_to.idle, Duration::from_secs(1));
        assert_eq!(spoken_to.age, quiet.age);
    }
}
