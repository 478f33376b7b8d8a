//! Tries whose fate is open: they are repeated under their key, and say that they may be a repeat.

use serde_json::{Value, json};

use super::receiver::{Answer, Receiver};
use super::{enqueue_to, house_with, quiet, record_in, webhook};
use crate::support::{House, eventually, kill_hard};

/// The second request is the first one's repeat, and says so.
#[track_caller]
fn is_repeated(receiver: &Receiver, record: &Value) {
    assert_eq!(receiver.received(2).len(), 2);
    assert_eq!(record["attempts"], 2);
    is_repeated_until(receiver, record);
}

/// As [`is_repeated`], whatever else was tried until it was delivered.
#[track_caller]
fn is_repeated_until(receiver: &Receiver, record: &Value) {
    let requests = receiver.received(2);
    let (first, second) = (requests[0].json(), requests[1].json());
    assert_eq!(first["key"], second["key"]);
    assert_eq!(
        requests[0].header("Idempotency-Key"),
        requests[1].header("Idempotency-Key")
    );
    assert_eq!(first["mayBeRepeat"], false);
    assert_eq!(second["mayBeRepeat"], true);
    let words = format!(
        "\n\n(This may be a repeat: try 2 under the key {}.)",
        second["key"].as_str().expect("a key")
    );
    let text = second["text"].as_str().expect("a text");
    assert!(text.ends_with(&words), "{text}");
    let told_first = first["text"].as_str().expect("a text");
    assert!(!told_first.contains("repeat"), "{told_first}");
    assert!(
        record["attempts"].as_u64() >= Some(requests.len() as u64),
        "{record}"
    );
}

#[test]
fn a_connection_that_closes_after_the_request_leaves_the_fate_open() {
    let receiver = Receiver::answering(&[Answer::Close]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    record_in(&house, "w", "result", "unknown");
    let record = record_in(&house, "w", "result", "delivered");
    is_repeated(&receiver, &record);
}

#[test]
fn a_receiver_that_never_answers_is_given_up_at_the_configured_time_out() {
    let receiver = Receiver::answering(&[Answer::Hold]);
    let house = House::new();
    let mut config = webhook(&receiver);
    config["deliveryTimeoutSeconds"] = json!(1);
    house.configure(&config);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    let open = record_in(&house, "w", "result", "unknown");
    let why = open["lastError"].as_str().expect("a reason");
    assert_eq!(why, "the receiver did not answer in time");
    let record = record_in(&house, "w", "result", "delivered");
    // On a slow machine an answer may come too late more often than once.
    is_repeated_until(&receiver, &record);
}

#[test]
fn an_answer_whose_body_never_ends_is_still_a_receipt() {
    // However often even its beginning comes too late, there is no other answer.
    let receiver = Receiver::answering(&vec![Answer::EndlessBody; 100]);
    let house = House::new();
    let mut config = webhook(&receiver);
    config["deliveryTimeoutSeconds"] = json!(1);
    house.configure(&config);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    let record = record_in(&house, "w", "result", "delivered");
    assert_eq!(record["receipt"]["status"], 200);
    quiet(&house);
    let tries = receiver.requests().len() as u64;
    assert!(record["attempts"].as_u64() >= Some(tries), "{record}");
}

#[test]
fn a_command_that_hangs_is_ended_with_what_it_started_and_tried_again() {
    let house = House::new();
    // It may be ended before it has said anything, on a slow machine.
    let script = format!(
        "cd '{}'; cat >> payloads; [ -e open ] || {{ sleep 1000 & echo $! >> hanging; wait; }}",
        house.root().display()
    );
    house.configure(
        &json!({"deliveryTimeoutSeconds": 1, "commands": {"slow": ["sh", "-c", script]}}),
    );
    enqueue_to(&house, "command:slow", "w", &[], "echo hi");
    let open = record_in(&house, "w", "result", "unknown");
    assert_eq!(
        open["lastError"],
        "the command took longer than 1 s and was ended"
    );
    let hanging: u32 = eventually("the command has a child", || {
        let hanging = house.text("hanging");
        hanging.split_once('\n')?.0.parse().ok()
    });
    eventually("the command's child is gone", || {
        (!crate::support::is_alive(hanging)).then_some(())
    });
    std::fs::write(house.path("open"), "").expect("writable");
    record_in(&house, "w", "result", "delivered");
    let payloads: Vec<Value> = house
        .text("payloads")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(payloads.len() >= 2, "{payloads:?}");
    for payload in &payloads {
        assert_eq!(payload["key"], open["key"]);
        assert_eq!(
            payload["mayBeRepeat"] == true,
            payload["attempt"].as_u64() > Some(1),
            "{payload}"
        );
    }
}

#[test]
fn a_watcher_killed_while_the_receiver_holds_the_request_leaves_a_possible_repeat() {
    let receiver = Receiver::answering(&[Answer::Hold]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    receiver.received(1);
    assert_eq!(house.entry("w")["status"], "done");
    record_in(&house, "w", "result", "sending");
    kill_hard(house.watcher_pid("w"));
    let scan = house.recover();
    assert_eq!(
        scan.stdout,
        "started a watcher for \"w\": it owes a delivery\n"
    );
    let record = record_in(&house, "w", "result", "delivered");
    is_repeated(&receiver, &record);
}

#[test]
fn what_was_not_delivered_in_its_time_is_parked() {
    let receiver = Receiver::answering(&[Answer::With(503, "Retry-After: 3600"), Answer::Close]);
    let house = House::new();
    let mut config = webhook(&receiver);
    config["deliver_watcher_ttl_hours"] = json!(2);
    house.configure(&config);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    record_in(&house, "w", "result", "retrying");
    kill_hard(house.watcher_pid("w"));
    // As if two hours had passed since, and nobody had been there.
    house.change_ledger(|ledger| {
        let record = &mut ledger["w"]["deliveries"][0];
        for (time, passed) in [("at", 2), ("triedAt", 2), ("nextAt", 2)] {
            let at = record[time].as_i64().expect("a time");
            record[time] = json!(at - passed * 3_600_000);
        }
    });
    house.recover();
    let record = record_in(&house, "w", "result", "parked");
    let why = record["lastError"].as_str().expect("a reason");
    assert!(why.starts_with("given up after "), "{why}");
    assert_eq!(record["attempts"], 2, "{record}");
    quiet(&house);
    let ran = house.dispatch(&["redeliver", "--label", "w"]).exits(0);
    assert_eq!(ran.json()["delivered"], 1);
    let told = receiver.requests().pop().expect("a request").json();
    assert_eq!(told["mayBeRepeat"], true, "its second try may have arrived");
}
