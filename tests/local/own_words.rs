//! What a session says about itself, and what a lost ledger forgot.

use std::fs;

use crate::support::{House, program};

#[test]
fn a_session_that_notes_and_signals_keeps_its_reply_to_itself() {
    let house = House::new();
    let dispatch = program("dispatch").display().to_string();
    let script = format!(
        "'{dispatch}' note --label w 'half way'; '{dispatch}' done --label w --summary 'All done' --checklist '{{\"work_complete\":true}}'; echo the reply"
    );
    house.enqueue("w", &script);
    let entry = house.ended("w");
    assert_eq!(entry["summary"], "All done");
    let words = crate::support::eventually("the last words are kept", || {
        let entry = house.entry("w");
        entry["lastWords"]["path"].as_str().map(str::to_owned)
    });
    assert_eq!(
        fs::read_to_string(words).expect("it is there"),
        "the reply\n"
    );
}

#[test]
fn a_relative_state_directory_means_the_same_to_every_program() {
    let house = House::new();
    let mut command = house.command("dispatch");
    command
        .env("DISPATCH_HOME", "relative/state")
        .args(["enqueue", "--label", "w", "--wait", "--", "echo", "hi"]);
    let ran = crate::support::run(command, b"").exits(0).json();
    assert_eq!(ran["lastReply"], "hi\n");
    assert!(house.root().join("relative/state/labels.json").is_file());
}

#[test]
fn runs_that_a_lost_ledger_forgot_are_found_and_taken_up_again() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("ended", "echo one");
    house.ended("ended");
    house.enqueue("running", "read -r go < gate; echo two");
    crate::support::eventually("the command is started", || {
        let runs = fs::read_dir(house.state().join("sessions/runs")).ok()?;
        let started = runs
            .flatten()
            .filter(|run| run.path().join("started.json").exists());
        (started.count() == 2).then_some(())
    });
    // Not in the middle of a watcher's change, which would bring the ledger back.
    let lock = fs::File::open(house.state().join("labels.json.lock")).expect("it is there");
    fs2::FileExt::lock_exclusive(&lock).expect("lockable");
    fs::remove_file(house.ledger_path()).expect("removable");
    fs::remove_file(house.state().join("labels.json.bak")).expect("removable");
    drop(lock);
    let ran = house.dispatch(&["doctor"]).exits(1);
    assert!(
        ran.stdout
            .contains("2 on disk are not in the ledger (ended, running)"),
        "{ran:?}"
    );
    house.dispatch(&["doctor", "--repair"]).exits(0);
    gate.open();
    for (label, text) in [("ended", "one\n"), ("running", "two\n")] {
        assert_eq!(house.ended(label)["status"], "done");
        let result = house
            .dispatch(&["result", "--label", label])
            .exits(0)
            .json();
        assert_eq!(result["lastReply"], text);
    }
}

#[test]
fn a_receiver_that_nobody_configured_is_refused_before_the_work_begins() {
    let house = House::new();
    house.write_config(r#"{"webhooks": {"ops": {"url": "http://127.0.0.1:9/"}}}"#);
    let words = [
        "enqueue",
        "--label",
        "w",
        "--deliver-to",
        "webhook:opps",
        "--",
        "true",
    ];
    let ran = house.dispatch(&words).exits(2);
    assert!(
        ran.stderr
            .contains("names no \"opps\" under \"webhooks\"; did you mean ops?"),
        "{ran:?}"
    );
    assert!(!house.ledger_path().exists());
}
