//! The work of an ended label once more: everything it was enqueued with, or nothing.

use std::fs;

use serde_json::{Value, json};

use crate::support::{House, eventually};

/// Says what it was given, and with what.
const TELLING: &str = "cat; echo; echo \"$FOO|$DISPATCH_THINKING|$DISPATCH_MODEL|$PWD\"";

fn generation(entry: &Value) -> u64 {
    entry["generation"].as_u64().expect("a generation")
}

/// Runs `retry` and asserts that it is refused with this line and starts nothing.
#[track_caller]
fn is_refused(house: &House, label: &str, line: &str) {
    let before = house.entry(label);
    let ran = house.dispatch(&["retry", "--label", label]).exits(1);
    assert_eq!(ran.stderr, format!("[dispatch] {line}\n"));
    assert_eq!(ran.stdout, "");
    assert_eq!(house.entry(label), before);
}

#[test]
fn a_retry_repeats_everything_that_the_label_was_enqueued_with() {
    let house = House::new();
    let dir = house.path("elsewhere");
    fs::create_dir_all(&dir).expect("creatable");
    let prompt = "ä task\nof lines ".repeat(400);
    fs::write(house.path("prompt"), &prompt).expect("writable");
    let words = [
        "enqueue",
        "--label",
        "l",
        "--message-file",
        "prompt",
        "--cwd",
        "elsewhere",
        "--env",
        "FOO=a=b c",
        "--thinking",
        "high",
        "--model",
        "some/model",
        "--timeout",
        "20m",
        "--idle-threshold",
        "15m",
        "--verify-cmd",
        "grep -q task",
        "--no-monitor",
        "I read it",
        "--delivery-mode",
        "announce-always",
        "--fallback-model",
        "other/model",
        "--auth-profile",
        "anthropic:work",
        "--",
        "sh",
        "-c",
        TELLING,
    ];
    house.dispatch(&words).exits(0);
    let first = house.ended("l");
    let said = house.full_text("l");
    let dir = dir.canonicalize().expect("it is there");
    let told = format!("{prompt}\na=b c|high|some/model|{}\n", dir.display());
    assert_eq!(said, told);
    // Neither where it is called from nor what is piped into it counts.
    let mut command = house.command("dispatch");
    command.args(["retry", "--label", "l"]).current_dir("/");
    command.stdin(std::process::Stdio::piped());
    let answer = crate::support::run(command, b"other words").exits(0).json();
    assert_eq!(answer["retryOf"], first["generation"]);
    assert_eq!(answer["status"], "accepted");
    let second = house.ended("l");
    assert_eq!(house.full_text("l"), told);
    assert!(generation(&second) > generation(&first));
    let own = [
        "sessionKey",
        "sessionId",
        "runId",
        "runIds",
        "promptPath",
        "generation",
        "retryOf",
        "artifact",
        "contentHash",
        "rev",
        "baseline",
    ];
    let shared = |entry: &Value| {
        let mut entry = entry.as_object().expect("an object").clone();
        entry.retain(|name, _| !own.contains(&name.as_str()) && !name.ends_with("At"));
        Value::Object(entry)
    };
    assert_eq!(shared(&second), shared(&first));
    for name in ["sessionKey", "runId", "promptPath"] {
        assert_ne!(second[name], first[name], "{name}");
    }
    // A retry is retried like any other.
    let ran = house
        .dispatch(&["retry", "--label", "l", "--wait"])
        .exits(0);
    assert_eq!(ran.json()["retryOf"], second["generation"]);
    assert_eq!(house.full_text("l"), told);
}

#[test]
fn a_command_without_a_prompt_is_retried_without_one() {
    let house = House::new();
    house.enqueue("l", "cat; echo ran >> runs");
    house.ended("l");
    let mut command = house.command("dispatch");
    command.args(["retry", "--label", "l"]);
    command.stdin(std::process::Stdio::piped());
    crate::support::run(command, b"a prompt").exits(0);
    eventually("both runs", || {
        (house.text("runs") == "ran\nran\n").then_some(())
    });
    let entry = house.ended("l");
    assert_eq!(entry["taskPrompt"], Value::Null);
    assert_eq!(
        entry["summary"],
        "The command exited with code 0 and printed nothing."
    );
}

#[test]
fn a_retry_goes_on_with_the_session_where_its_label_did() {
    let house = House::new();
    house.enqueue("l", "echo first");
    house.ended("l");
    let reuse = [
        "enqueue", "--label", "l", "--mode", "reuse", "--", "echo", "second",
    ];
    house.dispatch(&reuse).exits(0);
    let before = house.ended("l");
    house.dispatch(&["retry", "--label", "l"]).exits(0);
    let after = house.ended("l");
    assert_eq!(after["sessionKey"], before["sessionKey"]);
    assert_eq!(after["sessionId"], before["sessionId"]);
    assert_eq!(house.full_text("l"), "second\n");
    // A key that was given is a setting, too; a session of its own begins under it.
    let key = "agent:main:my:own";
    let given = [
        "enqueue",
        "--label",
        "m",
        "--session-key",
        key,
        "--",
        "echo",
        "x",
    ];
    house.dispatch(&given).exits(0);
    let before = house.ended("m");
    house.dispatch(&["retry", "--label", "m"]).exits(0);
    let after = house.ended("m");
    assert_eq!(after["sessionKey"], key);
    assert_ne!(after["sessionId"], before["sessionId"]);
}

#[test]
fn the_target_is_the_one_that_was_resolved_then() {
    let house = House::new();
    house.configure(&json!({
        "aliases": {"ops": "command:mail"},
        "commands": {"mail": ["sh", "-c", "cat >> told"]},
    }));
    let words = [
        "enqueue",
        "--label",
        "l",
        "--deliver-to",
        "@ops",
        "--",
        "echo",
        "hi",
    ];
    house.dispatch(&words).exits(0);
    house.ended("l");
    house.configure(&json!({"commands": {"mail": ["true"], "post": ["true"]}}));
    let answer = house.dispatch(&["retry", "--label", "l"]).exits(0).json();
    let delivery = &answer["delivery"];
    assert_eq!(
        (
            &delivery["status"],
            &delivery["channel"],
            &delivery["target"]
        ),
        (&json!("enabled"), &json!("command"), &json!("mail"))
    );
    let entry = house.ended("l");
    assert_eq!(entry["origin"], "command:mail");
}

#[test]
fn a_running_label_is_not_retried_until_it_is_cancelled() {
    let house = House::new();
    let _gate = house.gate("gate");
    house.enqueue("l", "echo ran >> runs; read go < gate");
    house.wrote("runs", "ran");
    let line = format!(
        "label \"l\" is running (generation {}); wait for it, or cancel it first",
        house.entry("l")["generation"]
    );
    let ran = house.dispatch(&["retry", "--label", "l"]).exits(1);
    assert_eq!(ran.stderr, format!("[dispatch] {line}\n"));
    house.dispatch(&["cancel", "--label", "l"]).exits(0);
    house.dispatch(&["retry", "--label", "l"]).exits(0);
    eventually("both runs", || {
        (house.text("runs") == "ran\nran\n").then_some(())
    });
}

#[test]
fn what_is_not_stored_any_more_is_not_made_up() {
    let house = House::new();
    let long = "a long task ".repeat(300);
    for (label, prompt) in [("short", "a task"), ("long", long.as_str())] {
        let words = [
            "enqueue",
            "--label",
            label,
            "--message",
            prompt,
            "--",
            "cat",
        ];
        house.dispatch(&words).exits(0);
        let entry = house.ended(label);
        let path = entry["promptPath"].as_str().expect("a path").to_owned();
        fs::remove_file(&path).expect("it is there");
        if label == "long" {
            let line = format!(
                "label \"long\" cannot be retried: its prompt is not stored any more ({path} is gone)"
            );
            is_refused(&house, label, &line);
        }
    }
    // The ledger has the whole of a short one.
    house.dispatch(&["retry", "--label", "short"]).exits(0);
    house.ended("short");
    assert_eq!(house.full_text("short"), "a task");
    let dir = house.run_dir("short");
    fs::remove_dir_all(&dir).expect("it is there");
    let line = format!(
        "label \"short\" cannot be retried: its command is not stored any more ({} is gone)",
        dir.display()
    );
    is_refused(&house, "short", &line);
}

#[test]
fn what_the_first_call_needed_has_to_be_there_still() {
    let house = House::new();
    let dir = house.path("work");
    fs::create_dir_all(&dir).expect("creatable");
    let words = ["enqueue", "--label", "l", "--cwd", "work", "--", "true"];
    house.dispatch(&words).exits(0);
    house.ended("l");
    fs::remove_dir(&dir).expect("empty");
    let line = format!(
        "label \"l\" cannot be retried: --cwd: {} is not a directory; give one that exists",
        dir.display()
    );
    is_refused(&house, "l", &line);
}

#[test]
fn labels_of_other_tools_are_retried_only_with_their_whole_prompt() {
    let house = House::new();
    let long: String = "x".repeat(2000);
    let entry = |prompt: Value| json!({"status": "done", "agent": "main", "taskPrompt": prompt});
    house.write_ledger(
        json!({
            "imported": entry(Value::Null),
            "cut": entry(json!(long)),
            "spoilt": entry(json!("cut \u{fffd}")),
        })
        .to_string(),
    );
    is_refused(
        &house,
        "imported",
        "label \"imported\" cannot be retried: its prompt was never stored",
    );
    for label in ["cut", "spoilt"] {
        let line = format!(
            "label \"{label}\" cannot be retried: only the first 2000 characters of its prompt are stored"
        );
        is_refused(&house, label, &line);
    }
}

#[test]
fn a_pruned_label_is_retried_while_everything_is_there() {
    let house = House::new();
    house.enqueue("l", "echo ran >> runs");
    let before = house.ended("l");
    eventually("nobody works", || {
        house.processes().is_empty().then_some(())
    });
    house.dispatch(&["prune", "--label", "l"]).exits(0);
    assert!(house.entry("l").is_null());
    let answer = house.dispatch(&["retry", "--label", "l"]).exits(0).json();
    assert_eq!(answer["retryOf"], before["generation"]);
    let after = house.ended("l");
    assert!(generation(&after) > generation(&before));
    assert_eq!(house.text("runs"), "ran\nran\n");
}
