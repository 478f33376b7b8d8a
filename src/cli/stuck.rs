//! `dispatch stuck` and the `stuck-detector` program: one run of the detector over every running label.
//!
//! `dispatch stuck` tells what looks stuck now and changes nothing but labels that are over and watched by nobody. The
//! program nudges first, remembers whom, and tells of those who stayed silent. Neither stops anything unless it is told
//! to.

mod look;
mod nudge;
mod report;

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::{Command, Parser};

use self::look::{Found, Gateway, look};
use self::nudge::Nudged;
use self::report::{Case, Parked, Report, Wedge};
use super::args::{OutputChoice, StuckArgs};
use super::definition::whole;
use super::exit::{self, OK};
use super::output::{Output, Screen};
use super::{cancel, open_home, parse, prepare};
use crate::backend::{BackendName, RunRef};
use crate::config::Strictness;
use crate::delivery::is_owed;
use crate::duration::{format_duration, parse_minutes};
use crate::events;
use crate::home::Home;
use crate::ledger::{Book, Ledger};
use crate::paths::process_environment;
use crate::record::{DeliveryState, Entry, Status};
use crate::stuck::memory::{Memory, Suspicion};
use crate::stuck::rules::{Rules, Session, Standing, decide};
use crate::watch::Way;
use crate::watchers::Post;

/// Find silent sessions: ask them once where they are, and report them from the next run on if they stay silent.
///
/// Safe to run at any time. Prints one line for each stuck session, hanging watcher and parked delivery, and exits with 1
/// as long as there is one. It stops nothing unless --cancel is given.
#[derive(Debug, Parser)]
#[command(
    name = "stuck-detector",
    version,
    after_help = "Example (crontab):\n  */5 * * * * stuck-detector --quiet"
)]
struct DetectorArgs {
    /// No silence is too long before this (minutes, or a text such as 90s)
    #[arg(long, value_name = "MIN", default_value = "45", value_parser = parse_minutes, allow_hyphen_values = true)]
    threshold_min: Duration,
    /// Ask, report and cancel so many sessions at most, the longest silent first
    #[arg(long, value_name = "N", default_value = "20", value_parser = parse_limit)]
    limit: usize,
    /// Cancel what is reported as stuck
    #[arg(long)]
    cancel: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print nothing when nothing is stuck
    #[arg(long)]
    quiet: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn parse_limit(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("\"{text}\" is no count; give a whole number from 1"))
}

/// What one run of the detector is to do.
#[derive(Clone, Copy)]
struct Request {
    threshold: Duration,
    limit: usize,
    way: Way,
    nudges: bool,
    cancels: bool,
    quiet: bool,
}

impl Request {
    /// What is left to do where nothing is remembered: to tell what is silent. Whoever is asked today would be asked again
    /// at each run, and nobody may be cancelled who was not asked.
    fn without_memory(self) -> Self {
        Self {
            nudges: false,
            cancels: false,
            ..self
        }
    }
}

/// The command line, for the manual page.
pub(super) fn definition() -> Command {
    whole::<DetectorArgs>()
}

/// Runs the `stuck-detector` program.
pub fn main() -> ExitCode {
    prepare();
    let args = match parse::<DetectorArgs>("stuck-detector") {
        Ok(args) => args,
        Err(code) => return code,
    };
    let home = match open_home("stuck-detector", Strictness::Warn) {
        Ok(home) => home,
        Err(error) => return exit::finish("stuck-detector", Err(error.into())),
    };
    let outcome = run_detector(&home, &args);
    exit::finish(&home.config.brand.clone(), outcome)
}

fn run_detector(home: &Home, args: &DetectorArgs) -> Result<u8> {
    let way = match args.dry_run {
        true => Way::Look,
        false => Way::Act,
    };
    let request = Request {
        threshold: args.threshold_min,
        limit: args.limit,
        way,
        nudges: true,
        cancels: args.cancel,
        quiet: args.quiet,
    };
    let opened = match way {
        Way::Look => Memory::look(home).map(Ok),
        Way::Act => Memory::open(home),
    };
    let report = match opened {
        Ok(Ok(mut memory)) => detect_and_remember(home, &request, &mut memory)?,
        Ok(Err(holder)) => {
            let who = holder.map_or_else(|| "another".to_owned(), |holder| holder.to_string());
            home.say(&format!("{who} is at work already; this one leaves"));
            return Ok(OK);
        }
        Err(e) => {
            let mut report = detect(home, &request.without_memory(), None)?;
            report.unkept = Some(unkept(home, &request, &e));
            report
        }
    };
    let screen = Screen::from_environment(&process_environment);
    let output = Output::new(OutputChoice::Table, args.json, screen);
    report::print(output, &report, args.json, args.quiet)
}

fn detect_and_remember(home: &Home, request: &Request, memory: &mut Memory) -> Result<Report> {
    let mut report = detect(home, request, Some(memory))?;
    if request.way == Way::Act && report.unkept.is_none() {
        memory.note_run(home.now_ms());
        let saved = memory.save(home);
        report.unkept = saved.err().map(|e| trouble_of_memory(home, &e));
    }
    Ok(report)
}

fn trouble_of_memory(home: &Home, error: &io::Error) -> String {
    let path = Memory::path(home);
    format!("{} cannot be kept: {error}", path.display())
}

/// The same, of a run that did nothing but tell.
fn unkept(home: &Home, request: &Request, error: &io::Error) -> String {
    let left = match request.cancels {
        true => "nobody is asked, and nothing cancelled",
        false => "nobody is asked",
    };
    format!("{}; {left}", trouble_of_memory(home, error))
}

/// Runs `dispatch stuck`.
///
/// # Errors
/// When the ledger cannot be read or written.
pub fn run(home: &Home, output: Output, args: &StuckArgs, json_asked: bool) -> Result<u8> {
    let request = Request {
        threshold: args.threshold_min,
        limit: usize::MAX,
        way: Way::Act,
        nudges: false,
        cancels: false,
        quiet: args.quiet,
    };
    let report = detect(home, &request, None)?;
    // Other tools read text when something is stuck, and JSON when nothing is.
    let is_json = json_asked || output.is_json() && report.is_clean();
    report::print(output, &report, is_json, args.quiet && !json_asked)
}

fn detect(home: &Home, request: &Request, memory: Option<&mut Memory>) -> Result<Report> {
    let ledger = Ledger::new(home);
    let book = ledger.read()?;
    let mut gateway = Gateway::new(home);
    let mut report = survey(home, request, memory.as_deref(), &mut gateway, &book)?;
    if let Some(memory) = memory {
        remember(&mut report, memory);
        if request.way == Way::Act {
            match memory.save(home) {
                Ok(()) => {
                    events::tell(home, &report.event(&events::host(home)));
                    nudge_all(home, &ledger, &mut gateway, &mut report, memory);
                }
                Err(e) => {
                    let told = request.without_memory();
                    report = survey(home, &told, None, &mut gateway, &book)?;
                    report.unkept = Some(unkept(home, request, &e));
                }
            }
        }
    }
    if request.cancels && report.unkept.is_none() {
        cancel_named(home, &ledger, &mut report, request.way);
    }
    report.gateway = gateway.trouble().map(str::to_owned);
    report.wedged = wedged(home, &book);
    report.parked = parked(&book);
    if !request.quiet {
        report.tell_aside(home);
    }
    Ok(report)
}

/// Looks at every running label, the longest silence first.
fn survey(
    home: &Home,
    request: &Request,
    memory: Option<&Memory>,
    gateway: &mut Gateway<'_>,
    book: &Book,
) -> Result<Report> {
    let mut report = Report::new(request.threshold, request.limit, request.way, home.now_ms());
    for (label, entry) in book.entries_containing("\"running\"") {
        if entry.status() == Status::Running {
            examine(home, request, memory, gateway, &mut report, label, &entry)?;
        }
    }
    report.sort();
    Ok(report)
}

/// Looks at a label and judges it.
fn examine(
    home: &Home,
    request: &Request,
    memory: Option<&Memory>,
    gateway: &mut Gateway<'_>,
    report: &mut Report,
    label: &str,
    entry: &Entry,
) -> Result<()> {
    let Some(run) = RunRef::of_entry(label, entry) else {
        let why = match BackendName::of_entry(entry) {
            Some(_) => "it names no session",
            None => "another tool started it and watches it",
        };
        report.foreign.push((label.to_owned(), why.to_owned()));
        return Ok(());
    };
    let (threshold, way) = (request.threshold, request.way);
    let facts = match look(home, gateway, label, entry, &run, threshold, way)? {
        Found::Judged(facts) => facts,
        Found::Resolved(change) => {
            report.resolved.push((label.to_owned(), change));
            return Ok(());
        }
    };
    let rules = Rules {
        threshold,
        nudges: request.nudges,
    };
    let known = memory.and_then(|memory| memory.of(label, run.generation, &run.run_id));
    let now_ms = home.now_ms();
    let verdict = decide(&facts, known, rules, now_ms);
    let pulse = match facts.session {
        Session::Seen(pulse) => Some(pulse),
        Session::NotAsked | Session::Unknown(_) => None,
    };
    let found = Suspicion::new(run.generation, &run.run_id, pulse.as_deref(), now_ms);
    let suspicion = match verdict.standing {
        // What is remembered is of this very silence; of a label that nobody watches there may be nothing yet.
        Standing::Stuck | Standing::Awaiting | Standing::Unknown => known.cloned(),
        _ => None,
    };
    report.cases.push(Case {
        label: label.to_owned(),
        phase: entry.text("phase").map(str::to_owned),
        run,
        verdict,
        suspicion: suspicion.unwrap_or(found),
        is_nudged: false,
        is_news: false,
        unsent: None,
        cancelled: None,
    });
    Ok(())
}

/// Brings the memory up to date, with what is about to be done: a nudge that a crash prevents counts as sent.
fn remember(report: &mut Report, memory: &mut Memory) {
    let (now_ms, mut nudges_left) = (report.now_ms, report.limit);
    for case in &mut report.cases {
        match case.verdict.standing {
            Standing::Nudge if nudges_left == 0 => continue,
            Standing::Nudge => {
                nudges_left -= 1;
                case.is_nudged = true;
                case.suspicion.nudged_at = Some(now_ms);
            }
            Standing::Stuck => {
                case.is_news = case.suspicion.alerted_at.is_none();
                case.suspicion.alerted_at.get_or_insert(now_ms);
            }
            Standing::Suspect | Standing::Awaiting => {}
            // Nothing new is known of it.
            Standing::Unknown => continue,
            Standing::Alive | Standing::Young | Standing::Attended | Standing::Waived => {
                memory.forget(&case.label);
                continue;
            }
        }
        memory.keep(&case.label, case.suspicion.clone());
    }
    let cases = &report.cases;
    memory.keep_only(|label| cases.iter().any(|case| case.label == label));
}

fn nudge_all(
    home: &Home,
    ledger: &Ledger,
    gateway: &mut Gateway<'_>,
    report: &mut Report,
    memory: &mut Memory,
) {
    let now_ms = report.now_ms;
    for case in report.cases.iter_mut().filter(|case| case.is_nudged) {
        let since_ms = case.verdict.since_ms.unwrap_or(now_ms);
        let silent = format_duration(now_ms.saturating_sub(since_ms));
        let message = nudge::message(&home.config.brand, &silent);
        let nudged = nudge::nudge(home, gateway, ledger, &case.run, &message);
        match nudged.unwrap_or_else(|e| Nudged::Unsent(format!("{e:#}"))) {
            Nudged::Sent => {}
            Nudged::Unsent(why) => {
                case.unsent = Some(why);
                case.suspicion.nudged_at = None;
                memory.keep(&case.label, case.suspicion.clone());
            }
        }
    }
    // The one at the end tells whether it can be saved.
    let _ = memory.save(home);
}

/// Cancels what is stuck and told of, as `dispatch cancel` does; the rest is named, and cancelled, by a later run.
fn cancel_named(home: &Home, ledger: &Ledger, report: &mut Report, way: Way) {
    report.cancels = true;
    let stuck = report.cases.iter_mut();
    let stuck = stuck.filter(|case| case.verdict.standing == Standing::Stuck);
    for case in stuck.take(report.limit) {
        if way == Way::Look {
            case.cancelled = Some("it would be cancelled".to_owned());
            continue;
        }
        let reason = format!("stuck: {}", case.verdict.reason);
        // What was judged, and nothing that the label does by now or did before.
        let judged = Some(case.run.generation);
        case.cancelled = Some(
            match cancel::settle_generation(home, ledger, &case.label, judged, Some(&reason)) {
                Ok(stop) => match stop.entry.map(|entry| entry.status()) {
                    Some(Status::Running) | None => "its cancellation is recorded".to_owned(),
                    Some(Status::Cancelled) => "it is cancelled".to_owned(),
                    Some(other) => format!("it was to be cancelled and had ended as {other}"),
                },
                Err(e) => format!("it cannot be cancelled: {e:#}"),
            },
        );
    }
}

/// The watchers that hold their post and do not stir.
fn wedged(home: &Home, book: &Book) -> Vec<Wedge> {
    let mut found = Vec::new();
    for needle in ["\"running\"", "\"deliveries\""] {
        for (label, entry) in book.entries_containing(needle) {
            let is_watched = entry.status() == Status::Running || is_owed(&entry);
            let is_known = found.iter().any(|wedge: &Wedge| wedge.label == label);
            let post = Post::of(home, label, entry.generation());
            if !is_watched || is_known || !post.is_held() {
                continue;
            }
            if let Some(watcher) = post.wedged(home) {
                let label = label.to_owned();
                found.push(Wedge { label, watcher });
            }
        }
    }
    found
}

/// The deliveries that were given up.
fn parked(book: &Book) -> Vec<Parked> {
    let mut found = Vec::new();
    for (label, entry) in book.entries_containing("\"parked\"") {
        for delivery in entry.deliveries() {
            if delivery.state == DeliveryState::Parked {
                let label = label.to_owned();
                found.push(Parked { label, delivery });
            }
        }
    }
    found
}
