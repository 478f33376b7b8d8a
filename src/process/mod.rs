//! Processes as the kernel knows them: locks that die with their holder, identities that survive pid reuse, process
//! groups, detached children, signals.
//!
//! Nothing here knows labels or sessions; callers pass paths and numbers.

mod detach;
mod group;
mod identity;
mod lock;
mod output;
mod programs;
mod search;
mod signals;

pub use detach::{Detached, close_inherited_on_exec, log_of, spawn_detached};
pub use group::{led_group_alive, signal_group, signal_process};
pub use identity::ProcessIdentity;
pub use lock::{FileLock, LockError, LockHolder};
pub use output::{Output, output_within, status_within, stdin_of};
pub use programs::{Programs, is_script};
pub use rustix::process::Signal;
pub use search::find_program;
pub use signals::{StopSignal, die_of, on_stop_signals, survive_size_limits};
