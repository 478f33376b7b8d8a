//! `dispatch done`: the agent's own completion signal.
//!
//! The summary's full text is kept before the state changes; state and outbox change in one ledger write.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::args::DoneArgs;
use super::exit::{OK, failure, usage};
use super::output::Output;
use super::views;
use crate::backend::Text;
use crate::completion::artifact::ArtifactName;
use crate::completion::cap::ArtifactOutcome;
use crate::delivery::is_owed;
use crate::home::Home;
use crate::ledger::{Archive, Book, Ledger, Patience};
use crate::paths::Environment;
use crate::record::{DeliveryKind, Entry, Generation, Label, MAX_TEXT_BYTES, Phase, Status};
use crate::watch::file_text;
use crate::watch::requests::{Signal, Signalled, answered};
use crate::watchers::{Post, ensure_watcher};

/// The summary where the agent gave none.
const GENERIC_SUMMARY: &str = "completed (agent signal)";

/// What the ledger made of the signal.
enum Outcome {
    /// The label is done by it.
    Done { entry: Entry, was_registered: bool },
    /// It was done before.
    Again(Entry),
    /// Something forbids it.
    Rejected(String),
}

/// Runs the command.
///
/// # Errors
/// `REJECTED:` sentences of the guards (nothing is written); an unwritable ledger.
pub fn run(
    home: &Home,
    output: Output,
    args: &DoneArgs,
    env: Environment<'_>,
    json_asked: bool,
) -> Result<u8> {
    let label = Label::new(&args.label).map_err(|e| usage(format!("--label: {e}")))?;
    let label = label.as_str();
    let checklist = check(args.checklist.as_deref())?;
    let summary = args
        .summary
        .as_deref()
        .filter(|s| !s.trim().is_empty())
        .unwrap_or(GENERIC_SUMMARY);
    let generation = generation(args, label, env)?;
    let ledger = Ledger::new(home);
    let known = ledger.read()?.get(label);
    let settled = known.as_ref().and_then(|e| settled(e, generation, label));
    let outcome = match settled {
        Some(outcome) => outcome,
        None => {
            let run_id = known.as_ref().and_then(|e| e.text("runId"));
            let name = ArtifactName::new(home.now_ms(), label, run_id.unwrap_or("done"));
            let artifact = file_text(home, &name, &Text::Inline(summary.to_owned()));
            if let ArtifactOutcome::Failed(why) = &artifact
                && summary.len() > MAX_TEXT_BYTES
            {
                return Err(failure(unkept("summary", summary, why)));
            }
            let signal = Signal {
                label,
                brand: home
                    .config
                    .brand_of(known.as_ref().and_then(|e| e.text("agent"))),
                generation,
                summary,
                is_given: args.summary.is_some(),
                checklist: &checklist,
                sha: args.sha.as_deref(),
                artifact: &artifact,
            };
            ledger.update(Patience::Done, |book| apply(home, &signal, book))??
        }
    };
    let (entry, message) = match outcome {
        Outcome::Rejected(why) => return Err(failure(format!("REJECTED: {why}"))),
        Outcome::Again(entry) => (entry, "Label was done already; nothing changed."),
        Outcome::Done {
            entry,
            was_registered: true,
        } => match entry.status() {
            Status::Done => (entry, "Label marked done via agent signal."),
            _ => (
                entry,
                "Signal recorded; the label is done when its verify command passes.",
            ),
        },
        Outcome::Done {
            entry,
            was_registered: false,
        } => {
            home.say(&format!(
                "warn: no session found for label \"{label}\" -- registering as done"
            ));
            if home.config.deliver_to.is_none() {
                home.say(&format!(
                    "warn: no deliverTo in config -- completion not delivered for \"{label}\""
                ));
            }
            (entry, "Label not previously registered; marked done.")
        }
    };
    wake_watcher(home, label, &entry);
    // Within its own session, what is printed here would become part of the session's reply.
    match speaks_for_itself(label, env) && !json_asked {
        true => output.aside(&home.config.brand, &format!("{label}: {message}"))?,
        false => answer(output, label, &entry, message)?,
    }
    Ok(OK)
}

/// What is longer than the ledger keeps, and has no file, would be lost although it was acknowledged.
pub(super) fn unkept(what: &str, text: &str, why: &str) -> String {
    let bytes = text.len();
    format!(
        "the {what} ({bytes} bytes) could not be kept: {why}; nothing was recorded: try again, or with {MAX_TEXT_BYTES} bytes at most"
    )
}

/// The caller is the label's own local session, whose stdout is its reply.
pub fn speaks_for_itself(label: &str, env: Environment<'_>) -> bool {
    let own = env("DISPATCH_LABEL").and_then(|value| value.into_string().ok());
    own.as_deref() == Some(label) && env("DISPATCH_RUN_ID").is_some()
}

/// The checklist guard.
fn check(text: Option<&str>) -> Result<Map<String, Value>> {
    let Some(text) = text else {
        return Err(failure(
            "REJECTED: --checklist is required; give --checklist '{\"work_complete\":true}'",
        ));
    };
    let value: Value = serde_json::from_str(text)
        .map_err(|e| failure(format!("REJECTED: --checklist must be valid JSON: {e}")))?;
    let Value::Object(checklist) = value else {
        return Err(failure(
            "REJECTED: --checklist must be a JSON object such as {\"work_complete\":true}",
        ));
    };
    if checklist.get("work_complete") != Some(&Value::Bool(true)) {
        return Err(failure("REJECTED: checklist.work_complete must be true"));
    }
    for name in ["tests_passed", "pushed"] {
        if checklist.get(name) == Some(&Value::Bool(false)) {
            return Err(failure(format!("REJECTED: checklist.{name} is false")));
        }
    }
    Ok(checklist)
}

/// The generation that the caller means. A session's own variable speaks for its own label alone: a session that
/// signals for another label does not know that label's generation.
fn generation(args: &DoneArgs, label: &str, env: Environment<'_>) -> Result<Option<Generation>> {
    if let Some(given) = args.generation {
        return Ok(Some(Generation::new(given)));
    }
    let text = |name: &str| {
        env(name)
            .and_then(|value| value.into_string().ok())
            .filter(|v| !v.is_empty())
    };
    if text("DISPATCH_LABEL").is_some_and(|own| own != label) {
        return Ok(None);
    }
    match text("DISPATCH_GENERATION") {
        Some(value) => value.parse().map(Some).map_err(|_| {
            usage(format!(
                "DISPATCH_GENERATION must be a number, not \"{value}\""
            ))
        }),
        None => Ok(None),
    }
}

/// What becomes of a signal for an entry that it can no longer change.
fn settled(entry: &Entry, generation: Option<Generation>, label: &str) -> Option<Outcome> {
    answered(label, entry, generation).map(|answer| outcome(answer, entry))
}

fn outcome(answer: Signalled, entry: &Entry) -> Outcome {
    match answer {
        Signalled::Taken => Outcome::Done {
            entry: entry.clone(),
            was_registered: true,
        },
        Signalled::Again => Outcome::Again(entry.clone()),
        Signalled::Rejected(why) => Outcome::Rejected(why),
    }
}

/// Takes the signal into the ledger. What was found before may be old by now: it is asked again under the lock.
fn apply(home: &Home, signal: &Signal<'_>, book: &mut Book) -> Result<Outcome> {
    let label = signal.label;
    let Some(mut entry) = book.get(label) else {
        let mut entry = unregistered(home, label, book.now_ms())?;
        signal.complete(&mut entry, DeliveryKind::Result, book.now_ms());
        book.put(label, entry);
        let entry = book.get(label).unwrap_or_default();
        return Ok(Outcome::Done {
            entry,
            was_registered: false,
        });
    };
    let answer = signal.apply(&mut entry, book.now_ms());
    if answer != Signalled::Taken {
        return Ok(outcome(answer, &entry));
    }
    book.put(label, entry);
    let entry = book.get(label).unwrap_or_default();
    Ok(outcome(answer, &entry))
}

/// The entry of a label that nobody enqueued.
fn unregistered(home: &Home, label: &str, now_ms: i64) -> Result<Entry> {
    let previous = Archive::new(home).last_generation(label)?;
    let mut entry = Entry::new();
    entry.set_generation(Generation::next(previous, now_ms));
    if let Some(to) = &home.config.deliver_to {
        entry.set("deliverTo", to.as_str());
        entry.set("deliverChannel", home.config.delivery_channel.as_str());
        entry.set("deliveryMode", "announce");
    }
    Ok(entry)
}

/// A watcher at its post hears of the signal at once; one is started where the run goes on or a delivery is owed.
fn wake_watcher(home: &Home, label: &str, entry: &Entry) {
    let post = Post::of(home, label, entry.generation());
    post.poke();
    if is_owed(entry) || entry.phase() == Some(Phase::Verifying) {
        ensure_watcher(home, label, entry.generation());
    }
}

fn answer(output: Output, label: &str, entry: &Entry, message: &str) -> Result<()> {
    if !output.is_json() {
        output.untrusted(&format!("{label}: {message}"))?;
        return Ok(());
    }
    output.json(&json!({
        "ok": true,
        "label": label,
        "status": entry.status().as_str(),
        "phase": entry.text("phase"),
        "summary": entry.value("summary"),
        "completion": entry.value("completion"),
        "generation": entry.generation(),
        "delivery": views::delivery_surface(entry),
        "message": message,
    }))?;
    Ok(())
}
