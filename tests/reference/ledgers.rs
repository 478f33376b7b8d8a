//! Its ledger, used in place.

use std::fs;

use serde_json::{Value, json};

use crate::support::House;

const FORMS: [&str; 2] = ["reference-form.json", "reference-form-extra.json"];

fn fixture(name: &str) -> String {
    let path = format!("{}/fixtures/ledgers/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).expect("the fixture is there")
}

fn house_with(ledger: &str) -> House {
    let house = House::new();
    house.write_ledger(ledger);
    house
}

fn text(house: &House) -> String {
    fs::read_to_string(house.ledger_path()).expect("UTF-8")
}

#[test]
fn everything_that_reads_answers_for_every_label_and_changes_nothing() {
    for form in FORMS {
        let house = house_with(&fixture(form));
        let list = house.dispatch(&["list", "--all"]).exits(0).json();
        for row in list["labels"].as_array().into_iter().flatten() {
            let label = row["label"].as_str().unwrap_or_default();
            let status = house.dispatch(&["status", &format!("--label={label}")]);
            assert_eq!(status.exits(0).json()["status"], row["status"], "{label}");
            let result = house.dispatch(&["result", &format!("--label={label}")]);
            let result = result.json();
            // What is no reply of the session is not shown as one.
            let is_reply = result["lastReply"].is_string();
            assert!(!is_reply || row["status"] == "done", "{label}: {result:#}");
        }
        house.dispatch(&["sync"]).exits(0);
        house.run("529-recovery", &[]).exits(0);
        house.dispatch(&["doctor"]).exits(1);
        assert_eq!(text(&house), fixture(form), "{form}");
    }
}

#[test]
fn a_new_run_of_an_ended_label_has_nothing_of_the_one_before() {
    for form in FORMS {
        let house = house_with(&fixture(form));
        let ledger = house.dispatch(&["list", "--all"]).exits(0).json();
        let rows = ledger["labels"].as_array().cloned().unwrap_or_default();
        for row in rows {
            let label = row["label"].as_str().unwrap_or_default().to_owned();
            let words = ["enqueue", "--label", &label, "--", "true"];
            if row["status"] == "running" {
                house.dispatch(&words).exits(1);
                continue;
            }
            house.dispatch(&words).exits(0);
            let entry = house.ended(&label);
            assert_eq!(entry["status"], "done", "{label}");
            for stale in [
                "completion",
                "sha",
                "lastPing",
                "retryCount",
                "gwRestartRetryCount",
                "watcherRetryAfter",
                "completionDeliveredAt",
                "completionDeliverySource",
                "deliveryWatcherJobId",
                "metadataRejectedAt",
                "deliveryDisabledReason",
                "gatewayTimeoutSeconds",
                "vendor",
            ] {
                assert!(entry[stale].is_null(), "{form}: {label}.{stale}: {entry:#}");
            }
            for new in ["sessionKey", "runId", "spawnedAt", "sessionId"] {
                assert_ne!(entry[new], row[new], "{form}: {label}.{new}");
            }
            let first = house.dispatch(&["result", &format!("--label={label}"), "--generation=0"]);
            let first = first.json();
            assert_eq!(first["status"], row["status"], "{form}: {label}");
            assert_eq!(first["completion"], row["completion"], "{form}: {label}");
        }
    }
}

#[test]
fn a_run_of_the_reference_is_left_to_it_until_somebody_takes_it_over() {
    let house = house_with(&fixture(FORMS[0]));
    let refused = |words: &[&str], sentence: &str| {
        let ran = house.dispatch(words).exits(1);
        assert!(ran.stderr.contains(sentence), "{ran:?}");
    };
    let hint = "or take it over first: dispatch watcher-handoff --label running-ping";
    refused(&["cancel", "--label", "running-ping"], hint);
    refused(
        &[
            "enqueue",
            "--label",
            "running-ping",
            "--replace",
            "--",
            "true",
        ],
        hint,
    );
    refused(
        &["watcher-handoff", "--label", "running-ping"],
        "no gateway is configured that its session could be on; end it by: dispatch done --label running-ping --checklist '{\"work_complete\":true}'",
    );
    refused(
        &["watcher-handoff", "--label", "reuse-label"],
        "it went on with an older session",
    );
    assert_eq!(
        house
            .dispatch(&["watcher-handoff", "--all"])
            .exits(0)
            .json()["labels"],
        json!([])
    );
    assert_eq!(text(&house), fixture(FORMS[0]));
    house
        .dispatch(&[
            "done",
            "--label",
            "running-ping",
            "--checklist={\"work_complete\":true}",
        ])
        .exits(0);
    assert_eq!(house.entry("running-ping")["status"], "done");
}

#[test]
fn half_an_emoji_is_no_damage() {
    let cut = "{\n  \"a\": {\n    \"status\": \"done\",\n    \"taskPrompt\": \"cut \\ud83d\"\n  },\n  \"b\": {\n    \"status\": \"error\",\n    \"taskPrompt\": \"\\ude00 and \\uD83D\\uDE00\"\n  }\n}\n";
    let house = house_with(cut);
    let list = house.dispatch(&["list"]).exits(0).json();
    assert_eq!(list["labels"][0]["taskPrompt"], "cut \u{fffd}");
    let checks = house.dispatch(&["doctor"]).json();
    let names: Vec<&Value> = checks["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|check| check["ok"] == false)
        .map(|check| &check["name"])
        .collect();
    assert_eq!(names, ["permissions"]);
    let done = |label: &str| {
        let checklist = "--checklist={\"work_complete\":true}";
        house.dispatch(&["done", "--label", label, "--summary=whole", checklist])
    };
    done("c").exits(0);
    // Untouched, it stands as it stood.
    assert!(
        text(&house).starts_with(cut.trim_end_matches("\n}\n")),
        "{}",
        text(&house)
    );
    done("b").exits(0);
    assert!(text(&house).contains("\"taskPrompt\": \"\u{fffd} and \u{1f600}\""));
    assert!(text(&house).contains("\"taskPrompt\": \"cut \\ud83d\""));
    assert_eq!(house.dispatch(&["list"]).exits(0).json()["count"], 3);
}

#[test]
fn a_label_that_javascript_cut_in_half_can_still_be_read() {
    let house =
        house_with("{\"half\\ud83d\": {\"status\": \"done\", \"summary\": \"s\"}, \"b\": {}}");
    let list = house
        .dispatch(&["list", "--status", "done"])
        .exits(0)
        .json();
    assert_eq!(list["labels"][0]["label"], "half\u{fffd}");
    assert_eq!(list["labels"][0]["summary"], "s");
}

#[test]
fn other_tools_layouts_are_read_and_what_is_not_changed_keeps_its_value() {
    let forms = [
        (
            "a byte order mark",
            "\u{feff}{\n  \"a\": {\n    \"status\": \"done\",\n    \"n\": 1\n  }\n}\n",
        ),
        (
            "line ends of Windows",
            "{\r\n  \"a\": {\r\n    \"status\": \"done\",\r\n    \"n\": 1\r\n  }\r\n}\r\n",
        ),
        ("one line", "{\"a\":{\"status\":\"done\",\"n\":1}}"),
        (
            "a label twice",
            "{\"a\": {\"status\": \"error\"}, \"a\": {\"status\": \"done\", \"n\": 1}}",
        ),
        (
            "a field twice",
            "{\"a\": {\"status\": \"error\", \"status\": \"done\", \"n\": 1}}",
        ),
    ];
    for (what, ledger) in forms {
        let house = house_with(ledger);
        assert_eq!(
            house.dispatch(&["list"]).exits(0).json()["labels"][0]["status"],
            "done",
            "{what}"
        );
        house
            .dispatch(&[
                "done",
                "--label=new",
                "--checklist={\"work_complete\":true}",
            ])
            .exits(0);
        assert_eq!(
            (&house.entry("a")["status"], &house.entry("a")["n"]),
            (&json!("done"), &json!(1)),
            "{what}"
        );
        assert_eq!(house.entry("new")["status"], "done", "{what}");
    }
}

#[test]
fn odd_numbers_and_labels_of_digits_stay_as_they_are() {
    let ledger = "{\n  \"42\": {\n    \"status\": \"done\",\n    \"big\": 1e+21,\n    \"many\": 12345678901234567890123,\n    \"small\": 5e-324\n  },\n  \"a\": {\n    \"status\": \"done\"\n  }\n}\n";
    let house = house_with(ledger);
    let done = |label: &str| {
        house
            .dispatch(&[
                "done",
                "--label",
                label,
                "--checklist={\"work_complete\":true}",
            ])
            .exits(0);
    };
    done("new");
    assert!(text(&house).starts_with(ledger.trim_end_matches("\n}\n")));
    let status = house.dispatch(&["status", "--label", "42"]).exits(0).json();
    assert_eq!(status["status"], "done");
    // A change of the entry itself keeps every value, if not every digit of what no number of JavaScript can hold.
    let ledger = ledger.replacen("\"done\"", "\"error\"", 1);
    let house = house_with(&ledger);
    house
        .dispatch(&[
            "done",
            "--label",
            "42",
            "--checklist={\"work_complete\":true}",
        ])
        .exits(0);
    assert_eq!(house.entry("42")["big"], json!(1e21));
    assert_eq!(house.entry("42")["small"], json!(5e-324));
    assert!(text(&house).starts_with("{\n  \"42\": {\n"));
}

#[test]
fn doctor_sees_that_the_reference_is_at_work() {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970");
    let minutes_ago = |n: u64| u64::try_from(now.as_millis()).unwrap_or(0) - n * 60_000;
    let warns = |entry: Value| {
        let house = house_with(&json!({"w": entry}).to_string());
        let told = house.dispatch(&["doctor"]).exits(1).stdout;
        told.contains("openclaw-scheduler's dispatch writes into")
    };
    assert!(warns(
        json!({"status": "running", "rev": 2, "lastPing": minutes_ago(1)})
    ));
    assert!(warns(
        json!({"status": "done", "updatedAt": minutes_ago(1)})
    ));
    assert!(!warns(
        json!({"status": "done", "updatedAt": minutes_ago(60)})
    ));
    assert!(!warns(
        json!({"status": "done", "rev": 2, "updatedAt": minutes_ago(1)})
    ));
}
