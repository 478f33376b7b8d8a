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
        let line = format!("{}: {}", step.doing, step.reason);
        if line != self.last_note {
            self.say(&line);
            self.last_note = line;
            self.beat_due = Duration::ZERO;
        }
        self.beat(step.doing, &step.reason, step.look_within, position);
    }

    /// Writes a heartbeat, at most one in a while.
    pub fn beat(&mut self, doing: &str, reason: &str, look_within: Duration, position: u64) {
        let now = self.home.clock.monotonic();
        if now < self.beat_due {
            return;
        }
        self.beat_due = now + HEARTBEAT_EVERY;
        let look = i64::try_from(look_within.as_millis()).unwrap_or(i64::MAX);
        let heartbeat = Heartbeat {
            process: ProcessIdentity::current(),
            at: self.home.now_ms(),
            state: doing.to_owned(),
            reason: reason.to_owned(),
            next_at: Some(self.home.now_ms().saturating_add(look)),
            position,
        };
        if let Err(e) = self.post.write_heartbeat(self.home, &heartbeat) {
            self.say(&format!("cannot write the heartbeat: {e}"));
        }
    }
}
