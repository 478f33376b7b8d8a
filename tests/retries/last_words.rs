//! How a program that failed is understood by what it said last.

use serde_json::{Value, json};

use super::{ask, house, quick, waiting};
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

#[test]
fn a_long_line_and_an_agents_json_are_understood_and_quoted_in_short() {
    let house = house(&json!({"overloadSeconds": 3600}));
    let pad = "x".repeat(5_000);
    let long = format!(
        r#"API Error: 529 {{"type":"error","error":{{"type":"overloaded_error","message":"Overloaded"}},"pad":"{pad}"}}"#
    );
    let result = r#"{"type":"result","subtype":"success","is_error":true,"result":"API Error: 529 Overloaded"}"#;
    for (label, line) in [("long", long.as_str()), ("json", result)] {
        ask(&house, label, &[], &saying(line));
        let failure = &waiting(&house, label)["failure"];
        assert_eq!(failure["kind"], "overload", "{failure:#}");
        let message = failure["message"].as_str().expect("a message");
        let said = message.strip_prefix("the command exited with code 1: ");
        let said = said.unwrap_or_else(|| panic!("{message}"));
        assert!(line.starts_with(said.trim_end_matches('…')), "{said}");
        assert!(said.len() < 1_100, "{} bytes", said.len());
        house.dispatch(&["cancel", "--label", label]).exits(0);
    }
}

#[test]
fn what_decided_of_several_attempts_is_named_and_its_provider_is_left_alone() {
    let house = house(&quick());
    let line = "All models failed (3): anthropic/a: HTTP 529 overloaded | openai/b: 401 no | google/c: it broke";
    ask(&house, "l", &[], &saying(line));
    let (failure, starts) = failed(&house, "l");
    assert_eq!((&failure["kind"], starts), (&json!("overload"), 4));
    assert_eq!(failure["decidedBy"], "anthropic/a: HTTP 529 overloaded");
    assert_eq!(
        (&failure["provider"], &failure["model"]),
        (&json!("anthropic"), &json!("a"))
    );
    assert_eq!(house.entry("l")["claim"]["provider"], "anthropic");
}
