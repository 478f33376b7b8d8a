//! Lifecycle events, heard by real HTTP servers and commands.

use std::fs;
use std::process::Stdio;

use dispatch::signature::signature;
use serde_json::{Value, json};

use crate::outbox::receiver::{Answer, Receiver, Request};
use crate::outbox::{enqueue_to, quiet};
use crate::retries::{agent, ask, quick};
use crate::support::{House, Ran, eventually, finish_soon, kill_hard};

/// The events of the history, oldest first.
fn history(house: &House) -> Vec<Value> {
    let text = fs::read_to_string(house.state().join("history.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// A label's events in the history, once there are so many.
#[track_caller]
fn history_of(house: &House, label: &str, count: usize) -> Vec<Value> {
    eventually(&format!("{count} events of {label}"), || {
        let mut events = history(house);
        events.retain(|event| event["label"] == label);
        (events.len() >= count).then_some(events)
    })
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|e| text(e, "event")).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().expect("a text")
}

fn house_telling(receivers: &Value) -> House {
    let house = House::new();
    house.configure(&json!({"events": receivers}));
    house
}

/// What senders said in their log.
fn complaints(house: &House) -> String {
    fs::read_to_string(house.state().join("events.log")).unwrap_or_default()
}

/// The lines that Loki was pushed, each with the labels of its stream and its time stamp.
fn pushed(requests: &[Request]) -> Vec<(Value, i64, Value)> {
    let mut lines = Vec::new();
    for request in requests {
        for stream in request.json()["streams"].as_array().expect("streams") {
            for value in stream["values"].as_array().expect("values") {
                let nanoseconds = value[0].as_str().expect("a text").parse();
                let line = value[1].as_str().expect("a text");
                lines.push((
                    stream["stream"].clone(),
                    nanoseconds.expect("a number"),
                    serde_json::from_str(line).expect("a line of JSON"),
                ));
            }
        }
    }
    lines
}

#[test]
fn the_history_tells_a_labels_life_even_where_nobody_listens() {
    let receiver = Receiver::answering(&[]);
    let house = House::new();
    house.configure(&crate::outbox::webhook(&receiver));
    enqueue_to(&house, "webhook:ops", "l", &[], "echo hi");
    let events = history_of(&house, "l", 3);
    assert_eq!(
        kinds(&events),
        [
            "dispatch.started",
            "dispatch.finished",
            "dispatch.delivered"
        ]
    );
    let entry = house.entry("l");
    for event in &events {
        assert_eq!(event["run_id"], entry["runId"], "{event:#}");
        assert_eq!(event["session_key"], entry["sessionKey"]);
        assert_eq!(event["generation"], entry["generation"]);
        assert_eq!(event["agent"], "main");
        assert!(event["ts"].is_i64() && !text(event, "host").is_empty());
    }
    assert_eq!(events[1]["status"], "done");
    assert!(events[1]["duration_ms"].is_u64(), "{:#}", events[1]);
    assert_eq!(
        (&events[2]["kind"], &events[2]["target"]),
        (&json!("result"), &json!("webhook:ops"))
    );
    quiet(&house);
    assert!(!house.state().join("events.log").exists());
}

#[test]
fn a_cancelled_label_a_failed_one_and_a_retried_one_say_so() {
    let house = House::new();
    house.configure(&json!({"retry": quick()}));
    house.enqueue("stopped", "exec sleep 1000");
    house.dispatch(&["cancel", "--label", "stopped"]).exits(0);
    let events = history_of(&house, "stopped", 2);
    assert_eq!(kinds(&events), ["dispatch.started", "dispatch.cancelled"]);

    house.enqueue("bad", "exit 7");
    let events = history_of(&house, "bad", 2);
    assert_eq!(kinds(&events), ["dispatch.started", "dispatch.finished"]);
    assert_eq!(events[1]["status"], "error");
    assert_eq!(events[1]["error"], house.entry("bad")["error"]);

    ask(&house, "again", &[], &agent(1));
    let events = history_of(&house, "again", 3);
    assert_eq!(
        kinds(&events),
        ["dispatch.started", "dispatch.retried", "dispatch.finished"]
    );
    assert_eq!(events[1]["attempt"], 2);
}

#[test]
fn loki_gets_its_documented_form() {
    let loki = Receiver::answering(&[Answer::Status(204), Answer::Status(204)]);
    let house = house_telling(&json!({"loki": loki.url()}));
    let mut command = house.command("dispatch");
    command.env("DISPATCH_HOST", "build-7");
    command.args(["enqueue", "--label", "l", "--", "true"]);
    crate::support::run(command, b"").exits(0);
    house.ended("l");
    let lines = eventually("both events", || {
        let lines = pushed(&loki.requests());
        (lines.len() >= 2).then_some(lines)
    });
    let first = &lines[0];
    let labels =
        json!({"service_name": "dispatch", "host": "build-7", "event": "dispatch.started"});
    assert_eq!(first.0, labels);
    assert_eq!(first.1, first.2["ts"].as_i64().expect("a time") * 1_000_000);
    assert_eq!(first.2, history_of(&house, "l", 2)[0]);
    let request = &loki.requests()[0];
    assert_eq!(
        (request.method.as_str(), request.path.as_str()),
        ("POST", "/hooks/a?token=in-the-url")
    );
    assert_eq!(request.header("Content-Type"), Some("application/json"));
}

#[test]
fn the_webhook_gets_each_event_signed_and_the_variables_come_before_the_file() {
    let (named, by_file) = (Receiver::answering(&[]), Receiver::answering(&[]));
    let house = house_telling(&json!({"webhook": {"url": by_file.url(), "secret": "of the file"}}));
    let mut command = house.command("dispatch");
    command
        .env("DISPATCH_WEBHOOK_URL", named.url())
        .env("DISPATCH_WEBHOOK_SECRET", "of the environment");
    command.args(["enqueue", "--label", "l", "--", "true"]);
    crate::support::run(command, b"").exits(0);
    let requests = named.received(2);
    for request in &requests {
        assert_eq!(
            request.header("X-Dispatch-Signature"),
            Some(signature("of the environment", &request.body).as_str())
        );
        assert_eq!(
            request.header("X-Dispatch-Event"),
            Some(text(&request.json(), "event"))
        );
    }
    let told: Vec<Value> = requests.iter().map(Request::json).collect();
    assert_eq!(told, history_of(&house, "l", 2));
    // A call without the variables is told where the file says.
    house
        .dispatch(&["enqueue", "--label", "m", "--", "true"])
        .exits(0);
    let request = by_file.received(1).remove(0);
    assert_eq!(
        request.header("X-Dispatch-Signature"),
        Some(signature("of the file", &request.body).as_str())
    );
}

#[test]
fn a_command_gets_lines_of_json() {
    let house = House::new();
    let heard = house.path("heard");
    let script = format!("cat >> {}", heard.display());
    house.configure(&json!({"events": {"command": ["sh", "-c", script]}}));
    house.enqueue("l", "true");
    let events = history_of(&house, "l", 2);
    eventually("the command has heard both", || {
        let text = fs::read_to_string(&heard).unwrap_or_default();
        let lines: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        (lines == events).then_some(())
    });
}

/// A receiver that never answers holds up no command, no watcher, and no other receiver.
#[test]
fn a_receiver_that_never_answers_delays_nobody() {
    let deaf = Receiver::answering(&[Answer::Hold, Answer::Hold, Answer::Hold, Answer::Hold]);
    let other = Receiver::answering(&[]);
    let house = house_telling(&json!({"loki": deaf.url(), "webhook": {"url": other.url()}}));
    house.enqueue("l", "echo hi");
    assert_eq!(house.ended("l")["status"], "done");
    let done = house.dispatch(&[
        "done",
        "--label",
        "new",
        "--checklist",
        "{\"work_complete\":true}",
    ]);
    done.exits(0);
    deaf.received(1);
    other.received(3);
    eventually("Loki's silence is told", || {
        complaints(&house)
            .contains("[dispatch] Loki did not hear of")
            .then_some(())
    });
    deaf.release();
}

/// What one receiver does not take is one line, and the next event is told all the same.
#[test]
fn what_a_receiver_refuses_is_one_line() {
    let cases = [
        (Answer::Status(500), "it answered 500"),
        (Answer::Status(302), "it answered 302"),
        (Answer::Close, "event(s): "),
    ];
    for (answer, words) in cases {
        let hook = Receiver::answering(&[answer]);
        let house = house_telling(&json!({"webhook": {"url": hook.url()}}));
        house.enqueue("l", "true");
        house.ended("l");
        hook.received(2);
        let said = eventually("the refusal is told", || {
            Some(complaints(&house)).filter(|said| said.contains(words))
        });
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.starts_with("[dispatch] the webhook did not hear of 1 event(s): "),
            "{said}"
        );
        assert!(!said.contains("in-the-url"), "{said}");
    }
}

#[test]
fn a_server_that_is_not_there_is_left_alone_and_the_label_ends_as_ever() {
    let address = crate::outbox::receiver::url(Receiver::free_port());
    let house = house_telling(&json!({"loki": address, "webhook": {"url": address}}));
    house.enqueue("l", "echo hi");
    house.ended("l");
    assert_eq!(house.full_text("l"), "hi\n");
    eventually("both are told of", || {
        let said = complaints(&house);
        (said.contains("Loki did not hear") && said.contains("the webhook did not hear"))
            .then_some(())
    });
}

#[test]
fn forty_labels_at_once_are_each_told_once() {
    let hook = Receiver::answering(&[]);
    let house = house_telling(&json!({"webhook": {"url": hook.url()}}));
    let labels: Vec<String> = (0..40).map(|n| format!("l{n}")).collect();
    let running: Vec<_> = labels
        .iter()
        .map(|label| house.start("dispatch", &["enqueue", "--label", label, "--", "true"]))
        .collect();
    for one in running {
        crate::support::finish(one).exits(0);
    }
    for label in &labels {
        house.ended(label);
    }
    hook.received(80);
    quiet(&house);
    let mut told: Vec<String> = hook
        .requests()
        .iter()
        .map(|request| {
            let event = request.json();
            format!("{} {}", text(&event, "label"), text(&event, "event"))
        })
        .collect();
    told.sort();
    let mut expected: Vec<String> = labels
        .iter()
        .flat_map(|label| ["dispatch.finished", "dispatch.started"].map(|e| format!("{label} {e}")))
        .collect();
    expected.sort();
    assert_eq!(told, expected);
}

/// A sender that is killed loses what it was about to tell, and the next one goes on behind that.
#[test]
fn a_killed_sender_repeats_nothing_and_blocks_nobody() {
    let hook = Receiver::answering(&[Answer::Hold]);
    let house = house_telling(&json!({"webhook": {"url": hook.url()}}));
    house.enqueue("one", "true");
    hook.received(1);
    let lock = house.state().join("events.lock");
    kill_hard(crate::support::holder_of(&lock).expect("a sender is at work"));
    house.ended("one");
    house.enqueue("two", "true");
    let requests = eventually("the other label's end is told", || {
        let requests = hook.requests();
        let is_end = |request: &Request| {
            let event = request.json();
            event["label"] == "two" && event["event"] == "dispatch.finished"
        };
        requests.iter().any(is_end).then_some(requests)
    });
    let mut told: Vec<String> = requests.iter().map(|r| r.json().to_string()).collect();
    told.sort();
    let all = told.len();
    told.dedup();
    assert_eq!(told.len(), all, "{told:#?}");
    hook.release();
}

#[test]
fn old_news_is_told_to_nobody() {
    let hook = Receiver::answering(&[]);
    let house = House::new();
    fs::create_dir_all(house.state()).expect("creatable");
    let old = json!({"event": "dispatch.started", "ts": 1_700_000_000_000_i64, "host": "h", "label": "old"});
    fs::write(
        house.state().join("history.jsonl"),
        format!("{old}\nnot JSON\n"),
    )
    .expect("writable");
    house.configure(&json!({"events": {"webhook": {"url": hook.url()}}}));
    house.enqueue("new", "true");
    let requests = hook.received(2);
    assert!(
        requests
            .iter()
            .all(|request| request.json()["label"] == "new")
    );
}

#[test]
fn a_history_that_cannot_be_written_costs_a_line_and_nothing_else() {
    let house = House::new();
    fs::create_dir_all(house.state().join("history.jsonl")).expect("creatable");
    let enqueued = house.enqueue("l", "echo hi");
    assert!(
        enqueued.stderr.contains("cannot write the history"),
        "{enqueued:?}"
    );
    house.ended("l");
    assert_eq!(house.full_text("l"), "hi\n");
}

#[test]
fn receivers_that_make_no_sense_are_refused() {
    let cases = [
        (
            json!({"command": []}),
            "\"events.command\" must be a list of texts such as",
        ),
        (
            json!({"webhook": "http://x"}),
            "\"events.webhook\" must be an object such as",
        ),
        (json!("http://x"), "\"events\" must be an object"),
    ];
    for (receivers, what) in cases {
        let house = house_telling(&receivers);
        let refused = house.dispatch(&["list"]).exits(2);
        assert!(refused.stderr.contains(what), "{refused:?}");
    }
    let slip = house_telling(&json!({"lokki": "http://x"}));
    let told = slip.dispatch(&["list"]).exits(0);
    let hint = "unknown key \"events.lokki\"; did you mean \"events.loki\"?";
    assert!(told.stderr.contains(hint), "{told:?}");
}

/// What `dispatch` says of these words, which it must not wait for anybody to say.
#[track_caller]
fn dispatch_soon(house: &House, words: &[&str]) -> Ran {
    let mut command = house.command("dispatch");
    command.args(words);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    finish_soon(command.spawn().expect("the program starts"))
}

const NO_FILE: &str = "it is a pipe or a device, and no file";

#[test]
fn a_pipe_in_place_of_the_history_holds_nobody_up() {
    let house = House::new();
    fs::create_dir_all(house.state()).expect("creatable");
    house.gate("state/history.jsonl");
    let history = house.state().join("history.jsonl");
    let said = format!(
        "[dispatch] cannot write the history {}: {NO_FILE}; the event is lost, and nothing else\n",
        history.display()
    );
    let words = ["enqueue", "--label", "l", "--wait", "--", "echo", "hi"];
    let ran = dispatch_soon(&house, &words).exits(0);
    assert!(ran.stderr.starts_with(&said), "{ran:?}");
    assert_eq!(house.ended("l")["status"], "done");
    let doctor = dispatch_soon(&house, &["doctor"]).exits(1);
    let told = format!("{} is a named pipe, and no file", history.display());
    assert!(doctor.stdout.contains(&told), "{doctor:?}");
    quiet(&house);
}

#[test]
fn a_pipe_in_place_of_the_senders_log_holds_nobody_up() {
    let house = house_telling(&json!({"command": ["true"]}));
    house.gate("state/events.log");
    let log = house.state().join("events.log");
    let words = ["enqueue", "--label", "l", "--wait", "--", "echo", "hi"];
    let ran = dispatch_soon(&house, &words).exits(0);
    let said = format!(
        "[dispatch] cannot send events: cannot open {}: {NO_FILE}; the history has them\n",
        log.display()
    );
    assert!(ran.stderr.starts_with(&said), "{ran:?}");
    assert_eq!(house.ended("l")["status"], "done");
    history_of(&house, "l", 2);
    dispatch_soon(&house, &["doctor"]).exits(1);
    quiet(&house);
}

#[test]
fn a_pipe_in_place_of_the_archive_or_a_lock_is_refused_at_once() {
    let house = House::new();
    house.enqueue("l", "echo hi");
    house.ended("l");
    quiet(&house);
    for name in ["archive.jsonl", "labels.json.lock"] {
        let path = house.state().join(name);
        let _ = fs::remove_file(&path);
        house.gate(&format!("state/{name}"));
        let words = ["enqueue", "--label", "l", "--", "echo", "hi"];
        let ran = dispatch_soon(&house, &words).exits(1);
        assert!(ran.stderr.contains(name), "{ran:?}");
        assert!(ran.stderr.contains(NO_FILE), "{ran:?}");
        fs::remove_file(path).expect("ours");
    }
    assert_eq!(house.entry("l")["status"], "done");
}
