//! What people and agents call, step by step as the files of the same names in `src/cli/` do it.

mod enqueue;

pub use self::enqueue::Enqueue;

use dispatch::completion::cap::ArtifactOutcome;
use dispatch::completion::structured::Report;
use dispatch::delivery::STDOUT;
use dispatch::delivery::is_owed;
use dispatch::delivery::outbox::hurry;
use dispatch::record::{DeliveryKind, Generation, Phase, Status, Steer};
use dispatch::watch::Reader;
use dispatch::watch::ending::content;
use dispatch::watch::requests::{self, Signal, Signalled, answered};
use serde_json::{Map, Value};

use super::gateway::Request;
use super::process::{Me, Process, Then};
use super::sabotage::Sabotage;
use super::world::{BRAND, LABELS, World};

/// `dispatch done`, as its agent calls it: with the generation that it works for.
pub struct Done {
    pub label: usize,
    pub generation: Generation,
    pub is_fenced: bool,
    part: usize,
    artifact: Option<ArtifactOutcome>,
}

impl Done {
    pub fn new(label: usize, generation: Generation, is_fenced: bool) -> Self {
        Self {
            label,
            generation,
            is_fenced,
            part: 0,
            artifact: None,
        }
    }
}

impl Process for Done {
    fn name(&self) -> String {
        format!(
            "done {} {} part {}",
            LABELS[self.label], self.generation, self.part
        )
    }

    fn step(&mut self, world: &mut World, _me: Me) -> Then {
        self.part += 1;
        let label = LABELS[self.label];
        let is_blind = world.is_broken_by(Sabotage::LateSignalCounts);
        let is_deaf = world.is_broken_by(Sabotage::SignalOverCancelled);
        let generation = Some(self.generation).filter(|_| self.is_fenced && !is_blind);
        let summary = match self.is_fenced {
            true => format!("signal of {label}.{}", self.generation),
            false => "a signal".to_owned(),
        };
        match self.part {
            1 => match world.read(self.label) {
                Some(entry) if answered(label, &entry, generation).is_none() || is_deaf => Then::Go,
                _ => Then::Exit,
            },
            2 => {
                self.artifact = Some(world.file(&summary));
                Then::Go
            }
            3 => {
                let Some(artifact) = self.artifact.take() else {
                    return Then::Exit;
                };
                let checklist: Map<String, Value> = Map::new();
                let signal = Signal {
                    label,
                    brand: BRAND,
                    generation,
                    summary: &summary,
                    report: Report {
                        raw_summary: &summary,
                        checklist: &checklist,
                        sha: None,
                        unfenced: generation.is_none(),
                        forced: None,
                    },
                    artifact: &artifact,
                    reader: Reader::Outbox,
                };
                let taken = world.amend(self.label, |entry, now_ms| {
                    let is_ours = generation.is_none_or(|wanted| wanted == entry.generation());
                    if is_deaf && is_ours && entry.status() == Status::Cancelled {
                        signal.complete(entry, DeliveryKind::Result, now_ms);
                        return (true, true);
                    }
                    let answer = signal.apply(entry, now_ms);
                    let is_taken = answer == Signalled::Taken;
                    (is_taken, is_taken)
                });
                match taken {
                    Ok(Some(true)) => Then::Go,
                    _ => Then::Exit,
                }
            }
            _ => {
                let Some(entry) = world.truth(self.label).cloned() else {
                    return Then::Exit;
                };
                let generation = entry.generation();
                world.woken.push((self.label, generation));
                if is_owed(&entry) || entry.phase() == Some(Phase::Verifying) {
                    world.ensure_watcher(self.label, generation);
                }
                Then::Exit
            }
        }
    }
}

/// `dispatch cancel`.
pub struct Cancel {
    label: usize,
    part: usize,
    stopped: Option<(String, Generation)>,
}

impl Cancel {
    pub fn new(label: usize) -> Self {
        Self {
            label,
            part: 0,
            stopped: None,
        }
    }
}

impl Process for Cancel {
    fn name(&self) -> String {
        format!("cancel {} part {}", LABELS[self.label], self.part)
    }

    fn step(&mut self, world: &mut World, _me: Me) -> Then {
        self.part += 1;
        match self.part {
            1 => {
                let requested = world.amend(self.label, |entry, now_ms| {
                    let answer = requests::cancel(entry, None, now_ms);
                    let is_known = answer == requests::Cancelling::Known;
                    let is_new = answer == requests::Cancelling::Recorded;
                    let key = entry.text("sessionKey").unwrap_or_default().to_owned();
                    let stopped = (is_known || is_new).then(|| (key, entry.generation()));
                    (stopped, is_new)
                });
                self.stopped = requested.ok().flatten().flatten();
                match self.stopped {
                    Some(_) => Then::Go,
                    None => Then::Exit,
                }
            }
            2 => {
                if let (Some((session, by)), Ok(connection)) = (&self.stopped, world.connect()) {
                    let request = Request::Abort {
                        session: session.clone(),
                        by: *by,
                    };
                    let _ = world.call(connection, request);
                }
                Then::Go
            }
            _ => {
                if let Some((_, generation)) = self.stopped {
                    world.ensure_watcher(self.label, generation);
                }
                Then::Exit
            }
        }
    }
}

/// `dispatch note`.
pub struct Note {
    label: usize,
    generation: Option<Generation>,
}

impl Note {
    pub fn new(label: usize) -> Self {
        Self {
            label,
            generation: None,
        }
    }
}

impl Process for Note {
    fn name(&self) -> String {
        format!("note {}", LABELS[self.label])
    }

    fn step(&mut self, world: &mut World, _me: Me) -> Then {
        if let Some(generation) = self.generation {
            world.ensure_watcher(self.label, generation);
            return Then::Exit;
        }
        let text = world.name("note ");
        let kept = ArtifactOutcome::Failed(String::new());
        let said = content(String::new(), &text, &kept, text.len() as u64);
        let label = self.label;
        let noted = world.amend(label, |entry, now_ms| {
            let noted = requests::note(LABELS[label], entry, &said, now_ms);
            let generation = noted.is_ok().then(|| entry.generation());
            (generation, generation.is_some())
        });
        self.generation = noted.ok().flatten().flatten();
        match self.generation {
            Some(_) => Then::Go,
            None => Then::Exit,
        }
    }
}

/// `dispatch send`, or `steer`.
pub struct Send {
    label: usize,
    interrupts: bool,
    part: usize,
    target: Option<(String, Generation)>,
    steer: Steer,
    connection: u64,
}

impl Send {
    pub fn new(label: usize, interrupts: bool) -> Self {
        Self {
            label,
            interrupts,
            part: 0,
            target: None,
            steer: Steer::default(),
            connection: 0,
        }
    }
}

impl Process for Send {
    fn name(&self) -> String {
        format!("send {} part {}", LABELS[self.label], self.part)
    }

    fn step(&mut self, world: &mut World, _me: Me) -> Then {
        self.part += 1;
        match self.part {
            1 => {
                let entry = world.read(self.label);
                let running = entry.filter(|entry| entry.status() == Status::Running);
                let (Some(entry), Ok(connection)) = (running, world.connect()) else {
                    return Then::Exit;
                };
                let key = entry.text("sessionKey").unwrap_or_default().to_owned();
                let found = world.gateway.baseline(&key);
                if found.session_id.is_none() {
                    return Then::Exit;
                }
                let id = world.name("steer");
                self.steer = Steer::new(&id, "go on", self.interrupts, world.now_ms());
                self.steer.found_started_at = found.started_at;
                self.target = Some((key, entry.generation()));
                self.connection = connection;
                Then::Go
            }
            2 => {
                let steer = &self.steer;
                let recorded = world.amend(self.label, |entry, _| {
                    let is_taken = requests::steer(entry, steer).is_ok();
                    (is_taken, is_taken)
                });
                match recorded {
                    Ok(Some(true)) => Then::Go,
                    _ => Then::Exit,
                }
            }
            3 => {
                if let Some((_, generation)) = self.target {
                    world.ensure_watcher(self.label, generation);
                }
                Then::Go
            }
            4 if world.mishap() && world.random.chance(300) => Then::Go,
            4 => {
                if let Some((session, generation)) = self.target.take() {
                    let request = Request::Send {
                        session,
                        steer: self.steer.clone(),
                        label: self.label,
                        generation,
                    };
                    let _ = world.call(self.connection, request);
                }
                Then::Exit
            }
            _ => {
                // The gateway refuses it: the record is taken back.
                let id = self.steer.run_id.clone();
                let _ = world.amend(self.label, |entry, _| {
                    entry.remove_steer(&id);
                    ((), true)
                });
                if let Some((_, generation)) = self.target {
                    world.ensure_watcher(self.label, generation);
                }
                Then::Exit
            }
        }
    }
}

/// `dispatch redeliver`.
pub struct Redeliver {
    label: usize,
    generation: Option<Generation>,
}

impl Redeliver {
    pub fn new(label: usize) -> Self {
        Self {
            label,
            generation: None,
        }
    }
}

impl Process for Redeliver {
    fn name(&self) -> String {
        format!("redeliver {}", LABELS[self.label])
    }

    fn step(&mut self, world: &mut World, _me: Me) -> Then {
        if let Some(generation) = self.generation {
            world.ensure_watcher(self.label, generation);
            return Then::Exit;
        }
        let hurried = world.amend(self.label, |entry, now_ms| {
            let mut is_any = false;
            for mut record in entry.deliveries() {
                if record.target != STDOUT && hurry(&mut record, now_ms) {
                    entry.put_delivery(&record);
                    is_any = true;
                }
            }
            (is_any.then(|| entry.generation()), is_any)
        });
        self.generation = hurried.ok().flatten().flatten();
        match self.generation {
            Some(_) => Then::Go,
            None => Then::Exit,
        }
    }
}
