//! Which events a change of an entry is.

use serde_json::{Value, json};

use super::event::{Event, EventKind};
use crate::record::{Change, DeliveryState, Entry, Status};

/// The events of one write, in the order in which they happened.
pub(super) fn events_of(change: &Change, host: &str, now_ms: i64) -> Vec<Event> {
    let Some(after) = &change.after else {
        return Vec::new();
    };
    let same_generation = |entry: &&Entry| entry.generation() == after.generation();
    let before = change.before.as_ref().filter(same_generation);
    let event = |kind| described(kind, &change.label, after, host, now_ms);
    let mut events = Vec::new();
    let (was, is) = (before.map(Entry::status), after.status());
    if before.is_none() && is == Status::Running {
        events.push(event(EventKind::Started));
    }
    if before.is_some_and(|before| after.attempt() > before.attempt()) {
        let cause = after.failure().map(|failure| json!(failure.kind));
        events.push(event(EventKind::Retried).with("failure_kind", cause));
    }
    if is.is_ended() && was.as_ref() != Some(&is) && !is_import(change) {
        events.push(ending(&event, after, now_ms));
    }
    let settled: Vec<String> = before
        .map(|before| before.deliveries())
        .unwrap_or_default()
        .into_iter()
        .filter(|delivery| delivery.state == DeliveryState::Delivered)
        .map(|delivery| delivery.key)
        .collect();
    for delivery in after.deliveries() {
        if delivery.state == DeliveryState::Delivered && !settled.contains(&delivery.key) {
            events.push(
                event(EventKind::Delivered)
                    .with("key", json!(delivery.key))
                    .with("kind", json!(delivery.kind))
                    .with("target", json!(delivery.target))
                    .with("tries", json!(delivery.attempts)),
            );
        }
    }
    events
}

/// A session that somebody else ran and that the ledger only hears of: nothing happened to it now.
fn is_import(change: &Change) -> bool {
    let is_interrupted = |entry: &Entry| entry.status() == Status::Interrupted;
    change.before.is_none() && change.after.as_ref().is_some_and(is_interrupted)
}

fn ending(event: &dyn Fn(EventKind) -> Event, after: &Entry, now_ms: i64) -> Event {
    let kind = match after.status() {
        Status::Cancelled => EventKind::Cancelled,
        _ => EventKind::Finished,
    };
    let ended_at = after.time("endedAt").unwrap_or(now_ms);
    let took = after
        .time("spawnedAt")
        .map(|spawned_at| json!(ended_at.saturating_sub(spawned_at).max(0)));
    let failure = after.failure();
    event(kind)
        .with("status", json!(after.status().as_str()))
        .with("duration_ms", took)
        .with("error", after.text("error").map(Value::from))
        .with("failure_kind", failure.map(|failure| json!(failure.kind)))
}

fn described(kind: EventKind, label: &str, entry: &Entry, host: &str, now_ms: i64) -> Event {
    let text = |name: &str| entry.text(name).map(Value::from);
    Event::new(kind, now_ms, host)
        .with("label", json!(label))
        .with("generation", json!(entry.generation()))
        .with("attempt", json!(entry.attempt()))
        .with("run_id", text("runId"))
        .with("agent", text("agent"))
        .with("mode", text("mode"))
        .with("backend", text("backend"))
        .with("session_key", text("sessionKey"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: Value) -> Option<Entry> {
        fields.as_object().cloned().map(Entry::from_fields)
    }

    fn told(before: Value, after: Value) -> Vec<String> {
        let change = Change {
            label: "l".to_owned(),
            before: entry(before),
            after: entry(after),
        };
        let events = events_of(&change, "h", 1_000);
        events
            .iter()
            .map(|event| {
                event
                    .event
                    .name()
                    .trim_start_matches("dispatch.")
                    .to_owned()
            })
            .collect()
    }

    #[test]
    fn each_change_is_the_events_that_it_is() {
        let none = || Value::Null;
        let running =
            |attempt: u64| json!({"generation": 5, "status": "running", "attempt": attempt});
        let ended = |status: &str| json!({"generation": 5, "status": status, "attempt": 1});
        let newer = json!({"generation": 6, "status": "running"});
        let cases = [
            (none(), running(1), vec!["started"]),
            (none(), ended("done"), vec!["finished"]),
            // A session that somebody else ran.
            (none(), ended("interrupted"), vec![]),
            (running(1), running(1), vec![]),
            (running(1), running(2), vec!["retried"]),
            (ended("error"), running(2), vec!["retried"]),
            (running(1), ended("done"), vec!["finished"]),
            (running(1), ended("error"), vec!["finished"]),
            (running(1), ended("interrupted"), vec!["finished"]),
            (running(1), ended("cancelled"), vec!["cancelled"]),
            (ended("error"), ended("done"), vec!["finished"]),
            (ended("done"), ended("done"), vec![]),
            (ended("done"), newer, vec!["started"]),
            (ended("done"), none(), vec![]),
        ];
        for (before, after, events) in cases {
            assert_eq!(
                told(before.clone(), after.clone()),
                events,
                "{before} -> {after}"
            );
        }
    }

    #[test]
    fn a_delivery_is_told_once_also_where_a_new_generation_carries_it() {
        let with = |generation: u64, state: &str| {
            json!({"generation": generation, "status": "done", "deliveries": [
                {"key": "k", "kind": "result", "state": state, "target": "webhook:a", "attempts": 2}
            ]})
        };
        let cases = [
            (with(5, "pending"), with(5, "delivered"), vec!["delivered"]),
            (with(5, "sending"), with(5, "retrying"), vec![]),
            (with(5, "delivered"), with(5, "delivered"), vec![]),
        ];
        for (before, after, events) in cases {
            assert_eq!(
                told(before.clone(), after.clone()),
                events,
                "{before} -> {after}"
            );
        }
    }

    #[test]
    fn an_end_says_how_long_it_took_and_why() {
        let change = Change {
            label: "l".to_owned(),
            before: entry(json!({"generation": 5, "status": "running"})),
            after: entry(json!({
                "generation": 5, "status": "error", "error": "no luck", "runId": "r", "agent": "main",
                "spawnedAt": "2026-01-01T00:00:00.000Z", "endedAt": "2026-01-01T00:00:02.500Z",
                "failure": {"kind": "overload", "message": "no luck", "at": 1_767_225_602_500_i64},
            })),
        };
        let line: Value =
            serde_json::from_str(&events_of(&change, "h", 7)[0].line()).expect("JSON");
        let expected = json!({
            "event": "dispatch.finished", "ts": 7, "host": "h", "label": "l", "generation": 5, "attempt": 1,
            "run_id": "r", "agent": "main", "status": "error", "duration_ms": 2_500, "error": "no luck",
            "failure_kind": "overload",
        });
        assert_eq!(line, expected);
    }
}
