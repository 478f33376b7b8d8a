//! SIGKILL at random moments: real processes, several labels in one house, and a record of what was acknowledged.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::faults::{is_long, scene};
use super::outcome::{
    TO_SINK, brought_to_its_end, configure_sink, is_sound, kinds_received, received,
};
use crate::support::{House, kill};

/// Kills in one house; then everything is brought to its end and looked at.
const KILLS_A_HOUSE: u32 = 20;

/// Numbers that look random, from a seed that a failure names.
struct Dice {
    state: u64,
    /// How long a command takes here and now, in microseconds.
    moment_us: u64,
}

impl Dice {
    /// A number below `limit` (xorshift64).
    fn below(&mut self, limit: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % limit
    }
}

/// What was acknowledged for a label, and what was done to it.
#[derive(Debug, Default)]
struct Told {
    label: String,
    enqueued: bool,
    notes: Vec<String>,
    done: bool,
    cancelled: bool,
    /// A process of its run was killed, which may cost the run, never the label.
    maimed: bool,
}

/// The words with which a label is signalled done.
fn signal(label: &str) -> [&str; 7] {
    let list = r#"{"work_complete":true}"#;
    [
        "done",
        "--label",
        label,
        "--summary",
        "signalled",
        "--checklist",
        list,
    ]
}

/// Starts a command, kills it after a moment, and says whether it had answered.
fn cut_short(house: &House, dice: &mut Dice, words: &[&str]) -> bool {
    let mut command = house.command("dispatch");
    command
        .args(words)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let child: Child = command.spawn().expect("the program starts");
    std::thread::sleep(Duration::from_micros(dice.below(dice.moment_us)));
    kill(child.id(), "KILL");
    let output = child.wait_with_output().expect("it can be waited for");
    output.status.code() == Some(0) && !output.stdout.is_empty()
}

fn one_kill(house: &House, dice: &mut Dice, all: &mut Vec<Told>, n: u32) {
    let die = dice.below(8);
    if die < 3 || all.is_empty() {
        let label = format!("l{n}");
        let script = format!("echo {label} >> runs; sleep 0.1; echo result of {label}");
        let mut words = vec!["enqueue", "--label", &label, "--message", "a task"];
        words.extend(TO_SINK);
        words.extend(["--", "sh", "-c", &script]);
        let enqueued = cut_short(house, dice, &words);
        all.push(Told {
            label: label.clone(),
            enqueued,
            ..Told::default()
        });
        return;
    }
    let at = usize::try_from(dice.below(all.len() as u64)).expect("it is small");
    let told = all.get_mut(at).expect("it is one of them");
    let label = told.label.clone();
    match die {
        3 => {
            let text = format!("note {n}");
            if cut_short(house, dice, &["note", "--label", &label, &text]) {
                told.notes.push(text);
            }
        }
        4 => {
            told.done |= cut_short(house, dice, &signal(&label));
        }
        5 => told.cancelled |= cut_short(house, dice, &["cancel", "--label", &label]),
        _ => {
            // Whatever runs here: a watcher, a runner, a waiter, a command, a receiver.
            let pids = house.processes();
            if let Some(pid) =
                pids.get(usize::try_from(dice.below(16)).expect("small") % pids.len().max(1))
            {
                all.iter_mut().for_each(|told| told.maimed = true);
                kill(*pid, "KILL");
            }
            house.recover();
        }
    }
}

fn check(house: &House, all: &[Told]) {
    let runs = house.text("runs");
    for told in all {
        let label = &told.label;
        let entry = house.entry(label);
        let acknowledged = told.enqueued || told.done || !told.notes.is_empty();
        let times = runs.lines().filter(|line| line == label).count();
        assert!(times <= 1, "{label} ran {times} times");
        if entry.is_null() {
            assert!(
                !acknowledged && times == 0,
                "acknowledged and lost: {told:?}"
            );
            continue;
        }
        let status = entry["status"].as_str().expect("a status");
        assert!(!told.done || status == "done", "{told:?}: {entry}");
        assert!(
            !told.cancelled || status == "cancelled",
            "{told:?}: {entry}"
        );
        let signalled = entry["completion"].is_object();
        let is_whole = told.maimed || status == "cancelled" || signalled;
        assert!(
            is_whole || (status == "done" && times == 1),
            "{told:?}: {entry}"
        );
        let kinds = kinds_received(house, label);
        let ends = kinds.iter().filter(|kind| *kind != "note").count();
        let expected = usize::from(status != "cancelled");
        let corrected = kinds.iter().any(|kind| kind == "correction");
        assert_eq!(
            ends,
            expected + usize::from(corrected),
            "{told:?}: {kinds:?}"
        );
        for note in &told.notes {
            // A repeat says so below the text.
            let mut texts = received(house)
                .into_iter()
                .map(|payload| payload["text"].clone());
            let arrived = texts.any(|text| {
                let first = text.as_str().and_then(|text| text.lines().next());
                first == Some(note.as_str())
            });
            assert!(
                arrived,
                "{label}: {note} was acknowledged and never arrived"
            );
        }
    }
}

fn a_house_full_of_kills(seed: u64) {
    let house = House::new();
    configure_sink(&house);
    // Half of the commands get through, however busy the machine is.
    let begun = Instant::now();
    house.dispatch(&signal("first")).exits(0);
    let moment_us = 2 * begun.elapsed().as_micros() as u64 + 1;
    let mut dice = Dice {
        state: seed | 1,
        moment_us,
    };
    let mut all = Vec::new();
    for n in 0..KILLS_A_HOUSE {
        one_kill(&house, &mut dice, &mut all, n);
    }
    println!(
        "seed {seed}: {} labels, {} of them acknowledged, {} signals, {} cancels, {} notes",
        all.len(),
        all.iter().filter(|told| told.enqueued).count(),
        all.iter().filter(|told| told.done).count(),
        all.iter().filter(|told| told.cancelled).count(),
        all.iter().map(|told| told.notes.len()).sum::<usize>(),
    );
    let judged = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        brought_to_its_end(&house);
        check(&house, &all);
        // The next writes clear up, of the ledger and of the session store.
        house.dispatch(&signal("last")).exits(0);
        house.enqueue("next", "echo next");
        brought_to_its_end(&house);
        is_sound(&house);
    }));
    if judged.is_err() {
        panic!("with the seed {seed}: {all:?}\n{}", scene(&house));
    }
}

#[test]
fn nothing_that_was_acknowledged_is_lost_by_kills_at_random_moments() {
    let houses: u64 = if is_long() { 150 } else { 6 };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = now.map_or(1, |since| since.as_micros() as u64);
    let next = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    if n >= houses {
                        return;
                    }
                    a_house_full_of_kills(seed.wrapping_mul(2 * n + 1));
                }
            });
        }
    });
}
