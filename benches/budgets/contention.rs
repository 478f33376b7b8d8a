//! Many processes that change one ledger: whether a change is lost, and what one takes beside a bare replacement of a
//! file of that size under one lock, by as many processes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use dispatch::config::Strictness;
use dispatch::home::Home;
use dispatch::ledger::{Ledger, Patience};
use dispatch::paths::process_environment;
use serde_json::json;

use crate::house::{House, quiet};
use crate::starts::replace;
use crate::table::{Budget, Figure, Limit, row};

/// The argument that makes this program one of the writers.
pub const WRITER: &str = "--writer";

/// Labels that are there before.
const LABELS: usize = 100;

/// The label that every writer changes every time.
const SHARED: &str = "shared";

pub fn contention(writers: usize, updates: u64) {
    let house = House::new();
    house.fill(LABELS);
    let ours = together(&house, writers, "ledger", updates);
    let limit = together(&house, writers, "bare", updates);
    let total = writers as u64 * updates;
    let each = |time: Duration| time.div_f64(total as f64);
    row(
        &format!("an update, {writers} writers at once"),
        Figure::Time(each(ours)),
        Limit::time("read, write, fsync, rename under a lock", each(limit)),
        None,
    );
    row(
        &format!("of {total} updates lost or corrupt"),
        Figure::Count(lost(&house, writers, updates)),
        None,
        Some(Budget::AtMost(Figure::Count(0))),
    );
}

/// How long so many writers take.
fn together(house: &House, writers: usize, way: &str, updates: u64) -> Duration {
    let this = std::env::current_exe().expect("this program is somewhere");
    let begun = Instant::now();
    let start = |writer: usize| {
        let mut command: Command = quiet(&this);
        command.args([WRITER, way, &writer.to_string(), &updates.to_string()]);
        command.env("DISPATCH_HOME", house.state());
        command.spawn().expect("this program starts")
    };
    let children: Vec<Child> = (0..writers).map(start).collect();
    for mut child in children {
        assert!(child.wait().expect("our own child").success());
    }
    begun.elapsed()
}

/// One of the writers: the words are its way, its number and how often it writes.
pub fn write(words: &[String]) {
    let number = |n: usize| -> u64 { words[n].parse().expect("a number") };
    let (writer, updates) = (number(1), number(2));
    let home = Home::open(&process_environment, "bench", Strictness::Warn).expect("a state");
    match words[0].as_str() {
        "bare" => (0..updates).for_each(|_| bare(&home.paths.labels, writer)),
        _ => (0..updates).for_each(|n| mixed(&Ledger::new(&home), writer, n)),
    }
}

/// The shared label counts up; one more is new, changed or gone.
fn mixed(ledger: &Ledger, writer: u64, n: u64) {
    let own = format!("own-{writer}-{}", n / 3);
    let change = |book: &mut dispatch::ledger::Book| {
        let mut shared = book.get(SHARED).unwrap_or_default();
        let count = shared.number("count").unwrap_or_default();
        shared.set("count", json!(count + 1));
        book.put(SHARED, shared);
        match n % 3 {
            2 if n.is_multiple_of(2) => book.remove(&own),
            _ => {
                let mut entry = book.get(&own).unwrap_or_default();
                entry.set("summary", json!("It says \"all is well\". ".repeat(20)));
                book.put(&own, entry);
            }
        }
    };
    ledger
        .update(Patience::Unlimited, change)
        .expect("the ledger takes it");
}

fn bare(ledger: &Path, writer: u64) {
    let beside = |name: &str| -> PathBuf { ledger.with_file_name(name) };
    let lock = fs::File::create(beside("bare.lock")).expect("creatable");
    lock.lock().expect("lockable");
    replace(&beside(&format!("bare-{writer}")), ledger);
}

/// How many updates are not there, or are there although they were taken back.
fn lost(house: &House, writers: usize, updates: u64) -> u64 {
    let text = fs::read_to_string(house.ledger()).expect("readable");
    let ledger: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let counted = ledger[SHARED]["count"].as_u64().unwrap_or_default();
    let mut expected = BTreeSet::new();
    for writer in 0..writers {
        for n in 0..updates {
            let own = format!("own-{writer}-{}", n / 3);
            match n % 3 {
                2 if n.is_multiple_of(2) => expected.remove(&own),
                _ => expected.insert(own),
            };
        }
    }
    let labels = ledger.as_object().expect("an object").keys();
    let found: BTreeSet<String> = labels
        .filter(|label| label.starts_with("own-"))
        .cloned()
        .collect();
    let missing = (writers as u64 * updates).abs_diff(counted);
    missing + expected.symmetric_difference(&found).count() as u64
}
