//! Deterministic simulation: the real rules of watcher, outbox, ledger and recovery in a world that a seed makes, with
//! crashes, lost and repeated answers, restarts, full disks and jumping clocks at any interleaving.
//!
//! `DISPATCH_SIM_SEED=n` plays one seed and prints its history; `DISPATCH_SIM_SEEDS=n` says how many are played, and
//! `DISPATCH_TEST_LONG=1` plays a million.

mod commands;
mod gateway;
mod link;
mod observer;
mod outbox;
mod process;
mod random;
mod receiver;
mod sabotage;
mod scan;
mod schedule;
mod verify;
mod watcher;
mod world;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use self::observer::Invariant;
use self::sabotage::Sabotage;
use self::schedule::play;

/// Seeds of the short mode.
const SEEDS: u64 = 10_000;

/// So many lines of a failing history are told unasked.
const TOLD_LINES: usize = 300;

/// Within so many seeds each broken rule is caught.
const SABOTAGE_SEEDS: u64 = 5_000;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

/// The first seed below `seeds` that breaks something, by all processors; and how many events were played.
fn first_broken(
    seeds: u64,
    sabotage: Option<Sabotage>,
) -> (Option<(u64, Invariant, String)>, usize) {
    let next = AtomicU64::new(0);
    let events = AtomicUsize::new(0);
    let found: Mutex<Option<(u64, Invariant, String)>> = Mutex::new(None);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let outcome = play(seed, sabotage, false);
                    events.fetch_add(outcome.events, Ordering::Relaxed);
                    let Some((invariant, what)) = outcome.broken else {
                        continue;
                    };
                    next.fetch_add(seeds, Ordering::Relaxed);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    if found.as_ref().is_none_or(|(other, _, _)| seed < *other) {
                        *found = Some((seed, invariant, what));
                    }
                    return;
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    (found, events.into_inner())
}

/// Tells the last lines of a seed's history, and what it broke.
fn retell(seed: u64, lines: usize) -> Option<String> {
    let outcome = play(seed, None, true);
    let first = outcome.history.len().saturating_sub(lines);
    for line in outcome.history.iter().skip(first) {
        println!("{line}");
    }
    let (invariant, what) = outcome.broken?;
    Some(format!(
        "seed {seed} breaks {invariant}: {what}\nreplay it: DISPATCH_SIM_SEED={seed} cargo test --test dispatch simulation -- --nocapture"
    ))
}

#[test]
fn no_history_breaks_what_must_hold() {
    if let Some(seed) = number("DISPATCH_SIM_SEED") {
        if let Some(broken) = retell(seed, usize::MAX) {
            panic!("{broken}");
        }
        println!("seed {seed} breaks nothing");
        return;
    }
    let seeds =
        number("DISPATCH_SIM_SEEDS").unwrap_or(match std::env::var_os("DISPATCH_TEST_LONG") {
            Some(_) => 1_000_000,
            None => SEEDS,
        });
    let begun = std::time::Instant::now();
    let (found, events) = first_broken(seeds, None);
    println!("{seeds} histories, {events} events, {:?}", begun.elapsed());
    if let Some((seed, ..)) = found {
        let broken = retell(seed, TOLD_LINES);
        panic!(
            "{}",
            broken.unwrap_or_else(|| format!("seed {seed} is not the same twice"))
        );
    }
}

#[test]
fn each_broken_rule_is_caught_by_its_invariant() {
    for (sabotage, invariant) in Sabotage::ALL {
        let (found, _) = first_broken(SABOTAGE_SEEDS, Some(sabotage));
        let (seed, caught, what) =
            found.unwrap_or_else(|| panic!("{sabotage:?} is not caught by {SABOTAGE_SEEDS} seeds"));
        println!("{sabotage:?}: seed {seed} breaks {caught}: {what}");
        assert_eq!(caught, invariant, "{sabotage:?}, seed {seed}: {what}");
    }
}
