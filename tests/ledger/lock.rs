//! The ledger's lock as a command meets it.

use std::fs::{self, File};
use std::process::Stdio;

use dispatch::process::FileLock;
use fs2::FileExt;

use super::{COMPLETE, TWO, names_in};
use crate::support::{House, Ran, eventually, finish, run};

fn done_with_patience(house: &House, patience: &str) -> Ran {
    let mut command = house.command("dispatch");
    command.args(["done", "--label", "new", "--checklist", COMPLETE]);
    command.env("DISPATCH_LOCK_TIMEOUT", patience);
    run(command, b"")
}

#[test]
fn a_held_lock_is_waited_for_with_a_line_that_names_the_holder_and_then_given_up() {
    let house = House::new();
    house.write_ledger(TWO);
    let path = house.state().join("labels.json.lock");
    let lock = FileLock::acquire(&path, "a long test", None, &|_| ()).expect("free");
    let ran = done_with_patience(&house, "1");
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let (at, me) = (path.display(), std::process::id());
    assert_eq!(
        lines,
        [
            format!("[dispatch] waiting for the lock {at}: held by a long test (pid {me})"),
            format!(
                "[dispatch] gave up after 1 s: the lock {at} is held by a long test (pid {me}); let it finish, or end that process, then try again"
            ),
        ]
    );
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert_eq!(fs::read_to_string(house.ledger_path()).expect("UTF-8"), TWO);
    drop(lock);
    assert_eq!(
        done_with_patience(&house, "1")
            .exits(0)
            .stderr
            .lines()
            .count(),
        2,
        "two warnings, no waiting"
    );
}

#[test]
fn a_holder_who_did_not_sign_is_another_process() {
    let house = House::new();
    house.write_ledger(TWO);
    let path = house.state().join("labels.json.lock");
    let file = File::create(&path).expect("creatable");
    FileExt::lock_exclusive(&file).expect("free");
    let ran = done_with_patience(&house, "1").exits(1);
    let held = format!("the lock {} is held by another process", path.display());
    assert!(ran.stderr.contains(&held), "{ran:?}");
    assert_eq!(fs::read_to_string(house.ledger_path()).expect("UTF-8"), TWO);
}

#[test]
fn readers_do_not_wait_for_the_lock() {
    let house = House::new();
    house.write_ledger(TWO);
    let path = house.state().join("labels.json.lock");
    let _lock = FileLock::acquire(&path, "a long test", None, &|_| ()).expect("free");
    for words in [
        &["list"][..],
        &["status", "--label", "a"],
        &["result", "--label", "a"],
    ] {
        let ran = house.dispatch(words).exits(0);
        assert!(!ran.stderr.contains("waiting"), "{ran:?}");
    }
}

#[test]
fn a_command_goes_on_as_soon_as_the_lock_is_free_and_the_lock_file_stays() {
    let house = House::new();
    house.write_ledger(TWO);
    let path = house.state().join("labels.json.lock");
    let lock = FileLock::acquire(&path, "a long test", None, &|_| ()).expect("free");
    let errors = house.root().join("stderr");
    let child = house
        .command("dispatch")
        .args(["done", "--label", "new", "--checklist", COMPLETE])
        .stdout(Stdio::piped())
        .stderr(File::create(&errors).expect("creatable"))
        .spawn()
        .expect("the program starts");
    eventually("the command waits", || {
        let said = fs::read_to_string(&errors).ok()?;
        said.contains("waiting for the lock").then_some(())
    });
    drop(lock);
    finish(child).exits(0);
    assert_eq!(house.entry("new")["status"], "done");
    assert!(names_in(&house.state()).contains(&"labels.json.lock".to_owned()));
}

#[test]
fn a_lock_time_out_that_is_no_duration_is_a_warning_for_done_and_refused_elsewhere() {
    let house = House::new();
    let ran = done_with_patience(&house, "soon").exits(0);
    assert!(ran.stderr.contains("DISPATCH_LOCK_TIMEOUT"), "{ran:?}");
    let mut command = house.command("dispatch");
    command.arg("list").env("DISPATCH_LOCK_TIMEOUT", "soon");
    let ran = run(command, b"").exits(2);
    assert!(ran.stderr.contains("DISPATCH_LOCK_TIMEOUT"), "{ran:?}");
}
