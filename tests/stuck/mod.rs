//! The stuck detector over real processes: who is let be, who is told of, and what is remembered.

mod silence;
mod troubles;

use serde_json::Value;

use crate::support::{House, Ran, eventually};

/// Runs the detector with a threshold of one second.
fn detect(house: &House, words: &[&str]) -> Ran {
    house.run(
        "stuck-detector",
        &[&["--threshold-min", "1s"], words].concat(),
    )
}

/// Runs `dispatch stuck` with a threshold of one second.
fn stuck(house: &House, words: &[&str]) -> Ran {
    house.dispatch(&[&["stuck", "--threshold-min", "1s"], words].concat())
}

/// Runs the detector until it tells of something.
#[track_caller]
fn alerts(house: &House, words: &[&str]) -> Ran {
    eventually("the detector tells", || {
        let ran = detect(house, words);
        (ran.code != Some(0)).then_some(ran)
    })
    .exits(1)
}

/// What the detector remembers of a label.
fn remembered(house: &House, label: &str) -> Value {
    let bytes = std::fs::read(house.state().join("stuck.json")).unwrap_or_default();
    let memory: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    memory["labels"][label].clone()
}
