//! A ledger that is damaged when a run ends: nothing is lost, and nothing is written over.

use std::fs;

use crate::support::{House, eventually, finish_soon, halt, holder_of, is_alive, is_pending, kill};

const SIGTERM: u32 = 15;

const DAMAGE: &[u8] = b"{\"w\": {\"status\": \"run";

#[test]
fn a_detached_watcher_keeps_the_text_and_records_it_once_the_ledger_is_mended() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "read go < gate; echo result");
    let watcher = house.watcher_pid("w");
    eventually("the phase moves on", || {
        (house.entry("w")["phase"] == "running").then_some(())
    });
    let good = fs::read(house.ledger_path()).expect("readable");
    fs::write(house.ledger_path(), DAMAGE).expect("writable");
    gate.open();
    let artifacts = house.state().join("artifacts/dispatch-completions");
    eventually("the artifact", || {
        let kept = fs::read_dir(&artifacts).ok()?.flatten().next()?;
        // Its name is there before its text.
        let text = fs::read_to_string(kept.path()).ok()?;
        (text == "result\n").then_some(())
    });
    eventually("the watcher says why it waits", || {
        let log = house.state().join("watchers");
        fs::read_dir(log)
            .ok()?
            .flatten()
            .any(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.ends_with(".log")
                    && fs::read_to_string(entry.path())
                        .unwrap_or_default()
                        .contains("trying again")
            })
            .then_some(())
    });
    assert!(is_alive(watcher));
    assert_eq!(
        fs::read(house.ledger_path()).expect("readable"),
        DAMAGE,
        "it is not written over"
    );
    fs::write(house.ledger_path(), good).expect("writable");
    assert_eq!(house.ended("w")["status"], "done");
    assert_eq!(house.full_text("w"), "result\n");
}

#[test]
fn a_foreground_watcher_still_prints_and_the_scan_records_later() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "read go < gate; echo result");
    house.watcher_pid("w");
    let foreground = house.start("watcher", &["--label", "w"]);
    eventually("the hand-over", || {
        (house.watcher_pid("w") == foreground.id()).then_some(())
    });
    eventually("the phase moves on", || {
        (house.entry("w")["phase"] == "running").then_some(())
    });
    let good = fs::read(house.ledger_path()).expect("readable");
    fs::write(house.ledger_path(), DAMAGE).expect("writable");
    gate.open();
    let ran = finish_soon(foreground).exits(0);
    assert_eq!(
        ran.stdout,
        "\u{1f336}\u{fe0f} *dispatch* [w] completed:\n\nresult\n"
    );
    assert!(
        ran.stderr.contains("the end is not in the ledger yet"),
        "{ran:?}"
    );
    fs::write(house.ledger_path(), good).expect("writable");
    house.recover();
    assert_eq!(house.ended("w")["status"], "done");
    assert_eq!(house.full_text("w"), "result\n");
}

#[test]
fn a_ledger_damaged_during_the_hand_over_does_not_end_the_watch() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", "read go < gate; echo result");
    eventually("the phase moves on", || {
        (house.entry("w")["phase"] == "running").then_some(())
    });
    let detached = house.watcher_pid("w");
    let lock = house.post_lock("w");
    halt(detached);
    let foreground = house.start("watcher", &["--label", "w"]);
    eventually("it has been asked to hand over", || {
        is_pending(detached, SIGTERM).then_some(())
    });
    let good = fs::read(house.ledger_path()).expect("readable");
    fs::write(house.ledger_path(), DAMAGE).expect("writable");
    kill(detached, "CONT");
    eventually("the hand-over", || {
        (holder_of(&lock) == Some(foreground.id())).then_some(())
    });
    gate.open();
    let ran = finish_soon(foreground).exits(0);
    assert!(ran.stdout.ends_with("completed:\n\nresult\n"), "{ran:?}");
    fs::write(house.ledger_path(), good).expect("writable");
    house.recover();
    assert_eq!(house.ended("w")["status"], "done");
}
