//! Completions of every version, and signals for labels that nobody enqueued.

use rstest::rstest;
use serde_json::{Value, json};

use super::{COMPLETE, done};
use crate::outbox::receiver::Receiver;
use crate::outbox::{record_in, webhook};
use crate::support::House;

/// A house with the ledger that the reference's form gives.
fn with_reference_ledger(name: &str) -> House {
    let house = House::new();
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/ledgers/");
    house.write_ledger(std::fs::read(format!("{dir}{name}")).expect("readable"));
    house
}

#[rstest]
#[case("done-sha", "Work complete. Tests passed. Pushed 0123456.")]
#[case("done-generic", "completed (agent signal)")]
#[case("done-unregistered", "The report is on the shared drive.")]
#[case("legacy-completion", "Old shape.")]
#[case("completion-text", "a text where an object is usual")]
fn what_another_tool_recorded_is_shown(#[case] label: &str, #[case] said: &str) {
    let house = with_reference_ledger("reference-form-extra.json");
    let before = std::fs::read(house.ledger_path()).expect("readable");
    let result = house
        .dispatch(&["result", "--label", label])
        .exits(0)
        .json();
    assert_eq!(result["lastReply"], said, "{result:#}");
    assert_eq!(result["summary"], said, "{result:#}");
    let status = house
        .dispatch(&["status", "--label", label])
        .exits(0)
        .json();
    assert_eq!(status["summary"], said, "{status:#}");
    let list = house.dispatch(&["list", "--all"]).exits(0).json();
    let rows = list["labels"].as_array().expect("a list");
    let row = rows
        .iter()
        .find(|row| row["label"] == label)
        .expect("it is there");
    assert_eq!(row["summary"], said, "{row:#}");
    let words = ["result", "--label", label, "--output", "table"];
    let told = house.dispatch(&words).exits(0).stdout;
    assert_eq!(
        told,
        format!("🌶️ *dispatch* [{label}] completed:\n\n{said}\n")
    );
    let after = std::fs::read(house.ledger_path()).expect("readable");
    assert!(after == before, "{label} was changed");
}

#[test]
fn a_signal_for_another_tools_label_keeps_what_it_does_not_know() {
    let house = House::new();
    let entry = json!({
        "status": "error", "error": "idle", "vendor": {"n": 1}, "spawnedAt": "2026-11-20T09:00:00.000Z",
        "taskPrompt": "x", "completion": {"summary": "Old.", "vendor": {"n": 2}},
    });
    house.write_ledger(json!({"work": entry}).to_string());
    let words = [
        "done",
        "--label",
        "work",
        "--checklist",
        COMPLETE,
        "--summary",
        "New.",
    ];
    house.dispatch(&words).exits(0);
    let entry = house.entry("work");
    assert_eq!(
        (&entry["vendor"]["n"], &entry["completion"]["vendor"]["n"]),
        (&json!(1), &json!(2))
    );
    let completion = &entry["completion"];
    for name in ["summary_human", "summary", "deliveryText", "prose"] {
        assert_eq!(completion[name], "New.", "{name}");
    }
    assert_eq!(completion["debug"]["deliverySource"], "summary_human");
}

/// The key of the record that an unregistered label owes.
fn owed_with(config: &Value) -> (String, String) {
    let house = House::new();
    house.configure(config);
    let ran = done(&house, "new").exits(0);
    let target = house.entry("new")["deliveries"][0]["target"].clone();
    (target.as_str().unwrap_or_default().to_owned(), ran.stderr)
}

#[rstest]
#[case::chat(json!({"deliverTo": "-100"}), "telegram:-100")]
#[case::channel(json!({"deliverTo": "-100", "deliveryChannel": "signal"}), "signal:-100")]
#[case::alias(json!({"deliverTo": "@me", "aliases": {"me": "5"}}), "telegram:5")]
#[case::alias_with_channel(json!({"deliverTo": "@me", "aliases": {"me": "slack:C1"}}), "slack:C1")]
#[case::webhook(json!({"deliverTo": "webhook:ops", "webhooks": {"ops": {"url": "http://127.0.0.1:9/"}}}), "webhook:ops")]
#[case::command(json!({"deliverTo": "command:tell", "commands": {"tell": ["true"]}}), "command:tell")]
fn an_unregistered_label_goes_to_the_configurations_target(
    #[case] config: Value,
    #[case] target: &str,
) {
    let (owed, stderr) = owed_with(&config);
    assert_eq!(owed, target);
    assert_eq!(
        stderr,
        "[dispatch] warn: no session found for label \"new\" -- registering as done\n"
    );
}

#[test]
fn an_alias_that_nobody_configured_does_not_lose_the_completion() {
    let (owed, stderr) = owed_with(&json!({"deliverTo": "@nobody"}));
    assert_eq!(owed, "alias:@nobody");
    assert!(
        stderr.contains("warn: \"deliverTo\": the configuration ")
            && stderr.contains(" has no alias @nobody; add it under \"aliases\""),
        "{stderr}"
    );
}

#[rstest]
#[case::added(json!({"deliverTo": "@typo", "aliases": {"typo": "@team", "team": "webhook:ops"}}))]
#[case::mended(json!({"deliverTo": "@team", "aliases": {"team": "webhook:ops"}}))]
#[case::replaced(json!({"deliverTo": "webhook:ops"}))]
fn a_completion_for_a_name_that_leads_nowhere_waits_until_it_does(#[case] mended: Value) {
    let receiver = Receiver::answering(&[]);
    let house = House::new();
    house.configure(&json!({"deliverTo": "@typo"}));
    done(&house, "new").exits(0);
    let record = record_in(&house, "new", "result", "parked");
    let why = format!(
        "\"aliases\" of {} has no @typo; add it, or mend \"deliverTo\"",
        house.state().join("config.json").display()
    );
    assert_eq!(record["lastError"], *why);
    house.dispatch(&["redeliver", "--all"]).exits(1);
    assert!(receiver.requests().is_empty());
    let mut config = webhook(&receiver);
    for (key, value) in mended.as_object().expect("an object") {
        config[key] = value.clone();
    }
    house.configure(&config);
    house.dispatch(&["redeliver", "--all"]).exits(0);
    assert_eq!(receiver.received(1)[0].text("label"), "new");
}

#[rstest]
#[case::no_json("{")]
#[case::wrong_type(r#"{"deliverTo": 5}"#)]
fn a_completion_under_a_configuration_that_cannot_be_read_waits_until_it_can(
    #[case] broken: &str,
    #[values(
        json!({"deliverTo": "webhook:ops"}),
        json!({"deliverTo": "@team", "aliases": {"team": "webhook:ops"}})
    )]
    mended: Value,
) {
    let receiver = Receiver::answering(&[]);
    let house = House::new();
    house.write_config(broken);
    let ran = done(&house, "new").exits(0);
    let told: Vec<&str> = ran.stderr.lines().skip(1).collect();
    assert_eq!(
        told,
        [
            "[dispatch] warn: no session found for label \"new\" -- registering as done",
            "[dispatch] warn: deliverTo in config cannot be read -- completion of \"new\" is delivered when it can be",
        ]
    );
    let surface = &ran.json()["delivery"];
    assert_eq!(
        (&surface["channel"], &surface["target"]),
        (&json!("config"), &json!("deliverTo"))
    );
    let record = record_in(&house, "new", "result", "retrying");
    let why = record["lastError"].as_str().expect("a reason");
    let path = house.state().join("config.json").display().to_string();
    let start =
        format!("\"deliverTo\" cannot be looked up: the configuration {path} is not usable: ");
    assert!(why.starts_with(&start), "{why}");
    let mut config = webhook(&receiver);
    for (key, value) in mended.as_object().expect("an object") {
        config[key] = value.clone();
    }
    house.configure(&config);
    house.dispatch(&["redeliver", "--all"]).exits(0);
    assert_eq!(receiver.received(1)[0].text("label"), "new");
}

/// A ledger with what a signal left there while the configuration could not be read.
fn owed_to_whom_the_configuration_names(state: &str) -> House {
    let house = House::new();
    let record = json!({
        "key": "new/5/1/result/config:deliverTo", "kind": "result", "state": state, "target": "config:deliverTo",
        "content": {"header": "It is done:", "text": "All of it.", "bytes": 10}, "at": 1, "attempts": 1, "nextAt": 2,
    });
    let entry = json!({
        "status": "done", "generation": 5, "summary": "All of it.", "deliverTo": "deliverTo",
        "deliverChannel": "config", "deliveryMode": "announce", "deliveries": [record],
    });
    house.write_ledger(json!({"new": entry}).to_string());
    house
}

#[test]
fn the_scan_sends_what_waited_for_a_configuration_that_can_be_read() {
    let receiver = Receiver::answering(&[]);
    let house = owed_to_whom_the_configuration_names("retrying");
    let mut config = webhook(&receiver);
    config["deliverTo"] = json!("webhook:ops");
    // The record is too old to be tried often: the first try must do.
    house.configure(&config);
    house.recover();
    record_in(&house, "new", "result", "delivered");
    assert_eq!(receiver.received(1)[0].text("label"), "new");
}

#[test]
fn where_the_mended_configuration_names_nobody_it_is_parked_and_redeliver_settles_it() {
    let house = owed_to_whom_the_configuration_names("retrying");
    house.configure(&json!({}));
    house.recover();
    let record = record_in(&house, "new", "result", "parked");
    let path = house.state().join("config.json").display().to_string();
    assert_eq!(
        record["lastError"],
        format!(
            "{path} has no \"deliverTo\", and nobody else is named to hear it; add it, or have 'dispatch redeliver' settle it"
        )
    );
    let words = ["redeliver", "--label", "new", "--output", "table"];
    let told = house.dispatch(&words).exits(0).stdout;
    assert_eq!(
        told,
        format!(
            "new: was parked, is owed no more: {path} has no \"deliverTo\", and nobody else is named to hear it; read it with: dispatch result --label new\n"
        )
    );
    let entry = house.entry("new");
    assert_eq!(entry["deliveries"], json!([]));
    for field in ["deliverTo", "deliverChannel", "deliveryMode"] {
        assert_eq!(entry[field], Value::Null, "{field}");
    }
    assert_eq!(house.full_text("new"), "All of it.");
}

#[test]
fn a_record_that_is_settled_is_an_answer_of_redeliver() {
    let house = owed_to_whom_the_configuration_names("parked");
    let answer = house.dispatch(&["redeliver", "--all"]).exits(0).json();
    assert_eq!(
        (&answer["ok"], &answer["count"], &answer["delivered"]),
        (&json!(true), &json!(1), &json!(0))
    );
    let row = &answer["deliveries"][0];
    assert_eq!(
        (&row["was"], &row["state"]),
        (&json!("parked"), &Value::Null)
    );
    let message = row["message"].as_str().expect("a message");
    assert!(message.contains(" has no \"deliverTo\""), "{message}");
    let again = house.dispatch(&["redeliver", "--all"]).exits(0).json();
    assert_eq!(again["count"], 0);
}

#[test]
fn a_name_that_leads_back_to_the_configuration_names_nobody() {
    let house = owed_to_whom_the_configuration_names("pending");
    house.configure(&json!({"deliverTo": "@x", "aliases": {"x": "config:deliverTo"}}));
    house.recover();
    let record = record_in(&house, "new", "result", "parked");
    assert_eq!(
        record["lastError"],
        format!(
            "@x of {} names nobody: \"config:deliverTo\" is no receiver",
            house.state().join("config.json").display()
        )
    );
}

#[test]
fn aliases_that_lead_in_a_circle_are_told_of_and_never_followed_for_ever() {
    let house = House::new();
    let config = json!({"deliverTo": "@a", "aliases": {"a": "@b", "b": "@a", "own": "@own"}});
    house.configure(&config);
    let circle = "leads in a circle: @a -> @b -> @a";
    let ran = done(&house, "new").exits(0);
    assert!(ran.stderr.contains(circle), "{ran:?}");
    let record = record_in(&house, "new", "result", "parked");
    let why = record["lastError"].as_str().expect("a reason");
    assert!(why.contains(circle), "{why}");
    for words in [
        &["enqueue", "--label", "w", "--", "true"][..],
        &[
            "enqueue",
            "--label",
            "w",
            "--deliver-to",
            "@a",
            "--",
            "true",
        ],
    ] {
        let ran = house.dispatch(words).exits(2);
        assert!(ran.stderr.contains(circle), "{ran:?}");
    }
    let words = [
        "enqueue",
        "--label",
        "w",
        "--deliver-to",
        "@own",
        "--",
        "true",
    ];
    let ran = house.dispatch(&words).exits(2);
    assert_eq!(
        ran.stderr,
        format!(
            "[dispatch] --deliver-to: @own of the configuration {} leads in a circle: @own -> @own\n",
            house.state().join("config.json").display()
        )
    );
    let told = house.dispatch(&["doctor"]).exits(1).stdout;
    for (name, circle) in [
        ("\\\"aliases.a\\\"", circle),
        ("\\\"aliases.b\\\"", "leads in a circle: @b -> @a -> @b"),
        ("\\\"aliases.own\\\"", "leads in a circle: @own -> @own"),
        ("\\\"deliverTo\\\" is @a, which", circle),
    ] {
        assert!(told.contains(&format!("{name} {circle}")), "{told}");
    }
}

#[test]
fn the_configurations_target_hears_of_commands_whose_call_names_nobody() {
    let receiver = Receiver::answering(&[]);
    let house = House::new();
    let mut config = webhook(&receiver);
    config["deliverTo"] = json!("@team");
    config["aliases"] = json!({"team": "webhook:ops"});
    config["commands"] = json!({"mail": ["true"]});
    house.configure(&config);
    house.enqueue("usual", "echo hi");
    let entry = house.ended("usual");
    assert_eq!(entry["origin"], "webhook:ops");
    record_in(&house, "usual", "result", "delivered");
    assert_eq!(receiver.received(1)[0].text("label"), "usual");
    for (label, flags, target) in [
        ("unwatched", &["--no-monitor"][..], None),
        (
            "named",
            &["--deliver-to", "command:mail"],
            Some("command:mail"),
        ),
    ] {
        let words = [&["enqueue", "--label", label], flags, &["--", "true"]].concat();
        house.dispatch(&words).exits(0);
        house.ended(label);
        let owed = house.entry(label)["deliveries"][0]["target"].clone();
        assert_eq!(owed.as_str(), target, "{label}");
    }
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn a_chats_own_name_is_one_where_the_call_names_the_channel() {
    let house = House::new();
    house.configure(&json!({"aliases": {"ops": "-100"}}));
    let words = "enqueue --label w --deliver-channel telegram --deliver-to";
    for (to, owed) in [("@news", "@news"), ("@ops", "-100")] {
        let words: Vec<&str> = words.split(' ').chain([to, "--", "true"]).collect();
        let ran = house.dispatch(&words).exits(0);
        house.ended("w");
        assert_eq!(house.entry("w")["deliverTo"], owed);
        let line = "@news is no alias of the configuration: it is taken for the name of a chat on telegram";
        assert_eq!(ran.stderr.contains(line), to == "@news", "{ran:?}");
    }
}

#[test]
fn an_unregistered_label_is_delivered_without_any_gateway() {
    let receiver = Receiver::answering(&[]);
    let house = House::new();
    let mut config = webhook(&receiver);
    config["deliverTo"] = json!("webhook:ops");
    house.configure(&config);
    let words = [
        "done",
        "--label",
        "new",
        "--checklist",
        COMPLETE,
        "--summary",
        "It is *there*.",
    ];
    house.dispatch(&words).exits(0);
    record_in(&house, "new", "result", "delivered");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    let text = requests[0].text("text");
    assert_eq!(text, "🌶️ *dispatch* [new] completed:\n\nIt is *there*.");
}
