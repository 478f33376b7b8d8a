//! The OpenClaw gateway: where it is, its wire protocol, and a blocking client.
//!
//! A client calls over a WebSocket, or through the `openclaw` program where the configuration says so. It promises a bound on every
//! wait. It does not reconnect: whoever holds it decides when to try again.

mod cli;
mod cli_answer;
mod client;
mod connecting;
mod discovery;
mod error;
mod frame;
mod observation;
mod socket;

pub use client::{Client, Generation};
pub use connecting::Connecting;
pub use discovery::{Cli, Configured, Endpoint, Secret, Transport, configured, endpoint};
pub use error::GatewayError;
pub use frame::{Frame, Refused};
