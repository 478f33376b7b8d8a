//! `dispatch enqueue`: hand work to a new session.
//!
//! The order of the steps is what makes each of them repairable: the prompt and the run's description, the ledger
//! entry, the watcher, the runner. Whoever finds the entry can go on from there.

mod content;
mod entry;
mod plan;
mod profile;
mod requester;
mod runtime;
pub(super) mod target;
mod variables;

use std::{panic, thread};

use anyhow::{Result, bail};
use serde_json::{Value, json};

pub use self::entry::TASK_PROMPT_CHARS;
use self::entry::{Entered, GATEWAY_TIMEOUT_S, enter, new_entry, stage_prompt};
pub use self::plan::Repeat;
use self::plan::{Plan, plan};
pub use self::target::Target;
pub use self::variables::is_own;
use super::args::{BackendChoice, EnqueueArgs, Mode};
use super::exit::{OK, failure, refusal, usage};
use super::output::Output;
use super::{views, wait};
use crate::backend::local::{LocalBackend, Survivor};
use crate::backend::openclaw::{OpenclawBackend, Spawn, spawn, takes};
use crate::backend::{Backend, BackendName, RunRef};
use crate::gateway::{self, Client, Connecting};
use crate::home::Home;
use crate::ledger::{Ledger, Patience};
use crate::paths::Environment;
use crate::record::{Entry, Failure, FailureKind, Generation, Status};
use crate::storage::Staged;
use crate::watchers::{Post, ensure_watcher};

/// Runs the command.
///
/// # Errors
/// Usage errors before anything is written; a running label; a ledger or state directory that cannot be written.
pub fn run(home: &Home, output: Output, args: &EnqueueArgs, env: Environment<'_>) -> Result<u8> {
    launch(home, output, args, None, env)
}

/// The one way into a generation: a call's, or that of work which is repeated.
///
/// # Errors
/// As [`run`].
pub fn launch(
    home: &Home,
    output: Output,
    args: &EnqueueArgs,
    repeat: Option<Repeat>,
    env: Environment<'_>,
) -> Result<u8> {
    let home = &home.of_agent(Some(&args.agent));
    for note in args.older.notes() {
        home.say(&note);
    }
    let mut gateway = match choose_backend(home, args, env)? {
        BackendName::Local => None,
        BackendName::Openclaw => Some(OpenclawBackend::new(home)?.begin_to_connect()),
    };
    let mut plan = plan(home, args, repeat, env, gateway.as_mut())?;
    let mut prompt = stage_prompt(home, &plan).map_err(of_the_state_directory)?;
    if let Some(gateway) = &mut gateway {
        check_for_gateway(home, args, &plan, gateway)?;
    }
    let ledger = Ledger::new(home);
    if let Some(last) = &plan.last {
        heed_survivors(home, &ledger, args, plan.label.as_str(), last)?;
    }
    let mut entered = enter_once(home, &ledger, args, &plan, prompt.as_mut())?;
    loop {
        // What is waited for may take days, after which a file that nobody names would be a leftover.
        drop(prompt.take());
        match entered {
            Entered::Running(generation) if args.replace => {
                let label = plan.label.as_str();
                let settled = super::cancel::settle(home, &ledger, label, Some("replaced"))?;
                // A run that does not end is told of; another call that was faster is replaced in its turn.
                let goes_on =
                    |e: &Entry| e.generation() == generation && e.status() == Status::Running;
                if settled.entry.as_ref().is_some_and(goes_on) {
                    break;
                }
            }
            // Its session goes on with this work once it is through with the one before.
            Entered::Running(_) if args.mode == Mode::Reuse && plan.repeats.is_none() => {
                let label = plan.label.to_string();
                home.say(&format!(
                    "label \"{label}\" is running; its session goes on with this once that has ended"
                ));
                let watchers = wait::Watchers::Unknown;
                wait::until_ended(home, &[label], wait::Until::All, watchers, None)?;
            }
            Entered::Outdated => {}
            _ => break,
        }
        // What its session said meanwhile is no word of the new run.
        plan.renew(home, args, env, gateway.as_mut())?;
        prompt = stage_prompt(home, &plan).map_err(of_the_state_directory)?;
        entered = enter_once(home, &ledger, args, &plan, prompt.as_mut())?;
    }
    let (entry, repeated) = match entered {
        Entered::New(entry) => (entry, false),
        Entered::Repeated(entry) => (entry, true),
        Entered::KeyTaken { label } => {
            return Err(failure(format!(
                "the idempotency key {} belongs to other work (label \"{label}\"); use a key of its own",
                plan.run_id
            )));
        }
        Entered::Overtaken(newer) => {
            return Err(failure(format!(
                "label \"{}\" has been enqueued anew meanwhile (generation {newer}); look at that first",
                plan.label
            )));
        }
        Entered::Outdated => bail!("the session is always at work for somebody else"),
        Entered::Running(generation) => {
            let way = match plan.repeats {
                Some(_) => "wait for it, or cancel it first",
                None => "wait for it, cancel it, or use --replace",
            };
            return Err(failure(format!(
                "label \"{}\" is running (generation {generation}); {way}",
                plan.label
            )));
        }
    };
    let label = plan.label.as_str();
    let run = RunRef::of_entry(label, &entry).filter(|_| !repeated);
    let watched =
        || entry.status() == Status::Running && ensure_watcher(home, label, entry.generation());
    let is_watched = match (run, &mut gateway) {
        (Some(run), Some(gateway)) => {
            let client = gateway.client()?;
            // The gateway need not wait until the watcher's program is loaded.
            thread::scope(|scope| {
                let watched = scope.spawn(watched);
                let asked = Spawn::with_prompt(home, &run, &plan.prompt_text());
                ask_gateway(home, &ledger, client, &run, &asked)?;
                let watched = watched.join();
                Ok::<_, anyhow::Error>(watched.unwrap_or_else(|e| panic::resume_unwind(e)))
            })?
        }
        (run, _) => {
            let is_watched = watched();
            if let Some(run) = run {
                start_runner(home, &run);
            }
            is_watched
        }
    };
    let mut answer = answer(label, &entry, repeated);
    if let Some(Value::Object(surface)) = answer.get_mut("delivery")
        && surface.get("status") == Some(&json!("enabled"))
    {
        // Who brings the result: our own watcher, and never the gateway by itself.
        surface.insert("scheduler".to_owned(), json!(is_watched));
        surface.insert("gateway".to_owned(), json!(false));
    }
    // A gateway's watcher has stayed out of the way until now, and does so while the answer is printed.
    let post = gateway.map(|_| Post::of(home, label, entry.generation()));
    if !args.wait {
        let printed = print(output, &answer);
        post.as_ref().inspect(|post| post.poke());
        return printed.map(|()| OK);
    }
    post.as_ref().inspect(|post| post.poke());
    let watchers = match is_watched {
        true => wait::Watchers::Started,
        false => wait::Watchers::Unknown,
    };
    let waited = wait::until_ended(home, &[label.to_owned()], wait::Until::All, watchers, None)?;
    let entry = ledger.entry(label)?.unwrap_or(entry);
    if output.is_json() {
        answer.extend(views::result_fields(home, label, &entry));
        answer.insert("ok".to_owned(), json!(waited.code() == OK));
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

/// One try to put the plan into the ledger. A call that is only answered again, or refused for its key, stops nothing.
fn enter_once(
    home: &Home,
    ledger: &Ledger,
    args: &EnqueueArgs,
    plan: &Plan,
    prompt: Option<&mut Staged<'_>>,
) -> Result<Entered> {
    ledger
        .update(Patience::Command, |book| {
            enter(home, args, plan, prompt, book)
        })?
        .map_err(of_the_state_directory)
}

/// What is no refusal is the state directory's trouble.
fn of_the_state_directory(error: anyhow::Error) -> anyhow::Error {
    match refusal(&error) {
        Some(_) => error,
        None => error.context("the state directory cannot take the run"),
    }
}

/// A gateway that is not there, and what it could not be sent, is told before anything is written.
fn check_for_gateway(
    home: &Home,
    args: &EnqueueArgs,
    plan: &Plan,
    gateway: &mut Connecting,
) -> Result<()> {
    let now_ms = home.now_ms();
    let entry = new_entry(args, plan, Generation::next(None, now_ms), now_ms);
    let run = RunRef::of_entry(plan.label.as_str(), &entry);
    let asked = run.map(|run| Spawn::with_prompt(home, &run, &plan.prompt_text()));
    let client = gateway.client()?;
    if let Some(asked) = asked {
        takes(client, &asked).map_err(|e| {
            let why = e
                .refusal()
                .map_or_else(|| e.to_string(), |refused| refused.message.clone());
            usage(format!("the prompt is too long for the gateway: {why}"))
        })?;
    }
    if args.timeout.is_none() && !target::is_answered(home, args)? {
        home.say(&format!(
            "no --timeout: {GATEWAY_TIMEOUT_S} s are assumed; give one, such as --timeout 20m"
        ));
    }
    Ok(())
}

/// A command that outlived its generation of the label is at work beside the new one: it is ended where that was asked for,
/// and else told of.
fn heed_survivors(
    home: &Home,
    ledger: &Ledger,
    args: &EnqueueArgs,
    label: &str,
    entry: &Entry,
) -> Result<()> {
    // One that runs is waited for, or replaced with all that lives on beside it, or refuses the call.
    if entry.status() == Status::Running {
        return Ok(());
    }
    let survivors = Survivor::all(home, label, entry);
    if survivors.is_empty() || target::is_answered(home, args)? {
        return Ok(());
    }
    if args.replace {
        return super::cancel::settle(home, ledger, label, Some("replaced")).map(|_| ());
    }
    for survivor in survivors {
        let beside = match args.mode {
            Mode::Reuse if survivor.generation() == entry.generation() => {
                "is at work yet, and this one waits for it in the session"
            }
            _ => "is at work beside this one",
        };
        home.say(&format!(
            "warn: the command of label \"{label}\" lived on after its label's end and {beside} (process group {}); to stop it: {}; another time, --replace does so first",
            survivor.pid,
            super::cancel::words(label, survivor.generation()),
        ));
    }
    Ok(())
}

fn start_runner(home: &Home, run: &RunRef) {
    if let Err(e) = LocalBackend::new(home).carry(run) {
        home.say(&format!(
            "cannot start the runner ({e}); the watcher tries again"
        ));
    }
}

/// Asks the gateway for the run. Only its refusal ends the entry; a call without an answer is left to the watcher.
fn ask_gateway(
    home: &Home,
    ledger: &Ledger,
    client: &mut Client,
    run: &RunRef,
    asked: &Spawn,
) -> Result<()> {
    // Others may have gone on with the label while this process hung: its run would speak in a session of theirs.
    let is_ours =
        |entry: &Entry| entry.generation() == run.generation && entry.status() == Status::Running;
    if !ledger.entry(&run.label)?.as_ref().is_some_and(is_ours) {
        return Ok(());
    }
    let Err(error) = spawn(client, asked) else {
        return Ok(());
    };
    if error.refusal().is_none() {
        home.say(&format!(
            "{error}; the watcher finds out whether the run exists"
        ));
        return Ok(());
    }
    let said = error.to_string();
    ledger.update(Patience::Command, |book| {
        let entry = book.get(&run.label).filter(|entry| {
            entry.generation() == run.generation && entry.status() == Status::Running
        });
        if let Some(mut entry) = entry {
            entry.set_status(&Status::Error);
            entry.set_time("endedAt", book.now_ms());
            entry.set_failure(&Failure::new(
                FailureKind::Spawn,
                said.as_str(),
                book.now_ms(),
            ));
            book.put(&run.label, entry);
        }
    })?;
    Post::of(home, &run.label, run.generation).poke();
    Err(failure(said))
}

fn choose_backend(home: &Home, args: &EnqueueArgs, env: Environment<'_>) -> Result<BackendName> {
    let has_command = !args.command.is_empty();
    let chosen = match (args.backend, has_command) {
        (Some(BackendChoice::Openclaw), true) => {
            return Err(usage(
                "--backend openclaw takes no COMMAND: a gateway runs its own agents; leave one of the two out",
            ));
        }
        (Some(BackendChoice::Openclaw), false) => BackendName::Openclaw,
        (Some(BackendChoice::Local), _) | (None, true) => BackendName::Local,
        (None, false) if gateway::configured(&home.paths, env).is_some() => BackendName::Openclaw,
        (None, false) => BackendName::Local,
    };
    match (chosen, &args.runtime) {
        (BackendName::Openclaw, Some(_)) => Err(usage(
            "--runtime is for local sessions; a gateway chooses for itself what runs its agents: leave it out, or add --backend local",
        )),
        _ => Ok(chosen),
    }
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
    answer.insert("watchdog".to_owned(), views::watchdog(entry));
    answer.insert(
        "backend".to_owned(),
        entry.value("backend").cloned().unwrap_or_default(),
    );
    if let Some(runtime) = entry.value("runtime") {
        answer.insert("runtime".to_owned(), runtime.clone());
    }
    answer.insert("generation".to_owned(), json!(entry.generation()));
    if let Some(repeated) = entry.value("retryOf") {
        answer.insert("retryOf".to_owned(), repeated.clone());
    }
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
