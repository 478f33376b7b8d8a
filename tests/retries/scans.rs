//! The recovery scan and labels that failed for good of an overload.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::{agent, ask, house, quick, waiting, waiting_for};
use crate::outbox::quiet;
use crate::support::{House, finish_soon};

pub const MINUTE_MS: i64 = 60_000;

pub fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_millis()).expect("before the year 292,000,000")
}

/// A label that failed of an overload so long ago, with nothing of its budget spent: no retry was allowed then.
fn failed(house: &House, label: &str, minutes_ago: i64, times: u32) -> Value {
    house.configure(&json!({"retry": {"atMost": 0}}));
    ask(house, label, &[], &agent(times));
    let entry = house.ended(label);
    assert_eq!(entry["failure"]["kind"], "overload", "{entry:#}");
    quiet(house);
    house.change_ledger(|ledger| {
        ledger[label]["failure"]["at"] = json!(now_ms() - minutes_ago * MINUTE_MS);
    });
    house.configure(&json!({"retry": quick()}));
    house.entry(label)
}

#[test]
fn a_scan_retries_what_failed_of_an_overload_and_says_so_once_it_has_started() {
    let house = house(&quick());
    failed(&house, "l", 10, 1);
    let said = house.recover().stdout;
    assert_eq!(said, "retried \"l\": attempt 2\n");
    let entry = house.ended("l");
    assert_eq!(
        (&entry["status"], &entry["retryCount"]),
        (&json!("done"), &json!(1))
    );
    assert_eq!(house.full_text("l"), "answered at start 2\n");
    quiet(&house);
    assert_eq!(house.recover().stdout, "", "nothing is left to do");
}

#[test]
fn a_scan_that_cannot_record_that_it_ran_has_failed_and_helps_all_the_same() {
    let house = house(&quick());
    failed(&house, "l", 10, 1);
    let record = house.state().join("recovery.json");
    std::fs::create_dir(&record).expect("creatable");
    let told = house.run("529-recovery", &["--json"]).exits(1);
    assert_eq!(
        told.stderr,
        format!(
            "[dispatch] cannot record when the scan ran in {}: Is a directory (os error 21)\n",
            record.display()
        )
    );
    assert_eq!(told.json()["ok"], false);
    assert_eq!(told.json()["retried"][0]["label"], "l");
    house.ended("l");
    // Who asks about one label, or what would be done, records nothing.
    house.run("529-recovery", &["--label", "l"]).exits(0);
    house.run("529-recovery", &["--dry-run"]).exits(0);
}

#[test]
fn what_is_too_young_too_old_or_only_looked_at_is_left_as_it_was() {
    let house = house(&quick());
    failed(&house, "young", 2, 9);
    failed(&house, "old", 61, 9);
    failed(&house, "due", 10, 9);
    let before = house.ledger();
    let told = house
        .run("529-recovery", &["--dry-run", "--json"])
        .exits(0)
        .json();
    assert_eq!(
        told["retried"],
        json!([{"label": "due", "reason": "it would be retried"}])
    );
    let skipped: Vec<&Value> = told["skipped"].as_array().expect("a list").iter().collect();
    assert_eq!(skipped.len(), 2, "{told:#}");
    assert_eq!(house.ledger(), before);
    let told = house
        .run("529-recovery", &["--label", "young", "--json"])
        .exits(0)
        .json();
    assert_eq!(
        (
            told["retried"].as_array().map(Vec::len),
            told["ok"].as_bool()
        ),
        (Some(0), Some(true))
    );
    assert_eq!(house.ledger(), before);
    let said = house
        .run("529-recovery", &["--label", "young"])
        .exits(0)
        .stdout;
    assert!(
        said.starts_with("left alone \"young\": it failed "),
        "{said}"
    );
    let older = ["--max-age", "2h", "--dry-run", "--label", "old", "--json"];
    let told = house.run("529-recovery", &older).exits(0).json();
    assert_eq!(told["retried"][0]["label"], "old");
}

#[test]
fn two_scans_at_once_retry_a_label_once() {
    let house = house(&quick());
    failed(&house, "l", 10, 1);
    let scans = [
        house.start("529-recovery", &[]),
        house.start("529-recovery", &[]),
    ];
    let said: String = scans
        .into_iter()
        .map(|scan| finish_soon(scan).exits(0).stdout)
        .collect();
    assert_eq!(said.matches("retried \"l\"").count(), 1, "{said}");
    assert_eq!(house.ended("l")["status"], "done");
    assert_eq!(house.text("starts").lines().count(), 2);
    assert_eq!(house.entry("l")["retryCount"], 1);
}

#[test]
fn a_provider_that_stays_overloaded_is_left_alone_by_whatever_is_left() {
    let house = house(&quick());
    for label in ["a", "b", "c", "d"] {
        failed(&house, label, 10, 99);
    }
    let mut patient = quick();
    patient["coolDownSeconds"] = json!(3600);
    patient["overloadSeconds"] = json!(3600);
    house.configure(&json!({"retry": patient}));
    for label in ["a", "b", "c"] {
        // It says which comes first: that the retry has started, or that it has failed.
        let scan = house.run("529-recovery", &["--label", label]);
        assert!(matches!(scan.code, Some(0 | 1)), "{scan:?}");
        // Each has failed once more before the next is tried.
        waiting_for(&house, label, 2);
    }
    let last = house.start("529-recovery", &["--label", "d"]);
    let held = waiting(&house, "d");
    house.wrote_in_log("d", "the provider is left alone");
    assert_eq!(
        (&held["attempt"], &held["retryCount"]),
        (&json!(1), &json!(null))
    );
    for label in ["a", "b", "c", "d"] {
        house.dispatch(&["cancel", "--label", label]).exits(0);
    }
    finish_soon(last);
    assert_eq!(house.text("starts").lines().count(), 7);
}

#[test]
fn an_unknown_label_is_named_with_its_nearest() {
    let house = house(&quick());
    failed(&house, "notes", 10, 1);
    let ran = house.run("529-recovery", &["--label", "note"]).exits(1);
    assert!(ran.stderr.contains("\"notes\""), "{}", ran.stderr);
}
