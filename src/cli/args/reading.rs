//! Flags of the commands that show what there is: `result`, `list`, `wait`, `logs`.

use std::time::Duration;

use clap::Args;

use super::values::{parse_count, parse_generation};
use crate::duration::parse_seconds;

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
    /// Only the path of the file with the whole text
    #[arg(long)]
    pub path: bool,
    /// An older generation, from the archive
    #[arg(long, value_name = "N", value_parser = parse_generation, allow_hyphen_values = true)]
    pub generation: Option<u64>,
}

/// Flags of `list`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dispatch list --status error --limit 5\n  dispatch list --watch"
)]
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
    /// What has left the ledger: older generations and pruned labels
    #[arg(long, conflicts_with = "watch")]
    pub archived: bool,
    /// With --archived: only this label
    #[arg(long, allow_hyphen_values = true)]
    pub label: Option<String>,
    /// Show it again at each change, until interrupted (JSON: a line each time)
    #[arg(long)]
    pub watch: bool,
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
#[command(after_help = "Example:\n  dispatch logs --label notes -f")]
pub struct LogsArgs {
    /// The label
    #[arg(long, allow_hyphen_values = true)]
    pub label: String,
    /// Go on printing until the label has ended
    #[arg(short, long)]
    pub follow: bool,
    /// The transcript's own lines of JSON
    #[arg(long, conflicts_with = "stderr")]
    pub raw: bool,
    /// What the command wrote to stderr
    #[arg(long)]
    pub stderr: bool,
}
