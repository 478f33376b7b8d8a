//! What `doctor` says of a gateway and of deliveries, without a gateway.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::{House, run};

/// The messages of the checks with this name, with whether they are fine.
fn checks(doctor: &Value, name: &str) -> Vec<(bool, String)> {
    let checks = doctor["checks"].as_array().expect("checks");
    let named = checks.iter().filter(|check| check["name"] == name);
    named
        .map(|check| {
            let message = check["message"].as_str().expect("a text");
            (check["ok"] == true, message.to_owned())
        })
        .collect()
}

/// A house whose gateway is said to be at this port.
pub fn house_at(port: u16) -> House {
    let house = House::new();
    let dir = house.root().join("user/.openclaw");
    std::fs::create_dir_all(&dir).expect("creatable");
    let config = json!({"gateway": {"port": port, "auth": {"token": "s3cret-token"}}});
    std::fs::write(dir.join("openclaw.json"), config.to_string()).expect("writable");
    house
}

#[test]
fn a_gateway_that_is_not_there_is_told_with_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let house = house_at(port);
    let ran = house.dispatch(&["doctor"]).exits(1);
    let told = checks(&ran.json(), "gateway");
    let start = format!("no gateway answers at ws://127.0.0.1:{port}/: ");
    assert!(!told[0].0 && told[0].1.starts_with(&start), "{told:?}");
    assert!(told[0].1.contains("openclaw gateway run"), "{told:?}");
    assert!(!format!("{ran:?}").contains("s3cret"), "{ran:?}");
}

#[test]
fn an_address_that_is_none_is_told_and_so_is_a_damaged_ledger_without_being_sent_to_doctor() {
    let house = House::new();
    let doctor = || {
        let mut command = house.command("dispatch");
        command.args(["doctor", "--output", "table"]);
        command.env("OPENCLAW_GATEWAY_URL", "garbage");
        run(command, b"")
    };
    let gateway = "WRONG  gateway: OPENCLAW_GATEWAY_URL is no address (\"garbage\"); give one such as ws://127.0.0.1:18789 or wss://example.org\n";
    let ran = doctor().exits(1);
    assert!(ran.stdout.starts_with(gateway), "{ran:?}");
    house.write_ledger("{\"a\": {\"status");
    let ledger = format!(
        "WRONG  ledger: the ledger {} is damaged: EOF while parsing a string at line 1 column 14\n       -> 'dispatch doctor --repair' would save 0 labels from it (1 broken) and has a backup with 0\n",
        house.ledger_path().display()
    );
    let ran = doctor().exits(3);
    assert!(ran.stdout.starts_with(&ledger), "{ran:?}");
    assert!(ran.stdout.contains(gateway), "{ran:?}");
}

#[test]
fn a_gateway_that_hangs_is_not_waited_for_long() {
    // The system takes the connection; nobody ever reads from it.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let house = house_at(port);
    let ran = house.dispatch(&["doctor"]).exits(1);
    let told = checks(&ran.json(), "gateway");
    let start = format!("no gateway answers at ws://127.0.0.1:{port}/: it took the connection");
    assert!(!told[0].0 && told[0].1.starts_with(&start), "{told:?}");
    assert!(!format!("{ran:?}").contains("s3cret"), "{ran:?}");
}

#[test]
fn a_delivery_that_is_tried_in_vain_for_long_is_told_with_its_reason() {
    let house = House::new();
    let hour_ms = 3_600_000;
    let now_ms = chrono::Utc::now().timestamp_millis();
    let record = |key: &str, state: &str, at: i64| {
        json!({"key": key, "kind": "result", "state": state, "target": "telegram:1", "at": at, "attempts": 7,
            "nextAt": now_ms + 24 * hour_ms, "lastError": "no route"})
    };
    let entry = json!({"status": "done", "generation": 5, "backend": "local", "deliveries": [
        record("young", "retrying", now_ms), record("a", "retrying", now_ms - hour_ms), record("b", "unknown", now_ms - hour_ms),
        record("past", "delivered", now_ms - hour_ms),
    ]});
    house.write_ledger(json!({"slow": entry}).to_string());
    let told = checks(&house.dispatch(&["doctor"]).exits(1).json(), "delivery");
    let slow = |state: &str| {
        format!(
            "label \"slow\": result to telegram:1: {state} after 7 tries, next in 23h 59m: no route; mend that, or try at once: dispatch redeliver --label slow"
        )
    };
    let told: Vec<&String> = told.iter().map(|(_, message)| message).collect();
    assert_eq!(told[..2], [&slow("retrying"), &slow("unknown")]);
    assert_eq!(told.len(), 3, "and that nobody sends it: {told:?}");
}
