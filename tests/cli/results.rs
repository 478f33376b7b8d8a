//! What came out of a label, and which labels there are.

use serde_json::json;

use super::house_with_one_label;
use crate::support::{House, run};

#[test]
fn a_result_is_whole_with_full_and_within_the_limit_without() {
    let house = House::new();
    house.enqueue("long", "head -c 3000 /dev/zero | tr '\\0' x");
    house.ended("long");
    let result = |flags: &[&str]| {
        let mut command = house.command("dispatch");
        command.env("DISPATCH_COMPLETION_INLINE_LIMIT_BYTES", "500");
        command.args(["result", "--label", "long"]).args(flags);
        run(command, b"").exits(0)
    };
    let path = result(&["--path"]).stdout.trim_end().to_owned();
    let cut = result(&[]).json();
    let reply = cut["lastReply"].as_str().expect("a text");
    assert!(reply.len() <= 500 && reply.contains(&path), "{reply}");
    assert_eq!(cut["artifactPath"], path);
    let whole = "x".repeat(3000);
    assert_eq!(result(&["--full"]).json()["lastReply"], whole);
    assert_eq!(
        result(&["--full", "--output", "table"]).stdout,
        format!("{whole}\n")
    );
    assert_eq!(std::fs::read_to_string(path).expect("it is there"), whole);
}

#[test]
fn an_older_generation_is_read_from_the_archive() {
    let house = House::new();
    let first = house.enqueue("twice", "echo first").json();
    house.ended("twice");
    let second = house.enqueue("twice", "echo second").json();
    house.ended("twice");
    let generation = |answer: &serde_json::Value| answer["generation"].to_string();
    for (answer, reply) in [(&first, "first\n"), (&second, "second\n")] {
        let of = generation(answer);
        let result = house
            .dispatch(&["result", "--label", "twice", "--generation", &of])
            .exits(0)
            .json();
        assert_eq!(result["lastReply"], reply);
        let path = house
            .dispatch(&["result", "--label", "twice", "--generation", &of, "--path"])
            .exits(0);
        assert_eq!(
            std::fs::read_to_string(path.stdout.trim_end()).expect("kept"),
            reply
        );
    }
    assert_eq!(
        house.dispatch(&["result", "--label", "twice"]).json()["lastReply"],
        "second\n"
    );
    let message = "label \"twice\" has no generation 7, neither in the ledger nor in the archive";
    let none = house
        .dispatch(&["result", "--label", "twice", "--generation", "7"])
        .exits(1);
    assert_eq!(
        none.json(),
        json!({"ok": false, "label": "twice", "message": message})
    );
}

#[test]
fn a_running_label_has_no_result_yet() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("slow", &gate.pass());
    let answer = house
        .dispatch(&["result", "--label", "slow"])
        .exits(1)
        .json();
    assert_eq!(answer["ok"], false);
    assert_eq!(answer["status"], "running");
    assert_eq!(answer["message"], "the label is still running");
    let line = |what| {
        format!(
            "[dispatch] label \"slow\" has {what}: it is running; wait for its end by: dispatch wait slow\n"
        )
    };
    let table = house
        .dispatch(&["result", "--label", "slow", "--output", "table"])
        .exits(1);
    assert_eq!(
        (table.stdout.as_str(), table.stderr),
        ("", line("no result yet"))
    );
    let path = house
        .dispatch(&["result", "--label", "slow", "--path"])
        .exits(1);
    assert_eq!(
        (path.stdout.as_str(), path.stderr),
        ("", line("no file with its text"))
    );
}

#[test]
fn a_result_without_a_file_says_so() {
    let house = house_with_one_label();
    let ran = house
        .dispatch(&["result", "--label", "nightly-build", "--path"])
        .exits(1);
    assert_eq!(
        ran.stderr,
        "[dispatch] label \"nightly-build\" has no file with its text; read what the ledger has by: dispatch result --label nightly-build\n"
    );
}

#[test]
fn a_failed_label_has_a_result() {
    let house = House::new();
    house.enqueue("bad", "echo almost; echo boo >&2; exit 3");
    house.ended("bad");
    let ran = house
        .dispatch(&["result", "--label", "bad", "--output", "table"])
        .exits(0);
    assert_eq!(
        ran.stdout,
        "🌶️ *dispatch* [bad] failed (command):\n\nthe command exited with code 3: boo\n\nWhat it had said until then:\n\nalmost\n"
    );
}

#[test]
fn an_unknown_label_is_an_answer() {
    let house = house_with_one_label();
    let message = "no session found for label \"nightly-biuld\"; did you mean \"nightly-build\"?";
    let label = "nightly-biuld";
    assert_eq!(
        house
            .dispatch(&["status", "--label", label])
            .exits(0)
            .json(),
        json!({"ok": true, "label": label, "found": false, "message": message})
    );
    assert_eq!(
        house
            .dispatch(&["result", "--label", label])
            .exits(1)
            .json(),
        json!({"ok": false, "label": label, "message": message})
    );
}

#[test]
fn list_is_newest_first_and_limited() {
    let house = House::new();
    let mut ledger = serde_json::Map::new();
    for i in 0..25 {
        let status = if i % 5 == 0 { "error" } else { "done" };
        let at = format!("2026-01-02T03:04:{i:02}.000Z");
        ledger.insert(format!("l{i}"), json!({"status": status, "updatedAt": at}));
    }
    house.write_ledger(serde_json::Value::Object(ledger).to_string());
    let labels = |flags: &[&str]| -> Vec<String> {
        let rows = house.dispatch(&[&["list"], flags].concat()).exits(0).json();
        let rows = rows["labels"].as_array().expect("an array").clone();
        rows.iter()
            .map(|row| row["label"].as_str().expect("a text").to_owned())
            .collect()
    };
    let newest = |range: std::ops::Range<i32>| -> Vec<String> {
        range.rev().map(|i| format!("l{i}")).collect()
    };
    assert_eq!(labels(&[]), newest(5..25));
    assert_eq!(labels(&["--all"]), newest(0..25));
    assert_eq!(labels(&["--limit", "3"]), newest(22..25));
    assert_eq!(
        labels(&["--status", "error"]),
        ["l20", "l15", "l10", "l5", "l0"]
    );
    assert_eq!(labels(&["--status", "error", "--limit", "1"]), ["l20"]);
    assert!(labels(&["--status", "cancelled"]).is_empty());
    let counts = house.dispatch(&["list", "--limit", "3"]).json();
    assert_eq!(
        (&counts["count"], &counts["total"]),
        (&json!(3), &json!(25))
    );
}

#[test]
fn a_status_of_another_tool_can_be_asked_for_where_it_occurs() {
    let house = House::new();
    house.write_ledger(
        r#"{"a": {"status": "on-hold"}, "b": {"status": "archiving"}, "c": {"status": "done"}}"#,
    );
    let rows = house
        .dispatch(&["list", "--status", "on-hold"])
        .exits(0)
        .json();
    assert_eq!(rows["count"], 1);
    assert_eq!(rows["labels"][0]["status"], "on-hold");
    for (wanted, near) in [("zzz", ""), ("on-hodl", "; did you mean on-hold?")] {
        let ran = house.dispatch(&["list", "--status", wanted]).exits(2);
        assert_eq!(
            ran.stderr,
            format!(
                "[dispatch] --status: \"{wanted}\" is no status (running, done, error, interrupted, cancelled; in this ledger also archiving, on-hold){near}\n"
            )
        );
    }
}

#[test]
fn the_last_reply_of_a_failure_is_what_was_said_before_it() {
    let house = House::new();
    for (label, script, said) in [
        ("spoke", "echo half; exit 3", json!("half\n")),
        ("silent", "exit 3", json!(null)),
        ("complained", "echo boo >&2; exit 3", json!(null)),
    ] {
        house.enqueue(label, script);
        house.ended(label);
        let result = house
            .dispatch(&["result", "--label", label])
            .exits(0)
            .json();
        assert_eq!(result["lastReply"], said, "{label}");
        let error = result["error"].as_str().expect("a text");
        assert!(
            error.starts_with("the command exited with code 3"),
            "{error}"
        );
    }
}

#[test]
fn a_label_in_another_tools_status_has_no_result_and_that_is_said() {
    let house = House::new();
    house.write_ledger(
        r#"{"w": {"status": "spawn-warning", "sessionKey": "agent:main:subagent:1f"}}"#,
    );
    let answer = house.dispatch(&["result", "--label", "w"]).exits(1).json();
    assert_eq!(
        answer["message"],
        "the label is spawn-warning, which is no end"
    );
    let words = ["result", "--label", "w", "--output", "table"];
    let ran = house.dispatch(&words).exits(1);
    assert_eq!(
        ran.stderr,
        "[dispatch] label \"w\" has no result yet: it is spawn-warning\n"
    );
}
