//! Against real OpenClaw gateways of both generations, with a scripted model: `gateway/README.md`.
//!
//! The packages come from npm on the first run and stay in `target/e2e` (or `DISPATCH_E2E_DIR`). A machine without npm
//! skips these tests.

mod commands;
mod endings;
mod gateways;
mod refusals;
mod replies;
mod restarts;
mod sessions;
