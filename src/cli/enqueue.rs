//! `dispatch enqueue`: hand work to a new session.
//!
//! The order of the steps is what makes each of them repairable: the prompt and the run's description, the ledger
//! entry, the watcher, the runner. Whoever finds the entry can go on from there.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::args::{BackendChoice, DeliveryModeChoice, EnqueueArgs, Mode, Thinking};
use super::exit::{OK, failure, usage};
use super::output::Output;
use super::{prompt, views, wait};
use crate::backend::local::{LocalBackend, RunFiles, RunSpec};
use crate::backend::{Backend, BackendName, RunRef};
use crate::delivery::{carry_over, owe};
use crate::gateway;
use crate::home::Home;
use crate::ledger::{Archive, Book, Ledger, Patience};
use crate::paths::Environment;
use crate::record::{
    Baseline, DeliveryKind, Entry, Generation, Label, Phase, Status, file_stem_of,
};
use crate::session::key::SessionKey;
use crate::storage::replace_synced;
use crate::watchers::ensure_watcher;

/// The most characters of the prompt that the ledger keeps.
const TASK_PROMPT_CHARS: usize = 2000;

/// Everything that a run needs, checked and complete, before anything is written.
struct Plan {
    label: Label,
    prompt: Option<Vec<u8>>,
    prompt_path: Option<PathBuf>,
    run_id: String,
    session_key: String,
    session_id: String,
    baseline: Baseline,
    argv: Vec<String>,
    cwd: PathBuf,
    env: Vec<(String, String)>,
    target: Option<Target>,
    origin: Option<String>,
    content_hash: String,
}

struct Target {
    channel: String,
    to: String,
}

/// What the ledger made of the plan.
enum Entered {
    /// A new generation stands.
    New(Entry),
    /// The same call was answered before.
    Repeated(Entry),
    /// The key belongs to other work.
    KeyTaken { label: String },
    /// The label runs.
    Running(Generation),
}

/// Runs the command.
///
/// # Errors
/// Usage errors before anything is written; a running label; a ledger or state directory that cannot be written.
pub fn run(home: &Home, output: Output, args: &EnqueueArgs, env: Environment<'_>) -> Result<u8> {
    choose_backend(home, args, env)?;
    let plan = plan(home, args, env)?;
    let ledger = Ledger::new(home);
    // A call that is only answered again, or refused for its key, must not stop what runs.
    if args.replace && answered_before(args, &plan, &ledger.read()?).is_none() {
        super::cancel::settle(home, &ledger, plan.label.as_str(), Some("replaced"))?;
    }
    let entered = ledger
        .update(Patience::Command, |book| enter(home, args, &plan, book))?
        .context("the state directory cannot take the run")?;
    let (entry, repeated) = match entered {
        Entered::New(entry) => (entry, false),
        Entered::Repeated(entry) => (entry, true),
        Entered::KeyTaken { label } => {
            return Err(failure(format!(
                "the idempotency key {} belongs to other work (label \"{label}\"); use a key of its own",
                plan.run_id
            )));
        }
        Entered::Running(generation) => {
            return Err(failure(format!(
                "label \"{}\" is running (generation {generation}); wait for it, cancel it, or use --replace",
                plan.label
            )));
        }
    };
    let label = plan.label.as_str();
    if entry.status() == Status::Running {
        ensure_watcher(home, label, entry.generation());
    }
    if let (false, Some(run)) = (repeated, RunRef::of_entry(label, &entry))
        && let Err(e) = LocalBackend::new(home).carry(&run)
    {
        home.say(&format!(
            "cannot start the runner ({e}); the watcher tries again"
        ));
    }
    let mut answer = answer(label, &entry, repeated);
    if !args.wait {
        print(output, &answer)?;
        return Ok(OK);
    }
    let waited = wait::until_ended(home, output, &[label.to_owned()], wait::Until::All, None)?;
    let entry = ledger.read()?.get(label).unwrap_or(entry);
    if output.is_json() {
        answer.extend(views::result_fields(home, label, &entry));
        answer.insert(
            "message".to_owned(),
            json!(format!("The session has ended: {}.", entry.status())),
        );
        output.json(&Value::Object(answer))?;
    } else {
        output.untrusted(&crate::watch::recorded_message(home, label, &entry))?;
    }
    Ok(waited.code())
}

fn choose_backend(home: &Home, args: &EnqueueArgs, env: Environment<'_>) -> Result<()> {
    let configured = gateway::configured(&home.paths, env);
    let has_command = !args.command.is_empty();
    let needs_gateway = |why: &str| {
        usage(format!(
            "{why}, and this build has no openclaw backend yet; give a command to run here: dispatch enqueue --label {} ... -- COMMAND",
            shell_hint(&args.label)
        ))
    };
    match (args.backend, has_command) {
        (Some(BackendChoice::Openclaw), true) => Err(usage(
            "--backend openclaw takes no COMMAND: a gateway runs its own agents; leave one of the two out",
        )),
        (Some(BackendChoice::Openclaw), false) => {
            Err(needs_gateway("--backend openclaw needs a gateway"))
        }
        (_, true) => Ok(()),
        (Some(BackendChoice::Local), false) => Err(usage(
            "the local backend needs a command to run: add -- COMMAND [ARG...]",
        )),
        (None, false) if configured.is_some() => Err(needs_gateway(
            "no COMMAND is given and an OpenClaw gateway is configured",
        )),
        (None, false) => Err(usage(
            "no gateway is configured, so the local backend is chosen, and it needs a command to run: add -- COMMAND [ARG...]",
        )),
    }?;
    if args.backend.is_none() && configured.is_none() {
        home.say("no gateway is configured: using the local backend");
    }
    Ok(())
}

fn shell_hint(label: &str) -> String {
    match label
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    {
        true => label.to_owned(),
        false => "LABEL".to_owned(),
    }
}

fn plan(home: &Home, args: &EnqueueArgs, env: Environment<'_>) -> Result<Plan> {
    let label = Label::new(&args.label).map_err(|e| usage(format!("--label: {e}")))?;
    if file_stem_of(&args.agent) != args.agent || args.agent.is_empty() {
        return Err(usage(format!(
            "--agent: \"{}\" is no agent id; use letters, digits, '.', '_' and '-'",
            args.agent
        )));
    }
    let cwd = working_directory(args.cwd.as_deref())?;
    let argv = command_line(&args.command, &cwd, env)?;
    let mut variables = variables(&args.env)?;
    if let Some(thinking) = args.thinking {
        variables.push((
            "DISPATCH_THINKING".to_owned(),
            thinking_text(thinking).to_owned(),
        ));
    }
    let (target, origin) = targets(home, args)?;
    let prompt = prompt::read_prompt(home, args, env)?;
    let run_id = match &args.idempotency_key {
        Some(key)
            if key.trim().is_empty() || key.len() > 512 || key.chars().any(char::is_control) =>
        {
            return Err(usage(
                "--idempotency-key: give 1 to 512 bytes of text without control characters",
            ));
        }
        Some(key) => key.clone(),
        None => Uuid::new_v4().to_string(),
    };
    let (session_key, session_id, baseline) = session(home, args, label.as_str())?;
    let prompt_path = prompt.is_some().then(|| {
        home.paths
            .prompts()
            .join(label.file_stem())
            .join(format!("{}.txt", file_stem_of(&run_id)))
    });
    let content_hash = content_hash(args, &argv, &cwd, prompt.as_deref());
    Ok(Plan {
        label,
        prompt,
        prompt_path,
        run_id,
        session_key,
        session_id,
        baseline,
        argv,
        cwd,
        env: variables,
        target,
        origin,
        content_hash,
    })
}

fn working_directory(given: Option<&Path>) -> Result<PathBuf> {
    let here = || std::env::current_dir().context("the current directory is gone; give --cwd");
    let cwd = match given {
        Some(path) if path.is_absolute() => path.to_owned(),
        Some(path) => here()?.join(path),
        None => here()?,
    };
    match cwd.is_dir() {
        true => Ok(cwd),
        false => Err(usage(format!(
            "--cwd: {} is not a directory",
            cwd.display()
        ))),
    }
}

/// The command with its program as an absolute path, so that it means the same to every runner.
fn command_line(command: &[String], cwd: &Path, env: Environment<'_>) -> Result<Vec<String>> {
    let (program, rest) = command
        .split_first()
        .filter(|(program, _)| !program.is_empty())
        .ok_or_else(|| usage("the command after -- is empty"))?;
    let found = match program.contains('/') {
        true => Some(cwd.join(program)).filter(|path| is_executable(path)),
        false => search_path(program, env("PATH")),
    };
    let Some(path) = found else {
        return Err(usage(format!(
            "the command \"{program}\" does not exist or is not executable; check its name and your PATH"
        )));
    };
    let path = path.into_os_string().into_string().map_err(|path| {
        usage(format!(
            "the command's path {} is not UTF-8",
            path.display()
        ))
    })?;
    Ok(std::iter::once(path).chain(rest.iter().cloned()).collect())
}

fn search_path(program: &str, path: Option<OsString>) -> Option<PathBuf> {
    let path = path.unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"));
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|candidate| is_executable(candidate))
        .and_then(|found| std::path::absolute(found).ok())
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

fn variables(given: &[String]) -> Result<Vec<(String, String)>> {
    given
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.contains('\0') => {
                Ok((name.to_owned(), value.to_owned()))
            }
            _ => Err(usage(format!("--env: \"{pair}\" is not NAME=VALUE"))),
        })
        .collect()
}

fn thinking_text(thinking: Thinking) -> &'static str {
    match thinking {
        Thinking::Low => "low",
        Thinking::Medium => "medium",
        Thinking::High => "high",
        Thinking::Xhigh => "xhigh",
        Thinking::Off => "off",
    }
}

/// Target and origin imply each other where one says enough.
fn targets(home: &Home, args: &EnqueueArgs) -> Result<(Option<Target>, Option<String>)> {
    let channel = args
        .deliver_channel
        .clone()
        .unwrap_or_else(|| home.config.delivery_channel.clone());
    let from_origin = args.origin.as_deref().and_then(|origin| {
        let (channel, to) = origin.split_once(':')?;
        (channel == "telegram" && !to.is_empty()).then(|| Target {
            channel: channel.to_owned(),
            to: to.to_owned(),
        })
    });
    let target = match args.deliver_to.as_deref() {
        Some("") => return Err(usage("--deliver-to: the target is empty")),
        Some(to) => Some(resolve_alias(home, to, channel)?),
        None => from_origin,
    };
    let origin = args
        .origin
        .clone()
        .or_else(|| target.as_ref().map(|t| format!("{}:{}", t.channel, t.to)));
    Ok((target, origin))
}

/// `@name` is an alias of the configuration: a target, or `<channel>:<target>`.
fn resolve_alias(home: &Home, to: &str, channel: String) -> Result<Target> {
    let Some(name) = to.strip_prefix('@') else {
        return Ok(Target {
            channel,
            to: to.to_owned(),
        });
    };
    let aliases = &home.config.aliases;
    let Some(target) = aliases.get(name).or_else(|| aliases.get(to)) else {
        let known: Vec<&str> = aliases.keys().map(String::as_str).collect();
        let hint = match crate::nearest::nearest(name, known).first() {
            Some(near) => format!("; did you mean @{near}?"),
            None => "; add it under \"aliases\"".to_owned(),
        };
        return Err(usage(format!(
            "--deliver-to: the configuration {} has no alias {to}{hint}",
            home.paths.config.display()
        )));
    };
    Ok(match target.split_once(':') {
        Some((channel, to))
            if !channel.is_empty() && channel.chars().all(|c| c.is_ascii_alphabetic()) =>
        {
            Target {
                channel: channel.to_owned(),
                to: to.to_owned(),
            }
        }
        _ => Target {
            channel,
            to: target.clone(),
        },
    })
}

/// The session: a new one, or the one that the label or the key names.
fn session(home: &Home, args: &EnqueueArgs, label: &str) -> Result<(String, String, Baseline)> {
    let backend = LocalBackend::new(home);
    let given = match &args.session_key {
        Some(key) => {
            let parsed =
                SessionKey::parse(key).map_err(|e| usage(format!("--session-key: {e}")))?;
            Some(parsed.as_str().to_owned())
        }
        None => None,
    };
    if args.mode == Mode::Fresh {
        let id = Uuid::new_v4();
        let key = match given {
            Some(key) => key,
            None => SessionKey::subagent(&args.agent, id)
                .map_err(|e| usage(format!("--agent: {e}")))?
                .as_str()
                .to_owned(),
        };
        return Ok((key, id.to_string(), Baseline::default()));
    }
    let last = Ledger::new(home).read()?.get(label);
    let key = given.or_else(|| last.as_ref()?.text("sessionKey").map(str::to_owned));
    let Some(key) = key else {
        return Err(failure(format!(
            "--mode reuse: label \"{label}\" has no session to go on with; use --mode fresh"
        )));
    };
    let id = backend
        .session_id_of(&key)
        .context("cannot read the session store")?
        .ok_or_else(|| {
            failure(format!(
                "--mode reuse: there is no session {key}; use --mode fresh"
            ))
        })?;
    let baseline = backend
        .baseline(&id)
        .context("cannot read the session's transcript")?;
    Ok((key, id, baseline))
}

/// What makes two calls under one key the same: everything that decides what is done and for whom.
fn content_hash(args: &EnqueueArgs, argv: &[String], cwd: &Path, prompt: Option<&[u8]>) -> String {
    let content = json!([
        args.label,
        argv,
        cwd,
        args.env,
        args.agent,
        args.model,
        args.thinking.map(thinking_text),
        args.timeout.map(|t| t.as_secs()),
        args.mode == Mode::Reuse,
        args.session_key,
        args.origin,
        args.deliver_to,
        args.deliver_channel,
        delivery_mode_text(args.delivery_mode),
    ]);
    let mut hasher = Sha256::new();
    hasher.update(content.to_string());
    hasher.update([0]);
    hasher.update(prompt.unwrap_or_default());
    hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn delivery_mode_text(mode: DeliveryModeChoice) -> &'static str {
    match mode {
        DeliveryModeChoice::Announce => "announce",
        DeliveryModeChoice::AnnounceAlways => "announce-always",
        DeliveryModeChoice::None => "none",
    }
}

/// The prompt's file comes first: from then on nothing that was asked can be lost.
fn write_prompt(home: &Home, plan: &Plan) -> Result<()> {
    let (Some(path), Some(prompt)) = (&plan.prompt_path, &plan.prompt) else {
        return Ok(());
    };
    let write = || -> io::Result<()> {
        home.storage
            .create_dir_all(crate::storage::parent_of(path))?;
        replace_synced(home.storage.as_ref(), path, prompt)
    };
    write().with_context(|| format!("cannot write the prompt {}", path.display()))
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

/// Puts the plan into the ledger, under its lock.
fn enter(home: &Home, args: &EnqueueArgs, plan: &Plan, book: &mut Book) -> Result<Entered> {
    if let Some(answered) = answered_before(args, plan, book) {
        return Ok(answered);
    }
    let label = plan.label.as_str();
    let old = book.get(label);
    if let Some(old) = &old
        && old.status() == Status::Running
    {
        return Ok(Entered::Running(old.generation()));
    }
    let archive = Archive::new(home);
    let previous = match &old {
        Some(old) => {
            archive.append(label, old)?;
            Some(old.generation())
        }
        None => archive.last_generation(label)?,
    };
    let generation = Generation::next(previous, book.now_ms());
    write_prompt(home, plan)?;
    describe_run(home, args, plan, generation)?;
    let mut entry = new_entry(args, plan, generation, book.now_ms());
    if let Some(old) = &old {
        carry_over(old, &mut entry);
    }
    if args.delivery_mode == DeliveryModeChoice::AnnounceAlways {
        owe(label, &mut entry, DeliveryKind::Starting);
    }
    book.put(label, entry.clone());
    Ok(Entered::New(book.get(label).unwrap_or(entry)))
}

fn describe_run(
    home: &Home,
    args: &EnqueueArgs,
    plan: &Plan,
    generation: Generation,
) -> Result<()> {
    let files = RunFiles::of(home, &plan.run_id);
    let mut env = plan.env.clone();
    for name in ["PATH", "HOME"] {
        // A runner that is started later, from cron say, gives the command what it would have had.
        if let Some(value) = std::env::var(name)
            .ok()
            .filter(|_| !env.iter().any(|(n, _)| n == name))
        {
            env.push((name.to_owned(), value));
        }
    }
    let spec = RunSpec {
        run_id: plan.run_id.clone(),
        label: plan.label.as_str().to_owned(),
        generation: generation.get(),
        session_key: plan.session_key.clone(),
        session_id: plan.session_id.clone(),
        argv: plan.argv.clone(),
        cwd: plan.cwd.clone(),
        env,
        prompt_path: plan.prompt_path.clone(),
        timeout_ms: args
            .timeout
            .map(|t| u64::try_from(t.as_millis()).unwrap_or(u64::MAX)),
        term_grace_ms: u64::try_from(home.config.term_grace.as_millis()).unwrap_or(10_000),
        model: args.model.clone(),
    };
    let storage = home.storage.as_ref();
    let unusable = || format!("cannot describe the run in {}", files.dir().display());
    // A description without an entry is what a killed enqueue left; once it was started it is an earlier run.
    if files.start(storage).with_context(unusable)?.is_some() {
        return Err(failure(format!(
            "the idempotency key {} was used for an earlier run that has left the ledger; use a new key",
            plan.run_id
        )));
    }
    files.write_spec(storage, &spec).with_context(unusable)
}

fn new_entry(args: &EnqueueArgs, plan: &Plan, generation: Generation, now_ms: i64) -> Entry {
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
    entry.set("model", args.model.clone());
    entry.set("thinking", args.thinking.map(thinking_text));
    entry.set("origin", plan.origin.clone());
    entry.set("deliverTo", plan.target.as_ref().map(|t| t.to.clone()));
    entry.set(
        "deliverChannel",
        plan.target.as_ref().map(|t| t.channel.clone()),
    );
    entry.set("deliveryMode", delivery_mode_text(args.delivery_mode));
    entry.set_time("spawnedAt", now_ms);
    let timeout = args.timeout.map(|t| t.as_secs());
    entry.set("timeoutSeconds", timeout);
    entry.set("timeout", timeout);
    entry.set_status(&Status::Running);
    entry.set_phase(Phase::Accepting);
    entry.set("summary", Value::Null);
    entry.set("error", Value::Null);
    let prompt = plan.prompt.as_deref().map(String::from_utf8_lossy);
    let task: Option<String> = prompt.map(|p| p.chars().take(TASK_PROMPT_CHARS).collect());
    entry.set("taskPrompt", task);
    entry.set_generation(generation);
    entry.set("attempt", 1);
    entry.set("backend", BackendName::Local.as_str());
    entry.set("sessionId", plan.session_id.as_str());
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

fn answer(label: &str, entry: &Entry, repeated: bool) -> serde_json::Map<String, Value> {
    let mut answer = serde_json::Map::new();
    answer.insert("ok".to_owned(), json!(true));
    answer.insert("label".to_owned(), json!(label));
    for name in ["sessionKey", "runId", "mode", "agent"] {
        answer.insert(
            name.to_owned(),
            entry.value(name).cloned().unwrap_or_default(),
        );
    }
    answer.insert("status".to_owned(), json!("accepted"));
    answer.insert("delivery".to_owned(), views::delivery_surface(entry));
    answer.insert("watchdog".to_owned(), Value::Null);
    answer.insert(
        "backend".to_owned(),
        entry.value("backend").cloned().unwrap_or_default(),
    );
    answer.insert("generation".to_owned(), json!(entry.generation()));
    let message = match repeated {
        true => {
            answer.insert("repeated".to_owned(), json!(true));
            "This call was answered before; nothing was started."
        }
        false => {
            "Session spawned. Its result is read with 'dispatch result' and waited for with 'dispatch wait'."
        }
    };
    answer.insert("message".to_owned(), json!(message));
    answer
}

fn print(output: Output, answer: &serde_json::Map<String, Value>) -> Result<()> {
    if output.is_json() {
        output.json(&Value::Object(answer.clone()))?;
        return Ok(());
    }
    let text = |name: &str| match answer.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    output.facts(&[
        ("label", text("label")),
        ("status", text("status")),
        ("session", text("sessionKey")),
        ("run", text("runId")),
        ("", text("message")),
    ])?;
    Ok(())
}
