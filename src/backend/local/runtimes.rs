//! Which runtime runs a local session: the command of the call, or a registered agent's command line. Pure.
//!
//! The nearest choice counts: the call's, then the session's own, then the environment's, the agent's, and at last the
//! model's. What was chosen by its id is used or refused; nothing stands in for it.

use std::path::Path;

use thiserror::Error;

use crate::config::runtimes::{AUTO, COMMAND};
use crate::config::{Runtime, Runtimes};
use crate::nearest::nearest;
use crate::session::store::SessionRow;

/// Names the runtime of sessions whose call names none, as for OpenClaw.
pub const RUNTIME_VARIABLE: &str = "OPENCLAW_AGENT_RUNTIME";

/// Names what an older OpenClaw runs where a runtime is missing.
pub const FALLBACK_VARIABLE: &str = "OPENCLAW_AGENT_HARNESS_FALLBACK";

/// What is known when a runtime is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// What `--runtime` says.
    pub flag: Option<&'a str>,
    /// A command stands after `--`.
    pub has_command: bool,
    /// What [`RUNTIME_VARIABLE`] says.
    pub variable: Option<&'a str>,
    /// [`FALLBACK_VARIABLE`] is set.
    pub wants_fallback: bool,
    /// The agent that the session belongs to.
    pub agent: &'a str,
    /// What the configuration says for that agent.
    pub of_agent: Option<&'a str>,
    /// The model that is named.
    pub model: Option<&'a str>,
    /// The session that goes on; `None` for one that begins.
    pub session: Option<Session<'a>>,
    /// The call chose the local backend itself; else there was no gateway.
    pub chose_local: bool,
    /// What is registered.
    pub registered: &'a Runtimes,
    /// Where runtimes are registered.
    pub config: &'a Path,
}

/// A session that has run before.
#[derive(Debug, Clone, Copy)]
pub struct Session<'a> {
    /// Its key.
    pub key: &'a str,
    /// The id of the runtime that it is pinned to.
    pub runtime: &'a str,
}

/// The id of the runtime that a session is pinned to. One from before there were runtimes has run commands.
pub fn pinned(row: &SessionRow) -> &str {
    let id = row.extra.get("agentHarnessId").and_then(|id| id.as_str());
    id.filter(|id| !id.is_empty()).unwrap_or(COMMAND)
}

/// What runs the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen<'a> {
    /// The command of the call.
    Command,
    /// The registered runtime with this id.
    Registered(&'a str, &'a Runtime),
}

impl Chosen<'_> {
    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Chosen::Command => COMMAND,
            Chosen::Registered(id, _) => id,
        }
    }
}

/// Why nothing can run the session: a sentence with what to do.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoRuntime {
    /// A fallback is asked for.
    #[error(
        "{FALLBACK_VARIABLE} is set, but a runtime never falls back to another; unset it, and name the runtime that you want with --runtime"
    )]
    Fallback,
    /// Both a command and a runtime that has one.
    #[error(
        "--runtime {id} brings its own command, and another stands after --; leave one of the two out"
    )]
    TwoCommands {
        /// The runtime.
        id: String,
    },
    /// No runtime has the id.
    #[error("{by}: the configuration {config} names no \"{id}\" under \"runtimes\"; {todo}")]
    Unknown {
        /// Who named it.
        by: String,
        /// The id.
        id: String,
        /// Where runtimes are registered.
        config: String,
        /// What may have been meant, or what to do.
        todo: String,
    },
    /// The built-in runtime was named without a command.
    #[error(
        "{by}: the runtime \"command\" runs what stands after --, and nothing does: add -- COMMAND [ARG...]"
    )]
    NoCommand {
        /// Who named it.
        by: String,
    },
    /// Nothing says what to run.
    #[error("{lead} needs a command to run{unmatched}: add -- COMMAND [ARG...], or {or}")]
    Nothing {
        /// How it came to the local backend.
        lead: String,
        /// That no runtime claims the model, where one was named.
        unmatched: String,
        /// How to give it a runtime instead.
        or: String,
    },
    /// The session that goes on is another runtime's.
    #[error(
        "{by}: the session {key} is pinned to the runtime \"{pinned}\"; leave it out, or start a fresh session"
    )]
    OtherRuntime {
        /// What would run it otherwise.
        by: String,
        /// The session.
        key: String,
        /// Its runtime.
        pinned: String,
    },
    /// The session that goes on runs commands, and there is none.
    #[error(
        "the session {key} is pinned to the runtime \"command\", which runs what stands after --: add -- COMMAND [ARG...], or start a fresh session"
    )]
    SessionNeedsCommand {
        /// The session.
        key: String,
    },
    /// The runtime of the session that goes on is not registered any more.
    #[error(
        "the session {key} is pinned to the runtime \"{pinned}\", which is not registered under \"runtimes\" in {config} any more; add it, or start a fresh session"
    )]
    SessionsGone {
        /// The session.
        key: String,
        /// Its runtime.
        pinned: String,
        /// Where runtimes are registered.
        config: String,
    },
}

/// Decides.
///
/// # Errors
/// [`NoRuntime`], when what was asked for is not there, contradicts itself or the session, or nothing was asked for.
pub fn choose<'a>(asked: &Asked<'a>) -> Result<Chosen<'a>, NoRuntime> {
    // A command by itself is no choice between runtimes, and what is set for those does not concern it.
    if asked.wants_fallback && (asked.flag.is_some() || !asked.has_command) {
        return Err(NoRuntime::Fallback);
    }
    let chosen = match (asked.flag.filter(|id| *id != AUTO), asked.has_command) {
        (Some(COMMAND) | None, true) => Chosen::Command,
        (Some(id), has_command) => {
            let chosen = asked.named("--runtime", id)?;
            if has_command {
                let id = id.to_owned();
                return Err(NoRuntime::TwoCommands { id });
            }
            asked.check_pin(&format!("--runtime {id}"), chosen)?;
            return match chosen {
                Chosen::Command => Err(no_command("--runtime")),
                registered => Ok(registered),
            };
        }
        (None, false) => return asked.unnamed(),
    };
    asked.check_pin("the command after --", chosen)?;
    Ok(chosen)
}

impl<'a> Asked<'a> {
    /// Neither a runtime nor a command was given.
    fn unnamed(&self) -> Result<Chosen<'a>, NoRuntime> {
        if let Some(Session { key, runtime }) = self.session {
            let key = key.to_owned();
            return match self.registered.get(runtime) {
                Some(definition) => Ok(Chosen::Registered(runtime, definition)),
                None if runtime == COMMAND => Err(NoRuntime::SessionNeedsCommand { key }),
                None => Err(self.sessions_gone(&key, runtime)),
            };
        }
        let of_agent = format!("\"agents.{}.runtime\"", self.agent);
        let settings = [
            (RUNTIME_VARIABLE, self.variable),
            (of_agent.as_str(), self.of_agent),
        ];
        let mut set = settings.iter().filter_map(|(by, id)| Some((*by, (*id)?)));
        let (by, id) = match self.flag {
            None => set.next().unwrap_or(("", AUTO)),
            Some(_) => ("", AUTO),
        };
        match id {
            AUTO => {
                let claiming = self.model.and_then(|model| self.registered.claiming(model));
                claiming
                    .map(|(id, runtime)| Chosen::Registered(id, runtime))
                    .ok_or_else(|| self.nothing())
            }
            COMMAND => Err(no_command(by)),
            id => self.named(by, id),
        }
    }

    fn named(&self, by: &str, id: &'a str) -> Result<Chosen<'a>, NoRuntime> {
        if id == COMMAND {
            return Ok(Chosen::Command);
        }
        if let Some(runtime) = self.registered.get(id) {
            return Ok(Chosen::Registered(id, runtime));
        }
        if let Some(session) = self.session.filter(|session| session.runtime == id) {
            return Err(self.sessions_gone(session.key, id));
        }
        let ids = self.registered.iter().map(|(id, _)| id);
        let near = nearest(id, ids.chain([AUTO, COMMAND]));
        Err(NoRuntime::Unknown {
            by: by.to_owned(),
            id: id.to_owned(),
            config: self.config.display().to_string(),
            todo: match near.first() {
                Some(near) => format!("did you mean {near}?"),
                None if id.is_empty() => "give an id, or leave it out".to_owned(),
                None => "add it".to_owned(),
            },
        })
    }

    /// A session goes on with the runtime that it began with.
    fn check_pin(&self, by: &str, chosen: Chosen<'_>) -> Result<(), NoRuntime> {
        match self.session {
            Some(Session { key, runtime }) if runtime != chosen.id() => {
                Err(NoRuntime::OtherRuntime {
                    by: by.to_owned(),
                    key: key.to_owned(),
                    pinned: runtime.to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    fn sessions_gone(&self, key: &str, pinned: &str) -> NoRuntime {
        NoRuntime::SessionsGone {
            key: key.to_owned(),
            pinned: pinned.to_owned(),
            config: self.config.display().to_string(),
        }
    }

    fn nothing(&self) -> NoRuntime {
        let lead = match self.chose_local {
            true => "the local backend",
            false => "no gateway is configured, so the local backend is chosen, and it",
        };
        let unmatched = self
            .model
            .map(|model| format!(", for no registered runtime's \"models\" match {model}"));
        let ids: Vec<&str> = self.registered.iter().map(|(id, _)| id).collect();
        let or = match ids.is_empty() {
            true => format!(
                "register a runtime under \"runtimes\" in {}",
                self.config.display()
            ),
            false => format!("--runtime ID (registered: {})", ids.join(", ")),
        };
        NoRuntime::Nothing {
            lead: lead.to_owned(),
            unmatched: unmatched.unwrap_or_default(),
            or,
        }
    }
}

fn no_command(by: &str) -> NoRuntime {
    NoRuntime::NoCommand { by: by.to_owned() }
}

#[cfg(test)]
#[path = "runtimes_tests.rs"]
mod tests;
