//! Writers that are killed at any moment.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use dispatch::process::FileLock;
use serde_json::{Map, Value, json};

use super::{COMPLETE, done, strays};
use crate::support::{House, finish};

/// How many writers are killed, in two lanes that meet at the lock.
fn kills() -> u64 {
    match std::env::var_os("DISPATCH_TEST_LONG") {
        Some(_) => 3_000,
        None => 150,
    }
}

/// Places spread evenly over 0..1, in an order without pattern (the golden ratio's multiples).
fn spread(n: u64) -> f64 {
    (n as f64 * 0.618_033_988_749_895).fract()
}

/// Entries that were there before.
const OLD: usize = 500;

/// Large enough that writing it takes a noticeable part of the process's life.
fn large_ledger() -> Vec<u8> {
    let entries: Map<String, Value> = (0..OLD)
        .map(|n| {
            (
                format!("old-{n}"),
                json!({"status": "done", "summary": "x".repeat(500)}),
            )
        })
        .collect();
    let mut text = serde_json::to_vec_pretty(&entries).expect("serialisable");
    text.push(b'\n');
    text
}

#[test]
fn whatever_moment_a_writer_is_killed_at_no_acknowledged_change_is_lost() {
    let house = House::new();
    house.write_ledger(large_ledger());
    let begun = Instant::now();
    for n in 0..3 {
        done(&house, &format!("whole-{n}")).exits(0);
    }
    let lifetime = begun.elapsed() / 3;
    let acknowledged = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for lane in 0..2 {
            let (house, acknowledged) = (&house, &acknowledged);
            scope.spawn(move || {
                for n in (lane..kills()).step_by(2) {
                    let label = format!("killed-{n}");
                    if is_acknowledged(house, &label, lifetime.mul_f64(spread(n) * 2.5)) {
                        acknowledged
                            .lock()
                            .expect("no panic holds it")
                            .insert(label);
                    }
                    assert!(house.ledger().is_object());
                }
            });
        }
    });
    assert!(!FileLock::is_held(&house.state().join("labels.json.lock")));
    done(&house, "after all").exits(0);
    assert_eq!(strays(&house.state()), Vec::<String>::new());
    let ledger = house.ledger();
    let acknowledged = acknowledged.into_inner().expect("no panic holds it");
    for label in acknowledged.iter().map(String::as_str).chain([
        "whole-0",
        "whole-1",
        "whole-2",
        "after all",
    ]) {
        assert_eq!(ledger[label]["status"], "done", "{label}");
    }
    for n in 0..OLD {
        assert!(ledger[format!("old-{n}")].is_object(), "old-{n}");
    }
    // How many get that far depends on the machine; those that were left alone make sure that some do.
    let killed = kills() - acknowledged.len() as u64;
    println!("{killed} of {} died before they answered", kills());
    assert!(killed > 0, "no writer was killed in time");
}

/// Lets a writer live for so long; says whether it had answered by then.
fn is_acknowledged(house: &House, label: &str, life: Duration) -> bool {
    let mut child = house
        .command("dispatch")
        .args(["done", "--label", label, "--checklist", COMPLETE])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    // The moment of the kill, not a wait for anything.
    thread::sleep(life);
    let _ = child.kill();
    let ran = finish(child);
    let answer = serde_json::from_str::<Value>(&ran.stdout);
    let has_answered = answer.is_ok_and(|answer| answer["ok"] == true);
    assert!(
        has_answered || ran.code.is_none(),
        "neither killed nor done: {ran:?}"
    );
    has_answered
}
