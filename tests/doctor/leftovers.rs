//! What killed processes left.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::{findings, heed, is_sound, look, only, repair, sound_house};
use crate::support::House;

const MINUTE: Duration = Duration::from_secs(60);

/// A private file that was written so long ago.
fn old_file(path: &Path, age: Duration) -> PathBuf {
    let file = File::create(path).expect("creatable");
    let private = fs::Permissions::from_mode(0o600);
    file.set_permissions(private).expect("ours");
    file.set_modified(SystemTime::now() - age).expect("ours");
    path.to_owned()
}

/// The number of a process that is gone.
fn dead_pid() -> u32 {
    let mut child = Command::new("true").spawn().expect("on every system");
    child.wait().expect("our own child");
    child.id()
}

fn told_of(house: &House, path: &Path) {
    let told = only(look(house), "leftovers", "warn");
    assert!(told.message.contains(&*path.to_string_lossy()), "{told:#?}");
}

#[test]
fn temporary_files_of_dead_writers_go_and_those_of_the_living_stay() {
    let house = sound_house();
    let (dead, alive) = (dead_pid(), std::process::id());
    let state = house.state();
    let temporary = |dir: &str, name: &str, pid: u32, age: Duration| {
        let path = state.join(dir).join(format!(".{name}.tmp-{pid}-abc"));
        old_file(&path, age)
    };
    let kept = [
        temporary("", "labels.json.bak", dead, 9 * MINUTE),
        temporary("", "labels.json", alive, 11 * MINUTE),
        old_file(&state.join(".labels.json.swp"), 100 * 24 * 60 * MINUTE),
    ];
    is_sound(&house);
    for (dir, name, writer, age) in [
        ("", "labels.json", dead, 11 * MINUTE),
        ("watchers", "a.1.json", dead, 11 * MINUTE),
        ("artifacts/dispatch-completions", "x.txt", dead, 11 * MINUTE),
        ("sessions/runs", "run.json", alive, 25 * 60 * MINUTE),
    ] {
        let stale = temporary(dir, name, writer, age);
        told_of(&house, &stale);
        let acts = repair(&house);
        assert_eq!(acts, [format!("removed: {}", stale.display())]);
        assert!(!stale.exists());
        is_sound(&house);
    }
    assert!(kept.iter().all(|path| path.exists()));
}

#[test]
fn files_of_watchers_that_nobody_knows_go_and_all_others_stay() {
    let house = sound_house();
    // Its first generation is in the archive now.
    house.enqueue("a", "echo again");
    house.ended("a");
    crate::outbox::quiet(&house);
    let watchers = house.state().join("watchers");
    let known = fs::read_dir(&watchers).expect("there").count();
    let held = old_file(&watchers.join("held.6.lock"), MINUTE);
    let holder = File::open(&held).expect("there");
    fs2::FileExt::lock_exclusive(&holder).expect("free");
    is_sound(&house);
    let gone = [
        "gone.5.lock",
        "gone.5.json",
        "gone.5.log",
        "a.5.verify.json",
    ];
    let gone = gone.map(|name| old_file(&watchers.join(name), MINUTE));
    told_of(&house, &gone[0]);
    let told = only(look(&house), "leftovers", "warn");
    assert!(
        told.todo.starts_with("'dispatch doctor --repair'"),
        "{told:#?}"
    );
    assert_eq!(repair(&house).len(), 1);
    assert!(gone.iter().all(|path| !path.exists()));
    is_sound(&house);
    assert_eq!(fs::read_dir(&watchers).expect("there").count(), known + 1);
    drop(holder);
    told_of(&house, &held);
    repair(&house);
    is_sound(&house);
}

#[test]
fn nothing_is_a_leftover_of_a_ledger_that_cannot_be_read_whole() {
    let house = sound_house();
    let mut ledger = fs::read_to_string(house.ledger_path()).expect("UTF-8");
    let end = ledger.rfind('}').expect("an object");
    ledger.truncate(end);
    ledger.push_str(",\"deep\": {\"generation\": 5, \"n\": 1e999}}\n");
    house.write_ledger(&ledger);
    let log = house.state().join("watchers/deep.5.log");
    old_file(&log, MINUTE);
    let told = only(look(&house), "entry", "wrong");
    assert!(told.message.contains("\"deep\""), "{told:#?}");
    house.dispatch(&["doctor", "--repair"]).exits(1);
    assert!(log.exists());
    let other = old_file(&house.state().join("watchers/other.5.log"), MINUTE);
    house.dispatch(&["doctor", "--repair"]).exits(1);
    assert!(!other.exists());
}

#[test]
fn the_advice_for_a_leftover_is_what_removes_it() {
    let house = sound_house();
    let stale = house
        .state()
        .join(format!(".labels.json.tmp-{}-x", dead_pid()));
    old_file(&stale, 11 * MINUTE);
    let mut told = only(look(&house), "leftovers", "warn");
    let command = told.todo.split('\'').nth(1).expect("a command").to_owned();
    told.todo = format!("run: {command}");
    heed(&house, &told);
    is_sound(&house);
}

#[test]
fn a_prompt_of_no_label_is_told_and_nobody_but_its_owner_removes_it() {
    let house = House::new();
    let words = [
        "enqueue",
        "--label",
        "a",
        "--message",
        "a task",
        "--",
        "cat",
    ];
    for _ in 0..2 {
        house.dispatch(&words).exits(0);
        house.ended("a");
        crate::outbox::quiet(&house);
    }
    let day = 24 * 60 * MINUTE;
    let prompts = house.state().join("prompts/a");
    // Those of the ledger and of the archive are as old, and named.
    for prompt in fs::read_dir(&prompts).expect("there").flatten() {
        let file = File::options().append(true).open(prompt.path());
        let file = file.expect("ours");
        file.set_modified(SystemTime::now() - 3 * day)
            .expect("ours");
    }
    old_file(&prompts.join("young.txt"), day / 2);
    is_sound(&house);
    let lost = old_file(&prompts.join("it's lost.txt"), 2 * day);
    let told = only(look(&house), "leftovers", "warn");
    assert!(
        told.message.starts_with("prompts of no label: "),
        "{told:#?}"
    );
    assert_eq!(repair(&house), Vec::<String>::new());
    heed(&house, &told);
    assert!(!lost.exists());
    is_sound(&house);
}

/// Lets all in a directory, and the directory, look so old.
fn age_all(dir: &Path, age: Duration) {
    for path in fs::read_dir(dir).expect("there").flatten() {
        age_file(&path.path(), age);
    }
    age_file(dir, age);
}

fn age_file(path: &Path, age: Duration) {
    let file = File::open(path).expect("readable");
    file.set_modified(SystemTime::now() - age).expect("ours");
}

fn private_dir(dir: &Path) {
    fs::create_dir(dir).expect("creatable");
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).expect("ours");
}

/// Has label `a` done by a command. Returns its run's id.
fn ended_run(house: &House) -> String {
    let words = [
        "enqueue",
        "--label",
        "a",
        "--message",
        "a task",
        "--",
        "cat",
    ];
    let answer = house.dispatch(&words).exits(0).json();
    house.ended("a");
    crate::outbox::quiet(house);
    answer["runId"].as_str().expect("a run").to_owned()
}

/// A run as an `enqueue` leaves it that is killed before its ledger entry: described, with its prompt. Returns both.
fn unanswered_run(house: &House, like: &str, id: &str) -> (PathBuf, PathBuf) {
    let runs = house.state().join("sessions/runs");
    let prompts = house.state().join("prompts/a");
    let text = fs::read_to_string(runs.join(like).join("run.json")).expect("there");
    private_dir(&runs.join(id));
    let described = old_file(&runs.join(id).join("run.json"), MINUTE);
    fs::write(described, text.replace(like, id)).expect("writable");
    let prompt = prompts.join(format!("{id}.txt"));
    fs::copy(prompts.join(format!("{like}.txt")), &prompt).expect("there");
    (runs.join(id), prompt)
}

#[test]
fn a_run_of_no_label_that_was_never_started_goes_with_its_prompt() {
    let day = 24 * 60 * MINUTE;
    let house = House::new();
    let known = ended_run(&house);
    let (dir, prompt) = unanswered_run(&house, &known, "22222222-0000-4000-8000-000000000000");
    // One that was killed earlier still: the run is not described, its prompt is there.
    let early = "33333333-0000-4000-8000-000000000000";
    let empty = house.state().join("sessions/runs").join(early);
    private_dir(&empty);
    let bare = house.state().join("prompts/b");
    private_dir(&bare);
    let early = old_file(&bare.join(format!("{early}.txt")), MINUTE);
    let none = house.state().join("prompts/c");
    private_dir(&none);
    // An enqueue that is at work may have written all of it just now.
    is_sound(&house);
    assert_eq!(repair(&house), Vec::<String>::new());
    for path in [&dir, &empty, &bare, &none, &house.state().join("prompts/a")] {
        age_all(path, 2 * day);
    }
    // The known one is as old, and was started: the run that had the label's place before may have been, too.
    age_all(&house.state().join("sessions/runs").join(&known), 2 * day);
    // Who may have lost a label with its ledger can still see what it was.
    let broken = house.state().join("labels.json.broken-20260101T000000Z");
    let broken = old_file(&broken, MINUTE);
    repair(&house);
    assert!(dir.exists() && prompt.exists());
    fs::remove_file(broken).expect("ours");
    // What is removed from a directory makes it no younger.
    let torn = format!(".run.json.tmp-{}-x", dead_pid());
    old_file(&empty.join(torn), MINUTE);
    age_all(&empty, 2 * day);
    let what = "runs of no label that were never started: ";
    let told = findings(&look(&house));
    let told = told.iter().find(|told| told.message.starts_with(what));
    let told = &told.expect("they are told of").message;
    for dir in [&dir, &empty] {
        assert!(told.contains(&*dir.to_string_lossy()), "{told}");
    }
    let acts = repair(&house);
    assert!(
        acts.len() == 1 && acts[0].contains(&*prompt.to_string_lossy()),
        "{acts:?}"
    );
    is_sound(&house);
    for gone in [&dir, &empty, &prompt, &early, &bare, &none] {
        assert!(!gone.exists(), "{}", gone.display());
    }
    house.dispatch(&["result", "--label", "a"]).exits(0);
    house.dispatch(&["retry", "--label", "a"]).exits(0);
    house.ended("a");
}

#[test]
fn a_run_that_an_entry_names_stays_though_it_was_never_started() {
    let house = House::new();
    let known = ended_run(&house);
    let run = house.state().join("sessions/runs").join(&known);
    for path in fs::read_dir(&run).expect("there").flatten() {
        if path.file_name() != "run.json" {
            fs::remove_file(path.path()).expect("ours");
        }
    }
    age_all(&run, 48 * 60 * MINUTE);
    repair(&house);
    assert!(run.join("run.json").exists());
}
