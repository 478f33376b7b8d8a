//! What `done` turns away, and with which words. Pure: the facts are gathered outside.
//!
//! Each guard passes, passes with a warning, or rejects with a sentence that says what to do. They are asked in this order:
//! checklist, running time, git command without a commit, commit, session activity.

use serde_json::{Map, Value};

use super::git_order::ordered_command;
use crate::backend::BackendName;
use crate::duration::format_duration;
use crate::record::{Entry, MAX_TEXT_BYTES, clip_text};

/// A run that is shorter did nothing, as a rule.
const LEAST_RUN_S: i64 = 60;

/// The same for a run that was given more time than [`LONG_TIMEOUT_S`].
const LEAST_LONG_RUN_S: i64 = 120;

/// Time limits above this promise work that takes a while.
const LONG_TIMEOUT_S: u64 = 600;

/// A session with so many messages has its prompt and the signal itself: see [`crate::session::activity`].
const IDLE_MESSAGES: usize = 2;

/// The most bytes of a checklist. The ledger keeps it, and words have their place in the summary.
const MAX_CHECKLIST_BYTES: usize = 8 * 1024;

/// Passed, perhaps with a warning; or the sentence of the rejection.
pub type Verdict = Result<Option<String>, String>;

/// What the caller said about the guards.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flags<'a> {
    /// The commit that holds the work.
    pub sha: Option<&'a str>,
    /// Let it pass.
    pub force: bool,
    /// Why.
    pub reason: Option<&'a str>,
    /// Do not look at the session.
    pub skip_activity: bool,
}

/// What git says of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lookup {
    /// It is one of the repository's.
    Found,
    /// It is none of the repository's.
    Missing,
    /// Nobody can tell: no repository, no git, no answer.
    Unknown(String),
}

/// How much was said in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Activity {
    /// So many messages, as far as that matters.
    Messages(usize),
    /// Nobody can tell.
    Unknown(String),
}

/// The checklist is there and says that the work is complete.
///
/// # Errors
/// The sentence of the rejection.
pub fn checklist(text: Option<&str>) -> Result<Map<String, Value>, String> {
    let Some(text) = text else {
        return Err(
            "--checklist is required; give --checklist '{\"work_complete\":true}'".to_owned(),
        );
    };
    let value: Value =
        serde_json::from_str(text).map_err(|e| format!("--checklist must be valid JSON: {e}"))?;
    let Value::Object(checklist) = value else {
        return Err(
            "--checklist must be a JSON object such as {\"work_complete\":true}".to_owned(),
        );
    };
    if checklist.get("work_complete") != Some(&Value::Bool(true)) {
        return Err("checklist.work_complete must be true".to_owned());
    }
    for name in ["tests_passed", "pushed"] {
        if checklist.get(name) == Some(&Value::Bool(false)) {
            return Err(format!("checklist.{name} is false"));
        }
    }
    let bytes = text.len();
    if bytes > MAX_CHECKLIST_BYTES || checklist.values().any(is_long) {
        return Err(format!(
            "--checklist is too long ({bytes} bytes; at most {MAX_CHECKLIST_BYTES}, and {MAX_TEXT_BYTES} for one text); put the words into --summary"
        ));
    }
    Ok(checklist)
}

/// Somewhere in it is a text that is longer than the ledger takes.
fn is_long(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() > MAX_TEXT_BYTES,
        Value::Array(items) => items.iter().any(is_long),
        Value::Object(fields) => fields.values().any(is_long),
        _ => false,
    }
}

/// A label whose backend counts turns. What a plain command has done shows in its output.
pub fn counts_turns(entry: &Entry) -> bool {
    BackendName::of_entry(entry) != Some(BackendName::Local)
}

/// The run was long enough to have done something.
///
/// # Errors
/// The sentence of the rejection.
pub fn running_time(entry: &Entry, flags: &Flags<'_>, now_ms: i64) -> Verdict {
    let Some(since) = entry.time("spawnedAt").filter(|_| counts_turns(entry)) else {
        return Ok(None);
    };
    let limit_s = entry
        .number("timeoutSeconds")
        .or_else(|| entry.number("timeout"));
    let least_s = match limit_s {
        Some(limit_s) if limit_s > LONG_TIMEOUT_S => LEAST_LONG_RUN_S,
        _ => LEAST_RUN_S,
    };
    let ran_ms = now_ms.saturating_sub(since).max(0);
    if ran_ms >= least_s * 1000 || (flags.force && flags.reason.is_some()) {
        return Ok(None);
    }
    let ran_s = ran_ms / 1000;
    Err(match flags.force {
        true => format!(
            "--force-done requires --reason for a run of {ran_s}s, which is less than {least_s}s"
        ),
        false => format!(
            "Session ran for only {ran_s}s -- suspiciously short (less than {}); if the work is complete all the same, say why: --force-done --reason \"...\"",
            format_duration(least_s * 1000)
        ),
    })
}

/// A prompt that orders a git command has a commit to show for it.
///
/// # Errors
/// The sentence of the rejection.
pub fn git(label: &str, prompt: Option<&str>, flags: &Flags<'_>) -> Verdict {
    let Some(prompt) = prompt else {
        return Ok(Some(format!(
            "no prompt is stored for label \"{label}\": not checked whether it orders a git command"
        )));
    };
    let ordered = ordered_command(prompt).filter(|_| flags.sha.is_none());
    match ordered {
        None => Ok(None),
        Some(command) => Err(format!(
            "Task involves git commits (\"{}\") but --sha was not provided; give the commit that holds the work",
            command.split_whitespace().collect::<Vec<_>>().join(" ")
        )),
    }
}

/// A commit's name is 7 to 40 hex digits.
///
/// # Errors
/// The sentence of the rejection.
pub fn sha_form(sha: &str) -> Verdict {
    let is_one = (7..=40).contains(&sha.len()) && sha.bytes().all(|b| b.is_ascii_hexdigit());
    match is_one {
        true => Ok(None),
        false => Err(format!(
            "--sha \"{}\" is not a valid git SHA: it takes 7 to 40 hex digits",
            clip_text(sha, 80).escape_debug()
        )),
    }
}

/// The commit is one of the repository in `place`.
///
/// # Errors
/// The sentence of the rejection.
pub fn sha_lookup(sha: &str, place: &str, lookup: &Lookup) -> Verdict {
    match lookup {
        Lookup::Found => Ok(None),
        Lookup::Missing => Err(format!(
            "SHA {sha} not found: it is no commit of the git repository in {place}"
        )),
        Lookup::Unknown(why) => Ok(Some(format!(
            "SHA {sha} could not be looked up in {place}: {why}"
        ))),
    }
}

/// Something was done in the session.
///
/// # Errors
/// The sentence of the rejection.
pub fn activity(activity: &Activity) -> Verdict {
    match activity {
        Activity::Messages(count) if *count <= IDLE_MESSAGES => Err(format!(
            "Session has only {count} messages: its prompt and this signal, as it seems; do the work first, or give --skip-activity-check if it was done elsewhere"
        )),
        Activity::Messages(_) => Ok(None),
        Activity::Unknown(why) => Ok(Some(format!("session activity check unavailable: {why}"))),
    }
}

#[cfg(test)]
#[path = "guards_tests.rs"]
mod tests;
