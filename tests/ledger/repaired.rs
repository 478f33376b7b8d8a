//! `dispatch doctor --repair`.

use std::fs;

use super::{TWO, done, files_below, names_in, strays};
use crate::support::{House, Ran, eventually};

/// The message of the repair.
fn repaired(house: &House) -> String {
    let ran = house.dispatch(&["doctor", "--repair"]);
    message(&ran)
}

fn message(ran: &Ran) -> String {
    let answer: serde_json::Value =
        serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    let message = answer["checks"][0]["message"].as_str();
    assert_eq!(answer["checks"][0]["name"], "repair", "{ran:?}");
    message.unwrap_or_default().to_owned()
}

/// The one kept copy of the broken file.
fn kept(house: &House) -> Vec<u8> {
    let names = names_in(&house.state());
    let kept: Vec<_> = names
        .iter()
        .filter(|name| name.starts_with("labels.json.broken-"))
        .collect();
    assert_eq!(kept.len(), 1, "{names:?}");
    fs::read(house.state().join(kept[0])).expect("readable")
}

#[test]
fn a_sound_ledger_is_left_alone() {
    let house = House::new();
    house.write_ledger(TWO);
    fs::write(house.state().join("labels.json.bak"), "{}\n").expect("writable");
    let before = files_below(&house.state());
    assert_eq!(repaired(&house), "the ledger is sound; nothing to repair");
    let mut after = files_below(&house.state());
    after.remove(&house.state().join("labels.json.lock"));
    assert!(after == before, "{:?}", after.keys());
}

#[test]
fn what_is_whole_is_saved_the_backup_fills_in_and_what_is_lost_is_named() {
    let house = House::new();
    let broken = TWO.replace("\"broke\"", "\"bro");
    let broken = broken.replace("{\n  \"a\"", "{\n  \"gone\": [1],\n  \"a\"");
    house.write_ledger(&broken);
    let backup = TWO.replace("\"a\"", "\"only in the backup\"");
    fs::write(house.state().join("labels.json.bak"), &backup).expect("writable");
    let said = repaired(&house);
    assert!(
        said.starts_with("repaired: the broken file is kept as "),
        "{said}"
    );
    assert!(
        said.ends_with(
            "; 1 saved from it; 2 taken from the backup (only in the backup, b), whose last change may be missing: the backup is one version older; lost: gone"
        ),
        "{said}"
    );
    assert_eq!(kept(&house), broken.as_bytes());
    assert_eq!(
        fs::read_to_string(house.state().join("labels.json.bak")).expect("UTF-8"),
        backup
    );
    let labels: Vec<String> = house
        .ledger()
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    assert_eq!(labels, ["a", "only in the backup", "b"]);
    done(&house, "next").exits(0);
    assert_eq!(strays(&house.state()), Vec::<String>::new());
}

#[test]
fn a_ledger_of_which_nothing_is_left_comes_from_the_backup_byte_for_byte() {
    for content in [Some(&b""[..]), Some(&[0; 4096]), Some(b"[]\n"), None] {
        let house = House::new();
        house.write_ledger(content.unwrap_or_default());
        fs::write(house.state().join("labels.json.bak"), TWO).expect("writable");
        if content.is_none() {
            fs::remove_file(house.ledger_path()).expect("it was there");
        }
        let said = repaired(&house);
        let first = match content {
            Some(_) => "repaired: the broken file is kept as ",
            None => "repaired: the ledger was missing",
        };
        assert!(said.starts_with(first), "{said}");
        assert!(
            said.ends_with("0 saved from it; 2 taken from the backup (a, b), whose last change may be missing: the backup is one version older; lost: none"),
            "{said}"
        );
        assert_eq!(fs::read_to_string(house.ledger_path()).expect("UTF-8"), TWO);
        if let Some(content) = content {
            assert_eq!(kept(&house), content);
        }
        assert_eq!(repaired(&house), "the ledger is sound; nothing to repair");
    }
}

#[test]
fn a_label_that_is_broken_in_the_backup_too_is_named_as_lost() {
    let house = House::new();
    house.write_ledger("");
    fs::write(
        house.state().join("labels.json.bak"),
        TWO.replace("\"broke\"", "\"bro"),
    )
    .expect("writable");
    let said = repaired(&house);
    assert!(
        said.ends_with("1 taken from the backup (a), whose last change may be missing: the backup is one version older; lost: b, and perhaps more: no sound backup tells what it held"),
        "{said}"
    );
}

#[test]
fn of_a_ledger_and_a_backup_that_hold_nothing_both_are_kept_and_traces_are_named() {
    let house = House::new();
    // One whose run is on the disk, one that was never more than an entry.
    house.enqueue("kept", "echo hi");
    house.ended("kept");
    eventually("everything leaves", || {
        house.processes().is_empty().then_some(())
    });
    done(&house, "gone").exits(0);
    let backup = house.state().join("labels.json.bak");
    house.write_ledger("garbage\n");
    fs::write(&backup, "more garbage\n").expect("writable");
    let ran = house.dispatch(&["doctor", "--repair"]).exits(0);
    let said = message(&ran);
    assert!(
        said.ends_with("; 0 saved from it; 0 taken from the backup (none); lost: nobody can know: no sound backup tells what it held"),
        "{said}"
    );
    assert_eq!(kept(&house), b"garbage\n");
    let aside = said
        .split_once("its backup was broken, too, and is kept as ")
        .and_then(|(_, rest)| rest.split_once("; "))
        .map(|(path, _)| fs::read(path).expect("readable"));
    assert_eq!(aside.as_deref(), Some(&b"more garbage\n"[..]), "{said}");
    let checks = ran.json();
    let said_of = |name: &str, start: &str| {
        let checks = checks["checks"].as_array().expect("checks");
        let mut told = checks.iter().filter(|told| told["name"] == name);
        told.any(|told| {
            told["message"]
                .as_str()
                .is_some_and(|text| text.starts_with(start))
        })
    };
    assert!(said_of("repair", "runs taken up again: kept"), "{ran:?}");
    let traces = "the history names labels that the ledger may have had, and has no more (gone); what is left of such work: prompts in ";
    assert!(said_of("ledger", traces), "{ran:?}");
    assert_eq!(house.ended("kept")["status"], "done");
    assert_eq!(house.entry("gone"), serde_json::Value::Null);
    assert_eq!(repaired(&house), "the ledger is sound; nothing to repair");
}

#[test]
fn a_ledger_without_its_beginning_loses_only_the_entry_that_was_cut() {
    let house = House::new();
    let three = TWO.replace(
        "\"summary\": \"first\"",
        "\"first\": 1,\n    \"completion\": {\n      \"inner\": {\n        \"x\": 1\n      }\n    }",
    );
    let at = three.find("\"completion\"").expect("it is there");
    let mut broken = vec![0; at];
    broken.extend_from_slice(three.get(at..).unwrap_or_default().as_bytes());
    house.write_ledger(&broken);
    let said = repaired(&house);
    assert!(said.contains("; 1 saved from it; "), "{said}");
    let labels: Vec<String> = house
        .ledger()
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    assert_eq!(labels, ["b"], "parts of an entry are no labels");
}

#[test]
fn of_a_ledger_in_one_line_only_the_entry_that_is_torn_is_lost() {
    let house = House::new();
    let entry = |summary: &str| {
        format!(
            r#"{{"status":"done","summary":"{summary}","updatedAt":"2026-11-20T09:12:05.000Z","failure":{{"kind":"model"}}}}"#
        )
    };
    let torn = entry("second").replace("second\"", "second");
    let text = format!(
        r#"{{"a":{},"b":{torn},"c":{}}}"#,
        entry("first"),
        entry("third")
    );
    house.write_ledger(&text);
    let said = repaired(&house);
    assert!(
        said.ends_with("; 2 saved from it; 0 taken from the backup (none); lost: b, and perhaps more: no sound backup tells what it held"),
        "{said}"
    );
    for (label, summary) in [("a", "first"), ("c", "third")] {
        assert_eq!(house.entry(label)["summary"], summary);
    }
    assert_eq!(
        house.ledger().as_object().map(serde_json::Map::len),
        Some(2)
    );
}

#[test]
fn entries_that_other_tools_wrote_are_saved_byte_for_byte() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/ledgers/reference-form.json"
    );
    let sound = fs::read_to_string(path).expect("the fixture is there");
    let sound = sound.replace(
        "\"timeoutSeconds\": 1200",
        "\"timeoutSeconds\": 12345678901234567890123",
    );
    let cut = sound
        .find("\n  \"old-spawn-warning\"")
        .expect("the last label");
    let end = cut + 60;
    let house = House::new();
    house.write_ledger(sound.get(..end).unwrap_or_default());
    let said = repaired(&house);
    assert!(
        said.ends_with(
            "; lost: old-spawn-warning, and perhaps more: no sound backup tells what it held"
        ),
        "{said}"
    );
    let text = fs::read_to_string(house.ledger_path()).expect("UTF-8");
    let whole = sound
        .get(..cut)
        .and_then(|text| text.strip_suffix(','))
        .expect("a comma before it");
    assert!(
        text == format!("{whole}\n}}\n"),
        "the saved entries differ from what they were"
    );
}
