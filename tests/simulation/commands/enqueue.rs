//! `dispatch enqueue`, step by step as `src/cli/enqueue.rs` does it.

use dispatch::delivery::owe;
use dispatch::record::{Content, DeliveryKind, Entry, Failure, FailureKind, Phase, Status};
use dispatch::watch::requests::{self, Planned};
use serde_json::json;

use super::super::gateway::Request;
use super::super::process::{Me, Process, Then};
use super::super::sabotage::Sabotage;
use super::super::world::{LABELS, World, run_of};
use super::Cancel;

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
    /// How far the label's work was when the session was looked at.
    over: Planned,
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
            over: Planned::default(),
        }
    }

    /// As `new_entry` of `cli/enqueue/entry.rs`, without what nobody reads here.
    fn plan(&mut self, world: &mut World) -> Entry {
        let old = world.read(self.label);
        self.over = Planned::over(old.as_deref());
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
        if world.random.chance(150) {
            entry.set("fallbackModel", "another");
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

/// What the ledger made of it.
enum Entered {
    New(Entry),
    Running,
    Outdated,
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
                let planned = self.plan(world);
                let key = planned.text("sessionKey").unwrap_or_default();
                let reuses = (world.truth(self.label))
                    .is_some_and(|old| old.text("sessionKey") == Some(key));
                if reuses && planned.baseline().session_id.is_none() {
                    // There is no session to go on with.
                    return Then::Exit;
                }
                self.entry = Some(planned);
                // Others have the ledger's lock.
                match world.has_faults && world.random.chance(250) {
                    true => Then::Sleep(world.random.between(0, 90_000)),
                    false => Then::Go,
                }
            }
            2 => {
                let Some(mut entry) = self.entry.take() else {
                    return Then::Exit;
                };
                let label = self.label;
                let floor = world.truth(label).cloned();
                let generation = world.next_generation(label, floor.as_deref(), world.now_ms());
                let run_id = world.name(&format!("{}.{generation}.", LABELS[label]));
                let over = self.over.clone();
                let is_careless = world.is_broken_by(Sabotage::OldSessionUnseen);
                let forgets = world.is_broken_by(Sabotage::ForgetWhatIsOwed);
                let entered = world.update(label, |old, now_ms| {
                    if requests::is_occupied(old) {
                        return (Entered::Running, None);
                    }
                    if over.is_outdated(old, &entry.baseline()) && !is_careless {
                        return (Entered::Outdated, None);
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
                    (Entered::New(entry.clone()), Some(entry))
                });
                match entered {
                    Ok(Entered::New(entry)) => {
                        self.entry = Some(entry);
                        Then::Go
                    }
                    Ok(Entered::Outdated) => {
                        self.part = 0;
                        Then::Go
                    }
                    Ok(Entered::Running) if self.replaces => {
                        world.spawned.push(Box::new(Cancel::new(label)));
                        let again = Enqueue::new(label, self.is_reuse, world.random.chance(700));
                        world.spawned.push(Box::new(again));
                        Then::Exit
                    }
                    Ok(Entered::Running) | Err(_) => Then::Exit,
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
                let now = world.read(self.label);
                let is_ours = now.is_some_and(|now| {
                    now.generation() == entry.generation() && now.status() == Status::Running
                });
                if !is_ours {
                    return Then::Exit;
                }
                // A gateway that has the run already, because a watcher asked for it, does not refuse it.
                let is_there =
                    run_of(self.label, entry).is_some_and(|run| world.gateway.has_begun(&run));
                if !is_there && world.mishap() && world.random.chance(200) {
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
