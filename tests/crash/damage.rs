//! The repair of a damaged ledger, itself cut short.

use std::fs;

use crate::support::House;

use super::faults::{DEATHS, FAILURES, Fault, at_every_call};
use super::outcome::is_sound;

const ENTRY: &str = "{\n    \"status\": \"done\"\n  }";

fn repair(house: &House, fault: &Fault) {
    let whole = format!("{{\n  \"a\": {ENTRY},\n  \"b\": {ENTRY}\n}}\n");
    let broken = whole.get(..whole.len() - 10).expect("ASCII").to_owned();
    house.write_ledger(&broken);
    fs::write(house.state().join("labels.json.bak"), &whole).expect("writable");
    fs::write(house.state().join("labels.json.lock"), "").expect("writable");
    for name in ["labels.json", "labels.json.bak"] {
        use std::os::unix::fs::PermissionsExt;
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(house.state().join(name), mode).expect("ours");
    }
    let struck = fault.strike(house, &["doctor", "--repair"]);
    if !struck.acknowledged() {
        let now = fs::read_to_string(house.ledger_path()).expect("readable");
        let is_whole = serde_json::from_str::<serde_json::Value>(&now).is_ok();
        assert!(is_whole || now == broken, "neither old nor new: {now}");
        house.dispatch(&["doctor", "--repair"]).exits(0);
    }
    for label in ["a", "b"] {
        assert_eq!(house.entry(label)["status"], "done", "{label}");
    }
    let aside = house.state_files().into_iter().any(|(path, content)| {
        path.to_string_lossy().contains(".broken-") && content == broken.as_bytes()
    });
    assert!(aside, "the broken file is not kept");
    is_sound(house);
}

#[test]
fn a_repair_that_dies_or_fails_at_any_call_is_made_by_asking_again() {
    at_every_call("dispatch doctor", &DEATHS, 12, repair);
    at_every_call("dispatch doctor", &FAILURES, 12, repair);
}
