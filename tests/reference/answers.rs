//! The fields of its JSON answers, each with its type, under the commands that scripts call.

use serde_json::Value;

use crate::support::{House, eventually};

/// `name:types`, types being s(tring) n(umber) b(oolean) o(bject) a(rray) 0 (null).
type Fields = &'static str;

const ENQUEUE: Fields =
    "ok:b label:s sessionKey:s runId:s mode:s agent:s status:s delivery:o watchdog:o0 message:s";
const ENABLED: Fields = "status:s mode:s channel:s target:s";
const NO_TARGET: Fields = "status:s mode:s0 channel:0 target:0 reason:s";
const STATUS: Fields = "ok:b label:s sessionKey:s runId:s agent:s mode:s status:s spawnedAt:s updatedAt:s summary:s0 completion:o0 gatewayTimeoutSeconds:n0 delivery:o error:s0 liveness:o0 syncAction:s0";
const LIVENESS: Fields = "updatedAt:ns ageMs:n0 sessionId:s status:s0 model:s0 tokens:n0";
const RESULT: Fields = "ok:b label:s sessionKey:s status:s spawnedAt:s summary:s0 completion:o0 delivery:o lastReply:s0 diagnosticReply:s0 recovery:o0 artifactEvidence:o0 error:s0";
const HEARTBEAT: Fields =
    "ok:b sessionKey:s label:s0 alive:b ageMs:n0 updatedAt:s0 sessionId:s0 model:s0";
const LIST: Fields = "ok:b count:n labels:a";
const ROW: Fields = "label:s sessionKey:s runId:s agent:s mode:s status:s spawnedAt:s updatedAt:s summary:s0 delivery:o";
const SYNC: Fields = "ok:b dryRun:b changes:n details:a";
const HANDOFF: Fields = "ok:b scheduled:b label:s jobId:0 reason:s0 status:s";
const DONE: Fields = "ok:b label:s status:s summary:s completion:o message:s";
const COMPLETION: Fields =
    "version:n recordedAt:s summary_human:s0 summary:s0 deliveryText:s0 checklist:o sha:s0";
const UNKNOWN: Fields = "ok:b label:s message:s";

fn letter(value: Option<&Value>) -> char {
    match value {
        None => '-',
        Some(Value::Null) => '0',
        Some(Value::Bool(_)) => 'b',
        Some(Value::Number(_)) => 'n',
        Some(Value::String(_)) => 's',
        Some(Value::Array(_)) => 'a',
        Some(Value::Object(_)) => 'o',
    }
}

#[track_caller]
fn has(what: &str, answer: &Value, fields: Fields) {
    for field in fields.split(' ') {
        let (name, types) = field.split_once(':').expect("a name and types");
        let found = letter(answer.get(name));
        assert!(
            types.contains(found),
            "{what}: {name} is {found}, not {types}: {answer:#}"
        );
    }
}

#[test]
fn every_field_that_scripts_read_is_there_with_its_type() {
    let house = House::new();
    let gate = house.gate("gate");
    let script = format!("echo started; {}; echo ended", gate.pass());
    let words = [
        "enqueue",
        "--label",
        "x",
        "--deliver-to",
        "1",
        "--",
        "sh",
        "-c",
        &script,
    ];
    let told = house.dispatch(&words).exits(0).json();
    has("enqueue", &told, ENQUEUE);
    has("enqueue", &told["delivery"], ENABLED);
    has("enqueue", &told["delivery"], "scheduler:b gateway:b");
    assert_eq!(told["delivery"]["scheduler"], true);
    eventually("it has said something", || {
        house.streamed("x").contains("started").then_some(())
    });
    let ask = |words: &[&str], code| house.dispatch(words).exits(code).json();
    let running = ask(&["status", "--label", "x"], 0);
    has("status", &running, STATUS);
    has("liveness", &running["liveness"], LIVENESS);
    assert_eq!(running["liveness"]["status"], "running");
    has(
        "heartbeat",
        &ask(&["heartbeat", "--label", "x"], 0),
        HEARTBEAT,
    );
    has("result", &ask(&["result", "--label", "x"], 1), RESULT);
    has(
        "handoff",
        &ask(&["watcher-handoff", "--label", "x", "--reason", "why"], 0),
        HANDOFF,
    );
    gate.open();
    house.ended("x");
    // The label is told before the session's row is written.
    eventually("the row is closed", || {
        (house.session_row("x")["status"] == "done").then_some(())
    });
    let ended = ask(&["status", "--label", "x"], 0);
    has("status", &ended, STATUS);
    assert_eq!(ended["liveness"]["status"], "done");
    let result = ask(&["result", "--label", "x"], 0);
    has("result", &result, RESULT);
    assert_eq!(result["recovery"]["source"], "jsonl-terminal");
    assert_eq!(
        result["recovery"]["sessionId"],
        ended["liveness"]["sessionId"]
    );
    assert_eq!(result["diagnosticReply"], Value::Null);
    let list = ask(&["list"], 0);
    has("list", &list, LIST);
    has("list", &list["labels"][0], ROW);
    has("sync", &ask(&["sync", "--dry-run"], 0), SYNC);
    let checklist = "--checklist={\"work_complete\":true}";
    let done = ask(
        &["done", "--label", "y", "--summary", "all of it", checklist],
        0,
    );
    has("done", &done, DONE);
    has("completion", &done["completion"], COMPLETION);
    let unregistered = ask(&["status", "--label", "y"], 0);
    has("status", &unregistered["delivery"], NO_TARGET);
    assert_eq!(unregistered["liveness"], Value::Null);
    let nobody = ask(&["status", "--label", "nobody"], 0);
    has("status", &nobody, UNKNOWN);
    assert_eq!(
        (&nobody["ok"], &nobody["found"]),
        (&true.into(), &false.into())
    );
    let nobody = ask(&["result", "--label", "nobody"], 1);
    has("result", &nobody, UNKNOWN);
    assert_eq!(nobody["ok"], false);
    let nobody = ask(&["heartbeat", "--session-key", "agent:main:main"], 0);
    has("heartbeat", &nobody, "ok:b sessionKey:s alive:b message:s");
}

#[test]
fn what_a_failed_run_had_said_is_its_diagnostic_reply() {
    let house = House::new();
    house.enqueue("x", "echo half; exit 3");
    house.ended("x");
    let result = house.dispatch(&["result", "--label", "x"]).exits(0).json();
    has("result", &result, RESULT);
    assert_eq!(result["diagnosticReply"], "half\n");
    assert_eq!(result["recovery"]["source"], "jsonl-diagnostic");
}
