//! Is a session stuck: decided from what is seen of it, what is remembered of it, and the time. Pure.
//!
//! A watcher's ping is no progress of the session, and an open tool call is no silence. What nobody could be asked about
//! is not judged.

use std::time::Duration;

use super::memory::Suspicion;
use crate::backend::{BackendName, Liveness, Pulse, Settled, Work};
use crate::duration::{LONGEST, format_duration};
use crate::record::{Entry, Phase, time};

/// A session that has shown progress within this time is at work.
pub const PROGRESS: Duration = Duration::from_secs(3 * 60);

/// For so long after a nudge the session's row may move because of the nudge alone.
const ECHO_MS: i64 = 60_000;

/// The clocks of a gateway and of this machine may differ by this much.
const SKEW_MS: i64 = 5_000;

/// By what a run of the detector judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// No silence is too long before this.
    pub threshold: Duration,
    /// The silent are nudged, and told of only when they stay silent.
    pub nudges: bool,
}

/// Who watches a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watching {
    /// A watcher that stirs.
    Present,
    /// One that holds its post and does not stir.
    Wedged,
    /// Nobody, at least since then (ms since the epoch).
    Missing {
        /// When somebody was seen there last.
        since_ms: i64,
    },
}

/// What is seen of a label's session.
#[derive(Debug, Clone, PartialEq)]
pub enum Session {
    /// It is too young to be asked about, or has none at the moment.
    NotAsked,
    /// Nobody could be asked; why.
    Unknown(String),
    /// What it shows.
    Seen(Box<Pulse>),
}

/// What is known of one running label. All times are ms since the epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Where it runs.
    pub backend: BackendName,
    /// How far it is.
    pub phase: Option<Phase>,
    /// When its run was asked for.
    pub since_ms: i64,
    /// Of a phase without a session: when it was to go on.
    pub due_ms: i64,
    /// When somebody wrote to it last, a nudge apart.
    pub spoken_to_ms: Option<i64>,
    /// When it was nudged last.
    pub nudged_ms: Option<i64>,
    /// It was enqueued without monitoring.
    pub is_waived: bool,
    /// It is to be cancelled.
    pub is_cancelling: bool,
    /// How long it may be silent; `None`: for ever.
    pub patience: Option<Duration>,
    /// How long a tool call may be open.
    pub tool_allowance: Duration,
    /// Until when its watcher is helping it to start or to end.
    pub grace_until_ms: i64,
    /// Who watches it.
    pub watching: Watching,
    /// Its session.
    pub session: Session,
}

/// How a label stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It works, or nothing says that it does not.
    Alive,
    /// It is silent, and not for too long yet.
    Young,
    /// It is silent, and its watcher is seeing to it.
    Attended,
    /// Nobody wants to be told of it.
    Waived,
    /// It could not be judged.
    Unknown,
    /// It was silent for too long: it is to be asked.
    Nudge,
    /// As `Nudge`, where it cannot be asked.
    Suspect,
    /// It has one cycle to show something.
    Awaiting,
    /// It stayed silent.
    Stuck,
}

impl Standing {
    /// The text in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Standing::Alive => "alive",
            Standing::Young => "young",
            Standing::Attended => "attended",
            Standing::Waived => "waived",
            Standing::Unknown => "unknown",
            Standing::Nudge => "nudge",
            Standing::Suspect => "suspect",
            Standing::Awaiting => "awaiting",
            Standing::Stuck => "stuck",
        }
    }
}

/// What is decided about a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it stands.
    pub standing: Standing,
    /// Why, in one line.
    pub reason: String,
    /// Since when there was no sign of progress, ms since the epoch.
    pub since_ms: Option<i64>,
    /// Two, of one that is stuck.
    pub proofs: Vec<String>,
}

impl Verdict {
    fn new(standing: Standing, reason: impl Into<String>) -> Self {
        Self {
            standing,
            reason: reason.into(),
            since_ms: None,
            proofs: Vec::new(),
        }
    }

    fn of_silence(standing: Standing, reason: impl Into<String>, silence: &Silence) -> Self {
        Self {
            since_ms: Some(silence.since_ms),
            proofs: silence.proofs.clone(),
            ..Self::new(standing, reason)
        }
    }
}

/// A session without a sign of progress.
struct Silence {
    since_ms: i64,
    proofs: Vec<String>,
}

/// How long a label's session may be silent: what was said for it (`--monitor-timeout`), else the longer of the
/// threshold and its own limit. A command of this machine that has no limit may be silent for ever.
pub fn patience(
    entry: &Entry,
    idle_failure: Option<Duration>,
    threshold: Duration,
) -> Option<Duration> {
    if let Some(minutes) = said_minutes(entry) {
        let seconds = (minutes * 60.0).min(LONGEST.as_secs_f64());
        return Some(Duration::from_secs_f64(seconds));
    }
    let limit = entry.number("timeoutSeconds").map(Duration::from_secs);
    let own = match BackendName::of_entry(entry) {
        Some(BackendName::Local) => idle_failure.or(limit),
        _ => idle_failure,
    };
    own.map(|own| own.max(threshold))
}

/// The minutes of silence that somebody has set for this very label (`--monitor-timeout`).
fn said_minutes(entry: &Entry) -> Option<f64> {
    let minutes = entry.value("monitorTimeoutMin")?.as_f64();
    minutes.filter(|minutes| *minutes > 0.0)
}

/// Decides. `known` is what is remembered of this run, `now_ms` is since the epoch.
pub fn decide(facts: &Facts, known: Option<&Suspicion>, rules: Rules, now_ms: i64) -> Verdict {
    if let Some(verdict) = without_session(facts, rules, now_ms) {
        return verdict;
    }
    if let Watching::Missing { since_ms } = facts.watching
        && now_ms.saturating_sub(since_ms) >= ms(rules.threshold)
    {
        return unwatched(since_ms, "it runs and nobody watches it", now_ms);
    }
    if facts.is_waived {
        return Verdict::new(Standing::Waived, "it was enqueued with --no-monitor");
    }
    let pulse = match &facts.session {
        Session::NotAsked => {
            let age = format_duration(now_ms.saturating_sub(facts.since_ms));
            return Verdict::new(Standing::Young, format!("it has run for {age} only"));
        }
        Session::Unknown(why) => return Verdict::new(Standing::Unknown, why.as_str()),
        Session::Seen(pulse) => pulse,
    };
    if let Some(settled) = &pulse.evidence.settled {
        return over(settled, rules, now_ms);
    }
    let is_carried = pulse.evidence.liveness != Liveness::Gone;
    let Some(patience) = facts.patience.or((!is_carried).then_some(rules.threshold)) else {
        return Verdict::new(
            Standing::Alive,
            "a command without a time limit may be silent",
        );
    };
    let silence = match silence(facts, pulse, known, patience, now_ms) {
        Ok(silence) => silence,
        Err(verdict) => return verdict,
    };
    judge(facts, pulse, &silence, known, rules, patience, now_ms)
}

/// What waits for a time of its own has no session that could be silent: it is stuck when that time has long passed and
/// nobody acts.
fn without_session(facts: &Facts, rules: Rules, now_ms: i64) -> Option<Verdict> {
    let what = match facts.phase? {
        Phase::RetryWait => "its retry",
        Phase::Queued => "its turn",
        Phase::Verifying => "its verify command",
        Phase::Accepting | Phase::Running => return None,
    };
    if facts.watching == Watching::Present {
        let reason = format!("its watcher sees to {what}");
        return Some(Verdict::new(Standing::Alive, reason));
    }
    let late_ms = now_ms.saturating_sub(facts.due_ms);
    if late_ms < ms(rules.threshold) {
        let reason = format!("it waits for {what}");
        return Some(Verdict::new(Standing::Young, reason));
    }
    let due = format!("{what} was due at {}", time::clock(facts.due_ms, now_ms));
    let nobody = match facts.watching {
        Watching::Wedged => "its watcher does not stir",
        Watching::Present | Watching::Missing { .. } => "nobody is at its watcher's post",
    };
    Some(Verdict {
        since_ms: Some(facts.due_ms),
        proofs: vec![due, nobody.to_owned()],
        ..Verdict::new(Standing::Stuck, format!("nobody acts: {what} is overdue"))
    })
}

fn unwatched(since_ms: i64, reason: &str, now_ms: i64) -> Verdict {
    let last = format!(
        "a watcher was seen there at {} last",
        time::clock(since_ms, now_ms)
    );
    Verdict {
        since_ms: Some(since_ms),
        proofs: vec!["its watcher's post is free".to_owned(), last],
        ..Verdict::new(Standing::Stuck, reason)
    }
}

/// A run that has ended is its watcher's to file, at once.
fn over(settled: &Settled, rules: Rules, now_ms: i64) -> Verdict {
    let ended_ms = match settled {
        Settled::Reply { at_ms, .. } => *at_ms,
        Settled::Failed { failure, .. } => failure.at,
    };
    // Gateways take their time to say how a run ended.
    let filing = rules.threshold.max(PROGRESS);
    if now_ms.saturating_sub(ended_ms) < ms(filing) {
        let reason = "its run has ended, and its watcher files that";
        return Verdict::new(Standing::Alive, reason);
    }
    let ended = format!("its run ended at {}", time::clock(ended_ms, now_ms));
    Verdict {
        since_ms: Some(ended_ms),
        proofs: vec![ended, "its label still runs".to_owned()],
        ..Verdict::new(
            Standing::Stuck,
            "its run is over and its watcher does not file that",
        )
    }
}

/// The session's silence, where it is as long as its patience and both witnesses tell of it.
fn silence(
    facts: &Facts,
    pulse: &Pulse,
    known: Option<&Suspicion>,
    patience: Duration,
    now_ms: i64,
) -> Result<Silence, Verdict> {
    let row_ms = match pulse.evidence.last_activity_ms {
        // What the nudge itself has moved is no work.
        Some(at) if is_echo(facts, at) => known.and_then(|known| known.moved_at),
        row_ms => row_ms,
    };
    let work = pulse.work.unwrap_or_default();
    let signs = [Some(facts.since_ms), facts.spoken_to_ms, row_ms, work.at_ms];
    let since_ms = signs.into_iter().flatten().max().unwrap_or(facts.since_ms);
    let silent_ms = now_ms.saturating_sub(since_ms);
    let says = |standing, reason: String| Verdict {
        since_ms: Some(since_ms),
        ..Verdict::new(standing, reason)
    };
    if silent_ms < ms(PROGRESS.min(patience)) {
        let ago = format_duration(silent_ms);
        return Err(says(Standing::Alive, format!("it made progress {ago} ago")));
    }
    if let Some(open_ms) = work.tool_since_ms
        && now_ms.saturating_sub(open_ms) < ms(facts.tool_allowance)
    {
        let since = time::clock(open_ms, now_ms);
        return Err(says(
            Standing::Alive,
            format!("a tool call is open since {since}"),
        ));
    }
    if silent_ms < ms(patience) {
        let (silent, allowed) = (format_duration(silent_ms), format_duration(ms(patience)));
        return Err(says(
            Standing::Young,
            format!("it is silent for {silent}, and may be for {allowed}"),
        ));
    }
    if pulse.work.is_none() {
        return Err(says(
            Standing::Unknown,
            "only one witness of its silence could be heard".to_owned(),
        ));
    }
    Ok(Silence {
        since_ms,
        proofs: proofs(facts, row_ms, work, now_ms),
    })
}

fn is_echo(facts: &Facts, at: i64) -> bool {
    let is_of = |sent: i64| (-SKEW_MS..ECHO_MS).contains(&at.saturating_sub(sent));
    facts.nudged_ms.is_some_and(is_of)
}

/// What the two witnesses say.
fn proofs(facts: &Facts, row_ms: Option<i64>, work: Work, now_ms: i64) -> Vec<String> {
    let (row, said, nothing) = match facts.backend {
        BackendName::Local => (
            "its transcript has not grown",
            "it has printed nothing",
            "it has never printed anything",
        ),
        BackendName::Openclaw => (
            "its session's row has not moved",
            "its agent has done nothing",
            "its agent has never done anything",
        ),
    };
    let since = |what: &str, at: i64| format!("{what} since {}", time::clock(at, now_ms));
    vec![
        since(row, row_ms.unwrap_or(facts.since_ms)),
        match work
            .at_ms
            .filter(|at| work.amount > 0 && *at >= facts.since_ms)
        {
            Some(at) => since(said, at),
            None => nothing.to_owned(),
        },
    ]
}

/// What is done about a silence that is too long.
fn judge(
    facts: &Facts,
    pulse: &Pulse,
    silence: &Silence,
    known: Option<&Suspicion>,
    rules: Rules,
    patience: Duration,
    now_ms: i64,
) -> Verdict {
    let silent = format_duration(now_ms.saturating_sub(silence.since_ms));
    let says = |standing, reason: String| Verdict::of_silence(standing, reason, silence);
    if facts.watching == Watching::Present && now_ms < facts.grace_until_ms {
        let reason = format!("it is silent for {silent}, and its watcher is seeing to it");
        return says(Standing::Attended, reason);
    }
    let reason = format!("no sign of progress for {silent}");
    if !rules.nudges {
        return says(Standing::Stuck, reason);
    }
    let Some(known) = known.filter(|known| known.is_same_silence(pulse)) else {
        let can_answer = facts.backend == BackendName::Openclaw
            && pulse.evidence.liveness == Liveness::Alive
            && !facts.is_cancelling;
        return match can_answer {
            true => says(Standing::Nudge, reason),
            false => says(Standing::Suspect, reason),
        };
    };
    let cycle_ms = ms(PROGRESS.min(patience));
    if now_ms.saturating_sub(known.seen_at) < cycle_ms {
        return says(
            Standing::Awaiting,
            format!("{reason}; it has a cycle to show some"),
        );
    }
    let mut stuck = says(Standing::Stuck, reason);
    if let Some(nudged_at) = known.nudged_at {
        let at = time::clock(nudged_at, now_ms);
        stuck.reason += &format!(", and no answer to the nudge of {at}");
    }
    stuck
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
