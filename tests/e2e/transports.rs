//! A whole job through the `openclaw` program instead of the gateway's socket.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use rstest::rstest;
use serde_json::json;

use super::gateways::{GatewayHouse, Version};

/// The program of this version with the node that runs it; whoever starts it leaves a line with the arguments.
fn openclaw(version: Version, house: &GatewayHouse) -> PathBuf {
    let packages = version
        .gateway()
        .expect("it runs")
        .packages()
        .join("node_modules");
    let program = house.root().join("openclaw");
    let text = format!(
        "#!/bin/sh\nprintf '%s\\n' \"$*\" >> '{}'\nexec '{}' '{}' \"$@\"\n",
        house.root().join("calls").display(),
        packages.join(".bin/node").display(),
        packages.join("openclaw/openclaw.mjs").display(),
    );
    fs::write(&program, text).expect("writable");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("settable");
    program
}

#[rstest]
fn one_job_of_each_end_goes_through_the_program(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let program = openclaw(version, &house);
    house.configure(&json!({"gateway": {"transport": "cli", "cli": program}}));
    house.ask("greet", "Greet over there. @fake reply=\"Good day.\"", &[]);
    assert_eq!(house.reply("greet"), "Good day.");
    assert_eq!(house.model_requests("Greet over there.").len(), 1);
    let result = house.dispatch(&["result", "--label", "greet"]).exits(0);
    assert_eq!(result.json()["lastReply"], "Good day.");

    house.ask("stop", "Hang over there. @fake hang", &[]);
    house.model_is_asked("Hang over there.");
    // Each call takes seconds, on a busy machine many: it may say that the end is still to come.
    house.dispatch(&["cancel", "--label", "stop"]);
    let entry = house.settled("stop");
    assert_eq!(entry["status"], "cancelled", "{entry:#}");

    let refused = house
        .try_to_ask(
            "bad",
            "Nothing. @fake reply=no",
            &["--agent", "nobody-at-all"],
        )
        .exits(1);
    assert!(
        refused.stderr.contains("the gateway refused agent: "),
        "{refused:?}"
    );
    // It would fit without what stands around it.
    fs::write(house.root().join("long"), "x".repeat(120 * 1024 - 1000)).expect("writable");
    let words = [
        "enqueue",
        "--label",
        "long",
        "--message-file",
        "long",
        "--no-monitor",
    ];
    let refused = house.dispatch(&words).exits(2);
    assert!(
        refused.stderr.contains("at most 122880 go"),
        "{}",
        refused.stderr
    );
    assert_eq!(house.entry("long"), json!(null));
    let calls = fs::read_to_string(house.root().join("calls")).expect("it was called");
    let token = version.gateway().expect("it runs").token();
    assert!(!calls.contains(&token), "the token is in a command line");
    assert_eq!(
        calls.matches("gateway call agent --json").count(),
        3,
        "{calls}"
    );
}
