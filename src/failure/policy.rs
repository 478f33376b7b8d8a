//! What happens after a failure of each kind: how often it is tried again, after how long, and whether another model may be
//! asked. Data and pure functions; who keeps the counts is the caller's business.

use super::retry_after::MAX_MS;
use super::words::SILENCES;
use crate::config::RetryWindows;
use crate::record::{Failure, FailureKind};

/// How the failure of a run begins that its own time limit stopped.
pub const OWN_LIMIT: &str = "stopped at its time limit";

/// Which count a retry is taken from. They are separate: a coordination failure spends nothing of the model's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// Overloads and rate limits together.
    Model,
    /// Restarts of the gateway.
    Restart,
    /// Takeovers of the session.
    Takeover,
}

impl Budget {
    /// The entry's field that counts it.
    pub fn field(self) -> &'static str {
        match self {
            Budget::Model => "retryCount",
            Budget::Restart => "gwRestartRetryCount",
            Budget::Takeover => "takeoverRetryCount",
        }
    }
}

/// A retry that is made without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// What it is counted as.
    pub budget: Budget,
    /// How many are made at most.
    pub at_most: u32,
    /// The pause before the first, in ms; it doubles with each further one.
    pub first_ms: u64,
    /// The longest pause that doubling comes to, in ms.
    pub longest_ms: u64,
}

/// What happens with a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The retry, if there is one.
    pub retry: Option<Retry>,
    /// A provider's wish to be left alone for a while is kept.
    pub waits: bool,
    /// It is the model's side that failed: another model or account may do better.
    pub model_side: bool,
}

const NOTHING: Policy = Policy {
    retry: None,
    waits: false,
    model_side: false,
};

const MODEL_SIDE: Policy = Policy {
    model_side: true,
    ..NOTHING
};

/// The retry of a kind, with the operator's own pauses and counts.
pub fn retry_of(kind: FailureKind, own: &RetryWindows) -> Option<Retry> {
    let mut retry = of(kind).retry?;
    let pause = match kind {
        FailureKind::Overload => own.overload_seconds,
        FailureKind::RateLimit => own.rate_limit_seconds,
        FailureKind::SessionTakeover => own.takeover_seconds,
        _ => own.restart_seconds,
    };
    if let Some(seconds) = pause {
        // A cast of a float to an integer keeps to the integer's bounds.
        retry.first_ms = (seconds.max(0.0) * 1000.0) as u64;
        retry.longest_ms = retry.longest_ms.max(retry.first_ms);
    }
    if retry.budget == Budget::Model {
        retry.at_most = own.at_most.unwrap_or(retry.at_most);
    }
    Some(retry)
}

/// The policy of a kind.
pub fn of(kind: FailureKind) -> Policy {
    let retry = |budget, at_most, first_ms, longest_ms| {
        Some(Retry {
            budget,
            at_most,
            first_ms,
            longest_ms,
        })
    };
    match kind {
        FailureKind::Overload => Policy {
            retry: retry(Budget::Model, 3, 30_000, 600_000),
            waits: true,
            model_side: true,
        },
        // Limits are counted by the minute.
        FailureKind::RateLimit => Policy {
            retry: retry(Budget::Model, 3, 60_000, 900_000),
            waits: true,
            model_side: true,
        },
        FailureKind::SessionTakeover => Policy {
            retry: retry(Budget::Takeover, 1, 5_000, 5_000),
            ..NOTHING
        },
        FailureKind::GatewayRestart => Policy {
            retry: retry(Budget::Restart, 2, 10_000, 60_000),
            ..NOTHING
        },
        FailureKind::Auth
        | FailureKind::Billing
        | FailureKind::ContextLength
        | FailureKind::Model => MODEL_SIDE,
        FailureKind::Spawn
        | FailureKind::RunnerLost
        | FailureKind::Stalled
        | FailureKind::Verify
        | FailureKind::Timeout
        | FailureKind::Aborted
        | FailureKind::Command
        | FailureKind::Unknown => NOTHING,
    }
}

/// Its retries are taken from the model's budget: the provider had too much to do.
pub fn spends_models_budget(kind: FailureKind) -> bool {
    of(kind)
        .retry
        .is_some_and(|retry| retry.budget == Budget::Model)
}

/// Whether a fallback model or account may be tried for this failure. A time-out counts when the model did not answer, not
/// when the run's own time was up.
pub fn allows_fallback(failure: &Failure) -> bool {
    // Records of earlier versions have the words alone.
    let says_so = || {
        let words = failure.message.to_ascii_lowercase();
        SILENCES.iter().any(|form| words.contains(form))
    };
    match failure.kind {
        // The command's own last words stand in it, too.
        FailureKind::Timeout if failure.message.starts_with(OWN_LIMIT) => false,
        FailureKind::Timeout => failure.model_silent || says_so(),
        kind => of(kind).model_side,
    }
}

/// The pause before the next retry, in ms, or `None` when all of its budget is spent. `spent` retries were made already;
/// `key` names the attempt and spreads retries of many labels that failed together (up to a quarter longer), the same for
/// the same key. A provider's own wish, where the kind heeds one, is never undercut.
pub fn next_delay_ms(retry: Retry, spent: u32, wished_ms: Option<u64>, key: &str) -> Option<u64> {
    if spent >= retry.at_most {
        return None;
    }
    let doubled = retry.first_ms.saturating_mul(1 << spent.min(20));
    let base = doubled.min(retry.longest_ms);
    let base = base.max(wished_ms.unwrap_or(0)).min(MAX_MS);
    Some(base + base / 4 * u64::from(spread(key)) / 1_000)
}

/// 0..=999 by FNV-1a, the same on every machine: what spreads things that happen together, each by its key.
pub fn spread(key: &str) -> u16 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    u16::try_from((hash >> 20) % 1_000).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn retry(kind: FailureKind) -> Retry {
        of(kind).retry.expect("it has one")
    }

    const KINDS: [FailureKind; 16] = [
        FailureKind::Overload,
        FailureKind::RateLimit,
        FailureKind::SessionTakeover,
        FailureKind::GatewayRestart,
        FailureKind::Spawn,
        FailureKind::RunnerLost,
        FailureKind::Stalled,
        FailureKind::Verify,
        FailureKind::Auth,
        FailureKind::Billing,
        FailureKind::ContextLength,
        FailureKind::Timeout,
        FailureKind::Model,
        FailureKind::Aborted,
        FailureKind::Command,
        FailureKind::Unknown,
    ];

    #[rstest]
    #[case(FailureKind::Overload, 3, Budget::Model)]
    #[case(FailureKind::RateLimit, 3, Budget::Model)]
    #[case(FailureKind::SessionTakeover, 1, Budget::Takeover)]
    #[case(FailureKind::GatewayRestart, 2, Budget::Restart)]
    fn four_kinds_are_tried_again(
        #[case] kind: FailureKind,
        #[case] at_most: u32,
        #[case] budget: Budget,
    ) {
        let retry = of(kind).retry.expect("it has one");
        assert_eq!((retry.at_most, retry.budget), (at_most, budget));
        assert!(next_delay_ms(retry, at_most - 1, None, "k").is_some());
        assert_eq!(next_delay_ms(retry, at_most, None, "k"), None);
    }

    #[test]
    fn the_other_kinds_are_not_tried_again() {
        let tried: Vec<_> = KINDS
            .into_iter()
            .filter(|kind| of(*kind).retry.is_some())
            .collect();
        assert_eq!(tried, KINDS[..4]);
    }

    #[test]
    fn overloads_wait_from_half_a_minute_and_twice_as_long_each_time() {
        for (spent, base) in [(0, 30_000), (1, 60_000), (2, 120_000)] {
            let pause =
                next_delay_ms(retry(FailureKind::Overload), spent, None, "a/1").expect("a retry");
            assert!((base..=base * 5 / 4).contains(&pause), "{pause}");
        }
    }

    #[test]
    fn a_providers_wish_is_kept_and_never_undercut() {
        let pause = |kind, wish| next_delay_ms(retry(kind), 0, Some(wish), "k").expect("a retry");
        assert!(pause(FailureKind::RateLimit, 200_000) >= 200_000);
        assert!(pause(FailureKind::RateLimit, 1) >= 60_000);
        assert!(pause(FailureKind::Overload, u64::MAX) <= MAX_MS * 5 / 4);
    }

    #[test]
    fn the_operators_pauses_and_counts_replace_the_built_in_ones() {
        let own = RetryWindows {
            at_most: Some(7),
            overload_seconds: Some(0.5),
            restart_seconds: Some(f64::MAX),
            ..RetryWindows::default()
        };
        let overload = retry_of(FailureKind::Overload, &own).expect("a retry");
        assert_eq!((overload.first_ms, overload.at_most), (500, 7));
        let restart = retry_of(FailureKind::GatewayRestart, &own).expect("a retry");
        assert_eq!(restart.at_most, 2);
        assert!(next_delay_ms(restart, 1, None, "k").is_some_and(|ms| ms <= MAX_MS * 5 / 4));
        let limit = retry_of(FailureKind::RateLimit, &own).expect("a retry");
        assert_eq!((limit.first_ms, limit.at_most), (60_000, 7));
        assert_eq!(retry_of(FailureKind::Verify, &own), None);
    }

    #[test]
    fn labels_that_failed_together_come_back_apart() {
        let pauses: std::collections::BTreeSet<_> = (0..50)
            .filter_map(|n| {
                next_delay_ms(
                    retry(FailureKind::Overload),
                    0,
                    None,
                    &format!("label-{n}/1"),
                )
            })
            .collect();
        assert!(pauses.len() > 40, "{pauses:?}");
    }

    #[rstest]
    #[case(FailureKind::Overload, "", true)]
    #[case(FailureKind::RateLimit, "", true)]
    #[case(FailureKind::Auth, "", true)]
    #[case(FailureKind::Billing, "", true)]
    #[case(FailureKind::ContextLength, "", true)]
    #[case(FailureKind::Model, "", true)]
    #[case(
        FailureKind::Timeout,
        "LLM idle timeout (120s): no response from model",
        true
    )]
    #[case(FailureKind::Timeout, "the run reached its time limit", false)]
    #[case(FailureKind::SessionTakeover, "", false)]
    #[case(FailureKind::GatewayRestart, "", false)]
    #[case(FailureKind::Aborted, "", false)]
    #[case(FailureKind::Command, "", false)]
    #[case(FailureKind::Unknown, "", false)]
    fn a_fallback_is_for_what_the_models_side_did(
        #[case] kind: FailureKind,
        #[case] message: &str,
        #[case] allowed: bool,
    ) {
        let failure = Failure::new(kind, message, 0);
        assert_eq!(allows_fallback(&failure), allowed);
        let silent = Failure {
            model_silent: true,
            ..failure
        };
        let is_timeout = kind == FailureKind::Timeout;
        assert_eq!(allows_fallback(&silent), allowed || is_timeout);
    }

    proptest! {
        #[test]
        fn no_pause_overflows(kind in 0..4_usize, spent in any::<u32>(), wish in any::<Option<u64>>(), key in ".{0,20}") {
            let retry = retry(KINDS[kind]);
            let pause = next_delay_ms(retry, spent, wish, &key);
            prop_assert!(pause.is_none_or(|pause| pause <= MAX_MS * 5 / 4));
            prop_assert_eq!(pause, next_delay_ms(retry, spent, wish, &key));
        }
    }
}
