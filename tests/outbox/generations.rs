//! What an older generation still owes when its label goes on to other work.

use super::receiver::{Answer, Receiver, url};
use super::{enqueue_to, house_with, quiet, record_in, records};
use crate::support::{House, eventually, is_alive};
use serde_json::json;

#[test]
fn a_new_generation_takes_over_what_is_undelivered_and_tells_it_with_the_old_text() {
    let port = Receiver::free_port();
    let house = House::new();
    house.configure(&json!({"webhooks": {"ops": {"url": url(port)}}}));
    enqueue_to(&house, "webhook:ops", "w", &[], "echo first");
    record_in(&house, "w", "result", "retrying");
    let old = house.entry("w")["generation"].to_string();
    let flags = ["--delivery-mode", "none"];
    enqueue_to(&house, "webhook:ops", "w", &flags, "echo second");
    house.ended("w");
    let receiver = Receiver::at(port, &[]);
    let record = record_in(&house, "w", "result", "delivered");
    let key = format!("w/{old}/1/result/webhook:ops");
    assert_eq!(record["key"], key.as_str());
    quiet(&house);
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].text("key"), key);
    assert!(requests[0].text("text").ends_with("completed:\n\nfirst\n"));
    assert_eq!(house.full_text("w"), "second\n");
    enqueue_to(&house, "webhook:ops", "w", &flags, "echo third");
    house.ended("w");
    assert!(records(&house, "w").is_empty(), "delivered is not carried");
}

#[test]
fn a_parked_record_outlives_its_generation_until_it_is_redelivered() {
    let receiver = Receiver::answering(&[Answer::Status(410)]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo first");
    let parked = record_in(&house, "w", "result", "parked");
    enqueue_to(&house, "webhook:ops", "w", &[], "echo second");
    record_in(&house, "w", "result", "delivered");
    assert_eq!(records(&house, "w").len(), 2);
    let ran = house.dispatch(&["redeliver", "--label", "w"]).exits(0);
    assert_eq!(ran.json()["deliveries"][0]["key"], parked["key"]);
    let texts: Vec<String> = receiver.requests().iter().map(|r| r.text("text")).collect();
    assert!(
        texts[1].ends_with("\n\nsecond\n") && texts[2].ends_with("\n\nfirst\n"),
        "{texts:?}"
    );
}

#[test]
fn a_request_under_way_when_its_label_goes_on_is_sent_once_and_its_watcher_leaves() {
    let receiver = Receiver::answering(&[Answer::Hold]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo first");
    receiver.received(1);
    let old = house.watcher_pid("w");
    let flags = ["--delivery-mode", "none"];
    enqueue_to(&house, "webhook:ops", "w", &flags, "echo second");
    house.ended("w");
    let new = house.watcher_pid("w");
    assert_ne!(old, new);
    receiver.release();
    record_in(&house, "w", "result", "delivered");
    for watcher in [old, new] {
        eventually("the watcher leaves", || (!is_alive(watcher)).then_some(()));
    }
    assert_eq!(receiver.requests().len(), 1, "its watcher was still at it");
    assert_eq!(records(&house, "w")[0]["attempts"], 1);
}

#[test]
fn a_request_under_way_when_its_watcher_and_its_generation_are_gone_is_repeated() {
    let receiver = Receiver::answering(&[Answer::Hold]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo first");
    receiver.received(1);
    crate::support::kill_hard(house.watcher_pid("w"));
    let flags = ["--delivery-mode", "none"];
    enqueue_to(&house, "webhook:ops", "w", &flags, "echo second");
    let record = record_in(&house, "w", "result", "delivered");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].text("key"), requests[0].text("key"));
    assert_eq!(requests[1].json()["mayBeRepeat"], true);
    assert_eq!(record["attempts"], 2);
}
