//! What people and agents call, step by step as the files of the same names in `src/cli/` do it.

use dispatch::completion::cap::ArtifactOutcome;
use dispatch::delivery::outbox::unpark;
use dispatch::delivery::{is_owed, owe};
use dispatch::record::{
    Content, DeliveryKind, DeliveryState, Entry, Failure, FailureKind, Generation, Phase, Status,
    Steer,
};
use dispatch::watch::ending::content;
use dispatch::watch::requests::{self, Signal, Signalled, answered};
use serde_json::{Map, Value, json};

use super::gateway::Request;
use super::process::{Me, Process, Then};
use super::sabotage::Sabotage;
use super::world::{BRAND, LABELS, World};

/// `dispatch enqueue`.
pub struct Enqueue {
    pub label: usize,
    /// Into the session of the generation before.
    pub is_reuse: bool,
    /// Stops what runs.
    pub replaces: bool,
    part: usize,
    connection: u64,
    entry: Option<Entry>,
}

impl Enqueue {
    pub fn new(label: usize, is_reuse: bool, replaces: bool) -> Self {
        Self {
            label,
            is_reuse,
            replaces,
            part: 0,
            connection: 0,
            entry: None,
        }
    }

    /// As `new_entry` of `cli/enqueue/entry.rs`, without what nobody reads here.
    fn plan(&self, world: &mut World) -> Entry {
        let old = world.read(self.label);
        let before = old.as_ref().and_then(|old| old.text("sessionKey"));
        let reused = before.filter(|_| self.is_reuse).map(str::to_owned);
        let key = match reused {
            Some(key) => key,
            None => world.name("agent:main:subagent:s"),
        };
        let baseline = world.gateway.baseline(&key);
        let mut entry = Entry::new();
        entry.set("sessionKey", key);
        entry.set("agent", "main");
        entry.set("deliverTo", "-100");
        entry.set("deliverChannel", "telegram");
        let modes = ["announce", "announce", "announce-always", "none"];
        entry.set("deliveryMode", world.random.pick(&modes));
        if world.random.chance(150) {
            entry.set("requester", "agent:main:main");
        }
        if world.random.chance(150) {
            entry.set("verifyCmd", "true");
        }
        entry.set_status(&Status::Running);
        entry.set_phase(Phase::Accepting);
        entry.set("attempt", 1);
        entry.set("backend", "openclaw");
        entry.set("promptPath", "/prompt");
        entry.set_baseline(&baseline);
        entry
    }
}

impl Process for Enqueue {
    fn name(&self) -> String {
        format!("enqueue {} part {}", LABELS[self.label], self.part)
    }

    fn step(&mut self, world: &mut World, _me: Me) -> Then {
        self.part += 1;
        match self.part {
            1 => {
                let Ok(connection) = world.connect() else {
                    return Then::Exit;
                };
                self.connection = connection;
                self.entry = Some(self.plan(world));
                Then::Go
            }
            2 => {
                let Some(mut entry) = self.entry.take() else {
                    return Then::Exit;
                };
                let label = self.label;
                let floor = world.truth(label).cloned();
                let generation = world.next_generation(label, floor.as_deref(), world.now_ms());
                let run_id = world.name(&format!("{}.{generation}.", LABELS[label]));
                let forgets = world.is_broken_by(Sabotage::ForgetWhatIsOwed);
                let entered = world.update(label, |old, now_ms| {
                    if requests::is_occupied(old) {
                        return (None, None);
                    }
                    entry.set_generation(generation);
                    entry.set_time("spawnedAt", now_ms);
                    entry.set("runId", run_id.as_str());
                    entry.set("runIds", json!([run_id]));
                    let own_run =
                        format!("{}.{generation}", entry.text("runId").unwrap_or_default());
                    let tagged = own_run.replacen('r', "of ", 1);
                    entry.set("runId", format!("{tagged}.1"));
                    entry.set("runIds", json!([format!("{tagged}.1")]));
                    if !forgets {
                        requests::succeed(old, &mut entry);
                    }
                    if entry.text("deliveryMode") == Some("announce-always") {
                        let starting = Content {
                            header: "starting".to_owned(),
                            ..Content::default()
                        };
                        owe(
                            LABELS[label],
                            &mut entry,
                            DeliveryKind::Starting,
                            &starting,
                            now_ms,
                        );
                    }
                    (Some(entry.clone()), Some(entry))
                });
                match entered {
                    Ok(Some(entry)) => {
                        self.entry = Some(entry);
                        Then::Go
                    }
                    Ok(None) if self.replaces => {
                        world.spawned.push(Box::new(Cancel::new(label)));
                        let again = Enqueue::new(label, self.is_reuse, world.random.chance(700));
                        world.spawned.push(Box::new(again));
                        Then::Exit
                    }
                    Ok(None) | Err(_) => Then::Exit,
                }
            }
            3 => {
                if let Some(entry) = &self.entry {
                    world.ensure_watcher(self.label, entry.generation());
                }
                Then::Go
            }
            4 => {
                let Some(entry) = &self.entry else {
                    return Then::Exit;
                };
                if world.mishap() && world.random.chance(200) {
                    // The gateway refuses it.
                    return Then::Go;
                }
                let request = Request::Agent {
                    session: entry.text("sessionKey").unwrap_or_default().to_owned(),
                    run_id: entry.text("runId").unwrap_or_default().to_owned(),
                    label: self.label,
                    generation: entry.generation(),
                };
                let _ = world.call(self.connection, request);
                Then::Exit
            }
            _ => {
                let generation = self.entry.as_ref().map(Entry::generation);
                let _ = world.amend(self.label, |entry, now_ms| {
                    let is_ours =
                        Some(entry.generation()) == generation && entry.status() == Status::Running;
                    if is_ours {
                        entry.set_status(&Status::Error);
                        entry.set_time("endedAt", now_ms);
                        entry.set_failure(&Failure::new(FailureKind::Spawn, "no", now_ms));
                        // For the observer alone: the caller was told.
                        entry.set("refused", true);
                    }
                    ((), is_ours)
                });
                Then::Exit
            }
        }
    }
}

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
                    is_given: true,
                    checklist: &checklist,
                    sha: None,
                    artifact: &artifact,
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
        let unparked = world.amend(self.label, |entry, now_ms| {
            let mut parked = entry.deliveries();
            parked.retain(|d| d.state == DeliveryState::Parked);
            for record in &mut parked {
                unpark(record, now_ms);
                entry.put_delivery(record);
            }
            let is_any = !parked.is_empty();
            (is_any.then(|| entry.generation()), is_any)
        });
        self.generation = unparked.ok().flatten().flatten();
        match self.generation {
            Some(_) => Then::Go,
            None => Then::Exit,
        }
    }
}
