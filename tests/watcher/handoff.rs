//! `dispatch watcher-handoff`: the post changes hands and the label is never without somebody who sees to it.

use serde_json::Value;

use super::states::log;
use crate::outbox::receiver::{Answer, Receiver};
use crate::outbox::{enqueue_to, house_with, quiet, record_in};
use crate::support::{Gate, House, eventually, finish_soon, holder_of, is_alive, kill, kill_hard};

/// A label whose script waits at a gate, watched by a detached watcher.
pub fn watched(house: &House, label: &str) -> (Gate, u32) {
    let gate = house.gate(&format!("gate-{label}"));
    house.enqueue(label, &format!("{}; echo result", gate.pass()));
    let pid = house.watcher_pid(label);
    (gate, pid)
}

fn hand_over(house: &House, label: &str) -> Value {
    let words = ["watcher-handoff", "--label", label];
    house.dispatch(&words).exits(0).json()
}

#[test]
fn a_fresh_watcher_has_the_post_when_the_command_says_so() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    let script = format!("{}; echo result", gate.pass());
    enqueue_to(&house, "webhook:ops", "w", &[], &script);
    let old = house.watcher_pid("w");
    let answer = hand_over(&house, "w");
    let new = holder_of(&house.post_lock("w")).expect("somebody is at the post");
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["oldPid"], old);
    assert_eq!(answer["newPid"], new);
    assert_ne!(old, new);
    let said = format!("pid {new} has taken over from pid {old}");
    assert_eq!(answer["message"], said);
    eventually("the old one leaves", || (!is_alive(old)).then_some(()));
    assert!(
        log(&house, "w")
            .iter()
            .any(|line| line.starts_with("stopped: "))
    );
    gate.open();
    record_in(&house, "w", "result", "delivered");
    quiet(&house);
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn a_watcher_begins_where_none_is() {
    let house = House::new();
    let (gate, old) = watched(&house, "w");
    kill_hard(old);
    let table = ["watcher-handoff", "--label", "w", "--output", "table"];
    let said = house.dispatch(&table).exits(0).stdout;
    let new = holder_of(&house.post_lock("w")).expect("somebody is at the post");
    assert_eq!(said, format!("w: pid {new} watches it now; nobody did\n"));
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_label_that_needs_no_watcher_gets_none() {
    let house = House::new();
    house.enqueue("known", "echo result");
    house.ended("known");
    quiet(&house);
    let answer = hand_over(&house, "known");
    assert_eq!(answer["newPid"], Value::Null);
    let said = "it has ended (done) and owes nothing: it needs no watcher";
    assert_eq!(answer["message"], said);
    let unknown = house
        .dispatch(&["watcher-handoff", "--label", "knwon"])
        .exits(1);
    assert!(
        unknown.stderr.contains("did you mean \"known\"?"),
        "{unknown:?}"
    );
    house.dispatch(&["watcher-handoff"]).exits(2);
}

#[test]
fn a_label_whose_delivery_was_given_up_is_told_of_it() {
    let receiver = Receiver::answering(&[Answer::Status(404)]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "a b", &[], "echo result");
    record_in(&house, "a b", "result", "parked");
    quiet(&house);
    let table = ["watcher-handoff", "--label", "a b", "--output", "table"];
    assert_eq!(
        house.dispatch(&table).exits(0).stdout,
        "a b: it has ended (done) and needs no watcher, but a delivery was given up (result to webhook:ops: parked after 1 try: the receiver answered 404: \"\"); mend that, then run: dispatch redeliver --label 'a b'\n"
    );
}

#[test]
fn a_foreground_watcher_is_not_robbed() {
    let house = House::new();
    let (gate, _) = watched(&house, "w");
    let foreground = house.start("watcher", &["--label", "w"]);
    let pid = foreground.id();
    eventually("the hand-over", || {
        (house.watcher_pid("w") == pid).then_some(())
    });
    let ran = house
        .dispatch(&["watcher-handoff", "--label", "w"])
        .exits(1);
    assert_eq!(ran.json()["oldPid"], pid);
    assert_eq!(ran.json()["ok"], false);
    let table = ["watcher-handoff", "--label", "w", "--output", "table"];
    let said = house.dispatch(&table).exits(1).stderr;
    let expected = format!("its watcher (pid {pid}) prints the result for whoever started it");
    assert!(said.contains(&expected), "{said}");
    gate.open();
    let ran = finish_soon(foreground).exits(0);
    assert!(ran.stdout.ends_with("result\n"), "{ran:?}");
}

#[test]
fn what_an_ended_label_owes_is_handed_over_too() {
    let receiver = Receiver::answering(&[Answer::Status(503)]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo result");
    record_in(&house, "w", "result", "retrying");
    let old = house.watcher_pid("w");
    let answer = hand_over(&house, "w");
    assert_eq!(answer["oldPid"], old);
    record_in(&house, "w", "result", "delivered");
    quiet(&house);
    assert_eq!(receiver.requests().len(), 2);
}

#[test]
fn of_two_commands_at_once_both_tell_of_whoever_is_there() {
    let house = House::new();
    let (gate, old) = watched(&house, "w");
    let words = ["watcher-handoff", "--label", "w"];
    let both = [
        house.start("dispatch", &words),
        house.start("dispatch", &words),
    ];
    let told = both.map(|child| finish_soon(child).exits(0).json()["newPid"].clone());
    let staying = holder_of(&house.post_lock("w")).expect("somebody is at the post");
    assert_ne!(staying, old);
    assert!(told.contains(&staying.into()), "{told:?}");
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn all_labels_that_need_one_get_a_fresh_watcher() {
    let house = House::new();
    let labels = ["a", "b", "c"];
    let watched = labels.map(|label| watched(&house, label));
    kill_hard(watched[1].1);
    house.enqueue("over", "true");
    house.ended("over");
    let (gate, _) = self::watched(&house, "mine");
    let foreground = house.start("watcher", &["--label", "mine"]);
    let pid = foreground.id();
    eventually("the hand-over", || {
        (house.watcher_pid("mine") == pid).then_some(())
    });
    let foreign = house.post_lock("over");
    eventually("the ended one's watcher leaves", || {
        holder_of(&foreign).is_none().then_some(())
    });
    let answer = house
        .dispatch(&["watcher-handoff", "--all"])
        .exits(0)
        .json();
    assert_eq!(answer["count"], 3, "{answer}");
    assert_eq!(answer["leftAlone"], 1);
    assert_eq!(answer["failed"], 0);
    let rows = answer["labels"].as_array().expect("a list");
    for (label, (_, old)) in labels.iter().zip(&watched) {
        let row = rows
            .iter()
            .find(|row| row["label"] == *label)
            .expect("a row");
        let new = holder_of(&house.post_lock(label)).expect("somebody is at the post");
        assert_eq!(row["newPid"], new);
        assert_ne!(*old, new);
        assert!(!is_alive(*old) || row["oldPid"] == *old, "{row}");
    }
    assert!(is_alive(pid), "the foreground watcher stays");
    kill(pid, "TERM");
    finish_soon(foreground);
    gate.open();
    for (gate, _) in watched {
        gate.open();
    }
    for label in labels {
        assert_eq!(house.ended(label)["status"], "done");
    }
}
