//! How a program that failed is understood by what it said last.

use serde_json::{Value, json};

use super::{ask, house, quick};
use crate::support::House;

/// A program that notes its start, says `line` on its stdout, and fails.
fn saying(line: &str) -> String {
    format!("cat > /dev/null; echo once >> starts; printf '%s\\n' '{line}'; exit 1")
}

/// The failure of the ended label, and how often its program was started.
#[track_caller]
fn failed(house: &House, label: &str) -> (Value, usize) {
    let entry = house.ended(label);
    assert_eq!(entry["status"], "error", "{entry:#}");
    let starts = house.text("starts").lines().count();
    (entry["failure"].clone(), starts)
}

#[test]
fn a_program_that_counts_its_tests_is_run_once() {
    let house = house(&quick());
    ask(&house, "l", &[], &saying("529 passed, 1 failed"));
    let (failure, starts) = failed(&house, "l");
    assert_eq!((&failure["kind"], starts), (&json!("command"), 1));
}
