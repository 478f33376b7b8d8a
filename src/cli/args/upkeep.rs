//! Flags of the operator's commands: `sync`, `redeliver`, `watcher-handoff`, `doctor`, `completions`.

use clap::Args;

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
#[command(
    after_help = "Exit code 1 when something is wrong; a warning alone is none.\n\nExample:\n  dispatch doctor --repair"
)]
pub struct DoctorArgs {
    /// Mend what is safe to mend, and say what was done; a broken ledger is kept aside
    #[arg(long)]
    pub repair: bool,
    /// Tell people, too, of each thing that is fine
    #[arg(long, short)]
    pub verbose: bool,
}

/// Flags of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}
