//! The `watcher` program.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use rustix::fs::FileType;

use super::args::parse_generation;
use super::definition::whole;
use super::exit::{self, FAILURE, OK};
use super::{complain, labels, open_home, parse, prepare};
use crate::config::Strictness;
use crate::delivery::{
    Telling, has_other_audience, is_owed_to_stdout, mark_told, nobody_else, pass_on_stdout,
    settle_stdout, telling,
};
use crate::duration::parse_seconds;
use crate::home::Home;
use crate::ledger::{Ledger, Patience};
use crate::process::{FileLock, LockHolder, ProcessIdentity, Signal, die_of, signal_process};
use crate::record::{Entry, Generation, Status};
use crate::wake::Source;
use crate::watch::{
    Limits, Orders, Reader, Span, Task, Watched, recorded_message, still_owes, watch,
    watch_every_label,
};
use crate::watchers::{DETACHED, FOREGROUND, LOOK, OF_EVERY_LABEL, Post, ensure_watcher};

/// Follow one label's session to its end and print the result.
///
/// In the foreground the result, or the failure notice, goes to stdout with exit code 0 or 1.
#[derive(Debug, Parser)]
#[command(
    name = "watcher",
    version,
    after_help = "Example:\n  watcher --label notes"
)]
struct WatcherArgs {
    /// The label
    #[arg(long, allow_hyphen_values = true, required_unless_present = "all")]
    label: Option<String>,
    /// Watch every label until told to stop, for a service: results go to their targets, not to stdout
    #[arg(long, conflicts_with_all = ["label", "generation", "once", "timeout", "idle_threshold", "detached"])]
    all: bool,
    /// Watch this generation only
    #[arg(long, value_name = "N", value_parser = parse_generation, allow_hyphen_values = true)]
    generation: Option<u64>,
    /// Look once, as a scheduler does: prints the end when nobody has it yet; else nothing, and WATCHER_PENDING or WATCHER_ALREADY_DELIVERED on stderr
    #[arg(long)]
    once: bool,
    /// Rolling deadline of a gateway's run, instead of the recorded one (seconds, or a text such as 20m)
    #[arg(long, value_parser = parse_seconds, allow_hyphen_values = true)]
    timeout: Option<Duration>,
    /// A run without progress for so long has stalled, instead of what is recorded
    #[arg(long, value_parser = parse_seconds, allow_hyphen_values = true)]
    idle_threshold: Option<Duration>,
    /// Accepted for scripts that set it; the watcher is woken by events
    #[arg(long, value_parser = parse_seconds, allow_hyphen_values = true)]
    poll_interval: Option<Duration>,
    /// Started by dispatch: results go to the ledger alone
    #[arg(long, hide = true)]
    detached: bool,
    /// Started by dispatch: a detached watcher that is there is to hand over
    #[arg(long, hide = true, requires = "detached")]
    take_over: bool,
}

/// How long a detached watcher may take to hand over.
pub(super) const HANDOVER_WAIT: Duration = Duration::from_secs(30);

/// How often it is looked at whether it has.
const HANDOVER_LOOK: Duration = Duration::from_millis(5);

/// The program's command line.
pub(super) fn definition() -> clap::Command {
    whole::<WatcherArgs>()
}

/// Runs the program.
pub fn main() -> ExitCode {
    prepare();
    let args = match parse::<WatcherArgs>("watcher") {
        Ok(args) => args,
        Err(code) => return code,
    };
    let program = match &args {
        WatcherArgs { all: true, .. } => OF_EVERY_LABEL,
        WatcherArgs { detached: true, .. } => DETACHED,
        WatcherArgs { once: true, .. } => LOOK,
        _ => FOREGROUND,
    };
    let home = match open_home(program, Strictness::Warn) {
        Ok(home) => home,
        Err(error) => return exit::finish("watcher", Err(error.into())),
    };
    let outcome = match &args.label {
        Some(label) => follow(&home, &args, label),
        None => follow_all(&home),
    };
    exit::finish(&home.config.brand.clone(), outcome)
}

fn follow_all(home: &Home) -> Result<u8> {
    let orders = Orders::listen().context("cannot listen to signals")?;
    watch_every_label(home, &orders)?;
    Ok(OK)
}

fn follow(home: &Home, args: &WatcherArgs, label: &str) -> Result<u8> {
    let book = Ledger::new(home).read()?;
    let entry = labels::find(home, &book, label)?;
    drop(book);
    let home = &home.of_agent(entry.text("agent"));
    let generation = args.generation.map_or(entry.generation(), Generation::new);
    let is_over = |entry: &Entry| {
        !args.detached && entry.status().is_ended() && entry.generation() == generation
    };
    if is_over(&entry) && !args.once {
        return tell_recorded(home, label, &entry);
    }
    let post = Post::of(home, label, generation);
    let span = if args.once {
        Span::Once
    } else {
        Span::UntilEnd
    };
    // Before the post is taken: whoever finds a watcher there may signal it.
    let orders = match span {
        Span::UntilEnd => Orders::listen().context("cannot listen to signals")?,
        Span::Once => Orders::none(),
    };
    let mut lock = match post_for(home, args, label, &post)? {
        Some(lock) => lock,
        None => return Ok(OK),
    };
    // What stood in the ledger before the post was taken may be old by now. Should it be damaged since, whoever held the
    // post would have gone on, and so does this watcher.
    let now = Ledger::new(home).read();
    let entry = now.ok().and_then(|book| book.get(label)).unwrap_or(entry);
    if is_over(&entry) && args.once {
        // Looks at one label come one after another, because of the post: none prints what another is printing.
        let message = recorded_message(home, label, &entry);
        return tell_once(home, label, &entry, &message, lock);
    }
    if is_over(&entry) {
        return tell_recorded(home, label, &entry);
    }
    let reader = if args.detached {
        Reader::Outbox
    } else {
        Reader::Stdout
    };
    let limits = Limits {
        timeout: args.timeout,
        idle_threshold: args.idle_threshold,
    };
    let source = Source::new();
    let task = Task {
        label,
        generation,
        span,
        reader,
        limits,
    };
    loop {
        let watched = watch(home, &task, &entry, &orders, &source)?;
        if let (Watched::Ended { message, .. }, true) = (&watched, args.once)
            && let Some(ended) = Ledger::new(home).read().ok().and_then(|b| b.get(label))
            && ended.generation() == generation
        {
            return tell_once(home, label, &ended, message, lock);
        }
        let told = tell(home, label, generation, reader, &watched);
        drop(lock);
        if let (Watched::Stopped, Reader::Stdout, Some(signal)) =
            (&watched, reader, orders.stopped_by())
        {
            // An empty stdout with success would read as a session that is done.
            die_of(signal);
        }
        // Whoever added a record while the post was being left found it taken and started nobody.
        let is_over = matches!(watched, Watched::Ended { .. });
        if !is_over || !still_owes(home, label, generation) {
            return told;
        }
        if reader == Reader::Stdout {
            // Notes that are not out yet do not keep whoever reads our stdout waiting.
            ensure_watcher(home, label, generation);
            return told;
        }
        lock = match post.take(home)? {
            Ok(lock) => lock,
            Err(_) => return told,
        };
    }
}

/// The post; `None`, with a line, when it is left to whoever has it.
fn post_for(home: &Home, args: &WatcherArgs, label: &str, post: &Post) -> Result<Option<FileLock>> {
    let holder = match post.take(home)? {
        Ok(lock) => return Ok(Some(lock)),
        Err(holder) => holder,
    };
    let is_look = holder.as_ref().is_some_and(|holder| holder.program == LOOK);
    let is_passing = !holder.as_ref().is_some_and(stays);
    match holder {
        Some(holder) if args.once && holder.program == DETACHED => {
            pending(home, label, &format!("watched by {holder}"));
            Ok(None)
        }
        Some(holder) if holder.program == DETACHED && (args.take_over || !args.detached) => {
            hand_over(home, args, label, post, &holder)
        }
        // A successor outlasts whoever resolves the label just now, too.
        _ if (is_look && !args.once) || (is_passing && args.take_over) => {
            let say = |line: &str| home.say(line);
            let wait = Some(HANDOVER_WAIT);
            match FileLock::acquire(&post.lock_path(), &home.program, wait, &say) {
                Ok(lock) => Ok(Some(lock)),
                Err(_) => Ok(turned_away(home, label, post)),
            }
        }
        _ => Ok(turned_away(home, label, post)),
    }
}

/// Says how the watch ended, to whoever reads this program's output; returns the exit code.
fn tell(
    home: &Home,
    label: &str,
    generation: Generation,
    reader: Reader,
    watched: &Watched,
) -> Result<u8> {
    match watched {
        Watched::Ended { status, message } => {
            if reader == Reader::Stdout {
                if let Err(unprinted) = print(message) {
                    return pass_on(home, label, generation, unprinted);
                }
                mark_printed(home, label, generation);
            }
            Ok(code_for(status))
        }
        Watched::Pending(reason) => {
            pending(home, label, reason);
            Ok(OK)
        }
        Watched::Superseded => {
            home.say(&format!(
                "watcher [{label}] generation {generation} is over; leaving"
            ));
            Ok(OK)
        }
        Watched::Stopped => Ok(OK),
    }
}

/// It is a watcher, and no command that holds the post for a moment.
fn stays(holder: &LockHolder) -> bool {
    [DETACHED, FOREGROUND, OF_EVERY_LABEL].contains(&holder.program.as_str())
}

/// Asks the detached watcher to leave and takes its post; `None`, with a line, when another fresh one was faster and this
/// one is not to be preferred.
fn hand_over(
    home: &Home,
    args: &WatcherArgs,
    label: &str,
    post: &Post,
    holder: &LockHolder,
) -> Result<Option<FileLock>> {
    let mut old = holder.clone();
    let mut asked: Option<ProcessIdentity> = None;
    let limit = home.clock.monotonic() + HANDOVER_WAIT;
    loop {
        if asked.as_ref() != Some(&old.process) {
            signal_process(&old.process, Signal::TERM)
                .with_context(|| format!("cannot ask {old} to hand over label \"{label}\""))?;
            asked = Some(old.process.clone());
        }
        match post.take(home)? {
            Ok(lock) => {
                home.say(&format!("watcher [{label}] taken over from {old}"));
                return Ok(Some(lock));
            }
            Err(Some(now)) if stays(&now) && now.process != old.process => {
                if args.detached || now.program != DETACHED {
                    return Ok(turned_away(home, label, post));
                }
                old = now;
            }
            Err(_) => {}
        }
        if home.clock.monotonic() >= limit {
            let seconds = HANDOVER_WAIT.as_secs();
            bail!(
                "{old} was asked to hand over label \"{label}\" and has not left for {seconds} s"
            );
        }
        thread::sleep(HANDOVER_LOOK);
    }
}

/// Notes that this stdout has the result. Failing that, it may be printed again: better twice than never. A stdout that
/// nobody can read has nothing, where the label names somebody who can.
fn mark_printed(home: &Home, label: &str, generation: Generation) {
    let is_discarded = discards(io::stdout());
    let mut passed_on = None;
    note_printed(home, label, generation, |entry, now_ms| {
        if is_discarded && has_other_audience(label, entry) {
            passed_on = pass_on_stdout(label, entry, DISCARDED, false, now_ms);
            return passed_on.is_some();
        }
        settle_stdout(label, entry)
    });
    if let Some(targets) = passed_on {
        let targets = targets.join(", ");
        home.say(&format!(
            "{DISCARDED}: the result of \"{label}\" goes to {targets}"
        ));
    }
}

/// What is said of a stdout that keeps nothing.
const DISCARDED: &str = "stdout is closed, or /dev/null";

/// Nobody will read what is written there: a closed stdout, too, is `/dev/null` by the time that `main` runs.
fn discards(stream: impl AsFd) -> bool {
    let device = |stat: rustix::fs::Stat| (FileType::from_raw_mode(stat.st_mode), stat.st_rdev);
    let place = rustix::fs::fstat(stream).map(device);
    let null = rustix::fs::stat("/dev/null").map(device);
    matches!((place, null), (Ok(place), Ok(null)) if place == null && place.0.is_char_device())
}

/// What stdout did not take is handed to whom the label names, or stays where every look at the label shows it. The exit
/// code is that of a stdout that failed; a reader that left is no error.
fn pass_on(home: &Home, label: &str, generation: Generation, unprinted: Unprinted) -> Result<u8> {
    let Unprinted { is_begun, error } = unprinted;
    let mut passed_on = None;
    note_printed(home, label, generation, |entry, now_ms| {
        let why = format!("the stdout of a watcher in the foreground did not take it ({error})");
        passed_on = pass_on_stdout(label, entry, &why, is_begun, now_ms);
        passed_on.is_some()
    });
    let then = match passed_on {
        Some(targets) if targets.is_empty() => nobody_else(label),
        Some(targets) => format!("it goes to {}", targets.join(", ")),
        None if error.kind() == io::ErrorKind::BrokenPipe => return Ok(OK),
        None => return Err(error.into()),
    };
    let sentence = format!("stdout did not take the result of \"{label}\" ({error}); {then}");
    match error.kind() {
        io::ErrorKind::BrokenPipe => {
            home.say(&sentence);
            Ok(OK)
        }
        _ => Err(exit::failure(sentence)),
    }
}

/// Changes the label's entry by `mark`, which says whether there was anything to change.
fn note_printed(
    home: &Home,
    label: &str,
    generation: Generation,
    mark: impl FnOnce(&mut Entry, i64) -> bool,
) {
    let marked = Ledger::new(home).update(Patience::Command, |book| {
        let now_ms = book.now_ms();
        let entry = book
            .get(label)
            .filter(|entry| entry.generation() == generation);
        if let Some(mut entry) = entry
            && mark(&mut entry, now_ms)
        {
            book.put(label, entry);
        }
    });
    if let Err(e) = marked {
        home.say(&format!("cannot note whether the result was printed: {e}"));
    }
}

fn turned_away(home: &Home, label: &str, post: &Post) -> Option<FileLock> {
    let holder = FileLock::holder(&post.lock_path());
    let who = holder.map_or_else(|| "another watcher".to_owned(), |h| h.to_string());
    home.say(&format!(
        "label \"{label}\" is watched already by {who}; leaving"
    ));
    None
}

fn pending(home: &Home, label: &str, reason: &str) {
    complain(
        home.brand(),
        &format!("WATCHER_PENDING label={label} reason={reason}"),
    );
}

/// Prints an ended label's last word for a scheduler that delivers what each look prints: once, and not beside the outbox.
/// `post` is the label's, which is left then.
fn tell_once(home: &Home, label: &str, entry: &Entry, message: &str, post: FileLock) -> Result<u8> {
    let generation = entry.generation();
    match telling(label, entry) {
        Telling::Done => {
            let line = format!("WATCHER_ALREADY_DELIVERED label={label}");
            complain(home.brand(), &line);
        }
        Telling::UnderWay(targets) => {
            drop(post);
            ensure_watcher(home, label, generation);
            let reason = format!("its last word is on its way to {targets}");
            pending(home, label, &reason);
        }
        Telling::Due => {
            let told = match print(message) {
                Ok(()) => {
                    note_printed(home, label, generation, |entry, now_ms| {
                        mark_told(label, entry, now_ms);
                        true
                    });
                    Ok(code_for(&entry.status()))
                }
                Err(unprinted) => pass_on(home, label, generation, unprinted),
            };
            drop(post);
            if still_owes(home, label, generation) {
                ensure_watcher(home, label, generation);
            }
            return told;
        }
    }
    Ok(OK)
}

fn tell_recorded(home: &Home, label: &str, entry: &Entry) -> Result<u8> {
    let generation = entry.generation();
    if let Err(unprinted) = print(&recorded_message(home, label, entry)) {
        let told = pass_on(home, label, generation, unprinted);
        if still_owes(home, label, generation) {
            ensure_watcher(home, label, generation);
        }
        return told;
    }
    if is_owed_to_stdout(label, entry) {
        mark_printed(home, label, generation);
        if still_owes(home, label, generation) {
            ensure_watcher(home, label, generation);
        }
    }
    Ok(code_for(&entry.status()))
}

/// Stdout did not take a text.
struct Unprinted {
    /// Some of it went out before.
    is_begun: bool,
    error: io::Error,
}

fn print(message: &str) -> Result<(), Unprinted> {
    let end = if message.ends_with('\n') { "" } else { "\n" };
    let text = format!("{message}{end}");
    let mut out = Counted(0);
    out.write_all(text.as_bytes()).map_err(|error| Unprinted {
        is_begun: out.0 > 0,
        error,
    })
}

/// Stdout without a buffer, and how many bytes it has taken.
struct Counted(usize);

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = rustix::io::write(io::stdout(), bytes)?;
        self.0 += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn code_for(status: &Status) -> u8 {
    if *status == Status::Done { OK } else { FAILURE }
}
