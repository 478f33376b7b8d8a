//! How a watch ends: what the ended label owes goes out, and the end is put into words.

use std::time::Duration;

use anyhow::Result;

use super::super::Reader;
use super::super::outbox::Left;
use super::super::voice::HEARTBEAT_EVERY;
use super::{Driver, LEDGER_LOOK, Watched};
use crate::completion::cap::inline_limit_from;
use crate::wake::{SAFETY_POLL, Woke};

/// How long a delivery under way may take when the watcher is asked to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How the sending of what an ended label owes came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drained {
    /// Nothing is left to send.
    Done,
    /// The watcher was asked to stop.
    Stopped,
}

impl Driver<'_> {
    /// The label has ended: delivers what it owes, then leaves.
    pub(super) fn leave(&mut self) -> Result<Watched> {
        if self.reader != Reader::Stdout && self.drain() == Drained::Stopped {
            return Ok(Watched::Stopped);
        }
        self.farewell()
    }

    /// Works until nothing is left that time or another try could bring to its target.
    pub(super) fn drain(&mut self) -> Drained {
        let mut stopping: Option<Duration> = None;
        loop {
            self.orders.reread(self.home);
            let worked = self.ledger.read().and_then(|book| {
                let entry = book.get(&self.run.label);
                let ours = entry.filter(|e| e.generation() == self.run.generation);
                // What a newer generation has taken over, its own watcher sends.
                match ours {
                    Some(entry) => self.outbox.work(&entry),
                    None => self.outbox.settle(),
                }
            });
            let now = self.home.clock.monotonic();
            let pause = match worked {
                Ok(Left::Nothing) if self.outbox.is_idle() => return Drained::Done,
                Ok(Left::Nothing | Left::UnderWay) => SAFETY_POLL,
                Ok(Left::After(pause)) => pause,
                Err(e) => {
                    self.voice.say(&format!(
                        "{e}; the delivery goes on when the ledger can be used"
                    ));
                    LEDGER_LOOK
                }
            };
            if self.orders.to_stop() {
                let since = *stopping.get_or_insert(now);
                if self.outbox.is_idle() || now.saturating_sub(since) >= STOP_PATIENCE {
                    self.voice
                        .depart("the label has ended; not all of it is delivered", 0);
                    return Drained::Stopped;
                }
            }
            let reason = "the label has ended; its deliveries go out";
            self.voice.tell("delivering", reason, pause, Some(pause), 0);
            if self.wake.wait(pause.min(HEARTBEAT_EVERY)) == Woke::Event {
                self.voice.answer();
            }
        }
    }

    /// The label's end in words: this watch's own, or what the ledger has.
    fn farewell(&mut self) -> Result<Watched> {
        if self.reader == Reader::Stdout {
            self.voice.hand_in();
        }
        if let Some(ending) = &self.ended {
            return Ok(Watched::Ended {
                status: ending.status.clone(),
                message: ending.message(
                    self.home.brand(),
                    &self.run.label,
                    inline_limit_from(self.home.config.inline_limit.as_deref()),
                ),
            });
        }
        let book = self.ledger.read()?;
        let entry = book.get(&self.run.label).unwrap_or_default();
        Ok(Watched::Ended {
            status: entry.status(),
            message: super::super::recorded_message(self.home, &self.run.label, &entry),
        })
    }
}
