//! `dispatch note`: a progress message through the outbox, so that an agent needs no token and no network of its own.

use anyhow::Result;
use serde_json::json;

use super::args::NoteArgs;
use super::done::speaks_for_itself;
use super::done::unkept;
use super::exit::{OK, failure, usage};
use super::output::Output;
use super::{labels, views};
use crate::backend::Text;
use crate::completion::artifact::ArtifactName;
use crate::completion::cap::ArtifactOutcome;
use crate::delivery::{DeliveryMode, targets};
use crate::home::Home;
use crate::ledger::{Ledger, Patience};
use crate::paths::Environment;
use crate::record::{Entry, MAX_TEXT_BYTES};
use crate::watch::ending::content;
use crate::watch::{file_text, requests};
use crate::watchers::ensure_watcher;

/// Runs the command.
///
/// # Errors
/// An empty message, an unknown label, one that is not running; an unwritable ledger.
pub fn run(
    home: &Home,
    output: Output,
    args: &NoteArgs,
    env: Environment<'_>,
    json_asked: bool,
) -> Result<u8> {
    let label = args.label.as_str();
    if args.text.trim().is_empty() {
        return Err(usage("the note is empty; give its text as the last word"));
    }
    let ledger = Ledger::new(home);
    labels::find(home, &ledger.read()?, label)?;
    // A note that the ledger can hold needs no file.
    let artifact = match args.text.len() > MAX_TEXT_BYTES {
        true => {
            let name = ArtifactName::new(home.now_ms(), label, "note");
            file_text(home, &name, &Text::Inline(args.text.clone()))
        }
        false => ArtifactOutcome::Failed(String::new()),
    };
    if let ArtifactOutcome::Failed(why) = &artifact
        && args.text.len() > MAX_TEXT_BYTES
    {
        return Err(failure(unkept("note", &args.text, why)));
    }
    let content = content(String::new(), &args.text, &artifact, args.text.len() as u64);
    let outcome = ledger.update(Patience::Command, |book| {
        let mut entry = book.get(label)?;
        let noted = requests::note(label, &mut entry, &content, book.now_ms());
        if noted.is_ok() {
            book.put(label, entry.clone());
        }
        Some(noted.map(|number| (entry, number)))
    })?;
    let (entry, number) = match outcome {
        Some(Ok(written)) => written,
        Some(Err(status)) => {
            return Err(failure(format!(
                "label \"{label}\" is not running: it is {status}; nobody waits for a note"
            )));
        }
        None => {
            return Err(failure(format!(
                "label \"{label}\" has just left the ledger"
            )));
        }
    };
    ensure_watcher(home, label, entry.generation());
    let message = match is_sent(&entry) {
        true => "Note recorded; the watcher sends it.",
        false => "Note counted; the label has no delivery target, so nobody is told.",
    };
    if speaks_for_itself(label, env) && !json_asked {
        output.aside(&home.config.brand, &format!("{label}: {message}"))?;
        return Ok(OK);
    }
    match output.is_json() {
        true => output.json(&json!({
            "ok": true,
            "label": label,
            "note": number,
            "delivery": views::delivery_surface(&entry),
            "message": message,
        }))?,
        false => output.untrusted(&format!("{label}: {message}"))?,
    }
    Ok(OK)
}

fn is_sent(entry: &Entry) -> bool {
    DeliveryMode::from_text(entry.text("deliveryMode")) != DeliveryMode::None
        && !targets(entry).is_empty()
}
