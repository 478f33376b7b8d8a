use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::backend::{Evidence, Text};
use crate::record::Generation;

const MINUTE: i64 = 60_000;
/// 14:00 UTC of some day.
const NOW: i64 = 1_795_269_600_000;

const DETECTOR: Rules = Rules {
    threshold: Duration::from_secs(45 * 60),
    nudges: true,
};

const COMMAND: Rules = Rules {
    threshold: Duration::from_secs(15 * 60),
    nudges: false,
};

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

/// A gateway's session that has run for two hours, as its row and its messages tell: both silent for an hour.
fn pulse() -> Pulse {
    Pulse {
        evidence: Evidence {
            last_activity_ms: Some(NOW - 60 * MINUTE),
            position: 700,
            is_known: true,
            ..Evidence::unknown()
        },
        work: Some(Work {
            amount: 9,
            at_ms: Some(NOW - 61 * MINUTE),
            tool_since_ms: None,
        }),
    }
}

fn facts(session: Session) -> Facts {
    Facts {
        backend: BackendName::Openclaw,
        phase: Some(Phase::Running),
        since_ms: NOW - 120 * MINUTE,
        due_ms: NOW - 120 * MINUTE,
        spoken_to_ms: None,
        nudged_ms: None,
        is_waived: false,
        is_cancelling: false,
        patience: Some(minutes(45)),
        tool_allowance: minutes(240),
        grace_until_ms: NOW - 120 * MINUTE,
        watching: Watching::Present,
        session,
    }
}

fn silent() -> Facts {
    facts(Session::Seen(Box::new(pulse())))
}

/// The memory of the same silence, nudged so long ago.
fn nudged(ago_ms: i64) -> Suspicion {
    let mut known = Suspicion::new(Generation::new(1), "r", Some(&pulse()), NOW - ago_ms);
    known.nudged_at = Some(NOW - ago_ms);
    known
}

fn standing(facts: &Facts, known: Option<&Suspicion>) -> Standing {
    decide(facts, known, DETECTOR, NOW).standing
}

#[track_caller]
fn with_pulse(change: impl FnOnce(&mut Pulse)) -> Facts {
    let mut pulse = pulse();
    change(&mut pulse);
    facts(Session::Seen(Box::new(pulse)))
}

#[test]
fn a_silent_session_is_nudged_given_a_cycle_and_told_of() {
    assert_eq!(standing(&silent(), None), Standing::Nudge);
    assert_eq!(
        standing(&silent(), Some(&nudged(3 * MINUTE - 1))),
        Standing::Awaiting
    );
    let stuck = decide(&silent(), Some(&nudged(3 * MINUTE)), DETECTOR, NOW);
    assert_eq!(
        stuck,
        Verdict {
            standing: Standing::Stuck,
            reason: "no sign of progress for 1h, and no answer to the nudge of 13:57 UTC"
                .to_owned(),
            since_ms: Some(NOW - 60 * MINUTE),
            proofs: vec![
                "its session's row has not moved since 13:00 UTC".to_owned(),
                "its agent has done nothing since 12:59 UTC".to_owned(),
            ],
        }
    );
}

#[test]
fn a_session_that_answers_the_nudge_is_alive_and_a_later_silence_is_a_new_one() {
    let answered = |ago_ms: i64| {
        let mut facts = with_pulse(|pulse| {
            pulse.work = Some(Work {
                amount: 12,
                at_ms: Some(NOW - ago_ms),
                tool_since_ms: None,
            });
        });
        facts.nudged_ms = Some(NOW - 100 * MINUTE);
        facts
    };
    let known = nudged(100 * MINUTE);
    assert_eq!(standing(&answered(MINUTE), Some(&known)), Standing::Alive);
    assert_eq!(
        standing(&answered(30 * MINUTE), Some(&known)),
        Standing::Young
    );
    assert_eq!(
        standing(&answered(46 * MINUTE), Some(&known)),
        Standing::Nudge
    );
}

#[test]
fn what_the_nudge_itself_moves_is_no_progress() {
    let moved = |at: i64| {
        let mut facts = with_pulse(|pulse| pulse.evidence.last_activity_ms = Some(at));
        facts.nudged_ms = Some(NOW - 5 * MINUTE);
        facts
    };
    let known = nudged(5 * MINUTE);
    for at in [NOW - 5 * MINUTE - SKEW_MS, NOW - 4 * MINUTE - 1] {
        let stuck = decide(&moved(at), Some(&known), DETECTOR, NOW);
        assert_eq!(stuck.standing, Standing::Stuck);
        // The silence began before the nudge.
        assert_eq!(stuck.since_ms, Some(NOW - 60 * MINUTE));
    }
    // Something has moved it that nobody sent.
    assert_eq!(
        standing(&moved(NOW - 2 * MINUTE), Some(&known)),
        Standing::Alive
    );
    assert_eq!(
        standing(&moved(NOW - 4 * MINUTE), Some(&known)),
        Standing::Young
    );
}

#[rstest]
#[case::the_row(|p: &mut Pulse| p.evidence.last_activity_ms = Some(NOW - 3 * MINUTE + 1))]
#[case::the_agent(|p: &mut Pulse| p.work = Some(Work { at_ms: Some(NOW - 1), ..Work::default() }))]
#[case::a_tool(|p: &mut Pulse| p.work = Some(Work { tool_since_ms: Some(NOW - 239 * MINUTE), ..Work::default() }))]
#[case::its_end(|p: &mut Pulse| p.evidence.settled = Some(Settled::Reply {
    text: Text::Inline("done".to_owned()), truncated: false, at_ms: NOW }))]
fn any_sign_of_work_keeps_it_alive(#[case] sign: fn(&mut Pulse)) {
    let facts = with_pulse(sign);
    assert_eq!(standing(&facts, None), Standing::Alive);
    assert_eq!(
        standing(&facts, Some(&nudged(10 * MINUTE))),
        Standing::Alive
    );
}

#[test]
fn an_end_that_nobody_files_is_told_of() {
    let ended = |at_ms: i64| {
        with_pulse(|pulse| {
            pulse.evidence.settled = Some(Settled::Reply {
                text: Text::Inline("done".to_owned()),
                truncated: false,
                at_ms,
            });
        })
    };
    let late = NOW - 45 * MINUTE;
    assert_eq!(standing(&ended(late + 1), None), Standing::Alive);
    let verdict = decide(&ended(late), None, DETECTOR, NOW);
    assert_eq!(verdict.standing, Standing::Stuck);
    assert_eq!(
        verdict.proofs,
        ["its run ended at 13:15 UTC", "its label still runs"]
    );
    let hasty = Rules {
        threshold: Duration::from_secs(1),
        nudges: true,
    };
    let filing = ended(NOW - 3 * MINUTE + 1);
    assert_eq!(decide(&filing, None, hasty, NOW).standing, Standing::Alive);
}

#[test]
fn a_tool_call_has_its_allowance_and_no_more() {
    let open = |since_ms: i64| {
        with_pulse(|pulse| {
            pulse.work = Some(Work {
                amount: 9,
                at_ms: Some(since_ms),
                tool_since_ms: Some(since_ms),
            });
        })
    };
    assert_eq!(
        standing(&open(NOW - 240 * MINUTE + 1), None),
        Standing::Alive
    );
    assert_eq!(standing(&open(NOW - 240 * MINUTE), None), Standing::Nudge);
}

#[test]
fn a_watcher_that_pings_does_not_hide_a_silent_session() {
    for watching in [Watching::Present, Watching::Wedged] {
        let mut facts = silent();
        facts.watching = watching;
        assert_eq!(standing(&facts, Some(&nudged(9 * MINUTE))), Standing::Stuck);
    }
}

#[test]
fn a_watcher_that_helps_the_run_to_its_end_is_let_be_if_it_lives() {
    let mut facts = silent();
    facts.grace_until_ms = NOW + 1;
    assert_eq!(standing(&facts, None), Standing::Attended);
    facts.watching = Watching::Wedged;
    assert_eq!(standing(&facts, None), Standing::Nudge);
    facts.watching = Watching::Present;
    facts.grace_until_ms = NOW;
    assert_eq!(standing(&facts, None), Standing::Nudge);
}

#[test]
fn one_witness_alone_proves_nothing() {
    let row_alone = with_pulse(|pulse| pulse.work = None);
    assert_eq!(standing(&row_alone, None), Standing::Unknown);
    let row_moves = with_pulse(|pulse| pulse.evidence.last_activity_ms = Some(NOW - 30 * MINUTE));
    assert_eq!(
        standing(&row_moves, Some(&nudged(9 * MINUTE))),
        Standing::Young
    );
    let nobody = facts(Session::Unknown("no gateway answers".to_owned()));
    let verdict = decide(&nobody, Some(&nudged(9 * MINUTE)), DETECTOR, NOW);
    assert_eq!(verdict.standing, Standing::Unknown);
    assert_eq!(verdict.reason, "no gateway answers");
}

#[test]
fn what_somebody_has_just_said_to_it_gives_it_time() {
    let mut facts = silent();
    facts.spoken_to_ms = Some(NOW - MINUTE);
    assert_eq!(standing(&facts, None), Standing::Alive);
    facts.spoken_to_ms = Some(NOW - 10 * MINUTE);
    assert_eq!(standing(&facts, None), Standing::Young);
}

#[test]
fn what_cannot_answer_is_told_of_after_a_cycle_without_a_nudge() {
    let mut local = silent();
    local.backend = BackendName::Local;
    let gone = with_pulse(|pulse| pulse.evidence.liveness = Liveness::Gone);
    let absent = with_pulse(|pulse| pulse.evidence.liveness = Liveness::Absent);
    let mut cancelling = silent();
    cancelling.is_cancelling = true;
    let mut known = nudged(3 * MINUTE);
    known.nudged_at = None;
    for facts in [local, gone, absent, cancelling] {
        assert_eq!(standing(&facts, None), Standing::Suspect);
        let stuck = decide(&facts, Some(&known), DETECTOR, NOW);
        assert_eq!(stuck.standing, Standing::Stuck);
        assert_eq!(stuck.reason, "no sign of progress for 1h");
        assert_eq!(stuck.proofs.len(), 2);
    }
}

#[test]
fn the_command_tells_at_once_and_nudges_nobody() {
    let verdict = decide(&silent(), None, COMMAND, NOW);
    assert_eq!(verdict.standing, Standing::Stuck);
    assert_eq!(verdict.proofs.len(), 2);
    let young = facts(Session::NotAsked);
    assert_eq!(decide(&young, None, COMMAND, NOW).standing, Standing::Young);
}

#[test]
fn a_command_without_a_limit_may_be_silent_until_nothing_carries_it() {
    let mut local = silent();
    local.backend = BackendName::Local;
    local.patience = None;
    assert_eq!(standing(&local, None), Standing::Alive);
    let mut broken = with_pulse(|pulse| pulse.evidence.liveness = Liveness::Gone);
    broken.backend = BackendName::Local;
    broken.patience = None;
    assert_eq!(standing(&broken, None), Standing::Suspect);
    broken.since_ms = NOW - 44 * MINUTE;
    assert_eq!(standing(&broken, None), Standing::Young);
}

#[test]
fn a_label_that_nobody_watches_is_told_of_whatever_its_session_does() {
    let busy = with_pulse(|pulse| pulse.evidence.last_activity_ms = Some(NOW));
    for (mut facts, waived) in [(busy, false), (silent(), true)] {
        facts.is_waived = waived;
        let since_ms = NOW - 45 * MINUTE;
        facts.watching = Watching::Missing { since_ms };
        let verdict = decide(&facts, None, DETECTOR, NOW);
        assert_eq!(verdict.standing, Standing::Stuck);
        assert_eq!(verdict.reason, "it runs and nobody watches it");
        assert_eq!(
            verdict.proofs,
            [
                "its watcher's post is free",
                "a watcher was seen there at 13:15 UTC last"
            ]
        );
        facts.watching = Watching::Missing {
            since_ms: since_ms + 1,
        };
        assert_ne!(standing(&facts, None), Standing::Stuck);
    }
}

#[test]
fn a_label_without_monitoring_is_never_nudged_nor_told_of() {
    let mut facts = silent();
    facts.is_waived = true;
    assert_eq!(standing(&facts, None), Standing::Waived);
    assert_eq!(
        standing(&facts, Some(&nudged(9 * MINUTE))),
        Standing::Waived
    );
    assert_eq!(
        decide(&facts, None, COMMAND, NOW).standing,
        Standing::Waived
    );
}

#[rstest]
#[case(Phase::RetryWait, "its retry")]
#[case(Phase::Queued, "its turn")]
#[case(Phase::Verifying, "its verify command")]
fn what_waits_is_overdue_when_its_time_has_long_passed_and_nobody_acts(
    #[case] phase: Phase,
    #[case] what: &str,
) {
    let missing = Watching::Missing {
        since_ms: NOW - 90 * MINUTE,
    };
    let waiting = |due_ms: i64, watching: Watching| Facts {
        phase: Some(phase),
        due_ms,
        watching,
        ..facts(Session::NotAsked)
    };
    let late = NOW - 45 * MINUTE;
    for (due_ms, watching, expected) in [
        (NOW + MINUTE, missing, Standing::Young),
        (late + 1, missing, Standing::Young),
        (late, missing, Standing::Stuck),
        (late, Watching::Wedged, Standing::Stuck),
        (late, Watching::Present, Standing::Alive),
    ] {
        assert_eq!(standing(&waiting(due_ms, watching), None), expected);
    }
    let verdict = decide(&waiting(late, missing), None, DETECTOR, NOW);
    assert_eq!(verdict.reason, format!("nobody acts: {what} is overdue"));
    assert_eq!(
        verdict.proofs,
        [
            format!("{what} was due at 13:15 UTC"),
            "nobody is at its watcher's post".to_owned()
        ]
    );
}

#[test]
fn a_run_that_never_did_anything_is_silent_since_it_was_asked_for() {
    let facts = with_pulse(|pulse| {
        pulse.evidence.last_activity_ms = None;
        pulse.work = Some(Work::default());
    });
    let verdict = decide(&facts, None, COMMAND, NOW);
    assert_eq!(verdict.since_ms, Some(NOW - 120 * MINUTE));
    assert_eq!(
        verdict.proofs,
        [
            "its session's row has not moved since 12:00 UTC",
            "its agent has never done anything"
        ]
    );
}

#[test]
fn a_clock_that_was_put_back_makes_nobody_stuck() {
    let later = NOW - 300 * MINUTE;
    let verdict = decide(&silent(), Some(&nudged(9 * MINUTE)), DETECTOR, later);
    assert_eq!(verdict.standing, Standing::Alive);
}

fn entry(value: Value) -> Entry {
    match value {
        Value::Object(fields) => Entry::from_fields(fields),
        other => panic!("no object: {other}"),
    }
}

#[rstest]
#[case::own_limit(json!({"backend": "openclaw"}), Some(7200), Some(7200))]
#[case::threshold(json!({"backend": "openclaw"}), Some(600), Some(2700))]
#[case::silent_command(json!({"backend": "local"}), None, None)]
#[case::limited_command(json!({"backend": "local", "timeoutSeconds": 7200}), None, Some(7200))]
#[case::idle_before_limit(json!({"backend": "local", "timeoutSeconds": 7200}), Some(60), Some(2700))]
#[case::said_for_it(json!({"backend": "openclaw", "monitorTimeoutMin": 90}), Some(600), Some(5400))]
#[case::said_shorter(json!({"backend": "openclaw", "monitorTimeoutMin": 5}), Some(7200), Some(300))]
#[case::said_of_a_command(json!({"backend": "local", "monitorTimeoutMin": 0.5}), None, Some(30))]
#[case::what_its_watchdog_shows(json!({"backend": "local", "watchdog": {"timeoutMin": 10}}), None, None)]
#[case::said_nonsense(json!({"backend": "local", "monitorTimeoutMin": -1}), None, None)]
#[case::said_for_ever(json!({"backend": "local", "monitorTimeoutMin": 1e300}), None, Some(LONGEST.as_secs()))]
fn patience_is_what_was_said_for_the_label_or_the_longer_of_threshold_and_its_own_limit(
    #[case] fields: Value,
    #[case] idle_failure_s: Option<u64>,
    #[case] expected_s: Option<u64>,
) {
    let idle_failure = idle_failure_s.map(Duration::from_secs);
    assert_eq!(
        patience(&entry(fields), idle_failure, minutes(45)),
        expected_s.map(Duration::from_secs)
    );
}
