//! The watcher's driver: looks at ledger and backend, lets the machine decide, performs what it says, sleeps until
//! something changes.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};

mod leaving;
mod perform;
mod retrying;

use super::Reader;
use super::ending::Ending;
use super::liveness::{Effort, Policy};
use super::machine::{EntrySight, Leaving, Sight, State, step};
use super::orders::{Listener, Orders};
use super::outbox::{Left, Outbox};
use super::sighting::{entry_sight, past};
use super::verify::{Allowance, Checker, Note};
use super::voice::{Prints, Voice};
use crate::backend::{Backend, BackendName, Evidence, RunRef, backend_of};
use crate::home::Home;
use crate::ledger::Ledger;
use crate::process::Detached;
use crate::record::{Entry, Generation, Phase, Status};
use crate::recovery::retries::Account;
use crate::storage::FileFacts;
use crate::wake::{SAFETY_POLL, Source, Wake};
use crate::watchers::Post;

/// A foreground watcher prints after so many tries to write the ledger.
const FOREGROUND_TRIES: usize = 2;

/// Pauses before the ledger is tried again when it cannot be written.
const RETRY_PAUSES_S: [u64; 5] = [1, 2, 5, 15, 30];

/// The time limit of a gateway's run whose entry names none.
const DEFAULT_LIMIT: Duration = Duration::from_secs(300);

/// How soon a ledger that cannot be used is tried again while deliveries wait, and how often it is compared without a
/// poke.
const LEDGER_LOOK: Duration = Duration::from_secs(5);

/// How long to watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// Until the label ends.
    UntilEnd,
    /// One look.
    Once,
}

/// What whoever started the watcher says about the run's limits, in place of its entry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The rolling deadline's start.
    pub timeout: Option<Duration>,
    /// A run without progress for so long has stalled.
    pub idle_threshold: Option<Duration>,
}

/// The policy of an entry's run.
pub fn policy_of(home: &Home, entry: &Entry, limits: &Limits) -> Policy {
    let own = limits.idle_threshold.or(entry
        .number("idleThresholdSeconds")
        .map(Duration::from_secs));
    let grace = home.config.startup_grace;
    let policy = match BackendName::of_entry(entry) {
        Some(BackendName::Openclaw) => {
            let recorded = entry.number("timeoutSeconds").map(Duration::from_secs);
            let limit = limits.timeout.or(recorded).unwrap_or(DEFAULT_LIMIT);
            let effort = Effort::of_thinking(entry.text("thinking"));
            Policy::of_gateway(limit, effort, own, grace)
        }
        _ => Policy::of_command(own, grace),
    };
    policy.with_windows(&home.config.liveness)
}

/// How a watch ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Watched {
    /// The label ended; the message is for people.
    Ended {
        /// Its status.
        status: Status,
        /// Header and body.
        message: String,
    },
    /// It goes on.
    Pending(String),
    /// Another generation has taken its place.
    Superseded,
    /// Somebody asked this watcher to stop.
    Stopped,
}

/// What one watch is about.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The label.
    pub label: &'a str,
    /// Its generation.
    pub generation: Generation,
    /// How long.
    pub span: Span,
    /// For whom.
    pub reader: Reader,
    /// By which limits.
    pub limits: Limits,
}

/// Watches a label's run. The caller holds the post and has read `known`, the label's entry, which is gone on with when the
/// ledger cannot be read by now.
///
/// # Errors
/// When the label names no run that this build can watch, or its backend cannot be used.
pub fn watch(
    home: &Home,
    task: &Task<'_>,
    known: &Entry,
    orders: &Orders,
    source: &Source,
) -> Result<Watched> {
    let Task {
        label, generation, ..
    } = *task;
    let ledger = Ledger::new(home);
    let wake = Wake::patient(source);
    let entry = match ledger.entry(label) {
        Ok(entry) => entry.with_context(|| format!("the ledger has no label \"{label}\""))?,
        Err(e) => {
            home.say(&format!("{e}; the watch goes on"));
            known.clone()
        }
    };
    if entry.generation() != generation {
        return Ok(Watched::Superseded);
    }
    let post = Post::of(home, label, generation);
    let reader = match (task.reader, entry.status()) {
        (Reader::Outbox, Status::Running) => Reader::after(home, &post),
        (reader, _) => reader,
    };
    let mut voice = Voice::new(home, label, post.clone());
    voice.prints = Prints {
        here: reader == Reader::Stdout && task.span == Span::UntilEnd,
        before: entry.status() == Status::Running && post.was_to_print(home),
    };
    let verify_note = Note::new(home.storage.clone(), post.verify_note_path());
    let mut driver = Driver {
        home,
        backend: backend_of(
            home,
            BackendName::of_entry(&entry).unwrap_or(BackendName::Local),
        )?,
        voice,
        post,
        outbox: Outbox::new(home, label, generation, reader, wake.waker()),
        _listener: orders.wake(wake.waker()),
        orders: orders.clone(),
        wake,
        carriers: Vec::new(),
        run: RunRef {
            label: label.to_owned(),
            generation,
            ..RunRef::of_entry(label, &entry).unwrap_or_default()
        },
        checker: Checker::default(),
        verify_note,
        entry,
        ledger,
        ended: None,
        troubles: 0,
        reader,
        limits: task.limits,
        ledger_seen: None,
        poke_seen: None,
        ledger_due: Duration::ZERO,
        is_new_run: false,
        held_until: None,
    };
    driver.verify_note.end_what_was_left();
    match run_of(label, &driver.entry)? {
        Some(_) => driver.watch(task.span),
        // The label was only signalled done, or its run is not ours to watch: what it owes is.
        None => {
            driver.heed_pokes(task.span);
            driver.leave()
        }
    }
}

/// The run to be watched, if the entry has one.
fn run_of(label: &str, entry: &Entry) -> Result<Option<RunRef>> {
    match RunRef::of_entry(label, entry) {
        Some(run) => Ok(Some(run)),
        None if entry.status().is_ended() => Ok(None),
        None => bail!(super::nothing_to_watch(label)),
    }
}

struct Driver<'a> {
    home: &'a Home,
    ledger: Ledger,
    backend: Box<dyn Backend + 'a>,
    post: Post,
    wake: Wake,
    run: RunRef,
    entry: Entry,
    outbox: Outbox<'a>,
    checker: Checker,
    verify_note: Note,
    /// Processes that were started from here and are reaped here.
    carriers: Vec<Detached>,
    ended: Option<Ending>,
    /// How often in a row the ledger could not take what was to be recorded.
    troubles: usize,
    reader: Reader,
    limits: Limits,
    voice: Voice<'a>,
    /// The ledger as it was read last, and the post's lock file, which everybody touches who changes the label.
    ledger_seen: Option<FileFacts>,
    poke_seen: Option<FileFacts>,
    /// Monotonic time when the ledger is compared again without a poke.
    ledger_due: Duration,
    /// The run is another attempt's since the last step.
    is_new_run: bool,
    /// Monotonic time until which the retry's provider is left alone.
    held_until: Option<Duration>,
    orders: Orders,
    _listener: Listener,
}

impl Driver<'_> {
    /// Has the watch woken by whoever changes its label, where it lasts.
    fn heed_pokes(&mut self, span: Span) {
        if span == Span::UntilEnd {
            self.wake.watch(&self.post.lock_path());
        }
    }

    fn watch(&mut self, span: Span) -> Result<Watched> {
        self.heed_pokes(span);
        if span == Span::UntilEnd {
            self.make_way();
            self.follow_run();
        }
        let mut state = State::default();
        loop {
            self.orders.reread(self.home);
            let sight = self.look()?;
            let next = step(state, &sight, self.home.clock.monotonic());
            self.voice.polls = self.wake.is_degraded();
            self.voice.note(&next, sight.evidence.position);
            let mut look_within = next.look_within.min(SAFETY_POLL);
            let left = match self.perform(&next, &sight) {
                Ok(left) => {
                    self.troubles = 0;
                    left
                }
                Err(e) if span == Span::Once => return Err(e.into()),
                Err(e) => {
                    look_within = self.pause_after(&e);
                    None
                }
            };
            if !next.actions.is_empty() {
                // Nobody pokes a watcher for what it writes itself.
                self.ledger_seen = None;
            }
            match (left, span) {
                (Some(Leaving::Superseded), _) => {
                    self.drain();
                    return Ok(Watched::Superseded);
                }
                (Some(Leaving::Ended), _) => return self.leave(),
                (None, Span::Once) => return Ok(Watched::Pending(next.reason)),
                (None, Span::UntilEnd) => {}
            }
            if self.orders.to_stop() {
                self.voice
                    .depart("the run goes on", sight.evidence.position);
                return Ok(Watched::Stopped);
            }
            state = match std::mem::take(&mut self.is_new_run) {
                true => {
                    self.follow_run();
                    State::default()
                }
                false => next.state,
            };
            if let Some(until) = self.held_until.take() {
                state.hold_retry(until);
                look_within = look_within.min(until.saturating_sub(self.home.clock.monotonic()));
            }
            self.carriers.retain_mut(|carrier| !carrier.reap());
            let sending = self.send_due();
            self.wake.wait(look_within.min(sending));
        }
    }

    /// Waits until whoever has just enqueued the run has asked for it, which ends with a poke.
    fn make_way(&mut self) {
        let age_ms = self.home.now_ms().abs_diff(self.run.since_ms);
        let left = (self.backend.makes_way_for()).saturating_sub(Duration::from_millis(age_ms));
        if self.entry.phase() == Some(Phase::Accepting) && !left.is_zero() {
            self.wake.wait(left);
        }
    }

    /// Has news of the run wake the watcher.
    fn follow_run(&mut self) {
        for path in self.backend.wake_paths(&self.run) {
            self.wake.watch(&path);
        }
        self.backend.attach(&self.run, self.wake.waker());
    }

    /// Sends what is due meanwhile (the start, notes); says how soon to look again.
    fn send_due(&mut self) -> Duration {
        let left = self.outbox.work(&self.entry);
        if !matches!(left, Ok(Left::Nothing)) {
            self.ledger_seen = None;
        }
        match left {
            Ok(Left::After(pause)) => pause,
            Ok(Left::Nothing | Left::UnderWay) => SAFETY_POLL,
            Err(e) => {
                self.voice.say(&format!("{e}"));
                SAFETY_POLL
            }
        }
    }

    fn look(&mut self) -> Result<Sight> {
        // The backend first: an end that the ledger tells of later is then never mistaken for news.
        let (mut evidence, mut blind) = match self.backend.observe(&self.run) {
            Ok(evidence) if evidence.is_known => (evidence, None),
            Ok(evidence) => (evidence, Some("no answer about it has come yet".to_owned())),
            Err(e) => (Evidence::unknown(), Some(e.to_string())),
        };
        if self.is_ledger_news() || evidence.settled.is_some() {
            match self.ledger.entry(&self.run.label) {
                Ok(entry) => {
                    match entry {
                        Some(entry) if entry.generation() == self.run.generation => {
                            self.entry = entry;
                            if self.take_up_attempt() {
                                evidence = Evidence::unknown();
                                blind = Some("another attempt has begun".to_owned());
                            }
                            // The end of what ran before a further message is no end.
                            if self.run.take_up_steers(&self.entry) {
                                self.backend.attach(&self.run, self.wake.waker());
                                evidence.settled = None;
                            }
                        }
                        _ => {
                            return Ok(self.sight(None, evidence, blind));
                        }
                    }
                }
                // What the entry said last still holds; recording the end waits until the ledger is mended.
                Err(e) => {
                    self.ledger_seen = None;
                    self.voice.say(&format!("{e}; the watch goes on"));
                }
            }
        }
        let verify = self.checker.sight(
            &self.entry,
            self.home.clock.monotonic(),
            Allowance {
                verdict: self.home.config.verify_timeout,
                stop: self.home.config.term_grace,
            },
        );
        let account = Account::of(&self.run.label, &self.entry, &self.home.config.retry);
        let entry = entry_sight(&self.entry, verify, account, self.home.now_ms());
        Ok(self.sight(Some(entry), evidence, blind))
    }

    /// The label may have changed. Of hundreds of watchers none can read the whole ledger at every change of another's
    /// label: whoever changes this one pokes, and a poke that is lost is made up for by a look now and then.
    fn is_ledger_news(&mut self) -> bool {
        let facts = |path: &Path| self.home.storage.facts(path).ok().flatten();
        // Taken before the ledger is read: a change that comes meanwhile is news at the next look.
        let poke = facts(&self.post.lock_path());
        let is_poked = poke.is_none() || poke != self.poke_seen;
        let now = self.home.clock.monotonic();
        if !is_poked && self.ledger_seen.is_some() && now < self.ledger_due {
            return false;
        }
        let ledger = facts(self.ledger.path());
        let is_news = ledger.is_none() || ledger != self.ledger_seen;
        if is_poked {
            self.voice.answer();
        }
        self.poke_seen = poke;
        self.ledger_seen = ledger;
        self.ledger_due = now + LEDGER_LOOK;
        is_news
    }

    /// Goes over to the entry's run when that is another attempt's. Says whether it was.
    fn take_up_attempt(&mut self) -> bool {
        let run = RunRef::of_entry(&self.run.label, &self.entry);
        let Some(run) = run.filter(|run| run.run_id != self.run.run_id) else {
            return false;
        };
        self.run = run;
        self.is_new_run = true;
        true
    }

    /// What is seen, with the policy by which it is judged.
    fn sight(&self, entry: Option<EntrySight>, evidence: Evidence, blind: Option<String>) -> Sight {
        let (since_ms, active_ms) = (self.run.since_ms, evidence.last_activity_ms);
        let past = past(&self.entry, since_ms, active_ms, self.home.now_ms());
        Sight {
            entry,
            evidence,
            start_grace: self.backend.start_grace(),
            policy: policy_of(self.home, &self.entry, &self.limits),
            past,
            blind,
            is_carried: self.backend.takes_over(),
        }
    }
}
