//! The OpenClaw gateway: where it is, its wire protocol, and a blocking client.
//!
//! A client is one connection; calls on it are answered in any order and matched by id. It promises a bound on every
//! wait. It does not reconnect: whoever holds it decides when to try again.

mod client;
mod discovery;
mod error;
mod frame;
mod observation;

pub use client::{Client, Generation};
pub use discovery::{Configured, Endpoint, Secret, configured, discover};
pub use error::GatewayError;
pub use frame::{Frame, Refused};
