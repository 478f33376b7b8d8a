//! Watchers, runners and commands that are dead, stand still, or go on for nobody.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{findings, heed, is_sound, look, only, path_of, repair, troubles};
use crate::concurrency::recovery::{
    MINUTE_MS, age_heartbeat, now_ms, stopped_watcher, told_seconds,
};
use crate::outbox::quiet;
use crate::support::{House, kill, kill_hard, program, run};

/// What nobody has a timer for is told of anything that runs; not so here.
fn scanned(house: &House) {
    house.recover();
    house.run("stuck-detector", &["--quiet"]).exits(0);
}

#[test]
fn a_running_label_without_a_watcher_is_told_and_gets_one() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo hi", gate.pass()));
    house.runner_pid("w");
    scanned(&house);
    is_sound(&house);
    kill_hard(house.watcher_pid("w"));
    // Its runner works on: what looking changes cannot be told from that.
    let told = only(house.dispatch(&["doctor"]), "watcher", "wrong");
    let said = "label \"w\" is running and its watcher is dead; ";
    assert!(told.message.starts_with(said), "{told:#?}");
    let ran = house.dispatch(&["doctor", "--repair"]).exits(0);
    let acts = findings(&ran)
        .into_iter()
        .filter(|told| told.state == "mended");
    let acts: Vec<String> = acts.map(|told| told.message).collect();
    assert_eq!(acts, ["started watchers for: w"]);
    house.watcher_pid("w");
    assert_eq!(repair(&house), Vec::<String>::new());
    kill_hard(house.watcher_pid("w"));
    heed(
        &house,
        &only(house.dispatch(&["doctor"]), "watcher", "wrong"),
    );
    house.watcher_pid("w");
    is_sound(&house);
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_watcher_that_does_not_stir_is_told_and_the_advice_replaces_it() {
    let house = House::new();
    let gate = house.gate("gate");
    let watcher = stopped_watcher(&house, &format!("{}; echo hi", gate.pass()));
    scanned(&house);
    is_sound(&house);
    age_heartbeat(&house, "w", 4 * MINUTE_MS, |_| {});
    let told = only(look(&house), "watcher", "wrong");
    let seconds = told_seconds(&told.message, 4 * MINUTE_MS);
    let said = format!(
        "label \"w\": its watcher (pid {watcher}) holds its post and has not stirred for {seconds} s"
    );
    assert!(told.message.starts_with(&said), "{told:#?}");
    heed(&house, &told);
    assert_ne!(house.watcher_pid("w"), watcher);
    is_sound(&house);
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_run_that_nobody_carries_is_told_until_its_watcher_stirs_again() {
    let house = House::new();
    let gate = house.gate("gate");
    let watcher = stopped_watcher(&house, &format!("{}; echo hi", gate.pass()));
    scanned(&house);
    house.waiter_pid("w");
    kill_hard(house.runner_pid("w"));
    let told = only(look(&house), "runs", "warn");
    assert!(
        told.message
            .starts_with("label \"w\": nobody carries its run"),
        "{told:#?}"
    );
    kill(watcher, "CONT");
    house.runner_pid("w");
    is_sound(&house);
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_run_whose_description_is_no_use_is_told() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo hi", gate.pass()));
    house.watcher_pid("w");
    house.waiter_pid("w");
    scanned(&house);
    let path = house.run_dir("w").join("run.json");
    let whole = fs::read(&path).expect("there");
    fs::write(&path, &whole[..whole.len() / 2]).expect("writable");
    let told = only(look(&house), "runs", "wrong");
    let start = format!(
        "label \"w\": the description of its run cannot be read: {} is damaged: EOF while parsing ",
        path.display()
    );
    assert!(told.message.starts_with(&start), "{told:#?}");
    assert_eq!(
        told.todo,
        "put it back from a backup, or end the label: dispatch cancel --label w"
    );
    fs::write(&path, whole).expect("writable");
    is_sound(&house);
    gate.open();
    house.ended("w");
}

#[test]
fn a_command_that_goes_on_after_its_labels_end_is_told_with_how_to_stop_it() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo hi", gate.pass()));
    let waiter = house.waiter_pid("w");
    kill_hard(house.watcher_pid("w"));
    let ended = |age_ms: i64| {
        house.change_ledger(|ledger| {
            ledger["w"]["status"] = json!("error");
            ledger["w"]["endedAt"] = json!(now_ms() - age_ms);
        });
    };
    // For a while a run is followed after its label's end.
    ended(14 * MINUTE_MS);
    is_sound(&house);
    ended(125 * MINUTE_MS);
    let told = only(look(&house), "runs", "warn");
    assert!(
        told.message.contains(&format!("process group {waiter}")),
        "{told:#?}"
    );
    assert!(told.message.contains("ended 2h 5m ago"), "{told:#?}");
    assert_eq!(
        repair(&house),
        Vec::<String>::new(),
        "nobody's work is stopped unasked"
    );
    heed(&house, &told);
    quiet(&house);
    is_sound(&house);
}

#[test]
fn a_watcher_of_another_version_is_told_and_hands_over() {
    let house = House::new();
    let gate = house.gate("gate");
    let bin = house.path("bin");
    fs::create_dir_all(&bin).expect("creatable");
    for name in ["dispatch", "watcher", "529-recovery"] {
        fs::copy(program(name), bin.join(name)).expect("copyable");
    }
    let dispatch = |words: &[&str]| {
        let mut command = Command::new(bin.join("dispatch"));
        command.env_clear().args(words).current_dir(house.root());
        for (name, value) in house.command("dispatch").get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        command.env("PATH", path_of(&house));
        run(command, b"")
    };
    let script = format!("{}; echo hi", gate.pass());
    dispatch(&["enqueue", "--label", "w", "--", "sh", "-c", &script]).exits(0);
    let old = house.watcher_pid("w");
    house.runner_pid("w");
    scanned(&house);
    assert_eq!(troubles(dispatch(&["doctor"]), 0), []);
    // As an installer does it: the new file under another name, and then in the old one's place.
    fs::copy(program("watcher"), bin.join("new")).expect("copyable");
    fs::rename(bin.join("new"), bin.join("watcher")).expect("replaceable");
    let told = only(dispatch(&["doctor"]), "watcher", "warn");
    assert!(
        told.message
            .starts_with("1 of the watchers run another version"),
        "{told:#?}"
    );
    assert!(told.message.contains("(w)"), "{told:#?}");
    heed(&house, &told);
    assert_ne!(house.watcher_pid("w"), old);
    assert_eq!(troubles(dispatch(&["doctor"]), 0), []);
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_watcher_for_whom_the_system_has_no_file_events_is_told_with_the_limit_to_raise() {
    let house = House::new();
    let gate = house.gate("gate");
    let watcher = stopped_watcher(&house, &format!("{}; echo hi", gate.pass()));
    scanned(&house);
    is_sound(&house);
    age_heartbeat(&house, "w", 0, |beat| beat["polls"] = Value::from(true));
    let told = only(look(&house), "limits", "warn");
    assert!(
        told.message
            .contains("no file events left for 1 of the watchers (w)"),
        "{told:#?}"
    );
    assert!(
        told.todo
            .contains("sysctl -w fs.inotify.max_user_instances="),
        "{told:#?}"
    );
    age_heartbeat(&house, "w", 0, |beat| beat["polls"] = Value::from(false));
    is_sound(&house);
    kill(watcher, "CONT");
    gate.open();
    house.ended("w");
}
