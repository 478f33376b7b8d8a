//! State and record are one write: wherever the watcher dies after it, the next scan delivers under the same key.

use serde_json::Value;

use super::receiver::Receiver;
use super::{enqueue_to, house_with, quiet, record_in, records};
use crate::support::{House, kill_hard, run};

/// The house after its watcher died at its n-th storage call, and what its record was then.
fn house_after_death(receiver: &Receiver, n: u64) -> (House, Option<Value>) {
    let house = house_with(receiver);
    let mut command = house.command("dispatch");
    command.env("DISPATCH_FAULT", format!("detached watcher:kill:{n}"));
    command.args(["enqueue", "--label", "w", "--deliver-to", "ops"]);
    command.args(["--deliver-channel", "webhook", "--", "echo", "hi"]);
    run(command, b"").exits(0);
    quiet(&house);
    let record = records(&house, "w").into_iter().next();
    let is_done = house.entry("w")["status"] == "done";
    assert_eq!(is_done, record.is_some(), "one write carries both");
    (house, record)
}

fn state(record: &Option<Value>) -> &str {
    record.as_ref().map_or("none", |record| {
        record["state"].as_str().expect("a state is a text")
    })
}

/// Looks for a death that leaves the record in `wanted`: earlier ones leave it in a state before that.
fn death_in(receiver: &Receiver, wanted: &str) -> (House, Value) {
    let order = ["none", "pending", "sending", "delivered"];
    let place = |state: &str| order.iter().position(|other| *other == state);
    let (mut early, mut late) = (0, 400);
    // The number of calls differs a little from run to run, so the search may miss and begin anew.
    for _ in 0..60 {
        if late - early < 2 {
            (early, late) = (0, 400);
        }
        let n = (early + late) / 2;
        let (house, record) = house_after_death(receiver, n);
        match (state(&record) == wanted, record) {
            (true, Some(record)) => return (house, record),
            (_, record) if place(state(&record)) < place(wanted) => early = n,
            _ => late = n,
        }
    }
    panic!("no death left the record {wanted}");
}

#[test]
fn a_watcher_killed_right_after_the_write_leaves_a_record_that_is_sent_as_new() {
    let receiver = Receiver::answering(&[]);
    let (house, left) = death_in(&receiver, "pending");
    assert_eq!(left["attempts"], 0);
    let before = receiver.requests().len();
    house.recover();
    let record = record_in(&house, "w", "result", "delivered");
    assert_eq!(record["key"], left["key"]);
    assert_eq!(record["attempts"], 1);
    let requests = receiver.requests();
    assert_eq!(requests.len(), before + 1);
    let told = requests.last().expect("one").json();
    assert_eq!(told["key"], left["key"]);
    assert_eq!(told["mayBeRepeat"], false);
}

#[test]
fn a_watcher_killed_after_a_try_began_leaves_a_record_that_is_sent_as_a_possible_repeat() {
    let receiver = Receiver::answering(&[]);
    let (house, left) = death_in(&receiver, "sending");
    assert_eq!(left["attempts"], 1);
    house.recover();
    let record = record_in(&house, "w", "result", "delivered");
    assert_eq!(record["key"], left["key"]);
    assert_eq!(record["attempts"], 2);
    let told = receiver.requests().pop().expect("one").json();
    assert_eq!(told["key"], left["key"]);
    assert_eq!(told["mayBeRepeat"], true);
}

#[test]
fn two_scans_and_a_watcher_at_once_deliver_one_owed_record_once() {
    let receiver = Receiver::answering(&[]);
    let (house, left) = death_in(&receiver, "pending");
    let before = receiver.requests().len();
    let generation = format!("--generation={}", house.entry("w")["generation"]);
    let watcher = ["--label=w", &generation, "--detached"];
    let started = [
        house.start("529-recovery", &[]),
        house.start("watcher", &watcher),
        house.start("529-recovery", &[]),
    ];
    for child in started {
        crate::support::finish_soon(child).exits(0);
    }
    record_in(&house, "w", "result", "delivered");
    quiet(&house);
    let requests = receiver.requests();
    assert_eq!(requests.len(), before + 1);
    assert_eq!(requests.last().expect("one").text("key"), left["key"]);
    assert_eq!(records(&house, "w").len(), 1);
}

#[test]
fn a_watcher_that_begins_under_a_broken_configuration_parks_nothing() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let config = house.text("state/config.json");
    let gate = house.gate("gate");
    enqueue_to(
        &house,
        "webhook:ops",
        "w",
        &[],
        &format!("{}; echo hi", gate.pass()),
    );
    kill_hard(house.watcher_pid("w"));
    house.write_config("{ broken");
    house.recover();
    gate.open();
    let waiting = record_in(&house, "w", "result", "retrying");
    let why = waiting["lastError"].as_str().expect("a reason");
    assert!(
        why.contains("the receiver \"ops\" cannot be looked up"),
        "{why}"
    );
    house.write_config(&config);
    record_in(&house, "w", "result", "delivered");
    assert_eq!(receiver.received(1).len(), 1);
}
