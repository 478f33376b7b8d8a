//! What another program can do to the transcript of a run that is under way. Pure.

use std::fmt;

/// Somebody without the session's lock wrote to its transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intrusion {
    /// Text was added behind ours.
    Added {
        /// How much.
        bytes: u64,
    },
    /// Lines that are not ours stand among ours; a runner that has died meanwhile could not say when they came.
    Mixed {
        /// How many.
        lines: u64,
    },
    /// The end was cut off.
    Cut {
        /// The length that it had, in bytes.
        from: u64,
        /// The length that it has.
        to: u64,
    },
    /// It was changed in place.
    Rewritten,
    /// Another file has its name.
    Replaced,
    /// It is gone.
    Removed,
    /// The run's own lines are gone; a runner that has died meanwhile could not say how.
    Lost,
}

impl Intrusion {
    /// Text of the run is no longer in the transcript.
    pub fn took_text(self) -> bool {
        !matches!(self, Intrusion::Added { .. } | Intrusion::Mixed { .. })
    }
}

impl fmt::Display for Intrusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("another program ")?;
        match self {
            Intrusion::Added { bytes: 1 } => {
                f.write_str("added 1 byte to the session's transcript")
            }
            Intrusion::Added { bytes } => {
                write!(f, "added {bytes} bytes to the session's transcript")
            }
            Intrusion::Mixed { lines: 1 } => {
                f.write_str("added a line to the session's transcript")
            }
            Intrusion::Mixed { lines } => {
                write!(f, "added {lines} lines to the session's transcript")
            }
            Intrusion::Cut { from, to } => write!(
                f,
                "cut the session's transcript from {from} to {to} bytes"
            ),
            Intrusion::Rewritten => f.write_str("changed the session's transcript in place"),
            Intrusion::Replaced => {
                f.write_str("put another file in the place of the session's transcript")
            }
            Intrusion::Removed => f.write_str("removed the session's transcript"),
            Intrusion::Lost => f.write_str(
                "removed, cut or replaced the session's transcript: the run's own lines are gone from it",
            ),
        }
    }
}
