//! The operator's verify command: run in the label's working directory before a result is called done.
//!
//! The result's text is on its stdin; nothing of it is ever part of the command line. Its process is noted in a file
//! while it runs, and it begins when that is written: so the next watcher ends whatever a killed one left.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::changes::signal_of;
use super::machine::Verify;
use crate::process::{
    ProcessIdentity, Signal, close_inherited_on_exec, led_group_alive, signal_group,
};
use crate::record::{Entry, FailureKind, Status};
use crate::storage::{Storage, replace_synced};

/// Becomes the verify command, with the text on stdin, once a line has come. When none does, its watcher is dead.
const WAIT_THEN_VERIFY: &str = r#"read -r _ && exec /bin/sh -c "$1" <"$2""#;

/// How long a killed command may take to be gone, and how often that is looked at.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
const KILL_LOOK: Duration = Duration::from_millis(2);

/// The most bytes of its output that go into the notice.
const MAX_OUTPUT_BYTES: u64 = 1500;

/// What is verified, and for whom.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The operator's command, for `sh -c`.
    pub command: &'a str,
    /// Where it runs.
    pub cwd: &'a Path,
    /// Where programs are looked for; the watcher's own PATH where none is recorded.
    pub path: Option<&'a str>,
    /// The file with the result's text.
    pub text: Option<&'a Path>,
    /// The label.
    pub label: &'a str,
    /// Where its process is noted.
    pub note: &'a Note,
}

/// The file that names the process of a verify command at work.
#[derive(Clone)]
pub struct Note {
    storage: Arc<dyn Storage>,
    path: PathBuf,
}

impl Note {
    /// The note at `path`.
    pub fn new(storage: Arc<dyn Storage>, path: PathBuf) -> Self {
        Self { storage, path }
    }

    fn write(&self, process: &ProcessIdentity) -> io::Result<()> {
        let bytes = serde_json::to_vec(process)?;
        replace_synced(self.storage.as_ref(), &self.path, &bytes)
    }

    /// Ends the verify command that a killed watcher left, with all that it started. The caller holds the post.
    pub fn end_what_was_left(&self) {
        let Ok(bytes) = self.storage.read(&self.path) else {
            return;
        };
        if let Ok(leader) = serde_json::from_slice::<ProcessIdentity>(&bytes) {
            let end = Instant::now() + KILL_PATIENCE;
            while led_group_alive(&leader) && Instant::now() < end {
                let _ = signal_group(leader.pid, Signal::KILL);
                std::thread::sleep(KILL_LOOK);
            }
        }
        self.erase();
    }

    fn erase(&self) {
        let _ = self.storage.remove(&self.path);
    }
}

/// A verify command under way.
pub struct Verification {
    child: Child,
    command: String,
    output: File,
    /// Monotonic time.
    begun: Duration,
    /// Monotonic time since when it is told to stop.
    stopping: Option<Duration>,
    process: Option<ProcessIdentity>,
    note: Note,
}

/// How long a verify command may take.
#[derive(Debug, Clone, Copy)]
pub struct Allowance {
    /// To its verdict.
    pub verdict: Duration,
    /// To its end, once it is told to stop.
    pub stop: Duration,
}

/// The verify command of one watch, from wanted to its verdict.
#[derive(Default)]
pub struct Checker {
    under_way: Option<Verification>,
    verdict: Option<Verdict>,
    /// The signal whose text it was started over; `None` for the run's own reply.
    signal: Option<Value>,
}

impl Checker {
    /// How far it is for an entry. `now` is monotonic. What it said of this generation before, it has said. One that has not
    /// spoken when the label is cancelled is stopped.
    pub fn sight(&mut self, entry: &Entry, now: Duration, allowance: Allowance) -> Verify {
        let failure = entry.failure();
        if let Some(rejected) = failure.filter(|f| f.kind == FailureKind::Verify) {
            return Verify::Rejected(rejected.message);
        }
        if entry.text("verifyCmd").is_none() {
            return Verify::NotWanted;
        }
        if signal_of(entry) != self.signal {
            // A verdict over one text says nothing of another.
            self.under_way = None;
            self.verdict = None;
            self.signal = signal_of(entry);
        }
        let is_cancelled = entry.status() == Status::Running && entry.cancel_requested();
        if let Some(verification) = &mut self.under_way {
            match verification.poll(now, allowance.verdict) {
                Ok(None) if is_cancelled && verification.stop(now, allowance.stop) => {}
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
            None if is_cancelled => Verify::CalledOff,
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
    /// It does not; the sentence carries the command and the end of its output.
    Rejected(String),
}

impl Verification {
    /// Starts the command. `now` is monotonic.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(subject: &Subject<'_>, now: Duration) -> io::Result<Self> {
        close_inherited_on_exec();
        let text = subject.text.filter(|path| File::open(path).is_ok());
        let said = tempfile::tempfile()?;
        let path = subject.path.map(|path| ("PATH", path));
        let mut child = Command::new("/bin/sh")
            .envs(path)
            .args(["-c", WAIT_THEN_VERIFY, "sh", subject.command])
            .arg(text.unwrap_or(Path::new("/dev/null")))
            .current_dir(subject.cwd)
            .env("DISPATCH_LABEL", subject.label)
            .stdin(Stdio::piped())
            .stdout(Stdio::from(said.try_clone()?))
            .stderr(Stdio::from(said.try_clone()?))
            .process_group(0)
            .spawn()?;
        // A command that cannot be noted runs all the same: only a killed watcher would leave it behind.
        let process = ProcessIdentity::of(child.id());
        if let Some(process) = &process {
            let _ = subject.note.write(process);
        }
        if let Some(mut gate) = child.stdin.take() {
            gate.write_all(b"\n")?;
        }
        Ok(Self {
            note: subject.note.clone(),
            child,
            command: subject.command.to_owned(),
            output: said,
            begun: now,
            stopping: None,
            process,
        })
    }

    /// The verdict, once there is one; none comes of a command that is told to stop. One that takes longer than `limit` is
    /// ended.
    ///
    /// # Errors
    /// When the command cannot be waited for.
    pub fn poll(&mut self, now: Duration, limit: Duration) -> io::Result<Option<Verdict>> {
        if self.stopping.is_some() {
            return Ok(None);
        }
        if let Some(status) = self.child.try_wait()? {
            return Ok(Some(match status.success() {
                true => Verdict::Passed,
                false => {
                    let said = match self.said() {
                        said if said.is_empty() => " and said nothing".to_owned(),
                        said => format!(": {said}"),
                    };
                    let how = match (status.code(), status.signal()) {
                        (None, Some(signal)) => format!("was ended by signal {signal}"),
                        (code, _) => format!("exited with code {}", code.unwrap_or_default()),
                    };
                    Verdict::Rejected(format!("the verify command `{}` {how}{said}", self.command))
                }
            }));
        }
        if now.saturating_sub(self.begun) < limit {
            return Ok(None);
        }
        signal_group(self.child.id(), Signal::KILL)?;
        self.child.wait()?;
        let limit = limit.as_secs_f64();
        Ok(Some(Verdict::Rejected(format!(
            "the verify command `{}` took longer than {limit} s and was ended",
            self.command
        ))))
    }

    /// Ends the command and all that it started: TERM, then KILL after `grace`. Says whether they are gone.
    fn stop(&mut self, now: Duration, grace: Duration) -> bool {
        let is_led = matches!(self.child.try_wait(), Ok(None));
        if !is_led && !self.process.as_ref().is_some_and(led_group_alive) {
            return true;
        }
        let signal = match self.stopping {
            None => Some(Signal::TERM),
            Some(since) if now.saturating_sub(since) >= grace => Some(Signal::KILL),
            Some(_) => None,
        };
        self.stopping.get_or_insert(now);
        if let Some(signal) = signal {
            // One of another user ends by itself.
            let _ = signal_group(self.child.id(), signal);
        }
        false
    }

    fn said(&mut self) -> String {
        let mut bytes = Vec::new();
        // What went wrong stands at the end.
        let length = self.output.metadata().map_or(0, |facts| facts.len());
        let from = SeekFrom::Start(length.saturating_sub(MAX_OUTPUT_BYTES));
        let _ = self.output.seek(from).and_then(|_| {
            (&self.output)
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
        self.note.erase();
    }
}
