//! Automatic retries with agents of this machine: scripts that fail as agent command lines do when their model's provider
//! is overloaded.

mod attempts;
mod fallback;
mod last_words;
mod many;
mod scans;
mod takeovers;

use serde_json::{Value, json};

use crate::outbox::receiver::Receiver;
use crate::outbox::webhook;
use crate::support::{House, Ran};

/// What an agent prints when its provider is overloaded.
const OVERLOADED: &str =
    r#"API Error: 529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;

/// An agent that writes a line per start into `starts`, fails as overloaded `times` times, and then answers.
pub fn agent(times: u32) -> String {
    format!(
        "n=$(wc -l < starts 2>/dev/null || echo 0); prompt=$(cat)
echo \"${{DISPATCH_ATTEMPT:-1}} $prompt\" >> starts
if [ \"$n\" -lt {times} ]; then echo 'thinking aloud'; echo '{OVERLOADED}' >&2; exit 1; fi
echo \"answered at start $((n + 1))\""
    )
}

/// Pauses short enough for a test; no two retries are kept apart.
pub fn quick() -> Value {
    json!({"overloadSeconds": 0.05, "spacingSeconds": 0, "coolDownSeconds": 0})
}

fn house(retry: &Value) -> House {
    let house = House::new();
    house.configure(&json!({"retry": retry}));
    house
}

/// A house whose webhook `ops` is the receiver.
fn house_with(receiver: &Receiver, retry: &Value) -> House {
    let house = House::new();
    let mut config = webhook(receiver);
    config["retry"] = retry.clone();
    house.configure(&config);
    house
}

/// Hands the agent a prompt.
#[track_caller]
pub fn ask(house: &House, label: &str, flags: &[&str], script: &str) -> Ran {
    let mut words = vec!["enqueue", "--label", label, "--message", "the whole task"];
    words.extend(flags);
    words.extend(["--", "sh", "-c", script]);
    house.dispatch(&words).exits(0)
}

/// Waits until the label waits for a retry after this attempt.
#[track_caller]
fn waiting_for(house: &House, label: &str, attempt: u64) -> Value {
    crate::support::eventually(&format!("{label} waits after attempt {attempt}"), || {
        let entry = house.entry(label);
        (entry["phase"] == "retry-wait" && entry["attempt"] == attempt).then_some(entry)
    })
}

/// Waits until the label waits for its retry.
#[track_caller]
fn waiting(house: &House, label: &str) -> Value {
    crate::support::eventually(&format!("{label} waits for its retry"), || {
        let entry = house.entry(label);
        (entry["phase"] == "retry-wait").then_some(entry)
    })
}
