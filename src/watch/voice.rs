//! What a watcher says: to its log, each change of mind once, and to whoever asks how it is, by its heartbeat.

use std::time::Duration;

use super::machine::Step;
use crate::home::Home;
use crate::process::ProcessIdentity;
use crate::watchers::{Heartbeat, Post};

/// How often a watcher says that it lives.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(60);

/// A watcher that is asked whether it lives says so no more often than this.
const ANSWER_EVERY: Duration = Duration::from_secs(1);

/// The voice of one watcher.
pub struct Voice<'a> {
    home: &'a Home,
    label: String,
    post: Post,
    /// The line that was logged last.
    last_said: String,
    /// What the watcher was doing last.
    last_note: String,
    /// It hears of no changes of files.
    pub polls: bool,
    /// The run's end is to be printed by this watcher, or was by one that is gone.
    pub prints: Prints,
    /// Monotonic time and wall time of the last heartbeat.
    last_beat: Option<(Duration, i64)>,
}

/// Whose stdout was to have the run's end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Prints {
    /// This watcher's.
    pub here: bool,
    /// That of one that was killed before it printed.
    pub before: bool,
}

impl<'a> Voice<'a> {
    /// The voice of the watcher at `post`.
    pub fn new(home: &'a Home, label: &str, post: Post) -> Self {
        Self {
            home,
            label: label.to_owned(),
            post,
            last_said: String::new(),
            last_note: String::new(),
            polls: false,
            prints: Prints::default(),
            last_beat: None,
        }
    }

    /// Logs a line, unless it is the one that was logged last: a lasting trouble is told once.
    pub fn say(&mut self, line: &str) {
        if self.last_said != line {
            self.last_said = line.to_owned();
            self.home.say(&format!("watcher [{}] {line}", self.label));
        }
    }

    /// Tells what a step decided: in the log when it is news, by a heartbeat when it is news or time for one.
    pub fn note(&mut self, step: &Step, position: u64) {
        let (look, act) = (step.look_within, step.acts_within);
        self.tell(step.doing, &step.reason, look, act, position);
    }

    /// Tells what the watcher is doing and why. It looks again within `look`, and does something by itself within `act`
    /// where that is known.
    pub fn tell(
        &mut self,
        doing: &str,
        reason: &str,
        look: Duration,
        act: Option<Duration>,
        position: u64,
    ) {
        let line = format!("{doing}: {reason}");
        if line != self.last_note {
            self.say(&line);
            self.last_note = line;
            self.last_beat = None;
        }
        if self.is_beat_due() {
            self.beat(doing, reason, Some(look), act, position);
        }
    }

    /// Somebody asks whether the watcher lives: what it tells next, it writes down.
    pub fn answer(&mut self) {
        let now = self.home.clock.monotonic();
        let is_fresh = |(at, _)| now.saturating_sub(at) < ANSWER_EVERY;
        if !self.last_beat.is_some_and(is_fresh) {
            self.last_beat = None;
        }
    }

    /// After a suspend, or when the clock was set, the last heartbeat looks older than it is to those who go by wall time.
    fn is_beat_due(&self) -> bool {
        let Some((at, at_ms)) = self.last_beat else {
            return true;
        };
        let passed = self.home.clock.monotonic().saturating_sub(at);
        let passed_ms = self.home.now_ms().abs_diff(at_ms);
        passed.max(Duration::from_millis(passed_ms)) >= HEARTBEAT_EVERY
    }

    /// The watcher leaves because it was asked to, and nothing of the label has changed by that.
    pub fn depart(&mut self, what: &str, position: u64) {
        let reason = format!(
            "asked to stop; {what}; '529-recovery' or any command on the label starts a new watcher"
        );
        self.say(&format!("stopped: {reason}"));
        // Whoever reads its stdout has asked it to stop, and waits for nothing more.
        self.prints.here = false;
        self.beat("stopped", &reason, None, None, position);
    }

    /// The end is on record, or about to be printed: nobody else need print it.
    pub fn hand_in(&mut self) {
        self.prints = Prints::default();
        self.beat("ended", "the end is told", None, None, 0);
    }

    fn beat(
        &mut self,
        doing: &str,
        reason: &str,
        look: Option<Duration>,
        act: Option<Duration>,
        position: u64,
    ) {
        let now_ms = self.home.now_ms();
        self.last_beat = Some((self.home.clock.monotonic(), now_ms));
        let after = |pause: Duration| {
            let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
            now_ms.saturating_add(pause_ms)
        };
        let heartbeat = Heartbeat {
            process: ProcessIdentity::current(),
            at: now_ms,
            awake_at: self.home.clock.awake_ms(),
            state: doing.to_owned(),
            reason: reason.to_owned(),
            next_at: look.map(after),
            acts_at: act.map(after),
            position,
            polls: self.polls,
            prints: self.prints.here || self.prints.before,
        };
        if let Err(e) = self.post.write_heartbeat(self.home, &heartbeat) {
            self.say(&format!("cannot write the heartbeat: {e}"));
        }
    }
}
