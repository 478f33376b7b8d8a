//! The watcher's outbox, as `watch/outbox.rs` works: an ended try is recorded, then the next one that is due is recorded
//! as begun, then it is sent. Each of the three is a step of its own; the sending goes on beside the watcher.

use std::time::Duration;

use dispatch::delivery::outbox::{
    Due, Next, Outcome, begin, due, finish, is_sent_by_another, next,
};
use dispatch::delivery::{STDOUT, pass_on_stdout};
use dispatch::record::{Delivery, Entry, Generation};
use dispatch::watch::Reader;

use super::sabotage::Sabotage;
use super::world::{LABELS, Trouble, World};

/// What is left to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Nothing,
    UnderWay,
    After(i64),
    /// The next step can be made.
    More,
}

/// The outbox of one watcher.
#[derive(Debug)]
pub struct Outbox {
    label: usize,
    generation: Generation,
    reader: Reader,
    under_way: Option<(String, u64)>,
    unrecorded: Option<(String, Outcome)>,
    /// Recorded as begun, not sent yet.
    begun: Option<Delivery>,
}

impl Outbox {
    pub fn new(label: usize, generation: Generation, reader: Reader) -> Self {
        Self {
            label,
            generation,
            reader,
            under_way: None,
            unrecorded: None,
            begun: None,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.unrecorded.is_none() && self.begun.is_none()
    }

    /// One step of the work on the records of `entry`.
    pub fn work(&mut self, world: &mut World, entry: &Entry) -> Result<Left, Trouble> {
        if let Some(left) = self.settle(world)? {
            return Ok(left);
        }
        let is_unsaid = |d: &Delivery| d.target == STDOUT && d.is_to_be_sent();
        if self.reader == Reader::Outbox && entry.deliveries().iter().any(is_unsaid) {
            let newer = world.amend(self.label, |entry, now_ms| {
                let label = LABELS[self.label];
                let passed_on = pass_on_stdout(label, entry, "gone", true, now_ms);
                (entry.clone(), passed_on.is_some())
            })?;
            return match newer {
                Some(entry) => self.work(world, &entry),
                None => Ok(Left::Nothing),
            };
        }
        let now_ms = world.now_ms();
        let records = entry.deliveries();
        let ours = records.iter().filter(|d| d.target != STDOUT);
        let (label, own) = (self.label, self.generation);
        let another =
            |d: &Delivery| is_sent_by_another(d, own, now_ms, |by| world.is_held(label, by));
        match next(ours, now_ms, another) {
            Next::Send(record) if world.is_broken_by(Sabotage::SendThenRecord) => {
                let mut unrecorded = record.clone();
                begin(&mut unrecorded, own, now_ms);
                self.begun = Some(unrecorded);
                Ok(Left::More)
            }
            Next::Send(record) => self.begin(world, record),
            Next::LookAt(at) => Ok(Left::After(at.saturating_sub(now_ms).max(0))),
            Next::Nothing => Ok(Left::Nothing),
        }
    }

    /// Goes on with what was begun, and begins nothing. `None` when nothing is under way.
    pub fn settle(&mut self, world: &mut World) -> Result<Option<Left>, Trouble> {
        if let Some(record) = self.begun.take() {
            self.send(world, record);
            return Ok(Some(Left::UnderWay));
        }
        if let Some((key, id)) = &self.under_way {
            let Some(outcome) = world.receivers.outcome(*id, world.now) else {
                return Ok(Some(Left::UnderWay));
            };
            self.unrecorded = Some((key.clone(), outcome));
            self.under_way = None;
        }
        match self.unrecorded {
            Some(_) => self.record(world).map(|()| Some(Left::More)),
            None => Ok(None),
        }
    }

    /// How long the answer to what is under way may take.
    pub fn answer_in(&self, world: &World) -> Option<i64> {
        let (_, id) = self.under_way.as_ref()?;
        Some((world.receivers.answers_at(*id) - world.now).max(1))
    }

    fn record(&mut self, world: &mut World) -> Result<(), Trouble> {
        let Some((key, outcome)) = self.unrecorded.clone() else {
            return Ok(());
        };
        let (ttl, jitter) = (world.settings.ttl, world.random.share());
        world.amend(self.label, |entry, now_ms| {
            let Some(mut record) = find(entry, &key) else {
                return ((), false);
            };
            finish(&mut record, outcome, now_ms, ttl, jitter);
            entry.put_delivery(&record);
            ((), true)
        })?;
        self.unrecorded = None;
        Ok(())
    }

    fn begin(&mut self, world: &mut World, record: &Delivery) -> Result<Left, Trouble> {
        let generation = self.generation;
        let new_key = match world.is_broken_by(Sabotage::KeyPerTry) && record.attempts > 0 {
            true => Some(world.name("key")),
            false => None,
        };
        let is_silent = world.is_broken_by(Sabotage::RepeatWithoutWords);
        let begun = world.amend(self.label, |entry, now_ms| {
            // Somebody else may have changed it since it was read.
            let current = find(entry, &record.key);
            let Some(mut current) = current.filter(|d| due(d, now_ms) == Due::Now) else {
                return (None, false);
            };
            begin(&mut current, generation, now_ms);
            if is_silent {
                current.may_be_repeat = false;
            }
            if let Some(key) = new_key {
                entry.remove_delivery(&current.key);
                current.key = format!("{}{key}", current.key);
            }
            entry.put_delivery(&current);
            (Some(current), true)
        })?;
        match begun.flatten() {
            Some(begun) => {
                self.begun = Some(begun);
                Ok(Left::More)
            }
            None => Ok(Left::After(50)),
        }
    }

    fn send(&mut self, world: &mut World, record: Delivery) {
        world.tell(|_| format!("    {} goes out, try {}", record.key, record.attempts));
        world.observer.sent(LABELS[self.label], &record);
        let has_faults = world.has_faults;
        let random = &mut world.random;
        let id = world
            .receivers
            .send(self.label, &record, world.now, has_faults, random);
        self.under_way = Some((record.key, id));
    }

    /// The watcher dies.
    pub fn break_off(&mut self, world: &mut World) {
        if let Some((_, id)) = &self.under_way {
            world.receivers.break_off(*id, &mut world.random);
        }
    }
}

/// A safety poll, as `wake.rs` has it.
pub const SAFETY_POLL: Duration = Duration::from_secs(5);

fn find(entry: &Entry, key: &str) -> Option<Delivery> {
    entry.deliveries().into_iter().find(|d| d.key == key)
}
