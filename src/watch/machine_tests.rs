use super::*;
use crate::backend::Text;
use crate::record::Failure;
use crate::watch::liveness::Effort;

fn evidence(liveness: Liveness, settled: Option<Settled>) -> Evidence {
    Evidence {
        settled,
        liveness,
        last_activity_ms: None,
        position: 0,
        mid_turn: false,
        open_tool: false,
        is_known: true,
    }
}

fn reply() -> Option<Settled> {
    Some(Settled::Reply {
        text: Text::Inline("hello".to_owned()),
        truncated: false,
        at_ms: 1,
    })
}

fn failed(cancelled: bool) -> Option<Settled> {
    Some(Settled::Failed {
        failure: Failure::new(FailureKind::Command, "exit 3", 1),
        partial: Text::Inline(String::new()),
        cancelled,
    })
}

fn sight(status: Status, cancel_requested: bool, evidence: Evidence) -> Sight {
    Sight {
        entry: Some(EntrySight {
            status,
            phase: Some(Phase::Running),
            cancel_requested,
            signalled: false,
            verify: Verify::NotWanted,
            stopped: None,
            account: Account::default(),
            retry_in: Duration::ZERO,
        }),
        evidence,
        start_grace: Duration::from_secs(1),
        policy: Policy::of_command(None, None),
        past: Past::default(),
        blind: None,
        is_carried: true,
    }
}

fn actions(sight: &Sight) -> Vec<Action> {
    step(State::default(), sight, Duration::ZERO).actions
}

const LEAVE: Action = Action::Leave(Leaving::Ended);

#[test]
fn a_settled_run_is_concluded_by_what_it_left() {
    use Conclusion::*;
    let cases = [
        (false, reply(), Done),
        (true, reply(), Done),
        (false, failed(false), Failed),
        (true, failed(false), Cancelled),
        (false, failed(true), Cancelled),
    ];
    for (cancel, settled, conclusion) in cases {
        let seen = sight(
            Status::Running,
            cancel,
            evidence(Liveness::Gone, settled.clone()),
        );
        assert_eq!(
            actions(&seen),
            [Action::Conclude(conclusion), LEAVE],
            "{cancel} {settled:?}"
        );
    }
}

#[test]
fn a_quiet_session_is_never_called_done() {
    let quiet = sight(Status::Running, false, evidence(Liveness::Alive, None));
    let mut state = State::default();
    for hour in 0..1_000 {
        let next = step(state, &quiet, Duration::from_secs(hour * 3_600));
        assert_eq!(next.actions, []);
        state = next.state;
    }
}

#[test]
fn the_agents_signal_outranks_the_run_and_its_last_words_are_filed() {
    let done = sight(Status::Done, false, evidence(Liveness::Alive, None));
    let first = step(State::default(), &done, Duration::ZERO);
    assert_eq!(first.actions, []);
    let late = step(first.state.clone(), &done, Duration::from_secs(601));
    assert_eq!(late.actions, [LEAVE]);
    for end in [reply(), failed(false), failed(true)] {
        let ended = sight(Status::Done, false, evidence(Liveness::Gone, end));
        let last = step(first.state.clone(), &ended, Duration::from_secs(5));
        assert_eq!(last.actions, [Action::FileLastWords, LEAVE]);
    }
}

#[test]
fn a_moment_in_which_a_gateway_does_not_know_costs_no_last_words() {
    let at = Duration::from_secs;
    let of = |status, liveness| Sight {
        is_carried: false,
        ..sight(status, false, evidence(liveness, None))
    };
    let seen = |liveness| of(Status::Done, liveness);
    let mut blind = seen(Liveness::Absent);
    blind.blind = Some("no answer about it has come yet".to_owned());
    for unclear in [seen(Liveness::Gone), seen(Liveness::Absent), blind.clone()] {
        let first = step(State::default(), &unclear, at(0));
        assert_eq!(first.actions, []);
        let still = step(first.state.clone(), &unclear, at(29));
        assert_eq!(still.actions, []);
        let given_up = step(still.state, &unclear, at(30));
        assert_eq!(given_up.actions, [LEAVE]);
        // Each moment is one of its own.
        let back = step(first.state, &seen(Liveness::Alive), at(29));
        let again = step(back.state, &unclear, at(50));
        assert_eq!(again.actions, []);
    }
    // A gateway that starts anew is waited for by who saw the run at work, before its label was done, too.
    for status in [Status::Running, Status::Done] {
        let followed = step(State::default(), &of(status, Liveness::Alive), at(0));
        let first = step(followed.state, &blind, at(0)).state;
        let later = step(first, &blind, at(599));
        assert_eq!(later.actions, []);
        assert_eq!(step(later.state, &blind, at(600)).actions, [LEAVE]);
    }
    // How long a run that works was missing before its label was done does not count.
    let missing = of(Status::Running, Liveness::Gone);
    let long = step(State::default(), &missing, at(0)).state;
    let done = step(long, &seen(Liveness::Gone), at(100));
    assert_eq!(done.actions, []);
    // A local run without a command says nothing any more.
    for liveness in [Liveness::Gone, Liveness::Absent] {
        let local = sight(Status::Done, false, evidence(liveness, None));
        assert_eq!(actions(&local), [LEAVE]);
    }
}

#[test]
fn a_reply_after_a_recorded_failure_still_becomes_the_result() {
    for status in [Status::Error, Status::Interrupted] {
        let seen = sight(status, false, evidence(Liveness::Gone, reply()));
        assert_eq!(actions(&seen), [Action::Conclude(Conclusion::Done), LEAVE]);
    }
    let cancelled = sight(Status::Cancelled, false, evidence(Liveness::Gone, reply()));
    assert_eq!(actions(&cancelled), [LEAVE]);
}

#[test]
fn a_cancel_is_passed_on_again_until_the_run_settles() {
    let wanted = sight(Status::Running, true, evidence(Liveness::Alive, None));
    let first = step(State::default(), &wanted, Duration::ZERO);
    assert_eq!(first.actions, [Action::Abort]);
    assert_eq!(first.doing, "aborting");
    let soon = step(first.state, &wanted, Duration::from_secs(29));
    assert_eq!(soon.actions, []);
    // Whoever was asked first may have been out of reach.
    let later = step(soon.state, &wanted, Duration::from_secs(30));
    assert_eq!(later.actions, [Action::Abort]);
}

#[test]
fn a_cancelled_run_that_never_says_that_it_ended_is_recorded_at_last_unless_its_runner_will() {
    let mut wanted = sight(Status::Running, true, evidence(Liveness::Alive, None));
    wanted.is_carried = false;
    let from = step(State::default(), &wanted, Duration::ZERO).state;
    let soon = step(from.clone(), &wanted, Duration::from_secs(599));
    assert_eq!(soon.actions, [Action::Abort]);
    let ended = step(from.clone(), &wanted, Duration::from_secs(600));
    let told = [Action::Abort, Action::ConcludeWaiting, LEAVE];
    assert_eq!(ended.actions, told);
    wanted.is_carried = true;
    let carried = step(from, &wanted, Duration::from_secs(6_000));
    assert_eq!(carried.actions, [Action::Abort]);
}

/// The seconds at which a run without a carrier is carried, and when and as what it is given up.
fn without_carrier_for(liveness: Liveness, seconds: u64) -> (Vec<u64>, Option<(u64, FailureKind)>) {
    let lost = sight(Status::Running, false, evidence(liveness, None));
    let mut state = State::default();
    let mut carried = Vec::new();
    for second in 0..seconds {
        let next = step(state, &lost, Duration::from_secs(second));
        state = next.state;
        match next.actions.as_slice() {
            [] => {}
            [Action::Carry] => carried.push(second),
            [Action::GiveUp { kind, .. }, LEAVE] => return (carried, Some((second, *kind))),
            other => panic!("{other:?}"),
        }
    }
    (carried, None)
}

#[test]
fn a_run_that_never_started_is_started_again_with_pauses_and_given_up_after_five_minutes() {
    let (carried, given_up) = without_carrier_for(Liveness::Absent, 1_000);
    assert!(
        carried.starts_with(&[1, 2, 4, 8, 16, 31, 61]),
        "{carried:?}"
    );
    assert_eq!(given_up, Some((300, FailureKind::Spawn)));
}

#[test]
fn a_run_that_started_is_taken_over_at_once_and_never_given_up() {
    let (carried, given_up) = without_carrier_for(Liveness::Gone, 100_000);
    assert!(
        carried.starts_with(&[0, 1, 3, 7, 15, 30, 60]),
        "{carried:?}"
    );
    assert_eq!(given_up, None);
}

#[test]
fn a_carrier_that_comes_back_starts_the_patience_anew() {
    let lost = sight(Status::Running, false, evidence(Liveness::Gone, None));
    let alive = sight(Status::Running, false, evidence(Liveness::Alive, None));
    let first = step(State::default(), &lost, Duration::ZERO);
    let back = step(first.state, &alive, Duration::from_secs(200));
    let again = step(back.state, &lost, Duration::from_secs(301));
    assert_eq!(again.actions, [Action::Carry]);
}

#[test]
fn a_label_that_is_gone_or_newer_is_left_alone() {
    let gone = Sight {
        entry: None,
        evidence: evidence(Liveness::Gone, reply()),
        start_grace: Duration::ZERO,
        policy: Policy::of_command(None, None),
        past: Past::default(),
        blind: None,
        is_carried: true,
    };
    assert_eq!(actions(&gone), [Action::Leave(Leaving::Superseded)]);
}

#[test]
fn an_accepted_run_that_is_carried_moves_on() {
    let mut seen = sight(Status::Running, false, evidence(Liveness::Alive, None));
    if let Some(entry) = &mut seen.entry {
        entry.phase = Some(Phase::Accepting);
    }
    assert_eq!(actions(&seen), [Action::ConfirmRunning]);
}

#[test]
fn a_result_waits_for_its_verify_command_and_falls_with_it() {
    let verify = |verify: Verify, signalled: bool| {
        let settled = if signalled { None } else { reply() };
        let mut seen = sight(Status::Running, false, evidence(Liveness::Alive, settled));
        if let Some(entry) = &mut seen.entry {
            entry.verify = verify;
            entry.signalled = signalled;
        }
        actions(&seen)
    };
    let why = "no".to_owned();
    for (signalled, conclude) in [
        (false, Action::Conclude(Conclusion::Done)),
        (true, Action::ConcludeSignal),
    ] {
        assert_eq!(verify(Verify::Wanted, signalled), [Action::Verify]);
        assert_eq!(verify(Verify::UnderWay, signalled), []);
        assert_eq!(verify(Verify::Passed, signalled), [conclude.clone(), LEAVE]);
        assert_eq!(verify(Verify::NotWanted, signalled), [conclude, LEAVE]);
        assert_eq!(
            verify(Verify::Rejected(why.clone()), signalled),
            [Action::Reject(why.clone()), LEAVE]
        );
    }
}

#[test]
fn a_result_that_is_not_accepted_yet_falls_with_a_cancel_and_its_run_is_stopped_first() {
    let called_off = |signalled: bool, settled: Option<Settled>, liveness: Liveness| {
        let mut seen = sight(Status::Running, true, evidence(liveness, settled));
        seen.is_carried = false;
        if let Some(entry) = &mut seen.entry {
            entry.phase = Some(Phase::Verifying);
            entry.verify = Verify::CalledOff;
            entry.signalled = signalled;
        }
        actions(&seen)
    };
    let ended = [Action::ConcludeWaiting, LEAVE];
    assert_eq!(called_off(false, reply(), Liveness::Alive), ended);
    assert_eq!(called_off(true, reply(), Liveness::Alive), ended);
    assert_eq!(called_off(true, failed(true), Liveness::Alive), ended);
    assert_eq!(called_off(true, None, Liveness::Absent), ended);
    assert_eq!(called_off(true, None, Liveness::Alive), [Action::Abort]);
}

#[test]
fn a_late_reply_is_verified_first_and_one_that_was_rejected_stays_so() {
    let late = |verify: Verify| {
        let mut seen = sight(Status::Error, false, evidence(Liveness::Gone, reply()));
        if let Some(entry) = &mut seen.entry {
            entry.verify = verify;
        }
        actions(&seen)
    };
    let done = Action::Conclude(Conclusion::Done);
    assert_eq!(late(Verify::NotWanted), [done.clone(), LEAVE]);
    assert_eq!(late(Verify::Wanted), [Action::Verify]);
    assert_eq!(late(Verify::UnderWay), []);
    assert_eq!(late(Verify::Passed), [done, LEAVE]);
    assert_eq!(late(Verify::Rejected("no".to_owned())), [LEAVE]);
}

#[test]
fn a_run_that_does_not_end_is_asked_twice_then_stopped_and_recorded_as_that() {
    let mut seen = sight(Status::Running, false, evidence(Liveness::Alive, None));
    seen.policy = Policy::of_gateway(Duration::from_secs(300), Effort::Usual, None, None);
    let mut state = State::default();
    let mut done = Vec::new();
    for second in 0..600 {
        let next = step(state, &seen, Duration::from_secs(second));
        state = next.state;
        done.extend(next.actions.into_iter().map(|action| (second, action)));
    }
    assert_eq!(done[0], (300, Action::Ask(1)));
    assert_eq!(done[1], (360, Action::Ask(2)));
    let Action::Stop { kind, message } = &done[2].1 else {
        panic!("{done:?}");
    };
    assert_eq!((done[2].0, *kind), (480, FailureKind::Timeout));
    assert!(message.contains("time limit of 300 s"), "{message}");
    let Action::GiveUp { kind, .. } = &done[3].1 else {
        panic!("{done:?}");
    };
    assert_eq!((done[3].0, *kind), (540, FailureKind::Timeout));
    // Its settlement as an abort is not told as somebody's cancel, and a reply that was complete before it wins.
    let why = Failure::new(FailureKind::Stalled, "no progress", 1);
    let ended = |settled: Option<Settled>, cancel: bool| {
        let mut seen = sight(Status::Running, cancel, evidence(Liveness::Gone, settled));
        if let Some(entry) = &mut seen.entry {
            entry.stopped = Some(why.clone());
        }
        actions(&seen)
    };
    let stopped = Action::ConcludeStopped(why.clone());
    assert_eq!(ended(failed(true), false), [stopped, LEAVE]);
    let as_it_is = [Action::Conclude(Conclusion::Failed), LEAVE];
    assert_eq!(ended(failed(false), false), as_it_is);
    let cancelled = [Action::Conclude(Conclusion::Cancelled), LEAVE];
    assert_eq!(ended(failed(true), true), cancelled);
    let done = [Action::Conclude(Conclusion::Done), LEAVE];
    assert_eq!(ended(reply(), false), done);
}

#[test]
fn a_run_that_cannot_be_seen_is_not_judged() {
    let mut seen = sight(Status::Running, false, evidence(Liveness::Alive, None));
    seen.policy = Policy::of_gateway(Duration::from_secs(300), Effort::Usual, None, None);
    seen.blind = Some("no gateway answers".to_owned());
    if let Some(entry) = &mut seen.entry {
        entry.phase = Some(Phase::Accepting);
    }
    let mut state = State::default();
    for hour in 0..100 {
        let next = step(state, &seen, Duration::from_secs(hour * 3_600));
        assert_eq!(next.actions, []);
        assert!(
            next.reason.contains("no gateway answers"),
            "{}",
            next.reason
        );
        state = next.state;
    }
    seen.blind = None;
    seen.past.age = Duration::from_secs(299);
    let next = step(state, &seen, Duration::from_secs(360_000));
    assert_eq!(next.actions, [Action::ConfirmRunning]);
}

/// The sight of a label with a stored prompt whose attempt has failed of `kind`.
fn overloaded(kind: FailureKind) -> Sight {
    let mut entry = crate::record::Entry::new();
    entry.set("promptPath", "/p");
    entry.set("backend", "openclaw");
    let failure = Failure::new(kind, "it failed", 1);
    let settled = Some(Settled::Failed {
        failure,
        partial: Text::Inline(String::new()),
        cancelled: false,
    });
    let mut seen = sight(Status::Running, false, evidence(Liveness::Alive, settled));
    if let Some(known) = &mut seen.entry {
        known.account = Account::of("l", &entry, &crate::config::RetryWindows::default());
    }
    seen
}

fn with_entry(mut sight: Sight, change: impl FnOnce(&mut EntrySight)) -> Sight {
    if let Some(entry) = &mut sight.entry {
        change(entry);
    }
    sight
}

#[test]
fn an_attempt_that_may_be_tried_again_is_put_off_and_the_others_end() {
    for (kind, is_retried) in [
        (FailureKind::Overload, true),
        (FailureKind::RateLimit, true),
        (FailureKind::GatewayRestart, true),
        (FailureKind::SessionTakeover, true),
        (FailureKind::Auth, false),
        (FailureKind::Timeout, false),
        (FailureKind::Command, false),
    ] {
        let put_off = actions(&overloaded(kind));
        match is_retried {
            true => assert!(
                matches!(put_off[..], [Action::PutOff { .. }]),
                "{put_off:?}"
            ),
            false => assert_eq!(put_off, [Action::Conclude(Conclusion::Failed), LEAVE]),
        }
    }
    let cancelled = with_entry(overloaded(FailureKind::Overload), |e| {
        e.cancel_requested = true
    });
    assert_eq!(
        actions(&cancelled),
        [Action::Conclude(Conclusion::Cancelled), LEAVE]
    );
}

#[test]
fn a_retry_is_made_when_it_is_due_and_tried_again_when_it_could_not_be() {
    let waiting = with_entry(overloaded(FailureKind::Overload), |e| {
        e.phase = Some(Phase::RetryWait);
        e.retry_in = Duration::from_secs(30);
    });
    let at = |state: State, s: u64| step(state, &waiting, Duration::from_secs(s));
    let first = at(State::default(), 100);
    assert_eq!((first.actions.len(), first.doing), (0, "retry-wait"));
    assert!(first.look_within <= Duration::from_secs(30));
    // What the wall clock says later changes nothing.
    let early = at(first.state, 129);
    assert_eq!(early.actions, []);
    let due = at(early.state, 130);
    assert_eq!(due.actions, [Action::Retry]);
    let held = at(due.state, 132);
    assert_eq!(held.actions, []);
    assert_eq!(at(held.state, 135).actions, [Action::Retry]);
}

#[test]
fn between_two_attempts_a_late_reply_a_signal_and_a_cancel_come_first() {
    let waiting = |evidence| {
        with_entry(sight(Status::Running, false, evidence), |e| {
            e.phase = Some(Phase::RetryWait);
        })
    };
    let late = waiting(evidence(Liveness::Alive, reply()));
    assert_eq!(actions(&late), [Action::Conclude(Conclusion::Done), LEAVE]);
    let signalled = with_entry(waiting(evidence(Liveness::Alive, None)), |e| {
        e.signalled = true
    });
    assert_eq!(actions(&signalled), [Action::ConcludeSignal, LEAVE]);
    let cancelled = with_entry(waiting(evidence(Liveness::Absent, None)), |e| {
        e.cancel_requested = true;
    });
    assert_eq!(actions(&cancelled), [Action::ConcludeWaiting, LEAVE]);
}

#[test]
fn a_session_that_vanished_after_it_was_seen_is_a_restart_and_is_never_asked_for_as_it_was() {
    let mut gone = overloaded(FailureKind::Overload);
    gone.evidence = evidence(Liveness::Absent, None);
    gone.is_carried = false;
    let first = step(State::default(), &gone, Duration::ZERO);
    assert_eq!(first.actions, []);
    let later = step(first.state.clone(), &gone, Duration::from_secs(30));
    let is_put_off = |step: &Step| matches!(&step.actions[..], [Action::PutOff { failure, .. }] if failure.kind == FailureKind::GatewayRestart);
    assert!(is_put_off(&later), "{:?}", later.actions);
    let spent = with_entry(gone.clone(), |e| e.account = Account::default());
    let ended = step(first.state.clone(), &spent, Duration::from_secs(30));
    assert!(matches!(
        &ended.actions[..],
        [Action::GiveUp { .. }, Action::Leave(_)]
    ));
    let cancelled = with_entry(gone, |e| e.cancel_requested = true);
    let ended = step(first.state, &cancelled, Duration::from_secs(30));
    assert_eq!(ended.actions[1..], [Action::ConcludeWaiting, LEAVE]);
}
