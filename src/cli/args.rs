//! The command line of `dispatch`. The doc comments here are the help texts.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::Styles;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::duration::parse_seconds;

/// Hand work to AI agent sessions, keep a ledger of them, watch each to its end and read its result.
#[derive(Debug, Parser)]
#[command(
    name = "dispatch",
    version,
    styles = Styles::plain(),
    disable_help_subcommand = true,
    disable_help_flag = true,
    after_help = "Example:\n  dispatch enqueue --label hello --message 'Say hi' --wait -- sh -c 'cat; echo and hi'\n  dispatch result --label hello"
)]
pub struct Cli {
    /// How to print: JSON off a terminal, a table on one, unless said otherwise
    #[arg(
        long,
        global = true,
        env = "DISPATCH_OUTPUT",
        hide_env = true,
        value_enum,
        default_value = "auto",
        display_order = 900
    )]
    pub output: OutputChoice,
    /// Print JSON (short for --output json)
    #[arg(long, global = true, display_order = 901)]
    pub json: bool,
    /// Print help
    #[arg(short, long, global = true, action = ArgAction::HelpShort, display_order = 902)]
    pub help: Option<bool>,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputChoice {
    /// A table on a terminal, JSON elsewhere
    Auto,
    /// Always a table
    Table,
    /// Always JSON
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Hand work to a new session and return at once
    Enqueue(Box<EnqueueArgs>),
    /// Send a message into a running session (steer is another name for it)
    #[command(alias = "steer")]
    Send(SendArgs),
    /// Show where a label stands
    Status(LabelArgs),
    /// Print a label's result
    Result(ResultArgs),
    /// Tell whether a session is alive: updated within ten minutes
    Heartbeat(HeartbeatArgs),
    /// List labels, newest first
    List(ListArgs),
    /// Wait until labels have ended
    Wait(WaitArgs),
    /// Show a session's transcript
    Logs(LogsArgs),
    /// Stop a running label
    Cancel(CancelArgs),
    /// Signal that the work of a label is complete (called by the agent itself)
    Done(DoneArgs),
    /// Send a progress message to a label's delivery target
    Note(NoteArgs),
    /// Reconcile the ledger with the sessions that there are
    Sync(SyncArgs),
    /// Send deliveries now that were given up or wait for their next try
    Redeliver(RedeliverArgs),
    /// Have a fresh watcher take over, after an upgrade say
    WatcherHandoff(HandoffArgs),
    /// Check the state directory and say what to do
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print the manual page
    Man,
    /// Carry a local run (started by dispatch itself)
    #[command(hide = true)]
    LocalRunner(RunArgs),
    /// Wait for a local run's command (started by dispatch itself)
    #[command(hide = true)]
    LocalWaiter(RunArgs),
}

/// A directory of a run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The run's directory
    pub dir: PathBuf,
}

/// One label.
#[derive(Debug, Args)]
pub struct LabelArgs {
    /// The label
    #[arg(long, allow_hyphen_values = true)]
    pub label: String,
}

/// How a session is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// A new session
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeliveryModeChoice {
    /// The result or the final failure
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
#[derive(Debug, Args)]
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
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dispatch enqueue --label notes --message 'Sum up notes.txt' -- claude -p"
)]
pub struct EnqueueArgs {
    /// Name of the work; one running session a label
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
    /// Credentials, or "inherit" (a command: DISPATCH_AUTH_PROFILE)
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
    /// A session without progress for so long has stalled
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
    /// Delivery target on the channel, or @ALIAS
    #[arg(long, value_name = "TARGET", allow_hyphen_values = true)]
    pub deliver_to: Option<String>,
    /// Channel of the delivery target
    #[arg(long, value_name = "CHANNEL", allow_hyphen_values = true)]
    pub deliver_channel: Option<String>,
    /// What the delivery target is told
    #[arg(long, value_enum, default_value = "announce")]
    pub delivery_mode: DeliveryModeChoice,
    /// Nobody is to be told of the result (and why): no delivery target is needed or looked for
    #[arg(long, value_name = "REASON", num_args = 0..=1, default_missing_value = "")]
    pub no_monitor: Option<String>,
    /// Shell command that checks the result before the label is done; the text is on its stdin
    #[arg(long, value_name = "CMD", allow_hyphen_values = true)]
    pub verify_cmd: Option<String>,
    /// Where it runs; a COMMAND implies local
    #[arg(long, value_enum)]
    pub backend: Option<BackendChoice>,
    /// Session that asked for the work and is woken at its end
    #[arg(long, value_name = "SESSION_KEY", value_parser = parse_requester, allow_hyphen_values = true)]
    pub requester: Option<String>,
    /// Repeating a call under the same key returns the first answer
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
    /// The command to run, after --
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Flags of `heartbeat`.
#[derive(Debug, Args)]
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

/// Flags of `send`.
#[derive(Debug, Args)]
#[command(
    after_help = "The answer says what became of it: injected, queued, interrupted, started, or pending.\n\nExample:\n  dispatch send --label notes --message 'Leave out the appendix'"
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
    /// Stop the running turn, instead of joining it
    #[arg(long)]
    pub interrupt: bool,
    /// Wait for the end and print the result
    #[arg(long)]
    pub wait: bool,
}

/// Flags of `result`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dispatch result --label notes --full")]
pub struct ResultArgs {
    /// The label
    #[arg(long, allow_hyphen_values = true)]
    pub label: String,
    /// The whole text, however long
    #[arg(long, conflicts_with = "path")]
    pub full: bool,
    /// Only the path of the file that holds the whole text
    #[arg(long)]
    pub path: bool,
    /// An older generation of the label
    #[arg(long, value_name = "N", value_parser = parse_generation, allow_hyphen_values = true)]
    pub generation: Option<u64>,
}

/// Flags of `list`.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only labels with this status
    #[arg(long, allow_hyphen_values = true)]
    pub status: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = parse_count, allow_hyphen_values = true)]
    pub limit: usize,
    /// No limit
    #[arg(long)]
    pub all: bool,
}

/// Flags of `wait`.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit code: 0 all done, 1 any other end, 4 time-out.\n\nExample:\n  dispatch wait notes review --timeout 20m"
)]
pub struct WaitArgs {
    /// The labels
    #[arg(value_name = "LABEL", required_unless_present = "all")]
    pub labels: Vec<String>,
    /// Every label that is running now
    #[arg(long, conflicts_with = "labels")]
    pub all: bool,
    /// Return as soon as one has ended
    #[arg(long)]
    pub any: bool,
    /// Give up after this time (seconds, or a text such as 20m)
    #[arg(long, value_parser = parse_seconds, allow_hyphen_values = true)]
    pub timeout: Option<Duration>,
}

/// Flags of `logs`.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The label
    #[arg(long, allow_hyphen_values = true)]
    pub label: String,
    /// Go on printing until the label has ended
    #[arg(short, long)]
    pub follow: bool,
    /// The transcript's own lines
    #[arg(long, conflicts_with = "stderr")]
    pub raw: bool,
    /// The command's stderr
    #[arg(long)]
    pub stderr: bool,
}

/// Flags of `cancel`.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The label
    #[arg(long, allow_hyphen_values = true)]
    pub label: String,
    /// Why; kept in the ledger
    #[arg(long, allow_hyphen_values = true)]
    pub reason: Option<String>,
}

/// Flags of `done`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dispatch done --label notes --summary 'All summed up' --checklist '{\"work_complete\":true}'"
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
    /// Commit that holds the work
    #[arg(long, allow_hyphen_values = true)]
    pub sha: Option<String>,
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

/// Flags of `sync`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dispatch sync --dry-run")]
pub struct SyncArgs {
    /// Only say what would be changed
    #[arg(long)]
    pub dry_run: bool,
    /// Leave sub-agent sessions alone that no label names
    #[arg(long)]
    pub no_import: bool,
}

/// Flags of `redeliver`.
#[derive(Debug, Args)]
pub struct RedeliverArgs {
    /// The label
    #[arg(long, allow_hyphen_values = true, required_unless_present = "all")]
    pub label: Option<String>,
    /// Every label
    #[arg(long, conflicts_with = "label")]
    pub all: bool,
}

/// Flags of `watcher-handoff`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dispatch watcher-handoff --all")]
pub struct HandoffArgs {
    /// The label
    #[arg(long, allow_hyphen_values = true, required_unless_present = "all")]
    pub label: Option<String>,
    /// Every label that runs or owes a delivery
    #[arg(long, conflicts_with = "label")]
    pub all: bool,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Mend a damaged ledger; the broken file is kept aside
    #[arg(long)]
    pub repair: bool,
}

/// Flags of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

fn parse_requester(text: &str) -> Result<String, String> {
    let key = text.trim();
    match key.is_empty() || key.chars().any(char::is_control) {
        true => Err("give a session key, such as agent:main:main".to_owned()),
        false => Ok(key.to_owned()),
    }
}

fn parse_count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("\"{text}\" is no count; give a whole number from 1, or --all"))
}

fn parse_generation(text: &str) -> Result<u64, String> {
    let number = text.parse();
    number.map_err(|_| {
        format!("\"{text}\" is no generation; give the number that 'dispatch status' shows")
    })
}
