//! What `done` turns away, and what it does a second time.

use std::fs;

use rstest::rstest;
use serde_json::{Value, json};

use super::{COMPLETE, done, files_below};
use crate::support::{House, program, run};

/// A ledger with one entry, `work`, of generation 7.
fn house_with(entry: Value) -> House {
    let house = House::new();
    house.write_ledger(serde_json::to_vec_pretty(&json!({"work": entry})).expect("serialisable"));
    house
}

/// Without a target: nothing is owed, so that no watcher starts and writes too.
fn running() -> Value {
    json!({"generation": 7, "rev": 2, "status": "running"})
}

#[rstest]
#[case::missing(
    None,
    "--checklist is required; give --checklist '{\"work_complete\":true}'"
)]
#[case::not_json(
    Some("yes"),
    "--checklist must be valid JSON: expected value at line 1 column 1"
)]
#[case::cut(
    Some("{\"work_complete\":tr"),
    "--checklist must be valid JSON: EOF while parsing a value at line 1 column 19"
)]
#[case::array(
    Some("[true]"),
    "--checklist must be a JSON object such as {\"work_complete\":true}"
)]
#[case::not_said(Some("{}"), "checklist.work_complete must be true")]
#[case::not_complete(
    Some("{\"work_complete\":false}"),
    "checklist.work_complete must be true"
)]
#[case::text(
    Some("{\"work_complete\":\"true\"}"),
    "checklist.work_complete must be true"
)]
#[case::tests(
    Some("{\"work_complete\":true,\"tests_passed\":false}"),
    "checklist.tests_passed is false"
)]
#[case::pushed(
    Some("{\"work_complete\":true,\"pushed\":false}"),
    "checklist.pushed is false"
)]
fn a_checklist_that_does_not_say_so_is_rejected_and_nothing_is_written(
    #[case] checklist: Option<&str>,
    #[case] why: &str,
) {
    let house = house_with(running());
    let before = files_below(house.root());
    let mut words = vec!["done", "--label", "work", "--summary", "all of it"];
    words.extend(
        checklist
            .map(|text| ["--checklist", text])
            .into_iter()
            .flatten(),
    );
    let ran = house.dispatch(&words);
    assert_eq!(ran.stderr, format!("[dispatch] REJECTED: {why}\n"));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(
        files_below(house.root()) == before,
        "{:?}",
        files_below(house.root()).keys()
    );
}

#[rstest]
#[case::older("6")]
#[case::newer("8")]
fn a_signal_of_another_generation_is_rejected_and_nothing_is_written(#[case] generation: &str) {
    let house = house_with(running());
    let before = files_below(house.root());
    let words = ["done", "--label", "work", "--checklist", COMPLETE];
    let mut by_flag = house.command("dispatch");
    by_flag.args(words).args(["--generation", generation]);
    let mut by_variable = house.command("dispatch");
    by_variable
        .args(words)
        .env("DISPATCH_GENERATION", generation);
    for command in [by_flag, by_variable] {
        let ran = run(command, b"").exits(1);
        assert_eq!(
            ran.stderr,
            format!(
                "[dispatch] REJECTED: generation {generation} of label \"work\" is over; the current one is 7\n"
            )
        );
        let mut after = files_below(house.root());
        after.remove(&house.state().join("labels.json.lock"));
        assert!(after == before, "{:?}", after.keys());
    }
}

#[test]
fn the_current_generation_is_taken_and_one_that_names_none_is_recorded_as_unfenced() {
    for (flag, unfenced) in [(Some("7"), false), (None, true)] {
        let house = house_with(running());
        let mut command = house.command("dispatch");
        command.args(["done", "--label", "work", "--checklist", COMPLETE]);
        command.args(flag.map(|n| ["--generation", n]).into_iter().flatten());
        // An empty variable counts as unset.
        command.env("DISPATCH_GENERATION", "");
        run(command, b"").exits(0);
        let entry = house.entry("work");
        assert_eq!(
            (&entry["status"], &entry["rev"]),
            (&json!("done"), &json!(3))
        );
        assert_eq!(entry["completion"]["unfenced"], unfenced);
    }
}

#[test]
fn a_signal_of_a_running_label_owes_its_result_to_the_target() {
    let house = house_with(json!({
        "generation": 7, "status": "running", "deliverTo": "5", "deliverChannel": "telegram",
    }));
    done(&house, "work").exits(0);
    let owed = &house.entry("work")["deliveries"][0];
    assert_eq!(owed["key"], "work/7/1/result/telegram:5");
    assert_eq!(owed["kind"], "result");
}

#[test]
fn a_second_signal_changes_nothing() {
    let house = house_with(running());
    house
        .dispatch(&[
            "done",
            "--label",
            "work",
            "--checklist",
            COMPLETE,
            "--summary",
            "first",
        ])
        .exits(0);
    let before = files_below(&house.state());
    let again = house
        .dispatch(&[
            "done",
            "--label",
            "work",
            "--checklist",
            COMPLETE,
            "--summary",
            "second",
        ])
        .exits(0)
        .json();
    assert_eq!(again["message"], "Label was done already; nothing changed.");
    assert_eq!(again["summary"], "first");
    assert!(
        files_below(&house.state()) == before,
        "{:?}",
        files_below(&house.state()).keys()
    );
}

#[rstest]
#[case::error("error")]
#[case::interrupted("interrupted")]
fn a_completion_after_a_failure_becomes_done_and_owes_a_correction(#[case] status: &str) {
    let house = house_with(json!({
        "generation": 7, "rev": 2, "status": status, "error": "the session is gone",
        "failure": {"kind": "gone", "message": "the session is gone"},
        "deliverTo": "5", "deliverChannel": "telegram",
    }));
    done(&house, "work").exits(0);
    let entry = house.entry("work");
    assert_eq!(
        (&entry["status"], &entry["error"]),
        (&json!("done"), &Value::Null)
    );
    assert_eq!(entry["deliveries"][0]["kind"], "correction");
    assert_eq!(
        entry["deliveries"][0]["key"],
        "work/7/1/correction/telegram:5"
    );
    assert!(entry.get("failure").is_none());
}

#[test]
fn without_a_target_nothing_is_owed() {
    let house = house_with(json!({"generation": 7, "status": "error"}));
    done(&house, "work").exits(0);
    assert!(house.entry("work").get("deliveries").is_none());
}

#[test]
fn cancelled_stays_cancelled() {
    let house = house_with(json!({"generation": 7, "rev": 2, "status": "cancelled"}));
    let before = fs::read(house.ledger_path()).expect("readable");
    let ran = done(&house, "work").exits(1);
    assert_eq!(
        ran.stderr,
        "[dispatch] REJECTED: label \"work\" was cancelled\n"
    );
    assert_eq!(fs::read(house.ledger_path()).expect("readable"), before);
    assert!(!house.state().join("artifacts").exists());
}

#[test]
fn a_label_that_nobody_enqueued_is_registered_as_done_and_owed_to_the_configured_target() {
    let house = House::new();
    fs::create_dir_all(house.state()).expect("creatable");
    fs::write(
        house.state().join("config.json"),
        r#"{"deliverTo": "-100"}"#,
    )
    .expect("writable");
    let answer = done(&house, "unheard of").exits(0);
    assert!(
        answer
            .stderr
            .contains("no session found for label \"unheard of\" -- registering as done")
    );
    assert_eq!(
        answer.json()["message"],
        "Label not previously registered; marked done."
    );
    let entry = house.entry("unheard of");
    assert_eq!(entry["status"], "done");
    assert_eq!(entry["deliveries"][0]["target"], "telegram:-100");
}

#[test]
fn a_command_signals_its_own_completion_and_is_fenced_by_its_environment() {
    let house = House::new();
    let signal = format!(
        "'{}' done --label work --summary 'all of it' --checklist '{COMPLETE}'",
        program("dispatch").display()
    );
    house.enqueue("work", &signal);
    let entry = house.ended("work");
    assert_eq!(entry["status"], "done");
    assert_eq!(entry["summary"], "all of it");
    assert_eq!(entry["completion"]["unfenced"], false);
}

#[test]
fn a_generation_that_is_no_number_is_a_usage_error() {
    let house = house_with(running());
    let mut command = house.command("dispatch");
    command.args(["done", "--label", "work", "--checklist", COMPLETE]);
    command.env("DISPATCH_GENERATION", "latest");
    let ran = run(command, b"").exits(2);
    assert_eq!(
        ran.stderr,
        "[dispatch] DISPATCH_GENERATION must be a number, not \"latest\"\n"
    );
}
