//! `doctor`: each thing that can be wrong is made wrong for real, is told, and is gone once its own advice was taken.

mod deliveries;
mod disk;
mod files;
mod leftovers;
mod owners;
mod processes;
mod surroundings;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::outbox::quiet;
use crate::support::{House, Ran, program, run};

/// What doctor says of one thing that is not fine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub name: String,
    pub state: String,
    pub message: String,
    pub todo: String,
}

/// A house in which one label has run and everything is as it should be.
fn sound_house() -> House {
    let house = House::new();
    house.enqueue("a", "echo hi");
    house.ended("a");
    quiet(&house);
    house
}

fn findings(ran: &Ran) -> Vec<Told> {
    let answer = ran.json();
    let checks = answer["checks"].as_array().expect("a list").clone();
    let text = |check: &Value, field: &str| check[field].as_str().unwrap_or_default().to_owned();
    let all = checks.iter().map(|check| Told {
        name: text(check, "name"),
        state: text(check, "state"),
        message: text(check, "message"),
        todo: text(check, "todo"),
    });
    all.collect()
}

/// What doctor finds that is not fine, beside this exit code.
#[track_caller]
fn troubles(ran: Ran, code: i32) -> Vec<Told> {
    let mut found = findings(&ran.exits(code));
    found.retain(|told| told.state != "ok");
    found
}

/// The only thing that is not fine.
#[track_caller]
fn only(ran: Ran, name: &str, state: &str) -> Told {
    let code = i32::from(state == "wrong");
    let found = troubles(ran, code);
    assert_eq!(found.len(), 1, "{found:#?}");
    let told = found.into_iter().next().expect("one");
    assert_eq!(
        (told.name.as_str(), told.state.as_str()),
        (name, state),
        "{told:#?}"
    );
    told
}

#[track_caller]
fn is_sound(house: &House) {
    let found = troubles(house.dispatch(&["doctor"]), 0);
    assert_eq!(found, [], "not sound");
}

/// Looking leaves the state directory as it is.
#[track_caller]
fn look(house: &House) -> Ran {
    let before = house.state_files();
    let ran = house.dispatch(&["doctor"]);
    assert!(house.state_files() == before, "doctor changed something");
    ran
}

/// A repair mends something, and another one finds nothing to mend.
#[track_caller]
fn repair(house: &House) -> Vec<String> {
    let acts = |ran: Ran| {
        let mut acts = findings(&ran.exits(0));
        acts.retain(|told| told.state == "mended");
        acts.into_iter().map(|told| told.message).collect()
    };
    let done: Vec<String> = acts(house.dispatch(&["doctor", "--repair"]));
    let again: Vec<String> = acts(house.dispatch(&["doctor", "--repair"]));
    assert_eq!(again, Vec::<String>::new(), "twice");
    done
}

/// Puts a program in place that the house's programs find before those of the system.
fn fake_program(house: &House, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let dir = house.path("bin");
    fs::create_dir_all(&dir).expect("creatable");
    let path = dir.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
}

/// `dispatch` with these words, and the fake programs.
fn dispatch(house: &House, words: &[&str]) -> Ran {
    let mut command = house.command("dispatch");
    command.args(words).env("PATH", path_of(house));
    run(command, b"")
}

/// PATH with the fake programs, the project's and the system's.
fn path_of(house: &House) -> String {
    let programs = program("dispatch");
    let programs = programs.parent().unwrap_or(Path::new("/"));
    let system = std::env::var("PATH").unwrap_or_default();
    format!(
        "{}:{}:{system}",
        house.path("bin").display(),
        programs.display()
    )
}

/// Does in a shell what was advised behind the last `: `.
#[track_caller]
fn heed(house: &House, told: &Told) {
    let (_, advice) = told
        .todo
        .rsplit_once(": ")
        .unwrap_or_else(|| panic!("{told:#?}"));
    let mut shell = Command::new("sh");
    shell.args(["-c", advice]).env_clear();
    for (name, value) in house.command("dispatch").get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    // Whoever may do everything has no need of it, and it is not on every system.
    fake_program(house, "sudo", "exec \"$@\"");
    shell.env("PATH", path_of(house)).current_dir(house.root());
    run(shell, b"").exits(0);
}

#[test]
fn everything_that_is_fine_is_told_to_those_who_ask() {
    let house = sound_house();
    let ran = look(&house).exits(0);
    let found = findings(&ran);
    let names: Vec<&str> = found.iter().map(|told| told.name.as_str()).collect();
    let expected = [
        "ledger",
        "backup",
        "watchers",
        "runs",
        "delivery",
        "timers",
        "limits",
        "clock",
        "leftovers",
        "disk",
        "locks",
        "permissions",
        "events",
    ];
    assert_eq!(names, expected);
    assert!(found.iter().all(|told| told.state == "ok"), "{found:#?}");
    let table = |words: &[&str]| house.dispatch(words).exits(0).stdout;
    assert_eq!(
        table(&["doctor", "--output", "table"]),
        format!("ok     {} (--verbose tells more)\n", expected.join(", "))
    );
    let verbose = table(&["doctor", "--verbose", "--output", "table"]);
    for told in &found {
        let line = format!("ok     {}: {}\n", told.name, told.message);
        assert!(verbose.contains(&line), "{line} in {verbose}");
    }
    assert_eq!(repair(&house), Vec::<String>::new());
}
