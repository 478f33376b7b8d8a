//! Flags of the operator's commands: `sync`, `redeliver`, `watcher-handoff`, `install-timers`, `retry`, `prune`, `stuck`,
//! `doctor`, `completions`.

use std::time::Duration;

use std::path::PathBuf;

use clap::Args;

use crate::duration::{parse_minutes, parse_seconds};

/// Flags of `sync`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dispatch sync --dry-run")]
pub struct SyncArgs {
    /// Only say what would be changed
    #[arg(long)]
    pub dry_run: bool,
    /// Do not enter sub-agent sessions that no label names
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
    /// Why; it is only repeated in the answer
    #[arg(long, allow_hyphen_values = true)]
    pub reason: Option<String>,
}

/// Flags of `install-timers`.
#[derive(Debug, Args)]
#[command(
    after_help = "Without --cron: timers of systemd's user manager. What will be done is shown first; on a terminal you are asked.\n\nExample:\n  dispatch install-timers --yes\n  dispatch install-timers --cron"
)]
pub struct TimersArgs {
    /// Print crontab lines instead
    #[arg(long, conflicts_with_all = ["remove", "yes"])]
    pub cron: bool,
    /// Take the timers away again
    #[arg(long)]
    pub remove: bool,
    /// Do it without asking
    #[arg(short, long)]
    pub yes: bool,
}

/// Flags of `retry`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dispatch retry --label notes --wait")]
pub struct RetryArgs {
    /// The label; also a pruned one, while its prompt is still stored
    #[arg(long, allow_hyphen_values = true)]
    pub label: String,
    /// Wait for the end and print the result
    #[arg(long)]
    pub wait: bool,
}

/// Flags of `prune`.
#[derive(Debug, Args)]
#[command(
    after_help = "A label that still owes a delivery stays. 'result' and 'list --archived' read the archive.\n\nExample:\n  dispatch prune --older-than 4w --status done --dry-run"
)]
pub struct PruneArgs {
    /// Only this label, however young (repeatable); its files still go by their age
    #[arg(long, allow_hyphen_values = true)]
    pub label: Vec<String>,
    /// Only what ended so long ago (seconds, or 4w) [default: 2w]
    #[arg(long, value_name = "TIME", value_parser = parse_seconds, allow_hyphen_values = true)]
    pub older_than: Option<Duration>,
    /// Only what ended like this: done, error, interrupted or cancelled
    #[arg(long, allow_hyphen_values = true)]
    pub status: Option<String>,
    /// Only say what would go
    #[arg(long)]
    pub dry_run: bool,
}

/// Flags of `stuck`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  dispatch stuck --threshold-min 30 --quiet")]
pub struct StuckArgs {
    /// No silence is too long before this (minutes, or a text such as 90s); labels with --monitor-timeout have their own
    #[arg(long, value_name = "MIN", default_value = "15", value_parser = parse_minutes, allow_hyphen_values = true)]
    pub threshold_min: Duration,
    /// Print nothing when nothing is stuck
    #[arg(long)]
    pub quiet: bool,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
#[command(
    after_help = "Warnings alone leave the exit code at 0; what is wrong makes it 1.\n\nExample:\n  dispatch doctor\n  dispatch doctor --repair"
)]
pub struct DoctorArgs {
    /// Mend what is safe to mend, and say what was done; a broken ledger is kept aside
    #[arg(long)]
    pub repair: bool,
    /// Also show what is fine (JSON always does)
    #[arg(long, short)]
    pub verbose: bool,
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
