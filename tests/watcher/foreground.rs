//! The watcher that a person or a scheduler starts: its stdout, its exit codes, and who may stand at the post.

use std::fs;
use std::os::unix::process::ExitStatusExt;

use dispatch::process::ProcessIdentity;
use serde_json::{Value, json};

use crate::support::{House, eventually, finish_soon, is_alive, kill, kill_hard};

const HEADER: &str = "\u{1f336}\u{fe0f} *dispatch* [w] completed:\n\n";

#[test]
fn of_ten_watchers_for_one_label_one_stays_and_nine_say_that_they_leave() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "read go < gate; echo result");
    let detached = house.watcher_pid("w");
    kill(detached, "TERM");
    eventually("the post is free", || (!is_alive(detached)).then_some(()));
    let watchers: Vec<_> = (0..10)
        .map(|_| house.start("watcher", &["--label", "w"]))
        .collect();
    let staying = house.watcher_pid("w");
    let (stays, leave): (Vec<_>, Vec<_>) = watchers
        .into_iter()
        .partition(|child| child.id() == staying);
    for child in leave {
        let left = finish_soon(child).exits(0);
        assert_eq!(left.stdout, "");
        let expected =
            format!("label \"w\" is watched already by watcher (pid {staying}); leaving");
        assert!(left.stderr.contains(&expected), "{left:?}");
    }
    gate.open();
    for child in stays {
        let stayed = finish_soon(child).exits(0);
        assert_eq!(stayed.stdout, format!("{HEADER}result\n"));
    }
    assert_eq!(house.entry("w")["status"], "done");
}

#[test]
fn detached_watchers_that_find_the_post_taken_leave_and_record_nothing() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "read go < gate; echo result");
    let first = house.watcher_pid("w");
    let generation = format!("--generation={}", house.entry("w")["generation"]);
    let others: Vec<_> = (0..9)
        .map(|_| house.start("watcher", &["--label=w", &generation, "--detached"]))
        .collect();
    for child in others {
        assert_eq!(finish_soon(child).exits(0).stdout, "");
    }
    assert_eq!(house.watcher_pid("w"), first);
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_foreground_watcher_takes_over_from_the_detached_one_and_prints_the_result() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "read go < gate; echo result");
    let detached = house.watcher_pid("w");
    let foreground = house.start("watcher", &["--label", "w", "--poll-interval", "20"]);
    eventually("the hand-over", || {
        (house.watcher_pid("w") == foreground.id()).then_some(())
    });
    eventually("the detached one leaves", || {
        (!is_alive(detached)).then_some(())
    });
    gate.open();
    let ran = finish_soon(foreground).exits(0);
    assert_eq!(ran.stdout, format!("{HEADER}result\n"));
    assert_eq!(house.entry("w")["status"], "done");
}

#[test]
fn a_foreground_watcher_of_a_failure_prints_a_notice_and_exits_one() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "echo half; read go < gate; exit 9");
    house.watcher_pid("w");
    let foreground = house.start("watcher", &["--label", "w"]);
    eventually("the hand-over", || {
        (house.watcher_pid("w") == foreground.id()).then_some(())
    });
    gate.open();
    let ran = finish_soon(foreground).exits(1);
    assert!(
        ran.stdout.contains("[w]") && !ran.stdout.contains("completed:"),
        "{ran:?}"
    );
    assert!(
        ran.stdout.contains("the command exited with code 9"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("half\n"), "{ran:?}");
    let again = house.run("watcher", &["--label", "w"]).exits(1);
    assert_eq!(again.stdout, ran.stdout);
}

#[test]
fn a_watcher_of_an_ended_label_prints_what_was_recorded() {
    let house = House::new();
    house.enqueue("w", "echo result");
    house.ended("w");
    for _ in 0..2 {
        let ran = house.run("watcher", &["--label", "w"]).exits(0);
        assert_eq!(ran.stdout, format!("{HEADER}result\n"));
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn one_look_at_a_running_label_is_pending_with_and_without_a_watcher() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "read go < gate; echo result");
    let detached = house.watcher_pid("w");
    house.runner_pid("w");
    let ran = house.run("watcher", &["--label", "w", "--once"]).exits(0);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("WATCHER_PENDING"), "{ran:?}");
    assert!(is_alive(detached), "a look does not take over");
    kill(detached, "TERM");
    eventually("the post is free", || (!is_alive(detached)).then_some(()));
    let ran = house.run("watcher", &["--label", "w", "--once"]).exits(0);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("WATCHER_PENDING"), "{ran:?}");
    let runner = house.runner_pid("w");
    gate.open();
    eventually("the run's end", || (!is_alive(runner)).then_some(()));
    let ran = house.run("watcher", &["--label", "w", "--once"]).exits(0);
    assert_eq!(ran.stdout, format!("{HEADER}result\n"));
    assert_eq!(house.entry("w")["status"], "done");
}

#[test]
fn a_watcher_without_a_label_is_misused_and_an_unknown_label_is_named() {
    let house = House::new();
    let ran = house.run("watcher", &[]).exits(2);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("--label"), "{ran:?}");
    house
        .run("watcher", &["--label", "w", "--no-such-flag"])
        .exits(2);
    house.enqueue("known", "echo hi");
    let ran = house.run("watcher", &["--label", "knwon"]).exits(1);
    assert_eq!(ran.stdout, "");
    assert!(ran.stderr.contains("known"), "{ran:?}");
}

#[test]
fn a_foreground_watcher_that_is_told_to_stop_dies_of_it_and_prints_and_records_nothing() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "read go < gate; echo result");
    house.watcher_pid("w");
    // A shell reports 143 and 130. The second one finds the post free.
    for (signal, number) in [("TERM", 15), ("INT", 2)] {
        let mut foreground = house.start("watcher", &["--label", "w"]);
        let pid = foreground.id();
        eventually("the hand-over", || {
            (house.watcher_pid("w") == pid).then_some(())
        });
        eventually("the phase moves on", || {
            (house.entry("w")["phase"] == "running").then_some(())
        });
        let before = fs::read(house.ledger_path()).expect("readable");
        kill(pid, signal);
        let status = eventually("it ends", || foreground.try_wait().expect("our own child"));
        assert_eq!(status.signal(), Some(number), "{status:?}");
        assert_eq!(finish_soon(foreground).stdout, "");
        assert_eq!(fs::read(house.ledger_path()).expect("readable"), before);
    }
    gate.open();
    house.recover();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_watcher_that_begins_during_a_look_waits_for_its_end_and_stays() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "read go < gate; echo result");
    let detached = house.watcher_pid("w");
    house.runner_pid("w");
    kill_hard(detached);
    // As a look that takes long holds the post.
    let post = house.post_lock("w");
    let look = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&post)
        .expect("it is there");
    fs2::FileExt::lock_exclusive(&look).expect("free");
    let mut signed: Value =
        serde_json::from_slice(&fs::read(&post).expect("signed")).expect("JSON");
    let me = ProcessIdentity::current();
    signed["pid"] = json!(me.pid);
    signed["startTime"] = json!(me.start_time);
    signed["program"] = json!("watcher --once");
    fs::write(&post, signed.to_string()).expect("writable");
    let generation = format!("--generation={}", house.entry("w")["generation"]);
    let mut begins = house.start("watcher", &["--label=w", &generation, "--detached"]);
    eventually("it waits for the post", || {
        let open = fs::read_dir(format!("/proc/{}/fd", begins.id())).ok()?;
        let mut targets = open
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok());
        targets.find(|path| *path == post).map(|_| ())
    });
    assert!(begins.try_wait().expect("our own child").is_none());
    drop(look);
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
    finish_soon(begins).exits(0);
}

#[test]
fn a_look_at_another_tools_label_names_the_way_to_take_it_over() {
    let house = House::new();
    house.write_ledger(r#"{"w": {"status": "running", "sessionKey": "agent:main:subagent:1f"}}"#);
    let ran = house.run("watcher", &["--label", "w", "--once"]).exits(1);
    assert_eq!(
        ran.stderr,
        "[dispatch] label \"w\" names no session of dispatch; one that another tool started is taken over by: dispatch watcher-handoff --label w\n"
    );
}
