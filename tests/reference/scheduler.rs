//! `watcher` in the hands of a scheduler that runs it again and again and delivers what it prints.

use std::fs;

use serde_json::{Value, json};

use crate::outbox::quiet;
use crate::support::{House, Ran, eventually, finish_soon, is_alive, kill};

const HEADER: &str = "\u{1f336}\u{fe0f} *dispatch* [w] completed:\n\n";

fn look(house: &House) -> Ran {
    house.run("watcher", &["--label", "w", "--once"])
}

fn already(ran: &Ran) {
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str(), ran.code),
        (
            "",
            "[dispatch] WATCHER_ALREADY_DELIVERED label=w\n",
            Some(0)
        ),
    );
}

#[test]
fn looks_at_a_run_print_its_end_once() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "read go < gate; echo result");
    let detached = house.watcher_pid("w");
    let ran = look(&house).exits(0);
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr
            .starts_with("[dispatch] WATCHER_PENDING label=w reason=watched by"),
        "{ran:?}"
    );
    let runner = house.runner_pid("w");
    kill(detached, "TERM");
    eventually("the post is free", || (!is_alive(detached)).then_some(()));
    gate.open();
    eventually("the run's end", || (!is_alive(runner)).then_some(()));
    let first = look(&house).exits(0);
    assert_eq!(first.stdout, format!("{HEADER}result\n"));
    already(&look(&house));
    already(&look(&house));
    // Who asks without --once is told as often as he asks.
    let asked = house.run("watcher", &["--label", "w"]).exits(0);
    assert_eq!(asked.stdout, first.stdout);
}

#[test]
fn an_end_without_a_target_is_printed_once_and_a_failure_exits_one() {
    let house = House::new();
    house.enqueue("w", "echo half; exit 9");
    house.ended("w");
    quiet(&house);
    let first = look(&house).exits(1);
    assert!(
        first.stdout.contains("the command exited with code 9"),
        "{first:?}"
    );
    already(&look(&house));
    assert_eq!(house.entry("w")["completionDeliverySource"], "watcher");
}

#[test]
fn what_the_outbox_has_delivered_is_not_printed_and_what_it_gave_up_is() {
    for (script, is_delivered) in [("true", true), ("exit 67", false)] {
        let house = House::new();
        house.configure(&json!({"commands": {"post": ["sh", "-c", script]}}));
        let words = [
            "enqueue",
            "--label",
            "w",
            "--deliver-to",
            "command:post",
            "--",
            "echo",
            "result",
        ];
        house.dispatch(&words).exits(0);
        house.ended("w");
        let state = match is_delivered {
            true => "delivered",
            false => "parked",
        };
        eventually("the outbox is through", || {
            (house.entry("w")["deliveries"][0]["state"] == state).then_some(())
        });
        let first = eventually("the post is free", || {
            let ran = look(&house).exits(0);
            (!ran.stderr.contains("WATCHER_PENDING")).then_some(ran)
        });
        match is_delivered {
            true => already(&first),
            false => {
                assert_eq!(first.stdout, format!("{HEADER}result\n"));
                already(&look(&house));
            }
        }
    }
}

#[test]
fn looks_that_come_at_once_print_one_end_between_them() {
    let house = House::new();
    house.enqueue("w", "echo result");
    house.ended("w");
    eventually("the post is free", || {
        dispatch::process::FileLock::holder(&house.post_lock("w"))
            .is_none_or(|holder| !is_alive(holder.process.pid))
            .then_some(())
    });
    let looks: Vec<_> = (0..8)
        .map(|_| house.start("watcher", &["--label", "w", "--once"]))
        .collect();
    let printed = looks
        .into_iter()
        .map(|child| finish_soon(child).exits(0).stdout)
        .filter(|stdout| !stdout.is_empty());
    assert_eq!(printed.collect::<Vec<_>>(), [format!("{HEADER}result\n")]);
}

#[test]
fn a_reader_that_is_gone_costs_no_end() {
    let house = House::new();
    house.enqueue("w", "echo result");
    house.ended("w");
    // The reading end is closed before the look begins.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = house.command("watcher");
    command.args(["--label", "w", "--once"]).stdout(writer);
    let mut child = command.spawn().expect("it starts");
    drop(command);
    child.wait().expect("our own child");
    assert_eq!(house.entry("w")["completionDeliveredAt"], Value::Null);
    let ran = eventually("the post is free", || {
        let ran = look(&house).exits(0);
        (!ran.stderr.contains("watched already")).then_some(ran)
    });
    assert_eq!(ran.stdout, format!("{HEADER}result\n"));
}

#[test]
fn what_the_reference_has_delivered_is_not_printed_again() {
    let house = House::new();
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/fixtures/ledgers/reference-form.json"
    );
    house.write_ledger(fs::read(path).expect("the fixture is there"));
    let look = |label: &str| house.run("watcher", &["--label", label, "--once"]);
    for label in ["done-sha", "done-by-watcher"] {
        let ran = look(label).exits(0);
        assert_eq!(ran.stdout, "", "{label}");
        assert_eq!(
            ran.stderr,
            format!("[dispatch] WATCHER_ALREADY_DELIVERED label={label}\n")
        );
    }
    for (label, code) in [("done-generic", 0), ("error-529", 1)] {
        assert!(look(label).exits(code).stdout.contains(label), "{label}");
        assert_eq!(look(label).exits(0).stdout, "", "{label}");
    }
}
