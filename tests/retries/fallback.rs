//! The fallback selection: another model or account is tried once, ahead of any pause.

use serde_json::json;

use super::{OVERLOADED, ask, house, quick};
use crate::support::House;

/// An agent that notes what it was given, and fails as overloaded unless its model is one of `good`.
fn choosy(good: &str) -> String {
    format!(
        "cat > /dev/null; echo \"${{DISPATCH_MODEL:-none}} ${{DISPATCH_AUTH_PROFILE:-none}}\" >> starts
case \"$DISPATCH_MODEL\" in {good}) echo \"$DISPATCH_MODEL answers\";; *) echo '{OVERLOADED}' >&2; exit 1;; esac"
    )
}

fn patient() -> House {
    house(&json!({"overloadSeconds": 3600}))
}

#[test]
fn the_fallback_model_is_asked_at_once_and_spends_no_budget() {
    let house = patient();
    let flags = [
        "--model",
        "a/1",
        "--fallback-model",
        "b/2",
        "--auth-profile",
        "home",
    ];
    ask(&house, "l", &flags, &choosy("b/2"));
    let entry = house.ended("l");
    assert_eq!(entry["status"], "done", "{entry:#}");
    assert_eq!(house.full_text("l"), "b/2 answers\n");
    assert_eq!(house.text("starts"), "a/1 home\nb/2 home\n");
    assert_eq!(
        (&entry["attempt"], &entry["retryCount"]),
        (&json!(2), &json!(null))
    );
    let status = house.dispatch(&["status", "--label", "l", "--json"]).json();
    assert_eq!(status["fallbackUse"]["model"], "b/2");
    let table = house
        .dispatch(&["status", "--label", "l", "--output", "table"])
        .stdout;
    assert!(table.contains("2 (the fallback b/2 as home)"), "{table}");
    let why = status["fallbackUse"]["primaryError"].to_string();
    assert!(why.contains("529"), "{why}");
    house.wrote_in_log("l", "the fallback b/2 as home follows");
}

#[test]
fn another_account_alone_keeps_the_model() {
    let house = patient();
    let flags = ["--model", "a/1", "--fallback-auth-profile", "work"];
    ask(&house, "l", &flags, &choosy("nobody"));
    super::waiting_for(&house, "l", 2);
    assert_eq!(house.text("starts"), "a/1 none\na/1 work\n");
    house.dispatch(&["cancel", "--label", "l"]).exits(0);
}

#[test]
fn after_the_fallback_the_pauses_go_on_with_the_primary_and_the_end_names_both() {
    let house = house(&quick());
    let flags = ["--model", "a/1", "--fallback-model", "b/2"];
    ask(&house, "l", &flags, &choosy("nobody"));
    let entry = house.ended("l");
    assert_eq!(
        house.text("starts"),
        "a/1 none\nb/2 none\na/1 none\na/1 none\na/1 none\n"
    );
    assert_eq!(
        (&entry["attempt"], &entry["retryCount"]),
        (&json!(5), &json!(3))
    );
    let why = entry["error"].as_str().expect("a reason");
    assert!(
        why.starts_with("both selections failed: a/1: the command exited"),
        "{why}"
    );
    assert!(
        why.contains("; the fallback b/2: the command exited"),
        "{why}"
    );
}

#[test]
fn a_failure_of_another_kind_and_a_fallback_that_changes_nothing_call_for_none() {
    let house = house(&quick());
    let failing = "echo once >> starts; echo no >&2; exit 3";
    ask(&house, "broken", &["--fallback-model", "b/2"], failing);
    let entry = house.ended("broken");
    assert_eq!(
        (&entry["failure"]["kind"], &entry["attempt"]),
        (&json!("command"), &json!(1))
    );
    let denied = "echo once >> again; echo 'Error: 401 invalid x-api-key' >&2; exit 1";
    ask(
        &house,
        "same",
        &["--model", "a/1", "--fallback-model", "a/1"],
        denied,
    );
    let entry = house.ended("same");
    assert_eq!(
        (&entry["failure"]["kind"], &entry["attempt"]),
        (&json!("auth"), &json!(1))
    );
    assert_eq!(
        (house.text("starts").as_str(), house.text("again").as_str()),
        ("once\n", "once\n")
    );
}

#[test]
fn refused_credentials_are_no_retry_but_a_reason_for_the_fallback() {
    let house = patient();
    let script = "cat > /dev/null; echo \"$DISPATCH_AUTH_PROFILE\" >> starts
if [ \"$DISPATCH_AUTH_PROFILE\" = work ]; then echo in; else echo 'Error: 401 invalid x-api-key' >&2; exit 1; fi";
    let flags = ["--auth-profile", "home", "--fallback-auth-profile", "work"];
    ask(&house, "l", &flags, script);
    assert_eq!(house.ended("l")["status"], "done");
    assert_eq!(house.text("starts"), "home\nwork\n");
}

#[test]
fn a_model_that_did_not_answer_in_time_is_a_reason_for_the_fallback_too() {
    for line in ["LLM request timed out.", "API Error: 504 Gateway Timeout"] {
        let house = patient();
        let script = format!(
            "cat > /dev/null
if [ \"$DISPATCH_MODEL\" = good/1 ]; then echo in; else echo '{line}' >&2; exit 1; fi"
        );
        ask(&house, "l", &["--fallback-model", "good/1"], &script);
        let entry = house.ended("l");
        assert_eq!(entry["status"], "done", "{line}: {entry:#}");
        assert_eq!(entry["attempt"], 2, "{line}");
    }
}
