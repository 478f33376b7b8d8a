//! Where sessions run: one trait over the embedded local backend and an OpenClaw gateway.

pub mod local;
pub mod openclaw;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use self::local::LocalBackend;
use self::openclaw::OpenclawBackend;
use crate::brief::Audience;
use crate::gateway::GatewayError;
use crate::home::Home;
use crate::process::Detached;
use crate::record::{Attempt, Baseline, Entry, Failure, FailureKind, Generation, Selection, Steer};
use crate::wake::Waker;

/// The backends' names as flags and ledger write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendName {
    /// Child processes of this machine.
    Local,
    /// Sessions of an OpenClaw gateway.
    Openclaw,
}

impl BackendName {
    /// The text in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            BackendName::Local => "local",
            BackendName::Openclaw => "openclaw",
        }
    }

    /// The backend of an entry that dispatch made. Entries of other tools name none: their runs are watched by those.
    pub fn of_entry(entry: &Entry) -> Option<Self> {
        match entry.text("backend") {
            Some("local") => Some(BackendName::Local),
            Some("openclaw") => Some(BackendName::Openclaw),
            _ => None,
        }
    }
}

/// The backend of a run.
///
/// # Errors
/// When the gateway's configuration cannot be used.
pub fn backend_of<'a>(
    home: &'a Home,
    name: BackendName,
) -> Result<Box<dyn Backend + 'a>, GatewayError> {
    Ok(match name {
        BackendName::Local => Box::new(LocalBackend::new(home)),
        BackendName::Openclaw => Box::new(OpenclawBackend::new(home)?),
    })
}

/// One run of a session, as its entry names it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunRef {
    /// The label.
    pub label: String,
    /// Its generation.
    pub generation: Generation,
    /// The run's id.
    pub run_id: String,
    /// The session's key.
    pub session_key: String,
    /// The session's id; empty where the gateway alone knows it.
    pub session_id: String,
    /// What the session looked like before the run.
    pub baseline: Baseline,
    /// When the run was asked for, ms since the epoch.
    pub since_ms: i64,
    /// The prompt's file.
    pub prompt_path: Option<PathBuf>,
    /// The model and the account that it is to use.
    pub selection: Selection,
    /// An attempt before it had an account of its own, and this one has none.
    pub had_profile: bool,
    /// The thinking level that was asked for.
    pub thinking: Option<String>,
    /// The time limit that was asked for, in seconds.
    pub timeout_s: Option<u64>,
    /// What was sent into the session since, oldest first.
    pub steers: Vec<Steer>,
    /// What people sent into earlier attempts, oldest first.
    pub earlier_steers: Vec<Steer>,
    /// Which attempt of the generation it is, from 1.
    pub attempt: u32,
    /// How the attempt before it failed.
    pub retry_of: Option<FailureKind>,
    /// Who waits for the work.
    pub audience: Audience,
    /// The directory of the work.
    pub cwd: Option<String>,
}

impl RunRef {
    /// The run of an entry; `None` when the entry names no session (an unregistered label's `done`, say).
    pub fn of_entry(label: &str, entry: &Entry) -> Option<Self> {
        Some(Self {
            label: label.to_owned(),
            generation: entry.generation(),
            run_id: entry.text("runId")?.to_owned(),
            session_key: entry.text("sessionKey")?.to_owned(),
            session_id: match BackendName::of_entry(entry)? {
                BackendName::Local => entry.text("sessionId")?.to_owned(),
                BackendName::Openclaw => String::new(),
            },
            baseline: entry.baseline(),
            since_ms: match entry.claim() {
                Some(claim) => claim.at,
                None => entry.time("spawnedAt").unwrap_or(0),
            },
            prompt_path: entry.text("promptPath").map(PathBuf::from),
            selection: entry.selection(),
            had_profile: entry
                .fallback_use()
                .is_some_and(|used| used.selection.auth_profile.is_some())
                && entry.selection().auth_profile.is_none(),
            thinking: entry.text("thinking").map(str::to_owned),
            timeout_s: entry.number("timeoutSeconds"),
            steers: entry.steers(),
            earlier_steers: entry.earlier_steers(),
            attempt: entry.attempt(),
            retry_of: entry
                .claim()
                .and_then(|_| entry.failure())
                .map(|failure| failure.kind),
            audience: Audience::of_entry(entry),
            cwd: entry.text("cwd").map(str::to_owned),
        })
    }

    /// Takes up what was sent into the session since, as the entry says. Says whether there was anything.
    pub fn take_up_steers(&mut self, entry: &Entry) -> bool {
        let steers = entry.steers();
        let is_news = steers != self.steers;
        self.steers = steers;
        is_news
    }

    /// The last message that stopped what ran before it: nothing older counts any more.
    pub fn interruption(&self) -> Option<&Steer> {
        self.steers.iter().rev().find(|steer| steer.interrupts)
    }

    /// The run that the session's end is told of first: the one that stopped the others, else the one asked for.
    pub fn leading_run(&self) -> &str {
        self.interruption()
            .map_or(self.run_id.as_str(), |steer| steer.run_id.as_str())
    }

    /// Messages that were sent beside the leading run, oldest first.
    pub fn followers(&self) -> &[Steer] {
        let leading = self.steers.iter().rposition(|steer| steer.interrupts);
        let first = leading.map_or(0, |index| index + 1);
        self.steers.get(first..).unwrap_or_default()
    }
}

impl RunRef {
    /// The run is a command of this machine, not a gateway's.
    pub fn is_command(&self) -> bool {
        !self.session_id.is_empty()
    }
}

/// Whether something carries the run right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// It was never seen.
    Absent,
    /// It is carried.
    Alive,
    /// It was seen and nothing carries it.
    Gone,
}

/// Where a text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Here.
    Inline(String),
    /// In a file, because it is long.
    File {
        /// What is said before it.
        lead: String,
        /// The file.
        path: PathBuf,
        /// The length of both in bytes.
        bytes: u64,
    },
}

impl Text {
    /// Nothing was said.
    pub fn is_empty(&self) -> bool {
        match self {
            Text::Inline(text) => text.trim().is_empty(),
            Text::File { bytes, .. } => *bytes == 0,
        }
    }
}

/// No rolling deadline of a run is moved past this age, unless its own time limit is longer.
pub const LONGEST_RUN: Duration = Duration::from_secs(4 * 60 * 60);

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Settled {
    /// With a complete reply.
    Reply {
        /// The whole of it.
        text: Text,
        /// The token limit cut it.
        truncated: bool,
        /// When, ms since the epoch.
        at_ms: i64,
    },
    /// Without one.
    Failed {
        /// Why.
        failure: Failure,
        /// What there was of a reply.
        partial: Text,
        /// It was stopped on request.
        cancelled: bool,
    },
}

/// What a backend knows of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// How it ended; `None` while it goes on, or nobody knows.
    pub settled: Option<Settled>,
    /// Whether it is carried.
    pub liveness: Liveness,
    /// When the transcript last grew, ms since the epoch.
    pub last_activity_ms: Option<i64>,
    /// The transcript's length in bytes, or the tokens used: whatever grows while the run works.
    pub position: u64,
    /// It is in the middle of a turn, as far as that is known.
    pub mid_turn: bool,
    /// A tool call of it is open, as far as that is known.
    pub open_tool: bool,
    /// The backend has been heard; without that nothing here is known.
    pub is_known: bool,
}

impl Evidence {
    /// Nothing is known yet, or nobody can be asked: neither an end nor an error.
    pub fn unknown() -> Self {
        Self {
            settled: None,
            liveness: Liveness::Alive,
            last_activity_ms: None,
            position: 0,
            mid_turn: false,
            open_tool: false,
            is_known: false,
        }
    }
}

/// What two witnesses that do not know of each other say of a run's work.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulse {
    /// The first: the session's row, or the transcript that the runner writes.
    pub evidence: Evidence,
    /// The second; `None` where the first had seen enough.
    pub work: Option<Work>,
}

/// What a run has done, as the agent's own messages show it, or the files into which its command prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// How much there is of it; only ever compared.
    pub amount: u64,
    /// When the last of it was done, ms since the epoch, as far as that is known.
    pub at_ms: Option<i64>,
    /// Since when a tool call is open, ms since the epoch.
    pub tool_since_ms: Option<i64>,
}

/// A place where sessions run.
pub trait Backend {
    /// Makes sure that something carries the run: starts it when it was never started, takes it over when its carrier
    /// died. Never runs it twice. Returns the process that was started, if one was.
    ///
    /// # Errors
    /// When the carrier cannot be started.
    fn carry(&self, run: &RunRef) -> io::Result<Option<Detached>>;

    /// What is known of the run now.
    ///
    /// # Errors
    /// When the evidence cannot be read; that says nothing about the run.
    fn observe(&self, run: &RunRef) -> io::Result<Evidence>;

    /// What a run that nothing carries any more has left, where nobody will take it up again.
    ///
    /// # Errors
    /// When it cannot be read.
    fn abandoned(&self, _run: &RunRef) -> io::Result<Option<Settled>> {
        Ok(None)
    }

    /// Asks for the run's end. The end itself is observed.
    ///
    /// # Errors
    /// When the request cannot be recorded.
    fn abort(&self, run: &RunRef) -> io::Result<()>;

    /// Prepares another attempt at the run's work, made with `selection`, in its session where that is still there; nothing is started. The failed
    /// attempt has settled.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is nothing left to go on with; any other when that is not known now.
    fn next_attempt(&self, run: &RunRef, selection: &Selection) -> io::Result<Attempt>;

    /// A run whose carrier is gone is taken over by a new one: it cannot vanish.
    fn takes_over(&self) -> bool {
        false
    }

    /// Asks the agent for something while its run goes on; `steer` is on record by then.
    ///
    /// # Errors
    /// When the message cannot be sent, or this backend takes none.
    fn ask(&self, _run: &RunRef, _steer: &Steer, _message: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The files whose changes mean that a new look is worthwhile.
    fn wake_paths(&self, run: &RunRef) -> Vec<PathBuf>;

    /// Starts to follow the run beside the caller, waking it by news, where files do not tell them.
    fn attach(&self, _run: &RunRef, _waker: Waker) {}

    /// How long a watcher stays out of the way of whoever is asking for the run at this moment.
    fn makes_way_for(&self) -> Duration {
        Duration::ZERO
    }

    /// How long whoever asked for the run is given to have it started, before the watcher does so.
    fn start_grace(&self) -> Duration {
        Duration::from_secs(1)
    }
}
