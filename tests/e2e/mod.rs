//! Against real OpenClaw gateways of both generations, with a scripted model: `gateway/README.md`.
//!
//! The packages come from npm on the first run and stay in `target/e2e` (or `DISPATCH_E2E_DIR`). They run
//! with `DISPATCH_E2E=1 cargo test --locked e2e`; without it, or without npm, each says that it is skipped.

mod chats;
mod commands;
mod deliveries;
mod endings;
mod gateways;
mod refusals;
mod replies;
mod restarts;
mod sessions;
mod steers;
mod sync;
mod transports;
mod wakes;
