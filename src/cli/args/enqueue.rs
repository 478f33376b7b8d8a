//! Flags of `enqueue`, and where prompts come from.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::OlderFlags;
use crate::cron;
use crate::duration::{parse_minutes, parse_seconds};

/// How a session is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// A new session
    #[default]
    Fresh,
    /// The label's last session goes on
    Reuse,
}

/// Where a session runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// A command on this machine
    Local,
    /// An OpenClaw gateway
    Openclaw,
}

/// What is told to the delivery target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum DeliveryModeChoice {
    /// The result or the final failure
    #[default]
    Announce,
    /// Also the start and each retry
    AnnounceAlways,
    /// Nothing
    None,
}

/// How hard the model should think.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Thinking {
    /// A little
    Low,
    /// Some
    Medium,
    /// Much
    High,
    /// Very much
    Xhigh,
    /// Not at all
    Off,
}

/// Where a prompt comes from: one of these, or a pipe.
#[derive(Debug, Default, Args)]
pub struct PromptArgs {
    /// The prompt
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub message: Option<String>,
    /// Read the prompt from a file (- is stdin)
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    pub message_file: Option<PathBuf>,
    /// Read the prompt from an environment variable
    #[arg(long, value_name = "VAR", allow_hyphen_values = true)]
    pub message_env: Option<String>,
    /// Read the prompt from stdin
    #[arg(long)]
    pub message_stdin: bool,
}

/// Flags of `enqueue`.
#[derive(Debug, Default, Args)]
#[command(
    after_help = "Example:\n  dispatch enqueue --label notes --message 'Sum up notes.txt' -- claude -p"
)]
pub struct EnqueueArgs {
    /// Name of the work; it runs once at a time
    #[arg(long, allow_hyphen_values = true)]
    pub label: String,
    /// The prompt's sources
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Agent that the session belongs to
    #[arg(long, default_value = "main", allow_hyphen_values = true)]
    pub agent: String,
    /// Model; a local command finds it in DISPATCH_MODEL
    #[arg(long, allow_hyphen_values = true)]
    pub model: Option<String>,
    /// Credentials to use, or "inherit": the main session's (a command: DISPATCH_AUTH_PROFILE)
    #[arg(long, value_name = "PROFILE", allow_hyphen_values = true)]
    pub auth_profile: Option<String>,
    /// Model tried once when the model's side fails
    #[arg(long, value_name = "MODEL", allow_hyphen_values = true)]
    pub fallback_model: Option<String>,
    /// Credentials tried once when the model's side fails
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    pub fallback_auth_profile: Option<String>,
    /// Thinking level; a local command finds it in DISPATCH_THINKING
    #[arg(long, value_enum)]
    pub thinking: Option<Thinking>,
    /// Stop it after this time (seconds, or a text such as 20m)
    #[arg(long, value_parser = parse_seconds, allow_hyphen_values = true)]
    pub timeout: Option<Duration>,
    /// Stop it when it shows no progress for so long
    #[arg(long, value_name = "TIME", value_parser = parse_seconds, allow_hyphen_values = true)]
    pub idle_threshold: Option<Duration>,
    /// A new session, or the label's last one again
    #[arg(long, value_enum, default_value = "fresh")]
    pub mode: Mode,
    /// Key of the session to use
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub session_key: Option<String>,
    /// Where the request came from, as CHANNEL:TARGET
    #[arg(long, allow_hyphen_values = true)]
    pub origin: Option<String>,
    /// Who gets the result: a chat's id, webhook:NAME, command:NAME or @ALIAS
    #[arg(long, value_name = "TARGET", allow_hyphen_values = true)]
    pub deliver_to: Option<String>,
    /// Channel of the chat (telegram, ...)
    #[arg(long, value_name = "CHANNEL", allow_hyphen_values = true)]
    pub deliver_channel: Option<String>,
    /// What is told: the end; also the start and retries; nothing
    #[arg(long, value_name = "MODE", value_enum, default_value = "announce")]
    pub delivery_mode: DeliveryModeChoice,
    /// Nobody needs to be told of the result (and why): no delivery target is needed or looked for
    #[arg(long, value_name = "REASON", num_args = 0..=1, default_missing_value = "")]
    pub no_monitor: Option<String>,
    /// Cron expression that is recorded for older tools, and without effect
    #[arg(long, value_name = "CRON", value_parser = cron::parse, allow_hyphen_values = true)]
    pub monitor_interval: Option<String>,
    /// Silent for so long, the label counts as stuck (minutes, or 2h)
    #[arg(long, value_name = "MIN", value_parser = parse_minutes, allow_hyphen_values = true)]
    pub monitor_timeout: Option<Duration>,
    /// Shell command that must accept the result before the label is done; the text is on its stdin
    #[arg(long, value_name = "CMD", allow_hyphen_values = true)]
    pub verify_cmd: Option<String>,
    /// Where it runs; a COMMAND implies local
    #[arg(long, value_enum)]
    pub backend: Option<BackendChoice>,
    /// What runs a local session: a registered runtime's id, "command" (the one after --) or "auto" (by the model)
    #[arg(long, value_name = "ID", allow_hyphen_values = true)]
    pub runtime: Option<String>,
    /// Session that asked for the work and is woken at its end
    #[arg(long, value_name = "SESSION_KEY", value_parser = parse_requester, allow_hyphen_values = true)]
    pub requester: Option<String>,
    /// A repeated call with the same key starts nothing and returns the first answer
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub idempotency_key: Option<String>,
    /// Cancel the label's running session first
    #[arg(long)]
    pub replace: bool,
    /// Working directory of the command
    #[arg(long, value_name = "DIR", allow_hyphen_values = true)]
    pub cwd: Option<PathBuf>,
    /// Variable for the command's environment (repeatable)
    #[arg(long, value_name = "K=V", allow_hyphen_values = true)]
    pub env: Vec<String>,
    /// Wait for the end and print the result
    #[arg(long)]
    pub wait: bool,
    /// What older scripts give
    #[command(flatten)]
    pub older: OlderFlags,
    /// The command to run, after --
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

fn parse_requester(text: &str) -> Result<String, String> {
    let key = text.trim();
    match key.is_empty() || key.chars().any(char::is_control) {
        true => Err("give a session key, such as agent:main:main".to_owned()),
        false => Ok(key.to_owned()),
    }
}
