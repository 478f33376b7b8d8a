//! The clock: wall time for records, monotonic time for windows.
//!
//! Everything that decides by time takes `now` from a [`Clock`], so that a test can move it.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A source of time.
pub trait Clock: Send + Sync {
    /// Wall time in milliseconds since the Unix epoch. May jump both ways.
    fn now_ms(&self) -> i64;

    /// Monotonic time since an arbitrary start. Never goes back.
    fn monotonic(&self) -> Duration;

    /// How long the machine has been awake since it was started, in ms: the same for all processes. It stands still while
    /// the machine is suspended, and nobody sets it. `None` where the system does not tell.
    fn awake_ms(&self) -> Option<i64>;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[cfg(target_os = "linux")]
    fn awake_ms(&self) -> Option<i64> {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Some(time.tv_sec.saturating_mul(1000) + time.tv_nsec / 1_000_000)
    }

    /// What goes by this name there goes on in a suspend.
    #[cfg(target_os = "macos")]
    fn awake_ms(&self) -> Option<i64> {
        None
    }
}
