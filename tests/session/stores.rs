//! The session stores of a real gateway.

use std::path::{Path, PathBuf};

use dispatch::session::key::SessionKey;
use dispatch::session::store::{SessionStatus, read_row, read_rows};

fn store(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/stores/2026.5.18")
        .join(name)
}

#[test]
fn a_row_of_a_real_store_is_read() {
    let path = store("sessions.json");
    let key = "agent:main:subagent:0EB3EA5F-2a51-4a24-ad0d-e63843625a97";
    let row = read_row(&path, key)
        .expect("readable")
        .expect("the row is there");
    assert_eq!(
        row.session_id.as_deref(),
        Some("6e83801e-dabc-4506-96f1-9ed1996fcf9b")
    );
    let file =
        "/home/user/.openclaw/agents/main/sessions/6e83801e-dabc-4506-96f1-9ed1996fcf9b.jsonl";
    assert_eq!(row.session_file.as_deref(), Some(Path::new(file)));
    assert_eq!(row.status, Some(SessionStatus::Done));
    assert_eq!(row.updated_at_ms, Some(1_795_263_512_499));
    assert_eq!(row.started_at_ms, Some(1_795_263_512_213));
    assert_eq!(row.ended_at_ms, Some(1_795_263_512_434));
    assert_eq!(row.total_tokens, Some(8949));
    assert_eq!(row.label.as_deref(), Some("sample-end-turn"));
    assert_eq!(row.aborted_last_run, Some(false));
    assert!(row.extra.contains_key("runtimeMs") && !row.extra.contains_key("skillsSnapshot"));
}

#[test]
fn all_rows_of_a_real_store_are_read() {
    let rows = read_rows(&store("sessions.json")).expect("readable");
    assert_eq!(rows.len(), 19);
    for (key, row) in rows {
        let key = SessionKey::parse(&key).expect("a session key");
        assert_eq!(key.agent_id(), "main");
        assert!(
            row.session_id.is_some() && row.updated_at_ms.is_some(),
            "{key}"
        );
    }
}

#[test]
fn a_session_in_its_first_turn_is_in_the_store() {
    let key = "agent:main:subagent:b3f76233-fe03-4229-9c05-61dd8cffcd17";
    let row = read_row(&store("midrun-first-turn.json"), key)
        .expect("readable")
        .expect("the row is there");
    assert_eq!(row.status, Some(SessionStatus::Running));
    assert_eq!(
        (row.started_at_ms, row.ended_at_ms),
        (Some(1_795_263_471_252), None)
    );
    assert_eq!(row.label.as_deref(), Some("sample-inflight-first"));
}
