//! `wait`: until labels have ended, woken by events.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{House, eventually, finish, ignores_interrupts, kill, listens};

/// `dispatch` with these words, waiting.
fn waiting(house: &House, words: &[&str]) -> Child {
    let mut command = house.command("dispatch");
    command
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().expect("it starts");
    listens(child.id());
    child
}

#[test]
fn several_are_waited_for_and_repeats_count_once() {
    let house = House::new();
    house.enqueue("a", "echo one");
    house.enqueue("b", "echo two");
    let answer = house.dispatch(&["wait", "a", "b", "a"]).exits(0).json();
    assert_eq!(
        (answer["ok"].clone(), answer["count"].clone()),
        (true.into(), 2.into())
    );
    assert_eq!(answer["labels"][0]["lastReply"], "one\n");
    assert_eq!(answer["labels"][1]["lastReply"], "two\n");
}

#[test]
fn any_other_end_than_done_exits_with_1() {
    let house = House::new();
    house.enqueue("good", "true");
    house.enqueue("bad", "exit 3");
    let answer = house.dispatch(&["wait", "good", "bad"]).exits(1).json();
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["labels"][1]["status"], "error");
    house.dispatch(&["wait", "good"]).exits(0);
}

#[test]
fn one_is_enough_for_any_and_all_means_the_running_ones() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("quick", "true");
    house.ended("quick");
    house.enqueue("slow", &format!("{}; echo let through", gate.pass()));
    let answer = house
        .dispatch(&["wait", "slow", "quick", "--any"])
        .exits(0)
        .json();
    assert_eq!(answer["labels"][0]["label"], "quick");
    assert_eq!(answer["labels"][1]["status"], "running");
    let all = waiting(&house, &["wait", "--all"]);
    gate.open();
    let answer = finish(all).exits(0).json();
    assert_eq!(answer["count"], 1);
    assert_eq!(answer["labels"][0]["lastReply"], "let through\n");
    let none = house.dispatch(&["wait", "--all"]).exits(0).json();
    assert_eq!(none["count"], 0);
}

#[test]
fn a_timeout_exits_with_4_and_says_who_still_runs() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("slow", &gate.pass());
    let answer = house.dispatch(&["wait", "slow", "--timeout", "1"]).exits(4);
    assert_eq!(
        answer.json(),
        serde_json::json!({"ok": false, "timedOut": true, "count": 1, "labels": [{"label": "slow", "status": "running"}]})
    );
    let table = house
        .dispatch(&["wait", "slow", "--timeout", "1", "--output", "table"])
        .exits(4);
    assert_eq!(table.stderr, "[dispatch] timed out: slow still running\n");
}

#[test]
fn the_end_wakes_it_long_before_its_slow_check() {
    let house = House::new();
    let mut round = 0;
    // Whoever only polls needs five seconds each time, to its slow check; a busy machine does so now and then.
    eventually("one end is heard of before the slow check", || {
        round += 1;
        let label = format!("label-{round}");
        let gate = house.gate(&label);
        house.enqueue(&label, &gate.pass());
        let begun = Instant::now();
        let child = waiting(&house, &["wait", &label]);
        gate.open();
        finish(child).exits(0);
        (begun.elapsed() < Duration::from_secs(5)).then_some(())
    });
}

#[test]
fn an_interrupt_kills_it_so_that_a_shell_reports_130() {
    if ignores_interrupts() {
        println!("skipped: SIGINT is ignored here");
        return;
    }
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("slow", &gate.pass());
    for words in [
        &["wait", "slow"] as &[&str],
        &["logs", "--label", "slow", "-f"],
    ] {
        let mut child = waiting(&house, words);
        kill(child.id(), "INT");
        let status = child.wait().expect("it can be waited for");
        assert_eq!(status.signal(), Some(2), "{words:?}: {status:?}");
    }
    assert_eq!(house.entry("slow")["status"], "running");
}
