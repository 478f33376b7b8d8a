//! A program of which only the end and the output matter, within bounds of time and size.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{Signal, close_inherited_on_exec, signal_group};

/// How often a running program is looked at: at once at first, since most take milliseconds.
const FIRST_LOOK: Duration = Duration::from_millis(1);
const LAST_LOOK: Duration = Duration::from_millis(20);

/// What a program came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// It exited with code 0.
    pub success: bool,
    /// What it printed.
    pub stdout: String,
    /// What it complained.
    pub stderr: String,
}

/// Runs a program to its end, in a process group of its own and with an empty stdin. `None` when it took longer than
/// `limit` and was ended with all that it had started.
///
/// # Errors
/// It cannot be started, or printed more than `max_bytes`.
pub fn output_within(
    command: &mut Command,
    limit: Duration,
    max_bytes: u64,
) -> io::Result<Option<Output>> {
    // Files, not pipes: nothing that the program leaves behind can block us.
    let stdout = tempfile::tempfile()?;
    let stderr = tempfile::tempfile()?;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(stdout.try_clone()?))
        .stderr(Stdio::from(stderr.try_clone()?));
    let Some(status) = status_within(command, limit)? else {
        return Ok(None);
    };
    Ok(Some(Output {
        success: status.success(),
        stdout: read(stdout, max_bytes)?,
        stderr: read(stderr, max_bytes)?,
    }))
}

/// Runs a program to its end, in a process group of its own, with the streams that the command has: files, lest somebody
/// who inherits a pipe blocks us. `None` when it took longer than `limit` and was ended with all that it had started.
///
/// # Errors
/// It cannot be started or waited for.
pub fn status_within(command: &mut Command, limit: Duration) -> io::Result<Option<ExitStatus>> {
    close_inherited_on_exec();
    let mut child = command.process_group(0).spawn()?;
    let end = Instant::now() + limit;
    let mut look = FIRST_LOOK;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            signal_group(child.id(), Signal::KILL)?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(look);
        look = (look * 2).min(LAST_LOOK);
    }
}

/// A stdin that holds what `write` writes: a program that reads nothing cannot block us.
///
/// # Errors
/// When it cannot be written.
pub fn stdin_of(write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<Stdio> {
    let mut input = tempfile::tempfile()?;
    write(&mut input)?;
    input.seek(SeekFrom::Start(0))?;
    Ok(Stdio::from(input))
}

fn read(mut file: File, max_bytes: u64) -> io::Result<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!(
            "it printed more than {max_bytes} bytes"
        )));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn what_it_printed_and_how_it_ended_come_back() {
        let ended = output_within(
            &mut shell("cat; echo a; echo b >&2; exit 3"),
            Duration::from_secs(60),
            10,
        );
        let output = ended.expect("it starts").expect("it ends");
        assert_eq!(
            (
                output.success,
                output.stdout.as_str(),
                output.stderr.as_str()
            ),
            (false, "a\n", "b\n")
        );
    }

    #[test]
    fn what_it_is_given_it_reads() {
        let stdin = stdin_of(|input| input.write_all(b"7")).expect("writable");
        let mut command = shell("read code; exit $code");
        let ended = status_within(command.stdin(stdin), Duration::from_secs(60));
        let status = ended.expect("it starts").expect("it ends");
        assert_eq!(status.code(), Some(7));
    }

    #[test]
    fn one_that_hangs_is_ended_with_its_children() {
        let mut command = shell("sleep 600 & wait");
        let ended = output_within(&mut command, Duration::from_millis(50), 10);
        assert_eq!(ended.expect("it starts"), None);
    }

    #[test]
    fn one_that_prints_without_end_is_refused() {
        let ended = output_within(&mut shell("echo 12345678901"), Duration::from_secs(60), 10);
        assert!(ended.is_err());
    }
}
