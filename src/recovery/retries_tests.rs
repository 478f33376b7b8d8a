use super::*;
use crate::record::{FailureKind, Generation, Status};
use rstest::rstest;
use serde_json::json;

const NOW: i64 = 1_900_000_000_000;

fn entry() -> Entry {
    let mut entry = Entry::new();
    entry.set_generation(Generation::new(7));
    entry.set_status(&Status::Running);
    entry.set_phase(Phase::Running);
    entry.set("backend", "openclaw");
    entry.set("runId", "first");
    entry.set("runIds", json!(["first"]));
    entry.set("promptPath", "/prompts/l/first.txt");
    entry.set(
        "steers",
        json!([
            {"runId": "s", "head": "h", "promptPath": "/prompts/l/s.txt"},
            {"runId": "final", "head": "your final reply", "request": 1},
        ]),
    );
    entry
}

fn failure(kind: FailureKind, provider: Option<&str>) -> Failure {
    let mut failure = Failure::new(kind, "529 overloaded", NOW);
    failure.provider = provider.map(str::to_owned);
    failure
}

fn own() -> RetryWindows {
    RetryWindows::default()
}

fn attempt(run_id: &str) -> Attempt {
    Attempt {
        run_id: run_id.to_owned(),
        session_key: "agent:main:subagent:x".to_owned(),
        ..Attempt::default()
    }
}

fn waiting(kind: FailureKind, provider: Option<&str>) -> Entry {
    let mut entry = entry();
    put_off(
        &mut entry,
        &failure(kind, provider),
        Duration::from_secs(30),
        NOW,
    );
    entry
}

fn claim_at(entry: &mut Entry, others: &[Entry], now_ms: i64) -> Claimed {
    let seen = entry.clone();
    claim("l", entry, &seen, &attempt("next"), others, &own(), now_ms)
}

#[test]
fn a_claim_makes_the_next_attempt_the_current_one_and_spends_its_budget() {
    let mut e = waiting(FailureKind::Overload, Some("anthropic"));
    assert_eq!(e.phase(), Some(Phase::RetryWait));
    assert_eq!(due_in(&e, NOW + 10_000), Duration::from_secs(20));
    assert_eq!(e.value("error"), None, "the label has not failed");
    assert_eq!(claim_at(&mut e, &[], NOW + 30_000), Claimed::Yes);
    assert_eq!((e.attempt(), e.text("runId")), (2, Some("next")));
    assert_eq!(e.value("runIds"), Some(&json!(["first", "next"])));
    assert_eq!(e.number("retryCount"), Some(1));
    assert_eq!(e.phase(), Some(Phase::Accepting));
    assert_eq!(e.time("lastRetryAt"), Some(NOW + 30_000));
    assert!(e.steers().is_empty() && e.value("retryAt").is_none());
    // What people sent is told to the next attempt; the watcher's own requests were for this one.
    let told: Vec<String> = e.earlier_steers().into_iter().map(|s| s.run_id).collect();
    assert_eq!(told, ["s"]);
    let claim = e.claim().expect("it is claimed");
    assert_eq!((claim.attempt, claim.key.as_str()), (2, "next"));
    assert_eq!(claim.provider.as_deref(), Some("anthropic"));
}

#[test]
fn of_two_that_prepared_the_same_retry_one_claims_it() {
    let mut e = waiting(FailureKind::Overload, None);
    let seen = e.clone();
    let take = |e: &mut Entry, id| claim("l", e, &seen, &attempt(id), &[], &own(), NOW + 60_000);
    assert_eq!(take(&mut e, "one"), Claimed::Yes);
    assert_eq!(take(&mut e, "two"), Claimed::No);
    assert_eq!(
        (e.text("runId"), e.number("retryCount")),
        (Some("one"), Some(1))
    );
}

#[test]
fn what_is_cancelled_signalled_or_over_is_not_tried_again() {
    let mut cancelled = waiting(FailureKind::Overload, None);
    cancelled.set("cancelRequested", true);
    let mut signalled = waiting(FailureKind::Overload, None);
    signalled.set_phase(Phase::Verifying);
    let mut over = waiting(FailureKind::Overload, None);
    over.set_status(&Status::Done);
    for mut e in [cancelled, signalled, over] {
        let before = e.clone();
        assert_eq!(claim_at(&mut e, &[], NOW + 60_000), Claimed::No);
        assert_eq!(e, before);
    }
}

#[rstest]
#[case(FailureKind::Overload, "retryCount", 3)]
#[case(FailureKind::RateLimit, "retryCount", 3)]
#[case(FailureKind::GatewayRestart, "gwRestartRetryCount", 2)]
#[case(FailureKind::SessionTakeover, "takeoverRetryCount", 1)]
fn each_budget_is_spent_and_no_other(
    #[case] kind: FailureKind,
    #[case] field: &str,
    #[case] at_most: u32,
) {
    let mut e = entry();
    let mut made = 0;
    while Account::of("l", &e, &own())
        .next(&failure(kind, None))
        .is_some()
    {
        put_off(&mut e, &failure(kind, None), Duration::ZERO, NOW);
        let now = NOW + i64::from(made) * 600_000;
        assert_eq!(claim_at(&mut e, &[], now), Claimed::Yes);
        made += 1;
    }
    assert_eq!(made, at_most);
    assert_eq!(e.number(field), Some(u64::from(at_most)));
    for other in ["retryCount", "gwRestartRetryCount", "takeoverRetryCount"] {
        assert!(other == field || e.value(other).is_none(), "{other}");
    }
    // A claim asks for the budget once more: another may have spent it meanwhile.
    put_off(&mut e, &failure(kind, None), Duration::ZERO, NOW);
    assert_eq!(claim_at(&mut e, &[], NOW + 9_000_000), Claimed::No);
}

#[test]
fn a_bare_command_and_another_tools_label_are_not_run_twice() {
    let overload = failure(FailureKind::Overload, None);
    let next = |e: &Entry| Account::of("l", e, &own()).next(&overload);
    assert!(next(&entry()).is_some());
    for field in ["promptPath", "backend"] {
        let mut e = entry();
        e.clear(field);
        assert_eq!(next(&e), None, "{field}");
    }
    let mut stopped = entry();
    stopped.set_stop_order(&failure(FailureKind::Timeout, None));
    assert_eq!(next(&stopped), None);
    assert_eq!(
        Account::of("l", &entry(), &own()).next(&failure(FailureKind::Auth, None)),
        None
    );
}

/// Another label whose retry at `provider` was claimed `ago_ms` before, and which failed since, where `failed` says so.
fn other(provider: &str, ago_ms: i64, failed: bool) -> Entry {
    let mut e = waiting(FailureKind::Overload, Some(provider));
    assert_eq!(claim_at(&mut e, &[], NOW - ago_ms), Claimed::Yes);
    if failed {
        let mut again = failure(FailureKind::Overload, Some(provider));
        again.at = NOW - ago_ms + 100;
        put_off(&mut e, &again, Duration::from_secs(60), again.at);
    }
    e
}

#[test]
fn retries_at_one_provider_come_one_after_another() {
    let mut e = waiting(FailureKind::Overload, Some("Anthropic"));
    let others = [other("anthropic", 1_000, false)];
    match claim_at(&mut e, &others, NOW) {
        Claimed::Held(left) => assert!((3_000..=5_000).contains(&left.as_millis()), "{left:?}"),
        more => panic!("{more:?}"),
    }
    let elsewhere = [other("openai", 1_000, false)];
    assert_eq!(claim_at(&mut e, &elsewhere, NOW), Claimed::Yes);
    let mut restarted = waiting(FailureKind::GatewayRestart, Some("anthropic"));
    assert_eq!(claim_at(&mut restarted, &others, NOW), Claimed::Yes);
}

#[test]
fn three_failed_retries_in_a_row_cool_a_provider_down_and_a_success_warms_it() {
    let mut others = vec![
        other("anthropic", 30_000, true),
        other("anthropic", 20_000, true),
        other("anthropic", 10_000, true),
    ];
    let mut e = waiting(FailureKind::Overload, Some("anthropic"));
    match claim_at(&mut e, &others, NOW) {
        Claimed::Held(left) => assert!(left > Duration::from_secs(45), "{left:?}"),
        more => panic!("{more:?}"),
    }
    let mut good = other("anthropic", 9_000, false);
    good.set_status(&Status::Done);
    good.clear("failure");
    good.set_time("endedAt", NOW - 6_500);
    others.push(good);
    assert_eq!(claim_at(&mut e, &others, NOW), Claimed::Yes);
}

#[test]
fn while_it_is_down_one_at_a_time_asks_whether_it_has_recovered() {
    let mut others: Vec<Entry> = (0..3)
        .map(|n| other("anthropic", 100_000 + n * 1_000, true))
        .collect();
    let mut first = waiting(FailureKind::Overload, Some("anthropic"));
    assert_eq!(claim_at(&mut first, &others, NOW), Claimed::Yes);
    others.push(first);
    let mut second = waiting(FailureKind::Overload, Some("anthropic"));
    match claim_at(&mut second, &others, NOW + 20_000) {
        Claimed::Held(left) => assert!(left > Duration::from_secs(30), "{left:?}"),
        more => panic!("{more:?}"),
    }
}

#[test]
fn the_fallbacks_attempt_is_no_retry_at_the_provider_that_failed() {
    let mut e = waiting(FailureKind::Overload, Some("anthropic"));
    e.set("fallbackModel", "openai/other");
    let held = [other("anthropic", 1_000, false)];
    assert_eq!(claim_at(&mut e, &held, NOW), Claimed::Yes);
    assert_eq!(e.claim().expect("it is claimed").provider, None);
    assert_eq!(e.value("retryCount"), None);
    let mut next = waiting(FailureKind::Overload, Some("anthropic"));
    assert_eq!(claim_at(&mut next, &[e], NOW), Claimed::Yes);
}

#[test]
fn who_has_waited_too_long_for_a_turn_gives_up() {
    let mut e = waiting(FailureKind::Overload, Some("anthropic"));
    let due = NOW + 30_000;
    let hour = 3_600_000;
    let busy = |now: i64| {
        let mut busy = other("anthropic", 0, false);
        let mut claim = busy.claim().expect("claimed");
        claim.at = now - 1_000;
        busy.set_claim(&claim);
        [busy]
    };
    let at = due + hour;
    assert!(matches!(claim_at(&mut e, &busy(at), at), Claimed::Held(_)));
    let at = due + hour + 1_000;
    assert_eq!(claim_at(&mut e, &busy(at), at), Claimed::TooOld);
}

#[test]
fn a_label_that_is_reopened_waits_for_its_retry_and_has_no_error() {
    let mut e = entry();
    e.set_status(&Status::Error);
    e.set_failure(&failure(FailureKind::Overload, None));
    e.set_time("endedAt", NOW);
    reopen(&mut e, Duration::from_secs(1), NOW);
    assert_eq!(
        (e.status(), e.phase()),
        (Status::Running, Some(Phase::RetryWait))
    );
    assert_eq!((e.text("error"), e.value("endedAt")), (None, None));
    assert_eq!(claim_at(&mut e, &[], NOW + 1_000), Claimed::Yes);
}
