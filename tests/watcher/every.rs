//! `watcher --all`: one process for every label, beside and instead of single watchers.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Stdio};

use serde_json::{Value, json};

use super::handoff::watched;
use crate::outbox::receiver::{Answer, Receiver};
use crate::outbox::{enqueue_to, house_with, quiet, record_in, records, signal_done};
use crate::support::{
    Gate, House, eventually, finish, finish_soon, holder_of, is_alive, kill, kill_hard,
};

/// A process that watches every label; what it says goes to the file.
fn watch_all(house: &House, log: &str) -> Child {
    let said = fs::File::create(house.path(log)).expect("creatable");
    let mut command = house.command("watcher");
    command.arg("--all").stdout(Stdio::piped()).stderr(said);
    command.spawn().expect("the program starts")
}

/// Waits until the process is at the label's post.
#[track_caller]
fn has_post(house: &House, label: &str, pid: u32) {
    eventually(&format!("{pid} is at the post of {label}"), || {
        (holder_of(&house.post_lock(label)) == Some(pid)).then_some(())
    });
}

/// Waits until the process is gone, and asserts that it left by itself with nothing on stdout.
#[track_caller]
fn leaves(child: Child) {
    kill(child.id(), "TERM");
    assert_eq!(finish_soon(child).exits(0).stdout, "");
}

/// As many labels as that wait at one gate each, their single watchers killed.
fn orphans(house: &House, count: usize) -> BTreeMap<String, Gate> {
    let labels: Vec<String> = (0..count).map(|n| format!("w{n}")).collect();
    let mut gates = BTreeMap::new();
    for label in labels {
        let gate = house.gate(&format!("gate-{label}"));
        let script = format!("{}; echo result of {label}", gate.pass());
        enqueue_to(house, "webhook:ops", &label, &[], &script);
        gates.insert(label, gate);
    }
    for label in gates.keys() {
        kill_hard(house.watcher_pid(label));
    }
    gates
}

/// How often the receiver got the result of each label.
fn deliveries(receiver: &Receiver) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in receiver.requests() {
        *counts.entry(request.text("label")).or_default() += 1;
    }
    counts
}

#[test]
fn forty_labels_of_dead_watchers_are_taken_over_and_brought_to_their_ends() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gates = orphans(&house, 40);
    let all = watch_all(&house, "all.log");
    let pid = all.id();
    for label in gates.keys() {
        has_post(&house, label, pid);
    }
    let instances = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let instances = instances
        .flatten()
        .filter_map(|fd| fs::read_link(fd.path()).ok());
    let instances = instances.filter(|to| to.to_string_lossy().contains("inotify"));
    assert!(
        instances.count() <= 1,
        "all labels share one source of file events"
    );
    signal_done(&house, "w0", "said so").exits(0);
    house.dispatch(&["cancel", "--label", "w1"]).exits(0);
    for gate in gates.values() {
        gate.open_if_anybody_waits();
    }
    for label in gates.keys() {
        let status = if label == "w1" { "cancelled" } else { "done" };
        assert_eq!(house.ended(label)["status"], status);
        if label != "w1" {
            record_in(&house, label, "result", "delivered");
        }
    }
    assert_eq!(house.full_text("w7"), "result of w7\n");
    let expected = gates.keys().filter(|label| *label != "w1");
    let expected: BTreeMap<_, _> = expected.map(|label| (label.clone(), 1)).collect();
    assert_eq!(deliveries(&receiver), expected);
    assert!(is_alive(pid), "it goes on");
    leaves(all);
}

#[test]
fn what_is_enqueued_meanwhile_and_what_a_killed_watcher_leaves_is_watched() {
    let house = House::new();
    let all = watch_all(&house, "all.log");
    house.wrote("all.log", "[dispatch] watching every label");
    let (gate, first) = watched(&house, "new");
    // Whoever was at the post first stays; should it die, the other takes over.
    if first != all.id() {
        kill_hard(first);
    }
    has_post(&house, "new", all.id());
    gate.open();
    assert_eq!(house.ended("new")["status"], "done");
    leaves(all);
}

#[test]
fn asked_to_stop_it_leaves_every_label_to_the_scan() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gates = orphans(&house, 4);
    let all = watch_all(&house, "all.log");
    for label in gates.keys() {
        has_post(&house, label, all.id());
        eventually("the phase moves on", || {
            (house.entry(label)["phase"] == "running").then_some(())
        });
    }
    let before = fs::read(house.ledger_path()).expect("readable");
    leaves(all);
    assert_eq!(fs::read(house.ledger_path()).expect("readable"), before);
    let said = house.text("all.log");
    for label in gates.keys() {
        let line = format!("watcher [{label}] stopped: asked to stop");
        assert!(said.contains(&line), "{said}");
    }
    let scan = house.recover();
    assert_eq!(scan.stdout.lines().count(), 4, "{scan:?}");
    gates.values().for_each(Gate::open);
    for label in gates.keys() {
        assert_eq!(house.ended(label)["status"], "done");
    }
}

#[test]
fn two_share_the_labels_and_nothing_is_delivered_twice() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gates = orphans(&house, 12);
    let both = [watch_all(&house, "one.log"), watch_all(&house, "two.log")];
    let pids = [both[0].id(), both[1].id()];
    let holder = |label: &String| holder_of(&house.post_lock(label));
    eventually("every post is taken", || {
        let mut labels = gates.keys();
        labels
            .all(|label| holder(label).is_some_and(|pid| pids.contains(&pid)))
            .then_some(())
    });
    // One of them dies hard; the other takes over what it had.
    let [one, two] = both;
    kill_hard(one.id());
    finish(one);
    for label in gates.keys() {
        has_post(&house, label, two.id());
    }
    let three = watch_all(&house, "three.log");
    house.wrote("three.log", "[dispatch] watching every label");
    gates.values().for_each(Gate::open);
    for label in gates.keys() {
        record_in(&house, label, "result", "delivered");
    }
    leaves(two);
    leaves(three);
    let expected: BTreeMap<_, _> = gates.keys().map(|label| (label.clone(), 1)).collect();
    assert_eq!(deliveries(&receiver), expected);
}

#[test]
fn a_label_that_cannot_be_watched_costs_the_others_nothing() {
    let house = House::new();
    let (gate, single) = watched(&house, "good");
    kill_hard(single);
    fs::write(house.path("openclaw.json"), "{ no").expect("writable");
    house.change_ledger(|ledger| {
        let mut bad = ledger["good"].clone();
        bad["backend"] = json!("openclaw");
        bad["generation"] = json!(7);
        ledger["bad"] = bad;
    });
    let said = fs::File::create(house.path("all.log")).expect("creatable");
    let mut command = house.command("watcher");
    command.env("OPENCLAW_CONFIG_PATH", house.path("openclaw.json"));
    let all = command
        .arg("--all")
        .stderr(said)
        .stdout(Stdio::piped())
        .spawn();
    let all = all.expect("the program starts");
    eventually("the bad one is told of", || {
        let said = house.text("all.log");
        said.contains("watcher [bad] ").then_some(())
    });
    has_post(&house, "good", all.id());
    gate.open();
    assert_eq!(house.ended("good")["status"], "done");
    let said = house.text("all.log");
    let line = said
        .lines()
        .find(|line| line.contains("watcher [bad] "))
        .expect("told");
    assert!(
        line.ends_with("; the other labels go on, this one is tried again in 60 s"),
        "{line}"
    );
    leaves(all);
}

#[test]
fn what_an_ended_label_owes_is_delivered_once_its_receiver_is_back() {
    let receiver = Receiver::answering(&[Answer::Status(503)]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo result");
    record_in(&house, "w", "result", "retrying");
    kill_hard(house.watcher_pid("w"));
    let all = watch_all(&house, "all.log");
    record_in(&house, "w", "result", "delivered");
    assert_eq!(records(&house, "w").len(), 1);
    leaves(all);
    quiet(&house);
    assert_eq!(receiver.requests().len(), 2);
}

#[test]
fn it_is_neither_robbed_nor_handed_over_and_takes_no_label() {
    let house = House::new();
    let (gate, single) = watched(&house, "w");
    kill_hard(single);
    let all = watch_all(&house, "all.log");
    has_post(&house, "w", all.id());
    let ran = house
        .dispatch(&["watcher-handoff", "--label", "w"])
        .exits(1);
    let said: Value = ran.json();
    let expected = format!(
        "watcher --all (pid {}) watches it with all others; restart that one instead",
        all.id()
    );
    assert_eq!(said["message"], expected);
    let ran = house.run("watcher", &["--label", "w"]).exits(0);
    assert!(
        ran.stderr.contains("is watched already by watcher --all"),
        "{ran:?}"
    );
    let status = house.dispatch(&["status", "--label", "w"]).exits(0).json();
    assert_eq!(status["watcher"]["pid"], all.id());
    house.run("watcher", &["--all", "--label", "w"]).exits(2);
    gate.open();
    house.ended("w");
    leaves(all);
}
