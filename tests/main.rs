//! The integration tests: one binary, a module per command or capability.

mod cli;
mod crash;
mod ledger;
mod local;
mod main_job;
mod session;
mod support;
mod walls;
mod watcher;
