//! What a run of the detector tells: lines for people, a document for programs, and the exit code.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use crate::backend::RunRef;
use crate::cli::exit::{FAILURE, OK};
use crate::cli::output::{Output, write_stdout};
use crate::cli::views::open_delivery_line;
use crate::delivery::STDOUT;
use crate::duration::format_duration;
use crate::events::{Event, EventKind};
use crate::home::Home;
use crate::record::{Delivery, time};
use crate::recovery::WEDGED_MS;
use crate::shell;
use crate::stuck::memory::Suspicion;
use crate::stuck::rules::{Standing, Verdict};
use crate::watch::{Change, Way};
use crate::watchers::Wedged;

/// A running label, as it was judged.
pub struct Case {
    /// The label.
    pub label: String,
    /// How far it is.
    pub phase: Option<String>,
    /// Its run.
    pub run: RunRef,
    /// How it stands.
    pub verdict: Verdict,
    /// What is remembered of its silence.
    pub suspicion: Suspicion,
    /// It is nudged by this run of the detector.
    pub is_nudged: bool,
    /// It is told of for the first time in this silence.
    pub is_news: bool,
    /// Why the nudge did not go out.
    pub unsent: Option<String>,
    /// What became of its cancellation.
    pub cancelled: Option<String>,
}

/// A watcher that does not stir.
pub struct Wedge {
    /// Its label.
    pub label: String,
    /// The watcher.
    pub watcher: Wedged,
}

/// A delivery that was given up.
pub struct Parked {
    /// Its label.
    pub label: String,
    /// The record.
    pub delivery: Delivery,
}

/// What a run found and did.
pub struct Report {
    threshold: Duration,
    /// So many sessions are nudged and told of at most.
    pub limit: usize,
    way: Way,
    /// What is told of as stuck is cancelled.
    pub cancels: bool,
    /// When it was, ms since the epoch.
    pub now_ms: i64,
    /// Every running label that was judged.
    pub cases: Vec<Case>,
    /// Labels that are not ours to judge, and why.
    pub foreign: Vec<(String, String)>,
    /// Labels that were over and watched by nobody.
    pub resolved: Vec<(String, Change)>,
    /// Watchers that do not stir.
    pub wedged: Vec<Wedge>,
    /// Deliveries that were given up.
    pub parked: Vec<Parked>,
    /// Why the gateway does not answer.
    pub gateway: Option<String>,
    /// Why nothing is remembered, and what was left undone for that.
    pub unkept: Option<String>,
}

impl Report {
    /// An empty one.
    pub fn new(threshold: Duration, limit: usize, way: Way, now_ms: i64) -> Self {
        Self {
            threshold,
            limit,
            way,
            cancels: false,
            now_ms,
            cases: Vec::new(),
            foreign: Vec::new(),
            resolved: Vec::new(),
            wedged: Vec::new(),
            parked: Vec::new(),
            gateway: None,
            unkept: None,
        }
    }

    /// Brings the longest silence to the front.
    pub fn sort(&mut self) {
        self.cases
            .sort_by_key(|case| case.verdict.since_ms.unwrap_or(i64::MAX));
    }

    fn of(&self, standing: Standing) -> impl Iterator<Item = &Case> {
        let is_it = move |case: &&Case| case.verdict.standing == standing;
        self.cases.iter().filter(is_it)
    }

    /// There is nothing to tell of.
    pub fn is_clean(&self) -> bool {
        self.of(Standing::Stuck).next().is_none()
            && self.of(Standing::Unknown).next().is_none()
            && self.gateway.is_none()
            && self.unkept.is_none()
            && self.wedged.is_empty()
            && self.parked.is_empty()
    }

    /// The event of the sessions that are told of for the first time: one, or none.
    pub fn event(&self, host: &str) -> Vec<Event> {
        let news = self.cases.iter().filter(|case| case.is_news);
        let runs: Vec<Value> = news
            .map(|case| {
                let age_ms = self.now_ms.saturating_sub(case.run.since_ms);
                json!({
                    "run_id": case.run.run_id,
                    "job_name": case.label,
                    "started_at": time::iso(case.run.since_ms),
                    "age_s": age_ms / 1000,
                    "reason": case.verdict.reason,
                })
            })
            .collect();
        if runs.is_empty() {
            return Vec::new();
        }
        let event = Event::new(EventKind::Stuck, self.now_ms, host)
            .with("stuck_count", json!(runs.len()))
            .with("runs", json!(runs));
        vec![event]
    }

    /// What was done and needs nobody, on stderr.
    pub fn tell_aside(&self, home: &Home) {
        let is_dry = self.way == Way::Look;
        for (label, change) in &self.resolved {
            let what = match is_dry {
                true => "would be resolved",
                false => "was resolved",
            };
            home.say(&format!(
                "\"{label}\" {what}: {}: {}",
                change.to, change.why
            ));
        }
        for case in self.cases.iter().filter(|case| case.is_nudged) {
            let (label, reason) = (&case.label, &case.verdict.reason);
            home.say(&match &case.unsent {
                Some(why) => format!("\"{label}\" could not be nudged ({reason}): {why}"),
                None if is_dry => format!("\"{label}\" would be nudged: {reason}"),
                None => format!("\"{label}\" was nudged: {reason}"),
            });
        }
        for case in self.of(Standing::Suspect) {
            home.say(&format!(
                "\"{}\" has one cycle left: {}",
                case.label, case.verdict.reason
            ));
        }
    }
}

/// Prints the report; the exit code says whether somebody has to look.
///
/// # Errors
/// When stdout does not take it.
pub fn print(output: Output, report: &Report, is_json: bool, quiet: bool) -> Result<u8> {
    let code = if report.is_clean() { OK } else { FAILURE };
    if code == OK && quiet {
        return Ok(OK);
    }
    if is_json {
        output.json(&document(report, code))?;
        return Ok(code);
    }
    let lines = match code {
        OK => vec![calm(report)],
        _ => lines(report),
    };
    let text: String = lines
        .iter()
        .map(|line| format!("{}\n", output.cell_text(line)))
        .collect();
    write_stdout(text.as_bytes())?;
    Ok(code)
}

/// One line for each that somebody has to look at.
fn lines(report: &Report) -> Vec<String> {
    let now_ms = report.now_ms;
    let stuck = report.of(Standing::Stuck);
    let mut lines: Vec<String> = stuck
        .take(report.limit)
        .map(|case| stuck_line(case, now_ms))
        .collect();
    let more = report.of(Standing::Stuck).count() - lines.len();
    if more > 0 {
        lines.push(match report.cancels {
            true => format!("stuck: {more} more, left to the next run; --limit takes in more"),
            false => format!("stuck: {more} more; --limit shows them"),
        });
    }
    for wedge in &report.wedged {
        let since_ms = wedge.watcher.since_ms;
        lines.push(format!(
            "wedged: the watcher of \"{}\" (pid {}) has not stirred for {} (since {}); '529-recovery' ends and replaces it after {}",
            wedge.label,
            wedge.watcher.process.pid,
            format_duration(now_ms.saturating_sub(since_ms)),
            time::clock(since_ms, now_ms),
            format_duration(WEDGED_MS),
        ));
    }
    for parked in &report.parked {
        let (label, line) = (&parked.label, open_delivery_line(&parked.delivery, now_ms));
        // What a stdout did not take says itself what to do.
        let todo = match parked.delivery.target == STDOUT {
            true => String::new(),
            false => format!(
                "; send it again by: dispatch redeliver {}",
                shell::label(label)
            ),
        };
        lines.push(format!("parked: \"{label}\": {line}{todo}"));
    }
    let unknown: Vec<&Case> = report.of(Standing::Unknown).collect();
    let is_gateways = |case: &&&Case| Some(&case.verdict.reason) == report.gateway.as_ref();
    for case in unknown.iter().filter(|case| !is_gateways(case)) {
        lines.push(format!(
            "unknown: \"{}\" could not be judged: {}",
            case.label, case.verdict.reason
        ));
    }
    if let Some(why) = &report.gateway {
        lines.push(match unknown.iter().filter(is_gateways).count() {
            0 => format!("gateway: it does not answer any more: {why}"),
            1 => format!("gateway: 1 session could not be judged: {why}"),
            n => format!("gateway: {n} sessions could not be judged: {why}"),
        });
    }
    if let Some(why) = &report.unkept {
        lines.push(format!("memory: {why}"));
    }
    lines
}

fn stuck_line(case: &Case, now_ms: i64) -> String {
    let since_ms = case.verdict.since_ms.unwrap_or(case.run.since_ms);
    let running = format_duration(now_ms.saturating_sub(case.run.since_ms));
    let mut line = format!(
        "stuck: \"{}\": {} (since {}, running for {running}): {}",
        case.label,
        case.verdict.reason,
        time::clock(since_ms, now_ms),
        case.verdict.proofs.join("; "),
    );
    if let Some(cancelled) = &case.cancelled {
        line += &format!("; {cancelled}");
    }
    line
}

fn calm(report: &Report) -> String {
    let count = |standing| report.of(standing).count();
    let nudged = report.cases.iter().filter(|case| case.is_nudged).count();
    let mut parts = vec![format!("{} running", report.cases.len())];
    for (n, what) in [
        (nudged, "nudged"),
        (
            count(Standing::Suspect) + count(Standing::Awaiting),
            "silent with one cycle left",
        ),
        (
            count(Standing::Attended),
            "silent and seen to by the watcher",
        ),
    ] {
        if n > 0 {
            parts.push(format!("{n} {what}"));
        }
    }
    if !report.foreign.is_empty() {
        parts.push(format!(
            "{} not judged ('dispatch sync --dry-run' says why)",
            report.foreign.len()
        ));
    }
    format!("nothing is stuck: {}", parts.join(", "))
}

fn document(report: &Report, code: u8) -> Value {
    let now_ms = report.now_ms;
    let pairs = |list: &mut dyn Iterator<Item = (&str, &str)>| -> Vec<Value> {
        list.map(|(label, reason)| json!({"label": label, "reason": reason}))
            .collect()
    };
    let reasons = |case: &'_ Case| (case.label.clone(), case.verdict.reason.clone());
    let skipped: Vec<(String, String)> = report
        .of(Standing::Attended)
        .map(reasons)
        .chain(report.foreign.iter().cloned())
        .collect();
    let mut skipped = skipped.iter().map(|(l, why)| (l.as_str(), why.as_str()));
    let nudged = report.cases.iter().filter(|case| case.is_nudged);
    let stuck: Vec<Value> = report
        .of(Standing::Stuck)
        .take(report.limit)
        .map(|case| session(case, now_ms))
        .collect();
    json!({
        "ok": code == OK,
        "dryRun": report.way == Way::Look,
        "threshold_min": minutes(report.threshold),
        "stuck_count": report.of(Standing::Stuck).count(),
        "stuck_sessions": stuck,
        "auto_resolved_count": report.resolved.len(),
        "auto_resolved": report.resolved.iter().map(|(label, change)| json!({
            "label": label, "status": change.to.as_str(), "reason": change.why,
        })).collect::<Vec<_>>(),
        "watcher_skipped": pairs(&mut skipped),
        "nudged": nudged.map(|case| json!({
            "label": case.label, "reason": case.verdict.reason, "error": case.unsent,
        })).collect::<Vec<_>>(),
        "wedged_watchers": report.wedged.iter().map(|wedge| json!({
            "label": wedge.label,
            "pid": wedge.watcher.process.pid,
            "since": time::iso(wedge.watcher.since_ms),
        })).collect::<Vec<_>>(),
        "parked_deliveries": report.parked.iter().map(|parked| json!({
            "label": parked.label,
            "key": parked.delivery.key,
            "reason": open_delivery_line(&parked.delivery, now_ms),
        })).collect::<Vec<_>>(),
        "gateway_error": report.gateway,
        "memory_error": report.unkept,
        "labels": report.cases.iter().map(|case| json!({
            "label": case.label,
            "verdict": case.verdict.standing.as_str(),
            "reason": case.verdict.reason,
            "since": case.verdict.since_ms.map(time::iso),
        })).collect::<Vec<_>>(),
    })
}

fn session(case: &Case, now_ms: i64) -> Value {
    let since_ms = case.verdict.since_ms.unwrap_or(case.run.since_ms);
    json!({
        "label": case.label,
        "generation": case.run.generation,
        "sessionKey": case.run.session_key,
        "phase": case.phase,
        "reason": case.verdict.reason,
        "proofs": case.verdict.proofs,
        "since": time::iso(since_ms),
        "silentMs": now_ms.saturating_sub(since_ms),
        "runningMs": now_ms.saturating_sub(case.run.since_ms),
        "nudgedAt": case.suspicion.nudged_at.map(time::iso),
        "alertedAt": case.suspicion.alerted_at.map(time::iso),
        "cancellation": case.cancelled,
    })
}

/// Minutes, whole where they are.
fn minutes(threshold: Duration) -> Value {
    let seconds = threshold.as_secs();
    match seconds % 60 {
        0 => json!(seconds / 60),
        _ => json!(threshold.as_secs_f64() / 60.0),
    }
}
