//! What is owed by an entry that a repair took from the backup: the version that is lost may have told it.

use std::fs;

use serde_json::{Value, json};

use super::receiver::{Answer, Receiver};
use super::{enqueue_to, house_with, quiet, record_in};
use crate::support::House;

/// Breaks the ledger; what stands in it is then the backup's.
fn break_ledger(house: &House, backup: &str) {
    house.write_ledger("garbage");
    fs::write(house.state().join("labels.json.bak"), backup).expect("writable");
    house.dispatch(&["doctor", "--repair"]).exits(0);
}

/// The one payload that came after the first.
fn second(receiver: &Receiver) -> Value {
    receiver.received(2)[1].json()
}

#[test]
fn what_the_backup_owes_says_that_it_may_be_a_repeat() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    let record = record_in(&house, "w", "result", "delivered");
    quiet(&house);
    // The version before knew of no try.
    let mut older = house.ledger();
    let key = record["key"].clone();
    let untried = json!({"key": key, "kind": "result", "state": "pending", "target": "webhook:ops", "content": record["content"], "at": record["at"]});
    older["w"]["deliveries"] = json!([untried]);
    break_ledger(&house, &older.to_string());
    let told = second(&receiver);
    assert_eq!((&told["key"], &told["mayBeRepeat"]), (&key, &json!(true)));
    let words = format!(
        "(This may be a repeat: earlier tries under the key {} are not on record.)",
        key.as_str().expect("a text")
    );
    let text = told["text"].as_str().expect("a text");
    assert!(text.ends_with(&words), "{text}");
    record_in(&house, "w", "result", "delivered");
}

#[test]
fn the_end_of_a_label_that_runs_in_the_backup_says_that_it_may_be_a_repeat() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    let script = format!("{}; echo hi", gate.pass());
    enqueue_to(&house, "webhook:ops", "w", &[], &script);
    house.waiter_pid("w");
    let older = fs::read_to_string(house.ledger_path()).expect("readable");
    gate.open();
    record_in(&house, "w", "result", "delivered");
    quiet(&house);
    break_ledger(&house, &older);
    let told = second(&receiver);
    assert_eq!(
        (&told["kind"], &told["mayBeRepeat"]),
        (&json!("result"), &json!(true))
    );
}

#[test]
fn what_is_saved_from_the_broken_ledger_itself_is_no_repeat() {
    let receiver = Receiver::answering(&[Answer::Status(410)]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    record_in(&house, "w", "result", "parked");
    quiet(&house);
    let text = fs::read_to_string(house.ledger_path()).expect("readable");
    house.write_ledger(text.trim_end().trim_end_matches('}'));
    house.dispatch(&["doctor", "--repair"]);
    house.dispatch(&["redeliver", "--label", "w"]).exits(0);
    assert_eq!(second(&receiver)["mayBeRepeat"], false);
}
