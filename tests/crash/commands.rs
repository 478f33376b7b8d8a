//! The commands that people and agents call.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{House, kill_hard};

use super::faults::{DEATHS, FAILURES, Fault, at_every_call};
use super::outcome::{
    TO_SINK, brought_to_its_end, configure_sink, is_done_once, is_sound, kinds_received, received,
};

/// Appends to `runs` and says what its prompt was.
const SCRIPT: &str = "echo ran >> runs; cat; echo; echo result";
const TEXT: &str = "a task\nresult\n";

/// Appends to `runs`, then waits at the gate.
const GATED: &str = "echo ran >> runs; read -r _ < gate; echo result";

/// The words of an enqueue to the sink.
pub fn enqueue_words<'a>(script: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["enqueue", "--label", "w"];
    words.extend(TO_SINK);
    words.extend(more);
    words.extend(["--", "sh", "-c", script]);
    words
}

fn enqueue(house: &House, fault: &Fault) {
    configure_sink(house);
    let more = ["--message", "a task", "--idempotency-key", "once"];
    let words = enqueue_words(SCRIPT, &more);
    let struck = fault.strike(house, &words);
    if struck.acknowledged() {
        assert_eq!(
            house.entry("w")["generation"],
            struck.ran.json()["generation"]
        );
    }
    if fault.kind.is_death() {
        house.recover();
    }
    // Whoever heard no answer asks again under the same key.
    house.dispatch(&words).exits(0);
    brought_to_its_end(house);
    is_done_once(house, "w", TEXT);
    assert_eq!(kinds_received(house, "w"), ["result"]);
    is_sound(house);
}

#[test]
fn an_enqueue_that_dies_at_any_call_is_made_once_by_asking_again() {
    at_every_call("dispatch enqueue", &DEATHS, 20, enqueue);
}

#[test]
fn an_enqueue_that_fails_at_any_call_says_so_and_is_made_once_by_asking_again() {
    at_every_call("dispatch enqueue", &FAILURES, 20, enqueue);
}

/// An enqueue over an ended label, whose entry goes to the archive.
fn enqueue_again(house: &House, fault: &Fault) {
    configure_sink(house);
    house.dispatch(&enqueue_words("echo first", &[])).exits(0);
    brought_to_its_end(house);
    let generation = || house.entry("w")["generation"].to_string();
    let first = generation();
    let struck = fault.strike(house, &enqueue_words("echo ran >> runs; echo second", &[]));
    brought_to_its_end(house);
    let is_there = generation() != first;
    assert!(is_there || !struck.acknowledged(), "acknowledged and lost");
    if !is_there {
        house
            .dispatch(&enqueue_words("echo ran >> runs; echo second", &[]))
            .exits(0);
        brought_to_its_end(house);
    }
    is_done_once(house, "w", "second\n");
    assert_eq!(kinds_received(house, "w"), ["result", "result"]);
    let old = ["result", "--label", "w", "--generation", &first];
    assert_eq!(house.dispatch(&old).exits(0).json()["lastReply"], "first\n");
    is_sound(house);
}

#[test]
fn an_enqueue_over_an_ended_label_loses_neither_result_at_any_call() {
    at_every_call("dispatch enqueue", &DEATHS, 25, enqueue_again);
}

/// A running label whose command waits at the gate.
fn at_the_gate(house: &House) -> crate::support::Gate {
    configure_sink(house);
    let gate = house.gate("gate");
    house.dispatch(&enqueue_words(GATED, &[])).exits(0);
    gate
}

fn note(house: &House, fault: &Fault) {
    let gate = at_the_gate(house);
    let struck = fault.strike(house, &["note", "--label", "w", "first"]);
    house.dispatch(&["note", "--label", "w", "second"]).exits(0);
    gate.open();
    brought_to_its_end(house);
    is_done_once(house, "w", "result\n");
    let texts: Vec<_> = received(house).iter().map(|p| p["text"].clone()).collect();
    let arrived = |text: &str| texts.iter().any(|t| *t == text);
    assert!(arrived("first") || !struck.acknowledged(), "{texts:?}");
    assert!(arrived("second"), "{texts:?}");
    is_sound(house);
}

#[test]
fn a_note_that_was_acknowledged_arrives_wherever_the_command_dies_or_fails() {
    at_every_call("dispatch note", &DEATHS, 8, note);
    at_every_call("dispatch note", &FAILURES, 8, note);
}

fn cancel(house: &House, fault: &Fault) {
    let _gate = at_the_gate(house);
    house.wrote("runs", "ran");
    let struck = fault.strike(house, &["cancel", "--label", "w"]);
    assert!(!struck.acknowledged() || house.entry("w")["status"] == "cancelled");
    // Asked again, it goes on; or the first request has done it.
    let again = house.dispatch(&["cancel", "--label", "w"]);
    let is_over = again.stderr.contains("is not running: it is cancelled");
    assert!(again.code == Some(0) || is_over, "{again:?}");
    brought_to_its_end(house);
    assert_eq!(house.entry("w")["status"], "cancelled");
    assert_eq!(house.text("runs"), "ran\n");
    is_sound(house);
}

#[test]
fn a_cancel_that_dies_or_fails_at_any_call_is_finished_by_asking_again() {
    at_every_call("dispatch cancel", &DEATHS, 12, cancel);
    at_every_call("dispatch cancel", &FAILURES, 12, cancel);
}

fn redeliver(house: &House, fault: &Fault) {
    configure_sink(house);
    std::fs::write(house.path("closed"), "").expect("writable");
    house
        .dispatch(&enqueue_words("echo ran >> runs; echo result", &[]))
        .exits(0);
    brought_to_its_end(house);
    assert_eq!(house.entry("w")["deliveries"][0]["state"], "parked");
    std::fs::remove_file(house.path("closed")).expect("it is there");
    let struck = fault.strike(house, &["redeliver", "--label", "w"]);
    assert!(!struck.acknowledged() || !received(house).is_empty());
    brought_to_its_end(house);
    house.dispatch(&["redeliver", "--label", "w"]).exits(0);
    brought_to_its_end(house);
    is_done_once(house, "w", "result\n");
    assert_eq!(kinds_received(house, "w"), ["result"]);
    is_sound(house);
}

#[test]
fn a_redelivery_that_dies_or_fails_at_any_call_is_made_by_asking_again() {
    at_every_call("dispatch redeliver", &DEATHS, 10, redeliver);
    at_every_call("dispatch redeliver", &FAILURES, 10, redeliver);
}

/// A label that ended long ago, as its run left it, and one that stays. Returns the old one's files.
fn old_and_young(house: &House) -> Vec<PathBuf> {
    let state = house.state();
    let write = |name: &str, text: &str| {
        let path = state.join(name);
        let dir = path.parent().expect("a parent");
        let made = fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir);
        made.expect("creatable");
        fs::write(&path, text).expect("writable");
        let private = fs::Permissions::from_mode(0o600);
        fs::set_permissions(&path, private).expect("ours");
        path
    };
    let files: Vec<PathBuf> = [
        (
            "artifacts/dispatch-completions/20200102T030405Z-w-r1.txt",
            "result\n",
        ),
        ("prompts/w/r1.txt", "a task"),
        ("watchers/w.7.lock", "{}"),
        ("watchers/w.7.log", ""),
        ("sessions/s1.jsonl", "{}\n"),
        ("sessions/runs/r1/run.json", "{}"),
        ("sessions/runs/r1/stdout", "result\n"),
    ]
    .map(|(name, text)| write(name, text))
    .to_vec();
    let row = |id: &str| json!({"sessionId": id, "status": "done"});
    let store = json!({"agent:main:subagent:1": row("s1"), "agent:main:subagent:2": row("s2")});
    write("sessions/sessions.json", &store.to_string());
    let entry = |n: u64, ended: &str| {
        json!({
            "status": "done", "backend": "local", "generation": n, "endedAt": ended,
            "sessionKey": format!("agent:main:subagent:{n}"), "sessionId": format!("s{n}"),
            "runId": format!("r{n}"), "runIds": [format!("r{n}")], "summary": "result",
        })
    };
    let mut old = entry(7, "2020-01-02T03:04:05.000Z");
    old["sessionKey"] = "agent:main:subagent:1".into();
    old["sessionId"] = "s1".into();
    old["runId"] = "r1".into();
    old["runIds"] = json!(["r1"]);
    old["promptPath"] = json!(files[1]);
    old["artifact"] = json!({"path": files[0], "bytes": 7});
    let young = entry(2, "2999-01-02T03:04:05.000Z");
    house.write_ledger(format!("{:#}\n", json!({"w": old, "young": young})));
    let private = fs::Permissions::from_mode(0o600);
    for path in [
        house.ledger_path(),
        house.state().join("sessions/sessions.json"),
    ] {
        fs::set_permissions(path, private.clone()).expect("ours");
    }
    files
}

fn prune(house: &House, fault: &Fault) {
    let files = old_and_young(house);
    let young = house.entry("young");
    let struck = fault.strike(house, &["prune"]);
    let is_gone = house.entry("w").is_null();
    assert!(is_gone || !struck.acknowledged(), "acknowledged and there");
    // Wherever it stands, readers see it once.
    let archived = || house.dispatch(&["list", "--archived"]).exits(0).json();
    assert_eq!(archived()["count"], u64::from(is_gone), "{}", archived());
    let result = house.dispatch(&["result", "--label", "w"]).exits(0).json();
    assert_eq!(result["generation"], 7);
    // Its file may be gone, and then the ledger's own copy is told.
    let text = result["lastReply"].as_str().unwrap_or_default();
    assert_eq!(text.trim_end(), "result", "{result}");
    if !is_gone {
        assert!(files.iter().all(|path| path.exists()), "files went first");
    }
    house.dispatch(&["prune"]).exits(0);
    assert_eq!(archived()["count"], 1, "{}", archived());
    assert_eq!(archived()["labels"][0]["generation"], 7);
    let left: Vec<_> = files.iter().filter(|path| path.exists()).collect();
    assert_eq!(left, Vec::<&PathBuf>::new());
    assert_eq!(house.entry("young"), young);
    let store = fs::read(house.state().join("sessions/sessions.json")).expect("readable");
    let store: Value = serde_json::from_slice(&store).expect("JSON");
    let keys: Vec<_> = store.as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["agent:main:subagent:2"]);
    is_sound(house);
}

#[test]
fn a_prune_that_dies_or_fails_at_any_call_loses_nothing_and_is_finished_by_the_next() {
    at_every_call("dispatch prune", &DEATHS, 40, prune);
    at_every_call("dispatch prune", &FAILURES, 40, prune);
}

fn retry(house: &House, fault: &Fault) {
    configure_sink(house);
    house
        .dispatch(&enqueue_words(SCRIPT, &["--message", "a task"]))
        .exits(0);
    brought_to_its_end(house);
    is_done_once(house, "w", TEXT);
    std::fs::remove_file(house.path("runs")).expect("it is there");
    let generation = || house.entry("w")["generation"].to_string();
    let first = generation();
    let struck = fault.strike(house, &["retry", "--label", "w"]);
    brought_to_its_end(house);
    let is_there = generation() != first;
    assert!(is_there || !struck.acknowledged(), "acknowledged and lost");
    if !is_there {
        house.dispatch(&["retry", "--label", "w"]).exits(0);
        brought_to_its_end(house);
    }
    is_done_once(house, "w", TEXT);
    assert_eq!(kinds_received(house, "w"), ["result", "result"]);
    is_sound(house);
}

#[test]
fn a_retry_that_dies_at_any_call_is_made_once_by_asking_again() {
    at_every_call("dispatch retry", &DEATHS, 25, retry);
}

fn recovery(house: &House, fault: &Fault) {
    let gate = at_the_gate(house);
    kill_hard(house.watcher_pid("w"));
    fault.strike_program(house, "529-recovery", &[]);
    gate.open();
    brought_to_its_end(house);
    is_done_once(house, "w", "result\n");
    assert_eq!(kinds_received(house, "w"), ["result"]);
    is_sound(house);
}

#[test]
fn a_recovery_scan_that_dies_or_fails_at_any_call_is_made_good_by_the_next() {
    at_every_call("529-recovery", &DEATHS, 3, recovery);
    at_every_call("529-recovery", &FAILURES, 3, recovery);
}
