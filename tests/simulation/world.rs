//! The world of one history: clock, ledger, storage, posts and network as the processes of dispatch find them.

use std::rc::Rc;
use std::time::Duration;

use dispatch::backend::{BackendName, Evidence, RunRef};
use dispatch::completion::cap::ArtifactOutcome;
use dispatch::config::RetryWindows;
use dispatch::record::{Delivery, Entry, Generation};
use dispatch::watch::Reader;
use dispatch::watch::changes::Charge;
use dispatch::watch::liveness::Policy;

use super::gateway::{Gateway, News, Request, START_MS};
use super::observer::Observer;
use super::process::{Pid, Process};
use super::random::Random;
use super::receiver::Receivers;
use super::sabotage::Sabotage;

pub const LABELS: [&str; 2] = ["a", "b"];
pub const BRAND: &str = "dispatch";

/// The ledger cannot be used just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trouble;

/// The gateway cannot be reached, or has not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence;

/// A watcher's post.
#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub label: usize,
    pub generation: Generation,
    pub by: Pid,
    /// It was started by dispatch, and hands over to whoever asks.
    pub is_detached: bool,
    /// When its holder showed that it lives, by the wall clock.
    pub stirred_ms: i64,
}

/// What differs from history to history and stays.
#[derive(Debug, Clone)]
pub struct Settings {
    pub policy: Policy,
    pub start_grace: Duration,
    pub ttl: Duration,
    pub retry: RetryWindows,
    /// How often, of a thousand steps, a process is killed after one.
    pub crashes: u64,
    /// How often, of a thousand calls and reads, something goes wrong.
    pub mishaps: u64,
}

#[derive(Debug, Default)]
struct Row {
    now: Option<Rc<Entry>>,
    before: Option<Rc<Entry>>,
    /// Generations that left the ledger.
    archived: Option<Generation>,
}

pub struct World {
    pub random: Random,
    /// True time, in ms since the start of the history.
    pub now: i64,
    suspended: i64,
    wall_jump: i64,
    pub has_faults: bool,
    rows: [Row; 2],
    /// Moves with each write of the ledger.
    pub version: u64,
    pub disk_full_until: i64,
    pub artifacts: Vec<String>,
    pub posts: Vec<Held>,
    pub gateway: Gateway,
    pub receivers: Receivers,
    pub observer: Observer,
    pub sabotage: Option<Sabotage>,
    pub settings: Settings,
    pub spawned: Vec<Box<dyn Process>>,
    pub woken: Vec<(usize, Generation)>,
    pub killed: Vec<Pid>,
    /// Whom SIGTERM goes to.
    pub told_to_stop: Vec<Pid>,
    pub history: Option<Vec<String>>,
    names: u64,
}

impl World {
    pub fn new(
        random: Random,
        settings: Settings,
        sabotage: Option<Sabotage>,
        is_told: bool,
    ) -> Self {
        Self {
            random,
            now: 0,
            suspended: 0,
            wall_jump: 0,
            has_faults: true,
            rows: Default::default(),
            version: 0,
            disk_full_until: 0,
            artifacts: Vec::new(),
            posts: Vec::new(),
            gateway: Gateway::default(),
            receivers: Receivers::default(),
            observer: Observer::default(),
            sabotage,
            settings,
            spawned: Vec::new(),
            woken: Vec::new(),
            killed: Vec::new(),
            told_to_stop: Vec::new(),
            history: is_told.then(Vec::new),
            names: 0,
        }
    }

    /// A line of the history.
    pub fn tell(&mut self, line: impl FnOnce(&Self) -> String) {
        if self.history.is_some() {
            let line = format!("{:>10} ms  {}", self.now, line(self));
            self.history.get_or_insert_default().push(line);
        }
    }

    pub fn is_broken_by(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    // The clock.

    pub fn monotonic(&self) -> Duration {
        Duration::from_millis((self.now - self.suspended).unsigned_abs())
    }

    pub fn now_ms(&self) -> i64 {
        START_MS + self.now + self.wall_jump
    }

    pub fn jump(&mut self, by_ms: i64) {
        self.wall_jump += by_ms;
    }

    /// The machine sleeps: true time passes, its monotonic time does not.
    pub fn suspend(&mut self, ms: i64) {
        self.now += ms;
        self.suspended += ms;
    }

    /// A new name, of a run say.
    pub fn name(&mut self, of: &str) -> String {
        self.names += 1;
        format!("{of}{}", self.names)
    }

    pub fn mishap(&mut self) -> bool {
        let per_mille = self.settings.mishaps;
        self.has_faults && self.random.chance(per_mille)
    }

    // The ledger.

    /// The entry as the ledger has it.
    pub fn truth(&self, label: usize) -> Option<&Rc<Entry>> {
        self.rows[label].now.as_ref()
    }

    /// Reads an entry: a reader who has the file open already sees what it was before the last write.
    pub fn read(&mut self, label: usize) -> Option<Rc<Entry>> {
        match self.mishap() {
            true => self.rows[label].before.clone(),
            false => self.rows[label].now.clone(),
        }
    }

    /// As `read`, for a reader who has seen this version of the ledger, and reads if there is news or `insists`. Whoever
    /// sees an old ledger sees its version, too.
    pub fn reread(
        &mut self,
        label: usize,
        seen: Option<u64>,
        insists: bool,
    ) -> Option<(u64, Option<Rc<Entry>>)> {
        let row = &self.rows[label];
        let (version, entry) = match self.has_faults && self.random.chance(self.settings.mishaps) {
            true => (self.version.saturating_sub(1), row.before.clone()),
            false => (self.version, row.now.clone()),
        };
        (insists || seen != Some(version)).then_some((version, entry))
    }

    /// Changes the ledger under its lock. `change` is given the entry and the wall time, and returns what it becomes.
    pub fn update<T>(
        &mut self,
        label: usize,
        change: impl FnOnce(Option<&Entry>, i64) -> (T, Option<Entry>),
    ) -> Result<T, Trouble> {
        let now_ms = self.now_ms();
        let before = self.rows[label].now.clone();
        let (outcome, after) = change(before.as_deref(), now_ms);
        let Some(mut after) = after else {
            return Ok(outcome);
        };
        if self.now < self.disk_full_until || self.mishap() && self.random.chance(300) {
            self.tell(|_| format!("    the ledger cannot take the change of {}", LABELS[label]));
            return Err(Trouble);
        }
        after.touch(now_ms);
        self.version += 1;
        self.observer
            .wrote(LABELS[label], before.as_deref(), &after, self.now);
        let after = Rc::new(after);
        self.tell(|_| format!("    {} is now {}", LABELS[label], brief(&after)));
        let row = &mut self.rows[label];
        if let Some(old) = &before
            && old.generation() != after.generation()
        {
            row.archived = Some(old.generation());
        }
        row.before = row.now.replace(after);
        Ok(outcome)
    }

    /// Changes an entry that is there, as `amend` of `watch/conclude.rs` does.
    pub fn amend<T>(
        &mut self,
        label: usize,
        change: impl FnOnce(&mut Entry, i64) -> (T, bool),
    ) -> Result<Option<T>, Trouble> {
        self.update(label, |entry, now_ms| {
            let Some(mut entry) = entry.cloned() else {
                return (None, None);
            };
            let (outcome, is_changed) = change(&mut entry, now_ms);
            (Some(outcome), is_changed.then_some(entry))
        })
    }

    /// Keeps a text, unless the disk is full.
    pub fn file(&mut self, text: &str) -> ArtifactOutcome {
        if self.now < self.disk_full_until {
            return ArtifactOutcome::Failed("no space left on device".to_owned());
        }
        self.artifacts.push(text.to_owned());
        ArtifactOutcome::Written(format!("/artifacts/{}", self.artifacts.len()).into())
    }

    /// What a watcher may change.
    pub fn charge(label: usize, generation: Generation) -> Charge<'static> {
        Charge {
            label: LABELS[label],
            generation,
            brand: BRAND,
            reader: Reader::Outbox,
        }
    }

    // The posts.

    pub fn is_held(&self, label: usize, generation: Generation) -> bool {
        self.posts
            .iter()
            .any(|held| held.label == label && held.generation == generation)
    }

    /// Takes the post; false when another has it.
    pub fn take(
        &mut self,
        label: usize,
        generation: Generation,
        by: Pid,
        is_detached: bool,
    ) -> bool {
        let is_free = !self.is_held(label, generation);
        if !is_free && !self.is_broken_by(Sabotage::NoPost) {
            return false;
        }
        self.posts.push(Held {
            label,
            generation,
            by,
            is_detached,
            stirred_ms: self.now_ms(),
        });
        true
    }

    pub fn leave(&mut self, label: usize, generation: Generation, by: Pid) {
        self.posts
            .retain(|held| held.label != label || held.generation != generation || held.by != by);
    }

    pub fn stir(&mut self, by: Pid) {
        let now_ms = self.now_ms();
        for held in self.posts.iter_mut().filter(|held| held.by == by) {
            held.stirred_ms = now_ms;
        }
    }

    /// Starts a watcher unless one is at the post, who is woken.
    pub fn ensure_watcher(&mut self, label: usize, generation: Generation) {
        match self.is_held(label, generation) {
            true => self.woken.push((label, generation)),
            false => self.start_watcher(label, generation),
        }
    }

    pub fn start_watcher(&mut self, label: usize, generation: Generation) {
        let watcher = super::watcher::Watcher::new(label, generation);
        self.spawned.push(Box::new(watcher));
    }

    // The gateway.

    /// Opens a connection: the gateway's life that it lasts for.
    pub fn connect(&mut self) -> Result<u64, Silence> {
        match self.gateway.is_up(self.now) && !(self.mishap() && self.random.chance(500)) {
            true => Ok(self.gateway.epoch),
            false => Err(Silence),
        }
    }

    /// Asks the gateway over a connection. Without an answer nobody knows what became of the request.
    pub fn call(&mut self, connection: u64, request: Request) -> Result<bool, Silence> {
        if connection != self.gateway.epoch || !self.gateway.is_up(self.now) {
            return Err(Silence);
        }
        if !self.mishap() {
            let answer = self.gateway.execute(request, self.now, &mut self.random);
            self.hear();
            return Ok(answer);
        }
        let later = self.now + self.random.between(1, 60_000);
        match self.random.below(4) {
            0 => {}
            1 => {
                self.gateway.execute(request, self.now, &mut self.random);
            }
            2 => self.gateway.put_later(later, request),
            _ => {
                self.gateway
                    .execute(request.clone(), self.now, &mut self.random);
                self.gateway.put_later(later, request);
            }
        }
        self.hear();
        Err(Silence)
    }

    /// What one look at the gateway shows of a run.
    pub fn observe(&mut self, run: &RunRef) -> Result<dispatch::backend::openclaw::Seen, Silence> {
        self.connect()?;
        Ok(self.gateway.look(run, self.now, self.now_ms()))
    }

    /// The evidence with what the messages tell of a quiet run.
    pub fn with_tools(&self, run: &RunRef, mut evidence: Evidence) -> Evidence {
        evidence.open_tool = self.gateway.has_open_tool(&run.session_key, self.now);
        evidence.mid_turn = evidence.open_tool;
        evidence
    }

    /// Lets gateway and receivers do what is due.
    pub fn advance(&mut self) {
        self.gateway.advance(self.now, &mut self.random);
        self.hear();
        for (record, label) in self.receivers.advance(self.now) {
            self.received(&record, label);
        }
    }

    fn received(&mut self, record: &Delivery, label: usize) {
        self.tell(|_| {
            let repeat = if record.may_be_repeat {
                " (again?)"
            } else {
                ""
            };
            format!("    {} received{repeat}", record.key)
        });
        self.observer.received(LABELS[label], record);
    }

    fn hear(&mut self) {
        for news in std::mem::take(&mut self.gateway.news) {
            let (run, what) = match news {
                News::Began(run) => (run, "begins"),
                News::Ended(run) => (run, "ends"),
                News::Stopped { run, .. } => (run, "is told to stop"),
            };
            self.tell(|world| {
                let run = &world.gateway.runs[run];
                format!("    run {} {what} ({:?})", run.id, run.state)
            });
            let entry = self.rows[self.gateway.runs[run].label].now.as_deref();
            self.observer.news(news, &self.gateway.runs, entry);
            let run = &self.gateway.runs[run];
            let place = (run.label, run.generation);
            if !self.mishap() {
                self.woken.push(place);
            }
        }
    }

    /// When gateway or receivers do something by themselves next.
    pub fn next_at(&self) -> Option<i64> {
        let both = [self.gateway.next_at(), self.receivers.next_at()];
        both.into_iter().flatten().min()
    }

    /// The generation that a new enqueue gets.
    pub fn next_generation(&self, label: usize, old: Option<&Entry>, now_ms: i64) -> Generation {
        let archived = self.rows[label].archived;
        Generation::next(old.map(Entry::generation).or(archived), now_ms)
    }
}

/// An entry in a line.
pub fn brief(entry: &Entry) -> String {
    let records: Vec<String> = entry
        .deliveries()
        .iter()
        .map(|d| {
            let key: Vec<&str> = d.key.split('/').skip(1).collect();
            format!("{}={:?}", key.join("/"), d.state)
        })
        .collect();
    let phase = entry
        .phase()
        .map_or(String::new(), |p| format!("/{}", p.as_str()));
    let kind = entry
        .failure()
        .map_or(String::new(), |f| format!(" {}", f.kind));
    let asked = if entry.cancel_requested() {
        " cancel"
    } else {
        ""
    };
    format!(
        "{}.{} {}{phase}{kind}{asked} [{}]",
        entry.generation(),
        entry.attempt(),
        entry.status(),
        records.join(" ")
    )
}

/// The run of an entry that the simulation made.
pub fn run_of(label: usize, entry: &Entry) -> Option<RunRef> {
    BackendName::of_entry(entry)?;
    RunRef::of_entry(LABELS[label], entry)
}
