//! Hands work to AI agent sessions, keeps a ledger of them, watches each to its end and delivers the result.
//!
//! The four programs in `bin/` are thin mains over this library. Decisions are pure functions of data and a given
//! `now`; files, processes and clocks live in the drivers. See `docs/architecture.md` for the house in one page.

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!(
    "dispatch supports Linux and macOS: its locks and process groups rely on flock(2) and POSIX signals"
);

pub mod backend;
pub mod brief;
pub mod cli;
pub mod clock;
pub mod completion;
pub mod config;
pub mod cron;
pub mod delivery;
pub mod duration;
pub mod events;
pub mod failure;
pub mod gateway;
pub mod home;
pub mod ledger;
pub mod nearest;
pub mod paths;
pub mod process;
pub mod record;
pub mod recovery;
pub mod session;
pub mod shell;
pub mod signature;
pub mod storage;
pub mod stuck;
pub mod wake;
pub mod watch;
pub mod watchers;
