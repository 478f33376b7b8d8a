//! Where sessions run: one trait over the embedded local backend and, later, an OpenClaw gateway.

pub mod local;

use std::io;
use std::path::PathBuf;

use crate::process::Detached;
use crate::record::{Baseline, Entry, Failure, Generation};

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

    /// The backend of an entry; entries of tools that know only gateways have no such field.
    pub fn of_entry(entry: &Entry) -> Self {
        match entry.text("backend") {
            Some("local") => BackendName::Local,
            _ => BackendName::Openclaw,
        }
    }
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
    /// The session's id.
    pub session_id: String,
    /// What the session looked like before the run.
    pub baseline: Baseline,
}

impl RunRef {
    /// The run of an entry; `None` when the entry names no session (an unregistered label's `done`, say).
    pub fn of_entry(label: &str, entry: &Entry) -> Option<Self> {
        Some(Self {
            label: label.to_owned(),
            generation: entry.generation(),
            run_id: entry.text("runId")?.to_owned(),
            session_key: entry.text("sessionKey")?.to_owned(),
            session_id: entry.text("sessionId")?.to_owned(),
            baseline: entry.baseline(),
        })
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
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
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
    /// The transcript's length in bytes.
    pub position: u64,
}

/// A place where sessions run.
pub trait Backend {
    /// Makes sure that something carries the run: starts it when it was never started, takes it over when its carrier
    /// died. Never runs it twice.
    ///
    /// # Errors
    /// When the carrier cannot be started.
    fn carry(&self, run: &RunRef) -> io::Result<Detached>;

    /// What is known of the run now.
    ///
    /// # Errors
    /// When the evidence cannot be read; that says nothing about the run.
    fn observe(&self, run: &RunRef) -> io::Result<Evidence>;

    /// Asks for the run's end. The end itself is observed.
    ///
    /// # Errors
    /// When the request cannot be recorded.
    fn abort(&self, run: &RunRef) -> io::Result<()>;

    /// The files whose changes mean that a new look is worthwhile.
    fn wake_paths(&self, run: &RunRef) -> Vec<PathBuf>;
}
