//! The command line of `dispatch`. The doc comments here are the help texts.

mod enqueue;
mod older;
mod reading;
mod session;
mod upkeep;
mod values;

use std::path::PathBuf;

use clap::builder::Styles;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

pub use self::enqueue::{
    BackendChoice, DeliveryModeChoice, EnqueueArgs, Mode, PromptArgs, Thinking,
};
pub use self::older::OlderFlags;
pub use self::reading::{ListArgs, LogsArgs, ResultArgs, WaitArgs};
pub use self::session::{CancelArgs, DoneArgs, HeartbeatArgs, NoteArgs, SendArgs};
pub use self::upkeep::{
    CompleteLabelsArgs, CompletionsArgs, DoctorArgs, HandoffArgs, ManArgs, PruneArgs,
    RedeliverArgs, RetryArgs, StuckArgs, SyncArgs, TimersArgs,
};
pub use self::values::parse_generation;

/// Says how all calls print that have no flag for it.
pub const OUTPUT_VARIABLE: &str = "DISPATCH_OUTPUT";

/// Hand work to AI agent sessions, keep a ledger of them, watch each to its end and read its result.
#[derive(Debug, Parser)]
#[command(
    name = "dispatch",
    version,
    styles = Styles::plain(),
    disable_help_subcommand = true,
    disable_help_flag = true,
    after_help = "Example:\n  dispatch enqueue --label hello --message 'Say hi' --wait -- cat\n  dispatch result --label hello"
)]
pub struct Cli {
    /// How to print; auto is a table on a terminal and JSON elsewhere
    #[arg(
        long,
        global = true,
        env = OUTPUT_VARIABLE,
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
#[command(defer = true)]
pub enum Command {
    /// Hand work to a new session and return at once
    Enqueue(Box<EnqueueArgs>),
    /// Send a message into a running session
    #[command(visible_alias = "steer")]
    Send(SendArgs),
    /// Show everything about a label
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
    /// Show silent sessions, hanging watchers and deliveries that were given up; exit code 1 when there are any
    Stuck(StuckArgs),
    /// Bring the ledger up to date with the sessions
    Sync(SyncArgs),
    /// Send now what was given up or waits for its next try
    Redeliver(RedeliverArgs),
    /// Have a fresh watcher take over, for example after an upgrade
    WatcherHandoff(HandoffArgs),
    /// Have 529-recovery and stuck-detector run by timers
    InstallTimers(TimersArgs),
    /// Do the work of an ended label again: same prompt, command, settings
    Retry(RetryArgs),
    /// Move labels that ended long ago into the archive, and remove their files
    Prune(PruneArgs),
    /// Check the state directory and say what to do
    Doctor(DoctorArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
    /// Print a program's manual page
    Man(ManArgs),
    /// Print the labels that a command may be given (called by completion scripts)
    #[command(hide = true)]
    CompleteLabels(CompleteLabelsArgs),
    /// Carry a local run (started by dispatch itself)
    #[command(hide = true)]
    LocalRunner(RunArgs),
    /// Send the events that are news (started by dispatch itself)
    #[command(hide = true)]
    SendEvents,
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
#[command(after_help = "Example:\n  dispatch status --label notes")]
pub struct LabelArgs {
    /// The label
    #[arg(long, allow_hyphen_values = true)]
    pub label: String,
}
