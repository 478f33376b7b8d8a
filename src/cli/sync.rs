//! `dispatch sync`: the ledger reconciled with the sessions that there are.
//!
//! Running labels that nobody watches are resolved as their watcher would; those that go on get one. Sub-agent sessions
//! that no label names are entered as interrupted, so that they can be found and gone on with.

use anyhow::Result;
use serde_json::{Value, json};

use super::args::SyncArgs;
use super::exit::{FAILURE, OK};
use super::output::Output;
use crate::backend::openclaw::{Listed, OpenclawBackend, list_sessions, stored_sessions};
use crate::backend::{BackendName, RunRef, backend_of};
use crate::gateway;
use crate::home::Home;
use crate::ledger::{Archive, Book, Ledger, Patience};
use crate::record::{Entry, Generation, Label, Status, file_stem_of};
use crate::session::key::{SessionKey, same_key};
use crate::session::store::SessionRow;
use crate::shell;
use crate::watch::{Way, resolve};
use crate::watchers::{Post, ensure_watcher};

/// One thing that was found.
struct Detail {
    label: String,
    session_key: Option<String>,
    action: &'static str,
    from: Option<String>,
    to: Option<String>,
    reason: String,
}

impl Detail {
    /// The ledger is another for it.
    fn is_change(&self) -> bool {
        matches!(self.action, "resolved" | "imported")
    }

    fn value(&self) -> Value {
        json!({
            "label": self.label,
            "sessionKey": self.session_key,
            "action": self.action,
            "from": self.from,
            "to": self.to,
            "reason": self.reason,
        })
    }
}

/// Runs the command. What could not be looked at, because a gateway does not answer, makes it a failure: it may not agree.
///
/// # Errors
/// When the ledger or the archive cannot be read or written.
pub fn run(home: &Home, output: Output, args: &SyncArgs) -> Result<u8> {
    let ledger = Ledger::new(home);
    let book = ledger.read()?;
    let way = match args.dry_run {
        true => Way::Look,
        false => Way::Act,
    };
    let mut details = Vec::new();
    for (label, entry) in book.entries_containing("\"running\"") {
        if entry.status() == Status::Running {
            details.extend(reconcile(home, label, &entry, way)?);
        }
    }
    let mut is_whole = true;
    if !args.no_import && gateway::configured(&home.paths, &home.environment).is_some() {
        let listed = OpenclawBackend::new(home)
            .and_then(|backend| backend.connect())
            .and_then(|mut client| list_sessions(&mut client));
        match listed {
            Ok((sessions, is_all)) => {
                if !is_all {
                    home.say(
                        "the gateway has more sessions than it listed; the others are left alone",
                    );
                }
                details.extend(import(home, &ledger, &sessions, way)?);
            }
            Err(e) => match stored(home)? {
                Some(sessions) => {
                    home.say(&format!(
                        "the gateway's sessions are taken from its files, because it was not to be asked: {e}"
                    ));
                    details.extend(import(home, &ledger, &sessions, way)?);
                }
                None => {
                    home.say(&format!(
                        "the gateway's sessions were neither checked nor imported: {e}"
                    ));
                    is_whole = false;
                }
            },
        }
    }
    // A running label of which nobody could tell may have ended.
    is_whole &= details.iter().all(|detail| detail.action != "unknown");
    print(home, output, args, &details, is_whole)?;
    Ok(if is_whole { OK } else { FAILURE })
}

/// The sessions in the files of a gateway on this machine, where it keeps them so.
fn stored(home: &Home) -> Result<Option<Vec<Listed>>> {
    let paths = &home.paths;
    match gateway::configured(paths, &home.environment) {
        Some(gateway::Configured::ByFile(_)) => Ok(stored_sessions(&paths.openclaw_state)?),
        // It may be another machine's.
        Some(gateway::Configured::ByUrl) | None => Ok(None),
    }
}

/// What is found of a running label, if it is worth a line.
fn reconcile(home: &Home, label: &str, entry: &Entry, way: Way) -> Result<Option<Detail>> {
    if Post::of(home, label, entry.generation()).is_held() {
        return Ok(None);
    }
    let detail = |action, to: Option<&Status>, reason: String| {
        Some(Detail {
            label: label.to_owned(),
            session_key: entry.text("sessionKey").map(str::to_owned),
            action,
            from: Some(entry.status().to_string()),
            to: to.map(Status::to_string),
            reason,
        })
    };
    let (Some(run), Some(name)) = (RunRef::of_entry(label, entry), BackendName::of_entry(entry))
    else {
        let reason = format!(
            "another tool started it and watches it; take it over by: dispatch watcher-handoff {}",
            shell::label(label)
        );
        return Ok(detail("skipped", None, reason));
    };
    let observed = backend_of(home, name)
        .map_err(std::io::Error::other)
        .and_then(|backend| backend.observe(&run));
    let evidence = match observed {
        Ok(evidence) => evidence,
        Err(e) => return Ok(detail("unknown", None, e.to_string())),
    };
    if let Some(change) = resolve(home, label, entry, &evidence, way)? {
        return Ok(detail("resolved", Some(&change.to), change.why));
    }
    if way == Way::Act {
        ensure_watcher(home, label, entry.generation());
    }
    Ok(detail(
        "watched",
        None,
        "it goes on and gets a watcher".to_owned(),
    ))
}

/// Enters the sub-agent sessions that no label names; one that is being worked on is somebody's at the moment.
fn import(home: &Home, ledger: &Ledger, sessions: &[Listed], way: Way) -> Result<Vec<Detail>> {
    let archived = Archive::new(home).session_keys()?;
    let unknown = |book: &Book| -> Vec<(SessionKey, &SessionRow)> {
        let known: Vec<String> = book
            .entries()
            .filter_map(|(_, entry)| entry.text("sessionKey").map(str::to_owned))
            .collect();
        let is_known = |key: &str| known.iter().chain(&archived).any(|k| same_key(k, key));
        let idle = sessions.iter().filter(|listed| !listed.is_active);
        idle.filter_map(|listed| {
            let key = SessionKey::parse(&listed.key).ok()?;
            (key.is_subagent() && !is_known(key.as_str())).then_some((key, &listed.row))
        })
        .collect()
    };
    let detail = |label: &str, key: &SessionKey| Detail {
        label: label.to_owned(),
        session_key: Some(key.as_str().to_owned()),
        action: "imported",
        from: None,
        to: Some(Status::Interrupted.to_string()),
        reason: "no label names the session".to_owned(),
    };
    if unknown(&ledger.read()?).is_empty() {
        return Ok(Vec::new());
    }
    if way == Way::Look {
        let mut book = ledger.read()?;
        return Ok(enter(&mut book, &unknown, &detail));
    }
    Ok(ledger.update(Patience::Command, |book| enter(book, &unknown, &detail))?)
}

fn enter<'a>(
    book: &mut Book,
    unknown: &impl Fn(&Book) -> Vec<(SessionKey, &'a SessionRow)>,
    detail: &impl Fn(&str, &SessionKey) -> Detail,
) -> Vec<Detail> {
    let mut details = Vec::new();
    for (key, row) in unknown(book) {
        let label = free_label(book, &key, row);
        let entry = imported(&key, row, book.now_ms());
        book.put(&label, entry);
        details.push(detail(&label, &key));
    }
    details
}

/// The session's own label where it is one of ours and free, else one that its key makes.
fn free_label(book: &Book, key: &SessionKey, row: &SessionRow) -> String {
    let own = row.label.as_deref().filter(|own| Label::new(own).is_ok());
    if let Some(own) = own.filter(|own| !book.contains(own)) {
        return own.to_owned();
    }
    let id = key.rest().rsplit(':').next().unwrap_or_default();
    let short: String = id.chars().take(8).collect();
    let base = file_stem_of(&format!("{}-{short}", key.agent_id()));
    let mut label = base.clone();
    let mut number = 2;
    while book.contains(&label) {
        label = format!("{base}-{number}");
        number += 1;
    }
    label
}

fn imported(key: &SessionKey, row: &SessionRow, now_ms: i64) -> Entry {
    let mut entry = Entry::new();
    entry.set("sessionKey", key.as_str());
    entry.set("agent", key.agent_id());
    entry.set("mode", "reuse");
    entry.set("model", row.model.clone());
    entry.set("deliveryMode", "none");
    let begun = row.started_at_ms.or(row.updated_at_ms).unwrap_or(now_ms);
    entry.set_time("spawnedAt", begun);
    entry.set_status(&Status::Interrupted);
    entry.set_time("endedAt", row.ended_at_ms.unwrap_or(now_ms));
    entry.set("summary", "imported: no label named this session");
    entry.set("error", Value::Null);
    entry.set_generation(Generation::next(None, now_ms));
    entry.set("attempt", 1);
    entry.set("backend", BackendName::Openclaw.as_str());
    entry.set("stale", true);
    entry
}

fn print(
    home: &Home,
    output: Output,
    args: &SyncArgs,
    details: &[Detail],
    is_whole: bool,
) -> Result<()> {
    let changes = details.iter().filter(|detail| detail.is_change()).count();
    if output.is_json() {
        let list: Vec<Value> = details.iter().map(Detail::value).collect();
        output.json(&json!({
            "ok": is_whole,
            "dryRun": args.dry_run,
            "changes": changes,
            "details": list,
        }))?;
        return Ok(());
    }
    if !details.is_empty() {
        let mut table = output.table(&["LABEL", "WHAT", "NOW", "WHY"]);
        for detail in details {
            let cell = |text: &str| comfy_table::Cell::new(output.cell_text(text));
            table.add_row(vec![
                output.label_cell(&detail.label),
                cell(detail.action),
                cell(detail.to.as_deref().unwrap_or_default()),
                cell(&detail.reason),
            ]);
        }
        output.print_table(&table)?;
    }
    let tense = match args.dry_run {
        true => "would be changed",
        false => "changed",
    };
    home.say(&format!("{changes} {tense}"));
    Ok(())
}
