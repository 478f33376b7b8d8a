//! The simulated gateway: sessions, runs, and what it remembers of them.
//!
//! It accepts a run once under its key, as long as it remembers the key, which a restart ends; a restart also cuts what is
//! at work and leaves the session's row saying that it runs. What it shows is put together to a real `Seen`, of which the
//! real rules make the evidence.

mod shown;

use dispatch::backend::RunRef;
use dispatch::record::{Baseline, Generation, Steer};

use super::random::Random;

/// Words of failures, one of each kind that is treated in its own way.
const FAILURES: [&str; 6] = [
    "529 Overloaded",
    "429 too many requests",
    "401 invalid api key",
    "session file changed while embedded prompt lock was released",
    "the model said nothing that makes sense",
    "context_length_exceeded: prompt is too long",
];

/// How a run will go, unless somebody stops it.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    Reply,
    Fail(&'static str),
    /// It never ends by itself.
    Hang,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunState {
    /// Another run of its session goes first.
    Waiting,
    Live,
    Replied,
    Failed,
    /// Stopped on request.
    Stopped,
    /// A message that joined the running turn.
    Joined,
    /// A restart cut it.
    Cut,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Run {
    pub id: String,
    pub label: usize,
    pub generation: Generation,
    pub session: usize,
    /// It was sent into a session, rather than asked for.
    pub is_steer: bool,
    /// Its session has worked for another generation.
    pub is_reused: bool,
    /// Its session works for a newer generation: it was asked for long ago, and that came late.
    pub is_stray: bool,
    pub state: RunState,
    plan: Plan,
    pub began_at: i64,
    ends_at: i64,
    pub ended_at: i64,
    /// What it replied.
    pub text: String,
    /// Its transcript grows until then.
    works_until: i64,
    tool_until: i64,
    /// `agent.wait` has forgotten it.
    is_forgotten: bool,
}

#[derive(Debug, Clone)]
enum Said {
    Asked(String),
    Reply(usize),
    Error(&'static str),
    Aborted,
}

#[derive(Debug, Clone, Default)]
struct Session {
    key: String,
    messages: Vec<Said>,
    live: Option<usize>,
    waiting: Vec<usize>,
    /// The run that the row tells of.
    told: Option<usize>,
}

/// What happened at the gateway, for those who look on.
#[derive(Debug, Clone, Copy)]
pub enum News {
    Began(usize),
    Ended(usize),
    /// The second run, which is another generation's, was ended by the first label's wish to stop its own.
    Stopped {
        by: Generation,
        run: usize,
    },
}

/// What is asked of it.
#[derive(Debug, Clone)]
pub enum Request {
    Agent {
        session: String,
        run_id: String,
        label: usize,
        generation: Generation,
    },
    Send {
        session: String,
        steer: Steer,
        label: usize,
        generation: Generation,
    },
    Abort {
        session: String,
        by: Generation,
    },
}

/// The gateway. All its times are its own, in ms since the start of the history.
#[derive(Debug, Default)]
pub struct Gateway {
    sessions: Vec<Session>,
    pub runs: Vec<Run>,
    keys: Vec<String>,
    pub news: Vec<News>,
    /// Which life of it this is; connections end with it.
    pub epoch: u64,
    pub down_until: i64,
    /// Requests on their way, of this life.
    late: Vec<(i64, Request)>,
}

/// Its clock's zero, ms since the epoch.
pub const START_MS: i64 = 1_790_000_000_000;

impl Gateway {
    pub fn is_up(&self, now: i64) -> bool {
        now >= self.down_until
    }

    /// When something happens by itself next.
    pub fn next_at(&self) -> Option<i64> {
        let ends = self
            .runs
            .iter()
            .filter(|run| run.state == RunState::Live)
            .map(|run| run.ends_at);
        let late = self.late.iter().map(|(at, _)| *at);
        ends.chain(late).filter(|at| *at < i64::MAX).min()
    }

    /// Does what is due by `now`.
    pub fn advance(&mut self, now: i64, random: &mut Random) {
        while let Some(at) = self.next_at().filter(|at| *at <= now) {
            let late = self.late.iter().position(|(due, _)| *due == at);
            if let Some(index) = late {
                let (_, request) = self.late.remove(index);
                self.execute(request, at, random);
                continue;
            }
            let ended = self
                .runs
                .iter()
                .position(|run| run.state == RunState::Live && run.ends_at == at);
            if let Some(index) = ended {
                self.end(index, at, random);
            }
        }
    }

    /// A request that arrives later, in this life of the gateway.
    pub fn put_later(&mut self, at: i64, request: Request) {
        self.late.push((at, request));
    }

    fn session(&mut self, key: &str) -> usize {
        if let Some(index) = self.find(key) {
            return index;
        }
        self.sessions.push(Session {
            key: key.to_owned(),
            ..Session::default()
        });
        self.sessions.len() - 1
    }

    fn find(&self, key: &str) -> Option<usize> {
        self.sessions.iter().position(|session| session.key == key)
    }

    /// What the session looks like now; empty where there is none.
    pub fn baseline(&self, key: &str) -> Baseline {
        let Some(session) = self.find(key).map(|index| &self.sessions[index]) else {
            return Baseline::default();
        };
        Baseline {
            session_id: Some(key.to_owned()),
            last_entry_id: Some(session.messages.len().to_string()),
            started_at: session.told.map(|run| START_MS + self.runs[run].began_at),
            ..Baseline::default()
        }
    }

    /// As `has_begun` of `backend/openclaw/mod.rs`: the session is there, or tells of the run where it was there before.
    pub fn has_begun(&self, run: &RunRef) -> bool {
        let (before, now) = (&run.baseline, self.baseline(&run.session_key));
        let is_there = now.session_id.is_some();
        let is_told = before.session_id.is_none()
            || now.started_at > before.started_at
            || now.last_entry_id != before.last_entry_id;
        is_there && is_told
    }

    /// Does what is asked. The answer says whether a turn was stopped.
    pub fn execute(&mut self, request: Request, now: i64, random: &mut Random) -> bool {
        match request {
            Request::Agent {
                session,
                run_id,
                label,
                generation,
            } => {
                if !self.keys.contains(&run_id) {
                    let session = self.session(&session);
                    self.accept(session, run_id, label, generation, false, now, random);
                }
                false
            }
            Request::Send {
                session,
                steer,
                label,
                generation,
            } => self.send(&session, &steer, label, generation, now, random),
            Request::Abort { session, by } => {
                if let Some(run) = self.find(&session).and_then(|s| self.sessions[s].live) {
                    self.news.push(News::Stopped { by, run });
                    self.stop(run, now, random);
                }
                false
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a run is told of by as many facts"
    )]
    fn accept(
        &mut self,
        session: usize,
        id: String,
        label: usize,
        generation: Generation,
        is_steer: bool,
        now: i64,
        random: &mut Random,
    ) {
        self.keys.push(id.clone());
        let plan = match random.below(10) {
            0 if !is_steer => Plan::Hang,
            1..=3 if !is_steer => Plan::Fail(random.pick(&FAILURES)),
            _ => Plan::Reply,
        };
        let others = self.runs.iter().filter(|run| run.session == session);
        let is_reused = others.clone().any(|run| run.generation != generation);
        let is_stray = others.clone().any(|run| run.generation > generation);
        self.runs.push(Run {
            id,
            is_reused,
            is_stray,
            label,
            generation,
            session,
            is_steer,
            state: RunState::Waiting,
            plan,
            began_at: now,
            ends_at: i64::MAX,
            ended_at: 0,
            text: String::new(),
            works_until: 0,
            tool_until: 0,
            is_forgotten: false,
        });
        let index = self.runs.len() - 1;
        match self.sessions[session].live {
            None => self.begin(index, now, random),
            Some(_) => self.sessions[session].waiting.push(index),
        }
    }

    fn begin(&mut self, index: usize, now: i64, random: &mut Random) {
        let lasts = match random.below(4) {
            0 => random.between(0, 500),
            1 | 2 => random.between(1_000, 30_000),
            _ => random.between(20_000, 200_000),
        };
        let run = &mut self.runs[index];
        run.state = RunState::Live;
        run.began_at = now;
        run.ends_at = match run.plan {
            Plan::Hang => i64::MAX,
            _ => now + lasts,
        };
        run.works_until = now + random.between(0, lasts * 2);
        run.tool_until = match random.chance(100) {
            true => now + lasts,
            false => 0,
        };
        let session = &mut self.sessions[run.session];
        // What waits for its turn is written down when that begins.
        session.messages.push(Said::Asked(run.id.clone()));
        session.live = Some(index);
        session.told = Some(index);
        self.news.push(News::Began(index));
    }

    fn end(&mut self, index: usize, now: i64, random: &mut Random) {
        let run = &mut self.runs[index];
        run.ended_at = now;
        let said = match run.plan {
            Plan::Reply => {
                run.state = RunState::Replied;
                run.text = format!("reply of {}", run.id);
                Said::Reply(index)
            }
            Plan::Fail(words) => {
                run.state = RunState::Failed;
                Said::Error(words)
            }
            Plan::Hang => {
                run.state = RunState::Stopped;
                Said::Aborted
            }
        };
        let session = &mut self.sessions[run.session];
        session.messages.push(said);
        session.live = None;
        self.news.push(News::Ended(index));
        if !session.waiting.is_empty() {
            let next = session.waiting.remove(0);
            self.begin(next, now, random);
        }
    }

    /// A stopped run ends a little later; one that was about to reply may do so all the same.
    fn stop(&mut self, index: usize, now: i64, random: &mut Random) {
        let run = &mut self.runs[index];
        if run.plan == Plan::Reply && random.chance(200) {
            return;
        }
        run.plan = Plan::Hang;
        run.ends_at = run.ends_at.min(now + random.between(0, 20_000));
    }

    fn send(
        &mut self,
        key: &str,
        steer: &Steer,
        label: usize,
        generation: Generation,
        now: i64,
        random: &mut Random,
    ) -> bool {
        if self.keys.contains(&steer.run_id) {
            return false;
        }
        let session = self.session(key);
        let live = self.sessions[session].live;
        let id = steer.run_id.clone();
        match live {
            Some(run) if steer.interrupts => {
                self.runs[run].plan = Plan::Hang;
                self.accept(session, id, label, generation, true, now, random);
                self.end(run, now, random);
                return true;
            }
            Some(run) if random.chance(600) => {
                self.keys.push(id.clone());
                self.sessions[session]
                    .messages
                    .push(Said::Asked(id.clone()));
                let joined = Run {
                    id,
                    state: RunState::Joined,
                    ended_at: now,
                    is_steer: true,
                    ..self.runs[run].clone()
                };
                self.runs.push(joined);
                let turn = &mut self.runs[run];
                if turn.plan == Plan::Hang && random.chance(600) {
                    turn.plan = Plan::Reply;
                    turn.ends_at = now + random.between(100, 40_000);
                }
                turn.works_until = now + 5_000;
            }
            _ => self.accept(session, id, label, generation, true, now, random),
        }
        false
    }

    /// The process dies and another one begins.
    pub fn restart(&mut self, now: i64, down_ms: i64) {
        self.epoch += 1;
        self.down_until = now + down_ms;
        self.late.clear();
        self.keys.clear();
        for session in &mut self.sessions {
            session.live = None;
            session.waiting.clear();
        }
        for (index, run) in self.runs.iter_mut().enumerate() {
            run.is_forgotten = true;
            if matches!(run.state, RunState::Live | RunState::Waiting) {
                run.state = RunState::Cut;
                run.ended_at = now;
                self.news.push(News::Ended(index));
            }
        }
    }

    /// A tool call of the session's run is open.
    pub fn has_open_tool(&self, key: &str, now: i64) -> bool {
        let live = self.find(key).and_then(|s| self.sessions[s].live);
        live.is_some_and(|run| now < self.runs[run].tool_until)
    }
}
