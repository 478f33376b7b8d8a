//! Calls through the `openclaw` program, for gateways that this client cannot pair with.
//!
//! Each call is a process of its own (`openclaw gateway call METHOD --json --params ... --timeout ...`) and takes seconds. The
//! secret goes in the environment. There are no events. A call that was not answered in time may have been made.

use std::cell::OnceCell;
use std::io;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::cli_answer::{Made, Printed, answer};
use super::{Cli, Endpoint, GatewayError, Generation, Secret};
use crate::process::output_within;

/// What the program may need beside the gateway's own time: it is large, and starts slowly on a busy machine.
const PROGRAM_LIMIT: Duration = Duration::from_secs(60);

/// The most bytes of parameters: an argument of a process is limited to 128 KiB.
const MAX_PARAMS_BYTES: usize = 120 * 1024;

/// The most bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;

/// How long the gateway may take to tell what it is.
const HEALTH_LIMIT: Duration = Duration::from_secs(30);

/// A gateway that is called through the program.
pub(super) struct CliClient {
    endpoint: Endpoint,
    cli: Cli,
    generation: OnceCell<Generation>,
}

impl CliClient {
    /// A gateway that was reached before, or is found out by the first call.
    ///
    /// # Errors
    /// As any call, when the program was never let in by a gateway.
    pub(super) fn open(
        endpoint: &Endpoint,
        cli: &Cli,
        limit: Duration,
    ) -> Result<Self, GatewayError> {
        let client = Self {
            endpoint: endpoint.clone(),
            cli: cli.clone(),
            generation: OnceCell::new(),
        };
        if !cli.paired_mark.exists() {
            // The older generation gives the program for ever the scope that its very first call asks for. This one asks
            // for the widest and does nothing: it names no job.
            match client.call("cron.remove", &json!({}), limit) {
                Err(GatewayError::Refused { refused, .. }) if !refused.wants_pairing() => {}
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        Ok(client)
    }

    /// As [`CliClient::open`], and makes sure that the gateway is there.
    ///
    /// # Errors
    /// As any call.
    pub(super) fn connect(
        endpoint: &Endpoint,
        cli: &Cli,
        limit: Duration,
    ) -> Result<Self, GatewayError> {
        let client = Self::open(endpoint, cli, limit)?;
        client.ask_generation(limit)?;
        Ok(client)
    }

    /// Asked for once. Where the gateway does not answer it is the older one, which is waited for longer.
    pub(super) fn generation(&self) -> Generation {
        let known = self.generation.get().copied();
        known
            .or_else(|| self.ask_generation(HEALTH_LIMIT).ok())
            .unwrap_or(Generation::Files)
    }

    fn ask_generation(&self, limit: Duration) -> Result<Generation, GatewayError> {
        let health = self.call("health", &json!({}), limit)?;
        let store = health.pointer("/sessions/path").and_then(Value::as_str);
        let generation = match store.is_some_and(|path| path.ends_with(".sqlite")) {
            true => Generation::Database,
            false => Generation::Files,
        };
        Ok(*self.generation.get_or_init(|| generation))
    }

    /// Calls a method and waits for its first answer, at most `limit` and the program's own time.
    ///
    /// # Errors
    /// The gateway's refusal; no answer in time; a program that cannot be started or says nothing.
    pub(super) fn call(
        &self,
        method: &str,
        params: &Value,
        limit: Duration,
    ) -> Result<Value, GatewayError> {
        self.takes(method, params)?;
        let params = params.to_string();
        let mut command = self.command(method, &params, limit);
        let ended = output_within(&mut command, limit + PROGRAM_LIMIT, MAX_ANSWER_BYTES)
            .map_err(|e| self.unusable(&e))?;
        let Some(ended) = ended else {
            return Err(GatewayError::TimedOut {
                method: method.to_owned(),
                limit,
            });
        };
        let made = Made {
            method,
            url: &self.endpoint.url,
            limit,
        };
        let printed = Printed {
            success: ended.success,
            stdout: &ended.stdout,
            stderr: &self.without_secret(ended.stderr),
        };
        answer(made, printed)
    }

    /// Whether a call with these parameters can be made.
    ///
    /// # Errors
    /// The refusal that making it would come to.
    pub(super) fn takes(&self, method: &str, params: &Value) -> Result<(), GatewayError> {
        let bytes = params.to_string().len();
        match bytes > MAX_PARAMS_BYTES {
            true => Err(GatewayError::too_large(
                method,
                bytes,
                MAX_PARAMS_BYTES,
                ", or set gateway.transport to \"websocket\": this is the most that goes through the openclaw program",
            )),
            false => Ok(()),
        }
    }

    fn command(&self, method: &str, params: &str, limit: Duration) -> Command {
        let mut command = Command::new(&self.cli.program);
        command
            .args(["gateway", "call", method, "--json", "--params", params])
            .arg("--timeout")
            .arg(limit.as_millis().max(1).to_string())
            .env("NO_COLOR", "1");
        match &self.endpoint.secret {
            Secret::Token(token) => command.env("OPENCLAW_GATEWAY_TOKEN", token),
            Secret::Password(password) => command.env("OPENCLAW_GATEWAY_PASSWORD", password),
            Secret::None => &mut command,
        };
        command
    }

    fn unusable(&self, error: &io::Error) -> GatewayError {
        GatewayError::Configuration(format!(
            "cannot run the openclaw program {}: {error}; install it, or name it in gateway.cli of the configuration",
            self.cli.program.display()
        ))
    }

    fn without_secret(&self, text: String) -> String {
        match &self.endpoint.secret {
            Secret::Token(secret) | Secret::Password(secret) if !secret.is_empty() => {
                text.replace(secret.as_str(), "***")
            }
            _ => text,
        }
    }
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
