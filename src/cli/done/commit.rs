//! Looking a commit up in a repository.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::guards::Lookup;
use crate::process::output_within;

/// git answers from the disk; on a slow one nobody waits longer for it.
const LIMIT: Duration = Duration::from_secs(5);

/// The most bytes of its complaints.
const MAX_BYTES: u64 = 64 * 1024;

/// Whether the repository that `dir` is in has a commit of this name, which is hex digits and nothing else.
pub fn look_up(dir: &Path, sha: &str) -> Lookup {
    if !dir.is_dir() {
        return Lookup::Unknown("there is no such directory".to_owned());
    }
    match git(dir, &["cat-file", "-e", &format!("{sha}^{{commit}}")]) {
        Ok(_) => Lookup::Found,
        Err(Refusal::Unusable(why)) => Lookup::Unknown(why),
        // It says the same of a commit that is not there and of a repository that it does not find or trust.
        Err(Refusal::Complaint) => match git(dir, &["rev-parse", "--git-dir"]) {
            Ok(_) => Lookup::Missing,
            Err(Refusal::Unusable(why)) => Lookup::Unknown(why),
            Err(Refusal::Complaint) => {
                Lookup::Unknown("git sees no repository there that it trusts".to_owned())
            }
        },
    }
}

/// Why git has not done what it was asked for.
enum Refusal {
    /// It ended with an error.
    Complaint,
    /// It could not be asked.
    Unusable(String),
}

fn git(dir: &Path, words: &[&str]) -> Result<(), Refusal> {
    let mut command = Command::new("git");
    command.arg("-C").arg(dir).args(words);
    // A hook or an alias that calls us has variables that name another repository.
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"GIT_") {
            command.env_remove(name);
        }
    }
    // What is missing is not fetched, and nobody is asked for a password.
    command
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_OPTIONAL_LOCKS", "0");
    match output_within(&mut command, LIMIT, MAX_BYTES) {
        Ok(Some(output)) if output.success => Ok(()),
        Ok(Some(_)) => Err(Refusal::Complaint),
        Ok(None) => Err(Refusal::Unusable(format!(
            "git did not answer within {} s",
            LIMIT.as_secs()
        ))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(Refusal::Unusable("git is not installed".to_owned()))
        }
        Err(e) => Err(Refusal::Unusable(format!("git cannot be run: {e}"))),
    }
}
