//! A connection that is made while whoever asked for it gets the call ready.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::{Client, Endpoint, GatewayError};

/// A gateway that is letting us in, or has. Dropping it does not wait.
pub struct Connecting {
    asked: Option<JoinHandle<Result<Client, GatewayError>>>,
    client: Option<Client>,
}

impl Connecting {
    /// Begins to connect, as [`Client::connect`] does.
    pub fn start(endpoint: Endpoint, limit: Duration) -> Self {
        let asked = thread::spawn(move || Client::connect(&endpoint, limit));
        Self {
            asked: Some(asked),
            client: None,
        }
    }

    /// The connection, which is waited for.
    ///
    /// # Errors
    /// As [`Client::connect`]; a connection that was not made is [`GatewayError::Broken`] from then on.
    pub fn client(&mut self) -> Result<&mut Client, GatewayError> {
        if let Some(asked) = self.asked.take() {
            let asked = asked
                .join()
                .unwrap_or_else(|e| std::panic::resume_unwind(e));
            self.client = Some(asked?);
        }
        let broken = || GatewayError::Broken("it was never made".to_owned());
        self.client.as_mut().ok_or_else(broken)
    }
}
