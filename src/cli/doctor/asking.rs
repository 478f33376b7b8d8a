//! Asking another program something, for a moment.

use std::process::Command;
use std::time::Duration;

use crate::process::output_within;

/// A program that takes longer is left.
const LIMIT: Duration = Duration::from_secs(3);

/// A longer answer is none.
const MOST_BYTES: u64 = 1024 * 1024;

/// What the program printed on stdout, whatever it ended with; `None` where it is not here or does not answer.
pub(super) fn ask(program: &str, words: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    let answer = output_within(command.args(words), LIMIT, MOST_BYTES).ok()??;
    Some(answer.stdout)
}
