//! Ledgers in the form that other tools write.

use std::fs;

use serde_json::{Map, Value, json};

use super::done;
use crate::support::House;

const FORMS: [&str; 2] = ["reference-form.json", "reference-form-extra.json"];

fn fixture(name: &str) -> String {
    let path = format!("{}/fixtures/ledgers/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).expect("the fixture is there")
}

/// A ledger as data; a lone surrogate, which Rust texts cannot hold, becomes U+FFFD.
fn parse(text: &str) -> Map<String, Value> {
    let value = dispatch::record::json::parse_value(text).expect("JSON");
    value.as_object().cloned().expect("an object")
}

#[test]
fn a_new_label_leaves_every_old_entry_byte_for_byte() {
    for form in FORMS {
        let house = House::new();
        let old = fixture(form);
        house.write_ledger(&old);
        done(&house, "brand new").exits(0);
        let new = fs::read_to_string(house.ledger_path()).expect("UTF-8");
        let kept = old
            .strip_suffix("\n}\n")
            .or(old.strip_suffix("\n}"))
            .expect("laid out");
        assert!(new.starts_with(kept), "{form}");
        let rest = new.get(kept.len()..).unwrap_or_default();
        assert!(rest.starts_with(",\n  \"brand new\": {\n    \""), "{form}");
        assert!(new.ends_with("\n  }\n}\n"), "{form}");
    }
}

#[test]
fn list_shows_every_label_with_its_own_status() {
    for form in FORMS {
        let house = House::new();
        house.write_ledger(fixture(form));
        let ledger = parse(&fixture(form));
        let answer = house.dispatch(&["list", "--all"]).exits(0).json();
        let rows = answer["labels"].as_array().cloned().unwrap_or_default();
        assert_eq!(rows.len(), ledger.len(), "{form}");
        for row in rows {
            let label = row["label"].as_str().unwrap_or_default();
            assert_eq!(row["status"], ledger[label]["status"], "{form}: {label}");
        }
    }
}

#[test]
fn a_status_that_only_other_tools_write_is_shown_as_it_is() {
    for form in FORMS {
        let house = House::new();
        house.write_ledger(fixture(form));
        let status = house
            .dispatch(&["status", "--label", "old-spawn-warning"])
            .exits(0)
            .json();
        assert_eq!(status["status"], "spawn-warning");
        let list = house
            .dispatch(&["list", "--status", "spawn-warning"])
            .exits(0)
            .json();
        assert_eq!(list["labels"][0]["label"], "old-spawn-warning");
        assert_eq!(list["count"], 1);
        let table = house
            .dispatch(&["list", "--all", "--output", "table"])
            .exits(0)
            .stdout;
        assert!(table.contains("spawn-warning"), "{table}");
        assert_eq!(
            fs::read_to_string(house.ledger_path()).expect("UTF-8"),
            fixture(form)
        );
    }
}

/// What `done` may write; everything else of an entry is somebody else's.
const WRITTEN: [&str; 12] = [
    "status",
    "summary",
    "error",
    "completion",
    "updatedAt",
    "endedAt",
    "artifact",
    "artifactError",
    "deliveries",
    "rev",
    "phase",
    "failure",
];

#[test]
fn a_signal_for_any_entry_keeps_all_that_it_does_not_write() {
    for form in FORMS {
        let house = House::new();
        house.write_ledger(fixture(form));
        let old = parse(&fixture(form));
        for (label, before) in &old {
            done(&house, label).exits(0);
            let after = house.entry(label);
            assert_eq!(after["status"], "done", "{form}: {label}");
            for (name, value) in before.as_object().into_iter().flatten() {
                if !WRITTEN.contains(&name.as_str()) {
                    assert_eq!(after[name], *value, "{form}: {label}.{name}");
                }
            }
        }
        assert_eq!(
            house.ledger().as_object().map(Map::len),
            Some(old.len()),
            "{form}"
        );
    }
}

#[test]
fn unknown_fields_survive_in_the_entry_and_inside_its_objects() {
    let house = House::new();
    let entry = json!({
        "vendor": {"nested": [1, null, {"x": 1.5}], "é": "\u{0}"},
        "generation": 7, "rev": 1, "status": "error", "deliverTo": "5", "deliverChannel": "telegram",
        "baseline": {"offset": 12, "vendor": {"x": 1}},
        "requester": {"sessionKey": "agent:main:main", "vendor": [2]},
        "deliveries": [{
            "key": "a/7/1/failure/telegram:5", "kind": "failure", "state": "delivered", "target": "telegram:5",
            "attempts": 1, "vendor": {"x": [3]},
        }],
    });
    house.write_ledger(serde_json::to_vec_pretty(&json!({"a": entry})).expect("serialisable"));
    done(&house, "a").exits(0);
    let after = house.entry("a");
    for name in ["vendor", "baseline", "requester"] {
        assert_eq!(after[name], entry[name], "{name}");
    }
    assert_eq!(after["deliveries"][0], entry["deliveries"][0]);
    assert_eq!(after["deliveries"][1]["kind"], "correction");
}
