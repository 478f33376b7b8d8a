//! The JSON field names that scripts read, with their types.

use serde_json::Value;

use crate::support::House;

const TEXT: &[&str] = &["string"];
const NUMBER: &[&str] = &["number"];
const FLAG: &[&str] = &["boolean"];
const LIST: &[&str] = &["array"];
const OBJECT: &[&str] = &["object"];
const NULL: &[&str] = &["null"];
const TEXT_OR_NULL: &[&str] = &["string", "null"];
const OBJECT_OR_NULL: &[&str] = &["object", "null"];

type Fields = [(&'static str, &'static [&'static str])];

const ENQUEUE: &Fields = &[
    ("/ok", FLAG),
    ("/label", TEXT),
    ("/sessionKey", TEXT),
    ("/runId", TEXT),
    ("/agent", TEXT),
    ("/mode", TEXT),
    ("/status", TEXT),
    ("/delivery", OBJECT),
    ("/delivery/status", TEXT),
    ("/delivery/target", TEXT),
    ("/delivery/channel", TEXT),
    ("/watchdog", OBJECT),
    ("/watchdog/enabled", FLAG),
    ("/watchdog/jobId", NULL),
    ("/watchdog/interval", TEXT),
    ("/watchdog/timeout", NUMBER),
    ("/generation", NUMBER),
    ("/message", TEXT),
];

const STATUS: &Fields = &[
    ("/ok", FLAG),
    ("/label", TEXT),
    ("/found", FLAG),
    ("/sessionKey", TEXT),
    ("/runId", TEXT),
    ("/agent", TEXT),
    ("/mode", TEXT),
    ("/status", TEXT),
    ("/spawnedAt", TEXT),
    ("/updatedAt", TEXT),
    ("/summary", TEXT_OR_NULL),
    ("/completion", OBJECT_OR_NULL),
    ("/error", TEXT_OR_NULL),
    ("/delivery", OBJECT),
    ("/generation", NUMBER),
    ("/attempt", NUMBER),
    ("/liveness", OBJECT),
    ("/liveness/updatedAt", NUMBER),
    ("/liveness/ageMs", NUMBER),
    ("/liveness/sessionId", TEXT),
    ("/liveness/model", TEXT),
    ("/liveness/tokens", NULL),
    ("/liveness/alive", FLAG),
    ("/watcher/alive", FLAG),
    ("/lastPing", TEXT),
];

const RESULT: &Fields = &[
    ("/ok", FLAG),
    ("/label", TEXT),
    ("/sessionKey", TEXT),
    ("/status", TEXT),
    ("/spawnedAt", TEXT),
    ("/summary", TEXT_OR_NULL),
    ("/completion", OBJECT_OR_NULL),
    ("/error", TEXT_OR_NULL),
    ("/lastReply", TEXT_OR_NULL),
    ("/delivery", OBJECT),
    ("/generation", NUMBER),
    ("/artifactPath", TEXT_OR_NULL),
];

const LIST_FIELDS: &Fields = &[
    ("/ok", FLAG),
    ("/count", NUMBER),
    ("/total", NUMBER),
    ("/labels", LIST),
    ("/labels/0/label", TEXT),
    ("/labels/0/sessionKey", TEXT),
    ("/labels/0/runId", TEXT),
    ("/labels/0/agent", TEXT),
    ("/labels/0/mode", TEXT),
    ("/labels/0/status", TEXT),
    ("/labels/0/spawnedAt", TEXT),
    ("/labels/0/updatedAt", TEXT),
    ("/labels/0/delivery", OBJECT),
];

const WAIT: &Fields = &[
    ("/ok", FLAG),
    ("/timedOut", FLAG),
    ("/count", NUMBER),
    ("/labels", LIST),
    ("/labels/0/label", TEXT),
    ("/labels/0/status", TEXT),
    ("/labels/0/lastReply", TEXT),
];

const CANCEL: &Fields = &[
    ("/ok", FLAG),
    ("/label", TEXT),
    ("/status", TEXT),
    ("/generation", NUMBER),
    ("/delivery", OBJECT),
    ("/message", TEXT),
];

const DONE: &Fields = &[
    ("/ok", FLAG),
    ("/label", TEXT),
    ("/status", TEXT),
    ("/summary", TEXT),
    ("/completion", OBJECT),
    ("/completion/version", NUMBER),
    ("/completion/checklist", OBJECT),
    ("/completion/deliveryText", TEXT),
    ("/generation", NUMBER),
    ("/delivery", OBJECT),
    ("/message", TEXT),
];

const DOCTOR: &Fields = &[
    ("/ok", FLAG),
    ("/checks", LIST),
    ("/checks/0/name", TEXT),
    ("/checks/0/ok", FLAG),
    ("/checks/0/message", TEXT),
];

const RECOVERY: &Fields = &[
    ("/ok", FLAG),
    ("/revived", LIST),
    ("/failed", LIST),
    ("/skipped", LIST),
];

fn kind(value: Option<&Value>) -> &'static str {
    match value {
        None => "absent",
        Some(Value::Null) => "null",
        Some(Value::Bool(_)) => "boolean",
        Some(Value::Number(_)) => "number",
        Some(Value::String(_)) => "string",
        Some(Value::Array(_)) => "array",
        Some(Value::Object(_)) => "object",
    }
}

#[track_caller]
fn has(what: &str, answer: &Value, fields: &Fields) {
    for (pointer, kinds) in fields {
        let found = kind(answer.pointer(pointer));
        assert!(
            kinds.contains(&found),
            "{what} {pointer} is {found}, not {kinds:?}: {answer:#}"
        );
    }
}

#[test]
fn the_answers_have_the_fields_that_scripts_read() {
    let house = House::new();
    let gate = house.gate("gate");
    let script = format!("echo started; {}", gate.pass());
    let enqueued = house.dispatch(&[
        "enqueue",
        "--label",
        "x",
        "--deliver-to",
        "1",
        "--model",
        "m",
        "--",
        "sh",
        "-c",
        &script,
    ]);
    has("enqueue", &enqueued.exits(0).json(), ENQUEUE);
    crate::support::eventually("it has said something", || {
        house.streamed("x").contains("started").then_some(())
    });
    // The watcher has written its first heartbeat when it says that it watches.
    crate::support::eventually("the watcher watches", || {
        let status = house.dispatch(&["status", "--label", "x"]).json();
        (status["watcher"]["state"] == "watching").then_some(())
    });
    has(
        "status",
        &house.dispatch(&["status", "--label", "x"]).exits(0).json(),
        STATUS,
    );
    has(
        "result",
        &house.dispatch(&["result", "--label", "x"]).exits(1).json(),
        RESULT,
    );
    has(
        "list",
        &house.dispatch(&["list"]).exits(0).json(),
        LIST_FIELDS,
    );
    has(
        "529-recovery",
        &house.run("529-recovery", &["--json"]).exits(0).json(),
        RECOVERY,
    );
    has(
        "cancel",
        &house.dispatch(&["cancel", "--label", "x"]).exits(0).json(),
        CANCEL,
    );
    has(
        "wait",
        &house.dispatch(&["wait", "x"]).exits(1).json(),
        WAIT,
    );
    has(
        "result",
        &house.dispatch(&["result", "--label", "x"]).exits(0).json(),
        RESULT,
    );
    has("doctor", &house.dispatch(&["doctor"]).json(), DOCTOR);
    let done = [
        "done",
        "--label",
        "y",
        "--summary",
        "all",
        "--checklist",
        "{\"work_complete\":true}",
    ];
    has("done", &house.dispatch(&done).exits(0).json(), DONE);
}
