//! Flags of the commands that speak to a session or for it: `send`, `done`, `note`, `cancel`, `heartbeat`.

use clap::Args;

use super::PromptArgs;
use super::values::parse_generation;

/// Flags of `send`.
#[derive(Debug, Args)]
#[command(
    after_help = "The answer says what became of it: injected into the running turn, queued behind it, interrupted (the turn), started (a turn of its own), or pending.\n\nExample:\n  dispatch send --label notes --message 'Leave out the appendix'"
)]
pub struct SendArgs {
    /// The running label
    #[arg(
        long,
        allow_hyphen_values = true,
        required_unless_present = "session_key"
    )]
    pub label: Option<String>,
    /// A session of the gateway, instead of a label
    #[arg(
        long,
        value_name = "KEY",
        allow_hyphen_values = true,
        conflicts_with = "label"
    )]
    pub session_key: Option<String>,
    /// The prompt's sources
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Stop the running turn first, instead of joining it
    #[arg(long)]
    pub interrupt: bool,
    /// Wait for the end and print the result
    #[arg(long)]
    pub wait: bool,
}

/// Flags of `done`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dispatch done --label notes --checklist '{\"work_complete\":true}'"
)]
pub struct DoneArgs {
    /// The label
    #[arg(long, allow_hyphen_values = true)]
    pub label: String,
    /// What was done; delivered as the result
    #[arg(long, allow_hyphen_values = true)]
    pub summary: Option<String>,
    /// Required: a JSON object; work_complete must be true, tests_passed and pushed not false
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    pub checklist: Option<String>,
    /// Commit that holds the work; required if the task orders a git push
    #[arg(long, allow_hyphen_values = true)]
    pub sha: Option<String>,
    /// Let a run pass that is short or has said nothing; this is recorded
    #[arg(long)]
    pub force_done: bool,
    /// Why it is forced; required for a short run
    #[arg(long, allow_hyphen_values = true)]
    pub reason: Option<String>,
    /// Do not count the session's messages: the work was done elsewhere
    #[arg(long)]
    pub skip_activity_check: bool,
    /// The generation that is done (default: DISPATCH_GENERATION within its own session, else the current one)
    #[arg(long, value_name = "N", value_parser = parse_generation, allow_hyphen_values = true)]
    pub generation: Option<u64>,
}

/// Flags of `note`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dispatch note --label notes 'Half way through'")]
pub struct NoteArgs {
    /// The label
    #[arg(long, allow_hyphen_values = true)]
    pub label: String,
    /// The message
    #[arg(value_name = "TEXT", allow_hyphen_values = true)]
    pub text: String,
}

/// Flags of `cancel`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dispatch cancel --label notes --reason 'The file was the wrong one'"
)]
pub struct CancelArgs {
    /// The label
    #[arg(long, allow_hyphen_values = true)]
    pub label: String,
    /// Why; kept in the ledger
    #[arg(long, allow_hyphen_values = true)]
    pub reason: Option<String>,
    /// Only this generation: the one that runs, or an older one whose command lives on
    #[arg(long, value_name = "N", value_parser = parse_generation, allow_hyphen_values = true)]
    pub generation: Option<u64>,
}

/// Flags of `heartbeat`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dispatch heartbeat --label notes")]
pub struct HeartbeatArgs {
    /// The label
    #[arg(
        long,
        allow_hyphen_values = true,
        required_unless_present = "session_key"
    )]
    pub label: Option<String>,
    /// A session, instead of a label
    #[arg(
        long,
        value_name = "KEY",
        allow_hyphen_values = true,
        conflicts_with = "label"
    )]
    pub session_key: Option<String>,
}
