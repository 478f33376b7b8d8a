//! What a running label that nobody watches is: the watcher's own classification, from one look. Pure.

use std::time::Duration;

use super::ending::given_up;
use super::liveness::Policy;
use crate::backend::{Evidence, Liveness, Settled};
use crate::record::{FailureKind, Phase, Status};

/// A session that says it runs while nothing works on it is given up after this long.
const LEFT_BEHIND: Duration = Duration::from_secs(30);

/// What the ledger says of the label.
#[derive(Debug, Clone, PartialEq)]
pub struct Orphan {
    /// How far it was.
    pub phase: Option<Phase>,
    /// When it was asked for, ms since the epoch.
    pub spawned_at_ms: i64,
    /// The windows by which a watcher would judge it.
    pub policy: Policy,
    /// Its prompt is stored, so that it could be asked for again.
    pub has_prompt: bool,
    /// A new watcher takes its run over, whatever became of its carrier.
    pub is_carried: bool,
}

/// What it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on, or is too young to tell.
    GoesOn,
    /// It has ended as the backend says.
    Settled,
    /// It is over, and only that is known.
    Failed {
        /// The kind.
        kind: FailureKind,
        /// One sentence.
        why: &'static str,
    },
    /// It went quiet, or vanished without a way to ask again.
    Interrupted {
        /// One sentence.
        why: &'static str,
    },
}

/// Decides. `now_ms` is since the epoch.
pub fn verdict(orphan: &Orphan, evidence: &Evidence, now_ms: i64) -> Verdict {
    if let Some(Settled::Reply { .. } | Settled::Failed { .. }) = evidence.settled {
        return Verdict::Settled;
    }
    if matches!(orphan.phase, Some(Phase::RetryWait | Phase::Queued)) || orphan.is_carried {
        return Verdict::GoesOn;
    }
    let since = |at_ms: i64| {
        let ms = u64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(0);
        Duration::from_millis(ms)
    };
    let age = since(orphan.spawned_at_ms);
    let quiet = since(evidence.last_activity_ms.unwrap_or(orphan.spawned_at_ms));
    let was_seen = matches!(orphan.phase, Some(Phase::Running | Phase::Verifying));
    match evidence.liveness {
        Liveness::Absent if was_seen => vanished(orphan, "the session vanished after it was seen"),
        Liveness::Absent if age < orphan.policy.startup_grace => Verdict::GoesOn,
        Liveness::Absent => Verdict::Failed {
            kind: FailureKind::Spawn,
            why: "the run never started",
        },
        Liveness::Gone if quiet < LEFT_BEHIND => Verdict::GoesOn,
        Liveness::Gone => vanished(
            orphan,
            "the gateway was restarted and no longer works on the run",
        ),
        Liveness::Alive => match orphan.policy.idle_failure {
            // A tool at work is no silence, as long as a run may last at all.
            Some(_) if evidence.open_tool && age < orphan.policy.longest => Verdict::GoesOn,
            Some(limit) if quiet >= limit => Verdict::Interrupted {
                why: "the session went quiet without a reply",
            },
            _ => Verdict::GoesOn,
        },
    }
}

impl Verdict {
    /// What nothing carries any more may have left the end of a run, which is to be looked for.
    pub fn leaves_something(&self, evidence: &Evidence) -> bool {
        let is_over = matches!(self, Verdict::Failed { .. } | Verdict::Interrupted { .. });
        is_over && evidence.liveness == Liveness::Gone
    }

    /// The end and the status that it gives the label. `left` is what was found of a run that nothing carries any more: the
    /// reply of one that a restart cut may have been complete.
    pub fn ending(
        &self,
        evidence: &Evidence,
        left: Option<Settled>,
        cancel_requested: bool,
        now_ms: i64,
    ) -> (Settled, Status) {
        let settled = match self {
            Verdict::Settled | Verdict::GoesOn => evidence.settled.clone(),
            Verdict::Failed { .. } | Verdict::Interrupted { .. } => left,
        };
        let own = |kind, why| given_up(kind, why, now_ms);
        match (settled, self) {
            (Some(settled @ Settled::Reply { .. }), _) => (settled, Status::Done),
            (Some(settled @ Settled::Failed { cancelled, .. }), Verdict::Settled) => {
                let status = match cancelled || cancel_requested {
                    true => Status::Cancelled,
                    false => Status::Error,
                };
                (settled, status)
            }
            (Some(settled), Verdict::Interrupted { .. }) => (settled, Status::Interrupted),
            (Some(settled), _) => (settled, Status::Error),
            (None, Verdict::Interrupted { why }) => {
                (own(FailureKind::Stalled, why), Status::Interrupted)
            }
            (None, Verdict::Failed { kind, why }) => (own(*kind, why), Status::Error),
            (None, Verdict::Settled | Verdict::GoesOn) => (
                own(FailureKind::Unknown, "the session is over"),
                Status::Error,
            ),
        }
    }
}

fn vanished(orphan: &Orphan, why: &'static str) -> Verdict {
    match orphan.has_prompt {
        true => Verdict::Failed {
            kind: FailureKind::GatewayRestart,
            why,
        },
        false => Verdict::Interrupted { why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Text;
    use crate::watch::liveness::Effort;

    const NOW: i64 = 10_000_000;

    fn policy(effort: Effort, idle_threshold: Option<Duration>) -> Policy {
        Policy::of_gateway(Duration::from_secs(300), effort, idle_threshold, None)
    }

    fn orphan(phase: Phase) -> Orphan {
        Orphan {
            phase: Some(phase),
            spawned_at_ms: NOW - 400_000,
            policy: policy(Effort::Usual, None),
            has_prompt: true,
            is_carried: false,
        }
    }

    fn seen(liveness: Liveness, quiet_s: i64) -> Evidence {
        Evidence {
            liveness,
            last_activity_ms: Some(NOW - quiet_s * 1000),
            ..Evidence::unknown()
        }
    }

    fn kind(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::GoesOn => "goes-on",
            Verdict::Settled => "settled",
            Verdict::Failed { kind, .. } => kind.as_str(),
            Verdict::Interrupted { .. } => "interrupted",
        }
    }

    #[test]
    fn a_session_that_is_not_there_never_started_or_vanished() {
        let nothing = seen(Liveness::Absent, 0);
        let running = orphan(Phase::Running);
        assert_eq!(kind(&verdict(&running, &nothing, NOW)), "gateway-restart");
        let accepting = orphan(Phase::Accepting);
        assert_eq!(kind(&verdict(&accepting, &nothing, NOW)), "spawn");
        let mut young = orphan(Phase::Accepting);
        young.spawned_at_ms = NOW - 299_999;
        assert_eq!(kind(&verdict(&young, &nothing, NOW)), "goes-on");
        let mut promptless = orphan(Phase::Running);
        promptless.has_prompt = false;
        assert_eq!(kind(&verdict(&promptless, &nothing, NOW)), "interrupted");
    }

    #[test]
    fn a_quiet_session_is_interrupted_and_never_done() {
        let running = orphan(Phase::Running);
        assert_eq!(
            kind(&verdict(&running, &seen(Liveness::Alive, 599), NOW)),
            "goes-on"
        );
        assert_eq!(
            kind(&verdict(&running, &seen(Liveness::Alive, 600), NOW)),
            "interrupted"
        );
        let mut thinking = orphan(Phase::Running);
        thinking.policy = policy(Effort::High, None);
        assert_eq!(
            kind(&verdict(&thinking, &seen(Liveness::Alive, 600), NOW)),
            "goes-on"
        );
        let mut asked = orphan(Phase::Running);
        asked.policy = policy(Effort::Usual, Some(Duration::from_secs(60)));
        assert_eq!(
            kind(&verdict(&asked, &seen(Liveness::Alive, 60), NOW)),
            "interrupted"
        );
    }

    #[test]
    fn an_open_tool_call_is_no_silence_within_its_allowance() {
        let mut running = orphan(Phase::Running);
        let mut waiting = seen(Liveness::Alive, 3_000);
        waiting.open_tool = true;
        assert_eq!(kind(&verdict(&running, &waiting, NOW)), "goes-on");
        let longest_ms = i64::try_from(running.policy.longest.as_millis()).expect("hours");
        running.spawned_at_ms = NOW - longest_ms;
        assert_eq!(kind(&verdict(&running, &waiting, NOW)), "interrupted");
    }

    #[test]
    fn what_a_restart_left_is_given_a_moment() {
        let running = orphan(Phase::Running);
        assert_eq!(
            kind(&verdict(&running, &seen(Liveness::Gone, 29), NOW)),
            "goes-on"
        );
        assert_eq!(
            kind(&verdict(&running, &seen(Liveness::Gone, 30), NOW)),
            "gateway-restart"
        );
    }

    #[test]
    fn an_end_counts_and_what_waits_or_is_carried_is_left_alone() {
        let mut over = seen(Liveness::Absent, 0);
        over.settled = Some(Settled::Reply {
            text: Text::Inline("x".to_owned()),
            truncated: false,
            at_ms: NOW,
        });
        assert_eq!(
            kind(&verdict(&orphan(Phase::RetryWait), &over, NOW)),
            "settled"
        );
        let gone = seen(Liveness::Gone, 9_000);
        assert_eq!(
            kind(&verdict(&orphan(Phase::RetryWait), &gone, NOW)),
            "goes-on"
        );
        let mut local = orphan(Phase::Running);
        local.is_carried = true;
        assert_eq!(kind(&verdict(&local, &gone, NOW)), "goes-on");
    }
}
