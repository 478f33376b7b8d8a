//! Flags of the operator's commands: `sync`, `redeliver`, `watcher-handoff`, `doctor`, `completions`.

use std::path::PathBuf;

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
#[command(after_help = "Example:\n  dispatch redeliver --label notes")]
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
#[command(after_help = "Example:\n  dispatch doctor\n  dispatch doctor --repair")]
pub struct DoctorArgs {
    /// Mend a damaged ledger; the broken file is kept aside
    #[arg(long)]
    pub repair: bool,
}

/// Flags of `completions`.
#[derive(Debug, Args)]
#[command(
    after_help = "Labels are completed from the ledger as it is then.\n\nExample (bash: in ~/.bashrc; zsh: a directory of $fpath):\n  eval \"$(dispatch completions bash)\"\n  dispatch completions zsh > ~/.zfunc/_dispatch\n  dispatch completions fish > ~/.config/fish/completions/dispatch.fish"
)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// Flags of `man`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dispatch man | man -l -\n  dispatch man --dir ~/.local/share/man/man1"
)]
pub struct ManArgs {
    /// The program
    #[arg(value_name = "PROGRAM", value_parser = ["dispatch", "watcher", "529-recovery", "stuck-detector"], default_value = "dispatch")]
    pub program: String,
    /// Write the pages of all four programs into this directory
    #[arg(long, conflicts_with = "program")]
    pub dir: Option<PathBuf>,
}

/// What a completion script asks.
#[derive(Debug, Args)]
pub struct CompleteLabelsArgs {
    /// The command whose label is being typed
    pub command: String,
    /// What has been typed of it
    #[arg(default_value = "", allow_hyphen_values = true)]
    pub prefix: String,
}
