//! The integration tests: one binary, a module per command or capability.

mod local;
mod main_job;
mod session;
mod support;
mod watcher;
