//! Where a label stands.

use std::fmt;

/// The status of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The session is at work; [`Phase`] says how far.
    Running,
    /// It ended with a result.
    Done,
    /// It ended without one, or its result was rejected.
    Error,
    /// It went quiet without a reply while no watcher lived.
    Interrupted,
    /// It was stopped on request.
    Cancelled,
    /// A status that another tool wrote: kept and shown as it is, never written by dispatch.
    Other(String),
}

impl Status {
    /// The five that dispatch itself writes.
    pub const WRITTEN: [Status; 5] = [
        Status::Running,
        Status::Done,
        Status::Error,
        Status::Interrupted,
        Status::Cancelled,
    ];

    /// The text in the ledger.
    pub fn as_str(&self) -> &str {
        match self {
            Status::Running => "running",
            Status::Done => "done",
            Status::Error => "error",
            Status::Interrupted => "interrupted",
            Status::Cancelled => "cancelled",
            Status::Other(text) => text,
        }
    }

    /// Any text is a status; unknown ones become [`Status::Other`].
    pub fn from_text(text: &str) -> Self {
        Self::WRITTEN
            .into_iter()
            .find(|status| status.as_str() == text)
            .unwrap_or_else(|| Status::Other(text.to_owned()))
    }

    /// One of the four ends. A status of another tool is no end.
    pub fn is_ended(&self) -> bool {
        matches!(
            self,
            Status::Done | Status::Error | Status::Interrupted | Status::Cancelled
        )
    }

    /// `done` and `cancelled` never change again within their generation.
    pub fn is_final(&self) -> bool {
        matches!(self, Status::Done | Status::Cancelled)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a running entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for a place.
    Queued,
    /// Recorded; the backend has not confirmed the run yet.
    Accepting,
    /// The backend runs it.
    Running,
    /// The result is there and the verify command checks it.
    Verifying,
    /// It failed and waits for its next attempt.
    RetryWait,
}

impl Phase {
    const ALL: [Phase; 5] = [
        Phase::Queued,
        Phase::Accepting,
        Phase::Running,
        Phase::Verifying,
        Phase::RetryWait,
    ];

    /// The text in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Queued => "queued",
            Phase::Accepting => "accepting",
            Phase::Running => "running",
            Phase::Verifying => "verifying",
            Phase::RetryWait => "retry-wait",
        }
    }

    /// The phase of that name.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_status_is_kept_and_is_no_end() {
        let status = Status::from_text("spawn-warning");
        assert_eq!(status.as_str(), "spawn-warning");
        assert!(!status.is_ended());
    }

    #[test]
    fn every_written_status_and_phase_reads_back() {
        for status in Status::WRITTEN {
            assert_eq!(Status::from_text(status.as_str()), status);
        }
        for phase in Phase::ALL {
            assert_eq!(Phase::from_text(phase.as_str()), Some(phase));
        }
    }
}
