//! Why the ledger could not be used.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::process::LockError;

/// A ledger that could not be read or written. Nothing was changed unless a variant says otherwise.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The file is there and is no ledger, or is gone while its backup is there.
    #[error(
        "the ledger {path} is damaged: {what}; nothing was changed; run 'dispatch doctor' to see what can be saved"
    )]
    Damaged {
        /// The ledger.
        path: PathBuf,
        /// What is wrong, with line and column where there is one.
        what: String,
    },
    /// A system call failed.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The change is in place, but the directory could not be synced.
    #[error(
        "the ledger {path} was written, but syncing its directory failed ({source}): the change may not outlast a power cut; check the disk"
    )]
    NotDurable {
        /// The ledger.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The lock could not be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
}
