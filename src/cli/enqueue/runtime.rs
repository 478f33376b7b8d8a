//! What runs the work on this machine: what the choice depends on, and the command line that follows from it.

use std::path::Path;

use anyhow::{Context, Result};

use super::plan::{given_key, last_entry};
use crate::backend::BackendName;
use crate::backend::local::runtimes::{
    Asked, Chosen, FALLBACK_VARIABLE, RUNTIME_VARIABLE, Session, choose,
};
use crate::backend::local::{LocalBackend, RunRuntime, store_path};
use crate::cli::args::{BackendChoice, EnqueueArgs, Mode};
use crate::cli::exit::usage;
use crate::config::runtimes::COMMAND;
use crate::config::{Runtime, Runtimes};
use crate::home::Home;
use crate::ledger::Ledger;
use crate::paths::Environment;
use crate::process::find_program;

/// A command line, and the registered runtime that it was made of, if it was.
#[derive(Debug, Default, Clone)]
pub struct Work {
    pub argv: Vec<String>,
    pub runtime: Option<RunRuntime>,
}

impl Work {
    /// The id of the runtime.
    pub fn runtime_id(&self) -> &str {
        self.runtime.as_ref().map_or(COMMAND, |runtime| &runtime.id)
    }
}

/// Where the work is done, and with which model.
pub struct Place<'a> {
    pub label: &'a str,
    pub cwd: &'a Path,
    pub model: Option<&'a str>,
}

/// Chooses the runtime. `stored` is that of work which is repeated: it stays what it was, whatever is registered now.
///
/// # Errors
/// Usage errors: no runtime, one that contradicts the call or the session, a program that is not there.
pub fn work(
    home: &Home,
    args: &EnqueueArgs,
    stored: Option<&RunRuntime>,
    place: &Place<'_>,
    env: Environment<'_>,
) -> Result<Work> {
    let text = |name: &str| {
        let value = env(name)?.into_string().ok()?;
        Some(value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let only = stored.map(|stored| Runtimes::new([(stored.id.clone(), stored.definition.clone())]));
    let variable = text(RUNTIME_VARIABLE);
    let session = session_of(home, args, place.label)?;
    let asked = Asked {
        flag: stored
            .map(|stored| stored.id.as_str())
            .or(args.runtime.as_deref()),
        has_command: !args.command.is_empty(),
        variable: variable.as_deref(),
        wants_fallback: stored.is_none() && text(FALLBACK_VARIABLE).is_some(),
        agent: &args.agent,
        of_agent: home
            .config
            .agent_runtimes
            .get(&args.agent)
            .map(String::as_str),
        model: place.model,
        session: session
            .as_ref()
            .map(|(key, runtime)| Session { key, runtime }),
        chose_local: args.backend == Some(BackendChoice::Local),
        registered: only.as_ref().unwrap_or(&home.config.runtimes),
        config: &home.paths.config,
    };
    match choose(&asked).map_err(|why| usage(why.to_string()))? {
        Chosen::Command => Ok(Work {
            argv: command_line(&args.command, place.cwd, env)?,
            runtime: None,
        }),
        Chosen::Registered(id, runtime) => {
            let todo = match stored {
                Some(_) => "put it back, or enqueue the work anew".to_owned(),
                None => format!(
                    "check \"runtimes.{id}.command\" in {} and your PATH",
                    home.paths.config.display()
                ),
            };
            registered(id, runtime, place, env, &todo)
        }
    }
}

/// The session that goes on and the runtime that it is pinned to; `None` for one that begins. One from before there were
/// runtimes has run commands.
fn session_of(home: &Home, args: &EnqueueArgs, label: &str) -> Result<Option<(String, String)>> {
    let key = match given_key(args)? {
        Some(key) => Some(key),
        None if args.mode == Mode::Fresh => None,
        None => {
            let last = last_entry(home, label)?;
            last.and_then(|last| last.text("sessionKey").map(str::to_owned))
        }
    };
    let Some(key) = key else {
        return Ok(None);
    };
    let pinned = LocalBackend::new(home).runtime_of(&key).with_context(|| {
        let store = store_path(home);
        format!("cannot read the session store {}", store.display())
    })?;
    if let Some(runtime) = pinned {
        return Ok(Some((key, runtime)));
    }
    // A run that has just been entered has no row in the store yet.
    let book = Ledger::new(home).read()?;
    let mut entered = book.entries_containing(&key).map(|(_, entry)| entry);
    let entered = entered.find(|entry| {
        entry.text("sessionKey") == Some(&key)
            && BackendName::of_entry(entry) == Some(BackendName::Local)
    });
    Ok(entered.map(|entry| {
        let runtime = entry.text("runtime").unwrap_or(COMMAND).to_owned();
        (key.clone(), runtime)
    }))
}

/// The runtime's command line for the model, its program as an absolute path; `todo` is for one that is not there.
fn registered(
    id: &str,
    runtime: &Runtime,
    place: &Place<'_>,
    env: Environment<'_>,
    todo: &str,
) -> Result<Work> {
    let mut definition = runtime.clone();
    // What it claims decides nothing any more.
    definition.models.clear();
    let name = definition.command.first().map_or("", String::as_str);
    let program = program(name, place.cwd, env)?.ok_or_else(|| {
        usage(format!(
            "the runtime \"{id}\": its program \"{name}\" does not exist or is not executable; {todo}"
        ))
    })?;
    if let Some(first) = definition.command.first_mut() {
        *first = program;
    }
    Ok(Work {
        argv: definition.argv(place.model),
        runtime: Some(RunRuntime {
            id: id.to_owned(),
            definition,
        }),
    })
}

/// The command with its program as an absolute path, so that it means the same to every runner.
fn command_line(command: &[String], cwd: &Path, env: Environment<'_>) -> Result<Vec<String>> {
    let (name, rest) = command
        .split_first()
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| usage("the command after -- is empty; give a program and its arguments"))?;
    let program = program(name, cwd, env)?.ok_or_else(|| {
        usage(format!(
            "the command \"{name}\" does not exist or is not executable; check its name and your PATH"
        ))
    })?;
    Ok(std::iter::once(program)
        .chain(rest.iter().cloned())
        .collect())
}

fn program(name: &str, cwd: &Path, env: Environment<'_>) -> Result<Option<String>> {
    let path = find_program(name, cwd, env("PATH").as_deref());
    let text = path.map(|path| path.into_os_string().into_string());
    text.transpose().map_err(|path| {
        usage(format!(
            "the command's path {} is not UTF-8",
            path.display()
        ))
    })
}
