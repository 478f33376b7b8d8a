//! The outbox with real receivers: HTTP servers of the test's own, and commands.

mod answers;
mod called_off;
mod crashes;
mod generations;
mod kinds;
mod payload;
pub mod receiver;
mod repaired;
mod secrets;
mod tries;
mod unprinted;
mod verifying;

use serde_json::{Value, json};

use crate::support::{House, Ran, eventually};
use receiver::Receiver;

/// The configuration of one webhook without a secret.
pub fn webhook(receiver: &Receiver) -> Value {
    json!({"webhooks": {"ops": {"url": receiver.url()}}})
}

/// A house whose webhook `ops` is the receiver.
pub fn house_with(receiver: &Receiver) -> House {
    let house = House::new();
    house.configure(&webhook(receiver));
    house
}

/// Enqueues a shell script whose result goes to `<channel>:<name>`, with more flags.
#[track_caller]
pub fn enqueue_to(house: &House, target: &str, label: &str, flags: &[&str], script: &str) -> Ran {
    let (channel, to) = target.split_once(':').expect("<channel>:<name>");
    let mut words = vec!["enqueue", "--label", label, "--deliver-to", to];
    words.extend(["--deliver-channel", channel]);
    words.extend(flags);
    words.extend(["--", "sh", "-c", script]);
    house.dispatch(&words).exits(0)
}

/// The records of a label.
pub fn records(house: &House, label: &str) -> Vec<Value> {
    let records = house.entry(label)["deliveries"].clone();
    records.as_array().cloned().unwrap_or_default()
}

/// Waits until the label's one record of that kind is in that state.
#[track_caller]
pub fn record_in(house: &House, label: &str, kind: &str, state: &str) -> Value {
    eventually(&format!("{kind} of {label} is {state}"), || {
        let mut found = records(house, label).into_iter();
        found.find(|record| record["kind"] == kind && record["state"] == state)
    })
}

/// Waits until nothing works in the house any more. A process that dies gives its locks back a moment after it is
/// out of sight.
#[track_caller]
pub fn quiet(house: &House) {
    eventually("everything leaves", || {
        let posts = std::fs::read_dir(house.state().join("watchers"));
        let mut posts = posts.into_iter().flatten().flatten();
        let is_free = posts.all(|post| {
            let file = std::fs::File::open(post.path());
            file.is_ok_and(|file| fs2::FileExt::try_lock_shared(&file).is_ok())
        });
        (is_free && house.processes().is_empty()).then_some(())
    });
}

/// Signals done for a label.
pub fn signal_done(house: &House, label: &str, summary: &str) -> Ran {
    let checklist = r#"{"work_complete":true}"#;
    let words = ["done", "--label", label, "--summary", summary];
    house.dispatch(&[&words[..], &["--checklist", checklist]].concat())
}
