//! What runs the work on this machine: what the choice depends on, and the command line that follows from it.

use std::path::Path;

use anyhow::{Context, Result};

use super::plan::{given_key, last_entry};
use crate::backend::BackendName;
use crate::backend::local::runtimes::{
    Asked, Chosen, FALLBACK_VARIABLE, RUNTIME_VARIABLE, Session, choose, pinned,
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
use crate::record::Entry;

/// A command line, the registered runtime that it was made of, if it was, and the model that it is told of.
#[derive(Debug, Default, Clone)]
pub struct Work {
    pub argv: Vec<String>,
    pub runtime: Option<RunRuntime>,
    pub model: Option<String>,
}

impl Work {
    /// The id of the runtime.
    pub fn runtime_id(&self) -> &str {
        self.runtime.as_ref().map_or(COMMAND, |runtime| &runtime.id)
    }
}

/// Where the work is done, and with which model; `None` where none is named.
pub struct Place<'a> {
    pub label: &'a str,
    pub cwd: &'a Path,
    pub model: Option<&'a str>,
}

/// Chooses the runtime. `stored` is that of work which is repeated: it stays what it was, whatever is registered now.
///
/// # Errors
/// Usage errors: no runtime, one that contradicts the call or the session, a program that is not there. A session store or
/// ledger that cannot be read.
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
    let past = past(home, args, place.label)?;
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
        session: past.as_ref().map(|past| Session {
            key: &past.key,
            runtime: &past.runtime,
        }),
        chose_local: args.backend == Some(BackendChoice::Local),
        registered: only.as_ref().unwrap_or(&home.config.runtimes),
        config: &home.paths.config,
    };
    match choose(&asked).map_err(|why| usage(why.to_string()))? {
        Chosen::Command => Ok(Work {
            argv: command_line(&args.command, place.cwd, env)?,
            runtime: None,
            model: place.model.map(str::to_owned),
        }),
        Chosen::Registered(id, runtime) => {
            let todo = match stored {
                Some(_) => "put it back, or enqueue the work anew".to_owned(),
                None => format!(
                    "check \"runtimes.{id}.command\" in {} and your PATH",
                    home.paths.config.display()
                ),
            };
            // The agent itself does not know with which model the session has gone on. Repeated work is given what it had.
            let past = past.as_ref().filter(|_| stored.is_none());
            let of_session = past.and_then(|past| past.model.as_deref());
            let place = Place {
                model: place.model.or(of_session),
                ..*place
            };
            registered(id, runtime, &place, env, &todo)
        }
    }
}

/// A session that has run before.
#[derive(Debug)]
struct Past {
    key: String,
    /// The runtime that it is pinned to.
    runtime: String,
    /// The model that it had last.
    model: Option<String>,
}

/// The session that goes on; `None` for one that begins.
fn past(home: &Home, args: &EnqueueArgs, label: &str) -> Result<Option<Past>> {
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
    let row = LocalBackend::new(home).row(&key).with_context(|| {
        let store = store_path(home);
        format!("cannot read the session store {}", store.display())
    })?;
    // A run that has just been entered has no row in the store yet.
    let book = Ledger::new(home).read()?;
    let entries = book.entries_containing(&key).map(|(_, entry)| entry);
    let entered = entries
        .filter(|entry| {
            entry.text("sessionKey") == Some(&key)
                && BackendName::of_entry(entry) == Some(BackendName::Local)
        })
        .max_by_key(Entry::generation);
    if row.is_none() && entered.is_none() {
        return Ok(None);
    }
    let of_entry = |name: &str| entered.as_ref()?.text(name).map(str::to_owned);
    let runtime = match &row {
        Some(row) => Some(pinned(row).to_owned()),
        None => of_entry("runtime"),
    };
    // What the row says may be the fallback of a single attempt.
    let model = of_entry("model").or_else(|| row?.model);
    Ok(Some(Past {
        runtime: runtime.unwrap_or_else(|| COMMAND.to_owned()),
        model,
        key: key.clone(),
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
        model: place.model.map(str::to_owned),
    })
}

/// The command with its program as an absolute path, so that it means the same to every runner.
///
/// # Errors
/// A usage error for a program that is not there.
pub fn command_line(command: &[String], cwd: &Path, env: Environment<'_>) -> Result<Vec<String>> {
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
