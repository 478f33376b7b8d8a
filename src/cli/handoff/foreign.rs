//! A running label that another tool started, taken over: from then on it is one of ours.

use anyhow::Result;
use serde_json::json;

use crate::backend::BackendName;
use crate::cli::exit::failure;
use crate::gateway;
use crate::home::Home;
use crate::ledger::{Ledger, Patience};
use crate::record::{Entry, Generation, Status};
use crate::shell;

/// Why a label of another tool cannot be taken over, where it cannot. Pure.
fn obstacle(entry: &Entry) -> Option<&'static str> {
    let has = |name: &str| entry.text(name).is_some();
    if !has("sessionKey") || !has("runId") || !has("spawnedAt") {
        return Some("its entry names no run of a session");
    }
    // Nobody knows what its session had said before: an old reply could be taken for the result.
    (entry.text("mode") == Some("reuse")).then_some(
        "it went on with an older session, whose earlier replies cannot be told from its own",
    )
}

/// Makes the entry one that our watchers follow.
fn make_ours(entry: &mut Entry, now_ms: i64) {
    entry.set("backend", BackendName::Openclaw.as_str());
    entry.set_generation(Generation::next(Some(entry.generation()), now_ms));
    entry.set("attempt", 1);
    let run = entry.text("runId").unwrap_or_default().to_owned();
    entry.set("runIds", json!([run]));
}

/// It runs, and neither backend of ours started it.
pub fn is_foreign(entry: &Entry) -> bool {
    entry.status() == Status::Running && BackendName::of_entry(entry).is_none()
}

/// Takes the label over. Returns its entry as it is then.
///
/// # Errors
/// When it cannot be watched from here; an unwritable ledger.
pub fn take_over(home: &Home, label: &str, entry: &Entry) -> Result<Entry> {
    let no = |why: &str| {
        failure(format!(
            "label \"{label}\" was started by another tool, and cannot be taken over: {why}; end it by: dispatch done {} --checklist '{{\"work_complete\":true}}'",
            shell::label(label)
        ))
    };
    if let Some(why) = obstacle(entry) {
        return Err(no(why));
    }
    if gateway::configured(&home.paths, &home.environment).is_none() {
        return Err(no("no gateway is configured that its session could be on"));
    }
    let taken = Ledger::new(home).update(Patience::Command, |book| {
        let now_ms = book.now_ms();
        let mut entry = book.get(label).filter(is_foreign)?;
        make_ours(&mut entry, now_ms);
        book.put(label, entry);
        book.get(label)
    })?;
    taken.ok_or_else(|| no("it has changed at this moment; try again"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::RunRef;
    use serde_json::Value;

    fn entry(fields: Value) -> Entry {
        Entry::from_fields(fields.as_object().cloned().expect("an object"))
    }

    #[test]
    fn a_fresh_run_is_taken_over_and_others_are_not() {
        let run = json!({"sessionKey": "agent:main:subagent:1", "runId": "r", "spawnedAt": "2026-11-20T09:00:00.000Z", "status": "running"});
        let mut fresh = entry(run.clone());
        assert!(is_foreign(&fresh) && RunRef::of_entry("l", &fresh).is_none());
        assert_eq!(obstacle(&fresh), None);
        make_ours(&mut fresh, 1_000);
        assert!(!is_foreign(&fresh));
        let ours = RunRef::of_entry("l", &fresh).expect("a run of ours");
        assert_eq!((ours.run_id.as_str(), ours.generation.get()), ("r", 1_000));
        let without = |name: &str, value: Value| {
            let mut run = run.clone();
            run[name] = value;
            obstacle(&entry(run))
        };
        assert!(without("runId", Value::Null).is_some());
        assert!(without("sessionKey", Value::Null).is_some());
        assert!(without("mode", json!("reuse")).is_some());
        assert!(without("mode", json!("fresh")).is_none());
    }
}
