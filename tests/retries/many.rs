//! Fifty labels of one provider that failed together.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::{OVERLOADED, ask, house};
use crate::outbox::quiet;
use crate::support::{House, eventually, finish_soon, kill};

const LABELS: usize = 50;

/// The least time between two claims, in ms: the pause, a fifth shorter at most.
const SPACING_MS: i64 = 50;
const LEAST_SPACING_MS: i64 = SPACING_MS * 4 / 5;

/// The house's settings: `pause` before a retry, and for a provider that is down.
fn settings(pause: f64) -> Value {
    json!({
        "overloadSeconds": pause,
        "coolDownSeconds": pause,
        "spacingSeconds": SPACING_MS as f64 / 1000.0,
    })
}

/// An agent that notes who asks and when, fails as long as its provider is `overloaded`, and answers after that.
fn agent() -> String {
    format!(
        "echo \"$DISPATCH_LABEL ${{DISPATCH_ATTEMPT:-1}} $(date +%s%N)\" >> starts
        if [ -e overloaded ]; then echo '{OVERLOADED}' >&2; exit 1; fi; echo answered"
    )
}

fn labels() -> impl Iterator<Item = String> {
    (0..LABELS).map(|n| format!("l{n}"))
}

/// Fifty labels like one that really failed of an overload, with this said of each; their provider is still `overloaded`.
fn failed(house: &House, said: &Value) {
    house.configure(&json!({"retry": {"atMost": 0}}));
    fs::write(house.path("overloaded"), "").expect("writable");
    ask(house, "model", &["--model", "anthropic/x"], &agent());
    let model = house.ended("model");
    quiet(house);
    let spec = fs::read(house.run_dir("model").join("run.json")).expect("readable");
    let spec: Value = serde_json::from_slice(&spec).expect("JSON");
    let mut ledger = json!({});
    for label in labels() {
        let own = |object: &Value| {
            let mut object = object.clone();
            for name in ["runId", "sessionId", "sessionKey"] {
                let id = object[name].as_str().expect("a text");
                object[name] = json!(format!("{id}-{label}"));
            }
            object
        };
        let mut entry = own(&model);
        entry["runIds"] = json!([entry["runId"]]);
        for (name, value) in said.as_object().expect("fields") {
            entry[name] = value.clone();
        }
        let mut spec = own(&spec);
        spec["label"] = json!(label);
        spec["entry"] = entry.clone();
        ledger[&label] = entry;
        house.write_ledger(ledger.to_string());
        fs::create_dir(house.run_dir(&label)).expect("creatable");
        fs::write(house.run_dir(&label).join("run.json"), spec.to_string()).expect("writable");
    }
    house.write_ledger(format!("{ledger:#}\n"));
    fs::remove_file(house.path("starts")).expect("removable");
}

/// Who was asked, as often as it was: label and attempt.
fn starts(house: &House) -> Vec<(String, String)> {
    let text = house.text("starts");
    let lines = text.lines().map(|line| {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("a word").to_owned();
        (word(), word())
    });
    lines.collect()
}

/// Nobody was asked twice in one attempt.
#[track_caller]
fn once_each(house: &House) {
    let starts = starts(house);
    let apart: BTreeSet<_> = starts.iter().collect();
    assert_eq!(apart.len(), starts.len(), "{starts:?}");
}

/// The labels' current claims, oldest first, which keep their distance.
#[track_caller]
fn claims(house: &House) -> Vec<i64> {
    let ledger = house.ledger();
    let mut claims: Vec<i64> = labels()
        .filter_map(|label| ledger[&label]["claim"]["at"].as_i64())
        .collect();
    claims.sort_unstable();
    let close = claims
        .windows(2)
        .find(|two| two[1] - two[0] < LEAST_SPACING_MS);
    assert_eq!(close, None, "{claims:?}");
    claims
}

/// All fifty are done, each within its budget.
#[track_caller]
fn all_done(house: &House, retries: u64) {
    let ledger = eventually("all are done", || {
        let ledger = house.ledger();
        labels()
            .all(|label| ledger[&label]["status"] == "done")
            .then_some(ledger)
    });
    for label in labels() {
        let entry = &ledger[&label];
        let made = entry["retryCount"].as_u64().expect("a count");
        assert!((1..=retries).contains(&made), "{label}: {entry:#}");
        assert_eq!(entry["attempt"], made + 1);
    }
}

#[test]
fn one_scan_asks_each_of_fifty_once_more_one_after_the_other() {
    let house = house(&json!({}));
    let ten_minutes = 10 * super::scans::MINUTE_MS;
    let failure = json!({
        "kind": "overload", "message": "529 Overloaded", "at": super::scans::now_ms() - ten_minutes,
    });
    failed(&house, &json!({"failure": failure}));
    fs::remove_file(house.path("overloaded")).expect("removable");
    house.configure(&json!({"retry": settings(3600.0)}));
    let mut said: Vec<String> = house.recover().stdout.lines().map(str::to_owned).collect();
    said.sort_unstable();
    let mut expected: Vec<String> = labels()
        .map(|label| format!("retried \"{label}\": attempt 2"))
        .collect();
    expected.sort_unstable();
    assert_eq!(said, expected);
    all_done(&house, 1);
    once_each(&house);
    assert_eq!(
        (starts(&house).len(), claims(&house).len()),
        (LABELS, LABELS)
    );
}

/// All fifty wait for a retry that is due, and nobody watches them.
fn make_due(house: &House) {
    loop {
        let watchers = house.processes();
        if watchers.is_empty() {
            break;
        }
        for pid in watchers {
            kill(pid, "KILL");
        }
    }
    house.change_ledger(|ledger| {
        for label in labels() {
            ledger[&label]["retryAt"] = json!("2026-01-01T00:00:00.000Z");
        }
    });
}

fn two_scans(house: &House) {
    let scans = [
        house.start("529-recovery", &[]),
        house.start("529-recovery", &[]),
    ];
    for scan in scans {
        finish_soon(scan).exits(0);
    }
}

#[test]
fn fifty_watchers_at_once_leave_a_provider_alone_that_is_down_and_settle_once_it_answers() {
    let house = house(&json!({}));
    failed(
        &house,
        &json!({"status": "running", "phase": "retry-wait", "error": null, "endedAt": null}),
    );
    let mut patient = settings(3600.0);
    patient["maxAgeSeconds"] = json!(1e9);
    // So far apart that three of them have failed before the last one's turn, however slow the machine.
    patient["spacingSeconds"] = json!(2.0);
    house.configure(&json!({"retry": patient}));
    make_due(&house);
    two_scans(&house);
    // Each was asked once more and waits for an hour, or is told to wait as long because three others failed.
    let held = |label: &str| {
        let log = house.post_lock(label).with_extension("log");
        let log = fs::read_to_string(log).unwrap_or_default();
        log.contains("the provider is left alone for 3")
    };
    let mut open: Vec<String> = labels().collect();
    let ledger = eventually("all wait", || {
        let ledger = house.ledger();
        open.retain(|label| {
            let entry = &ledger[label];
            let has_failed = entry["attempt"] == 2 && entry["phase"] == "retry-wait";
            !has_failed && !held(label)
        });
        open.is_empty().then_some(ledger)
    });
    once_each(&house);
    let asked = claims(&house);
    assert_eq!(starts(&house).len(), asked.len());
    assert!((3..LABELS).contains(&asked.len()), "{asked:?}");
    // After the third failure was recorded nobody claimed any more.
    let mut recorded: Vec<i64> = labels()
        .filter(|label| ledger[label]["attempt"] == 2)
        .map(|label| time_ms(&ledger[&label]["updatedAt"]))
        .collect();
    recorded.sort_unstable();
    assert!(
        asked.iter().all(|at| *at <= recorded[2]),
        "{asked:?} {recorded:?}"
    );
    // The provider answers again, and is asked by all of them.
    make_due(&house);
    fs::remove_file(house.path("overloaded")).expect("removable");
    let mut quick = settings(0.0);
    quick["maxAgeSeconds"] = json!(1e9);
    house.configure(&json!({"retry": quick}));
    two_scans(&house);
    all_done(&house, 2);
    once_each(&house);
    assert_eq!(starts(&house).len(), LABELS + asked.len());
    assert_eq!(claims(&house).len(), LABELS);
}

fn time_ms(value: &Value) -> i64 {
    let text = value.as_str().expect("a time");
    let time = chrono::DateTime::parse_from_rfc3339(text).expect("RFC 3339");
    time.timestamp_millis()
}
