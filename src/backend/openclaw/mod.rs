//! Sessions of an OpenClaw gateway, driven over its WebSocket.
//!
//! The run belongs to the gateway: it outlives every connection and this program. A dropped socket or a restarted gateway
//! is neither an end nor an error; whoever watches connects again and asks.

mod evidence;
mod gaps;
mod link;
mod pulse;
mod quiet;
mod sessions;
mod spawn;
mod steers;

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

pub use evidence::{Seen, Task, WaitAnswer, evidence};
pub use link::left_behind;
pub use pulse::pulse;
pub use sessions::{
    Listed, agent_ids, find_session, list_sessions, recent_sessions, session_row, stored_sessions,
    take_baseline,
};
pub use spawn::{Account, Spawn, spawn, takes};
pub use steers::{Fate, Followed};

use self::link::Link;
use self::sessions::{describe, messages, tasks};
use self::spawn::{hard_limit_s, has_begun};
use super::{Backend, Evidence, RunRef, Settled};
use crate::gateway::{Client, Connecting, Endpoint, GatewayError, endpoint};
use crate::home::Home;
use crate::process::Detached;
use crate::record::{Attempt, Selection, Steer};
use crate::session::key::SessionKey;
use crate::session::line::{Line, Message};
use crate::session::terminal::{Turn, TurnSearch};
use crate::wake::Waker;

/// How long a gateway may take to let us in. A busy one answers nobody for many seconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// How long a gateway may take to answer a call that does not wait for a model.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// How soon a session is looked at again for a message's line.
const FATE_LOOK: Duration = Duration::from_millis(250);

/// A gateway does one thing at a time: letting a watcher in would delay its answer to whoever asks for the run.
const ASKING_TIME: Duration = Duration::from_secs(1);

/// Before a run that no one has seen is asked for again: a slow gateway may still be accepting it.
const START_GRACE: Duration = Duration::from_secs(120);

/// The backend of a configured gateway.
pub struct OpenclawBackend<'a> {
    home: &'a Home,
    endpoint: Endpoint,
    link: RefCell<Option<Link>>,
    /// How long the gateway may take to let us in.
    patience: Duration,
}

impl<'a> OpenclawBackend<'a> {
    /// The backend of the gateway that is configured; nothing is contacted.
    ///
    /// # Errors
    /// When the gateway's configuration cannot be used.
    pub fn new(home: &'a Home) -> Result<Self, GatewayError> {
        Ok(Self {
            home,
            endpoint: endpoint(home)?,
            link: RefCell::new(None),
            patience: CONNECT_LIMIT,
        })
    }

    /// The same for somebody who has the ledger's word without the gateway and waits for no busy one.
    #[must_use]
    pub fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// A connection for a few calls.
    ///
    /// # Errors
    /// When the gateway cannot be reached or refuses us.
    pub fn connect(&self) -> Result<Client, GatewayError> {
        Client::connect(&self.endpoint, self.patience)
    }

    /// As [`OpenclawBackend::connect`], beside what the caller goes on with.
    pub fn begin_to_connect(self) -> Connecting {
        Connecting::start(self.endpoint, self.patience)
    }

    /// As [`OpenclawBackend::connect`], for a gateway that was there a while ago.
    fn reopen(&self) -> Result<Client, GatewayError> {
        Client::reopen(&self.endpoint, self.patience)
    }

    /// Asks for the run's end, within `limit`. The end itself is observed.
    ///
    /// # Errors
    /// As any call.
    pub fn abort_within(&self, run: &RunRef, limit: Duration) -> Result<(), GatewayError> {
        let end = Instant::now() + limit;
        let mut client = Client::reopen(&self.endpoint, limit)?;
        let params = json!({"key": run.session_key});
        let _hold = self.link.borrow().as_ref().map(Link::hold);
        let left = end.saturating_duration_since(Instant::now());
        client.call("sessions.abort", &params, left).map(|_| ())
    }

    /// The messages of the run's session, oldest first.
    ///
    /// # Errors
    /// As any call.
    pub fn messages(&self, session_key: &str) -> Result<Vec<Message>, GatewayError> {
        let mut client = self.connect()?;
        let mut all = messages(&mut client, session_key)?;
        if gaps::has_gaps(&all) {
            let row = session_row(&mut client, session_key)?;
            let paths = &self.home.paths;
            gaps::close(&mut client, paths, session_key, row.as_ref(), &mut all);
        }
        Ok(all)
    }

    /// The newest messages of a session, oldest first, at most `limit`, asked for within the backend's patience; `None` when
    /// the gateway has no such session.
    ///
    /// # Errors
    /// As any call.
    pub fn newest_messages(
        &self,
        session_key: &str,
        limit: usize,
    ) -> Result<Option<Vec<Message>>, GatewayError> {
        let end = Instant::now() + self.patience;
        let mut client = self.reopen()?;
        let left = end.saturating_duration_since(Instant::now());
        sessions::newest_messages(&mut client, session_key, limit, left)
    }
}

/// The run's task, `None` while it goes on or where there is no task.
fn task(client: &mut Client, run: &RunRef) -> Result<Option<Task>, GatewayError> {
    let tasks = tasks(client, &run.session_key)?;
    let ours = tasks
        .iter()
        .find(|task| task.get("runId").and_then(Value::as_str) == Some(run.leading_run()));
    let text = |name: &str| ours?.get(name)?.as_str().map(str::to_owned);
    let status = text("status").filter(|status| {
        matches!(
            status.as_str(),
            "completed" | "failed" | "cancelled" | "timed_out"
        )
    });
    Ok(status.map(|status| Task {
        status,
        error: text("error"),
    }))
}

/// The turn of the run, from its session's messages.
fn turn(messages: Vec<Message>, run: &RunRef) -> Turn {
    let mut search = TurnSearch::new();
    for message in evidence::without_echoes(messages).into_iter().rev() {
        if message.id.is_some() && message.id == run.baseline.last_entry_id {
            break;
        }
        if let std::ops::ControlFlow::Break(turn) = search.push(Line::Message(Box::new(message))) {
            return turn;
        }
    }
    search.finish()
}

fn wait_for(client: &mut Client, run_id: &str, wait: Duration) -> Result<WaitAnswer, GatewayError> {
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(0);
    let params = json!({"runId": run_id, "timeoutMs": wait_ms});
    let answer = client.call("agent.wait", &params, wait + CALL_LIMIT)?;
    Ok(WaitAnswer::from_value(&answer))
}

/// Asks everything about a run once. Waits for its end at most `wait`.
fn look(
    home: &Home,
    client: &mut Client,
    run: &RunRef,
    wait: Duration,
) -> Result<Seen, GatewayError> {
    client.follow(run.leading_run());
    let leading = wait_for(client, run.leading_run(), wait)?;
    let followed = run.followers().iter().map(|steer| {
        Ok(Followed {
            steer: steer.clone(),
            wait: wait_for(client, &steer.run_id, Duration::ZERO)?,
            is_seen: true,
        })
    });
    let followed = followed.collect::<Result<Vec<_>, GatewayError>>()?;
    let row = describe(client, &run.session_key)?;
    let mut seen = Seen::of_run(run, leading.clone(), followed, row, home.now_ms());
    seen.limit_ms =
        hard_limit_s(run.timeout_s).and_then(|s| i64::try_from(s.saturating_mul(1000)).ok());
    if seen.is_left_behind() {
        seen.task = task(client, run)?;
    }
    seen.observed = client.observed(run.leading_run());
    client.heard(run.leading_run()).clone_into(&mut seen.heard);
    if seen.is_ended() || seen.is_left_behind() {
        let mut all = messages(client, &run.session_key)?;
        let (paths, row) = (&home.paths, seen.row.as_ref());
        gaps::close(client, paths, &run.session_key, row, &mut all);
        for followed in &mut seen.followed {
            followed.is_seen = all.iter().any(|m| steers::is_line_of(m, &followed.steer));
        }
        seen.wait = steers::latest(leading, &seen.followed);
        let kept = steers::without_lost(all, &seen.followed);
        let (kept, is_unanswered) = steers::without_unanswered(kept, run.followers());
        seen.is_unanswered = is_unanswered;
        seen.is_copy = evidence::ends_in_a_copy(&kept);
        seen.turn = turn(kept, run);
    }
    Ok(seen)
}

/// What one look proves: it cannot wait for what is told a little later.
fn believed(seen: &Seen) -> Evidence {
    let mut evidence = evidence::evidence(seen);
    let failed = matches!(evidence.settled, Some(Settled::Failed { .. }));
    if (failed && seen.is_unexplained()) || seen.is_unproven() {
        evidence.settled = None;
    }
    evidence
}

/// Sends a message into a session: into the running turn where the gateway can, or stopping it first. Returns whether a
/// turn was stopped.
///
/// # Errors
/// The gateway's refusal; [`GatewayError::TimedOut`] or [`GatewayError::Broken`] leave it open whether it arrived.
pub fn steer(
    client: &mut Client,
    session_key: &str,
    message: &str,
    steer: &Steer,
) -> Result<bool, GatewayError> {
    let method = match steer.interrupts {
        true => "sessions.steer",
        false => "sessions.send",
    };
    let params = json!({
        "key": session_key,
        "message": message,
        "idempotencyKey": steer.run_id,
    });
    let answer = client.call(method, &params, CALL_LIMIT)?;
    Ok(answer.get("interruptedActiveRun") == Some(&Value::Bool(true)))
}

/// What became of a message, looked at for at most `patience`. `was_active`: the session was worked on when it was sent.
///
/// # Errors
/// As any call.
pub fn fate_of(
    client: &mut Client,
    session_key: &str,
    steer: &Steer,
    was_active: bool,
    patience: Duration,
) -> Result<Fate, GatewayError> {
    let end = Instant::now() + patience;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        // An ended run answers at once: what is looked at next is its line.
        let wait = wait_for(client, &steer.run_id, left.min(FATE_LOOK))?;
        let all = messages(client, session_key)?;
        let is_seen = all.iter().any(|message| steers::is_line_of(message, steer));
        let fate = steers::fate(was_active, false, &wait, is_seen);
        if is_seen || left.is_zero() {
            return Ok(fate);
        }
        if wait.ended_at.is_some() {
            std::thread::sleep(left.min(FATE_LOOK));
        }
    }
}

impl Backend for OpenclawBackend<'_> {
    fn carry(&self, run: &RunRef) -> io::Result<Option<Detached>> {
        let mut client = self.reopen().map_err(io::Error::other)?;
        // A gateway that forgot the key after a restart would run the prompt a second time.
        if has_begun(&mut client, run).map_err(io::Error::other)? {
            return Ok(None);
        }
        let again = Spawn::of_run(self.home, run)?;
        spawn(&mut client, &again).map_err(io::Error::other)?;
        Ok(None)
    }

    fn next_attempt(&self, run: &RunRef, _selection: &Selection) -> io::Result<Attempt> {
        let mut client = self.reopen().map_err(io::Error::other)?;
        let baseline = take_baseline(&mut client, &run.session_key).map_err(io::Error::other)?;
        let session_key = match baseline.session_id {
            Some(_) => run.session_key.clone(),
            None => {
                let old = SessionKey::parse(&run.session_key).map_err(io::Error::other)?;
                let fresh = SessionKey::subagent(old.agent_id(), Uuid::new_v4());
                fresh.map_err(io::Error::other)?.as_str().to_owned()
            }
        };
        Ok(Attempt {
            run_id: Uuid::new_v4().to_string(),
            session_key,
            baseline,
        })
    }

    fn observe(&self, run: &RunRef) -> io::Result<Evidence> {
        if let Some(link) = self.link.borrow().as_ref() {
            return link.evidence();
        }
        let mut client = self.reopen().map_err(io::Error::other)?;
        let seen = look(self.home, &mut client, run, Duration::ZERO).map_err(io::Error::other)?;
        let mut evidence = believed(&seen);
        if quiet::is_quiet(&evidence, self.home.now_ms()) {
            let all = messages(&mut client, &run.session_key).map_err(io::Error::other)?;
            quiet::AtWork::of(all, run).show(&mut evidence);
        }
        Ok(evidence)
    }

    fn abandoned(&self, run: &RunRef) -> io::Result<Option<Settled>> {
        let mut client = self.connect().map_err(io::Error::other)?;
        let seen = look(self.home, &mut client, run, Duration::ZERO).map_err(io::Error::other)?;
        Ok(seen.is_left_behind().then(|| link::left_behind(&seen)))
    }

    fn abort(&self, run: &RunRef) -> io::Result<()> {
        self.abort_within(run, CONNECT_LIMIT + CALL_LIMIT)
            .map_err(io::Error::other)
    }

    fn ask(&self, run: &RunRef, message: &Steer, text: &str) -> io::Result<()> {
        let mut client = self.connect().map_err(io::Error::other)?;
        steer(&mut client, &run.session_key, text, message)
            .map(|_| ())
            .map_err(io::Error::other)
    }

    fn wake_paths(&self, _run: &RunRef) -> Vec<PathBuf> {
        Vec::new()
    }

    fn attach(&self, run: &RunRef, waker: Waker) {
        let link = Link::start(self.home.clone(), self.endpoint.clone(), run.clone(), waker);
        *self.link.borrow_mut() = Some(link);
    }

    fn makes_way_for(&self) -> Duration {
        ASKING_TIME
    }

    fn start_grace(&self) -> Duration {
        START_GRACE
    }
}
