use super::*;

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn usual(timeout: Duration) -> Policy {
    Policy::of_gateway(timeout, Effort::Usual, None, None)
}

/// Looks once a second, from a run that begins now; `signs` says what is seen at each age. Tells what was advised when.
fn history(
    policy: &Policy,
    signs: impl Fn(Duration) -> Signs,
    until: Duration,
) -> Vec<(u64, Advice)> {
    let mut watchfulness = Watchfulness::default();
    let mut told = Vec::new();
    for second in 0..until.as_secs() {
        let now = seconds(second);
        match watchfulness.judge(policy, signs(now), Past::default(), now) {
            Advice::Wait(pause) => assert!(!pause.is_zero(), "a busy wait at {second}"),
            other => told.push((second, other)),
        }
        if matches!(told.last(), Some((_, Advice::GiveUp(_)))) {
            break;
        }
    }
    told
}

fn silent(_: Duration) -> Signs {
    Signs::default()
}

fn growing(age: Duration) -> Signs {
    Signs {
        position: age.as_secs() / 30,
        ..Signs::default()
    }
}

#[test]
fn the_windows_follow_from_time_limit_and_effort() {
    // timeout (s), effort, startup, probe, idle failure, ceiling, silence past it: all in seconds.
    let cases = [
        (300, Effort::Usual, [300, 75, 600, 900, 120]),
        (60, Effort::Usual, [300, 60, 600, 900, 120]),
        (3600, Effort::Usual, [300, 300, 3600, 5400, 120]),
        (300, Effort::High, [600, 75, 1200, 2400, 300]),
        (7200, Effort::High, [600, 600, 7200, 14400, 300]),
        (7200, Effort::Highest, [600, 900, 7200, 14400, 300]),
    ];
    for (timeout, effort, expected) in cases {
        let policy = Policy::of_gateway(seconds(timeout), effort, None, None);
        let found = [
            policy.startup_grace,
            policy.probe,
            policy.idle_failure.expect("a gateway's run may stall"),
            policy.ceiling.expect("a gateway's run has a ceiling"),
            policy.ceiling_silence,
        ];
        assert_eq!(
            found.map(|window| window.as_secs()),
            expected,
            "{timeout} {effort:?}"
        );
    }
    assert_eq!(usual(seconds(300)).longest, minutes(240));
    assert_eq!(usual(minutes(600)).longest, minutes(600));
    let own = Policy::of_gateway(
        seconds(300),
        Effort::Usual,
        Some(seconds(30)),
        Some(seconds(7)),
    );
    assert_eq!(own.idle_failure, Some(seconds(30)));
    assert_eq!(own.startup_grace, seconds(7));
}

#[test]
fn a_silent_run_is_asked_twice_at_its_deadline_and_then_stopped() {
    let told = history(&usual(seconds(300)), silent, minutes(20));
    assert_eq!(
        told,
        [
            (300, Advice::Ask(1)),
            (360, Advice::Ask(2)),
            (480, Advice::Stop(Cause::Deadline)),
            (540, Advice::GiveUp(Cause::Deadline)),
        ]
    );
}

#[test]
fn a_run_in_the_middle_of_its_turn_gets_one_extension() {
    let waiting = |_| Signs {
        mid_turn: true,
        ..Signs::default()
    };
    let told = history(&usual(seconds(300)), waiting, minutes(20));
    assert_eq!(
        told[0],
        (600, Advice::Stop(Cause::Stalled)),
        "idle failure comes first"
    );
    let patient = Policy::of_gateway(seconds(300), Effort::Usual, Some(minutes(60)), None);
    let told = history(&patient, waiting, minutes(30));
    assert_eq!(told[0], (600, Advice::Ask(1)));
    assert_eq!(told[2], (780, Advice::Stop(Cause::Deadline)));
}

#[test]
fn the_deadline_rolls_on_while_the_run_works_up_to_four_hours() {
    let told = history(&usual(seconds(300)), growing, minutes(300));
    assert_eq!(told[0], (4 * 3600, Advice::Ask(1)));
    assert_eq!(told[1], (4 * 3600 + 60, Advice::Ask(2)));
    assert_eq!(told[2], (4 * 3600 + 180, Advice::Stop(Cause::Deadline)));
    // It grew at 4:50 for the last time: an extension to 10:00 was given at 5:00, and it is flat then.
    let stops = |age: Duration| growing(age.min(seconds(290)));
    let told = history(&usual(seconds(300)), stops, minutes(20));
    assert_eq!(told[0], (600, Advice::Ask(1)));
}

#[test]
fn a_run_that_answers_the_last_request_is_let_finish() {
    let answers = |age: Duration| match age >= seconds(400) {
        true => growing(age.min(seconds(700))),
        false => Signs::default(),
    };
    let told = history(&usual(seconds(300)), answers, minutes(20));
    assert_eq!(told[1], (360, Advice::Ask(2)));
    let (stopped_at, stop) = &told[2];
    assert_eq!(*stop, Advice::Stop(Cause::Deadline));
    assert!((690 + 60..=690 + 62).contains(stopped_at), "{told:?}");
}

#[test]
fn a_long_tool_call_is_not_killed() {
    let policy = Policy::of_gateway(seconds(300), Effort::Usual, Some(seconds(120)), None);
    let building = |age: Duration| Signs {
        open_tool: age >= seconds(60) && age < minutes(120),
        ..Signs::default()
    };
    let told = history(&policy, building, minutes(200));
    assert_eq!(told[0].1, Advice::Stop(Cause::Stalled), "{told:?}");
    assert!(told[0].0 >= 120 * 60 + 119, "{told:?}");
}

#[test]
fn past_the_ceiling_a_short_silence_suffices() {
    // A long limit, so that the deadline is not what ends it.
    let mut policy = usual(minutes(60));
    policy.deadline = None;
    let quiet_at = |begin: u64| move |age: Duration| growing(age.min(minutes(begin)));
    let told = history(&policy, quiet_at(100), minutes(200));
    assert_eq!(told[0].1, Advice::Stop(Cause::Stalled));
    assert_eq!(told[0].0, 102 * 60);
    let told = history(&policy, quiet_at(10), minutes(200));
    assert_eq!(
        told[0].0,
        70 * 60,
        "before the ceiling the whole window counts"
    );
}

#[test]
fn a_command_of_this_machine_is_judged_by_its_own_idle_threshold_alone() {
    let never = Policy::of_command(None, None);
    assert_eq!(history(&never, silent, minutes(3000)), []);
    let soon = Policy::of_command(Some(seconds(90)), None);
    assert_eq!(
        history(&soon, silent, minutes(5))[0],
        (90, Advice::Stop(Cause::Stalled))
    );
    assert_eq!(history(&soon, growing, minutes(60)), []);
}

#[test]
fn what_was_before_this_watcher_counts() {
    let policy = usual(seconds(300));
    let first = |age: u64, idle: u64| {
        let before = Past {
            age: seconds(age),
            idle: seconds(idle),
            ..Past::default()
        };
        Watchfulness::default().judge(&policy, Signs::default(), before, seconds(1_000_000))
    };
    assert_eq!(first(299, 299), Advice::Wait(seconds(1)));
    assert_eq!(first(300, 299), Advice::Ask(1));
    assert_eq!(
        first(300, 10),
        Advice::Wait(seconds(75)),
        "it worked a moment ago"
    );
    assert_eq!(first(600, 600), Advice::Stop(Cause::Stalled));
    // A clock that was set back makes a run no older than it is, and one set forth no more silent than it is old.
    assert_eq!(first(0, 86_400), Advice::Wait(seconds(75)));
}

#[test]
fn wall_time_that_jumps_between_two_looks_changes_nothing() {
    let policy = usual(seconds(300));
    let mut watchfulness = Watchfulness::default();
    let day = seconds(86_400);
    let signs = Signs {
        activity_ms: Some(1),
        ..Signs::default()
    };
    watchfulness.judge(
        &policy,
        signs,
        Past {
            age: seconds(10),
            idle: seconds(5),
            ..Past::default()
        },
        seconds(50),
    );
    let advice = watchfulness.judge(
        &policy,
        signs,
        Past {
            age: day,
            idle: day,
            ..Past::default()
        },
        seconds(60),
    );
    assert!(matches!(advice, Advice::Wait(_)), "{advice:?}");
    let advice = watchfulness.judge(&policy, signs, Past::default(), seconds(340));
    assert_eq!(advice, Advice::Ask(1));
}

#[test]
fn a_watcher_that_takes_over_goes_on_where_the_one_before_was() {
    let policy = usual(seconds(300));
    let taken_over = |past: Past| {
        let mut watchfulness = Watchfulness::default();
        let mut told = Vec::new();
        for second in 1_000..1_400 {
            match watchfulness.judge(&policy, Signs::default(), past, seconds(second)) {
                Advice::Wait(_) => {}
                other => told.push((second, other)),
            }
        }
        told
    };
    let past = Past {
        age: seconds(330),
        idle: seconds(330),
        ..Past::default()
    };
    let asked = taken_over(Past {
        requests: 1,
        ..past
    });
    assert_eq!(asked[0], (1_060, Advice::Ask(2)));
    let asked = taken_over(Past {
        requests: 2,
        ..past
    });
    assert_eq!(asked[0], (1_120, Advice::Stop(Cause::Deadline)));
    let stopped = taken_over(Past {
        stopped: Some(Cause::Stalled),
        ..past
    });
    assert_eq!(stopped[0], (1_000, Advice::Stop(Cause::Stalled)));
    assert_eq!(stopped[1], (1_060, Advice::GiveUp(Cause::Stalled)));
}

#[test]
fn the_operators_windows_replace_what_the_policy_has() {
    let own = LivenessWindows {
        idle_failure_seconds: Some(7.5),
        ceiling_seconds: Some(9.0),
        first_request_seconds: Some(1.0),
        ..LivenessWindows::default()
    };
    let gateway = usual(seconds(300)).with_windows(&own);
    assert_eq!(gateway.idle_failure, Some(Duration::from_millis(7_500)));
    assert_eq!(gateway.ceiling, Some(seconds(9)));
    assert_eq!(gateway.request_pauses, [seconds(1), seconds(120)]);
    assert_eq!(gateway.flat, seconds(180));
    let command = Policy::of_command(None, None).with_windows(&own);
    assert_eq!((command.idle_failure, command.ceiling), (None, None));
}
