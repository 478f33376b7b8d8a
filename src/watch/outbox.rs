//! The watcher's outbox: sends what its label owes, one record at a time, each try recorded before it is made.
//!
//! Sending runs on a thread of its own, so that a slow receiver does not delay the watch. A try whose end cannot be
//! recorded stays in memory and is recorded as soon as the ledger takes it.

use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use super::Reader;
use crate::delivery::outbox::{Due, Next, Outcome, begin, due, finish, is_sent_by_another, next};
use crate::delivery::{PRINTER_GONE, STDOUT, pass_on_stdout, sinks};
use crate::home::Home;
use crate::ledger::{Ledger, LedgerError, Patience};
use crate::record::{Delivery, Entry, Generation};
use crate::wake::Waker;
use crate::watchers::Post;

/// What is left to do for a label's records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// Nothing that this watcher can do.
    Nothing,
    /// A try is under way; its end wakes the watcher.
    UnderWay,
    /// Nothing is due before this has passed.
    After(Duration),
}

/// A try under way.
struct Try {
    key: String,
    outcome: Receiver<Outcome>,
}

/// The outbox of one label.
pub struct Outbox<'a> {
    home: &'a Home,
    ledger: Ledger,
    label: String,
    generation: Generation,
    reader: Reader,
    waker: Waker,
    under_way: Option<Try>,
    /// A try that has ended and is not recorded yet.
    unrecorded: Option<(String, Outcome)>,
}

impl<'a> Outbox<'a> {
    /// The outbox of `label` for the watcher of `generation`, which works for `reader`; `waker` wakes whoever calls
    /// [`Outbox::work`].
    pub fn new(
        home: &'a Home,
        label: &str,
        generation: Generation,
        reader: Reader,
        waker: Waker,
    ) -> Self {
        Self {
            home,
            ledger: Ledger::new(home),
            label: label.to_owned(),
            generation,
            reader,
            waker,
            under_way: None,
            unrecorded: None,
        }
    }

    /// Does what can be done without waiting: records ended tries, begins the next one that is due.
    ///
    /// # Errors
    /// When the ledger cannot be written. Nothing is lost; the next call tries again.
    pub fn work(&mut self, entry: &Entry) -> Result<Left, LedgerError> {
        self.collect();
        let entry = match self.record()? {
            Some(newer) => newer,
            None => entry.clone(),
        };
        let entry = self.inherit(entry)?;
        if self.under_way.is_some() {
            return Ok(Left::UnderWay);
        }
        let now_ms = self.home.now_ms();
        let records = entry.deliveries();
        let ours = records.iter().filter(|d| d.target != STDOUT);
        match next(ours, now_ms, |d| self.is_sent_by_another(d, now_ms)) {
            Next::Send(delivery) => self.begin(delivery),
            Next::LookAt(at) => {
                let ms = u64::try_from(at.saturating_sub(now_ms)).unwrap_or(0);
                Ok(Left::After(Duration::from_millis(ms)))
            }
            Next::Nothing => Ok(Left::Nothing),
        }
    }

    /// Records an ended try and begins no other: what the label owes has gone over to a newer generation's watcher.
    ///
    /// # Errors
    /// As [`Outbox::work`].
    pub fn settle(&mut self) -> Result<Left, LedgerError> {
        self.collect();
        self.record()?;
        Ok(match self.is_idle() {
            true => Left::Nothing,
            false => Left::UnderWay,
        })
    }

    /// What a foreground watcher recorded for its stdout and left unsaid (it was killed, or could not note that it had
    /// printed) goes to whom the label names. Whoever has the post now is not that watcher any more.
    fn inherit(&self, entry: Entry) -> Result<Entry, LedgerError> {
        let is_unsaid = |d: &Delivery| d.target == STDOUT && d.is_to_be_sent();
        if self.reader == Reader::Stdout || !entry.deliveries().iter().any(is_unsaid) {
            return Ok(entry);
        }
        let newer = self.ledger.update(Patience::Unlimited, |book| {
            let mut entry = book.get(&self.label)?;
            if pass_on_stdout(&self.label, &mut entry, PRINTER_GONE, true, book.now_ms()).is_some()
            {
                book.put(&self.label, entry.clone());
            }
            Some(entry)
        })?;
        Ok(newer.unwrap_or(entry))
    }

    /// The watcher of an older generation began this try and still is at its post.
    fn is_sent_by_another(&self, delivery: &Delivery, now_ms: i64) -> bool {
        is_sent_by_another(delivery, self.generation, now_ms, |by| {
            Post::of(self.home, &self.label, by).is_held()
        })
    }

    /// Nothing is being sent and nothing waits to be recorded.
    pub fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.unrecorded.is_none()
    }

    /// Takes the outcome of a try that has ended.
    fn collect(&mut self) {
        let Some(under_way) = &self.under_way else {
            return;
        };
        let outcome = match under_way.outcome.try_recv() {
            Ok(outcome) => outcome,
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => Outcome::Unknown {
                why: "the sender broke off".to_owned(),
                retry_after: None,
                remembered: None,
            },
        };
        let key = under_way.key.clone();
        self.under_way = None;
        self.unrecorded = Some((key, outcome));
    }

    /// Records the end of a try. Returns the entry as it is then.
    fn record(&mut self) -> Result<Option<Entry>, LedgerError> {
        let Some((key, outcome)) = &self.unrecorded else {
            return Ok(None);
        };
        let ttl = self.home.config.delivery_ttl;
        let jitter = jitter();
        let mut told = None;
        let entry = self.ledger.update(Patience::Unlimited, |book| {
            let mut entry = book.get(&self.label)?;
            let mut delivery = find(&entry, key)?;
            finish(&mut delivery, outcome.clone(), book.now_ms(), ttl, jitter);
            entry.put_delivery(&delivery);
            book.put(&self.label, entry.clone());
            told = Some(delivery);
            Some(entry)
        })?;
        self.unrecorded = None;
        if let Some(delivery) = told {
            let state = delivery.state.as_str();
            let why = delivery
                .last_error
                .map_or_else(String::new, |why| format!(": {why}"));
            self.home
                .say(&format!("delivery {} is {state}{why}", delivery.key));
        }
        Ok(entry)
    }

    /// Records that a try begins, then makes it.
    fn begin(&mut self, delivery: &Delivery) -> Result<Left, LedgerError> {
        let begun = self.ledger.update(Patience::Unlimited, |book| {
            let mut entry = book.get(&self.label)?;
            let mut current = find(&entry, &delivery.key)?;
            // Somebody else may have changed it since it was read.
            if due(&current, book.now_ms()) != Due::Now {
                return None;
            }
            begin(&mut current, self.generation, book.now_ms());
            entry.put_delivery(&current);
            book.put(&self.label, entry);
            Some(current)
        })?;
        let Some(begun) = begun else {
            return Ok(Left::After(Duration::from_millis(50)));
        };
        let (sender, outcome) = channel();
        let home = self.home.clone();
        let waker = self.waker.clone();
        let label = self.label.clone();
        let key = begun.key.clone();
        thread::spawn(move || {
            let payload = sinks::payload(&home, &label, &begun);
            let _ = sender.send(sinks::send(&home, &begun.target, &payload));
            waker.wake();
        });
        self.under_way = Some(Try { key, outcome });
        Ok(Left::UnderWay)
    }
}

fn find(entry: &Entry, key: &str) -> Option<Delivery> {
    entry.deliveries().into_iter().find(|d| d.key == key)
}

/// A number between 0 and 1 that differs from process to process.
fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_bytes()[0]) / 255.0
}
