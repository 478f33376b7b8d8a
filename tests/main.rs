//! The integration tests: one binary, a module per command or capability.

mod cli;
mod concurrency;
mod crash;
mod e2e;
mod ledger;
mod local;
mod main_job;
mod outbox;
mod session;
mod support;
mod walls;
mod watcher;
