//! What a watcher says: to its log, each change of mind once, and to whoever asks how it is, by its heartbeat.

use std::time::Duration;

use super::machine::Step;
use crate::home::Home;
use crate::process::ProcessIdentity;
use crate::watchers::{Heartbeat, Post};

/// How often a watcher says that it lives.
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(60);

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
    /// Monotonic time of the next heartbeat.
    beat_due: Duration,
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
            beat_due: Duration::ZERO,
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
            self.beat_due = Duration::ZERO;
        }
        let now = self.home.clock.monotonic();
        if now < self.beat_due {
            return;
        }
        self.beat_due = now + HEARTBEAT_EVERY;
        self.beat(doing, reason, Some(look), act, position);
    }

    /// The watcher leaves because it was asked to, and nothing of the label has changed by that.
    pub fn depart(&mut self, what: &str, position: u64) {
        let reason = format!(
            "asked to stop; {what}; '529-recovery' or any command on the label starts a new watcher"
        );
        self.say(&format!("stopped: {reason}"));
        self.beat("stopped", &reason, None, None, position);
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
        let after = |pause: Duration| {
            let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
            now_ms.saturating_add(pause_ms)
        };
        let heartbeat = Heartbeat {
            process: ProcessIdentity::current(),
            at: now_ms,
            state: doing.to_owned(),
            reason: reason.to_owned(),
            next_at: look.map(after),
            acts_at: act.map(after),
            position,
            polls: self.polls,
        };
        if let Err(e) = self.post.write_heartbeat(self.home, &heartbeat) {
            self.say(&format!("cannot write the heartbeat: {e}"));
        }
    }
}
