//! What a receiver answers decides: delivered, tried again, or given up until somebody mends it.

use serde_json::{Value, json};

use super::receiver::{Answer, Receiver};
use super::{enqueue_to, house_with, quiet, record_in, records, webhook};
use crate::support::{House, Ran, run};

/// What is parked is told by `status`, `list` and `doctor`, with the reason.
#[track_caller]
fn is_parked_and_shown(house: &House, label: &str, why: &str) -> Value {
    let record = record_in(house, label, "result", "parked");
    let reason = record["lastError"].as_str().expect("a reason");
    assert!(reason.contains(why), "{reason}");
    let status = house.dispatch(&["status", "--label", label]).json();
    assert_eq!(status["deliveries"][0]["state"], "parked");
    assert_eq!(status["deliveries"][0]["lastError"], reason);
    let table = house.dispatch(&["status", "--label", label, "--output", "table"]);
    assert!(table.stdout.contains("1 parked"), "{table:?}");
    let list = house.dispatch(&["list", "--output", "table"]).exits(0);
    assert!(list.stdout.contains("[1 undelivered]"), "{list:?}");
    let doctor = house.dispatch(&["doctor"]).exits(1).json();
    let checks = doctor["checks"].as_array().expect("checks").clone();
    let wrong: Vec<&Value> = checks.iter().filter(|check| check["ok"] == false).collect();
    assert_eq!(wrong.len(), 1, "{wrong:?}");
    let message = wrong[0]["message"].as_str().expect("a message");
    let remedy = format!("dispatch redeliver --label {label}");
    assert!(
        message.contains(reason) && message.contains(&remedy),
        "{message}"
    );
    record
}

#[test]
fn any_answer_from_200_to_299_is_a_receipt() {
    let receiver = Receiver::answering(&[Answer::Status(204), Answer::Body(202, "queued as 17")]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "a", &[], "echo hi");
    let record = record_in(&house, "a", "result", "delivered");
    assert_eq!(record["receipt"], json!({"status": 204, "body": ""}));
    enqueue_to(&house, "webhook:ops", "b", &[], "echo hi");
    let record = record_in(&house, "b", "result", "delivered");
    assert_eq!(
        record["receipt"],
        json!({"status": 202, "body": "queued as 17"})
    );
    assert_eq!(house.dispatch(&["doctor"]).code, Some(0));
}

#[test]
fn a_receiver_that_cannot_for_now_is_tried_again_until_it_can() {
    // Only 429 and 503 say that it was not taken; after the others it may have been, and the repeat says so.
    for (status, state) in [
        (429, "retrying"),
        (503, "retrying"),
        (408, "unknown"),
        (500, "unknown"),
        (504, "unknown"),
    ] {
        let receiver = Receiver::answering(&[Answer::Status(status)]);
        let house = house_with(&receiver);
        enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
        let waiting = record_in(&house, "w", "result", state);
        let why = format!("the receiver answered {status}");
        assert_eq!(waiting["lastError"], why.as_str());
        let pause = waiting["nextAt"].as_i64().expect("a time")
            - waiting["triedAt"].as_i64().expect("a time");
        assert!((1_600..60_000).contains(&pause), "{pause} ms");
        let record = record_in(&house, "w", "result", "delivered");
        assert_eq!(record["attempts"], 2);
        assert_eq!(record["lastError"], Value::Null);
        let keys: Vec<String> = receiver.requests().iter().map(|r| r.text("key")).collect();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[0], keys[1]);
        let again = receiver.requests().remove(1).json();
        assert_eq!(again["attempt"], 2);
        is_told(&again, state == "unknown");
    }
}

/// The payload says that it may be a repeat, in its field and in words; or in neither.
#[track_caller]
fn is_told(payload: &Value, may_be_repeat: bool) {
    assert_eq!(payload["mayBeRepeat"], may_be_repeat, "{payload}");
    let words = "(This may be a repeat: try 2 under the key ";
    let text = payload["text"].as_str().expect("a text");
    assert_eq!(text.contains(words), may_be_repeat, "{text}");
}

#[test]
fn a_time_that_comes_with_a_doubt_is_waited_for_under_the_same_key() {
    let receiver = Receiver::answering(&[Answer::With(502, "Retry-After: 3600")]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    let record = record_in(&house, "w", "result", "unknown");
    let pause =
        record["nextAt"].as_i64().expect("a time") - record["triedAt"].as_i64().expect("a time");
    assert!(pause >= 3_600_000, "{pause} ms");
    house.dispatch(&["redeliver", "--label", "w"]).exits(0);
    let record = record_in(&house, "w", "result", "delivered");
    assert_eq!(record["spentKeys"], Value::Null, "its key is not spent");
    is_told(&receiver.received(2)[1].json(), true);
}

#[test]
fn a_receiver_that_names_a_time_is_left_alone_until_then() {
    let receiver = Receiver::answering(&[
        Answer::With(429, "Retry-After: 1"),
        Answer::With(429, "Retry-After: 7200"),
    ]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    receiver.received(2);
    let record = record_in(&house, "w", "result", "retrying");
    let pause =
        record["nextAt"].as_i64().expect("a time") - record["triedAt"].as_i64().expect("a time");
    assert!(pause >= 7_200_000, "{pause} ms");
    assert_eq!(receiver.requests().len(), 2);
}

#[test]
fn a_receiver_that_names_a_date_is_left_alone_until_then() {
    let at = chrono::Utc::now() + chrono::TimeDelta::hours(2);
    let header = format!("Retry-After: {}", at.format("%a, %d %b %Y %H:%M:%S GMT"));
    let receiver = Receiver::answering(&[Answer::With(503, header.leak())]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    let record = record_in(&house, "w", "result", "retrying");
    let next = record["nextAt"].as_i64().expect("a time");
    // The date has no parts of a second, and is counted from when the answer is read.
    assert!(next >= at.timestamp() * 1000, "{next} ms, {at}");
}

#[test]
fn a_receiver_that_names_no_sensible_time_is_asked_once_more_before_it_is_given_up() {
    let header = "Retry-After: 99999999999";
    let receiver = Receiver::answering(&[Answer::With(503, header), Answer::With(503, header)]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    let record = record_in(&house, "w", "result", "retrying");
    let pause =
        record["nextAt"].as_i64().expect("a time") - record["triedAt"].as_i64().expect("a time");
    // A second or more may pass until the answer is there, on a slow machine.
    assert!((24..25).contains(&(pause / 3_600_000)), "{pause} ms");
    let mut config = webhook(&receiver);
    config["deliver_watcher_ttl_hours"] = json!(2);
    house.configure(&config);
    enqueue_to(&house, "webhook:ops", "x", &[], "echo hi");
    let record = record_in(&house, "x", "result", "retrying");
    let age = record["nextAt"].as_i64().expect("a time") - record["at"].as_i64().expect("a time");
    assert_eq!(age, 2 * 3_600_000, "the last try is at the end of its time");
}

#[test]
fn a_receiver_that_is_not_there_yet_gets_it_when_it_is() {
    let port = Receiver::free_port();
    let house = House::new();
    house.configure(&json!({"webhooks": {"ops": {"url": super::receiver::url(port)}}}));
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    record_in(&house, "w", "result", "retrying");
    let receiver = Receiver::at(port, &[]);
    let record = record_in(&house, "w", "result", "delivered");
    assert!(record["attempts"].as_u64() >= Some(2), "{record}");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].json()["mayBeRepeat"], false);
}

#[test]
fn a_refusal_is_parked_at_once_and_redelivered_when_told_to() {
    let receiver = Receiver::answering(&[
        Answer::Body(404, "no such hook"),
        Answer::Status(400),
        Answer::With(302, "Location: /elsewhere"),
    ]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    let why = "the receiver answered 404: \"no such hook\"";
    is_parked_and_shown(&house, "w", why);
    quiet(&house);
    house.recover();
    quiet(&house);
    assert_eq!(receiver.requests().len(), 1, "parked is not tried again");
    let words = ["redeliver", "--label", "w"];
    for (tries, why) in [(2, "answered 400"), (3, "answered 302")] {
        let ran = house.dispatch(&words).exits(1).json();
        assert_eq!(ran["deliveries"][0]["state"], "parked", "{ran}");
        is_parked_and_shown(&house, "w", why);
        let requests = receiver.requests();
        assert_eq!(requests.len(), tries, "no redirect is followed");
    }
    let ran = house.dispatch(&words).exits(0).json();
    assert_eq!((&ran["count"], &ran["delivered"]), (&json!(1), &json!(1)));
    let keys: Vec<String> = receiver.requests().iter().map(|r| r.text("key")).collect();
    assert_eq!(keys.len(), 4);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(house.dispatch(&["doctor"]).code, Some(0));
    assert_eq!(house.entry("w")["status"], "done");
}

#[test]
fn what_waits_for_its_time_is_sent_when_told_to() {
    let receiver = Receiver::answering(&[
        Answer::With(503, "Retry-After: 3600"),
        Answer::With(503, "Retry-After: 3600"),
        Answer::Status(404),
    ]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    record_in(&house, "w", "result", "retrying");
    let words = ["redeliver", "--label", "w"];
    for (was, is) in [("retrying", "retrying"), ("retrying", "parked")] {
        let row = house.dispatch(&words).exits(1).json()["deliveries"][0].clone();
        assert_eq!((&row["was"], &row["state"]), (&json!(was), &json!(is)));
    }
    let text = [&words[..], &["--output", "table"]].concat();
    let ran = house.dispatch(&text).exits(0);
    assert_eq!(ran.stdout, "w: was parked, is delivered to webhook:ops\n");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().all(|r| r.json()["mayBeRepeat"] == false));
    let ran = house.dispatch(&text).exits(0);
    assert_eq!(
        ran.stdout,
        "nothing is parked, and nothing waits for its next try\n"
    );
    assert_eq!(receiver.requests().len(), 4);
}

#[test]
fn targets_that_lead_nowhere_are_parked_and_go_out_together_once_they_are_mended() {
    let receiver = Receiver::answering(&[]);
    let house = House::new();
    for (label, channel, name) in [("a", "webhook", "ops"), ("b", "command", "mail")] {
        house.configure(&json!({"deliverTo": name, "deliveryChannel": channel}));
        let words = [
            "done",
            "--label",
            label,
            "--summary",
            "hi",
            "--checklist",
            "{\"work_complete\":true}",
        ];
        house.dispatch(&words).exits(0);
        record_in(&house, label, "result", "parked");
    }
    let why = "the configuration names no \"ops\" under \"webhooks\"";
    let parked = record_in(&house, "a", "result", "parked");
    assert!(
        parked["lastError"]
            .as_str()
            .expect("a reason")
            .contains(why)
    );
    record_in(&house, "b", "result", "parked");
    let mut config = webhook(&receiver);
    config["commands"] = json!({"mail": ["true"]});
    house.configure(&config);
    let ran = house.dispatch(&["redeliver", "--all"]).exits(0).json();
    assert_eq!((&ran["count"], &ran["delivered"]), (&json!(2), &json!(2)));
    assert_eq!(receiver.requests().len(), 1);
    let ran = house.dispatch(&["redeliver", "--all"]).exits(0).json();
    assert_eq!(ran["count"], 0);
}

#[test]
fn a_chat_channel_is_parked_with_the_reason() {
    let house = House::new();
    enqueue_to(&house, "telegram:-100", "w", &[], "echo hi");
    is_parked_and_shown(
        &house,
        "w",
        "the environment of its watcher names no OpenClaw gateway, through which telegram is reached",
    );
    assert_eq!(records(&house, "w").len(), 1);
    assert_eq!(house.full_text("w"), "hi\n");
}

/// Runs a program where the variables name a gateway, at which nobody answers.
fn run_with_gateway(house: &House, name: &str, words: &[&str]) -> Ran {
    let mut command = house.command(name);
    let url = format!("ws://127.0.0.1:{}", Receiver::free_port());
    command.args(words).env("OPENCLAW_GATEWAY_URL", url);
    run(command, b"")
}

#[test]
fn what_lacked_a_gateway_goes_out_by_whoever_knows_of_one() {
    let words = [
        ("dispatch", &["redeliver", "--label", "w"][..]),
        ("529-recovery", &[]),
    ];
    for (program, words) in words {
        let house = House::new();
        enqueue_to(&house, "telegram:-100", "w", &[], "echo hi");
        let parked = record_in(&house, "w", "result", "parked");
        quiet(&house);
        let why = "the environment of its watcher names no OpenClaw gateway, through which telegram is reached; set OPENCLAW_GATEWAY_URL and OPENCLAW_GATEWAY_TOKEN where you send it again";
        assert_eq!(parked["lastError"], why);
        house.run("529-recovery", &[]).exits(0);
        assert_eq!(records(&house, "w")[0]["state"], "parked");
        run_with_gateway(&house, program, words);
        let tried = record_in(&house, "w", "result", "retrying");
        let why = tried["lastError"].as_str().expect("a reason");
        assert!(
            why.contains("no gateway answers at ws://127.0.0.1:"),
            "{why}"
        );
    }
}

#[test]
fn a_watcher_that_knows_of_no_gateway_gives_way_to_one_that_does() {
    let house = House::new();
    let gate = house.gate("gate");
    enqueue_to(&house, "telegram:-100", "w", &[], &gate.pass());
    let ignorant = house.watcher_pid("w");
    house.dispatch(&["note", "--label", "w", "half"]).exits(0);
    record_in(&house, "w", "note", "parked");
    run_with_gateway(&house, "dispatch", &["redeliver", "--label", "w"]);
    record_in(&house, "w", "note", "retrying");
    assert_ne!(house.watcher_pid("w"), ignorant);
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_command_says_by_its_exit_code_whether_it_is_to_be_called_again() {
    let house = House::new();
    let at = |script: &str| {
        json!([
            "sh",
            "-c",
            format!("cd '{}'; {script}", house.root().display())
        ])
    };
    house.configure(&json!({"commands": {
        "later": at("cat >> later; [ $(wc -l < later) -gt 1 ] || exit 75"),
        "fails": at("cat >> fails; [ $(wc -l < fails) -gt 1 ] || exit 3"),
        "never": at("echo 'no such user' >&2; exit 67"),
        "absent": ["/nowhere/mailer", "--password=hunter2"],
    }}));
    for name in ["later", "fails", "never", "absent"] {
        enqueue_to(&house, &format!("command:{name}"), name, &[], "echo hi");
    }
    let never = is_parked_beside_others(&house, "never");
    assert!(never.contains("code 67: no such user"), "{never}");
    // Another watcher may find it.
    let absent = record_in(&house, "absent", "result", "retrying");
    assert_eq!(
        absent["lastError"],
        "the command /nowhere/mailer cannot be run: No such file or directory (os error 2)"
    );
    // One that asks to be called again has not taken it; one that failed may have, before it did.
    for (name, may_be_repeat) in [("later", false), ("fails", true)] {
        assert_eq!(
            record_in(&house, name, "result", "delivered")["attempts"],
            2
        );
        let payloads = house.text(name);
        let again = payloads.lines().nth(1).expect("a second payload");
        let again = serde_json::from_str(again).expect("JSON");
        is_told(&again, may_be_repeat);
    }
}

fn is_parked_beside_others(house: &House, label: &str) -> String {
    let record = record_in(house, label, "result", "parked");
    record["lastError"].as_str().expect("a reason").to_owned()
}
