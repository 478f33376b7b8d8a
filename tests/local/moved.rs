//! A state directory that was moved: the ledger names files by the paths that they had.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::outbox::receiver::{Answer, Receiver};
use crate::outbox::{quiet, record_in, webhook};
use crate::support::{House, Ran, run};

/// Longer than what the ledger keeps of it.
fn long(what: &str) -> String {
    format!("{what} {}", "x".repeat(3000))
}

/// A house whose state directory has moved, and where it is now.
struct Moved {
    house: House,
    state: PathBuf,
}

impl Moved {
    /// One with the label `w`, which was given a long prompt and repeated it, and owes that to a webhook.
    fn new(receiver: &Receiver) -> Self {
        let house = House::new();
        house.configure(&webhook(receiver));
        let (words, script) = ("enqueue --label w --deliver-to webhook:ops", "cat");
        let mut words: Vec<&str> = words.split(' ').collect();
        let prompt = long("Say it again:");
        words.extend(["--message", &prompt, "--", script]);
        house.dispatch(&words).exits(0);
        house.ended("w");
        record_in(&house, "w", "result", "parked");
        quiet(&house);
        let state = house.path("elsewhere");
        fs::rename(house.state(), &state).expect("it can be moved");
        Self { house, state }
    }

    fn dispatch(&self, words: &[&str]) -> Ran {
        let mut command = self.house.command("dispatch");
        command.env("DISPATCH_HOME", &self.state).args(words);
        run(command, b"")
    }

    /// The only file in a directory of the state.
    fn only_file(&self, dir: &str) -> PathBuf {
        let mut files = fs::read_dir(self.state.join(dir)).expect("readable");
        let file = files.next().expect("a file").expect("readable").path();
        assert!(files.next().is_none());
        file
    }

    fn ledger(&self) -> serde_json::Value {
        let text = fs::read(self.state.join("labels.json")).expect("readable");
        serde_json::from_slice(&text).expect("JSON")
    }
}

fn moved() -> Moved {
    Moved::new(&Receiver::answering(&[Answer::Status(410)]))
}

#[test]
fn results_are_read_where_they_are_now() {
    let moved = moved();
    let result = ["result", "--label", "w"];
    let answer = moved.dispatch(&[&result[..], &["--full"]].concat());
    let answer = answer.exits(0).json();
    assert_eq!(answer["lastReply"], long("Say it again:"));
    let file = moved.only_file("artifacts/dispatch-completions");
    assert_eq!(answer["artifactPath"], json!(file));
    assert_eq!(answer["message"], json!(null));
    let path = moved.dispatch(&[&result[..], &["--path"]].concat());
    assert_eq!(path.exits(0).stdout, format!("{}\n", file.display()));
    let status = moved.dispatch(&["status", "--label", "w"]).exits(0).json();
    assert_eq!(status["artifactPath"], json!(file));
    // The ledger is left as it is: the way back is open.
    let recorded = moved.ledger()["w"]["artifact"]["path"].clone();
    let recorded = recorded.as_str().expect("a path");
    assert!(recorded.starts_with(&moved.house.state().display().to_string()));
}

#[test]
fn what_is_owed_is_delivered_whole() {
    let receiver = Receiver::answering(&[Answer::Status(410)]);
    let moved = Moved::new(&receiver);
    moved.dispatch(&["redeliver", "--label", "w"]).exits(0);
    let told = receiver.received(2)[1].json();
    let text = told["text"].as_str().expect("a text");
    assert!(text.ends_with(&long("Say it again:")), "{text}");
    let file = moved.only_file("artifacts/dispatch-completions");
    assert_eq!(told["artifactPath"], json!(file));
}

#[test]
fn work_is_done_again_from_its_prompt() {
    let moved = moved();
    let answer = moved.dispatch(&["retry", "--label", "w", "--wait"]);
    assert_eq!(answer.exits(0).json()["lastReply"], long("Say it again:"));
}

#[test]
fn a_repair_removes_no_prompt_that_moved() {
    let moved = moved();
    let prompt = moved.only_file("prompts/w");
    let file = fs::File::options().write(true).open(&prompt);
    let long_ago = SystemTime::now() - Duration::from_secs(7 * 24 * 3600);
    file.and_then(|file| file.set_modified(long_ago))
        .expect("ours");
    let told = moved.dispatch(&["doctor", "--repair"]).stdout;
    assert!(prompt.is_file(), "{told}");
}

#[test]
fn prune_removes_the_files_where_they_are_now() {
    let moved = moved();
    let files = [
        moved.only_file("prompts/w"),
        moved.only_file("artifacts/dispatch-completions"),
    ];
    let mut ledger = moved.ledger();
    ledger["w"]["endedAt"] = json!("2020-01-02T03:04:05.000Z");
    ledger["w"]["deliveries"][0]["state"] = json!("delivered");
    // Of two labels that name the files one stays.
    ledger["other"] = ledger["w"].clone();
    let write = |ledger: &serde_json::Value| {
        fs::write(moved.state.join("labels.json"), ledger.to_string()).expect("writable");
    };
    write(&ledger);
    moved.dispatch(&["prune", "--label", "w"]).exits(0);
    assert!(files.iter().all(|file| file.is_file()));
    moved.dispatch(&["prune"]).exits(0);
    assert!(!files.iter().any(|file| file.exists()));
}

#[test]
fn a_file_of_the_same_name_outside_the_state_directory_is_none_of_ours() {
    let moved = moved();
    let file = moved.only_file("artifacts/dispatch-completions");
    let outside = moved.house.path("outside.txt");
    fs::rename(&file, &outside).expect("it can be moved");
    std::os::unix::fs::symlink(&outside, &file).expect("it can be linked");
    let path = ["result", "--label", "w", "--path"];
    let ran = moved.dispatch(&path).exits(1);
    assert!(ran.stderr.contains(" is gone)"), "{ran:?}");
}
