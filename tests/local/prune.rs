//! Labels that ended long ago leave the ledger, their files go, and nothing that somebody still needs does.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{House, Ran, eventually, finish};

/// Long before any test runs.
const LONG_AGO: &str = "2020-01-02T03:04:05.000Z";

/// Changes a label's entry as nobody would.
fn doctored(house: &House, label: &str, change: impl FnOnce(&mut Value)) {
    house.change_ledger(|ledger| change(&mut ledger[label]));
}

/// A label of a command, with a prompt, that ended long ago and is left by its watcher.
fn old_label(house: &House, label: &str) {
    let words = [
        "enqueue",
        "--label",
        label,
        "--message",
        "a task",
        "--",
        "cat",
    ];
    house.dispatch(&words).exits(0);
    house.ended(label);
    eventually("nobody works", || {
        house.processes().is_empty().then_some(())
    });
    doctored(house, label, |entry| entry["endedAt"] = json!(LONG_AGO));
}

fn prune(house: &House, flags: &[&str]) -> Ran {
    house.dispatch(&[&["prune"], flags].concat())
}

fn labels(answer: &Value, list: &str) -> Vec<String> {
    let list = answer[list].as_array().expect("a list");
    let names = list
        .iter()
        .map(|row| row["label"].as_str().expect("a label"));
    names.map(str::to_owned).collect()
}

/// Every file in the state directory, but the ledger's own.
fn files(house: &House) -> BTreeSet<PathBuf> {
    let paths = house
        .state_files()
        .into_keys()
        .filter(|path| path.is_file());
    let names = paths.map(|path| path.strip_prefix(house.state()).expect("inside").to_owned());
    names
        .filter(|name| !name.to_string_lossy().starts_with("labels.json"))
        .filter(|name| !name.to_string_lossy().starts_with("archive"))
        .collect()
}

#[test]
fn an_old_label_leaves_with_all_of_its_files_and_the_others_stay() {
    let house = House::new();
    house.enqueue("young", "echo young");
    house.ended("young");
    eventually("nobody works", || {
        house.processes().is_empty().then_some(())
    });
    let of_others = files(&house);
    let store = || fs::read_to_string(house.state().join("sessions/sessions.json")).expect("UTF-8");
    let rows_before = store();
    old_label(&house, "old");
    let entry = house.entry("old");
    let count = files(&house).len() - of_others.len();
    let told = prune(&house, &[]).exits(0).json();
    assert_eq!(
        told["labels"],
        json!([{"label": "old", "generation": entry["generation"], "status": "done", "endedAt": LONG_AGO}])
    );
    assert_eq!(
        (&told["ok"], &told["count"], &told["kept"]),
        (&json!(true), &json!(1), &json!([]))
    );
    assert_eq!(told["files"]["count"], count);
    assert_eq!(files(&house), of_others);
    assert_eq!(store(), rows_before);
    assert!(house.entry("old").is_null());
    assert_eq!(house.full_text("young"), "young\n");
    let archived = house.dispatch(&["list", "--archived"]).exits(0).json();
    assert_eq!(
        (&archived["count"], &archived["more"]),
        (&json!(1), &json!(false))
    );
    let mut row = archived["labels"][0]
        .as_object()
        .expect("an object")
        .clone();
    assert_eq!(row.remove("label"), Some(json!("old")));
    row.remove("delivery");
    assert_eq!(Value::Object(row), entry);
    house.dispatch(&["doctor"]).exits(0);
    let again = prune(&house, &["--output", "table"]).exits(0);
    assert_eq!(
        again.stdout,
        "0 labels archived, 0 files of 0 bytes removed\n"
    );
}

#[test]
fn a_dry_run_says_the_same_and_changes_nothing() {
    let house = House::new();
    for label in ["a", "b"] {
        old_label(&house, label);
    }
    let before = house.state_files();
    let mut told = prune(&house, &["--dry-run"]).exits(0).json();
    let after = house.state_files();
    let changed = |path: &&PathBuf| before.get(*path) != after.get(*path);
    let changed: Vec<_> = after.keys().filter(changed).collect();
    assert!(
        changed.is_empty() && before.len() == after.len(),
        "{changed:?}"
    );
    assert_eq!(labels(&told, "labels"), ["a", "b"]);
    assert_eq!(told["dryRun"], true);
    told["dryRun"] = json!(false);
    assert_eq!(prune(&house, &[]).exits(0).json(), told);
}

#[test]
fn people_read_what_went_and_why_the_rest_stayed() {
    let house = House::new();
    old_label(&house, "a");
    old_label(&house, "b");
    doctored(&house, "b", |entry| {
        entry["deliveries"] =
            json!([{"key": "k", "kind": "result", "state": "parked", "target": "telegram:1"}]);
    });
    let table = ["--output", "table"];
    let told = prune(&house, &[&["--dry-run"], &table[..]].concat())
        .exits(0)
        .stdout;
    let (start, _) = told.split_once(" bytes").expect("a sum");
    let start = start.rsplit_once(' ').expect("a number").0;
    let kept = "b: kept, because a delivery of it is not delivered\n";
    assert_eq!(
        start,
        format!("a: would be archived (done)\n{kept}1 label would be archived, 14 files of")
    );
    let told = prune(&house, &table).exits(0).stdout;
    assert!(
        told.starts_with(&format!(
            "a: archived (done)\n{kept}1 label archived, 14 files of "
        )),
        "{told}"
    );
    assert!(told.ends_with(" bytes removed\n"), "{told}");
    let told = prune(
        &house,
        &[&["--label", "a", "--label", "b"], &table[..]].concat(),
    )
    .exits(1);
    assert_eq!(
        told.stdout,
        format!("{kept}a: was archived before\n0 labels archived, 0 files of 0 bytes removed\n")
    );
}

#[test]
fn a_named_label_goes_however_young_and_its_files_stay_until_they_are_old() {
    let house = House::new();
    house.enqueue("l", "echo text");
    house.ended("l");
    eventually("nobody works", || {
        house.processes().is_empty().then_some(())
    });
    let before = files(&house);
    let later = prune(&house, &["--label", "l", "--older-than", "1h"])
        .exits(1)
        .json();
    assert_eq!(
        later["kept"],
        json!([{"label": "l", "reason": "it ended later than that"}])
    );
    let told = prune(&house, &["--label", "l"]).exits(0).json();
    assert_eq!(labels(&told, "labels"), ["l"]);
    assert_eq!(told["files"], json!({"count": 0, "bytes": 0}));
    assert_eq!(files(&house), before);
    assert_eq!(house.full_text("l"), "text\n");
    let again = prune(&house, &["--label", "l"]).exits(0).json();
    assert_eq!(again["archivedBefore"], json!(["l"]));
}

#[test]
fn a_named_label_goes_although_its_watcher_is_only_about_to_leave() {
    let house = House::new();
    old_label(&house, "l");
    let watcher = fs::File::options()
        .create(true)
        .append(true)
        .open(house.post_lock("l"))
        .expect("writable");
    fs2::FileExt::lock_exclusive(&watcher).expect("free");
    let prune = house.start("dispatch", &["prune", "--label", "l"]);
    drop(watcher);
    let told = finish(prune).exits(0).json();
    assert_eq!(labels(&told, "labels"), ["l"]);
}

#[test]
fn what_is_owed_or_worked_on_stays() {
    let house = House::new();
    for label in ["owing", "watched", "working", "error", "odd"] {
        old_label(&house, label);
    }
    doctored(&house, "owing", |entry| {
        entry["deliveries"] = json!([{"state": "retrying"}])
    });
    doctored(&house, "odd", |entry| {
        entry["status"] = json!("spawn-warning")
    });
    doctored(&house, "error", |entry| entry["status"] = json!("error"));
    let hold = |path: PathBuf| {
        let file = fs::File::options()
            .create(true)
            .append(true)
            .open(path)
            .expect("writable");
        fs2::FileExt::lock_exclusive(&file).expect("free");
        file
    };
    let _watcher = hold(house.post_lock("watched"));
    let _runner = hold(house.run_dir("working").join("runner.lock"));
    let before = files(&house);
    let told = prune(&house, &["--status", "done"]).exits(0).json();
    assert_eq!(
        told["kept"],
        json!([
            {"label": "owing", "reason": "a delivery of it is not delivered"},
            {"label": "watched", "reason": "its watcher is at work"},
            {"label": "working", "reason": "its command is at work"},
        ])
    );
    assert_eq!(labels(&told, "labels"), Vec::<String>::new());
    assert_eq!(files(&house), before);
    let told = prune(&house, &["--label", "odd", "--label", "error"])
        .exits(1)
        .json();
    assert_eq!(labels(&told, "labels"), ["error"]);
    assert_eq!(
        told["kept"],
        json!([{"label": "odd", "reason": "it is spawn-warning, which is no end"}])
    );
}

#[test]
fn a_running_label_is_never_pruned() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("l", "read go < gate; echo hi");
    doctored(&house, "l", |entry| entry["endedAt"] = json!(LONG_AGO));
    let told = prune(&house, &[]).exits(0).json();
    assert_eq!((&told["count"], &told["kept"]), (&json!(0), &json!([])));
    let told = prune(&house, &["--label", "l"]).exits(1).json();
    assert_eq!(
        told["kept"],
        json!([{"label": "l", "reason": "it is running, which is no end"}])
    );
    gate.open();
    house.ended("l");
    assert_eq!(house.full_text("l"), "hi\n");
}

#[test]
fn files_that_a_living_entry_names_stay() {
    let house = House::new();
    old_label(&house, "l");
    let first = house.entry("l");
    // The session goes on in a newer generation, which also tells of the older one's text.
    let reuse = [
        "enqueue", "--label", "l", "--mode", "reuse", "--", "echo", "again",
    ];
    house.dispatch(&reuse).exits(0);
    house.ended("l");
    eventually("nobody works", || {
        house.processes().is_empty().then_some(())
    });
    let artifact = first["artifact"]["path"].clone();
    doctored(&house, "l", |entry| {
        entry["deliveries"] = json!([{"key": "k", "kind": "result", "state": "delivered", "target": "t:1", "content": {"artifact": artifact}}]);
    });
    let transcript = house.transcript("l");
    let told = prune(&house, &[]).exits(0).json();
    assert_eq!(told["count"], 0);
    let left = files(&house);
    let has = |name: String| left.contains(&PathBuf::from(name));
    let text = |field: &str| first[field].as_str().expect("a text").to_owned();
    assert!(has(format!("sessions/{}.jsonl", text("sessionId"))));
    assert!(fs::exists(artifact.as_str().expect("a path")).expect("readable"));
    assert!(!has(format!("sessions/runs/{}/run.json", text("runId"))));
    assert!(!has(format!("watchers/l.{}.lock", first["generation"])));
    assert_eq!(house.full_text("l"), "again\n");
    assert_eq!(house.transcript("l"), transcript);
}

#[test]
fn nothing_outside_the_state_directory_goes_and_no_link_is_followed() {
    let house = House::new();
    let outside = house.path("outside");
    fs::create_dir_all(&outside).expect("creatable");
    old_label(&house, "l");
    // Prompts have moved to another disk, an artifact is named that is somebody else's, and the run has a link in it.
    let prompts = house.state().join("prompts");
    fs::rename(&prompts, outside.join("prompts")).expect("movable");
    symlink(outside.join("prompts"), &prompts).expect("linkable");
    let precious = outside.join("precious");
    fs::write(&precious, "mine").expect("writable");
    symlink(&precious, house.run_dir("l").join("stderr2")).expect("linkable");
    doctored(&house, "l", |entry| {
        entry["lastWords"] = json!({"path": precious});
        entry["runIds"] = json!([entry["runId"], "../../../outside", "..", ""]);
        entry["sessionId"] = json!("../outside");
    });
    let run_dir = house.run_dir("l");
    prune(&house, &[]).exits(0);
    assert_eq!(fs::read_to_string(&precious).expect("there"), "mine");
    assert!(
        fs::read_dir(outside.join("prompts/l"))
            .expect("there")
            .count()
            == 1
    );
    assert!(!run_dir.exists());
    // Where artifacts are kept elsewhere, they are not ours to remove.
    let house = House::new();
    let words = ["enqueue", "--label", "l", "--wait", "--", "echo", "hi"];
    let mut command = house.command("dispatch");
    command
        .args(words)
        .env("SCHEDULER_ARTIFACTS_DIR", house.path("artifacts"));
    crate::support::run(command, b"").exits(0);
    eventually("nobody works", || {
        house.processes().is_empty().then_some(())
    });
    doctored(&house, "l", |entry| entry["endedAt"] = json!(LONG_AGO));
    let mut command = house.command("dispatch");
    command
        .arg("prune")
        .env("SCHEDULER_ARTIFACTS_DIR", house.path("artifacts"));
    assert_eq!(
        crate::support::run(command, b"").exits(0).json()["count"],
        1
    );
    assert_eq!(house.full_text("l"), "hi\n");
}

#[test]
fn a_pruned_label_says_where_it_is_and_what_is_left_of_it() {
    let house = House::new();
    let long = "x".repeat(5000);
    let words = ["enqueue", "--label", "l", "--message", &long, "--", "cat"];
    house.dispatch(&words).exits(0);
    house.ended("l");
    eventually("nobody works", || {
        house.processes().is_empty().then_some(())
    });
    // In the future, so that it is always just now.
    doctored(&house, "l", |entry| {
        entry["endedAt"] = json!("2999-01-02T03:04:05.000Z");
    });
    let entry = house.entry("l");
    prune(&house, &["--label", "l"]).exits(0);
    let sentence = "label \"l\" is archived: it ended as done just now; what is kept of it is printed by: dispatch result --label l";
    let status = house.dispatch(&["status", "--label", "l"]).exits(0).json();
    assert_eq!(
        status,
        json!({
            "ok": true, "label": "l", "found": false, "message": sentence,
            "archived": {"status": "done", "generation": entry["generation"], "endedAt": entry["endedAt"]},
        })
    );
    let table = house
        .dispatch(&["status", "--label", "l", "--output", "table"])
        .exits(0);
    assert_eq!(table.stdout, format!("{sentence}\n"));
    assert_eq!(house.full_text("l"), long);
    let path = entry["artifact"]["path"]
        .as_str()
        .expect("a path")
        .to_owned();
    fs::remove_file(&path).expect("it is there");
    let gone = format!(
        "label \"l\" has no file with its whole text any more ({path} is gone); what the ledger kept of it is left"
    );
    let generation = entry["generation"].to_string();
    for more in [&[][..], &["--generation", &generation]] {
        let words = [&["result", "--label", "l"], more].concat();
        let ran = house.dispatch(&words).exits(0);
        assert_eq!(ran.json()["message"], gone);
        assert_eq!(ran.json()["lastReply"], entry["summary"]);
        let ran = house
            .dispatch(&[&words[..], &["--output", "table"]].concat())
            .exits(0);
        assert_eq!(ran.stderr, format!("[dispatch] {gone}\n"));
        assert!(
            ran.stdout
                .starts_with("🌶️ *dispatch* [l] completed:\n\nxxx"),
            "{ran:?}"
        );
        let ran = house.dispatch(&[&words[..], &["--path"]].concat()).exits(1);
        assert_eq!(ran.stderr, format!("[dispatch] {gone}\n"));
    }
}

#[test]
fn a_generation_is_not_used_again_after_a_prune() {
    let house = House::new();
    let future = 9_000_000_000_000_u64;
    let entry = json!({"status": "done", "generation": future, "endedAt": LONG_AGO});
    house.write_ledger(json!({"l": entry}).to_string());
    prune(&house, &[]).exits(0);
    house.enqueue("l", "echo hi");
    assert_eq!(house.ended("l")["generation"], future + 1);
}

#[test]
fn a_key_stays_spent_when_its_run_and_all_of_its_files_are_gone() {
    let house = House::new();
    let words = [
        "enqueue",
        "--label",
        "l",
        "--idempotency-key",
        "k",
        "--",
        "sh",
        "-c",
        "echo ran >> runs",
    ];
    house.dispatch(&words).exits(0);
    house.ended("l");
    eventually("nobody works", || {
        house.processes().is_empty().then_some(())
    });
    doctored(&house, "l", |entry| entry["endedAt"] = json!(LONG_AGO));
    prune(&house, &[]).exits(0);
    assert!(!house.state().join("sessions/runs/k").exists());
    let ran = house.dispatch(&words).exits(1);
    assert_eq!(
        ran.stderr,
        "[dispatch] the idempotency key k was used for an earlier run that has left the ledger; use a new key\n"
    );
    assert_eq!(house.text("runs"), "ran\n");
}
