//! `dispatch status`: where a label stands, from ledger, watcher and session.
//!
//! It reads only, but for one case: a running label that nobody watches and whose run is over is resolved as its watcher
//! would do it, while the watcher's post is free.

use std::io;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::args::LabelArgs;
use super::exit::OK;
use super::output::Output;
use super::{labels, views};
use crate::backend::{BackendName, Evidence, Liveness, RunRef, backend_of};
use crate::duration::{format_ago, format_duration};
use crate::home::Home;
use crate::ledger::Ledger;
use crate::record::{Entry, Status, time};
use crate::watch::{Way, resolve};
use crate::watchers::Post;

/// Runs the command.
///
/// # Errors
/// When the ledger cannot be read.
pub fn run(home: &Home, output: Output, args: &LabelArgs) -> Result<u8> {
    let book = Ledger::new(home).read()?;
    let label = args.label.as_str();
    let Some(entry) = book.get(label) else {
        let hint = labels::unknown(&book, label);
        match output.is_json() {
            true => output
                .json(&json!({"ok": true, "label": label, "found": false, "message": hint}))?,
            false => output.untrusted(&hint)?,
        }
        return Ok(OK);
    };
    let observed = observe(home, label, &entry);
    let change = match &observed {
        Some(Ok(evidence)) if is_unwatched(home, label, &entry) => {
            resolve(home, label, &entry, evidence, Way::Act)?
        }
        _ => None,
    };
    let entry = match &change {
        Some(_) => Ledger::new(home).read()?.get(label).unwrap_or(entry),
        None => entry,
    };
    let mut view = view(home, label, &entry, observed);
    let action = change.map(|change| format!("running -> {}: {}", change.to, change.why));
    view.insert("syncAction".to_owned(), json!(action));
    match output.is_json() {
        true => output.json(&Value::Object(view))?,
        false => print(home, output, label, &entry, &view)?,
    }
    Ok(OK)
}

/// A running label whose watcher's post is free.
fn is_unwatched(home: &Home, label: &str, entry: &Entry) -> bool {
    entry.status() == Status::Running && !Post::of(home, label, entry.generation()).is_held()
}

fn view(
    home: &Home,
    label: &str,
    entry: &Entry,
    observed: Option<io::Result<Evidence>>,
) -> Map<String, Value> {
    let mut view = Map::new();
    view.insert("ok".to_owned(), json!(true));
    view.insert("label".to_owned(), json!(label));
    view.insert("found".to_owned(), json!(true));
    for name in [
        "sessionKey",
        "runId",
        "agent",
        "mode",
        "status",
        "spawnedAt",
        "updatedAt",
        "summary",
        "completion",
        "error",
    ] {
        view.insert(
            name.to_owned(),
            entry.value(name).cloned().unwrap_or_default(),
        );
    }
    for name in [
        "phase",
        "generation",
        "attempt",
        "backend",
        "runtime",
        "endedAt",
        "failure",
        "runIds",
        "steers",
        "requester",
        "stale",
        "cancelRequested",
        "deliveries",
    ] {
        if let Some(value) = entry.value(name) {
            view.insert(name.to_owned(), value.clone());
        }
    }
    view.insert("delivery".to_owned(), views::delivery_surface(entry));
    view.insert(
        "artifactPath".to_owned(),
        json!(crate::watch::artifact_path(entry, "artifact")),
    );
    view.insert(
        "liveness".to_owned(),
        liveness(home, label, entry, observed),
    );
    let watcher = watcher(home, label, entry);
    let beat = watcher.get("at").and_then(Value::as_i64);
    if let Some(ping) = entry.time("lastPing").max(beat) {
        view.insert("lastPing".to_owned(), json!(time::iso(ping)));
    }
    view.insert("watcher".to_owned(), watcher);
    view
}

/// What the session itself shows; `None` where there is nobody to ask. A gateway is asked only about what may still change.
fn observe(home: &Home, label: &str, entry: &Entry) -> Option<io::Result<Evidence>> {
    let run = RunRef::of_entry(label, entry)?;
    let name = BackendName::of_entry(entry)?;
    if name == BackendName::Openclaw && entry.status() != Status::Running {
        return None;
    }
    let observed = backend_of(home, name)
        .map_err(io::Error::other)
        .and_then(|backend| backend.observe(&run));
    Some(observed)
}

fn liveness(
    home: &Home,
    label: &str,
    entry: &Entry,
    observed: Option<io::Result<Evidence>>,
) -> Value {
    let Some(run) = RunRef::of_entry(label, entry) else {
        return match entry.text("sessionKey") {
            Some(_) => json!({"error": "another tool started this session"}),
            None => Value::Null,
        };
    };
    let Some(observed) = observed else {
        return Value::Null;
    };
    match observed {
        Ok(evidence) => json!({
            "updatedAt": evidence.last_activity_ms,
            "ageMs": evidence.last_activity_ms.map(|at| (home.now_ms() - at).max(0)),
            "sessionId": Some(&run.session_id).filter(|id| !id.is_empty()),
            "alive": evidence.liveness == Liveness::Alive,
            "settled": evidence.settled.is_some(),
            "model": entry.value("model").cloned().unwrap_or_default(),
            "tokens": null,
        }),
        Err(e) => json!({"error": e.to_string()}),
    }
}

/// Whether somebody watches, and what it says of itself.
fn watcher(home: &Home, label: &str, entry: &Entry) -> Value {
    let post = Post::of(home, label, entry.generation());
    let alive = post.is_held();
    let mut view = match post.heartbeat(home) {
        Some(beat) => serde_json::to_value(beat).unwrap_or_default(),
        None if !alive => return Value::Null,
        None => json!({}),
    };
    view["alive"] = json!(alive);
    view
}

fn print(
    home: &Home,
    output: Output,
    label: &str,
    entry: &Entry,
    view: &Map<String, Value>,
) -> Result<()> {
    let now = home.now_ms();
    let ago = |ms: Option<i64>| ms.map_or_else(String::new, |at| format_ago(now - at));
    let status = entry.status();
    let mut facts = vec![("label", label.to_owned())];
    facts.push(("status", views::status_text(entry)));
    if let Some(failure) = entry.failure() {
        facts.push(("failure", format!("{}: {}", failure.kind, failure.message)));
    }
    facts.push(("started", ago(entry.time("spawnedAt"))));
    match (entry.time("spawnedAt"), entry.time("endedAt")) {
        (Some(start), Some(end)) => facts.push(("took", format_duration(end - start))),
        _ => facts.push(("updated", ago(entry.time("updatedAt")))),
    }
    facts.push((
        "backend",
        entry.text("backend").unwrap_or("openclaw").to_owned(),
    ));
    facts.push((
        "session",
        entry.text("sessionKey").unwrap_or_default().to_owned(),
    ));
    let watcher = view.get("watcher").unwrap_or(&Value::Null);
    let alive = watcher.get("alive") == Some(&Value::Bool(true));
    let reason = watcher
        .get("reason")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if status == Status::Running {
        facts.push((
            "watcher",
            match alive {
                true => format!("alive: {reason}"),
                false => "dead; '529-recovery' starts a new one".to_owned(),
            },
        ));
    }
    let outbox = views::outbox_line(entry);
    if !outbox.is_empty() {
        facts.push(("delivery", outbox));
    }
    for delivery in views::open_deliveries(entry) {
        facts.push(("", views::open_delivery_line(&delivery, now)));
    }
    if let Some(summary) = entry.text("summary") {
        facts.push(("summary", summary.chars().take(200).collect()));
    }
    if let Some(path) = crate::watch::artifact_path(entry, "artifact") {
        facts.push(("full text", path.display().to_string()));
    }
    facts.retain(|(_, value)| !value.is_empty());
    output.facts(&facts)?;
    Ok(())
}
