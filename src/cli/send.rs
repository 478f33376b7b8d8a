//! `dispatch send` (`steer`): a message into a running session.
//!
//! It is recorded before it goes out, so that the watcher follows the run that it begins; a refusal takes the record back.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use uuid::Uuid;

use super::args::SendArgs;
use super::exit::{FAILURE, OK, failure, usage};
use super::output::Output;
use super::{labels, prompt, views, wait};
use crate::backend::openclaw::{self, Fate, OpenclawBackend};
use crate::backend::{Backend, BackendName, RunRef, Settled, Text};
use crate::gateway::{Client, GatewayError};
use crate::home::Home;
use crate::ledger::{Book, Ledger, Patience};
use crate::paths::Environment;
use crate::record::{Baseline, Entry, Status, Steer, file_stem_of};
use crate::session::key::{SessionKey, same_key};
use crate::shell;
use crate::storage::{create_dir_synced, parent_of, replace_synced};
use crate::wake::{SAFETY_POLL, Wake};
use crate::watch::requests::{self, Unsent};
use crate::watchers::ensure_watcher;

/// How long the message's line is looked for before the answer says that it is pending.
const FATE_PATIENCE: Duration = Duration::from_secs(3);

/// Runs the command.
///
/// # Errors
/// Usage errors; an unknown label or session, one that is not running, one whose backend takes no messages; the gateway's
/// refusal.
pub fn run(home: &Home, output: Output, args: &SendArgs, env: Environment<'_>) -> Result<u8> {
    let ledger = Ledger::new(home);
    let target = target(home, &ledger.read()?, args)?;
    let message = message(home, args, env)?;
    let mut client = OpenclawBackend::new(home)?.connect()?;
    let key = target.session_key.as_str();
    let Some((found_started_at, was_active)) = openclaw::find_session(&mut client, key)? else {
        return Err(failure(format!("the gateway has no session {key}")));
    };
    let run_id = Uuid::new_v4().to_string();
    let mut steer = Steer::new(&run_id, &message, args.interrupt, home.now_ms());
    steer.found_started_at = found_started_at;
    let baseline = match (&target.label, args.wait) {
        (None, true) => openclaw::take_baseline(&mut client, key)?,
        _ => Baseline::default(),
    };
    if let Some(label) = &target.label {
        keep_whole(home, label, &mut steer, &message)?;
        record(&ledger, label, &steer)?;
        let generation = target.entry.generation();
        ensure_watcher(home, label, generation);
    }
    let fate = send(
        home,
        &ledger,
        &mut client,
        &target,
        &message,
        &steer,
        was_active,
    )?;
    drop(client);
    let mut answer = json!({
        "ok": true,
        "label": target.label,
        "sessionKey": key,
        "runId": run_id,
        "status": "sent",
        "outcome": fate.as_str(),
        "message": sentence(fate),
    });
    if !args.wait {
        return print(output, &answer, OK);
    }
    let (fields, code) = match &target.label {
        Some(label) => await_label(home, &ledger, label)?,
        None => await_session(home, &target.session_key, &run_id, baseline, steer)?,
    };
    if let (Value::Object(answer), Value::Object(fields)) = (&mut answer, fields) {
        answer.extend(fields);
    }
    print(output, &answer, code)
}

/// Keeps the message in a file beside the label's prompt: another attempt at the work is told it again.
fn keep_whole(home: &Home, label: &str, steer: &mut Steer, message: &str) -> Result<()> {
    let path = home
        .paths
        .prompts()
        .join(file_stem_of(label))
        .join(format!("{}.txt", steer.run_id));
    let storage = home.storage.as_ref();
    create_dir_synced(storage, parent_of(&path))
        .and_then(|()| replace_synced(storage, &path, message.as_bytes()))
        .with_context(|| format!("cannot write the message {}", path.display()))?;
    steer.prompt_path = Some(path.to_string_lossy().into_owned());
    Ok(())
}

/// Whom the message goes to.
struct Target {
    /// The running label, where the session is one's.
    label: Option<String>,
    entry: Entry,
    session_key: String,
}

fn target(home: &Home, book: &Book, args: &SendArgs) -> Result<Target> {
    let (label, entry) = match (&args.label, &args.session_key) {
        (Some(label), _) => (Some(label.clone()), labels::find(home, book, label)?),
        (None, Some(key)) => {
            SessionKey::parse(key).map_err(|e| usage(format!("--session-key: {e}")))?;
            match running_in(book, key) {
                Some((label, entry)) => (Some(label), entry),
                None => {
                    return Ok(Target {
                        label: None,
                        entry: Entry::new(),
                        session_key: key.clone(),
                    });
                }
            }
        }
        (None, None) => return Err(usage("give --label or --session-key")),
    };
    let name = label.as_deref().unwrap_or_default();
    if entry.status() != Status::Running {
        return Err(failure(not_running(name, &entry)));
    }
    match BackendName::of_entry(&entry) {
        Some(BackendName::Openclaw) => {}
        Some(BackendName::Local) => {
            return Err(failure(format!(
                "label \"{name}\" runs on the local backend, whose commands take no further messages; wait for it, or cancel it"
            )));
        }
        None => {
            return Err(failure(format!(
                "label \"{name}\" was started by another tool; send into its session with --session-key"
            )));
        }
    }
    let session_key = entry.text("sessionKey").unwrap_or_default().to_owned();
    Ok(Target {
        label,
        entry,
        session_key,
    })
}

/// The label whose run is at work in the session.
fn running_in(book: &Book, key: &str) -> Option<(String, Entry)> {
    let mut running = book.entries_containing("\"running\"");
    let (label, entry) = running.find(|(_, entry)| {
        let is_same = entry.text("sessionKey").is_some_and(|k| same_key(k, key));
        entry.status() == Status::Running && is_same && BackendName::of_entry(entry).is_some()
    })?;
    Some((label.to_owned(), entry))
}

fn not_running(label: &str, entry: &Entry) -> String {
    format!(
        "label \"{label}\" is not running: it is {}; go on with its session by: dispatch enqueue {} --mode reuse",
        entry.status(),
        shell::label(label)
    )
}

fn message(home: &Home, args: &SendArgs, env: Environment<'_>) -> Result<String> {
    let Some(prompt) = prompt::read_prompt(home, &args.prompt, env)? else {
        return Err(usage(
            "a message is needed: give --message, --message-file, --message-env, --message-stdin, or pipe it in",
        ));
    };
    String::from_utf8(prompt).map_err(|_| usage("the message is not UTF-8, which a gateway needs"))
}

/// Records the message, if the label still runs and its end is not being recorded.
fn record(ledger: &Ledger, label: &str, steer: &Steer) -> Result<()> {
    let refused = ledger.update(Patience::Command, |book| {
        let Some(mut entry) = book.get(label) else {
            return Some(format!("label \"{label}\" has just left the ledger"));
        };
        let why = match requests::steer(&mut entry, steer) {
            Ok(()) => {
                book.put(label, entry);
                return None;
            }
            Err(why) => why,
        };
        Some(match why {
            Unsent::NotRunning(_) => not_running(label, &entry),
            Unsent::Cancelling => format!("label \"{label}\" is being cancelled"),
            Unsent::Waiting => format!(
                "label \"{label}\" waits for its retry (at {}); send the message when that runs, or cancel the label",
                entry.text("retryAt").unwrap_or("an unknown time")
            ),
            Unsent::Verifying => {
                format!("label \"{label}\" has its result, which is being verified")
            }
        })
    })?;
    match refused {
        Some(why) => Err(failure(why)),
        None => Ok(()),
    }
}

/// Sends it and looks for a moment what became of it.
fn send(
    home: &Home,
    ledger: &Ledger,
    client: &mut Client,
    target: &Target,
    message: &str,
    steer: &Steer,
    was_active: bool,
) -> Result<Fate> {
    let key = target.session_key.as_str();
    match openclaw::steer(client, key, message, steer) {
        Ok(true) => return Ok(Fate::Interrupted),
        Ok(false) => {}
        Err(e @ GatewayError::Refused { .. }) => {
            if let Some(label) = &target.label {
                take_back(ledger, label, steer)?;
                let generation = target.entry.generation();
                ensure_watcher(home, label, generation);
            }
            return Err(failure(e.to_string()));
        }
        Err(e) => {
            home.say(&format!(
                "{e}; whether the message arrived is not known yet"
            ));
            return Ok(Fate::Pending);
        }
    }
    match openclaw::fate_of(client, key, steer, was_active, FATE_PATIENCE) {
        Ok(fate) => Ok(fate),
        Err(e) => {
            home.say(&e.to_string());
            Ok(Fate::Pending)
        }
    }
}

pub(super) fn take_back(ledger: &Ledger, label: &str, steer: &Steer) -> Result<()> {
    ledger.update(Patience::Command, |book| {
        if let Some(mut entry) = book.get(label) {
            entry.remove_steer(&steer.run_id);
            book.put(label, entry);
        }
    })?;
    Ok(())
}

fn sentence(fate: Fate) -> &'static str {
    match fate {
        Fate::Interrupted => "The running turn was stopped; the agent goes on with the message.",
        Fate::Injected => "The message joined the running turn.",
        Fate::Queued => "The message waits for the end of the running turn.",
        Fate::Started => "Nothing was running; the message began a turn.",
        Fate::Pending => "The gateway has taken the message; the session does not show it yet.",
    }
}

fn await_label(home: &Home, ledger: &Ledger, label: &str) -> Result<(Value, u8)> {
    let watchers = wait::Watchers::Unknown;
    let waited = wait::until_ended(home, &[label.to_owned()], wait::Until::All, watchers, None)?;
    let entry = ledger.entry(label)?.unwrap_or_default();
    let mut fields = views::result_fields(home, label, &entry);
    fields.insert("ok".to_owned(), json!(waited.code() == OK));
    fields.insert(
        "message".to_owned(),
        json!(format!("The session has ended: {}.", entry.status())),
    );
    Ok((Value::Object(fields), waited.code()))
}

/// Follows a message into a session that is no label's, to the end of what it began.
fn await_session(
    home: &Home,
    session_key: &str,
    run_id: &str,
    baseline: Baseline,
    steer: Steer,
) -> Result<(Value, u8)> {
    let run = RunRef {
        run_id: run_id.to_owned(),
        session_key: session_key.to_owned(),
        baseline,
        since_ms: steer.at,
        steers: vec![steer],
        ..RunRef::default()
    };
    let backend = OpenclawBackend::new(home)?;
    let mut wake = Wake::new();
    backend.attach(&run, wake.waker());
    let settled = loop {
        match backend.observe(&run) {
            Ok(evidence) => match evidence.settled {
                Some(settled) => break settled,
                None => wake.wait(SAFETY_POLL),
            },
            // The connection comes back by itself.
            Err(_) => wake.wait(SAFETY_POLL),
        };
    };
    let text = |text: Text| match text {
        Text::Inline(text) => text,
        Text::File { .. } => String::new(),
    };
    Ok(match settled {
        Settled::Reply { text: reply, .. } => (
            json!({"status": "done", "lastReply": text(reply), "message": "The session has answered."}),
            OK,
        ),
        Settled::Failed {
            failure, partial, ..
        } => (
            json!({"ok": false, "status": "error", "failure": failure, "error": failure.message,
                "lastReply": text(partial), "message": "The session has failed."}),
            FAILURE,
        ),
    })
}

fn print(output: Output, answer: &Value, code: u8) -> Result<u8> {
    if output.is_json() {
        output.json(answer)?;
        return Ok(code);
    }
    let text = |name: &str| match answer.get(name) {
        Some(Value::String(text)) => text.clone(),
        _ => String::new(),
    };
    let mut facts = vec![
        ("label", text("label")),
        ("session", text("sessionKey")),
        ("outcome", text("outcome")),
        ("", text("message")),
        ("reply", text("lastReply")),
    ];
    facts.retain(|(_, value)| !value.is_empty());
    output.facts(&facts)?;
    Ok(code)
}
