//! `dispatch result`: what came out of a label. Never asks the agent again.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::args::ResultArgs;
use super::exit::{FAILURE, OK, failure};
use super::output::{Output, write_stdout};
use super::{labels, views};
use crate::completion::artifact::read_artifact;
use crate::home::Home;
use crate::ledger::{Archive, Ledger};
use crate::record::{Entry, Generation, Status};
use crate::shell;
use crate::watch::{MAX_ARTIFACT_BYTES, artifact_path, recorded_message, recorded_text};

/// Runs the command. `--path` prints the bare path unless `json_asked`, which is more than a stdout that is no terminal.
///
/// # Errors
/// When the ledger, the archive or the artifact cannot be read.
pub fn run(home: &Home, output: Output, args: &ResultArgs, json_asked: bool) -> Result<u8> {
    let label = args.label.as_str();
    let Some(entry) = find(home, output, args)? else {
        return Ok(FAILURE);
    };
    let ended = entry.status().is_ended();
    let gone = artifact_path(home, &entry, "artifact").filter(|path| ended && is_gone(home, path));
    if args.path {
        let Some(path) = artifact_path(home, &entry, "artifact").filter(|_| ended) else {
            return Err(failure(no_result(label, &entry, "no file with its text")));
        };
        if let Some(path) = &gone {
            return Err(failure(cut_short(label, path)));
        }
        match json_asked {
            true => output.json(&json!({"ok": true, "label": label, "path": path}))?,
            false => write_stdout(format!("{}\n", path.display()).as_bytes())?,
        }
        return Ok(OK);
    }
    let code = if ended { OK } else { FAILURE };
    if output.is_json() {
        let limit = (!args.full).then(|| {
            crate::completion::cap::inline_limit_from(home.config.inline_limit.as_deref())
        });
        let mut fields = views::text_fields(home, label, &entry, limit);
        if let Some(path) = &gone {
            fields.insert("message".to_owned(), json!(cut_short(label, path)));
        }
        if args.full {
            fields.insert("lastWords".to_owned(), json!(last_words(home, &entry)));
        }
        output.json(&Value::Object(fields))?;
        return Ok(code);
    }
    if !ended {
        return Err(failure(no_result(label, &entry, "no result yet")));
    }
    if let Some(path) = &gone {
        home.say(&cut_short(label, path));
    }
    match args.full {
        true => {
            output.untrusted(&recorded_text(home, &entry))?;
            if let Some(words) = last_words(home, &entry) {
                output.untrusted(&format!("\nThe agent's last words:\n\n{words}"))?;
            }
        }
        false => output.untrusted(&recorded_message(home, label, &entry))?,
    }
    Ok(code)
}

/// The file that should hold the whole text was removed.
fn is_gone(home: &Home, path: &Path) -> bool {
    matches!(home.storage.facts(path), Ok(None))
}

fn cut_short(label: &str, path: &Path) -> String {
    format!(
        "label \"{label}\" has no file with its whole text any more ({} is gone); what the ledger kept of it is left",
        path.display()
    )
}

fn no_result(label: &str, entry: &Entry, what: &str) -> String {
    if entry.status().is_ended() {
        return format!(
            "label \"{label}\" has {what}; read what the ledger has by: dispatch result {}",
            shell::label(label)
        );
    }
    let status = entry.status();
    let hint = match status {
        Status::Running => format!(
            "; wait for its end by: dispatch wait {}",
            shell::operand(label)
        ),
        // Another tool's status, which nobody here brings to an end.
        _ => String::new(),
    };
    format!("label \"{label}\" has {what}: it is {status}{hint}")
}

fn last_words(home: &Home, entry: &Entry) -> Option<String> {
    read_artifact(
        &artifact_path(home, entry, "lastWords")?,
        MAX_ARTIFACT_BYTES,
    )
    .ok()
}

/// The entry of the wanted generation; says so when there is none.
fn find(home: &Home, output: Output, args: &ResultArgs) -> Result<Option<Entry>> {
    let book = Ledger::new(home).read()?;
    let label = args.label.as_str();
    let current = book.get(label);
    let wanted = args.generation.map(Generation::new);
    if wanted.is_none() {
        labels::check_readable(&book, label)?;
    }
    let found = match (wanted, current) {
        (None, None) => Archive::new(home).latest(label)?,
        (None, current) => current,
        (Some(wanted), Some(entry)) if entry.generation() == wanted => Some(entry),
        (Some(wanted), _) => Archive::new(home).find(label, wanted)?,
    };
    if found.is_some() {
        return Ok(found);
    }
    let message = match wanted {
        Some(wanted) => format!(
            "label \"{label}\" has no generation {wanted}, neither in the ledger nor in the archive"
        ),
        None => labels::unknown(&book, label),
    };
    if output.is_json() && !args.path {
        output.json(&json!({"ok": false, "label": label, "message": message}))?;
        return Ok(None);
    }
    Err(failure(message))
}
