//! `dispatch heartbeat`: is a session alive, by when it was last updated. Reads only.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::HeartbeatArgs;
use super::exit::{OK, failure, usage};
use super::labels;
use super::output::Output;
use crate::backend::local::{LocalBackend, Survivor};
use crate::backend::openclaw::{OpenclawBackend, session_row};
use crate::backend::{BackendName, Liveness, RunRef, backend_of};
use crate::duration::format_ago;
use crate::gateway;
use crate::home::Home;
use crate::ledger::{Book, Ledger};
use crate::record::{Entry, time};
use crate::session::key::{SessionKey, same_key};
use crate::session::store::{SessionRow, SessionStatus};

/// A session that was updated within this is alive.
const ALIVE_WITHIN: Duration = Duration::from_secs(600);

/// The session that is asked about.
struct Asked {
    /// The label whose session it is, if it is one's.
    label: Option<String>,
    entry: Option<Entry>,
    session_key: String,
    backend: BackendName,
}

/// Runs the command. That there is no such session is an answer, too: it is not alive.
///
/// # Errors
/// Usage errors; an unknown label; a session that another tool started; a gateway that cannot be asked.
pub fn run(home: &Home, output: Output, args: &HeartbeatArgs) -> Result<u8> {
    let asked = asked(home, &Ledger::new(home).read()?, args)?;
    let row = row(home, &asked)?;
    let observed = match &asked.entry {
        Some(entry) if asked.backend == BackendName::Local => observed(home, &asked, entry)?,
        _ => None,
    };
    let Some(row) = row.or_else(|| observed.map(|_| SessionRow::default())) else {
        let message = format!("there is no session {}", asked.session_key);
        if !output.is_json() {
            output.untrusted(&message)?;
            return Ok(OK);
        }
        output.json(&json!({
            "ok": false,
            "label": asked.label,
            "sessionKey": asked.session_key,
            "alive": false,
            "ageMs": null,
            "updatedAt": null,
            "sessionId": null,
            "model": null,
            "message": message,
        }))?;
        return Ok(OK);
    };
    let active_at = observed.and_then(|(active_at, _)| active_at);
    let updated_at = row.updated_at_ms.max(active_at);
    let age_ms = updated_at.map(|at| home.now_ms().saturating_sub(at).max(0));
    let alive = is_alive(age_ms) && !is_over(home, &asked, &row);
    if output.is_json() {
        output.json(&json!({
            "ok": true,
            "label": asked.label,
            "sessionKey": asked.session_key,
            "backend": asked.backend.as_str(),
            "alive": alive,
            "ageMs": age_ms,
            "updatedAt": updated_at.map(time::iso),
            "status": row.status.as_ref().map(|status| status.as_str().to_owned()),
            "sessionId": row.session_id,
            "model": row.model,
            "tokens": row.total_tokens,
            "carried": observed.map(|(_, carried)| carried),
        }))?;
        return Ok(OK);
    }
    let ago = age_ms.map_or_else(|| "never".to_owned(), format_ago);
    let facts = [
        ("label", asked.label.unwrap_or_default()),
        ("session", asked.session_key),
        ("alive", if alive { "yes" } else { "no" }.to_owned()),
        ("updated", ago),
    ];
    let facts: Vec<_> = facts
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect();
    output.facts(&facts)?;
    Ok(OK)
}

/// A local session whose label has ended, and its command with it: its last update was its end. One that another label
/// works in by now is not over.
fn is_over(home: &Home, asked: &Asked, row: &SessionRow) -> bool {
    let (Some(label), Some(entry)) = (&asked.label, &asked.entry) else {
        return false;
    };
    let run_of_row = row.extra.get("runId").and_then(Value::as_str);
    let is_anothers =
        row.status == Some(SessionStatus::Running) && run_of_row != entry.text("runId");
    asked.backend == BackendName::Local
        && entry.status().is_ended()
        && !is_anothers
        && Survivor::of(home, label, entry).is_none()
}

fn is_alive(age_ms: Option<i64>) -> bool {
    let limit = i64::try_from(ALIVE_WITHIN.as_millis()).unwrap_or(i64::MAX);
    age_ms.is_some_and(|age| age <= limit)
}

/// Which session is meant, and whose it is.
fn asked(home: &Home, book: &Book, args: &HeartbeatArgs) -> Result<Asked> {
    let found = match (&args.label, &args.session_key) {
        (Some(label), _) => Some((label.clone(), labels::find(home, book, label)?)),
        (None, Some(key)) => {
            SessionKey::parse(key).map_err(|e| usage(format!("--session-key: {e}")))?;
            newest_in(book, key)
        }
        (None, None) => return Err(usage("give --label or --session-key")),
    };
    let Some((label, entry)) = found else {
        let configured = gateway::configured(&home.paths, &home.environment).is_some();
        return Ok(Asked {
            label: None,
            entry: None,
            session_key: args.session_key.clone().unwrap_or_default(),
            backend: match configured {
                true => BackendName::Openclaw,
                false => BackendName::Local,
            },
        });
    };
    let session_key = entry
        .text("sessionKey")
        .ok_or_else(|| failure(format!("label \"{label}\" has no session")))?;
    Ok(Asked {
        session_key: session_key.to_owned(),
        // Other tools know the gateway alone.
        backend: BackendName::of_entry(&entry).unwrap_or(BackendName::Openclaw),
        label: Some(label),
        entry: Some(entry),
    })
}

/// The newest label of a session.
fn newest_in(book: &Book, key: &str) -> Option<(String, Entry)> {
    let labels = book.labels().map(str::to_owned).collect::<Vec<_>>();
    labels
        .into_iter()
        .filter_map(|label| Some((book.get(&label)?, label)))
        .filter(|(entry, _)| {
            entry
                .text("sessionKey")
                .is_some_and(|other| same_key(other, key))
        })
        .max_by_key(|(entry, _)| entry.generation())
        .map(|(entry, label)| (label, entry))
}

/// The session's row in the store of its backend.
fn row(home: &Home, asked: &Asked) -> Result<Option<SessionRow>> {
    Ok(match asked.backend {
        BackendName::Local => LocalBackend::new(home).row(&asked.session_key)?,
        BackendName::Openclaw => {
            let mut client = OpenclawBackend::new(home)?.connect()?;
            session_row(&mut client, &asked.session_key)?
        }
    })
}

/// When a local run's transcript last grew, and whether something carries the run: its row tells the start and the end alone.
fn observed(home: &Home, asked: &Asked, entry: &Entry) -> Result<Option<(Option<i64>, bool)>> {
    let label = asked.label.as_deref().unwrap_or_default();
    let Some(run) = RunRef::of_entry(label, entry) else {
        return Ok(None);
    };
    let evidence = backend_of(home, asked.backend)?.observe(&run)?;
    let seen = evidence.liveness != Liveness::Absent;
    Ok(seen.then_some((
        evidence.last_activity_ms,
        evidence.liveness == Liveness::Alive,
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alive_is_within_ten_minutes() {
        let cases = [
            (None, false),
            (Some(0), true),
            (Some(600_000), true),
            (Some(600_001), false),
        ];
        for (age_ms, alive) in cases {
            assert_eq!(is_alive(age_ms), alive, "{age_ms:?}");
        }
    }
}
