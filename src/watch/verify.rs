//! The operator's verify command: run in the label's working directory before a result is called done.
//!
//! The result's text is on its stdin; nothing of it is ever part of the command line.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::machine::Verify;
use crate::process::{Signal, close_inherited_on_exec, signal_group};

/// A verify command that takes longer has failed.
pub const TIME_OUT: Duration = Duration::from_secs(600);

/// The most bytes of its output that go into the notice.
const MAX_OUTPUT_BYTES: u64 = 1500;

/// What is verified, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The operator's command, for `sh -c`.
    pub command: &'a str,
    /// Where it runs.
    pub cwd: &'a Path,
    /// The file with the result's text.
    pub text: Option<&'a Path>,
    /// The label.
    pub label: &'a str,
}

/// A verify command under way.
#[derive(Debug)]
pub struct Verification {
    child: Child,
    command: String,
    stderr: File,
    until: Duration,
}

/// The verify command of one watch, from wanted to its verdict.
#[derive(Debug, Default)]
pub struct Checker {
    under_way: Option<Verification>,
    verdict: Option<Verdict>,
}

impl Checker {
    /// How far it is. `now` is monotonic.
    pub fn sight(&mut self, command: Option<&str>, now: Duration) -> Verify {
        if command.is_none() {
            return Verify::NotWanted;
        }
        if let Some(verification) = &mut self.under_way {
            match verification.poll(now) {
                Ok(None) => return Verify::UnderWay,
                Ok(Some(verdict)) => self.verdict = Some(verdict),
                Err(e) => {
                    let why = format!("the verify command was lost: {e}");
                    self.verdict = Some(Verdict::Rejected(why));
                }
            }
            self.under_way = None;
        }
        match &self.verdict {
            None => Verify::Wanted,
            Some(Verdict::Passed) => Verify::Passed,
            Some(Verdict::Rejected(why)) => Verify::Rejected(why.clone()),
        }
    }

    /// Starts it. One that cannot be started has rejected the result.
    pub fn start(&mut self, subject: &Subject<'_>, now: Duration) {
        match Verification::start(subject, now) {
            Ok(verification) => self.under_way = Some(verification),
            Err(e) => {
                let place = subject.cwd.display();
                let why = format!("the verify command cannot be run in {place}: {e}");
                self.verdict = Some(Verdict::Rejected(why));
            }
        }
    }
}

/// What it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The result stands.
    Passed,
    /// It does not; the sentence carries the command and its stderr.
    Rejected(String),
}

impl Verification {
    /// Starts the command. `now` is monotonic.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(subject: &Subject<'_>, now: Duration) -> io::Result<Self> {
        close_inherited_on_exec();
        let stdin = match subject.text.map(File::open) {
            Some(Ok(file)) => Stdio::from(file),
            _ => Stdio::null(),
        };
        let stderr = tempfile::tempfile()?;
        let child = Command::new("/bin/sh")
            .args(["-c", subject.command])
            .current_dir(subject.cwd)
            .env("DISPATCH_LABEL", subject.label)
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::from(stderr.try_clone()?))
            .process_group(0)
            .spawn()?;
        Ok(Self {
            child,
            command: subject.command.to_owned(),
            stderr,
            until: now + TIME_OUT,
        })
    }

    /// The verdict, once there is one. A command that takes too long is ended.
    ///
    /// # Errors
    /// When the command cannot be waited for.
    pub fn poll(&mut self, now: Duration) -> io::Result<Option<Verdict>> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(Some(match status.success() {
                true => Verdict::Passed,
                false => {
                    let said = self.said();
                    Verdict::Rejected(format!(
                        "the verify command `{}` ended with {status}: {said}",
                        self.command
                    ))
                }
            }));
        }
        if now < self.until {
            return Ok(None);
        }
        signal_group(self.child.id(), Signal::KILL)?;
        self.child.wait()?;
        let limit = TIME_OUT.as_secs();
        Ok(Some(Verdict::Rejected(format!(
            "the verify command `{}` took longer than {limit} s and was ended",
            self.command
        ))))
    }

    fn said(&mut self) -> String {
        let mut bytes = Vec::new();
        let _ = self.stderr.seek(SeekFrom::Start(0)).and_then(|_| {
            (&self.stderr)
                .take(MAX_OUTPUT_BYTES)
                .read_to_end(&mut bytes)
        });
        String::from_utf8_lossy(&bytes).trim().to_owned()
    }
}

impl Drop for Verification {
    /// A watcher that leaves takes its verify command with it; the next watcher runs it again.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = signal_group(self.child.id(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}
