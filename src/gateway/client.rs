//! A gateway that can be called, over whichever transport is configured.

use std::time::Duration;

use serde_json::Value;

use super::cli::CliClient;
use super::socket::Socket;
use super::{Endpoint, GatewayError, Transport};
use crate::failure::Facts;
use crate::session::routing::{Routing, WakeForm};

/// Where a gateway keeps its sessions, which decides how a run's evidence is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// `sessions.json` and JSONL transcripts (up to 2026.7).
    Files,
    /// SQLite (from 2026.8).
    Database,
}

/// A gateway that has let us in.
pub struct Client {
    wire: Wire,
    /// The `session` object of OpenClaw's configuration, for a gateway that does not tell how it routes.
    session: Value,
}

enum Wire {
    Socket(Box<Socket>),
    Cli(Box<CliClient>),
}

impl Client {
    /// Connects. A gateway that is starting is waited for, within `limit`.
    ///
    /// # Errors
    /// Nothing answers, or the gateway refuses.
    pub fn connect(endpoint: &Endpoint, limit: Duration) -> Result<Self, GatewayError> {
        let wire = match &endpoint.transport {
            Transport::WebSocket => Wire::Socket(Box::new(Socket::connect(endpoint, limit)?)),
            Transport::Cli(cli) => Wire::Cli(Box::new(CliClient::connect(endpoint, cli, limit)?)),
        };
        Ok(Self {
            wire,
            session: endpoint.session.clone(),
        })
    }

    /// As [`Client::connect`], for a gateway that was there a while ago: where each call is costly, the next one tells whether
    /// it still is.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub fn reopen(endpoint: &Endpoint, limit: Duration) -> Result<Self, GatewayError> {
        match &endpoint.transport {
            Transport::WebSocket => Self::connect(endpoint, limit),
            Transport::Cli(cli) => Ok(Self {
                wire: Wire::Cli(Box::new(CliClient::open(endpoint, cli, limit)?)),
                session: endpoint.session.clone(),
            }),
        }
    }

    /// Which generation the gateway is.
    pub fn generation(&self) -> Generation {
        match &self.wire {
            Wire::Socket(socket) => socket.generation(),
            Wire::Cli(cli) => cli.generation(),
        }
    }

    /// The gateway's version as it names it; empty where it does not.
    pub fn version(&self) -> &str {
        match &self.wire {
            Wire::Socket(socket) => socket.version(),
            Wire::Cli(_) => "",
        }
    }

    /// Each call is a process of seconds, and there are no events: ask seldom, and wait long.
    pub fn is_costly(&self) -> bool {
        matches!(self.wire, Wire::Cli(_))
    }

    /// How the gateway routes what comes for a session, as far as it tells, else as it is configured.
    pub fn routing(&self) -> Routing {
        let wake = match self.generation() {
            Generation::Files => WakeForm::Session,
            Generation::Database => WakeForm::SessionOrAgent,
        };
        let told = match &self.wire {
            Wire::Socket(socket) => Some(socket.session_defaults()),
            Wire::Cli(_) => None,
        };
        Routing::new(
            told.filter(|told| told.is_object())
                .unwrap_or(&self.session),
            wake,
        )
    }

    /// What the events that came by so far told of a run's last error, in typed fields.
    pub fn observed(&self, run_id: &str) -> Facts {
        match &self.wire {
            Wire::Socket(socket) => socket.observed(run_id),
            Wire::Cli(_) => Facts::default(),
        }
    }

    /// Listens to what this run says from now on, as far as the transport tells.
    pub fn follow(&mut self, run_id: &str) {
        if let Wire::Socket(socket) = &mut self.wire {
            socket.follow(run_id);
        }
    }

    /// What the followed run was saying last; empty where nothing came by.
    pub fn heard(&self, run_id: &str) -> &str {
        match &self.wire {
            Wire::Socket(socket) => socket.heard(run_id),
            Wire::Cli(_) => "",
        }
    }

    /// Whether the gateway takes a call of this length.
    ///
    /// # Errors
    /// The refusal that making it would come to.
    pub fn takes(&self, method: &str, params: &Value) -> Result<(), GatewayError> {
        match &self.wire {
            Wire::Socket(socket) => socket.takes(method, params),
            Wire::Cli(cli) => cli.takes(method, params),
        }
    }

    /// Calls a method and waits for its first answer.
    ///
    /// # Errors
    /// The gateway's refusal; no answer within `limit`; a broken connection. The last two leave it open whether the call
    /// took effect.
    pub fn call(
        &mut self,
        method: &str,
        params: &Value,
        limit: Duration,
    ) -> Result<Value, GatewayError> {
        match &mut self.wire {
            Wire::Socket(socket) => socket.call(method, params, limit),
            Wire::Cli(cli) => cli.call(method, params, limit),
        }
    }
}
