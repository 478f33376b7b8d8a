//! Deaths in the middle: of the runner, of the waiter, of everything, of `enqueue` itself.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use crate::support::{House, eventually, is_alive, kill, kill_hard, run};

#[test]
fn a_new_runner_adopts_the_command_of_a_killed_one() {
    let house = House::new();
    let (first, second) = (house.gate("first"), house.gate("second"));
    let script = "echo started >> starts; echo one; read go < first; echo two; read go < second
        echo three; echo complaint >&2; exit 5";
    house.enqueue("a", script);
    eventually("the first words", || {
        (house.streamed("a") == "one\n").then_some(())
    });
    let (runner, waiter) = (house.runner_pid("a"), house.waiter_pid("a"));
    kill_hard(runner);
    first.open();
    assert_ne!(house.runner_pid("a"), runner);
    eventually("the second words", || {
        (house.streamed("a") == "one\ntwo\n").then_some(())
    });
    assert_eq!(house.waiter_pid("a"), waiter);
    second.open();
    let entry = house.ended("a");
    assert_eq!(house.text("starts"), "started\n");
    let message = entry["failure"]["message"].as_str().expect("a message");
    assert_eq!(message, "the command exited with code 5: complaint");
    let text = house.full_text("a");
    assert!(
        text.ends_with("one\ntwo\nthree\n") && text.matches("one").count() == 1,
        "{text}"
    );
    let streamed = house.streamed("a");
    assert!("one\ntwo\nthree\n".starts_with(&streamed), "{streamed}");
}

#[test]
fn a_command_that_ends_while_it_has_no_runner_keeps_its_result_and_status() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("a", "echo one; read go < gate; echo two; exit 4");
    eventually("the first words", || {
        (house.streamed("a") == "one\n").then_some(())
    });
    kill_hard(house.watcher_pid("a"));
    kill_hard(house.runner_pid("a"));
    let waiter = house.waiter_pid("a");
    gate.open();
    eventually("the command's end", || (!is_alive(waiter)).then_some(()));
    assert_eq!(house.entry("a")["status"], "running");
    house.recover();
    let entry = house.ended("a");
    assert_eq!(
        entry["failure"]["message"],
        "the command exited with code 4"
    );
    assert!(house.full_text("a").ends_with("one\ntwo\n"));
}

#[test]
fn a_command_that_somebody_kills_ends_with_the_signal_and_what_it_had_said() {
    let house = House::new();
    let _never = house.gate("never");
    house.enqueue("k", "echo $$ > pid; echo one; read go < never");
    eventually("the first words", || {
        (house.streamed("k") == "one\n").then_some(())
    });
    let command = house.text("pid").trim().parse::<u32>().expect("a pid");
    kill_hard(command);
    let entry = house.ended("k");
    assert_eq!(
        (&entry["status"], &entry["failure"]["kind"]),
        (&json!("error"), &json!("command"))
    );
    assert_eq!(
        entry["failure"]["message"],
        "the command was ended by SIGKILL (9)"
    );
    assert!(house.full_text("k").contains("one\n"));
}

#[test]
fn a_run_whose_directory_is_deleted_is_lost_and_says_which_it_was() {
    let house = House::new();
    let _never = house.gate("never");
    house.enqueue("v", "echo one; read go < never");
    eventually("the first words", || {
        (house.streamed("v") == "one\n").then_some(())
    });
    let dir = house.run_dir("v");
    std::fs::remove_dir_all(&dir).expect("removable");
    let entry = house.ended("v");
    assert_eq!(
        (&entry["status"], &entry["failure"]["kind"]),
        (&json!("error"), &json!("runner-lost"))
    );
    assert_eq!(
        entry["failure"]["message"],
        format!("the files of the run are gone: {}", dir.display())
    );
}

#[test]
fn a_run_whose_waiter_was_killed_is_over_with_its_group_and_lost() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "echo $$ > pid; echo one; read go < gate; echo two");
    let command = eventually("the command", || {
        house.text("pid").trim().parse::<u32>().ok()
    });
    let runner = house.runner_pid("w");
    kill_hard(house.waiter_pid("w"));
    // A new runner finds the same: the command lives on.
    kill_hard(runner);
    assert_ne!(house.runner_pid("w"), runner);
    assert!(is_alive(command));
    assert_eq!(house.entry("w")["status"], "running");
    gate.open();
    let entry = house.ended("w");
    assert!(!is_alive(command));
    assert_eq!(entry["status"], "error");
    assert_eq!(entry["failure"]["kind"], "runner-lost");
    assert!(house.full_text("w").contains("one\ntwo\n"));
}

#[test]
fn a_run_that_was_killed_with_everything_is_lost_and_never_done() {
    let house = House::new();
    let _gate = house.gate("gate");
    house.enqueue("x", "echo $$ > pid; echo one; read go < gate; echo two");
    eventually("the first words", || {
        (house.streamed("x") == "one\n").then_some(())
    });
    let command = house.text("pid").trim().parse::<u32>().expect("a pid");
    let carriers = [
        house.watcher_pid("x"),
        house.runner_pid("x"),
        house.waiter_pid("x"),
        command,
    ];
    for pid in carriers {
        kill_hard(pid);
    }
    house.recover();
    let entry = house.ended("x");
    assert_eq!(entry["status"], "error");
    assert_eq!(entry["failure"]["kind"], "runner-lost");
    assert!(house.full_text("x").contains("one\n"));
}

#[test]
fn a_runner_after_a_reboot_leaves_strangers_alone_that_have_its_numbers() {
    let house = House::new();
    let _gate = house.gate("gate");
    let words = [
        "enqueue",
        "--label",
        "b",
        "--timeout",
        "1h",
        "--",
        "sh",
        "-c",
        "read go < gate",
    ];
    house.dispatch(&words).exits(0);
    let carriers = [
        house.watcher_pid("b"),
        house.runner_pid("b"),
        house.waiter_pid("b"),
    ];
    for pid in carriers {
        kill_hard(pid);
    }
    for pid in house.processes() {
        kill_hard(pid);
    }
    // Its group's number now is a stranger's, and its time is up long since.
    let mut stranger = Command::new("sleep")
        .arg("600")
        .process_group(0)
        .spawn()
        .expect("sleep is on every system");
    let claim = json!({"waiter": {"pid": stranger.id(), "startTime": "another:1"}, "atMs": 1});
    std::fs::write(house.run_dir("b").join("started.json"), claim.to_string()).expect("writable");
    house.recover();
    let entry = house.ended("b");
    assert_eq!(entry["failure"]["kind"], "runner-lost");
    assert!(
        stranger.try_wait().expect("our child").is_none(),
        "the stranger was killed"
    );
    stranger.kill().expect("our own child can be killed");
    stranger.wait().expect("our own child can be waited for");
}

#[test]
fn an_enqueue_that_is_killed_at_any_moment_leaves_nothing_half_done() {
    let house = House::new();
    let mut acknowledged = Vec::new();
    for n in 0..40u64 {
        let label = format!("l{n}");
        let script = format!("echo {label} >> runs; echo result of {label}");
        let mut child = house
            .command("dispatch")
            .args([
                "enqueue",
                "--label",
                &label,
                "--message",
                "a task",
                "--",
                "sh",
                "-c",
                &script,
            ])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        // A moment of its own each time; which one it is does not decide the test.
        std::thread::sleep(Duration::from_micros(n * 1_000));
        let _ = child.kill();
        let output = child.wait_with_output().expect("it can be waited for");
        if !output.stdout.is_empty() {
            acknowledged.push(label);
        }
    }
    house.recover();
    let ledger = match house.ledger_path().exists() {
        true => house.ledger(),
        false => serde_json::json!({}),
    };
    let entered: Vec<&String> = ledger.as_object().expect("an object").keys().collect();
    for label in &acknowledged {
        assert!(
            entered.contains(&label),
            "{label} was acknowledged and is gone"
        );
    }
    for label in &entered {
        assert_eq!(house.ended(label)["status"], "done", "{label}");
        let runs = house.text("runs");
        assert_eq!(
            runs.lines().filter(|l| l == label).count(),
            1,
            "{label} in {runs}"
        );
        assert_eq!(house.full_text(label), format!("result of {label}\n"));
    }
    assert_eq!(house.text("runs").lines().count(), entered.len());
    let doctor = house.dispatch(&["doctor"]);
    assert_eq!(doctor.code, Some(0), "{doctor:?}");
}

#[test]
fn a_watcher_that_is_told_to_stop_leaves_the_command_alone() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("s", "read go < gate; echo all of it");
    let (watcher, runner) = (house.watcher_pid("s"), house.runner_pid("s"));
    kill(watcher, "TERM");
    eventually("the watcher leaves", || (!is_alive(watcher)).then_some(()));
    assert!(is_alive(runner));
    assert_eq!(house.entry("s")["status"], "running");
    gate.open();
    eventually("the run's end", || (!is_alive(runner)).then_some(()));
    assert_eq!(house.entry("s")["status"], "running");
    house.recover();
    assert_eq!(house.ended("s")["status"], "done");
    assert_eq!(house.full_text("s"), "all of it\n");
}

/// Enqueues `echo hi` with this fault in every waiter.
fn enqueue_with_faulty_waiters(house: &House, fault: &str, call: u64) {
    let mut command = house.command("dispatch");
    command
        .env("DISPATCH_FAULT", format!("local-waiter:{fault}:{call}"))
        .args(["enqueue", "--label", "w", "--", "echo", "hi"]);
    run(command, b"").exits(0);
}

#[test]
fn a_disk_without_room_delays_the_start_and_nothing_else() {
    // The first call reads the description, for which no room is needed; the last are those of the exit record.
    for call in 2..=16 {
        let house = House::new();
        enqueue_with_faulty_waiters(&house, "enospc", call);
        let entry = house.ended("w");
        assert_eq!(entry["status"], "done", "call {call}: {}", entry["failure"]);
        assert_eq!(house.full_text("w"), "hi\n", "call {call}");
    }
}

#[test]
fn a_start_that_fails_again_and_again_is_told_with_its_cause() {
    let house = House::new();
    enqueue_with_faulty_waiters(&house, "eio", 2);
    let entry = house.ended("w");
    assert_eq!(entry["failure"]["kind"], "spawn");
    let told = entry["failure"]["message"].as_str().expect("a reason");
    assert!(
        told.contains("again and again before it could start it: ")
            && told.ends_with("Input/output error (os error 5)"),
        "{told}"
    );
}
