//! `dispatch done`: the agent's own completion signal.
//!
//! Its guards come first, and write nothing. The summary's full text is kept before the state changes; state and outbox
//! change in one ledger write, over the very generation that the guards have looked at.

mod commit;
mod facts;
pub mod guards;

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use self::facts::{activity_of, prompt_of};
use self::guards::{Flags, Verdict};
use super::args::DoneArgs;
use super::enqueue::target::{self, Target};
use super::exit::{OK, failure, usage};
use super::output::Output;
use super::views;
use crate::backend::Text;
use crate::completion::artifact::ArtifactName;
use crate::completion::cap::ArtifactOutcome;
use crate::completion::choice::is_generic_summary;
use crate::completion::structured::{Forced, Report};
use crate::delivery::{ALIAS, CONFIGURED, is_owed};
use crate::home::Home;
use crate::ledger::{Archive, Book, Ledger, Patience};
use crate::paths::Environment;
use crate::record::{DeliveryKind, Entry, Generation, Label, MAX_TEXT_BYTES, Phase, Status};
use crate::watch::requests::{Signal, Signalled, answered};
use crate::watch::{Reader, file_text, last_reply, recorded_summary};
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
    /// The label has another generation than the one that the guards have looked at.
    Moved,
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
    let checklist = guards::checklist(args.checklist.as_deref()).map_err(rejected)?;
    let generation = generation(args, label, env)?;
    let forced = args.force_done.then(|| Forced {
        by: caller(env),
        reason: reason(args).map(str::to_owned),
    });
    let report = Report {
        raw_summary: text(args.summary.as_ref()).unwrap_or(GENERIC_SUMMARY),
        checklist: &checklist,
        sha: args.sha.as_deref(),
        unfenced: generation.is_none(),
        forced: forced.as_ref(),
    };
    // Within its own session, what is printed here would become part of the session's reply.
    let is_aside = speaks_for_itself(label, env) && !json_asked;
    let (entry, message) = match signal(home, label, generation, args, &report)? {
        Outcome::Rejected(why) => return Err(rejected(why)),
        Outcome::Moved => return Err(failure(moved(label))),
        Outcome::Again(entry) if says_otherwise(home, &entry, report.raw_summary) => {
            if !is_aside {
                home.say(&format!(
                    "warn: label \"{label}\" was done already: its first summary stands, and these words were not recorded"
                ));
            }
            (
                entry,
                "Label was done already; its first summary stands, and these words were not recorded.",
            )
        }
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
            if home.config.is_deliver_to_unread {
                home.say(&format!(
                    "warn: deliverTo in config cannot be read -- completion of \"{label}\" is delivered when it can be"
                ));
            } else if home.config.deliver_to.is_none() {
                home.say(&format!(
                    "warn: no deliverTo in config -- completion not delivered for \"{label}\""
                ));
            }
            (entry, "Label not previously registered; marked done.")
        }
    };
    wake_watcher(home, label, &entry);
    match is_aside {
        true => output.aside(&home.config.brand, &format!("{label}: {message}"))?,
        false => answer(output, label, &entry, message)?,
    }
    Ok(OK)
}

/// A signal for a label that is done brings words of its own which are not what is on record.
fn says_otherwise(home: &Home, entry: &Entry, summary: &str) -> bool {
    let recorded = [last_reply(home, entry), recorded_summary(entry)];
    let is_recorded = |text: &String| text.trim() == summary.trim();
    !is_generic_summary(summary) && !recorded.iter().flatten().any(is_recorded)
}

/// How often the guards look again at a label that was enqueued anew meanwhile.
const LOOKS: usize = 3;

/// Asks the guards, keeps the text and takes the signal into the ledger.
fn signal(
    home: &Home,
    label: &str,
    generation: Option<Generation>,
    args: &DoneArgs,
    report: &Report<'_>,
) -> Result<Outcome> {
    let ledger = Ledger::new(home);
    for _ in 0..LOOKS {
        let known = ledger.entry(label)?;
        if let (Some(entry), Some(wanted)) = (&known, generation)
            && wanted != entry.generation()
            && Archive::new(home).find(label, wanted)?.is_none()
        {
            return Ok(Outcome::Rejected(format!(
                "label \"{label}\" has no generation {wanted}, neither in the ledger nor in the archive; the current one is {}",
                entry.generation()
            )));
        }
        if let Some(entry) = &known
            && let Some(answer) = answered(label, entry, generation)
        {
            return Ok(outcome(answer, entry));
        }
        guard(home, label, known.as_ref(), args)?;
        let told = report.told();
        let run_id = known.as_ref().and_then(|e| e.text("runId"));
        let name = ArtifactName::new(home.now_ms(), label, run_id.unwrap_or("done"));
        let artifact = file_text(home, &name, &Text::Inline(told.clone()));
        if let ArtifactOutcome::Failed(why) = &artifact
            && told.len() > MAX_TEXT_BYTES
        {
            return Err(failure(unkept("summary", &told, why)));
        }
        let signal = Signal {
            label,
            brand: home
                .config
                .brand_of(known.as_ref().and_then(|entry| entry.text("agent"))),
            generation,
            summary: &told,
            report: *report,
            artifact: &artifact,
            reader: known.as_ref().map_or(Reader::Outbox, |entry| {
                Reader::of_signal(home, label, entry)
            }),
        };
        let seen = known.as_ref().map(Entry::generation);
        match ledger.update(Patience::Done, |book| apply(home, &signal, seen, book))?? {
            Outcome::Moved => {}
            outcome => return Ok(outcome),
        }
    }
    Ok(Outcome::Moved)
}

fn moved(label: &str) -> String {
    format!(
        "label \"{label}\" is enqueued again and again; nothing was recorded: give --generation"
    )
}

fn rejected(why: String) -> anyhow::Error {
    failure(format!("REJECTED: {why}"))
}

/// A flag's text, where it says anything.
fn text(flag: Option<&String>) -> Option<&str> {
    flag.map(String::as_str)
        .filter(|text| !text.trim().is_empty())
}

fn reason(args: &DoneArgs) -> Option<&str> {
    text(args.reason.as_ref())
}

/// Who gives the signal, as far as that shows.
fn caller(env: Environment<'_>) -> String {
    let known = |name: &str| {
        env(name)
            .and_then(|value| value.into_string().ok())
            .filter(|value| !value.is_empty())
    };
    match (
        known("DISPATCH_LABEL"),
        known("USER").or_else(|| known("LOGNAME")),
    ) {
        (Some(label), _) => format!("the session of label \"{label}\""),
        (None, Some(user)) => format!("user {user}"),
        (None, None) => format!("user {}", rustix::process::getuid().as_raw()),
    }
}

/// Asks the guards behind the checklist, in their order; a fact that costs something is gathered when it is its turn.
fn guard(home: &Home, label: &str, entry: Option<&Entry>, args: &DoneArgs) -> Result<()> {
    let flags = Flags {
        sha: args.sha.as_deref(),
        force: args.force_done,
        reason: reason(args),
        skip_activity: args.skip_activity_check,
    };
    let pass = |verdict: Verdict| -> Result<()> {
        if let Some(warning) = verdict.map_err(rejected)? {
            home.say(&format!("warn: {warning}"));
        }
        Ok(())
    };
    if let Some(entry) = entry {
        pass(guards::running_time(entry, &flags, home.now_ms()))?;
        let prompt = prompt_of(home, entry);
        // A command may have no prompt at all.
        if prompt.is_some() || guards::counts_turns(entry) {
            pass(guards::git(label, prompt.as_deref(), &flags))?;
        }
    }
    if let Some(sha) = flags.sha {
        pass(guards::sha_form(sha))?;
        let place = entry.and_then(|entry| entry.text("cwd")).map(PathBuf::from);
        let place = place.map_or_else(std::env::current_dir, Ok)?;
        let lookup = commit::look_up(&place, sha);
        pass(guards::sha_lookup(sha, &place.to_string_lossy(), &lookup))?;
    }
    let looks_at_session = !flags.skip_activity && !flags.force;
    if let Some(entry) = entry.filter(|entry| looks_at_session && guards::counts_turns(entry))
        && let Some(key) = entry.text("sessionKey")
    {
        pass(guards::activity(&activity_of(home, entry, key)))?;
    }
    if flags.force {
        let why = flags.reason.unwrap_or("no reason given");
        home.say(&format!(
            "warn: force-done used for label \"{label}\": {why}"
        ));
    } else if flags.reason.is_some() {
        home.say("warn: --reason means nothing without --force-done");
    }
    Ok(())
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
fn apply(
    home: &Home,
    signal: &Signal<'_>,
    seen: Option<Generation>,
    book: &mut Book,
) -> Result<Outcome> {
    let label = signal.label;
    let Some(mut entry) = book.get(label) else {
        if seen.is_some() {
            return Ok(Outcome::Moved);
        }
        let mut entry = unregistered(home, label, book.now_ms())?;
        signal.complete(&mut entry, DeliveryKind::Result, book.now_ms());
        book.put(label, entry);
        let entry = book.get(label).unwrap_or_default();
        return Ok(Outcome::Done {
            entry,
            was_registered: false,
        });
    };
    let is_another = seen != Some(entry.generation());
    if is_another && answered(label, &entry, signal.generation).is_none() {
        return Ok(Outcome::Moved);
    }
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
    let generation = Archive::new(home).next_generation(label, None, now_ms)?;
    let mut entry = Entry::new();
    entry.set_generation(generation);
    if let Some(target) = usual_target(home) {
        entry.set("deliverTo", target.to);
        entry.set("deliverChannel", target.channel);
        entry.set("deliveryMode", "announce");
    }
    Ok(entry)
}

/// The configuration's target. A completion is not lost over a file that cannot be read, or an alias that nobody configured:
/// its record waits where everybody sees it, until they lead somewhere.
fn usual_target(home: &Home) -> Option<Target> {
    let looked_up = |channel: &str, to: &str| {
        let (channel, to) = (channel.to_owned(), to.to_owned());
        Some(Target { channel, to })
    };
    if home.config.is_deliver_to_unread {
        let (channel, to) = CONFIGURED.split_once(':')?;
        return looked_up(channel, to);
    }
    let channel = home.config.delivery_channel.clone();
    target::configured(home, channel).unwrap_or_else(|e| {
        home.say(&format!("warn: {e}"));
        looked_up(ALIAS, home.config.deliver_to.as_deref()?)
    })
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
