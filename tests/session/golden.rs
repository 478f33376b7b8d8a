//! The turn that each transcript of a real gateway shows.

use std::fs;
use std::path::{Path, PathBuf};

use dispatch::record::Baseline;
use dispatch::session::follow::Follower;
use dispatch::session::line::Line;
use dispatch::session::reader::{read_all, read_turn, take_baseline};
use dispatch::session::terminal::{FailedStop, Failure, Pending, Reply, Turn, decide};
use rstest::rstest;
use serde_json::Value;

const OLD: &str = "2026.5.18";
const NEW: &str = "2026.9.6";

fn transcript(version: &str, name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/transcripts");
    fixtures.join(version).join(format!("{name}.jsonl"))
}

/// The turn of a transcript without a baseline. Reading all lines forward must lead to the same decision.
fn turn(path: &Path) -> Turn {
    let reading = read_turn(path, &Baseline::default()).expect("the fixture is readable");
    assert_eq!((reading.skipped, reading.restarted), (0, false));
    let mut lines: Vec<Line> = read_all(path)
        .expect("the fixture is readable")
        .map(|line| line.expect("the fixture is readable").line)
        .collect();
    lines.reverse();
    assert_eq!(decide(lines), reading.turn);
    reading.turn
}

/// The text of an entry, found without the code under test.
fn text_of(path: &Path, id: &str) -> String {
    let content = fs::read_to_string(path).expect("the fixture is readable");
    let entries = content
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    let entry: Value = entries
        .into_iter()
        .find(|e: &Value| e["id"] == id)
        .expect("the entry is there");
    entry["message"]["content"][0]["text"]
        .as_str()
        .expect("a text block")
        .to_owned()
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[rstest]
#[case(
    OLD,
    "chat-send",
    "34cb21f9",
    "",
    1_795_263_490_271,
    "fake-1",
    "Chat reply."
)]
#[case(
    OLD,
    "deleted",
    "54585c54",
    "",
    1_795_263_558_524,
    "fake-1",
    "Gone soon."
)]
#[case(OLD, "end-turn", "a369eb9e", "", 1_795_263_512_398, "fake-1", "")]
#[case(OLD, "long", "f82c7315", "", 1_795_263_463_195, "fake-1", "")]
#[case(OLD, "main", "dbd99627", "", 1_795_263_510_355, "fake-1", "")]
#[case(
    OLD,
    "patched",
    "69023b56",
    "",
    1_795_263_486_429,
    "fake-2",
    "Patched model reply."
)]
#[case(
    OLD,
    "tool-calls",
    "52e707e1",
    "",
    1_795_263_438_078,
    "fake-1",
    "The file says hi."
)]
#[case(
    NEW,
    "chat-send",
    "86291955-1f93-4da2-90d3-dbacabdc3d09",
    "e68a328c-4f3a-4f76-a253-d1f7cef83670",
    1_795_263_539_650,
    "fake-1",
    "Chat reply."
)]
#[case(
    NEW,
    "deleted",
    "33433e29-c9b6-4fa0-802e-bad1462f455a",
    "830e3122-4f51-4a04-9713-cd40d53082eb",
    1_795_263_555_286,
    "fake-1",
    "Gone soon."
)]
#[case(
    NEW,
    "end-turn",
    "8387a7bc-b646-4c74-a22a-a04c9aaf3f28",
    "2dfab332-f68c-4f73-a75a-dbfa06f5d377",
    1_795_263_549_354,
    "fake-1",
    "Reply to a session."
)]
#[case(
    NEW,
    "long",
    "50532ee8-8bcb-4093-b1bd-6026ddc0684b",
    "0a45a12a-31a5-4d08-be42-b44b7bb3cdec",
    1_795_263_516_801,
    "fake-1",
    ""
)]
#[case(
    NEW,
    "main",
    "d4f1db17-c145-4c36-9908-0c7a2066e293",
    "306bc72a-fb48-46da-8791-4c9b283fc703",
    1_795_263_540_466,
    "fake-1",
    "Hello from main."
)]
#[case(
    NEW,
    "patched",
    "bf6c1ce1-745a-421a-bbf8-7ffe6e814b3a",
    "084d8f2a-13a1-4d40-ac9c-0b332c039d7e",
    1_795_263_536_874,
    "fake-2",
    "Patched model reply."
)]
#[case(
    NEW,
    "tool-calls",
    "5cf3062d-8009-4288-9e5c-61efeb613d82",
    "18945b48-27f5-4897-83c0-a3a851f74d86",
    1_795_263_439_496,
    "fake-1",
    "The file says hi."
)]
fn a_turn_that_ended_shows_its_reply(
    #[case] version: &str,
    #[case] name: &str,
    #[case] entry_id: &str,
    #[case] run_id: &str,
    #[case] timestamp_ms: i64,
    #[case] model: &str,
    #[case] text: &str,
) {
    let path = transcript(version, name);
    let expected = Reply {
        text: some(text).unwrap_or_else(|| text_of(&path, entry_id)),
        truncated: false,
        entry_id: some(entry_id),
        run_id: some(run_id),
        timestamp_ms: Some(timestamp_ms),
        model: some(model),
        dispatch: None,
    };
    assert_eq!(turn(&path), Turn::Reply(expected));
}

#[test]
fn a_long_reply_is_whole() {
    for version in [OLD, NEW] {
        let Turn::Reply(reply) = turn(&transcript(version, "long")) else {
            panic!("no reply in {version}");
        };
        assert_eq!(reply.text.len(), 70_068);
    }
}

struct Evidence {
    stop: FailedStop,
    message: &'static str,
    partial: &'static str,
    model: &'static str,
    run_id: &'static str,
    timestamp_ms: i64,
}

#[rstest]
#[case(OLD, "aborted-partial", Evidence {
    stop: FailedStop::Aborted, message: "", model: "", timestamp_ms: 1_795_263_478_153,
    partial: "This reply comes in many small pieces and is stopped somewhere in its middle, żó",
    run_id: "b4222996-ab2c-4d40-9a02-cba8a5ca88bb",
})]
#[case(OLD, "error-400", Evidence {
    stop: FailedStop::Error, message: "400 fake failure 400", partial: "", model: "fake-1",
    run_id: "", timestamp_ms: 1_795_263_461_873,
})]
#[case(OLD, "error-529", Evidence {
    stop: FailedStop::Error, message: "529 Overloaded", partial: "", model: "fake-1",
    run_id: "", timestamp_ms: 1_795_263_460_793,
})]
#[case(OLD, "inflight-aborted", Evidence {
    stop: FailedStop::Aborted, message: "This operation was aborted | This operation was aborted",
    partial: "", model: "fake-1", run_id: "473d2d69-e0ed-49b1-8051-ccd6b87fddbf",
    timestamp_ms: 1_795_263_469_288,
})]
#[case(OLD, "inflight-first-aborted", Evidence {
    stop: FailedStop::Aborted, message: "Request was aborted.", partial: "", model: "fake-1",
    run_id: "27632953-0975-4c4b-95f3-ee6461f1ff31", timestamp_ms: 1_795_263_473_511,
})]
#[case(OLD, "timeout", Evidence {
    stop: FailedStop::Aborted, message: "LLM idle timeout (5s): no response from model",
    partial: "", model: "fake-1", run_id: "81c2dfeb-001a-449d-a7eb-abaa601ba22b",
    timestamp_ms: 1_795_263_485_306,
})]
#[case(NEW, "aborted-partial", Evidence {
    stop: FailedStop::Aborted, message: "", partial: "This reply comes in many", model: "",
    run_id: "3e8131d5-d1b0-4f11-91e8-4faecd11cde0", timestamp_ms: 1_795_263_761_693,
})]
#[case(NEW, "error-400", Evidence {
    stop: FailedStop::Error, message: "400 fake failure 400", partial: "", model: "fake-1",
    run_id: "1ca8274d-aeb6-4e17-8b87-a91484550c89", timestamp_ms: 1_795_263_515_948,
})]
#[case(NEW, "error-529", Evidence {
    stop: FailedStop::Error, message: "529 Overloaded", partial: "", model: "fake-1",
    run_id: "24d38070-db72-45d0-a010-f3452cf76dd0", timestamp_ms: 1_795_263_514_746,
})]
#[case(NEW, "timeout", Evidence {
    stop: FailedStop::Aborted, message: "request timed out", partial: "", model: "fake-1",
    run_id: "b5bad459-74f0-44d9-bf94-b7cb0f3bfef3", timestamp_ms: 1_795_263_536_273,
})]
fn a_turn_that_failed_shows_its_evidence(
    #[case] version: &str,
    #[case] name: &str,
    #[case] evidence: Evidence,
) {
    let Turn::Failed(found) = turn(&transcript(version, name)) else {
        panic!("{name} failed");
    };
    let expected = Failure {
        stop: evidence.stop,
        message: some(evidence.message),
        partial: evidence.partial.to_owned(),
        provider: some(evidence.model).map(|_| "fake".to_owned()),
        model: some(evidence.model),
        run_id: some(evidence.run_id),
        timestamp_ms: Some(evidence.timestamp_ms),
        dispatch: None,
        earlier_reply: None,
        // What they come to is decided elsewhere.
        facts: found.facts.clone(),
        earlier_errors: found.earlier_errors.clone(),
    };
    assert_eq!(found, expected);
}

#[rstest]
#[case(OLD, "takeover")]
#[case(OLD, "midrun-second-turn")]
#[case(NEW, "inflight-aborted")]
#[case(NEW, "inflight-first-aborted")]
#[case(NEW, "midrun-first-turn")]
#[case(NEW, "midrun-second-turn")]
fn a_turn_without_an_answer_waits(#[case] version: &str, #[case] name: &str) {
    let why = Pending::UserMessage;
    assert_eq!(turn(&transcript(version, name)), Turn::MidTurn { why });
}

#[test]
fn every_fixture_is_tested() {
    let source = include_str!("golden.rs");
    let versions = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/transcripts");
    let mut folders: Vec<_> = fs::read_dir(versions)
        .expect("the folder is readable")
        .map(|entry| entry.expect("the folder is readable").file_name())
        .collect();
    folders.sort();
    assert_eq!(folders, [OLD, NEW], "another version needs its own cases");
    for (version, constant) in [(OLD, "OLD"), (NEW, "NEW")] {
        let dir = transcript(version, "x");
        let dir = dir.parent().expect("a folder");
        for entry in fs::read_dir(dir).expect("the folder is readable") {
            let path = entry.expect("the folder is readable").path();
            let name = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let case = format!("#[case({constant}, \"{name}\"");
            let spread = source
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .replace("( ", "(");
            assert!(spread.contains(&case), "{case} is missing");
        }
    }
}

/// Grows a copy of `end-turn` as the gateway did: after the first turn a baseline is taken, and only what follows counts.
#[rstest]
#[case(OLD, "77ae49fe", "a369eb9e")]
#[case(
    NEW,
    "20dcd388-8a38-40ad-b2c0-879ac9195de5",
    "8387a7bc-b646-4c74-a22a-a04c9aaf3f28"
)]
fn after_a_baseline_only_later_turns_count(
    #[case] version: &str,
    #[case] second: &str,
    #[case] last: &str,
) {
    let source = transcript(version, "end-turn");
    let content = fs::read_to_string(&source).expect("the fixture is readable");
    let lines: Vec<&str> = content.split_inclusive('\n').collect();
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("session.jsonl");
    let grow_to = |count: usize| fs::write(&path, lines[..count].concat()).expect("writable");
    let turn = |baseline: &Baseline| read_turn(&path, baseline).expect("readable").turn;
    let reply_id = |turn: Turn| match turn {
        Turn::Reply(reply) => reply.entry_id,
        other => panic!("no reply: {other:?}"),
    };

    grow_to(6);
    let baseline = take_baseline(&path, None).expect("readable");
    assert_eq!(baseline.offset, lines[..6].concat().len() as u64);
    assert_eq!(turn(&baseline), Turn::Nothing);
    grow_to(7);
    let why = Pending::UserMessage;
    assert_eq!(turn(&baseline), Turn::MidTurn { why });
    grow_to(8);
    assert_eq!(reply_id(turn(&baseline)).as_deref(), Some(second));
    grow_to(lines.len());
    assert_eq!(reply_id(turn(&baseline)).as_deref(), Some(last));
    let reading = read_turn(&path, &baseline).expect("readable");
    assert!(!reading.restarted);
}

/// A tool round in the middle is mid-turn at each of its lines, and a follower sees the same lines as a reader.
#[test]
fn every_step_of_a_tool_round_is_mid_turn() {
    for version in [OLD, NEW] {
        let content = fs::read_to_string(transcript(version, "tool-calls")).expect("readable");
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("session.jsonl");
        let mut follower = Follower::new(&path);
        let mut followed = Vec::new();
        let mut written = String::new();
        let mut seen = Vec::new();
        for line in content.split_inclusive('\n') {
            written.push_str(line);
            fs::write(&path, &written).expect("writable");
            let batch = follower.poll().expect("readable");
            assert!(!batch.restarted);
            followed.extend(batch.lines);
            let turn = read_turn(&path, &Baseline::default())
                .expect("readable")
                .turn;
            let step = match turn {
                Turn::Nothing => "nothing",
                Turn::MidTurn {
                    why: Pending::UserMessage,
                } => "user",
                Turn::MidTurn {
                    why: Pending::ToolCall,
                } => "call",
                Turn::MidTurn {
                    why: Pending::ToolResult,
                } => "result",
                Turn::Reply(_) => "reply",
                other => panic!("unexpected: {other:?}"),
            };
            if seen.last() != Some(&step) {
                seen.push(step);
            }
        }
        assert_eq!(
            seen,
            [
                "nothing", "user", "call", "result", "call", "result", "reply"
            ]
        );
        let all: Vec<_> = read_all(&path)
            .expect("readable")
            .map(|line| line.expect("readable"))
            .collect();
        assert_eq!(followed, all);
    }
}
