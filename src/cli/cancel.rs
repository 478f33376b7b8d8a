//! `dispatch cancel`: stop a running label. The request is recorded first, so that a crash in between leaves it to the
//! watcher; a reply that was complete before the stop wins. A command that lives on after its label's end is stopped, and
//! the label stays what it is; so is one of an older generation, beside whatever the label does now.

use std::cell::Cell;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::args::CancelArgs;
use super::exit::{FAILURE, OK, failure};
use super::output::Output;
use super::{labels, views};
use crate::backend::local::{LocalBackend, Survivor, command_at_work};
use crate::backend::openclaw::OpenclawBackend;
use crate::backend::{Backend, BackendName, RunRef};
use crate::home::Home;
use crate::ledger::{Archive, Ledger, Patience};
use crate::record::{Entry, Generation, Status, time};
use crate::shell;
use crate::storage::parent_of;
use crate::wake::Wake;
use crate::watch::requests::{Cancelling, cancel as request};
use crate::watchers::{Post, ensure_watcher};

/// Beyond the command's own grace, the settlement is waited for this long.
const SETTLE_WAIT: Duration = Duration::from_secs(30);

/// How often it is checked meanwhile that the watcher, who records the end, lives.
const WATCHER_CHECK: Duration = Duration::from_secs(1);

/// How long the gateway may take for the request; its watcher has more patience.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(4);

/// What came of a request to stop.
pub struct Stop {
    /// The entry as it is then.
    pub entry: Option<Entry>,
    /// Why the gateway was not told: the watcher tells it once it answers, and nobody waits for that.
    unheard: Option<String>,
    /// The commands that outlived their generations.
    survivors: Vec<Survived>,
}

/// What became of a command that outlived its generation, and was told to stop.
struct Survived {
    generation: Generation,
    /// The leader of its process group.
    pid: u32,
    /// It has ended.
    is_over: bool,
}

/// The call that stops this generation alone.
pub fn words(label: &str, generation: Generation) -> String {
    format!(
        "dispatch cancel {} --generation {generation}",
        shell::label(label)
    )
}

/// Runs the command.
///
/// # Errors
/// An unknown label or generation, one that has ended with its command, one whose backend this build lacks; an unwritable
/// ledger.
pub fn run(home: &Home, output: Output, args: &CancelArgs) -> Result<u8> {
    let ledger = Ledger::new(home);
    let label = args.label.as_str();
    let before = labels::find(home, &ledger.read()?, label)?;
    let wanted = args.generation.map(Generation::new);
    if let Some(older) = wanted.filter(|wanted| *wanted != before.generation()) {
        return stop_older(home, output, label, &before, older);
    }
    let was_running = before.status() == Status::Running;
    if !was_running && living(home, label, &before, wanted).is_empty() {
        return Err(failure(format!(
            "label \"{label}\" is not running: it is {}",
            before.status()
        )));
    }
    let stop = settle_generation(home, &ledger, label, wanted, args.reason.as_deref())?;
    let (is_done, message) = told(was_running, &stop);
    let entry = stop.entry.unwrap_or(before);
    answer(output, label, &entry, is_done, &message)
}

/// Stops the command of an older generation and nothing else.
fn stop_older(
    home: &Home,
    output: Output,
    label: &str,
    current: &Entry,
    older: Generation,
) -> Result<u8> {
    let Some(entry) = Archive::new(home).find(label, older)? else {
        return Err(failure(format!(
            "label \"{label}\" has no generation {older}, neither in the ledger nor in the archive; the current one is {}",
            current.generation()
        )));
    };
    let Some(survivor) = Survivor::of(home, label, &entry) else {
        return Err(failure(format!(
            "generation {older} of label \"{label}\" is not running: it is {}",
            entry.status()
        )));
    };
    let ended = end(home, &[survivor], current.generation())?;
    let (are_over, message) = told_of_survivors(&ended);
    answer(output, label, &entry, are_over, &message)
}

fn answer(output: Output, label: &str, entry: &Entry, is_done: bool, message: &str) -> Result<u8> {
    match output.is_json() {
        true => output.json(&json!({
            "ok": is_done,
            "label": label,
            "status": entry.status().as_str(),
            "generation": entry.generation(),
            "delivery": views::delivery_surface(entry),
            "message": message,
        }))?,
        false => output.untrusted(&format!("{label}: {message}"))?,
    }
    Ok(if is_done { OK } else { FAILURE })
}

/// What is to be stopped beside the label's run: all that outlived a generation, or only what outlived the one that is
/// meant.
fn living(home: &Home, label: &str, entry: &Entry, only: Option<Generation>) -> Vec<Survivor> {
    let mut living = Survivor::all(home, label, entry);
    living.retain(|survivor| only.is_none_or(|only| only == survivor.generation()));
    living
}

/// Whether that was done which was asked for, and what to say of it.
fn told(was_running: bool, stop: &Stop) -> (bool, String) {
    let Some(entry) = &stop.entry else {
        return (false, "the label is no longer in the ledger".to_owned());
    };
    let (own, older): (Vec<&Survived>, Vec<&Survived>) = stop
        .survivors
        .iter()
        .partition(|survived| survived.generation == entry.generation());
    let (is_done, message) = match (own.first(), was_running) {
        (None, false) if !older.is_empty() => (true, format!("it stays {}", entry.status())),
        (own, _) => told_of_label(entry, own.copied(), was_running, stop.unheard.as_deref()),
    };
    let (are_over, others) = told_of_survivors(older);
    match others.is_empty() {
        true => (is_done, message),
        false => (is_done && are_over, format!("{message}; {others}")),
    }
}

/// Whether the commands of older generations are over, and what became of each.
fn told_of_survivors<'a>(survivors: impl IntoIterator<Item = &'a Survived>) -> (bool, String) {
    let mut are_over = true;
    let mut told = Vec::new();
    for Survived {
        generation,
        pid,
        is_over,
    } in survivors
    {
        are_over &= is_over;
        told.push(match is_over {
            true => format!(
                "the command of generation {generation}, which lived on, is stopped (process group {pid})"
            ),
            false => format!(
                "the command of generation {generation} was told to stop and has not ended yet (process group {pid})"
            ),
        });
    }
    (are_over, told.join("; "))
}

fn told_of_label(
    entry: &Entry,
    own: Option<&Survived>,
    was_running: bool,
    unheard: Option<&str>,
) -> (bool, String) {
    let status = entry.status();
    match (own, was_running) {
        (
            Some(Survived {
                pid,
                is_over: false,
                ..
            }),
            _,
        ) => (
            false,
            format!("it is {status}; its command was told to stop and has not ended yet (process group {pid})"),
        ),
        (Some(Survived { pid, .. }), false) => (
            true,
            format!("it stays {status}; its command, which lived on, is stopped (process group {pid})"),
        ),
        _ => match &status {
            Status::Cancelled => (true, "cancelled".to_owned()),
            Status::Running => (
                false,
                match unheard {
                    Some(why) => format!(
                        "cancellation is recorded; the gateway does not answer ({why}), and the watcher cancels the session once it does"
                    ),
                    None => "cancellation is recorded; the session has not settled yet and its watcher goes on".to_owned(),
                },
            ),
            Status::Done if signalled_after_request(entry) => (
                false,
                "not cancelled: the agent signalled done after it was told to stop, and what it said is kept".to_owned(),
            ),
            Status::Done => (
                false,
                "not cancelled: its result was complete before".to_owned(),
            ),
            other => (false, format!("not cancelled: it had ended as {other}")),
        },
    }
}

/// The label is done by a signal that came when the request to stop was on record.
fn signalled_after_request(entry: &Entry) -> bool {
    let time_in = |object: &str, field: &str| time::parse(entry.value(object)?.get(field)?);
    let requested = time_in("cancelRequested", "at");
    let signalled = time_in("completion", "recordedAt");
    matches!((requested, signalled), (Some(requested), Some(signalled)) if signalled >= requested)
}

/// Stops the label's run, if it runs, and every command that outlived a generation of the label, and waits for their end,
/// unless the run's gateway is away.
///
/// # Errors
/// When the request cannot be recorded, or the run is one that this build cannot stop.
pub fn settle(home: &Home, ledger: &Ledger, label: &str, reason: Option<&str>) -> Result<Stop> {
    settle_generation(home, ledger, label, None, reason)
}

/// As [`settle`]; of one generation alone where that is meant.
pub fn settle_generation(
    home: &Home,
    ledger: &Ledger,
    label: &str,
    only: Option<Generation>,
    reason: Option<&str>,
) -> Result<Stop> {
    let mut stop = settle_label(home, ledger, label, only, reason)?;
    if let Some(entry) = &stop.entry {
        stop.survivors = end(home, &living(home, label, entry, only), entry.generation())?;
    }
    Ok(stop)
}

/// Ends commands that outlived their generations; the watcher of the label's current one keeps what that said.
fn end(home: &Home, survivors: &[Survivor], current: Generation) -> Result<Vec<Survived>> {
    let mut wake = Wake::new();
    for survivor in survivors {
        let run = survivor.run();
        survivor
            .stop(home)
            .with_context(|| format!("cannot stop the command of label \"{}\"", run.label))?;
        if run.generation == current {
            ensure_watcher(home, &run.label, current);
        }
        for path in LocalBackend::new(home).wake_paths(run) {
            wake.watch(&path);
        }
    }
    settles(home, &mut wake, || {
        for survivor in survivors {
            insist(home, survivor.run());
        }
        Ok(survivors.iter().all(|survivor| !survivor.is_at_work(home)))
    })?;
    let ended = survivors.iter().map(|survivor| Survived {
        generation: survivor.generation(),
        pid: survivor.pid,
        is_over: !survivor.is_at_work(home),
    });
    Ok(ended.collect())
}

/// A command that no runner carries, and that did not heed the request, is ended.
fn insist(home: &Home, run: &RunRef) {
    if let Err(e) = LocalBackend::new(home).insist(run) {
        home.say(&format!("cannot end the command: {e}"));
    }
}

/// Waits, not for ever, until `is_over`. Says whether it is.
fn settles(home: &Home, wake: &mut Wake, is_over: impl Fn() -> Result<bool>) -> Result<bool> {
    let limit = home.clock.monotonic() + home.config.term_grace + SETTLE_WAIT;
    loop {
        if is_over()? {
            return Ok(true);
        }
        let left = limit.saturating_sub(home.clock.monotonic());
        if left.is_zero() {
            return Ok(false);
        }
        wake.wait(left.min(Duration::from_secs(1)));
    }
}

fn settle_label(
    home: &Home,
    ledger: &Ledger,
    label: &str,
    only: Option<Generation>,
    reason: Option<&str>,
) -> Result<Stop> {
    let requested = ledger.update(Patience::Command, |book| {
        let mut entry = book.get(label)?;
        if only.is_some_and(|only| only != entry.generation()) {
            return None;
        }
        match request(&mut entry, reason, book.now_ms()) {
            Cancelling::Over => return None,
            Cancelling::Foreign => return Some(Err(())),
            Cancelling::Known => {}
            Cancelling::Recorded => book.put(label, entry.clone()),
        }
        Some(Ok(entry))
    });
    let requested = match requested {
        Ok(requested) => requested,
        Err(e) => return Err(with_way_out(home, label, e.into())),
    };
    let entry = match requested {
        None => {
            let entry = ledger.entry(label)?;
            let moved = entry.as_ref().map(Entry::generation);
            if let (Some(only), Some(now)) = (only, moved)
                && only != now
            {
                return Err(failure(format!(
                    "generation {only} of label \"{label}\" is over; the current one is {now}"
                )));
            }
            return Ok(Stop {
                entry,
                unheard: None,
                survivors: Vec::new(),
            });
        }
        Some(Err(())) => {
            return Err(failure(format!(
                "label \"{label}\" was started by another tool, which must stop it; or take it over first: dispatch watcher-handoff {}",
                shell::label(label)
            )));
        }
        Some(Ok(entry)) => entry,
    };
    let Some(run) = RunRef::of_entry(label, &entry) else {
        return Err(failure(format!(
            "label \"{label}\" names no session: there is nothing to stop"
        )));
    };
    let name = BackendName::of_entry(&entry).unwrap_or(BackendName::Local);
    let unheard = match name {
        BackendName::Local => {
            if let Err(e) = LocalBackend::new(home).abort(&run) {
                home.say(&format!(
                    "cannot reach the run ({e}); its watcher passes the request on"
                ));
            }
            None
        }
        BackendName::Openclaw => ask_gateway(home, &run)?,
    };
    ensure_watcher(home, label, run.generation);
    let entry = match unheard {
        Some(_) => ledger.entry(label)?,
        None => wait_for_settlement(home, ledger, &run, name)?,
    };
    Ok(Stop {
        entry,
        unheard,
        survivors: Vec::new(),
    })
}

/// A request that could not be recorded stops nothing. Where a command of this machine is at work (it may be what fills the
/// disk), the error says how it is ended all the same.
fn with_way_out(home: &Home, label: &str, error: anyhow::Error) -> anyhow::Error {
    let entry = Ledger::new(home).read().ok().and_then(|b| b.get(label));
    let run = entry
        .filter(|e| BackendName::of_entry(e) == Some(BackendName::Local))
        .and_then(|e| RunRef::of_entry(label, &e));
    match run.and_then(|run| command_at_work(home, &run)) {
        Some(pid) => failure(format!(
            "{error}; the command of label \"{label}\" works on; it is stopped without a record by: kill -TERM -- -{pid}"
        )),
        None => error,
    }
}

/// Asks the gateway to stop the run. Returns why it could not be asked.
fn ask_gateway(home: &Home, run: &RunRef) -> Result<Option<String>> {
    let asked = OpenclawBackend::new(home)?.abort_within(run, GATEWAY_PATIENCE);
    let Err(error) = asked else {
        return Ok(None);
    };
    Ok(match error.refusal() {
        // It answers, and its watcher finds out what became of the run.
        Some(_) => {
            home.say(&format!("{error}; the watcher passes the request on"));
            None
        }
        None => Some(error.to_string()),
    })
}

fn wait_for_settlement(
    home: &Home,
    ledger: &Ledger,
    run: &RunRef,
    backend: BackendName,
) -> Result<Option<Entry>> {
    let mut wake = Wake::new();
    wake.watch(parent_of(ledger.path()));
    let post = Post::of(home, &run.label, run.generation);
    let next_check = Cell::new(home.clock.monotonic() + WATCHER_CHECK);
    settles(home, &mut wake, || {
        if backend == BackendName::Local {
            insist(home, run);
        }
        let entry = ledger.entry(&run.label)?;
        let is_over =
            entry.is_none_or(|e| e.status() != Status::Running || e.generation() != run.generation);
        // Its watcher may have died meanwhile, and nobody else would record the end.
        let now = home.clock.monotonic();
        if !is_over && now >= next_check.get() && !post.is_held() {
            next_check.set(now + WATCHER_CHECK);
            ensure_watcher(home, &run.label, run.generation);
        }
        Ok(is_over)
    })?;
    match ledger.entry(&run.label)? {
        // The label has gone on to other work already: what became of this run is in the archive.
        Some(newer) if newer.generation() != run.generation => archived(home, run),
        entry => Ok(entry),
    }
}

fn archived(home: &Home, run: &RunRef) -> Result<Option<Entry>> {
    Ok(Archive::new(home).find(&run.label, run.generation)?)
}
