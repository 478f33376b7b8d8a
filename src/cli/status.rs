//! `dispatch status`: where a label stands, from ledger, watcher and session.
//!
//! It reads only, but for one case: a running label that nobody watches and whose run is over is resolved as its watcher
//! would do it, while the watcher's post is free.

use std::io;
use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Local, Utc};
use serde_json::{Map, Value, json};

use super::args::LabelArgs;
use super::exit::OK;
use super::output::Output;
use super::{labels, views};
use crate::backend::local::LocalBackend;
use crate::backend::openclaw::OpenclawBackend;
use crate::backend::{Backend, BackendName, Evidence, Liveness, RunRef, Settled};
use crate::duration::{format_ago, format_duration};
use crate::home::Home;
use crate::ledger::{Archive, Book, Ledger};
use crate::process::FileLock;
use crate::record::{Entry, FailureKind, Generation, Status, time};
use crate::shell;
use crate::watch::{Way, resolve};
use crate::watchers::{Heartbeat, Post};

/// How long a gateway may take to let us in; the ledger tells the most of it without.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the command.
///
/// # Errors
/// When the ledger cannot be read.
pub fn run(home: &Home, output: Output, args: &LabelArgs) -> Result<u8> {
    let label = args.label.as_str();
    let ledger = Ledger::new(home);
    let Some(entry) = ledger.entry(label)? else {
        return absent(home, output, &ledger.read()?, label);
    };
    let observed = observe(home, label, &entry);
    let change = match &observed {
        Some(Ok(evidence)) if is_unwatched(home, label, &entry) => {
            resolve(home, label, &entry, evidence, Way::Act)?
        }
        _ => None,
    };
    let entry = match &change {
        Some(_) => ledger.entry(label)?.unwrap_or(entry),
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

/// Says that the ledger has no such label, and whether the archive has.
fn absent(home: &Home, output: Output, book: &Book, label: &str) -> Result<u8> {
    labels::check_readable(book, label)?;
    let archived = Archive::new(home).latest(label)?;
    let message = match &archived {
        Some(entry) => labels::archived(home, label, entry),
        None => labels::unknown(book, label),
    };
    let mut answer = json!({"ok": true, "label": label, "found": false, "message": message});
    if let Some(entry) = &archived {
        answer["archived"] = json!({
            "status": entry.status().as_str(),
            "generation": entry.generation(),
            "endedAt": entry.value("endedAt"),
        });
    }
    match output.is_json() {
        true => output.json(&answer)?,
        false => output.untrusted(&message)?,
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
        "authProfile",
        "fallbackModel",
        "fallbackAuthProfile",
        "fallbackUse",
        "retryAt",
        "retryCount",
        "lastRetryAt",
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
    view.insert("summary".to_owned(), views::summary(entry));
    view.insert(
        "gatewayTimeoutSeconds".to_owned(),
        json!(entry.number("gatewayTimeoutSeconds")),
    );
    view.insert("delivery".to_owned(), views::delivery_surface(entry));
    view.insert(
        "artifactPath".to_owned(),
        json!(crate::watch::artifact_path(home, entry, "artifact")),
    );
    view.insert(
        "liveness".to_owned(),
        liveness(home, label, entry, observed),
    );
    views::add_survivors(home, label, entry, &mut view);
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
    Some(match name {
        BackendName::Local => LocalBackend::new(home).observe(&run),
        BackendName::Openclaw => OpenclawBackend::new(home)
            .map_err(io::Error::other)
            .and_then(|backend| backend.within(GATEWAY_PATIENCE).observe(&run)),
    })
}

fn liveness(
    home: &Home,
    label: &str,
    entry: &Entry,
    observed: Option<io::Result<Evidence>>,
) -> Value {
    let Some(run) = RunRef::of_entry(label, entry) else {
        return match entry.text("sessionKey") {
            Some(_) => match BackendName::of_entry(entry) {
                Some(_) => json!({"error": "the entry names no run of its session"}),
                None => json!({"error": "another tool started this session"}),
            },
            None => Value::Null,
        };
    };
    let Some(observed) = observed else {
        return Value::Null;
    };
    match observed {
        // That nothing is left of a run says nothing of how it went.
        Ok(evidence) if evidence.liveness == Liveness::Absent && entry.status().is_ended() => {
            json!({"error": "nothing of the run is stored any more"})
        }
        Ok(evidence) => json!({
            "updatedAt": evidence.last_activity_ms,
            "ageMs": evidence.last_activity_ms.map(|at| (home.now_ms() - at).max(0)),
            "sessionId": Some(&run.session_id).filter(|id| !id.is_empty()),
            "status": session_status(&evidence),
            "alive": evidence.liveness == Liveness::Alive,
            "settled": evidence.settled.is_some(),
            "model": entry.value("model").cloned().unwrap_or_default(),
            "tokens": null,
        }),
        Err(e) => json!({"error": e.to_string()}),
    }
}

/// What became of the session, in the words of session stores; `None` where that is not known.
fn session_status(evidence: &Evidence) -> Option<&'static str> {
    match &evidence.settled {
        Some(Settled::Reply { .. }) => Some("done"),
        Some(Settled::Failed {
            cancelled: true, ..
        }) => Some("killed"),
        Some(Settled::Failed { failure, .. }) if failure.kind == FailureKind::Timeout => {
            Some("timeout")
        }
        Some(Settled::Failed { .. }) => Some("failed"),
        None => (evidence.is_known && evidence.liveness == Liveness::Alive).then_some("running"),
    }
}

/// Whether somebody watches, and what it says of itself.
fn watcher(home: &Home, label: &str, entry: &Entry) -> Value {
    let post = Post::of(home, label, entry.generation());
    let alive = post.is_held();
    let holder = FileLock::holder(&post.lock_path()).filter(|_| alive);
    // What an earlier watcher said last says nothing of the one that has taken its place.
    let is_its_own = |beat: &Heartbeat| holder.as_ref().is_none_or(|h| h.process == beat.process);
    let beat = post.heartbeat(home).filter(is_its_own);
    let mut view = match (&beat, &holder) {
        (Some(beat), _) => serde_json::to_value(beat).unwrap_or_default(),
        (None, Some(holder)) => serde_json::to_value(&holder.process).unwrap_or_default(),
        (None, None) if alive => json!({}),
        (None, None) => return Value::Null,
    };
    if let Some(view) = view.as_object_mut() {
        // For programs that judge a watcher; they mean nothing to people.
        view.shift_remove("awakeAt");
        view.shift_remove("prints");
    }
    view["alive"] = json!(alive);
    let now_ms = home.now_ms();
    let next = beat
        .filter(|_| alive)
        .and_then(|beat| beat.next_act(now_ms));
    view["nextAt"] = json!(next);
    view["nextInMs"] = json!(next.map(|at| at.saturating_sub(now_ms)));
    view
}

/// A time of these hours as the clock on the wall shows it.
fn local_clock(ms: i64) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default();
    time.with_timezone(&Local).format("%H:%M:%S").to_string()
}

/// A living watcher's state, its reason and when it acts next, in a line.
fn saying(watcher: &Value) -> String {
    let text = |name: &str| watcher.get(name).and_then(Value::as_str);
    let Some(state) = text("state") else {
        return "it has just begun".to_owned();
    };
    let next = watcher.get("nextAt").and_then(Value::as_i64);
    let left = watcher.get("nextInMs").and_then(Value::as_i64);
    let next = match (next, left) {
        (Some(at), Some(left)) if left >= 0 => format!(
            "; goes on at {} (in {})",
            local_clock(at),
            format_duration(left)
        ),
        (Some(at), Some(left)) => format!(
            "; it was to go on at {} ({})",
            local_clock(at),
            format_ago(-left)
        ),
        _ => String::new(),
    };
    format!("{state}: {}{next}", text("reason").unwrap_or_default())
}

/// That a command outlived its generation, and how to stop it.
fn lives_on(label: &str, survivor: &Value, now_ms: i64) -> String {
    let number = |name: &str| survivor.get(name).and_then(Value::as_u64);
    let since = survivor.get("since").and_then(time::parse);
    let since = since.map_or_else(String::new, |at| {
        format!(", which was {}", format_ago(now_ms - at))
    });
    let group = number("pid").unwrap_or(0);
    match number("generation").map(Generation::new) {
        None => format!(
            "lives on after its label's end{since} (process group {group}); to stop it: dispatch cancel {}",
            shell::label(label)
        ),
        Some(older) => format!(
            "that of generation {older} lives on after its end{since} (process group {group}); to stop it: {}",
            super::cancel::words(label, older)
        ),
    }
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
        // Of a running label it is how an earlier attempt ended.
        let whose = match status {
            Status::Running => "failed before",
            _ => "failure",
        };
        facts.push((whose, format!("{}: {}", failure.kind, failure.message)));
    }
    if entry.attempt() > 1 {
        let selection = entry.selection();
        let with = match entry.fallback_use() {
            Some(used) if used.attempt == entry.attempt() => format!(" (the fallback {selection})"),
            _ => String::new(),
        };
        facts.push(("attempt", format!("{}{with}", entry.attempt())));
    }
    if let Some(at) = entry.time("retryAt") {
        let left = at.saturating_sub(home.now_ms());
        let when = match left > 0 {
            true => format!("in {}", format_duration(left)),
            false => "due".to_owned(),
        };
        facts.push(("retry", when));
    }
    if let Some(survivor) = view.get("commandAtWork") {
        facts.push(("command", lives_on(label, survivor, now)));
    }
    let older = view.get("olderCommandsAtWork").and_then(Value::as_array);
    for survivor in older.into_iter().flatten() {
        facts.push(("command", lives_on(label, survivor, now)));
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
        "runtime",
        entry.text("runtime").unwrap_or_default().to_owned(),
    ));
    facts.push((
        "session",
        entry.text("sessionKey").unwrap_or_default().to_owned(),
    ));
    let watcher = view.get("watcher").unwrap_or(&Value::Null);
    let alive = watcher.get("alive") == Some(&Value::Bool(true));
    if status == Status::Running || alive {
        facts.push((
            "watcher",
            match alive {
                true => format!("alive: {}", saying(watcher)),
                // Nobody but that tool starts one for it.
                false if BackendName::of_entry(entry).is_none() => format!(
                    "another tool's; take the label over by: dispatch watcher-handoff {}",
                    shell::label(label)
                ),
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
    if let Some(path) = crate::watch::artifact_path(home, entry, "artifact") {
        facts.push(("full text", path.display().to_string()));
    }
    facts.retain(|(_, value)| !value.is_empty());
    output.facts(&facts)?;
    Ok(())
}
