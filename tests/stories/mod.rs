//! What somebody types and what comes back, to the letter: stdout, stderr and exit code, in both output forms.
//!
//! A story is written as a terminal shows it. A line behind `$ ` is typed into a shell that has the programs on its PATH.
//! Below it stands what it prints: stdout as it is, each line of stderr behind `2> `, and `=> N` where the exit code N is
//! not 0. What is another each time (pids, times, ids) stands under a name: see [`named`].

mod deliveries;
mod ended;
mod gateway;
mod listing;
mod programs;
mod reading;
mod runtimes;
mod shell;
mod signals;
mod surroundings;
mod unstarted;
mod upkeep;
mod usage;
mod working;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use self::shell::named;
pub use self::shell::typed;
use crate::support::{House, eventually};

/// A ledger with what may be found in one: an end, a failure, and what other tools wrote. Its times lie in the future, so
/// that "ago" is always "just now".
const FOUND: &str = r#"{
  "built": {
    "status": "done",
    "generation": 5,
    "backend": "local",
    "agent": "main",
    "mode": "fresh",
    "sessionKey": "agent:main:subagent:11111111-2222-4333-8444-555555555555",
    "sessionId": "11111111-2222-4333-8444-555555555555",
    "runId": "12111111-2222-4333-8444-555555555555",
    "spawnedAt": "2999-01-02T03:04:05.000Z",
    "endedAt": "2999-01-02T03:07:25.000Z",
    "updatedAt": "2999-01-02T03:07:25.000Z",
    "summary": "built\nand tested"
  },
  "broken": {
    "status": "error",
    "generation": 6,
    "backend": "local",
    "sessionKey": "agent:main:subagent:21111111-2222-4333-8444-555555555555",
    "spawnedAt": "2999-01-02T03:04:05.000Z",
    "endedAt": "2999-01-02T05:04:05.000Z",
    "updatedAt": "2999-01-02T05:04:05.000Z",
    "error": "the command exited with code 3: boo",
    "failure": {"kind": "command", "message": "the command exited with code 3: boo", "at": 32472144000000}
  },
  "theirs": {
    "status": "running",
    "mode": "reuse",
    "sessionKey": "agent:main:subagent:31111111-2222-4333-8444-555555555555",
    "runId": "r1",
    "spawnedAt": "2999-01-02T03:04:05.000Z",
    "updatedAt": "2999-01-02T03:04:05.000Z"
  },
  "of another tool": {"status": "spawn-warning"},
  "signalled": {"status": "done", "generation": 7}
}
"#;

/// Types the lines of a story and asserts that everything comes back as it is told there.
#[track_caller]
fn tells(house: &House, story: &str) {
    let story = story.trim_start_matches('\n');
    let mut told = String::new();
    for line in story.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let ran = typed(house, line);
        told += &format!("$ {line}\n{}", whole_lines(&ran.stdout));
        for line in ran.stderr.lines() {
            told += &format!("2> {line}\n");
        }
        match ran.code {
            Some(0) => {}
            Some(code) => told += &format!("=> {code}\n"),
            None => told += "=> a signal\n",
        }
    }
    let told = named(house, &told, story);
    assert!(
        told == story,
        "this was told:\n{told}\ninstead of:\n{story}"
    );
}

/// As [`tells`], where nothing may be written.
#[track_caller]
fn refuses(house: &House, story: &str) {
    let before = kept(house);
    tells(house, story);
    assert_eq!(kept(house), before, "{story}");
}

/// The state directory's files but for the ledger's lock, which whoever asks for it signs.
fn kept(house: &House) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = house.state_files();
    files.remove(&house.state().join("labels.json.lock"));
    files
}

/// Waits until no watcher is at the label's post, and no runner at its run, who closes the session's row last.
#[track_caller]
fn left(house: &House, label: &str) {
    let locks = [
        house.post_lock(label),
        house.run_dir(label).join("runner.lock"),
    ];
    for lock in locks {
        eventually(&format!("{} is free", lock.display()), || {
            let file = fs::File::open(&lock).expect("it was held");
            fs2::FileExt::try_lock_shared(&file).ok()
        });
    }
}

/// A text that does not end its last line would hide what comes next.
fn whole_lines(text: &str) -> String {
    match text.is_empty() || text.ends_with('\n') {
        true => text.to_owned(),
        false => format!("{text}(no newline)\n"),
    }
}
