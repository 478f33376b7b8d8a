//! When a run that does not end by itself is helped to its end. Pure.
//!
//! A run is judged by what it does: its transcript grows, it uses tokens, a tool call of it is open. All windows are
//! monotonic time, so that a clock that jumps, or a machine that sleeps, neither kills nor prolongs a run. The rolling
//! deadline moves on while the run works; at its end the run is asked twice for its final reply before it is stopped.

use std::time::Duration;

use crate::backend::LONGEST_RUN;
use crate::config::LivenessWindows;

const MINUTE: Duration = Duration::from_secs(60);

/// How much a run may think before it says something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Effort {
    /// As usual.
    #[default]
    Usual,
    /// `high`.
    High,
    /// `xhigh`.
    Highest,
}

impl Effort {
    /// The effort of a thinking level.
    pub fn of_thinking(level: Option<&str>) -> Self {
        match level {
            Some("high") => Effort::High,
            Some("xhigh") => Effort::Highest,
            _ => Effort::Usual,
        }
    }
}

/// The windows by which one run is judged. `None` means never.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// A run that was not seen for so long never started.
    pub startup_grace: Duration,
    /// A run without progress for so long is asked about anew, instead of waiting for news.
    pub probe: Duration,
    /// A run without progress for so long has stalled.
    pub idle_failure: Option<Duration>,
    /// Past this age `ceiling_silence` is enough.
    pub ceiling: Option<Duration>,
    /// How long a run past its ceiling may be without progress.
    pub ceiling_silence: Duration,
    /// The age at which a run that does nothing is asked for its final reply.
    pub deadline: Option<Duration>,
    /// The age past which the deadline is never moved.
    pub longest: Duration,
    /// Without growth for so long, a run is flat.
    pub flat: Duration,
    /// What activity gains at the deadline.
    pub extension: Duration,
    /// How long the first request for a final reply, and the second, may stay without one.
    pub request_pauses: [Duration; 2],
    /// A run that answers the last request is not cut short before it was silent for so long.
    pub last_words_silence: Duration,
    /// How long a run may take to end once it was told to.
    pub abort_patience: Duration,
}

impl Policy {
    /// The policy of a gateway's run with this time limit and effort; `idle_threshold` and `startup_grace` are the
    /// operator's, where given.
    pub fn of_gateway(
        timeout: Duration,
        effort: Effort,
        idle_threshold: Option<Duration>,
        startup_grace: Option<Duration>,
    ) -> Self {
        let (grace, probe, idle_floor, ceiling_silence) = match effort {
            Effort::Usual => (5, (1, 5), 10, 2),
            Effort::High => (10, (1, 10), 20, 5),
            Effort::Highest => (10, (1, 15), 20, 5),
        };
        let idle = idle_threshold.unwrap_or(timeout.max(idle_floor * MINUTE));
        let idle_share = match effort {
            Effort::Usual => idle.saturating_add(idle / 2),
            Effort::High | Effort::Highest => idle.saturating_mul(2),
        };
        Self {
            startup_grace: startup_grace.unwrap_or(grace * MINUTE),
            probe: (timeout / 4).clamp(probe.0 * MINUTE, probe.1 * MINUTE),
            idle_failure: Some(idle),
            ceiling: Some(timeout.saturating_add(timeout / 2).max(idle_share)),
            ceiling_silence: ceiling_silence * MINUTE,
            deadline: Some(timeout),
            longest: timeout.max(LONGEST_RUN),
            ..Self::of_command(None, None)
        }
    }

    /// The policy of a command of this machine, whose time limit its own runner enforces.
    pub fn of_command(idle_threshold: Option<Duration>, startup_grace: Option<Duration>) -> Self {
        Self {
            startup_grace: startup_grace.unwrap_or(5 * MINUTE),
            probe: 5 * MINUTE,
            idle_failure: idle_threshold,
            ceiling: None,
            ceiling_silence: 2 * MINUTE,
            deadline: None,
            longest: Duration::MAX,
            flat: 3 * MINUTE,
            extension: 5 * MINUTE,
            request_pauses: [MINUTE, 2 * MINUTE],
            last_words_silence: MINUTE,
            abort_patience: MINUTE,
        }
    }

    /// The policy with the operator's own windows. What a policy does not have (a command's deadline) stays away.
    #[must_use]
    pub fn with_windows(mut self, own: &LivenessWindows) -> Self {
        let set = |window: &mut Duration, seconds: Option<f64>| {
            if let Some(seconds) = seconds {
                *window = Duration::from_secs_f64(seconds.clamp(0.0, 10.0 * 365.0 * 86_400.0));
            }
        };
        set(&mut self.startup_grace, own.startup_grace_seconds);
        set(&mut self.probe, own.probe_seconds.map(|s| s.max(1.0)));
        if let Some(idle) = &mut self.idle_failure {
            set(idle, own.idle_failure_seconds);
        }
        if let Some(ceiling) = &mut self.ceiling {
            set(ceiling, own.ceiling_seconds);
        }
        set(&mut self.ceiling_silence, own.ceiling_silence_seconds);
        set(&mut self.longest, own.longest_seconds);
        set(&mut self.flat, own.flat_seconds);
        set(
            &mut self.extension,
            own.extension_seconds.map(|s| s.max(1.0)),
        );
        let [first, second] = &mut self.request_pauses;
        set(first, own.first_request_seconds);
        set(second, own.second_request_seconds);
        set(&mut self.last_words_silence, own.last_words_seconds);
        set(&mut self.abort_patience, own.abort_seconds);
        self
    }
}

/// What is seen of a run's work at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Signs {
    /// Bytes of the transcript, or tokens: whatever grows.
    pub position: u64,
    /// When the backend says it was active last, ms since the epoch; only ever compared with itself.
    pub activity_ms: Option<i64>,
    /// It is in the middle of a turn: a tool has answered, or a message waits for its answer.
    pub mid_turn: bool,
    /// A tool call of it is open.
    pub open_tool: bool,
}

/// What is to be done about a run that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advice {
    /// Nothing before this has passed.
    Wait(Duration),
    /// Ask for its final reply; the number of the request is 1 or 2.
    Ask(u8),
    /// Stop it.
    Stop(Cause),
    /// It was told to stop and does not: record its end.
    GiveUp(Cause),
}

/// Why a run is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It did nothing for too long.
    Stalled,
    /// Its time was over.
    Deadline,
}

/// What is known of a run when a watcher looks at it first. Later it counts no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past {
    /// The run's age by the wall clock.
    pub age: Duration,
    /// The time since its last activity by the wall clock; no more than its age counts.
    pub idle: Duration,
    /// How often it was asked for its final reply.
    pub requests: u8,
    /// It was told to stop.
    pub stopped: Option<Cause>,
}

/// What is remembered of a run from look to look. All times are monotonic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watchfulness {
    begun: Option<Begun>,
    /// Activity moved the deadline to this age.
    deadline: Option<Duration>,
    was_extended_mid_turn: bool,
    requests: u8,
    asked_at: Duration,
    stopped: Option<(Cause, Duration)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Begun {
    /// The run's age when it was looked at first, and when that was.
    age: Duration,
    at: Duration,
    signs: Signs,
    /// For how long it had been without activity by then.
    idle: Duration,
    /// When it was seen to make progress last.
    progress_at: Option<Duration>,
}

/// How far a run was helped to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It needs no help.
    Working,
    /// It was asked for its final reply.
    Asked,
    /// It was told to stop.
    Stopped,
}

impl Watchfulness {
    /// How far the run was helped to its end.
    pub fn stage(&self) -> Stage {
        match (self.stopped, self.requests) {
            (Some(_), _) => Stage::Stopped,
            (None, 0) => Stage::Working,
            (None, _) => Stage::Asked,
        }
    }

    /// Judges a run that goes on. `past` counts at the first look alone: wall time that jumps later changes nothing.
    pub fn judge(&mut self, policy: &Policy, signs: Signs, past: Past, now: Duration) -> Advice {
        let repeated = past.stopped.filter(|_| self.begun.is_none());
        if self.begun.is_none() {
            self.requests = past.requests;
            self.asked_at = now;
            self.stopped = past.stopped.map(|cause| (cause, now));
        }
        let idle = past.idle.min(past.age);
        let begun = self.begun.get_or_insert(Begun {
            age: past.age,
            at: now,
            signs,
            idle,
            progress_at: None,
        });
        let is_news = begun.signs.position != signs.position
            || begun.signs.activity_ms != signs.activity_ms
            || signs.open_tool;
        if is_news {
            begun.progress_at = Some(now);
        }
        begun.signs = signs;
        let watched = now.saturating_sub(begun.at);
        let age = begun.age + watched;
        let silence = match begun.progress_at {
            Some(at) => now.saturating_sub(at),
            None => begun.idle + watched,
        };
        if let Some(cause) = repeated {
            // Whoever ordered it may have died before the request went out.
            return Advice::Stop(cause);
        }
        if let Some((cause, since)) = self.stopped {
            let waited = now.saturating_sub(since);
            return match waited >= policy.abort_patience {
                true => Advice::GiveUp(cause),
                false => Advice::Wait(policy.abort_patience - waited),
            };
        }
        let allowed = allowed_silence(policy, age);
        if allowed.is_some_and(|allowed| silence >= allowed) {
            return self.stop(Cause::Stalled, now);
        }
        let until_stalled = allowed.map_or(policy.probe, |allowed| allowed - silence);
        let until_ceiling =
            policy
                .ceiling
                .map_or(policy.probe, |ceiling| match ceiling.checked_sub(age) {
                    Some(left) if !left.is_zero() => left,
                    _ => policy.probe,
                });
        let wait = until_stalled.min(until_ceiling).min(policy.probe);
        match self.at_deadline(policy, signs, age, silence, now) {
            Advice::Wait(left) => Advice::Wait(left.min(wait)),
            other => other,
        }
    }

    fn at_deadline(
        &mut self,
        policy: &Policy,
        signs: Signs,
        age: Duration,
        silence: Duration,
        now: Duration,
    ) -> Advice {
        let Some(limit) = policy.deadline else {
            return Advice::Wait(policy.probe);
        };
        let deadline = self.deadline.unwrap_or(limit);
        if age < deadline {
            return Advice::Wait(deadline - age);
        }
        if self.requests == 0 && age < policy.longest {
            let until = (age + policy.extension).min(policy.longest);
            if silence < policy.flat {
                // It works: the deadline rolls on.
                self.deadline = Some(until);
                return Advice::Wait(until - age);
            }
            if signs.mid_turn && !self.was_extended_mid_turn {
                self.was_extended_mid_turn = true;
                self.deadline = Some(until);
                return Advice::Wait(until - age);
            }
        }
        let [first, second] = policy.request_pauses;
        let pause = match self.requests {
            0 => return self.ask(now),
            1 => first,
            _ => second,
        };
        let waited = now.saturating_sub(self.asked_at);
        if waited < pause {
            return Advice::Wait(pause - waited);
        }
        if self.requests == 1 {
            return self.ask(now);
        }
        // It is in the middle of what it was asked for.
        if silence < policy.last_words_silence && age < policy.longest {
            return Advice::Wait((policy.last_words_silence - silence).min(policy.longest - age));
        }
        self.stop(Cause::Deadline, now)
    }

    fn ask(&mut self, now: Duration) -> Advice {
        self.requests += 1;
        self.asked_at = now;
        Advice::Ask(self.requests)
    }

    fn stop(&mut self, cause: Cause, now: Duration) -> Advice {
        self.stopped = Some((cause, now));
        Advice::Stop(cause)
    }
}

/// How long a run of this age may be silent.
fn allowed_silence(policy: &Policy, age: Duration) -> Option<Duration> {
    let idle = policy.idle_failure?;
    match policy.ceiling {
        Some(ceiling) if age >= ceiling => Some(idle.min(policy.ceiling_silence)),
        _ => Some(idle),
    }
}

#[cfg(test)]
#[path = "liveness_tests.rs"]
mod tests;
