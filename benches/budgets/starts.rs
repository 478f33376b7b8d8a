//! Whole processes from start to end: starting up, `status` and `done`.
//!
//! What is compared takes turns, so that a busy machine slows both alike. Beside the time that passes stands the
//! processor's time, which other work on the machine disturbs less.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::house::{DONE, House, quiet};
use crate::table::{Budget, Figure, Limit, median, row};

/// Medians of one program's runs.
#[derive(Debug, Clone, Copy)]
struct Run {
    time: Duration,
    /// The processor's time; `None` where the system does not tell it.
    processor: Option<Duration>,
}

/// Runs the commands in turns, after a few rounds that only warm the caches.
fn in_turns(rounds: usize, mut commands: Vec<Box<dyn FnMut() -> Command + '_>>) -> Vec<Run> {
    let mut measured = vec![(Vec::new(), Vec::new()); commands.len()];
    let warming = (rounds / 10).min(20);
    for round in 0..warming + rounds {
        for (command, (times, processor)) in commands.iter_mut().zip(&mut measured) {
            let command = command();
            let (time, busy) = once(command);
            if round >= warming {
                times.push(time);
                processor.extend(busy);
            }
        }
    }
    let medians = measured.into_iter().map(|(times, processor)| Run {
        time: median(times),
        processor: (!processor.is_empty()).then(|| median(processor)),
    });
    medians.collect()
}

fn once(mut command: Command) -> (Duration, Option<Duration>) {
    let begun = Instant::now();
    let mut child = command.spawn().expect("the program starts");
    let pid = Pid::from_child(&child);
    // It stays in the process table until its own account was read.
    waitid(
        WaitId::Pid(pid),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    )
    .expect("our own child");
    let time = begun.elapsed();
    let account = fs::read_to_string(format!("/proc/{}/schedstat", child.id())).ok();
    let busy = account.and_then(|text| text.split(' ').next()?.parse().ok());
    let status = child.wait().expect("our own child");
    assert!(status.success(), "{command:?}: {status}");
    (time, busy.map(Duration::from_nanos))
}

/// A program that does next to nothing, built here and now: what the language and the loader take by themselves.
fn built(dir: &Path, name: &str, source: &str) -> Option<PathBuf> {
    let (file, program) = (dir.join(format!("{name}.rs")), dir.join(name));
    fs::write(&file, source).ok()?;
    let mut rustc = quiet("rustc");
    rustc.args(["-O", "-C", "strip=symbols", "-o"]);
    let status = rustc.arg(&program).arg(&file).status().ok()?;
    status.success().then_some(program)
}

const EMPTY: &str = "fn main() {}";

const READS: &str = "fn main() {\n    let path = std::env::args_os().nth(1).unwrap();\n    let text = std::fs::read(path).unwrap();\n    println!(\"{}\", text.len());\n}";

/// A start, and `status` on a small ledger, beside `/bin/true` and the least that a program in this language takes.
pub fn starting(rounds: usize) {
    let house = House::new();
    house.fill(10);
    let status = || house.command("dispatch", &["status", "--label", "label-000003"]);
    let version = || house.command("dispatch", &["--version"]);
    let truth = || quiet("/bin/true");
    let empty = built(house.dir.path(), "empty", EMPTY);
    let reads = built(house.dir.path(), "reads", READS);
    let mut commands: Vec<Box<dyn FnMut() -> Command>> =
        vec![Box::new(truth), Box::new(version), Box::new(status)];
    if let (Some(empty), Some(reads)) = (empty, reads) {
        let ledger = house.ledger();
        commands.push(Box::new(move || quiet(&empty)));
        commands.push(Box::new(move || {
            let mut command = quiet(&reads);
            command.arg(&ledger);
            command
        }));
    }
    let runs = in_turns(rounds, commands);
    let limit = runs[0];
    let names = [
        "/bin/true",
        "dispatch --version",
        "status, 10 labels",
        "(an empty Rust program)",
        "(one that reads the ledger)",
    ];
    for (n, (name, run)) in names.iter().zip(&runs).enumerate() {
        let is_ours = (1..=2).contains(&n);
        let budget = is_ours.then_some(Budget::Times(2.0));
        let truth = Limit::time("/bin/true", limit.time);
        row(name, Figure::Time(run.time), truth, budget);
        processor(name, run.processor, limit.processor);
    }
}

/// The processor's time of a program beside that of `/bin/true`, where the system tells them.
fn processor(name: &str, busy: Option<Duration>, least: Option<Duration>) {
    if let (Some(busy), Some(least)) = (busy, least) {
        let truth = Limit::time("/bin/true's", least);
        let name = format!("  {name}: the processor's time");
        row(&name, Figure::Time(busy), truth, None);
    }
}

/// `status` beside a program that only reads the ledger, and `done` beside writing one as large, durably.
pub fn sized(labels: usize, rounds: usize) {
    let house = House::new();
    house.fill(labels);
    let last = format!("label-{:06}", labels - 1);
    let mut commands: Vec<Box<dyn FnMut() -> Command>> = vec![
        Box::new(|| quiet("/bin/true")),
        Box::new(|| house.command("dispatch", &["status", "--label", &last])),
    ];
    if let Some(reads) = built(house.dir.path(), "reads", READS) {
        let ledger = house.ledger();
        commands.push(Box::new(move || {
            let mut command = quiet(&reads);
            command.arg(&ledger);
            command
        }));
    }
    let runs = in_turns(rounds, commands);
    let truth = runs[0].time;
    // Fresh memory may cost a process more than all that it does with it, which one that has its memory does not see.
    let limit = match runs.get(2) {
        Some(reads) => Limit::time("a program that reads the ledger", reads.time),
        None => {
            let read = timed(rounds, || drop(fs::read(house.ledger()).expect("readable")));
            Limit::time("/bin/true + reading the ledger", truth + read)
        }
    };
    let budget = |ms| (labels == 10_000).then_some(Budget::AtMost(millis(ms)));
    row(
        &format!("status, {labels} labels"),
        Figure::Time(runs[1].time),
        limit,
        budget(20),
    );
    let name = format!("status, {labels} labels");
    processor(&name, runs[1].processor, runs[0].processor);
    let mut count = 0;
    let mut copies = Vec::new();
    let done = in_turns(
        rounds,
        vec![Box::new(|| {
            copies.push(timed(1, || {
                replace(&house.state().join("copy"), &house.ledger())
            }));
            count += 1;
            let label = format!("fresh-{count}");
            let words = ["done", "--label", &label, "--checklist", DONE];
            house.command("dispatch", &words)
        })],
    );
    row(
        &format!("done, {labels} labels"),
        Figure::Time(done[0].time),
        Limit::time(
            "/bin/true + read, write, fsync, rename",
            truth + median(copies),
        ),
        budget(80),
    );
    let name = format!("done, {labels} labels");
    processor(&name, done[0].processor, runs[0].processor);
}

fn millis(ms: u64) -> Figure {
    Figure::Time(Duration::from_millis(ms))
}

pub fn timed(runs: usize, mut work: impl FnMut()) -> Duration {
    let times = (0..runs).map(|_| {
        let begun = Instant::now();
        work();
        begun.elapsed()
    });
    median(times.collect())
}

/// Reads `from` and puts what it holds in the place of `to`, durably, by the least that this takes.
pub fn replace(to: &Path, from: &Path) {
    let bytes = fs::read(from).expect("readable");
    let temporary = to.with_extension("new");
    let mut file = fs::File::create(&temporary).expect("creatable");
    file.write_all(&bytes).expect("writable");
    file.sync_all().expect("syncable");
    fs::rename(&temporary, to).expect("our own file");
}
