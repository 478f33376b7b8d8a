//! Entries as answers: the fields that scripts read, under the names they know.

use serde_json::{Map, Value, json};

use crate::backend::BackendName;
use crate::backend::local::Survivor;
use crate::completion::cap::{cap, inline_limit_from};
use crate::delivery::{DeliveryMode, targets};
use crate::duration::format_duration;
use crate::home::Home;
use crate::record::{Delivery, DeliveryState, Entry, MAX_TEXT_BYTES, Status, clip_text, time};
use crate::watch::{artifact, artifact_path, last_reply, recorded_summary};

/// Where results go, as every answer shows it.
pub fn delivery_surface(entry: &Entry) -> Value {
    let mode = entry.text("deliveryMode");
    if DeliveryMode::from_text(mode) == DeliveryMode::None {
        return json!({"status": "disabled", "mode": mode, "channel": null, "target": null, "reason": "delivery mode none"});
    }
    if entry.value("deliveryDisabled") == Some(&Value::Bool(true)) {
        let reason = entry
            .text("deliveryDisabledReason")
            .unwrap_or("--no-monitor");
        return json!({"status": "disabled", "mode": mode, "channel": null, "target": null, "reason": reason});
    }
    match targets(entry).first() {
        Some(_) => json!({
            "status": "enabled",
            "mode": mode,
            "channel": entry.text("deliverChannel"),
            "target": entry.text("deliverTo"),
        }),
        None => json!({
            "status": "missing",
            "mode": mode,
            "channel": null,
            "target": null,
            "reason": "delivery target missing or not recorded",
        }),
    }
}

/// What came out of the label; as it stands in the ledger where that is no text.
pub fn summary(entry: &Entry) -> Value {
    match recorded_summary(entry) {
        Some(text) => json!(clip_text(&text, MAX_TEXT_BYTES)),
        None => entry.value("summary").cloned().unwrap_or_default(),
    }
}

/// When the label counts as stuck, as scripts read it; null where nobody is to be told.
pub fn watchdog(entry: &Entry) -> Value {
    let Some(watchdog) = entry.value("watchdog") else {
        return Value::Null;
    };
    json!({
        "enabled": true,
        "jobId": entry.text("watchdogJobId"),
        "interval": watchdog.get("interval"),
        "timeout": watchdog.get("timeoutMin"),
    })
}

/// Result and text of an ended label; the text within the inline limit.
pub fn result_fields(home: &Home, label: &str, entry: &Entry) -> Map<String, Value> {
    let limit = inline_limit_from(home.config.inline_limit.as_deref());
    text_fields(home, label, entry, Some(limit))
}

/// As [`result_fields`], with a limit of choice (`None`: the whole text).
pub fn text_fields(
    home: &Home,
    label: &str,
    entry: &Entry,
    limit: Option<usize>,
) -> Map<String, Value> {
    let status = entry.status();
    let mut fields = Map::new();
    fields.insert("ok".to_owned(), json!(status.is_ended()));
    fields.insert("label".to_owned(), json!(label));
    for name in [
        "sessionKey",
        "status",
        "spawnedAt",
        "endedAt",
        "summary",
        "completion",
        "error",
        "failure",
    ] {
        fields.insert(
            name.to_owned(),
            entry.value(name).cloned().unwrap_or_default(),
        );
    }
    fields.insert("summary".to_owned(), summary(entry));
    fields.insert("generation".to_owned(), json!(entry.generation()));
    fields.insert("delivery".to_owned(), delivery_surface(entry));
    let said = status.is_ended().then(|| last_reply(home, entry)).flatten();
    let reply = said.map(|text| match limit {
        Some(limit) => cap(&text, limit, &artifact(home, entry)).text,
        None => text,
    });
    let is_partial = status != Status::Done;
    fields.insert("recovery".to_owned(), recovery(entry, reply.is_some()));
    fields.insert(
        "diagnosticReply".to_owned(),
        json!(reply.as_ref().filter(|_| is_partial)),
    );
    fields.insert("artifactEvidence".to_owned(), Value::Null);
    fields.insert("lastReply".to_owned(), json!(reply));
    fields.insert(
        "artifactPath".to_owned(),
        json!(artifact_path(home, entry, "artifact")),
    );
    if !status.is_ended() {
        let message = match status {
            Status::Running => "the label is still running".to_owned(),
            other => format!("the label is {other}, which is no end"),
        };
        fields.insert("message".to_owned(), json!(message));
    }
    fields
}

/// Where the words of `lastReply` were found, where the session's own and not the agent's completion are meant.
fn recovery(entry: &Entry, has_reply: bool) -> Value {
    let is_signalled = entry.value("completion").is_some_and(Value::is_object);
    let place = match BackendName::of_entry(entry) {
        Some(BackendName::Local) => "jsonl",
        Some(BackendName::Openclaw) => "history",
        None => return Value::Null,
    };
    if !has_reply || is_signalled {
        return Value::Null;
    }
    let kind = match entry.status() {
        Status::Done => "terminal",
        _ => "diagnostic",
    };
    json!({"source": format!("{place}-{kind}"), "sessionId": entry.value("sessionId")})
}

/// The command of an ended label that is at work all the same; null where there is none.
pub fn survivor(home: &Home, label: &str, entry: &Entry) -> Value {
    Survivor::of(home, label, entry).map_or(
        Value::Null,
        |survivor| json!({"pid": survivor.pid, "since": survivor.since_ms.map(time::iso)}),
    )
}

/// The commands of older generations that are at work all the same; null where there are none.
pub fn older_survivors(home: &Home, label: &str, entry: &Entry) -> Value {
    let rows: Vec<Value> = Survivor::older(home, label, entry)
        .iter()
        .map(|survivor| {
            json!({
                "generation": survivor.generation(),
                "pid": survivor.pid,
                "since": survivor.since_ms.map(time::iso),
            })
        })
        .collect();
    match rows.is_empty() {
        true => Value::Null,
        false => Value::Array(rows),
    }
}

/// Puts what lives on after its generation's end into a view of the label.
pub fn add_survivors(home: &Home, label: &str, entry: &Entry, view: &mut Map<String, Value>) {
    for (name, survivors) in [
        ("commandAtWork", survivor(home, label, entry)),
        ("olderCommandsAtWork", older_survivors(home, label, entry)),
    ] {
        if !survivors.is_null() {
            view.insert(name.to_owned(), survivors);
        }
    }
}

/// The status for people, with the phase where that says more: `running (accepting)`.
pub fn status_text(entry: &Entry) -> String {
    let status = entry.status();
    if status == Status::Running && entry.cancel_requested() {
        return format!("{status} (to be cancelled)");
    }
    match entry.text("phase") {
        Some(phase) if phase != status.as_str() => format!("{status} ({phase})"),
        _ => status.to_string(),
    }
}

/// The outbox in one line: `1 pending, 2 delivered`; empty when nothing is owed to anyone.
pub fn outbox_line(entry: &Entry) -> String {
    let deliveries = entry.deliveries();
    let count = |state: DeliveryState| deliveries.iter().filter(|d| d.state == state).count();
    let states = [
        (DeliveryState::Pending, "not sent yet"),
        (DeliveryState::Sending, "being sent"),
        (DeliveryState::Retrying, "to be retried"),
        (DeliveryState::Unknown, "unknown"),
        (DeliveryState::Delivered, "delivered"),
        (DeliveryState::Parked, "parked"),
    ];
    let parts: Vec<String> = states
        .iter()
        .filter_map(|(state, word)| match count(*state) {
            0 => None,
            n => Some(format!("{n} {word}")),
        })
        .collect();
    parts.join(", ")
}

/// An open delivery in one line: `result to telegram:1: retrying after 2 tries, next in 15s: no route`.
pub fn open_delivery_line(delivery: &Delivery, now_ms: i64) -> String {
    let mut line = format!(
        "{} to {}: {}",
        delivery.kind.as_str(),
        delivery.target,
        delivery.state.as_str()
    );
    line += &match delivery.attempts {
        0 => String::new(),
        1 => " after 1 try".to_owned(),
        tries => format!(" after {tries} tries"),
    };
    if delivery.is_to_be_sent() && delivery.state != DeliveryState::Sending {
        line += &match delivery.next_at.map(|at| at - now_ms) {
            Some(left @ 1..) => format!(", next in {}", format_duration(left)),
            _ => ", next at once".to_owned(),
        };
    }
    if let Some(why) = &delivery.last_error {
        line += &format!(": {why}");
    }
    line
}

/// Open deliveries of an entry.
pub fn open_deliveries(entry: &Entry) -> Vec<Delivery> {
    let mut open = entry.deliveries();
    open.retain(Delivery::is_open);
    open
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Content, DeliveryKind};

    #[test]
    fn an_open_delivery_says_how_far_it_got_and_when_it_goes_on() {
        let kind = DeliveryKind::Result;
        let mut d = Delivery::new("k".to_owned(), kind, "telegram:1", Content::default(), 0);
        assert_eq!(
            open_delivery_line(&d, 0),
            "result to telegram:1: pending, next at once"
        );
        d.attempts = 2;
        d.last_error = Some("no route".to_owned());
        d.next_at = Some(95_000);
        for (state, words) in [
            (DeliveryState::Sending, "sending after 2 tries"),
            (
                DeliveryState::Retrying,
                "retrying after 2 tries, next in 1m 35s",
            ),
            (
                DeliveryState::Unknown,
                "unknown after 2 tries, next in 1m 35s",
            ),
            (DeliveryState::Parked, "parked after 2 tries"),
        ] {
            d.state = state;
            assert_eq!(
                open_delivery_line(&d, 0),
                format!("result to telegram:1: {words}: no route")
            );
        }
        d.state = DeliveryState::Retrying;
        d.attempts = 1;
        let line = open_delivery_line(&d, 95_000);
        assert_eq!(
            line,
            "result to telegram:1: retrying after 1 try, next at once: no route"
        );
    }
}
