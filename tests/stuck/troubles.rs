//! What stands still beside sessions: watchers, labels that nobody watches, deliveries, and the detector itself.

use serde_json::json;

use super::{alerts, detect, remembered, stuck};
use crate::concurrency::recovery::{MINUTE_MS, age_heartbeat, now_ms, stopped_watcher};
use crate::ledger::full_disk::SmallDisk;
use crate::outbox::receiver::{Answer, Receiver};
use crate::outbox::{enqueue_to, house_with, record_in};
use crate::support::{House, eventually, is_alive, kill, kill_hard, run};

/// A label that waits for a retry which was due long ago; nobody is there to make it.
const OVERDUE: &str = r#"{
  "late": {
    "sessionKey": "agent:main:subagent:11111111-2222-4333-8444-555555555555",
    "runId": "22222222-2222-4333-8444-555555555555",
    "sessionId": "33333333-2222-4333-8444-555555555555",
    "spawnedAt": "2026-01-02T03:04:05.000Z",
    "status": "running",
    "phase": "retry-wait",
    "retryAt": "2026-01-02T03:14:05.000Z",
    "backend": "local",
    "generation": 5,
    "updatedAt": "2026-01-02T03:05:05.000Z"
  },
  "theirs": {
    "sessionKey": "agent:main:subagent:44444444-2222-4333-8444-555555555555",
    "spawnedAt": "2026-01-02T03:04:05.000Z",
    "status": "running",
    "updatedAt": "2026-01-02T03:05:05.000Z"
  }
}
"#;

#[test]
fn a_retry_that_nobody_makes_is_told_of() {
    let house = House::new();
    house.write_ledger(OVERDUE);
    let told = house.run("stuck-detector", &[]).exits(1);
    assert!(
        told.stdout.starts_with(
            "stuck: \"late\": nobody acts: its retry is overdue (since 2026-01-02 03:14 UTC, running for "
        ),
        "{told:?}"
    );
    let proofs = "): its retry was due at 2026-01-02 03:14 UTC; nobody is at its watcher's post\n";
    assert!(told.stdout.ends_with(proofs), "{told:?}");
    // An event tells of it once.
    house.run("stuck-detector", &[]).exits(1);
    let history = std::fs::read_to_string(house.state().join("history.jsonl")).expect("there");
    let events: Vec<serde_json::Value> = history
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(events.len(), 1, "{history}");
    assert_eq!(events[0]["event"], "dispatch.stuck");
    assert_eq!(events[0]["stuck_count"], 1);
    assert_eq!(events[0]["runs"][0]["job_name"], "late");
    let json = house.dispatch(&["stuck", "--json"]).exits(1).json();
    assert_eq!(json["stuck_count"], 1, "{json:#}");
    assert_eq!(
        json["watcher_skipped"],
        json!([{"label": "theirs", "reason": "another tool started it and watches it"}])
    );
    assert_eq!(
        house.ledger(),
        serde_json::from_str::<serde_json::Value>(OVERDUE).expect("JSON")
    );
}

#[test]
fn more_than_the_limit_are_counted() {
    let house = House::new();
    let mut ledger: serde_json::Value = serde_json::from_str(OVERDUE).expect("JSON");
    let mut later = ledger["late"].clone();
    later["retryAt"] = json!("2026-01-02T04:00:00.000Z");
    ledger["later"] = later;
    house.write_ledger(ledger.to_string());
    let told = house.run("stuck-detector", &["--limit", "1"]).exits(1);
    let lines: Vec<&str> = told.stdout.lines().collect();
    assert!(lines[0].starts_with("stuck: \"late\": "), "{told:?}");
    assert_eq!(lines[1..], ["stuck: 1 more; --limit shows them"]);
    let json = house.run("stuck-detector", &["--limit", "1", "--json"]);
    let json = json.exits(1).json();
    assert_eq!(json["stuck_count"], 2);
    assert_eq!(json["stuck_sessions"].as_array().map(Vec::len), Some(1));
    let none = house.run("stuck-detector", &["--limit", "0"]).exits(2);
    assert_eq!(
        none.stderr,
        "[stuck-detector] --limit: \"0\" is no count; give a whole number from 1\n"
    );
}

#[test]
fn what_is_cancelled_is_named_and_the_rest_is_left_to_the_next_run() {
    let house = House::new();
    let ledger: serde_json::Value = serde_json::from_str(OVERDUE).expect("JSON");
    let mut entries = json!({});
    for (label, due) in [("a", "04"), ("b", "05"), ("c", "06")] {
        entries[label] = ledger["late"].clone();
        entries[label]["retryAt"] = json!(format!("2026-01-02T{due}:00:00.000Z"));
    }
    house.write_ledger(entries.to_string());
    let told = |words: &[&str], label: &str, cancelled: &str, more: &str| {
        let ran = house.run("stuck-detector", words).exits(1);
        let lines: Vec<&str> = ran.stdout.lines().collect();
        let start = format!("stuck: \"{label}\": ");
        assert!(lines[0].starts_with(&start), "{ran:?}");
        assert!(lines[0].ends_with(cancelled), "{ran:?}");
        assert_eq!(lines[1..], [more], "{ran:?}");
    };
    let statuses = || ["a", "b", "c"].map(|label| house.entry(label)["status"].clone());
    let words = ["--limit", "1", "--cancel", "--dry-run"];
    let more = "stuck: 2 more, left to the next run; --limit takes in more";
    told(&words, "a", "; it would be cancelled", more);
    assert_eq!(statuses(), ["running", "running", "running"]);
    told(&words[..3], "a", "; it is cancelled", more);
    assert_eq!(statuses(), ["cancelled", "running", "running"]);
    let more = "stuck: 1 more, left to the next run; --limit takes in more";
    told(&words[..3], "b", "; it is cancelled", more);
    assert_eq!(statuses(), ["cancelled", "cancelled", "running"]);
}

#[test]
fn a_wedged_watcher_is_told_of() {
    let house = House::new();
    let gate = house.gate("gate");
    let watcher = stopped_watcher(&house, &gate.pass());
    age_heartbeat(&house, "w", 2 * MINUTE_MS, |_| {});
    house.run("stuck-detector", &[]).exits(0);
    age_heartbeat(&house, "w", 4 * MINUTE_MS, |_| {});
    let line = format!("wedged: the watcher of \"w\" (pid {watcher}) has not stirred for 4m");
    for told in [
        house.run("stuck-detector", &["--quiet"]).exits(1),
        house.dispatch(&["stuck"]).exits(1),
    ] {
        assert!(told.stdout.starts_with(&line), "{told:?}");
        // A while later the seconds are told, too.
        assert!(told.stdout[line.len()..].contains(" (since "), "{told:?}");
        assert_eq!(told.stdout.lines().count(), 1, "{told:?}");
    }
    let json = house.dispatch(&["stuck", "--json"]).exits(1).json();
    assert_eq!(json["stuck_count"], 0);
    assert_eq!(json["wedged_watchers"][0]["pid"], watcher);
    gate.open();
    kill(watcher, "CONT");
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_label_that_nobody_watches_is_told_of_and_one_that_is_over_is_resolved() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo hi", gate.pass()));
    let runner = house.runner_pid("w");
    kill_hard(house.watcher_pid("w"));
    let told = alerts(&house, &[]);
    assert!(
        told.stdout
            .starts_with("stuck: \"w\": it runs and nobody watches it (since "),
        "{told:?}"
    );
    assert!(
        told.stdout
            .contains(": its watcher's post is free; a watcher was seen there at "),
        "{told:?}"
    );
    gate.open();
    eventually("the run is over", || (!is_alive(runner)).then_some(()));
    let resolved = detect(&house, &[]).exits(0);
    assert_eq!(
        resolved.stderr,
        "[dispatch] \"w\" was resolved: done: the session has its reply\n"
    );
    assert_eq!(house.entry("w")["status"], "done");
    assert_eq!(house.full_text("w"), "hi\n");
    assert_eq!(remembered(&house, "w"), json!(null));
}

#[test]
fn a_parked_delivery_is_told_of() {
    let receiver = Receiver::answering(&[Answer::Body(404, "gone")]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    record_in(&house, "w", "result", "parked");
    let line = "parked: \"w\": result to webhook:ops: parked after 1 try: the receiver answered 404: \"gone\"; send it again by: dispatch redeliver --label w\n";
    for told in [
        house.run("stuck-detector", &["--quiet"]).exits(1),
        house.dispatch(&["stuck"]).exits(1),
    ] {
        assert_eq!(told.stdout, line);
    }
    let json = stuck(&house, &["--json"]).exits(1).json();
    assert_eq!(json["parked_deliveries"][0]["label"], "w");
    house.dispatch(&["redeliver", "--label", "w"]).exits(0);
    house.run("stuck-detector", &[]).exits(0);
}

#[test]
fn a_second_detector_leaves_the_first_one_at_work() {
    let house = House::new();
    house.write_ledger(OVERDUE);
    let lock = house.state().join("stuck.json.lock");
    let held = std::fs::File::create(lock).expect("creatable");
    fs2::FileExt::lock_exclusive(&held).expect("lockable");
    let second = house.run("stuck-detector", &[]).exits(0);
    assert_eq!(second.stdout, "");
    assert_eq!(
        second.stderr,
        "[dispatch] another is at work already; this one leaves\n"
    );
    drop(held);
    house.run("stuck-detector", &[]).exits(1);
}

#[test]
fn a_damaged_memory_is_begun_anew() {
    let house = House::new();
    house.write_ledger(OVERDUE);
    let memory = house.state().join("stuck.json");
    std::fs::write(&memory, "{\"labels\": {").expect("writable");
    let told = house.run("stuck-detector", &[]).exits(1);
    let words = format!("[dispatch] {} is damaged (", memory.display());
    assert!(told.stderr.starts_with(&words), "{told:?}");
    assert!(remembered(&house, "late")["alertedAt"].is_i64());
    assert_eq!(house.run("stuck-detector", &[]).exits(1).stderr, "");
}

#[test]
fn a_gateway_that_does_not_answer_is_told_of_and_proves_nothing() {
    let house = House::new();
    let mut ledger: serde_json::Value = serde_json::from_str(OVERDUE).expect("JSON");
    let mut entry = ledger["late"].take();
    entry["phase"] = json!("running");
    entry["backend"] = json!("openclaw");
    house.write_ledger(json!({"one": entry, "two": entry}).to_string());
    let watchers = house.state().join("watchers");
    std::fs::create_dir_all(&watchers).expect("creatable");
    for label in ["one", "two"] {
        // Somebody watched it a moment ago.
        let beat = json!({"pid": 1, "startTime": "", "at": now_ms(),
            "state": "watching", "reason": "the run is at work"});
        let path = watchers.join(format!("{label}.5.json"));
        std::fs::write(path, beat.to_string()).expect("writable");
    }
    let ask = |words: &[&str]| {
        let mut command = house.command("stuck-detector");
        command.args(words);
        command.env("OPENCLAW_GATEWAY_URL", "ws://127.0.0.1:1");
        command.env("OPENCLAW_GATEWAY_TOKEN", "secret");
        run(command, b"").exits(1)
    };
    let told = ask(&[]);
    assert!(
        told.stdout.starts_with(
            "gateway: 2 sessions could not be judged: no gateway answers at ws://127.0.0.1:1/: "
        ),
        "{told:?}"
    );
    assert_eq!(told.stdout.lines().count(), 1, "{told:?}");
    let json = ask(&["--json"]).json();
    assert_eq!(json["stuck_count"], 0);
    assert_eq!(json["labels"][0]["verdict"], "unknown");
    assert!(json["gateway_error"].is_string(), "{json:#}");
}

#[test]
fn a_disk_that_keeps_no_memory_hides_nothing() {
    let house = House::new();
    let Some(disk) = SmallDisk::under(&house, 256) else {
        return;
    };
    house.write_ledger(OVERDUE);
    let memory = house.state().join("stuck.json");
    let told = |words: &[&str], last: &str| {
        let ran = house.run("stuck-detector", words).exits(1);
        let lines: Vec<&str> = ran.stdout.lines().collect();
        assert!(lines[0].starts_with("stuck: \"late\": "), "{ran:?}");
        let last = last.replace("MEMORY", &memory.display().to_string());
        let expected: &[&str] = if last.is_empty() { &[] } else { &[&last] };
        assert_eq!((&lines[1..], ran.stderr.as_str()), (expected, ""));
    };
    let full = "memory: MEMORY cannot be kept: No space left on device (os error 28)";
    let filler = disk.fill(0);
    told(&[], &format!("{full}; nobody is asked"));
    told(&["--quiet"], &format!("{full}; nobody is asked"));
    let nothing = format!("{full}; nobody is asked, and nothing cancelled");
    told(&["--cancel"], &nothing);
    assert_eq!(house.entry("late")["cancelRequested"], json!(null));
    told(&["--dry-run"], "");
    let json = house.run("stuck-detector", &["--json"]).exits(1).json();
    assert_eq!(json["ok"], false);
    let why = json["memory_error"].as_str().expect("a text");
    assert!(why.ends_with("(os error 28); nobody is asked"), "{json:#}");
    std::fs::remove_file(&filler).expect("ours");
    told(&[], "");
    // Nothing new is to be remembered but that it was there.
    let filler = disk.fill(0);
    told(&[], full);
    std::fs::remove_file(&filler).expect("ours");
    disk.remount("ro");
    let fixed =
        "memory: MEMORY cannot be kept: Read-only file system (os error 30); nobody is asked";
    told(&[], fixed);
    told(&["--dry-run"], "");
}

#[test]
fn an_end_that_cannot_be_recorded_hides_nothing_else() {
    let house = House::new();
    let Some(disk) = SmallDisk::under(&house, 4096) else {
        return;
    };
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo hi", gate.pass()));
    let runner = house.runner_pid("w");
    kill_hard(house.watcher_pid("w"));
    gate.open();
    eventually("the run is over", || (!is_alive(runner)).then_some(()));
    let overdue: serde_json::Value = serde_json::from_str(OVERDUE).expect("JSON");
    house.change_ledger(|ledger| ledger["late"] = overdue["late"].clone());
    let filler = disk.fill(0);
    for told in [
        house.run("stuck-detector", &[]).exits(1),
        house.dispatch(&["stuck"]).exits(1),
    ] {
        assert!(told.stdout.starts_with("stuck: \"late\": "), "{told:?}");
        let unknown =
            "\nunknown: \"w\" could not be judged: it is over, and that is not recorded: ";
        assert!(told.stdout.contains(unknown), "{told:?}");
    }
    std::fs::remove_file(&filler).expect("ours");
    house.run("stuck-detector", &[]).exits(1);
    assert_eq!(house.entry("w")["status"], "done");
    assert_eq!(house.full_text("w"), "hi\n");
}
