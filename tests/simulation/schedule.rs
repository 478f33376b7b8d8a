//! One history: who moves next, what goes wrong, and when it is over.

use std::time::Duration;

use dispatch::config::RetryWindows;
use dispatch::delivery::is_owed;
use dispatch::record::{DeliveryState, Generation, Status};
use dispatch::watch::liveness::{Effort, Policy};

use super::commands::{Cancel, Done, Enqueue, Note, Redeliver, Send};
use super::observer::Invariant;
use super::process::{Me, Pid, Process, Then};
use super::random::Random;
use super::sabotage::Sabotage;
use super::scan::{Resolve, Scan};
use super::watcher::{Watcher, Way};
use super::world::{LABELS, Settings, World};

/// A history that takes more events than this does not come to rest.
const MAX_EVENTS: usize = 30_000;

/// A history that takes longer than this after its last fault does not come to rest, in ms.
const MAX_REST_MS: i64 = 5 * 24 * 3_600_000;

/// How one history went.
pub struct Outcome {
    pub events: usize,
    pub broken: Option<(Invariant, String)>,
    pub history: Vec<String>,
}

struct Slot {
    pid: Pid,
    due: i64,
    /// It is stopped, or hangs in a call, until then.
    frozen_until: i64,
    is_told_to_stop: bool,
    process: Box<dyn Process>,
}

struct Schedule {
    world: World,
    slots: Vec<Slot>,
    last_pid: Pid,
    events: usize,
    faults_end: i64,
    next_user: i64,
    next_scan: i64,
    next_mischief: i64,
    labels: usize,
    generations: Vec<(usize, Generation)>,
    was_redelivered: bool,
}

/// Plays the history of a seed. `is_told` keeps its lines.
pub fn play(seed: u64, sabotage: Option<Sabotage>, is_told: bool) -> Outcome {
    let mut random = Random::new(seed);
    let settings = settings(&mut random);
    let faults_end = random.between(30_000, 1_200_000);
    let labels = if random.chance(200) { 2 } else { 1 };
    let mut world = World::new(random, settings, sabotage, is_told);
    world.receivers.refuses = world.random.chance(50);
    world.receivers.remembers_failures = world.random.chance(300);
    let mut schedule = Schedule {
        world,
        slots: Vec::new(),
        last_pid: 0,
        events: 0,
        faults_end,
        next_user: 0,
        next_scan: 10_000,
        next_mischief: 1_000,
        labels,
        generations: Vec::new(),
        was_redelivered: false,
    };
    schedule.run();
    Outcome {
        events: schedule.events,
        broken: schedule.world.observer.broken.take(),
        history: schedule.world.history.take().unwrap_or_default(),
    }
}

fn settings(random: &mut Random) -> Settings {
    let seconds = |random: &mut Random, first, last| {
        Duration::from_secs(random.between(first, last).unsigned_abs())
    };
    let timeout = seconds(random, 20, 120);
    let idle = random.chance(500).then(|| seconds(random, 30, 200));
    let mut policy = Policy::of_gateway(timeout, Effort::Usual, idle, None);
    policy.startup_grace = seconds(random, 60, 300);
    policy.abort_patience = seconds(random, 5, 60);
    policy.flat = seconds(random, 10, 60);
    policy.extension = seconds(random, 10, 60);
    Settings {
        policy,
        start_grace: seconds(random, 5, 60),
        ttl: random.pick(&[
            Duration::from_secs(60),
            Duration::from_secs(3_600),
            Duration::from_secs(48 * 3_600),
        ]),
        retry: RetryWindows {
            overload_seconds: Some(random.between(1, 60) as f64),
            rate_limit_seconds: Some(random.between(1, 60) as f64),
            max_age_seconds: Some(random.between(1, 600) as f64),
            ..RetryWindows::default()
        },
        crashes: random.pick(&[0, 2, 10, 40]),
        mishaps: random.pick(&[0, 10, 50, 150]),
    }
}

impl Schedule {
    fn run(&mut self) {
        while self.world.observer.broken.is_none() {
            self.world.advance();
            self.settle_processes();
            if self.world.has_faults && self.world.now >= self.faults_end {
                self.calm_down();
            }
            self.call_whoever_is_due();
            if !self.world.has_faults && self.is_over() {
                break;
            }
            match self.choose() {
                Some(index) => self.step(index),
                None => self.wait(),
            }
        }
    }

    /// New processes join, woken ones are due, killed ones leave.
    fn settle_processes(&mut self) {
        for process in std::mem::take(&mut self.world.spawned) {
            self.last_pid += 1;
            let due = self.world.now + self.world.random.between(0, 30);
            self.slots.push(Slot {
                pid: self.last_pid,
                due,
                frozen_until: 0,
                is_told_to_stop: false,
                process,
            });
        }
        for place in std::mem::take(&mut self.world.woken) {
            let now = self.world.now;
            for slot in &mut self.slots {
                if slot.process.place() == Some(place) {
                    slot.due = slot.due.min(now + 1);
                }
            }
        }
        for pid in std::mem::take(&mut self.world.told_to_stop) {
            for slot in self.slots.iter_mut().filter(|slot| slot.pid == pid) {
                slot.is_told_to_stop = true;
                slot.due = slot.due.min(self.world.now + 1);
            }
        }
        for pid in std::mem::take(&mut self.world.killed) {
            self.kill(pid);
        }
    }

    fn kill(&mut self, pid: Pid) {
        let Some(index) = self.slots.iter().position(|slot| slot.pid == pid) else {
            return;
        };
        let mut slot = self.slots.remove(index);
        self.world
            .tell(|_| format!("({pid}) {} is killed", slot.process.name()));
        slot.process.die(&mut self.world);
        self.world.posts.retain(|held| held.by != pid);
        self.world.observer.died(pid);
    }

    /// Faults stop: what is broken is mended, what hung goes on.
    fn calm_down(&mut self) {
        let world = &mut self.world;
        world.tell(|_| "faults stop".to_owned());
        world.has_faults = false;
        world.disk_full_until = 0;
        world.gateway.down_until = 0;
        world.receivers.down_until = 0;
        for slot in &mut self.slots {
            slot.frozen_until = 0;
        }
        self.next_scan = self.world.now;
    }

    fn call_whoever_is_due(&mut self) {
        let now = self.world.now;
        if now >= self.next_scan {
            self.world.spawned.push(Box::new(Scan::default()));
            let pause = match self.world.has_faults {
                true => self.world.random.between(0, 240_000),
                false => 60_000,
            };
            self.next_scan = now + pause;
        }
        if !self.world.has_faults {
            return;
        }
        if now >= self.next_user {
            self.call_user();
            self.next_user = now + self.world.random.between(0, 90_000);
        }
        if now >= self.next_mischief {
            self.make_mischief();
            self.next_mischief = now + self.world.random.between(0, 200_000);
        }
        self.settle_processes();
    }

    fn call_user(&mut self) {
        let label = self.world.random.below(self.labels);
        let is_new = self.world.truth(label).is_none();
        let known: Vec<Generation> = self
            .generations
            .iter()
            .filter(|(of, _)| *of == label)
            .map(|(_, generation)| *generation)
            .collect();
        // What is broken by a session that is reused is looked for there.
        let reuses = match self.world.is_broken_by(Sabotage::OldSessionUnseen) {
            true => 900,
            false => 300,
        };
        let random = &mut self.world.random;
        let process: Box<dyn Process> = match random.below(20) {
            _ if is_new => Box::new(Enqueue::new(label, false, false)),
            0..=4 => {
                let (is_reuse, replaces) = (random.chance(reuses), random.chance(300));
                Box::new(Enqueue::new(label, is_reuse, replaces))
            }
            5..=8 if !known.is_empty() => {
                let generation = match random.chance(600) {
                    true => known[known.len() - 1],
                    false => random.pick(&known),
                };
                Box::new(Done::new(label, generation, random.chance(850)))
            }
            9 | 10 => Box::new(Cancel::new(label)),
            11 => {
                let generation = known.last().copied().unwrap_or_default();
                let way = random.pick(&[Way::Foreground, Way::HandOff]);
                Box::new(Watcher::called(label, generation, way))
            }
            12 | 13 => Box::new(Note::new(label)),
            14 | 15 => Box::new(Send::new(label, random.chance(300))),
            16 | 17 => Box::new(Resolve::new(label)),
            18 => Box::new(Redeliver::new(label)),
            _ => Box::new(Scan::default()),
        };
        self.world
            .tell(|_| format!("someone calls {}", process.name()));
        self.world.spawned.push(process);
    }

    fn make_mischief(&mut self) {
        let world = &mut self.world;
        let now = world.now;
        let lasts = world.random.between(1_000, 180_000);
        match world.random.below(12) {
            0 | 1 => {
                world.tell(|_| "the gateway is restarted".to_owned());
                world.gateway.restart(now, lasts / 4);
                world.advance();
            }
            2 => {
                world.tell(|_| format!("the gateway is out of reach for {lasts} ms"));
                world.gateway.down_until = now + lasts;
            }
            3 => {
                world.tell(|_| format!("the receivers are out of reach for {lasts} ms"));
                world.receivers.down_until = now + lasts;
            }
            4 => world.receivers.restart(),
            5 => {
                world.tell(|_| format!("the disk is full for {lasts} ms"));
                world.disk_full_until = now + lasts;
            }
            6 => {
                let by = world
                    .random
                    .pick(&[-3_600_000, -5_000, 5_000, 600_000, 86_400_000]);
                world.tell(|_| format!("the clock jumps by {by} ms"));
                world.jump(by);
            }
            7 => {
                world.tell(|_| format!("the machine sleeps for {lasts} ms"));
                world.suspend(lasts);
                for slot in &mut self.slots {
                    slot.due += lasts;
                }
            }
            8 | 9 if !self.slots.is_empty() => {
                let index = world.random.below(self.slots.len());
                let slot = &mut self.slots[index];
                slot.frozen_until = now + lasts * world.random.between(1, 8);
                let (pid, name) = (slot.pid, slot.process.name());
                world.tell(|_| format!("({pid}) {name} hangs"));
            }
            10 if !self.slots.is_empty() => {
                let index = world.random.below(self.slots.len());
                let slot = &mut self.slots[index];
                slot.is_told_to_stop = slot.process.place().is_some();
                slot.due = slot.due.min(now);
                let (pid, name) = (slot.pid, slot.process.name());
                world.tell(|_| format!("({pid}) {name} is told to stop"));
            }
            _ if !self.slots.is_empty() => {
                let index = world.random.below(self.slots.len());
                let pid = self.slots[index].pid;
                self.kill(pid);
            }
            _ => {}
        }
    }

    /// Somebody who is due.
    fn choose(&mut self) -> Option<usize> {
        let now = self.world.now;
        let is_due = |slot: &Slot| slot.due <= now && slot.frozen_until <= now;
        let count = self.slots.iter().filter(|slot| is_due(slot)).count();
        if count == 0 {
            return None;
        }
        let chosen = self.world.random.below(count);
        let mut due = self.slots.iter().enumerate().filter(|(_, s)| is_due(s));
        due.nth(chosen).map(|(index, _)| index)
    }

    fn step(&mut self, index: usize) {
        self.events += 1;
        let slot = &mut self.slots[index];
        let me = Me {
            pid: slot.pid,
            is_told_to_stop: slot.is_told_to_stop,
        };
        let pid = slot.pid;
        self.world
            .tell(|_| format!("({pid}) {}", slot.process.name()));
        let then = slot.process.step(&mut self.world, me);
        let world = &mut self.world;
        let pause = match then {
            Then::Exit => None,
            Then::Go => Some(step_time(world)),
            Then::Sleep(ms) => Some(ms.max(1) + world.random.between(0, 20)),
        };
        for label in 0..self.labels {
            let Some(entry) = world.truth(label) else {
                continue;
            };
            let place = (label, entry.generation());
            if !self.generations.contains(&place) {
                self.generations.push(place);
            }
        }
        match pause {
            Some(pause) => self.slots[index].due = world.now + pause,
            None => {
                let slot = self.slots.remove(index);
                self.world.posts.retain(|held| held.by != slot.pid);
                self.world.observer.died(slot.pid);
                return;
            }
        }
        let crashes = self.world.settings.crashes;
        if self.world.has_faults && self.world.random.chance(crashes) {
            self.kill(pid);
        }
    }

    /// Nobody is due: time passes.
    fn wait(&mut self) {
        self.events += 1;
        let mine = self.slots.iter().map(|s| s.due.max(s.frozen_until));
        let mut next = mine.chain(self.world.next_at()).min().unwrap_or(i64::MAX);
        next = next.min(self.next_scan);
        if self.world.has_faults {
            next = next
                .min(self.next_user)
                .min(self.next_mischief)
                .min(self.faults_end);
        }
        self.world.now = self.world.now.max(next);
    }

    /// Nothing is left to be done, or nothing is ever done about what is.
    fn is_over(&mut self) -> bool {
        if self.events > MAX_EVENTS || self.world.now > self.faults_end + MAX_REST_MS {
            let left = self.unfinished().unwrap_or_else(|| "processes".to_owned());
            self.world
                .observer
                .unsettled(format!("never comes to rest: {left}"));
            return true;
        }
        if !self.slots.is_empty() || !self.world.spawned.is_empty() {
            return false;
        }
        if self.unfinished().is_some() {
            return false;
        }
        if !self.was_redelivered {
            // The operator has what was given up sent again.
            self.was_redelivered = true;
            for label in 0..self.labels {
                self.world.spawned.push(Box::new(Redeliver::new(label)));
            }
            return false;
        }
        let is_refused = self.parked();
        self.world
            .observer
            .judge_replies(&self.world.gateway.runs, is_refused);
        true
    }

    fn parked(&self) -> bool {
        (0..self.labels).any(|label| {
            self.world.truth(label).is_some_and(|entry| {
                entry
                    .deliveries()
                    .iter()
                    .any(|d| d.state == DeliveryState::Parked)
            })
        })
    }

    fn unfinished(&self) -> Option<String> {
        (0..self.labels).find_map(|label| {
            let entry = self.world.truth(label)?;
            let is_left =
                entry.status() == Status::Running || entry.is_signalled() || is_owed(entry);
            is_left.then(|| format!("{} is {}", LABELS[label], super::world::brief(entry)))
        })
    }
}

/// How long a process takes from step to step: a moment, on a busy machine more.
fn step_time(world: &mut World) -> i64 {
    match world
        .random
        .below(if world.has_faults { 1_000 } else { 900 })
    {
        0..=699 => world.random.between(0, 3),
        700..=949 => world.random.between(0, 100),
        950..=994 => world.random.between(0, 10_000),
        _ => world.random.between(0, 180_000),
    }
}
