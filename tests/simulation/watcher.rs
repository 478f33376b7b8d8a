//! A detached watcher: `cli/watcher.rs` takes the post, `watch/driver.rs` looks, steps and acts, then sends what is owed.
//!
//! Every line on which the real one touches ledger, storage, gateway or post is a step of its own here.

mod acts;
mod retrying;

use std::rc::Rc;
use std::time::Duration;

use dispatch::backend::{Evidence, RunRef};
use dispatch::completion::cap::ArtifactOutcome;
use dispatch::delivery::{is_owed, pass_on_stdout, settle_stdout};
use dispatch::record::{Attempt, Entry, Generation, Steer};
use dispatch::recovery::retries::Account;
use dispatch::watch::Reader;
use dispatch::watch::changes::Charge;
use dispatch::watch::machine::{Leaving, Sight, State, Step, step};
use dispatch::watch::sighting::{entry_sight, past};

use super::link::Link;
use super::outbox::{Left, Outbox, SAFETY_POLL};
use super::process::{Me, Process, Then};
use super::sabotage::Sabotage;
use super::verify::Checker;
use super::world::{LABELS, Trouble, World, run_of};

/// Pauses before the ledger is tried again, as `watch/driver.rs` has them.
const RETRY_PAUSES_MS: [i64; 5] = [1_000, 2_000, 5_000, 15_000, 30_000];

/// How long one at the post may take to hand over, as `cli/watcher.rs` says.
const HANDOVER_WAIT_MS: i64 = 30_000;

/// Where it is.
#[derive(Debug, Clone, Copy)]
enum At {
    /// Its program starts.
    Start,
    /// It has read that its label is there, and takes the post.
    Take,
    /// It has asked the one at the post to leave, and waits for that until then.
    Wait(i64),
    /// It is at its post and reads the entry.
    Begin,
    Look,
    /// It performs the n-th action of the step; the second number counts what that consists of.
    Act(usize, usize),
    /// It sends what is due meanwhile, then sleeps.
    Mail,
    /// The label has ended: it sends what is owed.
    Drain(After),
    /// It prints the end.
    Print,
    /// It notes that it has.
    Mark,
    /// It gives the post back.
    Leave(After),
    /// The post is free; whoever added a record meanwhile has started nobody.
    LookBack,
}

/// How the watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Ended,
    Superseded,
    Stopped,
}

/// How a watcher is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// By dispatch.
    Detached,
    /// `watcher-handoff`: a detached one that takes over from another.
    HandOff,
    /// By a person, or a scheduler that reads its stdout.
    Foreground,
}

/// The watcher of a label and generation.
pub struct Watcher {
    way: Way,
    reader: Reader,
    label: usize,
    generation: Generation,
    at: At,
    run: RunRef,
    entry: Rc<Entry>,
    state: State,
    outbox: Outbox,
    link: Link,
    checker: Checker,
    ledger_seen: Option<u64>,
    troubles: usize,
    sight: Option<Sight>,
    next: Option<Step>,
    left: Option<Leaving>,
    /// How long it may sleep after this round, in ms.
    pause: i64,
    /// What the action at hand has made so far.
    artifact: Option<ArtifactOutcome>,
    connection: Option<u64>,
    steer: Option<Steer>,
    attempt: Option<Attempt>,
    is_new_run: bool,
    held_until: Option<Duration>,
}

impl Watcher {
    pub fn new(label: usize, generation: Generation) -> Self {
        Self::called(label, generation, Way::Detached)
    }

    pub fn called(label: usize, generation: Generation, way: Way) -> Self {
        let reader = match way {
            Way::Foreground => Reader::Stdout,
            Way::Detached | Way::HandOff => Reader::Outbox,
        };
        Self {
            way,
            reader,
            label,
            generation,
            at: At::Start,
            run: RunRef::default(),
            entry: Rc::default(),
            state: State::default(),
            outbox: Outbox::new(label, generation, reader),
            link: Link::default(),
            checker: Checker::default(),
            ledger_seen: None,
            troubles: 0,
            sight: None,
            next: None,
            left: None,
            pause: 0,
            artifact: None,
            connection: None,
            steer: None,
            attempt: None,
            is_new_run: false,
            held_until: None,
        }
    }

    fn charge(&self) -> Charge<'static> {
        Charge {
            reader: self.reader,
            ..World::charge(self.label, self.generation)
        }
    }

    /// The label has ended, and somebody reads what this one prints.
    fn tells_recorded(&self, entry: &Entry) -> bool {
        self.way == Way::Foreground
            && entry.status().is_ended()
            && entry.generation() == self.generation
    }

    fn take(&mut self, world: &mut World, me: Me) -> Then {
        let is_detached = self.way != Way::Foreground;
        if world.take(self.label, self.generation, me.pid, is_detached) {
            world
                .observer
                .took_post(LABELS[self.label], self.generation, me.pid);
            self.at = At::Begin;
            return Then::Go;
        }
        let place = (self.label, self.generation);
        let mut others = world.posts.iter();
        let holder = others.find(|held| (held.label, held.generation) == place);
        let holder = holder.filter(|held| held.is_detached && self.way != Way::Detached);
        match (holder, self.at) {
            (Some(holder), At::Take) => {
                let holder = holder.by;
                world.told_to_stop.push(holder);
                self.at = At::Wait(world.now + HANDOVER_WAIT_MS);
                Then::Go
            }
            (_, At::Wait(until)) if world.now < until => Then::Sleep(50),
            _ => Then::Exit,
        }
    }

    fn begin(&mut self, world: &mut World) -> Then {
        let Some(entry) = world.read(self.label) else {
            self.at = At::Leave(After::Superseded);
            return Then::Go;
        };
        if entry.generation() != self.generation {
            self.at = At::Leave(After::Superseded);
            return Then::Go;
        }
        if self.tells_recorded(&entry) {
            self.at = At::Print;
            return Then::Go;
        }
        self.state = State::default();
        self.link = Link::default();
        self.checker = Checker::default();
        self.ledger_seen = None;
        let run = run_of(self.label, &entry);
        self.at = match (&run, entry.status().is_ended()) {
            (Some(_), _) => At::Look,
            (None, true) => At::Drain(After::Ended),
            (None, false) => At::Leave(After::Superseded),
        };
        self.run = run.unwrap_or_default();
        self.entry = entry;
        self.is_new_run = false;
        Then::Go
    }

    /// Goes over to the entry's run when that is another attempt's.
    fn take_up_attempt(&mut self) -> bool {
        let run = run_of(self.label, &self.entry);
        let Some(run) = run.filter(|run| run.run_id != self.run.run_id) else {
            return false;
        };
        self.run = run;
        self.is_new_run = true;
        true
    }

    /// As `look` and `sight` of the driver: the backend first, then the ledger where it is news.
    fn look(&mut self, world: &mut World) -> Then {
        let (mut evidence, mut blind) = self.link.look(world, &self.run);
        let mut is_there = true;
        let insists = evidence.settled.is_some();
        if let Some((version, entry)) = world.reread(self.label, self.ledger_seen, insists) {
            self.ledger_seen = Some(version);
            match entry {
                Some(entry) if entry.generation() == self.generation => {
                    self.entry = entry;
                    if self.take_up_attempt() {
                        evidence = Evidence::unknown();
                        blind = Some("another attempt has begun".to_owned());
                    }
                    if self.run.take_up_steers(&self.entry) {
                        self.link = Link::default();
                        evidence.settled = None;
                    }
                }
                _ => is_there = false,
            }
        }
        let now = world.monotonic();
        let seen = is_there.then(|| {
            let verify = self.checker.sight(&self.entry, now);
            let account = Account::of(LABELS[self.label], &self.entry, &world.settings.retry);
            entry_sight(&self.entry, verify, account, world.now_ms())
        });
        let (since_ms, active_ms) = (self.run.since_ms, evidence.last_activity_ms);
        let past = past(&self.entry, since_ms, active_ms, world.now_ms());
        let sight = Sight {
            entry: seen,
            evidence,
            start_grace: world.settings.start_grace,
            policy: world.settings.policy.clone(),
            past,
            blind,
            is_carried: false,
        };
        let next = step(self.state.clone(), &sight, now);
        world.tell(|_| format!("    {}: {}", next.doing, next.reason));
        self.pause = ms(next.look_within.min(SAFETY_POLL));
        self.sight = Some(sight);
        self.next = Some(next);
        self.left = None;
        self.at = At::Act(0, 0);
        Then::Go
    }

    /// The ledger could not take it: the machine decides anew after a pause.
    fn pause_after(&mut self) {
        let last = RETRY_PAUSES_MS.len() - 1;
        self.pause = RETRY_PAUSES_MS[self.troubles.min(last)];
        self.troubles += 1;
        self.left = None;
        self.close_round();
    }

    /// All actions are done.
    fn close_round(&mut self) {
        if let Some(next) = self.next.take() {
            self.state = next.state;
        }
        if std::mem::take(&mut self.is_new_run) {
            self.link = Link::default();
            self.state = State::default();
        }
        if let Some(until) = self.held_until.take() {
            self.state.hold_retry(until);
        }
        self.at = At::Mail;
    }

    fn mail(&mut self, world: &mut World, me: Me) -> Then {
        match self.left.take() {
            Some(Leaving::Superseded) => {
                self.at = At::Drain(After::Superseded);
                return Then::Go;
            }
            Some(Leaving::Ended) => {
                self.at = match self.reader {
                    Reader::Outbox | Reader::AfterStdout => At::Drain(After::Ended),
                    Reader::Stdout => At::Print,
                };
                return Then::Go;
            }
            None => {}
        }
        if me.is_told_to_stop {
            self.at = At::Leave(After::Stopped);
            return Then::Go;
        }
        let entry = Rc::clone(&self.entry);
        let pause = match self.outbox.work(world, &entry) {
            Ok(Left::More) => return Then::Go,
            Ok(Left::After(pause)) => pause,
            Ok(Left::UnderWay) => self.outbox.answer_in(world).unwrap_or(1),
            Ok(Left::Nothing) | Err(Trouble) => ms(SAFETY_POLL),
        };
        world.stir(me.pid);
        self.at = At::Look;
        Then::Sleep(self.pause.min(pause))
    }

    fn drain(&mut self, world: &mut World, me: Me, after: After) -> Then {
        if world.is_broken_by(Sabotage::NobodySends) {
            self.at = At::Leave(after);
            return Then::Go;
        }
        let entry = world.read(self.label);
        let ours = entry.filter(|entry| entry.generation() == self.generation);
        let worked = match &ours {
            Some(entry) => self.outbox.work(world, entry),
            None => (self.outbox.settle(world)).map(|left| left.unwrap_or(Left::Nothing)),
        };
        let pause = match worked {
            Ok(Left::More) => return Then::Go,
            Ok(Left::Nothing) if self.outbox.is_idle() => {
                self.at = At::Leave(after);
                return Then::Go;
            }
            Ok(Left::UnderWay) => self.outbox.answer_in(world).unwrap_or(1),
            Ok(Left::Nothing) | Err(Trouble) => ms(SAFETY_POLL),
            Ok(Left::After(pause)) => pause,
        };
        if me.is_told_to_stop && self.outbox.is_idle() {
            self.at = At::Leave(After::Stopped);
            return Then::Go;
        }
        world.stir(me.pid);
        Then::Sleep(pause.min(60_000))
    }
}

impl Process for Watcher {
    fn name(&self) -> String {
        let label = LABELS[self.label];
        format!("watcher of {label} {} at {:?}", self.generation, self.at)
    }

    fn place(&self) -> Option<(usize, Generation)> {
        Some((self.label, self.generation))
    }

    fn step(&mut self, world: &mut World, me: Me) -> Then {
        match self.at {
            At::Start => match world.read(self.label) {
                Some(entry) => {
                    self.at = match self.tells_recorded(&entry) {
                        true => At::Print,
                        false => At::Take,
                    };
                    Then::Go
                }
                None => Then::Exit,
            },
            At::Take | At::Wait(_) => self.take(world, me),
            At::Begin => self.begin(world),
            At::Look => self.look(world),
            At::Act(index, part) => self.act(world, index, part),
            At::Mail => self.mail(world, me),
            At::Drain(after) => self.drain(world, me, after),
            At::Print if world.has_faults && world.random.chance(250) => {
                // Its stdout fails, before or within the text.
                let may_be_seen = world.random.chance(500);
                let label = LABELS[self.label];
                let _ = world.amend(self.label, |entry, now_ms| {
                    let told = pass_on_stdout(label, entry, "full", may_be_seen, now_ms);
                    ((), told.is_some())
                });
                self.at = At::Leave(After::Ended);
                Then::Go
            }
            At::Print => {
                let entry = world.read(self.label).unwrap_or_default();
                world.tell(|_| format!("    printed: {}", entry.text("summary").unwrap_or("")));
                self.at = At::Mark;
                Then::Go
            }
            At::Mark => {
                let generation = self.generation;
                let _ = world.amend(self.label, |entry, _| {
                    let is_ours = entry.generation() == generation;
                    ((), is_ours && settle_stdout(LABELS[self.label], entry))
                });
                self.at = At::Leave(After::Ended);
                Then::Go
            }
            At::Leave(after) => {
                world.leave(self.label, self.generation, me.pid);
                world
                    .observer
                    .left_post(LABELS[self.label], self.generation, me.pid);
                self.at = At::LookBack;
                match after {
                    After::Ended => Then::Go,
                    After::Superseded | After::Stopped => Then::Exit,
                }
            }
            At::LookBack => {
                let entry = world.read(self.label);
                let still_owes = entry
                    .is_some_and(|entry| entry.generation() == self.generation && is_owed(&entry));
                if !still_owes || world.is_broken_by(Sabotage::NobodySends) {
                    return Then::Exit;
                }
                if self.reader == Reader::Stdout {
                    world.ensure_watcher(self.label, self.generation);
                    return Then::Exit;
                }
                self.at = At::Take;
                Then::Go
            }
        }
    }

    fn die(&mut self, world: &mut World) {
        self.outbox.break_off(world);
    }
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
