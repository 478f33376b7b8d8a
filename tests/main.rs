//! The integration tests: one binary, a module per command or capability; `e2e` alone is one of its own.

mod cli;
mod concurrency;
mod crash;
mod doctor;
mod events;
mod ledger;
mod local;
mod main_job;
mod outbox;
mod reference;
mod retries;
mod session;
mod simulation;
mod stories;
mod stuck;
mod support;
mod walls;
mod watcher;
