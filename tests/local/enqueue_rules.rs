//! What `enqueue` refuses, repeats, replaces and goes on with.

use std::fs;

use serde_json::{Value, json};

use crate::support::{House, Ran, eventually, finish_soon, is_alive};

fn enqueue(house: &House, flags: &[&str], script: &str) -> Ran {
    let mut words = vec!["enqueue", "--label", "l"];
    words.extend(flags);
    words.extend(["--", "sh", "-c", script]);
    house.dispatch(&words)
}

fn generation(entry: &Value) -> u64 {
    entry["generation"].as_u64().expect("a generation")
}

#[test]
fn a_running_label_is_refused_and_left_alone() {
    let house = House::new();
    let gate = house.gate("gate");
    enqueue(&house, &[], "read go < gate; echo first").exits(0);
    let before = house.entry("l")["generation"].clone();
    let ran = enqueue(&house, &[], "echo second >> ran").exits(1);
    assert_eq!(ran.stdout, "");
    let expected = format!(
        "label \"l\" is running (generation {before}); wait for it, cancel it, or use --replace"
    );
    assert!(ran.stderr.contains(&expected), "{ran:?}");
    gate.open();
    house.ended("l");
    assert_eq!(house.full_text("l"), "first\n");
    assert!(!house.path("ran").exists());
}

#[test]
fn replace_settles_the_running_generation_first() {
    let house = House::new();
    let _gate = house.gate("gate");
    enqueue(&house, &[], "echo $$ > pid; echo first; read go < gate").exits(0);
    let pid = eventually("the first command", || {
        house.text("pid").trim().parse::<u32>().ok()
    });
    let old = house.entry("l");
    enqueue(&house, &["--replace"], "echo second").exits(0);
    assert!(!is_alive(pid), "the replaced command still runs");
    let entry = house.ended("l");
    assert!(generation(&entry) > generation(&old));
    assert_eq!(house.full_text("l"), "second\n");
    let old_generation = generation(&old).to_string();
    let words = [
        "result",
        "--label",
        "l",
        "--generation",
        &old_generation,
        "--full",
    ];
    let replaced = house.dispatch(&words).exits(0).json();
    assert_eq!(replaced["status"], "cancelled");
    assert!(
        replaced["lastReply"]
            .as_str()
            .is_some_and(|t| t.contains("first\n")),
        "{replaced}"
    );
}

#[test]
fn an_overwritten_entry_is_in_the_archive_and_its_result_can_still_be_read() {
    let house = House::new();
    let mut generations = Vec::new();
    for word in ["one", "two", "three"] {
        enqueue(&house, &[], &format!("echo {word}")).exits(0);
        generations.push(generation(&house.ended("l")));
    }
    assert!(generations.is_sorted_by(|a, b| a < b), "{generations:?}");
    let archive = fs::read_to_string(house.state().join("archive.jsonl")).expect("readable");
    assert_eq!(archive.lines().filter(|line| !line.is_empty()).count(), 2);
    for (wanted, word) in generations.iter().zip(["one\n", "two\n", "three\n"]) {
        let wanted = wanted.to_string();
        let result = house
            .dispatch(&["result", "--label", "l", "--generation", &wanted])
            .exits(0)
            .json();
        assert_eq!(result["lastReply"], word);
    }
    let ran = house
        .dispatch(&["result", "--label", "l", "--generation", "7"])
        .exits(1);
    assert_eq!(ran.json()["ok"], false);
}

#[test]
fn a_generation_rises_above_one_that_lies_in_the_future() {
    let house = House::new();
    let future = 9_000_000_000_000_u64;
    house.write_ledger(
        json!({"l": {"status": "done", "generation": future, "kept": "by others"}}).to_string(),
    );
    enqueue(&house, &[], "echo hi").exits(0);
    assert_eq!(generation(&house.ended("l")), future + 1);
    let archive = fs::read_to_string(house.state().join("archive.jsonl")).expect("readable");
    assert!(archive.contains("by others"), "{archive}");
}

#[test]
fn a_reused_session_goes_on_and_its_old_reply_is_never_the_result() {
    let house = House::new();
    let gate = house.gate("gate");
    enqueue(&house, &["--message", "first task"], "echo old reply").exits(0);
    let old = house.ended("l");
    enqueue(
        &house,
        &["--mode", "reuse", "--message", "second task"],
        "read go < gate",
    )
    .exits(0);
    house.waiter_pid("l");
    // The watcher has looked at the transcript with the old reply in it.
    eventually("the phase moves on", || {
        (house.entry("l")["phase"] == "running").then_some(())
    });
    assert_eq!(house.entry("l")["status"], "running");
    gate.open();
    let new = house.ended("l");
    assert_eq!(new["sessionKey"], old["sessionKey"]);
    assert_eq!(new["sessionId"], old["sessionId"]);
    assert_ne!(new["runId"], old["runId"]);
    assert_eq!(
        new["summary"],
        "The command exited with code 0 and printed nothing."
    );
    let lines = house.transcript("l");
    let users: Vec<&str> = lines
        .iter()
        .filter(|line| line["message"]["role"] == "user")
        .filter_map(|line| line["message"]["content"][0]["text"].as_str())
        .collect();
    assert_eq!(users, ["first task", "second task"]);
    let headers = lines
        .iter()
        .filter(|line| line["type"] == "session")
        .count();
    assert_eq!(headers, 1);
}

#[test]
fn reuse_without_a_session_is_refused() {
    let house = House::new();
    let ran = enqueue(&house, &["--mode", "reuse"], "echo hi").exits(1);
    assert!(
        ran.stderr
            .contains("label \"l\" has no session to go on with; use --mode fresh"),
        "{ran:?}"
    );
    assert!(!house.ledger_path().exists() || house.entry("l").is_null());
}

#[test]
fn two_labels_in_one_session_each_have_their_own_result() {
    let house = House::new();
    let gate = house.gate("gate");
    enqueue(&house, &[], "read go < gate; echo of the first").exits(0);
    house.waiter_pid("l");
    let key = house.entry("l")["sessionKey"]
        .as_str()
        .expect("a key")
        .to_owned();
    // Nobody looks while the one ends and the other begins.
    crate::support::kill_hard(house.watcher_pid("l"));
    let words = [
        "enqueue",
        "--label",
        "m",
        "--mode",
        "reuse",
        "--session-key",
        &key,
        "--",
        "sh",
        "-c",
        "echo of the second",
    ];
    house.dispatch(&words).exits(0);
    gate.open();
    assert_eq!(house.ended("m")["status"], "done");
    house.recover();
    assert_eq!(house.ended("l")["status"], "done");
    assert_eq!(house.full_text("l"), "of the first\n");
    assert_eq!(house.full_text("m"), "of the second\n");
}

#[test]
fn a_repeated_key_gets_the_first_answer_and_the_command_runs_once() {
    let house = House::new();
    let gate = house.gate("gate");
    let script = "echo ran >> runs; read go < gate; echo result";
    let first = enqueue(&house, &["--idempotency-key", "k \"ä\" \\1"], script)
        .exits(0)
        .json();
    let again = enqueue(&house, &["--idempotency-key", "k \"ä\" \\1"], script)
        .exits(0)
        .json();
    for field in ["label", "runId", "sessionKey", "generation", "status"] {
        assert_eq!(first[field], again[field], "{field}");
    }
    assert_eq!(again["repeated"], true);
    let ran = enqueue(&house, &["--idempotency-key", "k \"ä\" \\1"], "echo other").exits(1);
    assert!(
        ran.stderr
            .contains("the idempotency key k \"ä\" \\1 belongs to other work (label \"l\")"),
        "{ran:?}"
    );
    gate.open();
    house.ended("l");
    let late = enqueue(&house, &["--idempotency-key", "k \"ä\" \\1"], script)
        .exits(0)
        .json();
    assert_eq!(late["generation"], first["generation"]);
    assert_eq!(house.text("runs"), "ran\n");
    assert_eq!(house.full_text("l"), "result\n");
}

#[test]
fn a_repeated_key_with_replace_does_not_stop_the_run_that_it_started() {
    let house = House::new();
    let gate = house.gate("gate");
    let script = "echo ran >> runs; read go < gate; echo result";
    let flags = ["--replace", "--idempotency-key", "k-2"];
    let first = enqueue(&house, &flags, script).exits(0).json();
    house.wrote("runs", "ran");
    let again = enqueue(&house, &flags, script).exits(0).json();
    assert_eq!(again["generation"], first["generation"]);
    // Nor does a call that is refused because the key belongs to other work.
    enqueue(&house, &flags, "echo other").exits(1);
    gate.open();
    assert_eq!(house.ended("l")["status"], "done");
    assert_eq!(house.full_text("l"), "result\n");
    assert_eq!(house.text("runs"), "ran\n");
}

#[test]
fn a_key_whose_enqueue_was_killed_before_the_ledger_write_can_be_used_again() {
    let house = House::new();
    // What it leaves: a prompt and a description of the run, of other content, and no entry.
    let prompt = house.state().join("prompts/l/k-3.txt");
    fs::create_dir_all(prompt.parent().expect("a parent")).expect("creatable");
    fs::write(&prompt, "half a pro").expect("writable");
    let run = house.state().join("sessions/runs/k-3");
    fs::create_dir_all(&run).expect("creatable");
    let spec = json!({
        "runId": "k-3", "label": "l", "generation": 1, "sessionKey": "agent:main:subagent:x",
        "sessionId": "x", "argv": ["/bin/false"], "cwd": "/", "env": [], "termGraceMs": 1,
    });
    fs::write(run.join("run.json"), spec.to_string()).expect("writable");
    let flags = ["--idempotency-key", "k-3", "--message", "the whole prompt"];
    enqueue(&house, &flags, "cat").exits(0);
    assert_eq!(house.ended("l")["status"], "done");
    assert_eq!(house.full_text("l"), "the whole prompt");
    let left: Vec<_> = fs::read_dir(run)
        .expect("readable")
        .flatten()
        .map(|e| e.file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().starts_with('.')),
        "{left:?}"
    );
}

#[test]
fn a_key_of_a_run_that_has_left_the_ledger_is_refused_and_runs_nothing() {
    let house = House::new();
    enqueue(&house, &["--idempotency-key", "k-4"], "echo ran >> runs").exits(0);
    house.ended("l");
    enqueue(&house, &[], "echo in between").exits(0);
    house.ended("l");
    let ran = enqueue(&house, &["--idempotency-key", "k-4"], "echo ran >> runs").exits(1);
    assert!(
        ran.stderr.contains("was used for an earlier run"),
        "{ran:?}"
    );
    assert_eq!(house.full_text("l"), "in between\n");
    assert_eq!(house.text("runs"), "ran\n");
}

#[test]
fn a_requester_that_no_gateway_could_wake_is_refused() {
    let house = House::new();
    let ran = enqueue(&house, &["--requester", "agent:main:main"], "touch ran").exits(2);
    assert_eq!(
        ran.stderr,
        "[dispatch] --requester agent:main:main: sessions are woken by an OpenClaw gateway, and none is configured; set OPENCLAW_GATEWAY_URL, or leave the flag out\n"
    );
    assert!(house.entry("l").is_null());
    assert!(!house.path("ran").exists());
}

#[test]
fn a_command_does_not_wait_for_the_gateway_that_would_know_its_requester() {
    let house = House::new();
    // Nothing listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let config = json!({"gateway": {"port": port}});
    let dir = house.root().join("user/.openclaw");
    fs::create_dir_all(&dir).expect("creatable");
    fs::write(dir.join("openclaw.json"), config.to_string()).expect("writable");
    let ran = enqueue(&house, &["--requester", "agent:main:main"], "echo hi").exits(0);
    let told = "[dispatch] --requester agent:main:main is not checked, and the command starts all the same: no gateway answers at ";
    assert!(ran.stderr.starts_with(told), "{ran:?}");
    assert_eq!(house.ended("l")["status"], "done");
}

#[test]
fn when_a_label_counts_as_stuck_is_kept_and_answered() {
    let house = House::new();
    let watchdog = |flags: &[&str]| {
        let answer = enqueue(&house, flags, "true").exits(0).json();
        let entry = house.ended("l");
        let is_said = flags.contains(&"--monitor-timeout");
        assert_eq!(entry["monitorTimeoutMin"].is_number(), is_said, "{entry:#}");
        (answer["watchdog"].clone(), entry["watchdog"].clone())
    };
    let usual = json!({"enabled": true, "jobId": null, "interval": "*/15 * * * *", "timeout": 60});
    let kept = json!({"interval": "*/15 * * * *", "timeoutMin": 60});
    assert_eq!(watchdog(&[]), (usual, kept));
    assert_eq!(watchdog(&["--no-monitor"]), (Value::Null, Value::Null));
    for (minutes, timeout) in [("20", 20), ("2h", 120), ("90s", 2)] {
        let flags = [
            "--monitor-interval",
            "*/5  8-18 * * mon-fri",
            "--monitor-timeout",
            minutes,
        ];
        let (answer, kept) = watchdog(&flags);
        let interval = "*/5 8-18 * * mon-fri";
        assert_eq!(
            answer,
            json!({"enabled": true, "jobId": null, "interval": interval, "timeout": timeout})
        );
        assert_eq!(kept, json!({"interval": interval, "timeoutMin": timeout}));
    }
    house.write_config(r#"{"watchdogIntervalCron": "0 * * * *", "watchdogTimeoutMin": 10}"#);
    let (answer, _) = watchdog(&["--runtime", "auto"]);
    assert_eq!(
        (&answer["interval"], &answer["timeout"]),
        (&json!("0 * * * *"), &json!(10))
    );
    house.write_config(r#"{"watchdogIntervalCron": "hourly"}"#);
    let ran = enqueue(&house, &[], "true").exits(2);
    let told = format!(
        "[dispatch] the configuration {}: \"watchdogIntervalCron\": \"hourly\" is no cron expression: it has 1 field; give five fields such as \"*/15 * * * *\"\n",
        house.state().join("config.json").display()
    );
    assert_eq!(ran.stderr, told);
    enqueue(&house, &["--monitor-interval", "0 * * * *"], "true").exits(0);
}

#[test]
fn scripts_read_whether_anybody_is_told() {
    let house = House::new();
    house.configure(&json!({"commands": {"mail": ["true"]}}));
    let told = |flags: &[&str]| {
        let answer = enqueue(&house, flags, "true").exits(0).json();
        let entry = house.ended("l");
        let fields = ["deliveryDisabled", "deliveryDisabledReason"].map(|name| entry[name].clone());
        let surface = &answer["delivery"];
        (fields, surface["status"].clone(), surface["reason"].clone())
    };
    let disabled = json!("disabled");
    assert_eq!(
        told(&["--no-monitor", "the caller polls"]),
        (
            [json!(true), json!("the caller polls")],
            disabled.clone(),
            json!("the caller polls")
        )
    );
    assert_eq!(
        told(&["--no-monitor"]),
        ([json!(true), Value::Null], disabled, json!("--no-monitor"))
    );
    let nobody = json!("delivery target missing or not recorded");
    assert_eq!(
        told(&[]),
        ([json!(false), Value::Null], json!("missing"), nobody)
    );
    assert_eq!(
        told(&["--no-monitor", "x", "--deliver-to", "command:mail"]),
        ([json!(false), Value::Null], json!("enabled"), Value::Null)
    );
}

#[test]
fn reuse_of_a_running_label_goes_on_once_that_has_ended() {
    let house = House::new();
    let gate = house.gate("gate");
    enqueue(&house, &[], "read go < gate; echo first").exits(0);
    let first = house.entry("l");
    let words = [
        "enqueue", "--label", "l", "--mode", "reuse", "--", "echo", "second",
    ];
    let mut second = house.start("dispatch", &words);
    let mut line = String::new();
    let stderr = second.stderr.take().expect("a pipe");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stderr), &mut line).expect("a line");
    assert_eq!(
        line,
        "[dispatch] label \"l\" is running; its session goes on with this once that has ended\n"
    );
    assert_eq!(house.entry("l")["generation"], first["generation"]);
    gate.open();
    let answer = crate::support::finish(second).exits(0).json();
    assert_eq!(answer["sessionKey"], first["sessionKey"]);
    let entry = house.ended("l");
    assert_eq!(entry["sessionId"], first["sessionId"]);
    assert_eq!(house.full_text("l"), "second\n");
    let words = [
        "result",
        "--label",
        "l",
        "--generation",
        &first["generation"].to_string(),
    ];
    let result = house.dispatch(&words).exits(0).json();
    assert_eq!(
        (&result["status"], &result["lastReply"]),
        (&json!("done"), &json!("first\n"))
    );
}

#[test]
fn the_session_of_a_pruned_label_goes_on_while_it_is_there() {
    let house = House::new();
    enqueue(&house, &[], "echo first").exits(0);
    let first = house.ended("l");
    eventually("nobody works", || {
        house.processes().is_empty().then_some(())
    });
    house.dispatch(&["prune", "--label", "l"]).exits(0);
    enqueue(&house, &["--mode", "reuse"], "echo second").exits(0);
    let second = house.ended("l");
    assert_eq!(second["sessionId"], first["sessionId"]);
    assert_eq!(house.full_text("l"), "second\n");
}

#[test]
fn reasons_of_any_length_are_cut_to_what_the_ledger_keeps() {
    let house = House::new();
    let gate = house.gate("gate");
    let long = "ä".repeat(4500);
    let script = gate.pass();
    let words = ["enqueue", "--label", "w", "--no-monitor", &long];
    house
        .dispatch(&[&words[..], &["--", "sh", "-c", &script]].concat())
        .exits(0);
    house
        .dispatch(&["cancel", "--label", "w", "--reason", &long])
        .exits(0);
    let kept = format!("{}…", "ä".repeat(1022));
    let entry = house.entry("w");
    assert_eq!(entry["deliveryDisabledReason"], kept);
    assert_eq!(entry["noMonitor"], kept);
    assert_eq!(entry["cancelRequested"]["reason"], kept);
}

#[test]
fn a_call_that_waits_for_its_session_leaves_nothing_beside_its_place_until_then() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo first", gate.pass()));
    let said = house.path("said");
    let mut command = house.command("dispatch");
    command.args(["enqueue", "--label", "w", "--mode", "reuse", "--wait"]);
    command.args(["--message", "a task", "--", "cat"]);
    command
        .stdout(std::process::Stdio::piped())
        .stderr(fs::File::create(&said).expect("creatable"));
    let waiting = command.spawn().expect("it starts");
    eventually("it waits", || {
        house
            .text("said")
            .contains("goes on with this")
            .then_some(())
    });
    let prompts = house.state().join("prompts/w");
    assert!(!prompts.exists());
    gate.open();
    let told = finish_soon(waiting).exits(0).json();
    assert_eq!(told["lastReply"], "a task", "{told:#}");
    assert_eq!(fs::read_dir(&prompts).expect("there").count(), 1);
}
