//! Asking another program something, for a moment.

use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::process::{Signal, signal_group};

/// A program that takes longer is left.
const LIMIT: Duration = Duration::from_secs(3);

/// No more of an answer is read than this.
const MOST_BYTES: u64 = 1024 * 1024;

/// What the program printed on stdout, whatever it ended with; `None` where it is not here or does not answer.
pub(super) fn ask(program: &str, words: &[&str]) -> Option<String> {
    // A file, not a pipe: somebody who inherits it cannot keep us waiting.
    let mut answer = tempfile::tempfile().ok()?;
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::from(answer.try_clone().ok()?))
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .ok()?;
    let end = Instant::now() + LIMIT;
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= end {
            let _ = signal_group(child.id(), Signal::KILL);
            let _ = child.wait();
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
    let mut text = Vec::new();
    answer.seek(SeekFrom::Start(0)).ok()?;
    answer.take(MOST_BYTES).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(&text).into_owned())
}
