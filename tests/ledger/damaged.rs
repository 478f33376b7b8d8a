//! A damaged ledger is refused by every command and stays as it is.

use std::fs;

use super::{TWO, done, files_below};
use crate::support::{House, Ran};

/// What is wrong, the content, and what the commands say of it. `None`: the file is missing beside its backup.
const DAMAGES: [(&str, Option<&[u8]>, &str); 7] = [
    ("empty", Some(b""), "the file is empty"),
    (
        "NUL-filled",
        Some(&[0; 4096]),
        "NUL bytes at line 1 column 1",
    ),
    (
        "truncated",
        Some(b"{\n  \"a\": {\n    \"status\": \"done\"\n  },\n  \"b\": {\n    \"sta"),
        "EOF while parsing a string at line 6 column 8",
    ),
    (
        "an array",
        Some(b"[\n  {}\n]\n"),
        "not an object of labels at line 1 column 1",
    ),
    (
        "a label that is no object",
        Some(b"{\n  \"a\": {\n    \"status\": \"done\"\n  },\n  \"b\": 7\n}\n"),
        "label \"b\" is not an object, at line 5 column 8",
    ),
    (
        "binary",
        Some(b"{\n  \"a\": {\n    \"status\": \"\xff\xfe\"\n  }\n}\n"),
        "invalid UTF-8 at line 3 column 16",
    ),
    ("missing", None, "the file is gone while its backup "),
];

const COMMANDS: [&[&str]; 9] = [
    &["status", "--label", "a"],
    &["list"],
    &["result", "--label", "a"],
    &["done", "--label", "new", "--checklist", super::COMPLETE],
    &["enqueue", "--label", "new", "--message", "hi", "--", "true"],
    &["enqueue", "--label", "a", "--mode", "reuse", "--", "true"],
    &["wait", "a"],
    &["cancel", "--label", "a"],
    &["logs", "--label", "a"],
];

fn damaged_house(content: Option<&[u8]>) -> House {
    let house = House::new();
    house.write_ledger(content.unwrap_or_default());
    fs::write(house.state().join("labels.json.bak"), TWO).expect("writable");
    if content.is_none() {
        fs::remove_file(house.ledger_path()).expect("it was there");
    }
    house
}

#[test]
fn every_command_refuses_a_damaged_ledger_and_changes_nothing() {
    for (damage, content, said) in DAMAGES {
        let house = damaged_house(content);
        let before = files_below(house.root());
        for words in COMMANDS {
            let ran = house.dispatch(words);
            let line = ran.stderr.lines().last().unwrap_or_default();
            let path = house.ledger_path();
            let start = format!(
                "[dispatch] the ledger {} is damaged: {said}",
                path.display()
            );
            assert!(line.starts_with(&start), "{damage}: {ran:?}");
            let end = "; nothing was changed; run 'dispatch doctor' to see what can be saved";
            assert!(line.ends_with(end), "{damage}: {ran:?}");
            assert_eq!(
                (ran.code, ran.stdout.as_str()),
                (Some(3), ""),
                "{damage} {words:?}"
            );
        }
        let mut after = files_below(house.root());
        after.remove(&house.state().join("labels.json.lock"));
        assert!(
            after == before,
            "{damage}: {:?} became {:?}",
            before.keys(),
            after.keys()
        );
        assert_eq!(house.processes(), Vec::<u32>::new());
    }
}

#[test]
fn the_recovery_scan_refuses_a_damaged_ledger_too() {
    for (damage, content, said) in DAMAGES {
        let house = damaged_house(content);
        let before = files_below(&house.state());
        let ran = house.run("529-recovery", &[]);
        assert_eq!(ran.code, Some(3), "{damage}: {ran:?}");
        assert!(ran.stderr.contains(said), "{damage}: {ran:?}");
        assert!(files_below(&house.state()) == before, "{damage}");
    }
}

#[test]
fn doctor_says_what_is_damaged_and_what_a_repair_would_save() {
    for (damage, content, said) in DAMAGES {
        let house = damaged_house(content);
        let before = files_below(&house.state());
        let ran = house.dispatch(&["doctor"]);
        let ledger = check(&ran, "ledger");
        assert_eq!(ran.code, Some(3), "{damage}: {ran:?}");
        assert!(ledger.contains(said), "{damage}: {ledger}");
        assert!(
            ledger.contains("'dispatch doctor --repair' would save"),
            "{damage}: {ledger}"
        );
        assert!(ledger.ends_with("a backup with 2"), "{damage}: {ledger}");
        assert!(files_below(&house.state()) == before, "{damage}");
    }
}

/// The message of a doctor's check.
fn check(ran: &Ran, name: &str) -> String {
    let answer: serde_json::Value = serde_json::from_str(&ran.stdout).expect("JSON");
    let checks = answer["checks"].as_array().cloned().unwrap_or_default();
    let found = checks.iter().find(|check| check["name"] == name);
    found
        .and_then(|check| check["message"].as_str())
        .unwrap_or_else(|| panic!("no check {name}: {ran:?}"))
        .to_owned()
}

#[test]
fn a_ledger_that_never_was_is_empty() {
    let house = House::new();
    assert_eq!(house.dispatch(&["list"]).exits(0).json()["count"], 0);
    assert_eq!(house.dispatch(&["doctor"]).exits(0).json()["ok"], true);
    assert!(!house.state().exists(), "looking creates nothing");
    done(&house, "first").exits(0);
    assert_eq!(house.entry("first")["status"], "done");
    assert!(
        !house.state().join("labels.json.bak").exists(),
        "there was no version before"
    );
}

#[test]
fn an_entry_that_cannot_be_read_is_never_overwritten() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    for unreadable in [
        format!("{{\"a\":{{\"n\":{deep}}}}}"),
        "{\"a\":{\"n\":1e999}}".to_owned(),
    ] {
        let house = House::new();
        house.write_ledger(&unreadable);
        let said = "the entry of label \"a\" cannot be read: ";
        let status = house.dispatch(&["status", "--label", "a"]).exits(3);
        assert!(
            status.stderr.starts_with(&format!("[dispatch] {said}")),
            "{status:?}"
        );
        let doctor = house.dispatch(&["doctor"]).exits(1);
        assert!(check(&doctor, "entry").starts_with(said), "{doctor:?}");
        let ran = done(&house, "a");
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.stderr.contains(said), "{ran:?}");
        assert!(ran.stderr.contains(" at line 1 column "), "{ran:?}");
        assert_eq!(
            fs::read_to_string(house.ledger_path()).expect("UTF-8"),
            unreadable
        );
        done(&house, "other").exits(0);
        let text = fs::read_to_string(house.ledger_path()).expect("UTF-8");
        let entry = unreadable.get(5..unreadable.len() - 1).unwrap_or_default();
        assert!(text.contains(entry), "the entry is kept: {text}");
    }
}
