//! The agent's own signal, given from inside its command.

use crate::support::{House, eventually, program};

const CHECKLIST: &str = r#"--checklist '{"work_complete":true,"tests_passed":true}'"#;

#[test]
fn a_signal_ends_the_label_at_once_and_the_last_words_are_filed() {
    let house = House::new();
    let gate = house.gate("gate");
    let dispatch = format!("DISPATCH={}", program("dispatch").display());
    let script = format!(
        "echo working; \"$DISPATCH\" done --label \"$DISPATCH_LABEL\" --generation \"$DISPATCH_GENERATION\" \
         --summary 'The parser is fixed.' {CHECKLIST} > answer 2> complaints; echo $? > code; read go < gate; echo goodbye"
    );
    let words = [
        "enqueue", "--label", "s", "--env", &dispatch, "--", "sh", "-c", &script,
    ];
    house.dispatch(&words).exits(0);
    let entry = house.ended("s");
    house.wrote("code", "0");
    assert_eq!(entry["status"], "done");
    assert_eq!(entry["summary"], "The parser is fixed.");
    assert_eq!(entry["completion"]["checklist"]["tests_passed"], true);
    assert_eq!(entry["completion"]["unfenced"], false);
    // The command still runs, and its end changes nothing but the filed words.
    house.runner_pid("s");
    gate.open();
    eventually("the last words", || {
        house.entry("s")["lastWords"].is_object().then_some(())
    });
    let result = house
        .dispatch(&["result", "--label", "s", "--full"])
        .exits(0)
        .json();
    assert_eq!(result["lastReply"], "The parser is fixed.");
    assert_eq!(result["lastWords"], "working\ngoodbye\n");
    assert_eq!(result["status"], "done");
    assert_eq!(house.artifact("s"), b"The parser is fixed.");
}

#[test]
fn a_signal_stands_even_when_the_command_fails_afterwards() {
    let house = House::new();
    let gate = house.gate("gate");
    let dispatch = format!("DISPATCH={}", program("dispatch").display());
    let script = format!(
        "\"$DISPATCH\" done --label s --summary 'All six are green.' {CHECKLIST}; read go < gate; exit 3"
    );
    let words = [
        "enqueue", "--label", "s", "--env", &dispatch, "--", "sh", "-c", &script,
    ];
    house.dispatch(&words).exits(0);
    assert_eq!(house.ended("s")["status"], "done");
    gate.open();
    eventually("everything leaves", || {
        house.processes().is_empty().then_some(())
    });
    assert_eq!(house.entry("s")["status"], "done");
    assert_eq!(house.full_text("s"), "All six are green.");
}

#[test]
fn a_signal_of_an_older_generation_changes_nothing() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("s", "echo first");
    let old = house.ended("s")["generation"].to_string();
    house.enqueue("s", "read go < gate; echo second");
    let checklist = r#"{"work_complete":true}"#;
    let words = [
        "done",
        "--label",
        "s",
        "--generation",
        &old,
        "--summary",
        "late",
        "--checklist",
        checklist,
    ];
    let ran = house.dispatch(&words).exits(1);
    assert!(
        ran.stderr.contains("REJECTED:") && ran.stderr.contains("is over"),
        "{ran:?}"
    );
    assert_eq!(house.entry("s")["status"], "running");
    gate.open();
    house.ended("s");
    assert_eq!(house.full_text("s"), "second\n");
}
