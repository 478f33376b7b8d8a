//! The watcher: one per label, in the background and in the foreground, through its death and the ledger's damage.

mod configuration;
mod crashes;
mod damaged_ledger;
mod done_signal;
mod every;
mod foreground;
mod handoff;
mod liveness;
mod many;
mod states;
