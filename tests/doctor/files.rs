//! Modes, owners, links and pipes in the state directory; the backup.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{dispatch, heed, is_sound, look, only, repair, sound_house, troubles};
use crate::outbox::{quiet, signal_done};
use crate::support::{House, finish_soon};

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
}

fn a_run(house: &House) -> PathBuf {
    house.run_dir("a").join("stdout")
}

#[test]
fn what_others_may_read_is_told_and_closed_by_hand_or_by_a_repair() {
    let house = sound_house();
    house.write_config(r#"{"webhooks": {"w": {"url": "https://example.org", "secret": "s"}}}"#);
    let state = house.state();
    let config = state.join("config.json");
    set_mode(&config, 0o600);
    let open = [
        (house.ledger_path(), 0o644, 0o600),
        (a_run(&house), 0o640, 0o600),
        (state.join("watchers"), 0o755, 0o700),
        (state.join("artifacts/dispatch-completions"), 0o701, 0o700),
        (state.join("labels.json.lock"), 0o666, 0o600),
        (config, 0o604, 0o600),
    ];
    is_sound(&house);
    for (path, mode, wanted) in &open {
        set_mode(path, *mode);
        let told = only(look(&house), "permissions", "wrong");
        let start = format!("{} is open to others (mode {mode:o})", path.display());
        assert!(told.message.starts_with(&start), "{told:#?}");
        heed(&house, &told);
        assert_eq!(mode_of(path), *wanted, "{}", path.display());
        is_sound(&house);
    }
    for (path, mode, _) in &open[..5] {
        set_mode(path, *mode);
    }
    set_mode(&state.join("sessions"), 0o777);
    assert_eq!(troubles(look(&house), 1).len(), 6);
    let acts = repair(&house);
    assert_eq!(acts.len(), 1, "{acts:?}");
    assert!(acts[0].starts_with("closed to others: "), "{acts:?}");
    assert!(acts[0].ends_with(" and 1 more"), "{acts:?}");
    is_sound(&house);
    assert_eq!(mode_of(&state.join("sessions")), 0o700);
}

#[test]
fn a_state_directory_that_others_can_write_to_is_wrong_and_one_they_can_read_a_warning() {
    let house = sound_house();
    for (mode, state) in [(0o755, "warn"), (0o770, "wrong"), (0o702, "wrong")] {
        set_mode(&house.state(), mode);
        let told = only(look(&house), "permissions", state);
        assert!(told.message.contains("the state directory"), "{told:#?}");
        heed(&house, &told);
        is_sound(&house);
    }
    set_mode(&house.state(), 0o755);
    assert_eq!(repair(&house).len(), 1);
    is_sound(&house);
    // One that holds what is not ours is somebody's own business.
    fs::write(house.state().join("notes.txt"), "mine").expect("writable");
    set_mode(&house.state(), 0o755);
    assert_eq!(repair(&house), Vec::<String>::new());
    assert_eq!(mode_of(&house.state()), 0o755);
}

#[test]
fn lines_of_the_archive_that_cannot_be_read_are_told() {
    let house = sound_house();
    house.enqueue("a", "echo again");
    house.ended("a");
    quiet(&house);
    let archive = house.state().join("archive.jsonl");
    let whole = fs::read(&archive).expect("there");
    is_sound(&house);
    // A writer that was killed begins anew.
    let killed = [b"\n", &whole[1..20], &whole[..]].concat();
    fs::write(&archive, killed).expect("writable");
    is_sound(&house);
    fs::write(&archive, [&whole[..], b"garbage\n\n\0\0\0\n{}\n"].concat()).expect("writable");
    let told = only(look(&house), "archive", "warn");
    let what = format!(
        "3 lines of {} cannot be read, the first of them line 3: what they held is not found by 'result --generation' and 'list --archived'",
        archive.display()
    );
    assert!(told.message.starts_with(&what), "{told:#?}");
    assert_eq!(
        told.todo,
        format!(
            "mend them by hand, or take them out; to see the first: sed -n 3p {} | cat -v",
            archive.display()
        )
    );
    fs::write(&archive, whole).expect("writable");
    is_sound(&house);
}

#[test]
fn what_lies_beside_our_files_is_nobodys_to_judge() {
    let house = sound_house();
    let dir = house.state().join("scripts");
    fs::create_dir(&dir).expect("creatable");
    fs::write(dir.join("run.sh"), "").expect("writable");
    symlink("/etc/passwd", house.state().join("link")).expect("creatable");
    is_sound(&house);
}

#[test]
fn a_file_of_somebody_else_is_told_with_how_to_take_it() {
    let house = sound_house();
    let file = a_run(&house);
    if chown(&file, Some(12_345), None).is_err() {
        println!("skipped: only root gives files away");
        return;
    }
    let told = only(look(&house), "permissions", "wrong");
    let start = format!(
        "{} belongs to user 12345, and you are user 0",
        file.display()
    );
    assert!(told.message.starts_with(&start), "{told:#?}");
    let acts = repaired_with_code(&house, 1);
    assert_eq!(
        acts,
        Vec::<String>::new(),
        "no repair takes what is not ours"
    );
    heed(&house, &told);
    is_sound(&house);
    chown(house.state(), Some(12_345), None).expect("as before");
    let told = only(look(&house), "permissions", "wrong");
    assert!(
        told.todo.starts_with("run dispatch as that user"),
        "{told:#?}"
    );
    heed(&house, &told);
    is_sound(&house);
}

#[test]
fn many_files_of_somebody_else_are_taken_at_once() {
    let house = sound_house();
    let all: Vec<PathBuf> = house.state_files().into_keys().collect();
    for path in &all {
        if chown(path, Some(12_345), Some(12_345)).is_err() {
            println!("skipped: only root gives files away");
            return;
        }
    }
    let told = only(look(&house), "permissions", "wrong");
    let state = house.state().display().to_string();
    assert_eq!(told.todo, format!("run: sudo chown -R 0:0 {state}"));
    // What lies beside is not taken.
    fs::write(house.state().join("notes.txt"), "theirs").expect("writable");
    let told = only(look(&house), "permissions", "wrong");
    let start = format!("run: sudo chown -R 0:0 {state}/archive.jsonl {state}/artifacts ");
    let start = start.replace(&format!("{state}/archive.jsonl "), "");
    assert!(told.todo.starts_with(&start), "{told:#?}");
    assert!(!told.todo.contains("notes.txt"), "{told:#?}");
    heed(&house, &told);
    is_sound(&house);
}

#[test]
fn a_planted_link_is_told_and_neither_followed_nor_taken_away() {
    let house = sound_house();
    let secret = house.path("secret");
    fs::write(&secret, "mine").expect("writable");
    set_mode(&secret, 0o644);
    for place in ["watchers/b.7.lock", "events.log", "sessions/runs/x"] {
        let link = house.state().join(place);
        symlink(&secret, &link).expect("creatable");
        let told = only(look(&house), "stranger", "wrong");
        let said = format!(
            "{} is a symbolic link to {}",
            link.display(),
            secret.display()
        );
        assert!(told.message.starts_with(&said), "{told:#?}");
        assert_eq!(repaired_with_code(&house, 1), Vec::<String>::new());
        assert!(fs::symlink_metadata(&link).is_ok_and(|facts| facts.is_symlink()));
        heed(&house, &told);
        is_sound(&house);
    }
    assert_eq!(
        (mode_of(&secret), fs::read(&secret).expect("there")),
        (0o644, b"mine".to_vec())
    );
}

#[test]
fn a_linked_directory_is_told_with_where_its_files_go() {
    for name in [
        "watchers",
        "prompts",
        "sessions",
        "artifacts",
        "artifacts/dispatch-completions",
    ] {
        let house = sound_house();
        let dir = house.state().join(name);
        let elsewhere = house.path("elsewhere");
        match fs::rename(&dir, &elsewhere) {
            Ok(()) => {}
            Err(_) => fs::create_dir(&elsewhere).expect("creatable"),
        }
        set_mode(&elsewhere, 0o700);
        symlink(&elsewhere, &dir).expect("creatable");
        let told = only(look(&house), "stranger", "wrong");
        let said = format!(
            "{} is a symbolic link, which dispatch did not make: what it keeps there lies in {}; ",
            dir.display(),
            elsewhere.display()
        );
        assert!(told.message.starts_with(&said), "{told:#?}");
        // It is true.
        let words = [
            "enqueue",
            "--label",
            "new",
            "--message",
            "Do it.",
            "--",
            "true",
        ];
        house.dispatch(&words).exits(0);
        house.ended("new");
        crate::outbox::quiet(&house);
        let is_empty = fs::read_dir(&elsewhere).expect("there").next().is_none();
        assert!(!is_empty, "{name}");
        heed(&house, &told);
        is_sound(&house);
        assert!(fs::symlink_metadata(&dir).is_ok_and(|facts| facts.is_dir()));
        assert_eq!(house.entry("new")["status"], "done");
    }
}

fn repaired_with_code(house: &House, code: i32) -> Vec<String> {
    let found = troubles(house.dispatch(&["doctor", "--repair"]), code);
    let acts = found.into_iter().filter(|told| told.state == "mended");
    acts.map(|told| told.message).collect()
}

#[test]
fn pipes_where_files_should_be_hold_nobody_up() {
    let house = sound_house();
    let generation = house.entry("a")["generation"].clone();
    let heartbeat = format!("watchers/a.{generation}.json");
    for place in [
        "labels.json.bak",
        "config.json",
        "recovery.json",
        "archive.jsonl",
        "events.json",
        heartbeat.as_str(),
        "sessions/sessions.json",
        "sessions/runs/pipe",
        "labels.json.lock",
        "labels.json",
    ] {
        let path = house.state().join(place);
        let aside = house.path("aside");
        let was_there = fs::rename(&path, &aside).is_ok();
        let made = Command::new("mkfifo")
            .args(["-m", "600"])
            .arg(&path)
            .status();
        assert!(made.expect("mkfifo is on every system").success());
        let ran = finish_soon(house.start("dispatch", &["doctor"]));
        let found = troubles(ran, 1);
        let said = format!("{} is a named pipe, and no file", path.display());
        let told = found.iter().find(|told| told.message.starts_with(&said));
        let told = told.unwrap_or_else(|| panic!("{place}: {found:#?}"));
        heed(&house, told);
        assert!(!path.exists(), "{place}");
        if was_there {
            fs::rename(&aside, &path).expect("as it was");
        }
        is_sound(&house);
    }
}

#[test]
fn a_missing_or_broken_backup_is_made_anew() {
    let house = sound_house();
    let backup = house.state().join("labels.json.bak");
    fs::remove_file(&backup).expect("removable");
    let told = only(look(&house), "backup", "warn");
    assert!(told.message.contains("is missing"), "{told:#?}");
    heed(&house, &told);
    is_sound(&house);
    assert_eq!(
        fs::read(&backup).expect("there"),
        fs::read(house.ledger_path()).expect("there")
    );
    fs::write(&backup, "{\"a\": {").expect("writable");
    let told = only(look(&house), "backup", "warn");
    assert!(told.message.contains("is no use"), "{told:#?}");
    signal_done(&house, "b", "a change").exits(0);
    is_sound(&house);
    fs::write(&backup, "").expect("writable");
    let acts = repair(&house);
    assert!(
        acts[0].starts_with("made a new one: the backup "),
        "{acts:?}"
    );
    is_sound(&house);
}

#[test]
fn a_configuration_that_others_can_write_is_wrong_whatever_is_in_it() {
    let house = sound_house();
    house.write_config("{}");
    let config = house.state().join("config.json");
    set_mode(&config, 0o644);
    is_sound(&house);
    set_mode(&config, 0o664);
    let told = only(dispatch(&house, &["doctor"]), "permissions", "wrong");
    assert!(
        told.message
            .ends_with(&format!("run: chmod 600 {}", config.display()))
    );
    heed(&house, &told);
    is_sound(&house);
}
