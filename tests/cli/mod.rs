//! The command line as its users meet it: what it refuses and how, what it prints and where.

mod archive;
mod cancel;
mod completions;
mod configuration;
mod doctor;
mod documented;
mod fields;
mod heartbeat;
mod help;
mod labels;
mod listing;
mod logs;
mod programs;
mod readme;
mod refusals;
mod results;
mod screen;
mod send;
mod sync;
mod tables;
mod timers;
mod wait;
mod work;

use crate::support::{House, run};

/// One ended label, so that there is a ledger to leave alone and a name to be near to.
const ONE_LABEL: &str = r#"{
  "nightly-build": {
    "status": "done",
    "generation": 5,
    "sessionKey": "agent:main:subagent:11111111-2222-4333-8444-555555555555",
    "spawnedAt": "2026-01-02T03:04:05.000Z",
    "endedAt": "2026-01-02T03:07:25.000Z",
    "updatedAt": "2026-01-02T03:07:25.000Z",
    "summary": "built"
  }
}
"#;

/// A house with [`ONE_LABEL`] in its ledger.
fn house_with_one_label() -> House {
    let house = House::new();
    house.write_ledger(ONE_LABEL);
    house
}

/// Runs `words` in both output forms and asserts that they are refused with this code and this one line, and that nothing
/// was written.
#[track_caller]
fn refused(house: &House, words: &[&str], code: i32, line: &str) {
    let before = house.state_files();
    for form in ["table", "json"] {
        let mut command = house.command("dispatch");
        command.env("DISPATCH_OUTPUT", form).args(words);
        let ran = run(command, b"");
        assert_eq!(
            (ran.code, ran.stderr.as_str(), ran.stdout.as_str()),
            (Some(code), format!("[dispatch] {line}\n").as_str(), ""),
            "dispatch {words:?} as {form}"
        );
    }
    assert!(
        house.state_files() == before,
        "dispatch {words:?} changed the state directory"
    );
}
