//! What must be true when nothing is left to do.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::support::{House, PATIENCE, eventually};

/// How often the processes of a house are looked for while something is under way.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// So many scans a minute, as cron runs them, bring everything to its end.
const SCANS: usize = 2;

/// The words that send results to the sink.
pub const TO_SINK: [&str; 4] = ["--deliver-channel", "command", "--deliver-to", "sink"];

/// A receiver that appends what it gets to the file `sink`, and refuses for good while `closed` exists.
pub fn configure_sink(house: &House) {
    let root = house.root().display();
    let script = format!("test ! -e '{root}/closed' || exit 67; cat >> '{root}/sink'");
    house.configure(&json!({
        "commands": {"sink": ["sh", "-c", script]},
        "deliverTo": "sink",
        "deliveryChannel": "command",
        "termGraceSeconds": 1,
    }));
}

/// What the sink has received.
pub fn received(house: &House) -> Vec<Value> {
    let text = house.text("sink");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("each payload is whole"))
        .collect()
}

/// The kinds of what arrived for a label, each key once, in order.
pub fn kinds_received(house: &House, label: &str) -> Vec<String> {
    let mut keys: Vec<Value> = Vec::new();
    let mut kinds = Vec::new();
    for payload in received(house) {
        if payload["label"] == label && !keys.contains(&payload["key"]) {
            keys.push(payload["key"].clone());
            kinds.push(payload["kind"].as_str().expect("a text").to_owned());
        }
    }
    kinds
}

/// Every label has ended and owes nothing.
fn is_over(house: &House) -> bool {
    if !house.ledger_path().exists() {
        return true;
    }
    let ledger = house.ledger();
    let mut entries = ledger.as_object().expect("an object").values();
    entries.all(|entry| {
        let deliveries = entry["deliveries"].as_array();
        let mut states = deliveries.into_iter().flatten().map(|d| &d["state"]);
        entry["status"] != "running" && states.all(|s| *s == "delivered" || *s == "parked")
    })
}

/// Lets everything come to its end: what runs by itself, and what stopped by the recovery scan. At most [`SCANS`] may be
/// needed.
#[track_caller]
pub fn brought_to_its_end(house: &House) {
    let end = Instant::now() + PATIENCE;
    let mut scans = Vec::new();
    for look in 1.. {
        // Looking for processes is dear, and so is waking watchers; while labels run neither is done each time.
        let tenth = look % 10 == 0;
        let over = is_over(house);
        if (over || tenth) && house.processes().is_empty() {
            if is_over(house) {
                return;
            }
            assert!(
                scans.len() < SCANS,
                "scans do not bring it to its end: {scans:?}; {}; {}",
                house.ledger(),
                watcher_logs(house)
            );
            scans.push(house.recover().stdout);
        }
        assert!(Instant::now() < end, "in vain: everything ends");
        std::thread::sleep(LOOK_EVERY);
        if tenth {
            wake_watchers(house);
        }
    }
}

fn watcher_logs(house: &House) -> String {
    let files = files_in(&house.state().join("watchers"));
    let mut logs = files
        .iter()
        .filter(|path| path.extension().is_some_and(|e| e == "log"));
    logs.by_ref()
        .map(|path| fs::read_to_string(path).unwrap_or_default())
        .collect()
}

/// Makes every watcher look now instead of at its next safety poll, as any command on its label would.
fn wake_watchers(house: &House) {
    for lock in files_in(&house.state().join("watchers")) {
        if lock.extension().is_some_and(|e| e == "lock") {
            let touch = fs::OpenOptions::new().write(true).open(&lock);
            let _ = touch.and_then(|file| file.set_modified(SystemTime::now()));
        }
    }
}

fn files_in(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// The prompt and the files of a run are written once; what a killed writer left there goes with the run.
fn is_of_one_run(house: &House, path: &Path) -> bool {
    let dirs = [
        house.state().join("prompts"),
        house.state().join("sessions/runs"),
    ];
    dirs.iter().any(|dir| path.starts_with(dir))
}

/// Checks the whole house, in which nothing runs any more: the ledger is one, no lock is held, nothing stands around, what
/// the ledger calls delivered has arrived, and what arrived twice said so.
#[track_caller]
pub fn is_sound(house: &House) {
    assert_eq!(house.processes(), Vec::<u32>::new(), "something runs");
    for path in house.state_files().keys() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".lock") {
            let file = fs::File::open(path).expect("readable");
            // A dying process lets go of its locks a moment after its environment.
            eventually(&format!("{} is free", path.display()), || {
                fs2::FileExt::try_lock_exclusive(&file).ok()
            });
        }
        assert!(
            !name.contains(".tmp-") || is_of_one_run(house, path),
            "left over: {}",
            path.display()
        );
    }
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for payload in received(house) {
        let key = payload["key"].as_str().expect("a text").to_owned();
        let times = seen.entry(key).or_default();
        *times += 1;
        let told = payload["mayBeRepeat"] == true;
        assert!(*times == 1 || told, "a silent repeat: {payload}");
    }
    if !house.ledger_path().exists() {
        return;
    }
    for (label, entry) in house.ledger().as_object().expect("an object") {
        for delivery in entry["deliveries"].as_array().into_iter().flatten() {
            let key = delivery["key"].as_str().expect("a text");
            let arrived = delivery["state"] != "delivered" || seen.contains_key(key);
            assert!(arrived, "{label}: {key} never arrived");
        }
    }
    house.dispatch(&["doctor"]).exits(0);
}

/// The label is done with this text, and its command ran once.
#[track_caller]
pub fn is_done_once(house: &House, label: &str, text: &str) {
    let entry = house.entry(label);
    assert_eq!(entry["status"], "done", "{entry}");
    assert_eq!(house.full_text(label), text);
    assert_eq!(house.text("runs"), "ran\n", "how often the command ran");
}
