//! A watcher in the foreground is its run's only sink. What its stdout does not take is heard by whom the label names.

use std::fs::File;
use std::io::Read;
use std::process::{Child, Command, Stdio};

use rstest::rstest;
use serde_json::json;

use super::receiver::Receiver;
use super::{enqueue_to, house_with, quiet, record_in, records};
use crate::support::{Gate, House, eventually, finish_soon, is_alive, kill, kill_hard};

/// More than a pipe holds.
const LONG: &str = "head -c 200000 /dev/zero | tr '\\0' x";

/// A watcher in the foreground that has the label's post and this stdout.
#[track_caller]
fn foreground(house: &House, label: &str, stdout: Stdio) -> Child {
    let mut command = house.command("watcher");
    command.args(["--label", label]);
    command.env("DISPATCH_COMPLETION_INLINE_LIMIT_BYTES", "1000000");
    command.stdout(stdout).stderr(Stdio::piped());
    let child = command.spawn().expect("the program starts");
    eventually("the hand-over", || {
        (house.watcher_pid(label) == child.id()).then_some(())
    });
    child
}

fn full() -> Stdio {
    let device = File::options().write(true).open("/dev/full");
    Stdio::from(device.expect("every Linux has it"))
}

/// A label with a gate in its script, whose result goes to the webhook `ops`.
#[track_caller]
fn told_to_ops(house: &House, rest: &str) -> Gate {
    let gate = house.gate("gate");
    let script = format!("{}; {rest}", gate.pass());
    enqueue_to(house, "webhook:ops", "w", &[], &script);
    gate
}

#[test]
fn what_a_full_device_did_not_take_goes_to_the_labels_target() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = told_to_ops(&house, "echo result");
    let watcher = foreground(&house, "w", full());
    gate.open();
    let ran = finish_soon(watcher).exits(1);
    assert_eq!(
        ran.stderr.lines().last(),
        Some(
            "[dispatch] stdout did not take the result of \"w\" (No space left on device (os error 28)); it goes to webhook:ops"
        )
    );
    let record = record_in(&house, "w", "result", "delivered");
    assert_eq!(record["target"], "webhook:ops");
    quiet(&house);
    let requests = receiver.received(1);
    assert_eq!(requests.len(), 1);
    let told = requests[0].json();
    assert!(
        told["text"]
            .as_str()
            .is_some_and(|t| t.ends_with("result\n") || t.ends_with("result")),
        "{told}"
    );
    assert_eq!(told["mayBeRepeat"], false);
    assert_eq!(records(&house, "w").len(), 1);
}

#[test]
fn what_nobody_can_read_goes_to_the_labels_target() {
    for stdout in ["/dev/null", "&-"] {
        let receiver = Receiver::answering(&[]);
        let house = house_with(&receiver);
        let gate = told_to_ops(&house, "echo result");
        let shell = house.command("watcher");
        let words = format!("exec \"$0\" --label w >{stdout}");
        let program = shell.get_program().to_owned();
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(words).arg(program);
        command.env_clear().envs(
            shell
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        command.stderr(Stdio::piped());
        let watcher = command.spawn().expect("a shell starts");
        eventually("the hand-over", || {
            (house.watcher_pid("w") == watcher.id()).then_some(())
        });
        gate.open();
        let ran = finish_soon(watcher).exits(0);
        assert_eq!(
            ran.stderr.lines().last(),
            Some(
                "[dispatch] stdout is closed, or /dev/null: the result of \"w\" goes to webhook:ops"
            )
        );
        record_in(&house, "w", "result", "delivered");
        assert_eq!(receiver.received(1)[0].json()["mayBeRepeat"], false);
    }
}

#[test]
fn what_a_reader_that_left_did_not_take_goes_to_the_labels_target() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = told_to_ops(&house, "echo oh no >&2; exit 3");
    let mut watcher = foreground(&house, "w", Stdio::piped());
    drop(watcher.stdout.take());
    gate.open();
    let ran = finish_soon(watcher).exits(0);
    assert!(
        ran.stderr
            .ends_with("(Broken pipe (os error 32)); it goes to webhook:ops\n"),
        "{ran:?}"
    );
    record_in(&house, "w", "failure", "delivered");
    quiet(&house);
    let told = receiver.received(1)[0].json();
    assert_eq!(
        (&told["kind"], &told["mayBeRepeat"]),
        (&json!("failure"), &json!(false))
    );
}

#[test]
fn what_was_taken_in_part_is_told_as_a_possible_repeat() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = told_to_ops(&house, LONG);
    let mut watcher = foreground(&house, "w", Stdio::piped());
    gate.open();
    let mut reader = watcher.stdout.take().expect("a pipe");
    reader.read_exact(&mut [0; 100]).expect("the text begins");
    drop(reader);
    finish_soon(watcher).exits(0);
    record_in(&house, "w", "result", "delivered");
    assert_eq!(receiver.received(1)[0].json()["mayBeRepeat"], true);
}

#[test]
fn what_a_killed_watcher_had_not_printed_is_delivered_by_the_next_one() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = told_to_ops(&house, LONG);
    // Nobody reads: the watcher stops in the middle of its text.
    let mut watcher = foreground(&house, "w", Stdio::piped());
    gate.open();
    let record = record_in(&house, "w", "result", "pending");
    assert_eq!(record["target"], "stdout");
    kill_hard(watcher.id());
    watcher.wait().expect("it is gone");
    let doctor = house.dispatch(&["doctor"]);
    assert!(
        doctor
            .stdout
            .contains("owes a delivery and nobody sends it"),
        "{doctor:?}"
    );
    house.run("529-recovery", &[]).exits(0);
    record_in(&house, "w", "result", "delivered");
    let told = receiver.received(1)[0].json();
    assert_eq!(told["mayBeRepeat"], true);
    assert_eq!(records(&house, "w").len(), 1);
}

#[test]
fn where_nobody_else_is_named_it_waits_in_sight_until_it_is_printed() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo result", gate.pass()));
    let watcher = foreground(&house, "w", full());
    gate.open();
    let todo = "the label names nobody else to hear it; print it with: watcher --label w; or read it with: dispatch result --label w";
    let ran = finish_soon(watcher).exits(1);
    assert!(ran.stderr.trim_end().ends_with(todo), "{ran:?}");
    quiet(&house);
    let why = format!(
        "the stdout of a watcher in the foreground did not take it (No space left on device (os error 28)), and {todo}"
    );
    let record = record_in(&house, "w", "result", "parked");
    assert_eq!(record["lastError"], *why);
    let doctor = house.dispatch(&["doctor"]);
    assert!(
        doctor.stdout.contains(&format!("label \\\"w\\\": {why}")),
        "{doctor:?}"
    );
    let listed = house.dispatch(&["list", "--output", "table"]).exits(0);
    assert!(listed.stdout.contains("[1 undelivered]"), "{listed:?}");
    let status = house.dispatch(&["status", "--label", "w", "--output", "table"]);
    assert!(
        status.stdout.contains("dispatch result --label w"),
        "{status:?}"
    );
    for words in [&["redeliver", "--all"][..], &["redeliver", "--label", "w"]] {
        let ran = house
            .dispatch(&[words, &["--output", "table"]].concat())
            .exits(1);
        assert_eq!(ran.stdout, format!("w: {why}\n"));
    }
    let printed = house.run("watcher", &["--label", "w"]).exits(0);
    assert!(
        printed.stdout.ends_with("completed:\n\nresult\n"),
        "{printed:?}"
    );
    assert_eq!(records(&house, "w")[0]["state"], "delivered");
    let ran = house.dispatch(&["redeliver", "--all"]).exits(0);
    assert_eq!(ran.json()["count"], 0);
}

/// Waits until the watcher in the foreground has said that it watches.
#[track_caller]
fn watches(house: &House, watcher: u32) {
    eventually("it watches", || {
        let status = house.dispatch(&["status", "--label", "w"]).json();
        let told = &status["watcher"];
        (told["state"] == "watching" && told["pid"] == watcher).then_some(())
    });
}

/// A watcher in the foreground that was killed while it watched.
#[track_caller]
fn killed_foreground(house: &House) {
    let mut watcher = foreground(house, "w", Stdio::piped());
    watches(house, watcher.id());
    kill_hard(watcher.id());
    watcher.wait().expect("it is gone");
}

#[test]
fn the_end_of_a_run_whose_foreground_watcher_was_killed_before_waits_in_sight() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo result", gate.pass()));
    killed_foreground(&house);
    house.recover();
    // The one in its place is killed, too.
    let next = house.watcher_pid("w");
    watches(&house, next);
    kill_hard(next);
    house.recover();
    gate.open();
    house.ended("w");
    let record = record_in(&house, "w", "result", "parked");
    assert_eq!(record["target"], "stdout");
    assert_eq!(
        record["lastError"],
        "the watcher that was to print it is gone, and the label names nobody else to hear it; print it with: watcher --label w; or read it with: dispatch result --label w"
    );
    quiet(&house);
    let printed = house.run("watcher", &["--label", "w"]).exits(0);
    assert!(printed.stdout.ends_with("result\n"), "{printed:?}");
    assert_eq!(records(&house, "w")[0]["state"], "delivered");
}

#[test]
fn whoever_resolves_such_a_label_leaves_its_end_in_sight() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo result", gate.pass()));
    let runner = house.runner_pid("w");
    killed_foreground(&house);
    gate.open();
    eventually("the run is over", || (!is_alive(runner)).then_some(()));
    house.dispatch(&["status", "--label", "w"]).exits(0);
    let record = record_in(&house, "w", "result", "parked");
    assert_eq!(record["target"], "stdout");
}

#[test]
fn what_a_killed_foreground_watcher_did_not_live_to_see_goes_to_the_labels_target() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = told_to_ops(&house, "echo result");
    killed_foreground(&house);
    house.recover();
    gate.open();
    let record = record_in(&house, "w", "result", "delivered");
    assert_eq!(record["target"], "webhook:ops");
    assert_eq!(records(&house, "w").len(), 1);
    assert_eq!(receiver.received(1)[0].json()["mayBeRepeat"], false);
}

#[test]
fn a_foreground_watcher_that_was_asked_to_stop_or_looked_once_leaves_nothing_to_print() {
    for words in [&["--label", "w"][..], &["--label", "w", "--once"]] {
        let house = House::new();
        let gate = house.gate("gate");
        house.enqueue("w", &format!("{}; echo result", gate.pass()));
        let detached = house.watcher_pid("w");
        kill(detached, "TERM");
        eventually("the post is free", || (!is_alive(detached)).then_some(()));
        let watcher = house.start("watcher", words);
        let is_asked = words.len() == 2;
        if is_asked {
            watches(&house, watcher.id());
            kill(watcher.id(), "TERM");
        }
        let ran = finish_soon(watcher);
        assert_eq!(ran.code, (!is_asked).then_some(0), "{ran:?}");
        house.recover();
        gate.open();
        house.ended("w");
        quiet(&house);
        assert_eq!(records(&house, "w").len(), 0);
    }
}

#[test]
fn a_stdout_that_took_the_text_is_the_only_sink() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = told_to_ops(&house, "echo result");
    let watcher = foreground(&house, "w", Stdio::piped());
    gate.open();
    let ran = finish_soon(watcher).exits(0);
    assert!(ran.stdout.ends_with("result\n"), "{ran:?}");
    quiet(&house);
    house.run("529-recovery", &[]).exits(0);
    quiet(&house);
    let records = records(&house, "w");
    assert_eq!(
        (records.len(), &records[0]["target"], &records[0]["state"]),
        (1, &json!("stdout"), &json!("delivered"))
    );
    assert!(receiver.requests().is_empty());
}

#[test]
fn the_next_generation_does_not_take_an_unprinted_result_for_its_own() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = told_to_ops(&house, LONG);
    let mut watcher = foreground(&house, "w", Stdio::piped());
    gate.open();
    let first = record_in(&house, "w", "result", "pending");
    kill_hard(watcher.id());
    watcher.wait().expect("it is gone");
    enqueue_to(&house, "webhook:ops", "w", &[], "echo second");
    eventually("both are delivered", || {
        let records = records(&house, "w");
        let is_told = records.iter().all(|r| r["state"] == "delivered");
        (is_told && receiver.requests().len() == 2).then_some(())
    });
    let head = first["key"]
        .as_str()
        .and_then(|key| key.strip_suffix("stdout"));
    let head = head.expect("the key of a stdout").to_owned();
    let keys: Vec<_> = receiver
        .requests()
        .iter()
        .map(|r| r.json()["key"].clone())
        .collect();
    assert!(
        keys.contains(&json!(format!("{head}webhook:ops"))),
        "{keys:?}"
    );
}

#[test]
fn a_signal_that_says_little_is_told_when_the_run_ends_under_a_foreground_watcher() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = told_to_ops(&house, "exit 3");
    let watcher = foreground(&house, "w", Stdio::piped());
    let done = [
        "done",
        "--label",
        "w",
        "--checklist",
        r#"{"work_complete":true}"#,
    ];
    house.dispatch(&done).exits(0);
    let record = record_in(&house, "w", "result", "pending");
    assert!(
        record["nextAt"].is_string() || record["nextAt"].is_number(),
        "{record}"
    );
    gate.open();
    finish_soon(watcher).exits(0);
    let told = record_in(&house, "w", "result", "delivered");
    assert_eq!(told["target"], "webhook:ops");
}

#[rstest]
fn a_signal_after_a_killed_watcher_waits_in_sight_where_nobody_else_is_named(
    #[values(false, true)] is_watched_again: bool,
) {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo last words", gate.pass()));
    let mut watcher = foreground(&house, "w", Stdio::piped());
    watches(&house, watcher.id());
    kill_hard(watcher.id());
    watcher.wait().expect("it is gone");
    if is_watched_again {
        house.run("529-recovery", &[]).exits(0);
        house.watcher_pid("w");
    }
    let words = [
        "done",
        "--label",
        "w",
        "--summary",
        "All of it is summed up now.",
    ];
    let checklist = ["--checklist", "{\"work_complete\":true}"];
    house.dispatch(&[&words[..], &checklist].concat()).exits(0);
    let record = record_in(&house, "w", "result", "parked");
    let why = record["lastError"].as_str().unwrap_or_default();
    assert!(why.contains("watcher --label w"), "{record}");
    gate.open();
    house.ended("w");
    quiet(&house);
    let printed = house.run("watcher", &["--label", "w"]).exits(0);
    assert!(
        printed.stdout.contains("All of it is summed up now."),
        "{printed:?}"
    );
    assert_eq!(records(&house, "w")[0]["state"], "delivered");
}
