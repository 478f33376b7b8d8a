//! The agent's own signal, given from inside its command.

use serde_json::json;

use crate::outbox::receiver::Receiver;
use crate::outbox::{enqueue_to, house_with, record_in, records};
use crate::support::{House, eventually, kill_hard, program};

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
        "\"$DISPATCH\" done --label s --summary 'All six are green.' {CHECKLIST}; read go < gate; echo goodbye; exit 3"
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
    let result = house
        .dispatch(&["result", "--label", "s", "--full"])
        .exits(0)
        .json();
    assert_eq!(result["lastReply"], "All six are green.");
    assert_eq!(result["lastWords"], "goodbye\n");
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
    let words = [
        "done",
        "--label",
        "s",
        "--generation",
        "7",
        "--checklist",
        checklist,
    ];
    let ran = house.dispatch(&words).exits(1);
    let current = &house.entry("s")["generation"];
    assert_eq!(
        ran.stderr,
        format!(
            "[dispatch] REJECTED: label \"s\" has no generation 7, neither in the ledger nor in the archive; the current one is {current}\n"
        )
    );
    gate.open();
    house.ended("s");
    assert_eq!(house.full_text("s"), "second\n");
}

/// A script that signals done without a summary of its own, waits at the gate, and says more.
fn says_more(house: &House, checklist: &str, words: &str) -> (crate::support::Gate, String) {
    let gate = house.gate("gate");
    let dispatch = program("dispatch").display().to_string();
    let script = format!(
        "'{dispatch}' done --label s --checklist '{checklist}'; {}; {words}",
        gate.pass()
    );
    (gate, script)
}

#[test]
fn an_agent_that_only_says_that_it_is_done_is_heard_out() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let checklist = r#"{"work_complete":true,"tests_passed":true}"#;
    let (gate, script) = says_more(&house, checklist, "echo 'Fixed three bugs.'");
    enqueue_to(&house, "webhook:ops", "s", &[], &script);
    let entry = house.ended("s");
    assert_eq!(entry["status"], "done");
    assert_eq!(entry["summary"], "The work is complete: tests passed.");
    let held = records(&house, "s").remove(0);
    assert_eq!(held["state"], "pending");
    assert!(
        held["nextAt"].is_i64() || held["nextAt"].is_string(),
        "{held}"
    );
    gate.open();
    let told = record_in(&house, "s", "result", "delivered");
    assert_eq!(told["attempts"], 1);
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(
        requests[0].text("text"),
        "🌶️ *dispatch* [s] completed:\n\nFixed three bugs.\n"
    );
    let entry = house.entry("s");
    assert_eq!(entry["summary"], "Fixed three bugs.");
    assert_eq!(house.full_text("s"), "Fixed three bugs.\n");
    assert_eq!(
        entry["completion"]["summary_human"],
        "The work is complete: tests passed."
    );
}

#[test]
fn an_agent_that_says_nothing_more_is_told_in_the_words_of_its_checklist() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let checklist = r#"{"work_complete":true,"docs_updated":true}"#;
    let (gate, script) = says_more(&house, checklist, "echo done; exit 3");
    enqueue_to(&house, "webhook:ops", "s", &[], &script);
    house.ended("s");
    gate.open();
    record_in(&house, "s", "result", "delivered");
    let told = receiver.requests().remove(0).text("text");
    assert_eq!(
        told,
        "🌶️ *dispatch* [s] completed:\n\nThe work is complete: docs updated."
    );
    assert_eq!(house.entry("s")["status"], "done");
}

#[test]
fn what_a_killed_watcher_held_is_told_by_the_next_one_however_the_command_ended() {
    for end in ["", "; exit 3"] {
        let receiver = Receiver::answering(&[]);
        let house = house_with(&receiver);
        let words = format!("echo 'All six.'{end}");
        let (gate, script) = says_more(&house, r#"{"work_complete":true}"#, &words);
        enqueue_to(&house, "webhook:ops", "s", &[], &script);
        house.ended("s");
        kill_hard(house.watcher_pid("s"));
        assert!(receiver.requests().is_empty());
        gate.open();
        house.recover();
        record_in(&house, "s", "result", "delivered");
        let told = receiver.requests().remove(0).text("text");
        assert_eq!(told, "🌶️ *dispatch* [s] completed:\n\nAll six.\n");
    }
}

#[test]
fn a_signal_while_no_watcher_lives_is_delivered_all_the_same() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    let script = format!("{}; echo goodbye", gate.pass());
    enqueue_to(&house, "webhook:ops", "s", &[], &script);
    house.runner_pid("s");
    kill_hard(house.watcher_pid("s"));
    crate::outbox::signal_done(&house, "s", "Told without a watcher.").exits(0);
    record_in(&house, "s", "result", "delivered");
    gate.open();
    eventually("the last words", || {
        house.entry("s")["lastWords"].is_object().then_some(())
    });
    assert_eq!(receiver.requests().len(), 1);
    assert_eq!(
        house.entry("s")["summary"],
        json!("Told without a watcher.")
    );
}
