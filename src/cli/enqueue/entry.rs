//! The ledger's new entry, and what has to be on disk before it.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::plan::{Plan, delivery_mode_text, thinking_text};
use crate::backend::BackendName;
use crate::backend::local::{RunFiles, RunSpec, Survivor};
use crate::cli::args::{DeliveryModeChoice, EnqueueArgs, Mode};
use crate::cli::exit::failure;
use crate::delivery::owe;
use crate::home::Home;
use crate::ledger::{Archive, Book};
use crate::record::{
    Content, DeliveryKind, Entry, Generation, MAX_TEXT_BYTES, OlderRun, Phase, Status, clip_text,
};
use crate::storage::Staged;
use crate::watch::requests::{Planned, is_occupied, succeed};

/// The most characters of the prompt that the ledger keeps.
pub const TASK_PROMPT_CHARS: usize = 2000;

/// The time limit of a gateway's run when none is given, in seconds.
pub const GATEWAY_TIMEOUT_S: u64 = 300;

/// What the ledger made of the plan.
pub enum Entered {
    /// A new generation stands.
    New(Entry),
    /// The same call was answered before.
    Repeated(Entry),
    /// The key belongs to other work.
    KeyTaken { label: String },
    /// The label runs.
    Running(Generation),
    /// The session has been worked in since the plan was made.
    Outdated,
    /// The generation that was to be repeated is not the label's last one any more.
    Overtaken(Generation),
}

/// The prompt's file, written while others may still have the ledger's lock, or the gateway lets us in.
///
/// # Errors
/// When it cannot be written.
pub fn stage_prompt<'a>(home: &'a Home, plan: &Plan) -> Result<Option<Staged<'a>>> {
    let (Some(path), Some(prompt)) = (&plan.prompt_path, &plan.prompt) else {
        return Ok(None);
    };
    let staged = Staged::write(home.storage.as_ref(), path, prompt);
    staged.with_context(|| unwritable(path)).map(Some)
}

fn unwritable(prompt: &Path) -> String {
    format!("cannot write the prompt {}", prompt.display())
}

/// What the call's idempotency key says, where the ledger knows it.
fn answered_before(args: &EnqueueArgs, plan: &Plan, book: &Book) -> Option<Entered> {
    let key = args.idempotency_key.as_deref()?;
    // In the ledger's text some characters may stand as escapes.
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
    let needle = match key.chars().all(is_plain) {
        true => key,
        false => "idempotencyKey",
    };
    let (label, entry) = book
        .entries_containing(needle)
        .find(|(_, entry)| entry.text("idempotencyKey") == Some(key))?;
    Some(
        match entry.text("contentHash") == Some(&plan.content_hash) {
            true => Entered::Repeated(entry),
            false => Entered::KeyTaken {
                label: label.to_owned(),
            },
        },
    )
}

/// A key stays spent when its run has left the ledger: what it asked for was done.
fn check_key_is_unspent(args: &EnqueueArgs, archive: &Archive) -> Result<()> {
    let Some(key) = args.idempotency_key.as_deref() else {
        return Ok(());
    };
    match archive.label_of_key(key)? {
        None => Ok(()),
        Some(_) => Err(spent(key)),
    }
}

fn spent(key: &str) -> anyhow::Error {
    failure(format!(
        "the idempotency key {key} was used for an earlier run that has left the ledger; use a new key"
    ))
}

/// Puts the plan into the ledger, under its lock: the prompt and the run's description first. From when the prompt is in its
/// place nothing that was asked can be lost.
///
/// # Errors
/// When the archive, the prompt or the description cannot be written; the ledger then stays as it was.
pub fn enter(
    home: &Home,
    args: &EnqueueArgs,
    plan: &Plan,
    prompt: Option<&mut Staged<'_>>,
    book: &mut Book,
) -> Result<Entered> {
    if let Some(answered) = answered_before(args, plan, book) {
        return Ok(answered);
    }
    // It was to be answered when the plan was made, and is not any more.
    if !plan.is_runnable() {
        return Ok(Entered::Outdated);
    }
    let label = plan.label.as_str();
    let old = book.get(label);
    if let Some(old) = old.as_ref().filter(|old| is_occupied(Some(old))) {
        return Ok(Entered::Running(old.generation()));
    }
    if let (Some(old), Some(repeated)) = (&old, plan.repeats)
        && old.generation() != repeated
    {
        return Ok(Entered::Overtaken(old.generation()));
    }
    if Planned::over(plan.last.as_ref()).is_outdated(old.as_ref(), &plan.baseline) {
        return Ok(Entered::Outdated);
    }
    let archive = Archive::new(home);
    check_key_is_unspent(args, &archive)?;
    if let Some(old) = &old {
        archive.append(label, old)?;
    }
    let previous = old.as_ref().map(Entry::generation);
    let generation = archive.next_generation(label, previous, book.now_ms())?;
    if let (Some(prompt), Some(path)) = (prompt, &plan.prompt_path) {
        prompt.put_in_place().with_context(|| unwritable(path))?;
    }
    let mut entry = new_entry(args, plan, generation, book.now_ms());
    succeed(old.as_ref(), &mut entry);
    if let Some(old) = &old {
        let living = Survivor::all(home, label, old);
        let living: Vec<OlderRun> = living.iter().map(Survivor::to_record).collect();
        entry.set_older_runs(&living);
    }
    if args.delivery_mode == DeliveryModeChoice::AnnounceAlways {
        let content = Content {
            header: format!("🌶️ *{}* [{label}] starting...", home.brand()),
            ..Content::default()
        };
        owe(
            label,
            &mut entry,
            DeliveryKind::Starting,
            &content,
            book.now_ms(),
        );
    }
    if plan.backend == BackendName::Local {
        describe_run(home, args, plan, generation, &entry)?;
    }
    book.put(label, entry.clone());
    Ok(Entered::New(book.get(label).unwrap_or(entry)))
}

fn describe_run(
    home: &Home,
    args: &EnqueueArgs,
    plan: &Plan,
    generation: Generation,
    entry: &Entry,
) -> Result<()> {
    let files = RunFiles::of(home, &plan.run_id);
    let mut env = plan.env.clone();
    for name in ["PATH", "HOME"] {
        // A runner that is started later, from cron say, gives the command what it would have had.
        env.retain(|(given, _)| given != name);
        env.extend(variable(plan, name).map(|value| (name.to_owned(), value)));
    }
    let spec = RunSpec {
        run_id: plan.run_id.clone(),
        label: plan.label.as_str().to_owned(),
        generation: generation.get(),
        session_key: plan.session_key.clone(),
        session_id: plan.session_id.clone(),
        argv: plan.work.argv.clone(),
        runtime: plan.work.runtime.clone(),
        cwd: plan.cwd.clone(),
        env,
        prompt_path: plan.prompt_path.clone(),
        timeout_ms: args
            .timeout
            .map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
        term_grace_ms: u64::try_from(home.config.term_grace.as_millis()).unwrap_or(10_000),
        entry: entry.fields().clone(),
        model: plan.work.model.clone(),
        auth_profile: plan.auth_profile.clone(),
    };
    let storage = home.storage.as_ref();
    let unusable = || format!("cannot describe the run in {}", files.dir().display());
    // A description without an entry is what a killed enqueue left; once it was started it is an earlier run.
    if files.start(storage).with_context(unusable)?.is_some() {
        return Err(spent(&plan.run_id));
    }
    files.write_spec(storage, &spec).with_context(unusable)
}

/// What the work is given under this name: by `--env`, else by the caller's environment.
fn variable(plan: &Plan, name: &str) -> Option<String> {
    let given = plan.env.iter().rev().find(|(given, _)| given == name);
    given.map_or_else(
        || std::env::var(name).ok(),
        |(_, value)| Some(value.clone()),
    )
}

/// The entry of the plan, as it is before anything has happened.
pub fn new_entry(args: &EnqueueArgs, plan: &Plan, generation: Generation, now_ms: i64) -> Entry {
    let mut entry = Entry::new();
    entry.set("sessionKey", plan.session_key.as_str());
    entry.set("runId", plan.run_id.as_str());
    entry.set("agent", args.agent.as_str());
    entry.set(
        "mode",
        if args.mode == Mode::Reuse {
            "reuse"
        } else {
            "fresh"
        },
    );
    entry.set("model", plan.work.model.clone());
    for (field, value) in [
        ("authProfile", &plan.auth_profile),
        ("fallbackModel", &args.fallback_model),
        ("fallbackAuthProfile", &args.fallback_auth_profile),
    ] {
        if let Some(value) = value {
            entry.set(field, value.as_str());
        }
    }
    entry.set("thinking", args.thinking.map(thinking_text));
    entry.set("origin", plan.origin.clone());
    entry.set("deliverTo", plan.target.as_ref().map(|t| t.to.clone()));
    entry.set(
        "deliverChannel",
        plan.target.as_ref().map(|t| t.channel.clone()),
    );
    entry.set("deliveryMode", delivery_mode_text(args.delivery_mode));
    let is_nobody_told = plan.target.is_none() && args.no_monitor.is_some();
    entry.set("deliveryDisabled", is_nobody_told);
    let waived = args.no_monitor.as_deref();
    let waived = waived.map(|why| clip_text(why, MAX_TEXT_BYTES));
    let reason = waived.clone().filter(|why| !why.is_empty());
    entry.set("deliveryDisabledReason", reason.filter(|_| is_nobody_told));
    if let Some(requester) = &args.requester {
        entry.set("requester", requester.as_str());
    }
    if let Some(reason) = waived {
        entry.set("noMonitor", reason);
    }
    if let Some(watchdog) = &plan.watchdog {
        entry.set(
            "watchdog",
            json!({"interval": watchdog.interval, "timeoutMin": watchdog.timeout_min}),
        );
    }
    // Only what was said for this label is a limit of its own: a command that nobody gave one may be silent for ever.
    if let Some(timeout) = args.monitor_timeout {
        entry.set("monitorTimeoutMin", timeout.as_secs_f64() / 60.0);
    }
    entry.set("verifyCmd", args.verify_cmd.clone());
    // A watcher that was started by a timer finds the programs that the caller finds.
    if let Some(path) = args.verify_cmd.as_ref().and(variable(plan, "PATH")) {
        entry.set("verifyPath", path);
    }
    entry.set_time("spawnedAt", now_ms);
    let timeout = args.timeout.map(|t| t.as_secs()).or(match plan.backend {
        BackendName::Openclaw => Some(GATEWAY_TIMEOUT_S),
        BackendName::Local => None,
    });
    entry.set("timeoutSeconds", timeout);
    entry.set("timeout", timeout);
    if let Some(threshold) = args.idle_threshold {
        entry.set("idleThresholdSeconds", threshold.as_secs());
    }
    entry.set_status(&Status::Running);
    entry.set_phase(Phase::Accepting);
    entry.set("summary", Value::Null);
    entry.set("error", Value::Null);
    let prompt = plan.prompt.as_deref().map(String::from_utf8_lossy);
    let task: Option<String> = prompt.map(|p| p.chars().take(TASK_PROMPT_CHARS).collect());
    entry.set("taskPrompt", task);
    entry.set_generation(generation);
    if let Some(repeated) = plan.repeats {
        entry.set("retryOf", repeated.get());
    }
    entry.set("attempt", 1);
    entry.set("backend", plan.backend.as_str());
    if plan.backend == BackendName::Local {
        entry.set("runtime", plan.work.runtime_id());
    }
    if !plan.session_id.is_empty() {
        entry.set("sessionId", plan.session_id.as_str());
    }
    entry.set("cwd", plan.cwd.to_string_lossy());
    if let Some(path) = &plan.prompt_path {
        entry.set("promptPath", path.to_string_lossy());
    }
    if let Some(key) = &args.idempotency_key {
        entry.set("idempotencyKey", key.as_str());
    }
    entry.set("contentHash", plan.content_hash.as_str());
    entry.set_baseline(&plan.baseline);
    entry.set("runIds", json!([plan.run_id]));
    entry
}
