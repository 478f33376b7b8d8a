//! What a receiver gets: fields, headers, signature, and the text within its limit.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use super::receiver::Receiver;
use super::{enqueue_to, house_with, record_in, records};
use crate::support::{House, run};

const SECRET: &str = "between you and me";

/// `sha256=<hex>` of HMAC-SHA-256, as a receiver computes it.
fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(body);
    let digest = mac.finalize().into_bytes();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[test]
fn a_result_arrives_as_signed_json_under_its_key() {
    let receiver = Receiver::answering(&[]);
    let house = House::new();
    house.configure(&json!({
        "name": "ops",
        "webhooks": {"ops": {"url": receiver.url(), "secret": SECRET}},
    }));
    enqueue_to(&house, "webhook:ops", "w", &[], "echo 'all ünder control'");
    let record = record_in(&house, "w", "result", "delivered");
    let requests = receiver.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    let request = &requests[0];
    assert_eq!(request.method, "POST");
    assert_eq!(request.path, "/hooks/a?token=in-the-url");
    assert_eq!(request.header("Content-Type"), Some("application/json"));
    let generation = &house.entry("w")["generation"];
    let key = format!("w/{generation}/1/result/webhook:ops");
    assert_eq!(request.header("Idempotency-Key"), Some(key.as_str()));
    assert_eq!(request.header("X-Dispatch-Key"), Some(key.as_str()));
    assert_eq!(
        request.header("X-Dispatch-Signature"),
        Some(signature(SECRET, &request.body).as_str())
    );
    let path = house.dispatch(&["result", "--label", "w", "--path"]).stdout;
    assert_eq!(
        request.json(),
        json!({
            "key": key,
            "kind": "result",
            "label": "w",
            "text": "\u{1f336}\u{fe0f} *ops* [w] completed:\n\nall ünder control\n",
            "artifactPath": path.trim_end(),
            "bytes": 19,
            "mayBeRepeat": false,
            "attempt": 1,
            "at": record["at"],
        })
    );
    assert_eq!(record["receipt"]["status"], 200);
    assert_eq!(record["attempts"], 1);
}

#[test]
fn without_a_secret_there_is_no_signature() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    let request = receiver.received(1).remove(0);
    assert_eq!(request.header("X-Dispatch-Signature"), None);
}

#[test]
fn a_text_above_the_inline_limit_is_cut_and_names_its_artifact() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let mut command = house.command("dispatch");
    command.env("DISPATCH_COMPLETION_INLINE_LIMIT_BYTES", "600");
    command.args(["enqueue", "--label", "w", "--deliver-to", "ops"]);
    command.args(["--deliver-channel", "webhook", "--", "sh", "-c"]);
    command.arg("i=0; while [ $i -lt 500 ]; do echo 'ünder control'; i=$((i+1)); done");
    run(command, b"").exits(0);
    let payload = receiver.received(1).remove(0).json();
    let text = payload["text"].as_str().expect("a text");
    let header = "\u{1f336}\u{fe0f} *dispatch* [w] completed:\n\n";
    let body = text.strip_prefix(header).expect("the header comes first");
    assert!(body.len() <= 600, "{} bytes", body.len());
    assert!(body.starts_with("ünder control\nünder"), "{body}");
    let path = payload["artifactPath"].as_str().expect("a path");
    assert!(body.contains(path) && body.contains("600"), "{body}");
    assert_eq!(payload["bytes"], 7500);
    let whole = std::fs::read_to_string(path).expect("the artifact is there");
    assert_eq!(whole, "ünder control\n".repeat(500));
}

#[test]
fn a_label_with_spaces_and_an_emoji_fits_the_headers() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let label = "night build \u{1f680}";
    enqueue_to(&house, "webhook:ops", label, &[], "echo hi");
    let request = receiver.received(1).remove(0);
    let generation = &house.entry(label)["generation"];
    let in_header = format!("night%20build%20%F0%9F%9A%80/{generation}/1/result/webhook:ops");
    assert_eq!(request.header("Idempotency-Key"), Some(in_header.as_str()));
    let key = format!("{label}/{generation}/1/result/webhook:ops");
    assert_eq!(request.text("key"), key);
    assert_eq!(request.text("label"), label);
    record_in(&house, label, "result", "delivered");
}

#[test]
fn a_command_gets_the_payload_on_stdin_and_the_key_in_its_environment() {
    let house = House::new();
    let script = "cat > payload; echo \"$DISPATCH_DELIVERY_KEY $DISPATCH_DELIVERY_KIND $DISPATCH_LABEL\" > names; echo \"$@\" > argv; echo stored";
    let script = format!("cd '{}'; {script}", house.root().display());
    house.configure(&json!({"commands": {"mail": ["sh", "-c", script, "sh", "me"]}}));
    enqueue_to(&house, "command:mail", "w", &[], "echo '$(id) `id`'");
    let record = record_in(&house, "w", "result", "delivered");
    let payload: serde_json::Value =
        serde_json::from_str(&house.text("payload")).expect("the payload is JSON");
    assert_eq!(payload["key"], record["key"]);
    assert!(
        payload["text"]
            .as_str()
            .expect("a text")
            .ends_with("$(id) `id`\n"),
        "{payload}"
    );
    let key = record["key"].as_str().expect("a key");
    assert_eq!(house.text("names"), format!("{key} result w\n"));
    assert_eq!(house.text("argv"), "me\n");
    assert_eq!(
        record["receipt"],
        json!({"exitCode": 0, "output": "stored"})
    );
    assert_eq!(records(&house, "w").len(), 1);
}

#[test]
fn a_text_that_is_kept_nowhere_says_where_it_was_cut_and_why() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    std::fs::write(house.path("file"), "").expect("writable");
    let mut command = house.command("dispatch");
    let script = "head -c 5000 /dev/zero | tr '\\0' x";
    let words = "enqueue --label w --deliver-to webhook:ops -- sh -c".split(' ');
    command.args(words).arg(script);
    command.env("SCHEDULER_ARTIFACTS_DIR", house.path("file/artifacts"));
    run(command, b"").exits(0);
    let text = receiver.received(1)[0].text("text");
    assert!(text.contains("xxx"), "{text}");
    let (_, note) = text.split_once("\n\n[Cut to").expect("a note");
    assert!(
        note.contains("The full text (5000 bytes) could not be saved"),
        "{note}"
    );
    let summary = house.entry("w")["summary"].to_string();
    assert!(summary.contains("could not be saved"), "{summary}");
}

#[test]
fn why_a_text_was_kept_nowhere_is_said_whenever_it_is_told() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    std::fs::write(house.path("file"), "").expect("writable");
    let gate = house.gate("gate");
    enqueue_to(&house, "webhook:ops", "w", &[], &gate.pass());
    let summary = "x".repeat(1500);
    let mut command = house.command("dispatch");
    command
        .args([
            "done",
            "--label",
            "w",
            "--checklist",
            "{\"work_complete\":true}",
        ])
        .args(["--summary", &summary])
        .env("SCHEDULER_ARTIFACTS_DIR", house.path("file/artifacts"));
    run(command, b"").exits(0);
    gate.open();
    let error = house.entry("w")["artifact"]["error"].clone();
    let error = error.as_str().expect("a reason");
    assert!(error.contains("Not a directory"), "{error}");
    // The ledger has the whole text, and it is longer than what is printed.
    let text = receiver.received(1)[0].text("text");
    assert!(text.ends_with(&summary), "{text}");
    let note = format!("The full text (1500 bytes) could not be saved: {error}");
    let limited = |name: &str, words: &[&str]| {
        let mut command = house.command(name);
        command
            .args(words)
            .env("DISPATCH_COMPLETION_INLINE_LIMIT_BYTES", "1000");
        run(command, b"").exits(0)
    };
    record_in(&house, "w", "result", "delivered");
    let printed = [
        limited("watcher", &["--label", "w"]).stdout,
        limited("dispatch", &["result", "--label", "w", "--output", "table"]).stdout,
        limited("dispatch", &["result", "--label", "w"]).json()["lastReply"].to_string(),
    ];
    for text in printed {
        assert!(text.contains(&note), "{text}");
    }
}
