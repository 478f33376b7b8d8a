//! A state that cannot be read or written: every command says so, with the path and the exit code that goes with it.

use std::fs;

use rstest::rstest;

use super::{FOUND, kept, refuses, tells, typed};
use crate::ledger::full_disk::SmallDisk;
use crate::support::House;

/// A command line for each command that reads the ledger.
const READERS: [&str; 22] = [
    "dispatch enqueue --label x -- true",
    "dispatch send --label x --message hi",
    "dispatch status --label x",
    "dispatch result --label x",
    "dispatch result --label x --path",
    "dispatch heartbeat --label x",
    "dispatch list",
    "dispatch list --archived",
    "dispatch wait x",
    "dispatch wait --all",
    "dispatch logs --label x",
    "dispatch cancel --label x",
    "dispatch done --label x --checklist '{\"work_complete\":true}'",
    "dispatch note --label x hi",
    "dispatch stuck",
    "dispatch sync",
    "dispatch redeliver --all",
    "dispatch watcher-handoff --all",
    "dispatch retry --label x",
    "dispatch prune",
    "watcher --label x",
    "529-recovery",
];

/// Both forms of a reader print, this one line, under this brand or the program's own name, exit with this code and write nothing.
#[track_caller]
fn every_reader_says(house: &House, code: i32, brand: Option<&str>, sentence: &str) {
    let before = kept(house);
    let sentence = sentence.replace("ROOT", &house.root().display().to_string());
    for line in READERS {
        let program = line.split(' ').next().unwrap_or_default();
        let brand = brand.unwrap_or(program);
        for form in ["json", "table"] {
            let ran = typed(house, &format!("DISPATCH_OUTPUT={form} {line}"));
            assert_eq!(
                (ran.code, ran.stdout.as_str(), ran.stderr),
                (Some(code), "", format!("[{brand}] {sentence}\n")),
                "{line} as {form}"
            );
        }
    }
    assert_eq!(kept(house), before);
}

#[rstest]
#[case::torn(
    "{\"a\": {\"status\": \"do",
    "EOF while parsing a string at line 1 column 20"
)]
fn a_damaged_ledger_is_refused_by_every_command(#[case] text: &str, #[case] what: &str) {
    let house = House::new();
    house.write_ledger(text);
    every_reader_says(
        &house,
        3,
        Some("dispatch"),
        &format!(
            "the ledger ROOT/state/labels.json is damaged: {what}; nothing was changed; run 'dispatch doctor' to see what can be saved"
        ),
    );
}

#[test]
fn a_ledger_that_is_a_directory_cannot_be_read() {
    let house = House::new();
    fs::create_dir_all(house.ledger_path()).expect("creatable");
    every_reader_says(
        &house,
        1,
        Some("dispatch"),
        "cannot read the ledger ROOT/state/labels.json: Is a directory (os error 21)",
    );
}

#[test]
fn a_state_that_is_no_directory_is_refused_by_every_program() {
    let house = House::new();
    fs::write(house.state(), "a file\n").expect("writable");
    every_reader_says(
        &house,
        2,
        None,
        "the state directory ROOT/state is not a directory; move that file away, or set DISPATCH_HOME to a directory",
    );
    let before = house.state_files();
    tells(
        &house,
        r#"
$ stuck-detector
2> [stuck-detector] the state directory ROOT/state is not a directory; move that file away, or set DISPATCH_HOME to a directory
=> 2
$ dispatch doctor
2> [dispatch] the state directory ROOT/state is not a directory; move that file away, or set DISPATCH_HOME to a directory
=> 2
$ dispatch doctor --repair --output table
2> [dispatch] the state directory ROOT/state is not a directory; move that file away, or set DISPATCH_HOME to a directory
=> 2
$ dispatch install-timers --output table
2> [dispatch] the state directory ROOT/state is not a directory; move that file away, or set DISPATCH_HOME to a directory
=> 2
$ dispatch complete-labels status
$ dispatch send-events
2> [dispatch] the state directory ROOT/state is not a directory; move that file away, or set DISPATCH_HOME to a directory
=> 2
"#,
    );
    assert!(house.state_files() == before);
}

#[test]
fn a_state_on_a_disk_that_takes_nothing_can_be_read_and_not_changed() {
    let house = House::new();
    let Some(disk) = SmallDisk::under(&house, 200) else {
        return;
    };
    house.write_ledger(FOUND);
    disk.remount("ro");
    refuses(
        &house,
        r#"
$ dispatch status --label built --output table
label    built
status   done
started  just now
took     3m 20s
backend  local
session  agent:main:subagent:11111111-2222-4333-8444-555555555555
summary  built and tested
$ dispatch list --output table
LABEL            STATUS         UPDATED   TOOK    SUMMARY
broken           error          just now  2h      the command exited with code 3: boo
built            done           just now  3m 20s  built and tested
theirs           running        just now  0s
of another tool  spawn-warning
signalled        done
$ dispatch enqueue --label x -- true
2> [dispatch] cannot lock ROOT/state/labels.json.lock: Read-only file system (os error 30)
=> 1
$ dispatch cancel --label theirs
2> [dispatch] cannot lock ROOT/state/labels.json.lock: Read-only file system (os error 30)
=> 1
$ dispatch done --label x --checklist '{"work_complete":true}'
2> [dispatch] the full text could not be kept: cannot create ROOT/state/artifacts/dispatch-completions: Read-only file system (os error 30)
2> [dispatch] cannot lock ROOT/state/labels.json.lock: Read-only file system (os error 30)
=> 1
$ dispatch note --label theirs hi
2> [dispatch] cannot lock ROOT/state/labels.json.lock: Read-only file system (os error 30)
=> 1
$ dispatch redeliver --all --output table
2> [dispatch] cannot lock ROOT/state/labels.json.lock: Read-only file system (os error 30)
=> 1
$ dispatch prune
2> [dispatch] cannot lock ROOT/state/labels.json.lock: Read-only file system (os error 30)
=> 1
$ dispatch sync --output table
LABEL   WHAT     NOW  WHY
theirs  skipped       another tool started it and watches it; take it over by: dispatch watcher-handoff --label theirs
2> [dispatch] 0 changed
$ dispatch watcher-handoff --all --output table
no label needs a watcher
$ dispatch stuck --output table
nothing is stuck: 0 running, 1 not judged ('dispatch sync --dry-run' says why)
$ 529-recovery
2> [dispatch] cannot record when the scan ran in ROOT/state/recovery.json: Read-only file system (os error 30)
=> 1
$ stuck-detector
memory: ROOT/state/stuck.json cannot be kept: Read-only file system (os error 30); nobody is asked
=> 1
"#,
    );
}

#[test]
fn an_archive_that_cannot_be_read_is_told_by_who_needs_it() {
    let house = House::new();
    house.write_ledger(FOUND);
    fs::create_dir(house.state().join("archive.jsonl")).expect("creatable");
    refuses(
        &house,
        r#"
$ dispatch enqueue --label x -- true
2> [dispatch] the state directory cannot take the run: cannot read the archive ROOT/state/archive.jsonl: Is a directory (os error 21)
=> 1
$ dispatch status --label x
2> [dispatch] cannot read the archive ROOT/state/archive.jsonl: Is a directory (os error 21)
=> 1
$ dispatch result --label x --output table
2> [dispatch] cannot read the archive ROOT/state/archive.jsonl: Is a directory (os error 21)
=> 1
$ dispatch list --archived
2> [dispatch] cannot read the archive ROOT/state/archive.jsonl: Is a directory (os error 21)
=> 1
$ dispatch retry --label x
2> [dispatch] cannot read the archive ROOT/state/archive.jsonl: Is a directory (os error 21)
=> 1
$ dispatch prune --output table
2> [dispatch] cannot read the archive ROOT/state/archive.jsonl: Is a directory (os error 21)
=> 1
"#,
    );
}

#[test]
fn a_configuration_that_cannot_be_read_is_refused_with_its_path() {
    let house = House::new();
    let config = house.state().join("config.json");
    fs::create_dir_all(&config).expect("creatable");
    refuses(
        &house,
        r#"
$ dispatch list
2> [dispatch] cannot read the configuration ROOT/state/config.json: Is a directory (os error 21)
=> 2
$ dispatch list --output table
2> [dispatch] cannot read the configuration ROOT/state/config.json: Is a directory (os error 21)
=> 2
$ dispatch enqueue --label x -- true
2> [dispatch] cannot read the configuration ROOT/state/config.json: Is a directory (os error 21)
=> 2
$ watcher --label x
2> [dispatch] cannot read the configuration ROOT/state/config.json: Is a directory (os error 21); going on with the default
2> [dispatch] no session found for label "x"; 'dispatch list' shows what there is
=> 1
"#,
    );
    fs::remove_dir(&config).expect("it is there");
    fs::write(&config, vec![b' '; 5_000_000]).expect("writable");
    refuses(
        &house,
        r#"
$ dispatch list
2> [dispatch] the configuration ROOT/state/config.json is not usable: it has 5000000 bytes, at most 4194304 are read; mend it or move it away
=> 2
"#,
    );
}
