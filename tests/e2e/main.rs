//! Against real OpenClaw gateways of both generations, with a scripted model: `gateway/README.md`.
//!
//! A binary of its own, so that `cargo test` runs it after the others and the gateways are at work beside no other test.
//! Where npm is, it runs; the packages come from there on the first run and stay in `target/e2e` (or `DISPATCH_E2E_DIR`).
//! `DISPATCH_E2E=0` leaves it out. Without npm each test says that it is skipped, and with `DISPATCH_E2E=1` fails.

mod chats;
mod commands;
mod contract;
mod deliveries;
mod endings;
mod foreign;
mod gateways;
mod listener;
mod refusals;
mod replies;
mod restarts;
mod retries;
mod sessions;
mod signals;
mod steers;
mod stuck;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "the other tests use more of it")]
mod support;
mod sync;
mod transports;
mod wakes;
