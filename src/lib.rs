//! Hands work to AI agent sessions, keeps a ledger of them, watches each to its end and delivers the result.
//!
//! The four programs in `bin/` are thin mains over this library. Decisions are pure functions of data and a given
//! `now`; files, processes and clocks live in the drivers. See `docs/architecture.md` for the house in one page.

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
compile_error!("dispatch supports Linux and macOS: its locks and process groups rely on flock(2) and POSIX signals");

pub mod clock;
pub mod record;
pub mod storage;
