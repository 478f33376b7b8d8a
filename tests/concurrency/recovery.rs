//! The recovery scan beside watchers that live, are dead, or do not stir.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::ledger::full_disk::SmallDisk;
use crate::outbox::receiver::{Answer, Receiver};
use crate::outbox::{enqueue_to, house_with, quiet, record_in, records};
use crate::support::{House, PATIENCE, eventually, finish_soon, is_alive, kill, kill_hard};

pub const MINUTE_MS: i64 = 60_000;

pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_millis()).expect("before the year 292,000,000")
}

fn heartbeat_path(house: &House, label: &str) -> PathBuf {
    let generation = &house.entry(label)["generation"];
    let name = format!("{label}.{generation}.json");
    house.state().join("watchers").join(name)
}

/// Makes the watcher's heartbeat so old, as if it had not stirred since; `change` may say more.
pub fn age_heartbeat(house: &House, label: &str, age_ms: i64, change: impl Fn(&mut Value)) {
    change_heartbeat(house, label, |beat| {
        beat["at"] = json!(now_ms() - age_ms);
        beat["nextAt"] = json!(now_ms() - age_ms);
        beat["awakeAt"] = json!(awake_ms() - age_ms);
        change(beat);
    });
}

/// Makes the watcher's heartbeat what it is after the machine has slept, or its clock was set forward.
fn sleep_over(house: &House, label: &str, slept_ms: i64) {
    change_heartbeat(house, label, |beat| {
        for time in ["at", "nextAt", "actsAt"] {
            if let Some(at) = beat[time].as_i64() {
                beat[time] = json!(at - slept_ms);
            }
        }
    });
}

/// The machine's time awake, ms.
fn awake_ms() -> i64 {
    let clock = dispatch::clock::SystemClock::new();
    dispatch::clock::Clock::awake_ms(&clock).expect("this system tells")
}

/// The label's heartbeat.
fn heartbeat(house: &House, label: &str) -> Value {
    let bytes = fs::read(heartbeat_path(house, label)).unwrap_or_default();
    serde_json::from_slice(&bytes).unwrap_or_default()
}

fn change_heartbeat(house: &House, label: &str, change: impl Fn(&mut Value)) {
    let path = heartbeat_path(house, label);
    let bytes = fs::read(&path).expect("a heartbeat");
    let mut beat: Value = serde_json::from_slice(&bytes).expect("JSON");
    change(&mut beat);
    let aside = path.with_extension("aside");
    fs::write(&aside, beat.to_string()).expect("writable");
    let facts = fs::metadata(&path).expect("a heartbeat");
    fs::set_permissions(&aside, facts.permissions()).expect("ours");
    fs::rename(&aside, &path).expect("replaceable");
}

/// For how many seconds a watcher has not stirred, by this text; whoever wrote it came a while after the heartbeat was aged.
#[track_caller]
pub fn told_seconds(text: &str, aged_ms: i64) -> u64 {
    let (_, rest) = text.split_once(" has not stirred for ").expect("told");
    let seconds = rest.split(' ').next().and_then(|word| word.parse().ok());
    let seconds: u64 = seconds.unwrap_or_else(|| panic!("no number: {text}"));
    let aged = aged_ms.unsigned_abs() / 1000;
    assert!(
        (aged..aged + PATIENCE.as_secs()).contains(&seconds),
        "{text}"
    );
    seconds
}

/// A running label whose command has begun, with a watcher that was stopped after its first heartbeat.
pub fn stopped_watcher(house: &House, script: &str) -> u32 {
    house.enqueue("w", script);
    let watcher = house.watcher_pid("w");
    eventually("it watches", || {
        let beat = fs::read(heartbeat_path(house, "w")).ok()?;
        let beat: Value = serde_json::from_slice(&beat).ok()?;
        (beat["state"] == "watching" && beat["pid"] == watcher).then_some(())
    });
    let halted = house.halt_watcher("w");
    // What runner and waiter write before the command begins is written by now.
    eventually("the command begins", || {
        house.run_dir("w").join("stderr").exists().then_some(())
    });
    halted
}

#[test]
fn a_watcher_that_does_not_stir_is_reported_after_three_minutes_and_left_alone() {
    let house = House::new();
    let gate = house.gate("gate");
    let watcher = stopped_watcher(&house, &format!("{}; echo hi", gate.pass()));
    age_heartbeat(&house, "w", 2 * MINUTE_MS, |_| {});
    assert_eq!(house.recover().stdout, "");
    age_heartbeat(&house, "w", 4 * MINUTE_MS, |_| {});
    let scan = house.recover();
    let seconds = told_seconds(&scan.stdout, 4 * MINUTE_MS);
    let expected =
        format!("wedged \"w\": its watcher (pid {watcher}) has not stirred for {seconds} s\n");
    assert_eq!(scan.stdout, expected);
    assert_eq!(house.watcher_pid("w"), watcher);
    kill(watcher, "CONT");
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_watcher_that_would_find_no_room_for_an_answer_is_not_ended() {
    let house = House::new();
    let Some(disk) = SmallDisk::under(&house, 1024) else {
        return;
    };
    let gate = house.gate("gate");
    let watcher = stopped_watcher(&house, &format!("{}; echo hi", gate.pass()));
    age_heartbeat(&house, "w", 11 * MINUTE_MS, |_| {});
    let filler = disk.fill(0);
    let scan = house.run("529-recovery", &[]);
    let left = "it is left alone, because nobody can write into ";
    assert!(scan.stdout.contains(left), "{scan:?}");
    assert_eq!(house.watcher_pid("w"), watcher);
    fs::remove_file(filler).expect("ours");
    kill(watcher, "CONT");
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_watcher_that_does_not_stir_is_replaced_after_ten_minutes() {
    let house = House::new();
    let gate = house.gate("gate");
    let script = format!("echo ran >> runs; {}; echo hi", gate.pass());
    let wedged = stopped_watcher(&house, &script);
    let runner = house.runner_pid("w");
    age_heartbeat(&house, "w", 11 * MINUTE_MS, |_| {});
    let scan = house.run("529-recovery", &["--json"]).exits(0).json();
    assert_eq!(scan["revived"][0]["label"], "w", "{scan}");
    let reason = scan["wedged"][0]["reason"].as_str().expect("a reason");
    assert!(reason.ends_with("it was ended"), "{reason}");
    assert!(!is_alive(wedged));
    assert_ne!(house.watcher_pid("w"), wedged);
    assert_eq!(house.runner_pid("w"), runner, "the run goes on");
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
    assert_eq!(house.text("runs"), "ran\n");
}

#[test]
fn a_watcher_that_slept_with_its_machine_is_not_wedged() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo hi", gate.pass()));
    let watcher = house.start("watcher", &["--label", "w"]);
    eventually("it watches", || {
        let beat = heartbeat(&house, "w");
        (beat["state"] == "watching" && beat["pid"] == watcher.id()).then_some(())
    });
    sleep_over(&house, "w", 8 * 60 * MINUTE_MS);
    house.dispatch(&["stuck"]).exits(0);
    assert_eq!(house.recover().stdout, "");
    assert!(is_alive(watcher.id()));
    gate.open();
    let ran = finish_soon(watcher).exits(0);
    assert!(ran.stdout.ends_with("completed:\n\nhi\n"), "{ran:?}");
}

#[test]
fn a_watcher_that_is_poked_says_that_it_lives() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo hi", gate.pass()));
    house.watcher_pid("w");
    eventually("it watches", || {
        (heartbeat(&house, "w")["state"] == "watching").then_some(())
    });
    age_heartbeat(&house, "w", 30 * MINUTE_MS, |_| {});
    let lock = house.post_lock("w");
    eventually("an answer", || {
        let file = fs::File::options().write(true).open(&lock).expect("there");
        file.set_modified(std::time::SystemTime::now())
            .expect("ours");
        let at = heartbeat(&house, "w")["at"].as_i64().expect("a time");
        (now_ms() - at < 20 * MINUTE_MS).then_some(())
    });
    assert_eq!(house.recover().stdout, "");
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_watcher_that_never_wrote_a_heartbeat_is_judged_by_when_it_took_its_post() {
    let house = House::new();
    let gate = house.gate("gate");
    let wedged = stopped_watcher(&house, &format!("{}; echo hi", gate.pass()));
    fs::remove_file(heartbeat_path(&house, "w")).expect("removable");
    assert_eq!(house.recover().stdout, "");
    let post = house.post_lock("w");
    let sign = |age_ms: i64| {
        let signed = fs::read(&post).expect("signed");
        let mut signed: Value = serde_json::from_slice(&signed).expect("JSON");
        signed["since"] = json!(now_ms() - age_ms);
        // In place: whoever holds the lock holds this very file.
        fs::write(&post, signed.to_string()).expect("writable");
    };
    sign(4 * MINUTE_MS);
    let told = house.recover().stdout;
    let seconds = told_seconds(&told, 4 * MINUTE_MS);
    let expected =
        format!("wedged \"w\": its watcher (pid {wedged}) has not stirred for {seconds} s\n");
    assert_eq!(told, expected);
    assert!(is_alive(wedged));
    sign(11 * MINUTE_MS);
    let scan = house.run("529-recovery", &["--json"]).exits(0).json();
    assert_eq!(scan["revived"][0]["label"], "w", "{scan}");
    assert!(!is_alive(wedged));
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_heartbeat_that_names_another_process_ends_nobody() {
    let house = House::new();
    let gate = house.gate("gate");
    let watcher = stopped_watcher(&house, &format!("{}; echo hi", gate.pass()));
    let mut bystander = Command::new("sleep")
        .arg("1000")
        // Named after the house, so that it is ended with it when this test fails.
        .env("HOUSE", house.root())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sleep is on every system");
    let pid = bystander.id();
    let changes: [(&str, Value); 2] = [("pid", json!(pid)), ("startTime", json!("another"))];
    for (field, value) in changes {
        let path = heartbeat_path(&house, "w");
        let before = fs::read(&path).expect("a heartbeat");
        age_heartbeat(&house, "w", 30 * MINUTE_MS, |beat| {
            beat[field] = value.clone();
        });
        let scan = house.run("529-recovery", &["--json"]).exits(0).json();
        assert_eq!(scan["revived"], json!([]), "{scan}");
        // The watcher itself has signed for its post a moment ago.
        assert_eq!(scan["wedged"], json!([]), "{scan}");
        assert!(is_alive(watcher) && is_alive(pid), "{field}");
        fs::write(&path, before).expect("writable");
    }
    bystander.kill().expect("our own child can be killed");
    bystander.wait().expect("our own child can be waited for");
    kill(watcher, "CONT");
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn an_ended_label_with_an_owed_delivery_gets_a_watcher_and_one_without_gets_none() {
    let receiver = Receiver::answering(&[Answer::Status(503)]);
    let house = house_with(&receiver);
    house.enqueue("silent", "echo hi");
    house.ended("silent");
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    record_in(&house, "w", "result", "retrying");
    kill_hard(house.watcher_pid("w"));
    assert_eq!(house.dispatch(&["doctor"]).code, Some(1));
    let expected = "started a watcher for \"w\": it owes a delivery\n";
    assert_eq!(house.recover().stdout, expected);
    house.watcher_pid("w");
    let record = record_in(&house, "w", "result", "delivered");
    assert_eq!(record["attempts"], 2);
    quiet(&house);
    assert_eq!(house.recover().stdout, "");
    assert_eq!(house.dispatch(&["doctor"]).code, Some(0));
}

#[test]
fn of_scans_and_watchers_at_once_one_wins_and_the_run_is_made_and_told_once() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    for round in 0..5 {
        let (label, runs) = (format!("w{round}"), format!("runs{round}"));
        let gate = house.gate(&format!("gate{round}"));
        let script = format!("echo ran >> {runs}; {}; echo hi", gate.pass());
        enqueue_to(&house, "webhook:ops", &label, &[], &script);
        house.runner_pid(&label);
        kill_hard(house.watcher_pid(&label));
        let named = format!("--label={label}");
        let generation = format!("--generation={}", house.entry(&label)["generation"]);
        let mut started = vec![
            house.start("529-recovery", &[]),
            house.start("529-recovery", &[]),
        ];
        let watcher = house.start("watcher", &[&named, &generation, "--detached"]);
        gate.open();
        started.push(watcher);
        for child in started {
            finish_soon(child).exits(0);
        }
        record_in(&house, &label, "result", "delivered");
        assert_eq!(house.text(&runs), "ran\n");
        assert_eq!(records(&house, &label).len(), 1);
    }
    quiet(&house);
    let requests = receiver.requests();
    assert_eq!(requests.len(), 5, "{requests:?}");
    for (round, request) in requests.iter().enumerate() {
        assert_eq!(request.text("label"), format!("w{round}"));
        assert_eq!(request.json()["mayBeRepeat"], false);
    }
}

#[test]
fn a_redelivery_that_meets_a_watcher_about_to_leave_is_not_left_lying() {
    let receiver = Receiver::answering(&vec![Answer::Status(404); 100]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    record_in(&house, "w", "result", "parked");
    for round in 2..40 {
        let answer = house.dispatch(&["redeliver", "--label", "w"]).exits(1);
        assert_eq!(answer.json()["deliveries"][0]["state"], "parked");
        assert_eq!(receiver.requests().len(), round);
    }
}
