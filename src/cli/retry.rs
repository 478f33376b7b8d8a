//! `dispatch retry`: the work of a label once more, as it was enqueued, under a new generation.
//!
//! What was asked for is put together again from the entry, the prompt's file and the first run's description, and goes the
//! way of every `enqueue`. Where a part is not stored any more nothing is started: half a prompt is another prompt.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ValueEnum;

use super::args::{BackendChoice, DeliveryModeChoice, EnqueueArgs, Mode, RetryArgs, Thinking};
use super::enqueue::{self, Repeat, TASK_PROMPT_CHARS, Target};
use super::exit::{failure, refusal};
use super::labels;
use super::output::Output;
use crate::backend::BackendName;
use crate::backend::local::{RunFiles, RunRuntime};
use crate::delivery::DeliveryMode;
use crate::home::Home;
use crate::ledger::{Archive, Ledger};
use crate::paths::Environment;
use crate::record::{Entry, Status};
use crate::session::key::SessionKey;

/// What the reference puts before a prompt that it keeps, where somebody is told of the result.
const ORIGIN_MARK: &str = "ORIGIN_CHAT_ID: ";

/// Runs the command.
///
/// # Errors
/// An unknown or running label; one of which a part is not stored; what `enqueue` refuses.
pub fn run(home: &Home, output: Output, args: &RetryArgs, env: Environment<'_>) -> Result<u8> {
    let label = args.label.as_str();
    let book = Ledger::new(home).read()?;
    labels::check_readable(&book, label)?;
    let entry = match book.get(label) {
        Some(entry) => entry,
        None => Archive::new(home)
            .latest(label)?
            .ok_or_else(|| labels::absent(&book, label))?,
    };
    if entry.status() == Status::Running {
        return Err(failure(format!(
            "label \"{label}\" is running (generation {}); wait for it, or cancel it first",
            entry.generation()
        )));
    }
    let (mut asked, repeat) = stored(home, label, &entry)?;
    asked.wait = args.wait;
    enqueue::launch(home, output, &asked, Some(repeat), env).map_err(|error| {
        // The flags that a refusal names were those of the first call; this one's are in order.
        match refusal(&error) {
            Some(why) => lost(label, why),
            None => error,
        }
    })
}

fn lost(label: &str, why: impl std::fmt::Display) -> anyhow::Error {
    failure(format!("label \"{label}\" cannot be retried: {why}"))
}

/// The call that the entry came from.
fn stored(home: &Home, label: &str, entry: &Entry) -> Result<(EnqueueArgs, Repeat)> {
    let text = |name: &str| entry.text(name).map(str::to_owned);
    let seconds = |name: &str| {
        entry
            .number(name)
            .filter(|s| *s > 0)
            .map(Duration::from_secs)
    };
    let backend = BackendName::of_entry(entry);
    let prompt = prompt(home, label, entry)?;
    let agent = text("agent").unwrap_or_else(|| "main".to_owned());
    let mut asked = EnqueueArgs {
        label: label.to_owned(),
        model: text("model"),
        auth_profile: text("authProfile"),
        fallback_model: text("fallbackModel"),
        fallback_auth_profile: text("fallbackAuthProfile"),
        thinking: choice::<Thinking>(entry, "thinking"),
        timeout: seconds("timeoutSeconds"),
        // Other tools record one that nobody asked for.
        idle_threshold: backend.and_then(|_| seconds("idleThresholdSeconds")),
        mode: choice::<Mode>(entry, "mode").unwrap_or_default(),
        delivery_mode: match DeliveryMode::from_text(entry.text("deliveryMode")) {
            DeliveryMode::Announce => DeliveryModeChoice::Announce,
            DeliveryMode::AnnounceAlways => DeliveryModeChoice::AnnounceAlways,
            DeliveryMode::None => DeliveryModeChoice::None,
        },
        no_monitor: no_monitor(entry),
        verify_cmd: text("verifyCmd"),
        requester: text("requester"),
        cwd: text("cwd").map(Into::into),
        backend: Some(match backend {
            Some(BackendName::Local) => BackendChoice::Local,
            // What another tool enqueued ran on a gateway.
            Some(BackendName::Openclaw) | None => BackendChoice::Openclaw,
        }),
        ..EnqueueArgs::default()
    };
    let minutes = entry
        .value("monitorTimeoutMin")
        .and_then(serde_json::Value::as_f64);
    asked.monitor_timeout =
        minutes.and_then(|minutes| Duration::try_from_secs_f64(minutes * 60.0).ok());
    if let Some(watchdog) = entry.value("watchdog") {
        let interval = watchdog.get("interval").and_then(serde_json::Value::as_str);
        asked.monitor_interval = interval.map(str::to_owned);
    }
    // A key that was made for the first run is not the new one's.
    asked.session_key = text("sessionKey")
        .filter(|key| asked.mode == Mode::Reuse || !SessionKey::is_fresh_subagent(key, &agent));
    asked.agent = agent;
    let runtime = match backend {
        Some(BackendName::Local) => add_command(home, label, entry, &mut asked)?,
        Some(BackendName::Openclaw) | None => None,
    };
    let repeat = Repeat {
        of: entry.generation(),
        runtime,
        prompt,
        target: text("deliverTo").map(|to| Target {
            channel: text("deliverChannel").unwrap_or_else(|| "telegram".to_owned()),
            to,
        }),
        origin: text("origin"),
    };
    Ok((asked, repeat))
}

fn choice<T: ValueEnum>(entry: &Entry, field: &str) -> Option<T> {
    T::from_str(entry.text(field)?, true).ok()
}

fn no_monitor(entry: &Entry) -> Option<String> {
    let given = entry.value("noMonitor").and_then(serde_json::Value::as_str);
    let is_disabled = entry.value("deliveryDisabled") == Some(&serde_json::Value::Bool(true));
    match given {
        Some(reason) => Some(reason.to_owned()),
        None => is_disabled.then(|| {
            let reason = entry.text("deliveryDisabledReason");
            reason.unwrap_or_default().to_owned()
        }),
    }
}

/// Command or runtime, directory and variables are in the description of the label's first run: later attempts add to
/// theirs. Returns the registered runtime; it is stored with its command, which is what is run again.
fn add_command(
    home: &Home,
    label: &str,
    entry: &Entry,
    asked: &mut EnqueueArgs,
) -> Result<Option<RunRuntime>> {
    let runs = entry.value("runIds").and_then(serde_json::Value::as_array);
    let first = runs.and_then(|runs| runs.first()?.as_str());
    let Some(first) = first.or_else(|| entry.text("runId")) else {
        return Err(lost(label, "it names no run, so its command is not known"));
    };
    let files = RunFiles::of(home, first);
    let spec = match files.spec(home.storage.as_ref()) {
        Ok(spec) => spec,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            let dir = files.dir().display();
            return Err(lost(
                label,
                format!("its command is not stored any more ({dir} is gone)"),
            ));
        }
        Err(e) => return Err(e).with_context(|| format!("cannot read the command of \"{label}\"")),
    };
    if spec.runtime.is_none() {
        asked.command = spec.argv;
    }
    asked.cwd = Some(spec.cwd);
    let given = spec.env.into_iter();
    let given = given.filter(|(name, _)| !enqueue::is_own(name));
    asked.env = given
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Ok(spec.runtime)
}

/// The prompt, whole; `None` for a command that had none.
fn prompt(home: &Home, label: &str, entry: &Entry) -> Result<Option<Vec<u8>>> {
    let path = entry.text("promptPath");
    let path = path.map(|path| home.paths.found(path.as_ref()));
    let path = path.as_deref();
    if let Some(path) = path {
        match home.storage.read(path) {
            Ok(prompt) => return Ok(Some(prompt)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                return Err(e)
                    .with_context(|| format!("cannot read the prompt {}", path.display()));
            }
        }
    }
    let Some(task) = entry.text("taskPrompt") else {
        return match (path, BackendName::of_entry(entry)) {
            (None, Some(BackendName::Local)) => Ok(None),
            (Some(path), _) => Err(lost(label, gone(path))),
            (None, _) => Err(lost(label, "its prompt was never stored")),
        };
    };
    // Other tools count in UTF-16 units, of which there are never fewer than characters. A replaced character stands for
    // something that the ledger could not hold.
    let is_whole = task.encode_utf16().count() < TASK_PROMPT_CHARS && !task.contains('\u{fffd}');
    match (is_whole, path) {
        (true, _) => Ok(Some(without_mark(entry, task).as_bytes().to_vec())),
        (false, Some(path)) => Err(lost(label, gone(path))),
        (false, None) => Err(lost(
            label,
            format!("only the first {TASK_PROMPT_CHARS} characters of its prompt are stored"),
        )),
    }
}

fn gone(path: &Path) -> String {
    format!(
        "its prompt is not stored any more ({} is gone)",
        path.display()
    )
}

/// The user's own words, without the line that another tool put before them.
fn without_mark<'a>(entry: &Entry, task: &'a str) -> &'a str {
    let marked = task.strip_prefix(ORIGIN_MARK).zip(entry.text("deliverTo"));
    let own = marked.and_then(|(rest, to)| rest.strip_prefix(to)?.strip_prefix("\n\n"));
    own.filter(|_| BackendName::of_entry(entry).is_none())
        .unwrap_or(task)
}
