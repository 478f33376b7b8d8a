//! What the stuck detector sees: of every running label its watcher, its session and its own limits; and the watchers and
//! deliveries that stand still. One connection to the gateway, within a bounded time; one that does not answer proves
//! nothing about any session.

use std::io;
use std::time::Duration;

use serde_json::Value;

use crate::backend::local::LocalBackend;
use crate::backend::openclaw::{self, OpenclawBackend};
use crate::backend::{BackendName, Pulse, RunRef};
use crate::gateway::Client;
use crate::home::Home;
use crate::ledger::LedgerError;
use crate::process::FileLock;
use crate::record::{Entry, Phase, Steer};
use crate::stuck::rules::{Facts, PROGRESS, Session, Watching, patience};
use crate::watch::liveness::Policy;
use crate::watch::{Change, Limits, Way, policy_of, resolve};
use crate::watchers::Post;

/// How long a gateway may take to let us in.
const GATEWAY_PATIENCE: Duration = Duration::from_secs(10);

/// How long all questions to it together may take.
const ASKING_TIME: Duration = Duration::from_secs(120);

/// The gateway, as far as it answers.
pub struct Gateway<'a> {
    home: &'a Home,
    client: Option<Client>,
    /// Monotonic time when no further question is asked.
    end: Option<Duration>,
    trouble: Option<String>,
}

impl<'a> Gateway<'a> {
    /// The gateway that is configured; nothing is contacted.
    pub fn new(home: &'a Home) -> Self {
        Self {
            home,
            client: None,
            end: None,
            trouble: None,
        }
    }

    /// Why it does not answer.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// The connection, made when it is asked for first.
    ///
    /// # Errors
    /// Why there is none; it is not tried again.
    pub fn client(&mut self) -> Result<&mut Client, String> {
        let now = self.home.clock.monotonic();
        let end = *self.end.get_or_insert(now + ASKING_TIME);
        if self.trouble.is_none() && now >= end {
            let limit = ASKING_TIME.as_secs();
            self.trouble = Some(format!(
                "the gateway is too slow to be asked about every session within {limit} s"
            ));
        }
        if let Some(trouble) = &self.trouble {
            return Err(trouble.clone());
        }
        if self.client.is_none() {
            let backend = OpenclawBackend::new(self.home);
            let connected = backend.and_then(|backend| backend.within(GATEWAY_PATIENCE).connect());
            match connected {
                Ok(client) => self.client = Some(client),
                Err(e) => {
                    let trouble = e.to_string();
                    self.trouble = Some(trouble.clone());
                    return Err(trouble);
                }
            }
        }
        self.client.as_mut().ok_or_else(String::new)
    }

    /// Nobody answers any more: that ends the questions.
    pub fn give_up(&mut self, why: &str) {
        self.trouble = Some(why.to_owned());
    }

    fn pulse(&mut self, run: &RunRef, quiet: Duration) -> Result<Pulse, String> {
        let home = self.home;
        match openclaw::pulse(home, self.client()?, run, quiet) {
            Ok(pulse) => Ok(pulse),
            Err(e) => {
                let why = e.to_string();
                // A refusal is about this session alone.
                if e.refusal().is_none() {
                    self.give_up(&why);
                }
                Err(why)
            }
        }
    }
}

/// What was found of a running label.
pub enum Found {
    /// It is to be judged.
    Judged(Box<Facts>),
    /// Nobody watched it, and its run was over.
    Resolved(Change),
}

/// Looks at a running label.
///
/// # Errors
/// When the ledger is damaged.
pub fn look(
    home: &Home,
    gateway: &mut Gateway<'_>,
    label: &str,
    entry: &Entry,
    run: &RunRef,
    threshold: Duration,
    way: Way,
) -> Result<Found, LedgerError> {
    let policy = policy_of(home, entry, &Limits::default());
    let backend = BackendName::of_entry(entry).unwrap_or(BackendName::Local);
    let steers = entry.steers();
    let nudged = |steer: &&Steer| steer.nudge;
    let mut facts = Facts {
        backend,
        phase: entry.phase(),
        since_ms: run.since_ms,
        due_ms: due(entry, run),
        spoken_to_ms: steers.iter().filter(|s| !s.nudge).map(|s| s.at).max(),
        nudged_ms: steers.iter().filter(nudged).map(|steer| steer.at).max(),
        is_waived: entry.value("noMonitor").is_some_and(Value::is_string),
        is_cancelling: entry.cancel_requested(),
        patience: patience(entry, policy.idle_failure, threshold),
        tool_allowance: policy.longest,
        grace_until_ms: grace(entry, run, &policy),
        watching: watching(home, label, entry, run),
        session: Session::NotAsked,
    };
    let has_session = matches!(facts.phase, None | Some(Phase::Accepting | Phase::Running));
    let is_unwatched = matches!(facts.watching, Watching::Missing { .. });
    let age_ms = home.now_ms().abs_diff(run.since_ms);
    let is_old = facts
        .patience
        .is_none_or(|patience| u128::from(age_ms) >= patience.as_millis());
    if !has_session || !is_unwatched && (facts.is_waived || !is_old) {
        return Ok(Found::Judged(Box::new(facts)));
    }
    let quiet = facts.patience.map_or(PROGRESS, |p| p.min(PROGRESS));
    let seen = match backend {
        BackendName::Local => {
            let pulse: io::Result<Pulse> = LocalBackend::new(home).pulse(run);
            pulse.map_err(|e| e.to_string())
        }
        BackendName::Openclaw => gateway.pulse(run, quiet),
    };
    facts.session = match seen {
        Ok(pulse) if is_unwatched => {
            let mut evidence = pulse.evidence.clone();
            evidence.open_tool = pulse.work.is_some_and(|work| work.tool_since_ms.is_some());
            match resolve(home, label, entry, &evidence, way) {
                Ok(Some(change)) => return Ok(Found::Resolved(change)),
                Ok(None) => Session::Seen(Box::new(pulse)),
                Err(e @ LedgerError::Damaged { .. }) => return Err(e),
                // The other labels are looked at all the same.
                Err(e) => Session::Unknown(format!("it is over, and that is not recorded: {e}")),
            }
        }
        Ok(pulse) => Session::Seen(Box::new(pulse)),
        Err(why) => Session::Unknown(why),
    };
    Ok(Found::Judged(Box::new(facts)))
}

/// When a label without a session at the moment was to go on.
fn due(entry: &Entry, run: &RunRef) -> i64 {
    let name = match entry.phase() {
        Some(Phase::RetryWait) => "retryAt",
        _ => "updatedAt",
    };
    entry.time(name).unwrap_or(run.since_ms)
}

fn watching(home: &Home, label: &str, entry: &Entry, run: &RunRef) -> Watching {
    let post = Post::of(home, label, entry.generation());
    if post.is_held() {
        return match post.wedged(home) {
            Some(_) => Watching::Wedged,
            None => Watching::Present,
        };
    }
    let beat = post.heartbeat(home).map(|beat| beat.at);
    let held = FileLock::holder(&post.lock_path()).map(|holder| holder.since);
    let seen = [beat, held].into_iter().flatten().max();
    Watching::Missing {
        since_ms: seen.unwrap_or(run.since_ms).max(run.since_ms),
    }
}

/// Until when its watcher may be helping the run to start, or to end.
fn grace(entry: &Entry, run: &RunRef, policy: &Policy) -> i64 {
    let after = |at: i64, window: Duration| {
        at.saturating_add(i64::try_from(window.as_millis()).unwrap_or(i64::MAX))
    };
    let [first, second] = policy.request_pauses;
    let helped = first + second + policy.last_words_silence + policy.abort_patience;
    let starting = match entry.phase() {
        Some(Phase::Accepting) => after(run.since_ms, policy.startup_grace),
        _ => run.since_ms,
    };
    let asked = entry
        .steers()
        .iter()
        .filter(|steer| steer.request.is_some())
        .map(|steer| after(steer.at, helped))
        .max();
    let stopped = entry
        .stop_order()
        .map(|why| after(why.at, policy.abort_patience));
    let times = [Some(starting), asked, stopped];
    times.into_iter().flatten().max().unwrap_or(run.since_ms)
}
