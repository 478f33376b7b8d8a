//! Its `config.json`, its variables, its flags.

use serde_json::{Value, json};

use crate::support::{House, run};

/// The reference's own example, with what a user adds.
fn its_config() -> Value {
    json!({
        "_readme": "comments start with an underscore", "name": "acme",
        "agents": {"ops": {"name": "Ops Desk"}, "main": {}},
        "defaultModel": "big-1", "dispatch": {"model": "older-1"},
        "startupGraceMs": 90000, "deliver_watcher_cron": "* * * * *", "deliver_watcher_ttl_hours": 48,
        "watchdogIntervalCron": "*/5 * * * *", "watchdogTimeoutMin": 10,
        "deliverTo": null, "deliveryChannel": null,
    })
}

#[test]
fn its_configuration_is_taken_without_a_word() {
    let house = House::new();
    house.configure(&its_config());
    assert_eq!(house.dispatch(&["list"]).exits(0).stderr, "");
}

#[test]
fn an_agent_speaks_under_its_own_name() {
    let house = House::new();
    house.configure(&its_config());
    let gate = house.gate("gate");
    for (label, agent) in [("a", "ops"), ("b", "main"), ("c", "other")] {
        let words = [
            "enqueue", "--label", label, "--agent", agent, "--", "sh", "-c", "echo x",
        ];
        house.dispatch(&words).exits(0);
        house.ended(label);
    }
    drop(gate);
    for (label, brand) in [("a", "Ops Desk"), ("b", "acme"), ("c", "acme")] {
        let table = ["result", "--label", label, "--output", "table"];
        assert_eq!(
            house.dispatch(&table).exits(0).stdout,
            format!("\u{1f336}\u{fe0f} *{brand}* [{label}] completed:\n\nx\n")
        );
    }
    house.wrote_in_log("a", "[Ops Desk] watcher [a] ");
}

#[test]
fn the_model_comes_from_the_call_the_configuration_or_the_environment() {
    let config = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let table = [
        (
            vec!["--model", "mine"],
            config(r#"{"defaultModel": "a", "dispatch": {"model": "b"}}"#),
            json!("mine"),
        ),
        (
            vec![],
            config(r#"{"dispatch": {"model": "b"}, "defaultModel": "a"}"#),
            json!("a"),
        ),
        (
            vec![],
            config(r#"{"dispatch": {"model": "b"}}"#),
            json!("b"),
        ),
        (vec![], json!({}), json!("from-env")),
        (vec!["--model", ""], json!({}), json!("from-env")),
    ];
    for (flags, config, expected) in table {
        let house = House::new();
        house.configure(&config);
        let mut command = house.command("dispatch");
        command
            .env("DISPATCH_DEFAULT_MODEL", "from-env")
            .args(["enqueue", "--label", "m"])
            .args(&flags)
            .args(["--", "sh", "-c", "echo \"$DISPATCH_MODEL\""]);
        run(command, b"").exits(0);
        assert_eq!(house.ended("m")["model"], expected, "{config}");
        assert_eq!(
            house.full_text("m").trim(),
            expected.as_str().unwrap_or_default()
        );
    }
    let house = House::new();
    house.enqueue("m", "true");
    assert_eq!(house.ended("m")["model"], Value::Null);
}

#[test]
fn its_state_directory_is_ours_and_a_relative_ledger_stands_in_it() {
    for (ledger, found) in [(None, "labels.json"), (Some("my.json"), "my.json")] {
        let house = House::new();
        let mut command = house.command("dispatch");
        command
            .env_remove("DISPATCH_HOME")
            .env("DISPATCH_STATE_DIR", house.state())
            .args(["enqueue", "--label", "m", "--wait", "--", "echo", "hi"]);
        if let Some(ledger) = ledger {
            command.env("DISPATCH_LABELS_PATH", ledger);
        }
        let answer = run(command, b"").exits(0).json();
        assert_eq!(answer["lastReply"], "hi\n");
        assert!(house.state().join(found).is_file());
        assert!(house.state().join("watchers").is_dir());
    }
}

#[test]
fn a_script_of_the_reference_is_never_called_as_dispatch() {
    let house = House::new();
    let mut command = house.command("dispatch");
    command
        .env("DISPATCH_INDEX_PATH", "/opt/scheduler/dispatch/index.mjs")
        .args(["enqueue", "--label", "m", "--wait", "--", "echo", "hi"]);
    assert_eq!(run(command, b"").exits(0).json()["lastReply"], "hi\n");
    let mut command = house.command("dispatch");
    command
        .env("DISPATCH_INDEX_PATH", "/opt/scheduler/dispatch/index.mjs")
        .arg("doctor");
    let told = run(command, b"").exits(1);
    assert!(told.stdout.contains("DISPATCH_INDEX_PATH names /opt/scheduler/dispatch/index.mjs, a script of openclaw-scheduler"), "{told:?}");
}

#[test]
fn its_flags_are_taken() {
    let house = House::new();
    let told = house
        .dispatch(&[
            "enqueue",
            "--label",
            "m",
            "--payload-kind",
            "agentTurn",
            "--monitor",
            "false",
            "--",
            "true",
        ])
        .exits(0);
    assert!(
        told.stderr.contains("--payload-kind agentTurn: "),
        "{told:?}"
    );
    house.ended("m");
    // Its watcher leaves a moment after the end is recorded.
    crate::outbox::quiet(&house);
    let handed = house
        .dispatch(&["watcher-handoff", "--label", "m", "--reason", "an upgrade"])
        .exits(0)
        .json();
    assert_eq!(
        (&handed["ok"], &handed["scheduled"]),
        (&json!(true), &json!(false))
    );
    for status in ["spawn-warning", "awaiting-spawn"] {
        let none = house
            .dispatch(&["list", "--status", status])
            .exits(0)
            .json();
        assert_eq!(none["labels"], json!([]));
    }
    let watched = [
        "--label",
        "m",
        "--timeout",
        "600",
        "--poll-interval",
        "20",
        "--idle-threshold",
        "300",
    ];
    house.run("watcher", &watched).exits(0);
}

#[test]
fn its_ledger_is_named_wherever_it_stands() {
    let house = House::new();
    let home = house.root().join("sched");
    let ledger = home.join("dispatch/labels.json");
    std::fs::create_dir_all(home.join("dispatch")).expect("creatable");
    std::fs::write(&ledger, "{}\n").expect("writable");
    let mut command = house.command("dispatch");
    command.env("OPENCLAW_SCHEDULER_HOME", &home).arg("doctor");
    let told = run(command, b"").exits(0).stdout;
    assert!(
        told.contains(&format!(
            "openclaw-scheduler has a ledger at {}",
            ledger.display()
        )),
        "{told}"
    );
}
