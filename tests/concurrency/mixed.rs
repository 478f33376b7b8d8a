//! Many processes with mixed commands on one ledger, against a model of what was acknowledged: what a command said
//! stands in the ledger or the archive at the end, nothing else does, and nobody ever saw a label go back.
//!
//! `DISPATCH_TEST_LONG=1`: 32 processes at a time with 100 commands each, otherwise 8 with 25.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use serde_json::Value;

use crate::support::{House, Ran};

const CHECKLIST: &str = r#"{"work_complete":true}"#;

/// Labels that all workers enqueue, cancel and signal.
const CONTENDED: u64 = 6;

/// Labels that run for the whole test and get notes.
const NOTED: u64 = 2;

/// What one worker was told.
#[derive(Default)]
struct Told {
    /// Label, number.
    notes: Vec<(String, u64)>,
    /// Label, summary: of labels that nobody else knows.
    own: Vec<(String, String)>,
    /// Label, generation.
    enqueued: Vec<(String, u64)>,
    /// Label, generation, status that the command told as final, and the summary where it was this signal's.
    ended: Vec<(String, u64, String, Option<String>)>,
    /// Label -> generation and revision as last seen.
    seen: BTreeMap<String, (u64, u64)>,
    commands: usize,
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// Exit code 0, or a refusal in one of these words.
#[track_caller]
fn accepted(ran: &Ran, refusals: &[&str]) -> bool {
    if ran.code == Some(0) {
        return true;
    }
    let said = format!("{}{}", ran.stdout, ran.stderr);
    let is_known = refusals.iter().any(|words| said.contains(words));
    assert!(ran.code == Some(1) && is_known, "{ran:?}");
    false
}

impl Told {
    fn work(house: &House, worker: u64, commands: u64) -> Self {
        let mut told = Self::default();
        let mut dice = Dice(worker + 1);
        for turn in 0..commands {
            let contended = format!("c{}", dice.roll(CONTENDED));
            match dice.roll(10) {
                0 | 1 => told.note(house, &format!("n{}", dice.roll(NOTED))),
                2 | 3 => told.enqueue(house, &contended),
                4 => told.cancel(house, &contended),
                5 => told.signal(house, &contended, &format!("{worker}/{turn}")),
                6 | 7 => told.signal_own(house, &format!("own-{worker}-{turn}")),
                8 => told.status(house, &contended),
                _ => told.list(house),
            }
            told.commands += 1;
        }
        told
    }

    fn note(&mut self, house: &House, label: &str) {
        let answer = house
            .dispatch(&["note", "--label", label, "on it"])
            .exits(0);
        self.notes
            .push((label.to_owned(), number(&answer.json()["note"])));
    }

    fn enqueue(&mut self, house: &House, label: &str) {
        let ran = house.dispatch(&["enqueue", "--label", label, "--", "true"]);
        if accepted(&ran, &["is running (generation"]) {
            let generation = number(&ran.json()["generation"]);
            self.enqueued.push((label.to_owned(), generation));
        }
    }

    fn cancel(&mut self, house: &House, label: &str) {
        let ran = house.dispatch(&["cancel", "--label", label]);
        let refusals = ["is not running", "no session found", "not cancelled"];
        if accepted(&ran, &refusals) {
            self.end(label, &ran.json(), None);
        }
    }

    fn signal(&mut self, house: &House, label: &str, summary: &str) {
        let words = ["done", "--label", label, "--summary", summary];
        let ran = house.dispatch(&[&words[..], &["--checklist", CHECKLIST]].concat());
        if accepted(&ran, &["was cancelled"]) {
            let answer = ran.json();
            let is_first = !answer["message"]
                .as_str()
                .expect("a text")
                .contains("already");
            self.end(label, &answer, is_first.then(|| summary.to_owned()));
        }
    }

    fn end(&mut self, label: &str, answer: &Value, summary: Option<String>) {
        let status = answer["status"].as_str().expect("a status").to_owned();
        let generation = number(&answer["generation"]);
        self.ended
            .push((label.to_owned(), generation, status, summary));
    }

    fn signal_own(&mut self, house: &House, label: &str) {
        let summary = format!("the work of {label}");
        let words = ["done", "--label", label, "--summary", &summary];
        house
            .dispatch(&[&words[..], &["--checklist", CHECKLIST]].concat())
            .exits(0);
        self.own.push((label.to_owned(), summary));
    }

    fn status(&self, house: &House, label: &str) {
        let status = house.dispatch(&["status", "--label", label]).exits(0);
        let status = status.json();
        if let Some((generation, _)) = self.seen.get(label) {
            assert!(number(&status["generation"]) >= *generation, "{status}");
        }
    }

    /// Every label that was there is there, and none has gone back.
    fn list(&mut self, house: &House) {
        let list = house.dispatch(&["list", "--all"]).exits(0).json();
        let mut now = BTreeMap::new();
        for row in list["labels"].as_array().expect("labels") {
            let label = row["label"].as_str().expect("a label").to_owned();
            now.insert(label, (number(&row["generation"]), number(&row["rev"])));
        }
        for (label, before) in &self.seen {
            let after = now.get(label);
            assert!(after >= Some(before), "{label}: {before:?} {after:?}");
        }
        for (label, _) in &self.own {
            assert!(now.contains_key(label), "{label} was acknowledged");
        }
        self.seen = now;
    }
}

/// Every generation of a label that ledger and archive have.
fn generations(house: &House) -> BTreeMap<(String, u64), Value> {
    let archive = std::fs::read_to_string(house.state().join("archive.jsonl")).unwrap_or_default();
    let archived = archive.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut line: Value = serde_json::from_str(line).expect("the archive is JSON");
        let label = line["label"].as_str().expect("a label").to_owned();
        (label, line["entry"].take())
    });
    let ledger = house.ledger();
    let current = ledger.as_object().expect("an object").clone();
    archived
        .chain(current)
        .map(|(label, entry)| ((label, number(&entry["generation"])), entry))
        .collect()
}

#[test]
fn what_many_processes_were_told_stands_in_the_ledger_and_nothing_is_lost() {
    let is_long = std::env::var_os("DISPATCH_TEST_LONG").is_some();
    let (workers, commands) = if is_long { (32, 100) } else { (8, 25) };
    let house = House::new();
    let gates: Vec<_> = (0..NOTED)
        .map(|n| {
            let gate = house.gate(&format!("gate{n}"));
            house.enqueue(&format!("n{n}"), &gate.pass());
            gate
        })
        .collect();
    let told: Vec<Told> = thread::scope(|scope| {
        let house = &house;
        let working: Vec<_> = (0..workers)
            .map(|worker| scope.spawn(move || Told::work(house, worker, commands)))
            .collect();
        let ended = working.into_iter().map(|worker| worker.join());
        ended.map(|told| told.expect("no worker panics")).collect()
    });
    let done: usize = told.iter().map(|told| told.commands).sum();
    assert_eq!(done as u64, workers * commands);
    gates.iter().for_each(crate::support::Gate::open);
    let labels: Vec<String> = house
        .ledger()
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    for label in &labels {
        house.ended(label);
    }
    let stands = generations(&house);

    for n in 0..NOTED {
        let label = format!("n{n}");
        let notes = told.iter().flat_map(|told| &told.notes);
        let mut numbers: Vec<u64> = notes
            .filter(|(l, _)| *l == label)
            .map(|(_, n)| *n)
            .collect();
        numbers.sort_unstable();
        let count = house.entry(&label)["noteCount"].as_u64().unwrap_or(0);
        assert_eq!(numbers, (1..=count).collect::<Vec<u64>>(), "{label}");
    }
    for (label, summary) in told.iter().flat_map(|told| &told.own) {
        let entry = house.entry(label);
        assert_eq!(entry["status"], "done");
        assert_eq!(entry["summary"], summary.as_str());
        assert_eq!(house.artifact(label), summary.as_bytes());
    }
    let mut accepted: BTreeSet<(String, u64)> = BTreeSet::new();
    for run in told.iter().flat_map(|told| &told.enqueued) {
        assert!(accepted.insert(run.clone()), "{run:?} was given twice");
        let status = &stands[run]["status"];
        assert!(
            status == "done" || status == "cancelled",
            "{run:?}: {status}"
        );
    }
    for (label, generation, status, summary) in told.iter().flat_map(|told| &told.ended) {
        let entry = &stands[&(label.clone(), *generation)];
        assert_eq!(entry["status"], status.as_str(), "{label} {generation}");
        if let Some(summary) = summary {
            assert_eq!(entry["summary"], summary.as_str(), "{label} {generation}");
            accepted.insert((label.clone(), *generation));
        }
    }
    // Nothing stands there that nobody was told of.
    let contended = stands.keys().filter(|(label, _)| label.starts_with('c'));
    assert_eq!(contended.cloned().collect::<BTreeSet<_>>(), accepted);
    house.dispatch(&["doctor"]).exits(0);
}
