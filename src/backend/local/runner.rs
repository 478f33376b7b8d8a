//! The runner: one detached process that carries a run from its description to its end line.
//!
//! Everything it knows is on disk, so that after its death a new runner takes over where it stopped: the command is
//! started at most once (the waiter's claim), output already copied is not copied again (the offset in each chunk
//! line), and how the command ended is read from the waiter's record.

use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::end_line::{EndLine, assistant};
use super::ending::{Ending, QUOTED_BYTES, Remains, ended_by_itself, ending};
use super::intrusion::Intrusion;
use super::output::{OutputReader, last_lines_of, tail_of};
use super::past::Past;
use super::run_files::{Exit, ExitRecord, RunFiles, RunSpec, StopReason, StopRecord};
use super::store::{set_row, transcript_path};
use super::transcript::TranscriptWriter;
use crate::home::Home;
use crate::process::{
    FileLock, ProcessIdentity, close_inherited_on_exec, led_group_alive, signal_group,
};
use crate::wake::{Source, Wake};

/// No more of the output than this is copied into chunk lines; the raw file always has all of it.
const MAX_STREAMED_BYTES: u64 = 16 * 1024 * 1024;

/// An agent's last line is looked for in so much of its output: it may quote a provider's whole answer.
const LAST_WORDS_BYTES: u64 = 64 * 1024;

/// How often an idle runner looks whether the group still lives.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How often the end line is written again because the file that it went into has lost its name meanwhile.
const END_TRIES: u32 = 5;

/// How often a waiter that dies before it claims the start is replaced.
const WAITER_TRIES: u32 = 3;

/// Carries the run to its end. Does nothing when another runner has it.
///
/// # Errors
/// When files of the run or the transcript cannot be read or written. The run then has no runner, and the next one
/// goes on from what is on the disk.
pub fn run(home: &Home, files: &RunFiles) -> io::Result<()> {
    let Ok(_lock) = FileLock::try_acquire(&files.runner_lock(), "local runner")? else {
        return Ok(());
    };
    let spec = files.spec_here(home)?;
    let transcript = transcript_path(home, &spec.session_id);
    let session_lock = transcript.with_extension("lock");
    // A session has one run at a time; a second one queues here. Its stop is honoured when its turn comes.
    let say = |line: &str| home.say(line);
    let _session =
        FileLock::acquire(&session_lock, "local runner", None, &say).map_err(io::Error::other)?;
    // Opened before it is read: what others add between the two is seen as a change.
    let writer = TranscriptWriter::open(home, &transcript, &spec.session_id, &spec.cwd)?;
    let past = Past::read(&transcript, &spec.run_id)?;
    if let Some(status) = past.end_status {
        // The end line is safe; only the store may not know yet.
        return close_row(home, &spec.session_key, status);
    }
    let is_started = files.start(home.storage.as_ref())?.is_some();
    let mut runner = Runner {
        home,
        files,
        output: OutputReader::at(past.streamed),
        transcript: writer,
        intrusion: past.intrusion().filter(|_| is_started),
        stage: Stage::Running,
        transcript_path: transcript,
        spec,
    };
    if !past.prompted && !is_started {
        runner.write_prompt()?;
    }
    runner.open_row()?;
    runner.follow()
}

/// The waiter that this runner started, if it did.
#[derive(Debug, Default)]
struct Waiter {
    child: Option<std::process::Child>,
    tries: u32,
}

impl Waiter {
    /// It lives. One that has ended is reaped; its exit record, not its status, says how the command ended.
    fn is_running(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Takes it out of the process table; it ends right after its exit record.
    fn reap(mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.wait();
        }
    }
}

/// How far stopping the command has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    /// TERM was sent; KILL is due at this monotonic time.
    Terminating(Duration),
    Killed,
}

struct Runner<'a> {
    home: &'a Home,
    files: &'a RunFiles,
    spec: RunSpec,
    transcript: TranscriptWriter,
    transcript_path: PathBuf,
    /// What another program did to the transcript. From then on nothing but the end line is written.
    intrusion: Option<Intrusion>,
    output: OutputReader,
    stage: Stage,
}

impl Runner<'_> {
    fn follow(&mut self) -> io::Result<()> {
        // There may be hundreds of runners, and few sources of events.
        let mut wake = Wake::patient(&Source::new());
        wake.watch(self.files.dir());
        wake.watch(&self.transcript_path);
        let storage = self.home.storage.clone();
        let mut waiter = Waiter::default();
        loop {
            self.have_waiter(&mut waiter)?;
            let exit = self.files.exit(storage.as_ref())?;
            let is_free = self.is_free(exit.as_ref())?;
            if !self.is_over(is_free, &mut waiter)? {
                self.heed_intrusion()?;
                self.enforce(is_free)?;
            }
            if self.is_over(is_free, &mut waiter)? {
                // Written between the look above and the end of the group.
                let exit = self.files.exit(storage.as_ref())?;
                let stop = self.files.stop(storage.as_ref())?;
                let stderr_tail = tail_of(&self.files.stderr(), QUOTED_BYTES as u64);
                let last_words = self.last_words();
                let ending = ending(&Remains {
                    exit: exit.as_ref(),
                    stop: stop.as_ref(),
                    timeout_ms: self.spec.timeout_ms,
                    stderr_tail: &stderr_tail,
                    last_words: last_words
                        .as_ref()
                        .map(|said| said.each_ref().map(|s| s.as_str())),
                    now_ms: self.home.now_ms(),
                });
                let unkept = exit.and_then(|exit| exit.unkept);
                self.finish(&ending, unkept.as_deref())?;
                waiter.reap();
                return Ok(());
            }
            if exit.is_none() {
                self.stream()?;
            }
            wake.wait(self.next_look(exit.is_some()));
        }
    }

    /// What an agent said last, on stderr and on stdout.
    fn last_words(&self) -> Option<[String; 2]> {
        self.spec.prompt_path.as_ref()?;
        let said = [self.files.stderr(), self.files.stdout()];
        Some(said.map(|path| last_lines_of(&path, LAST_WORDS_BYTES)))
    }

    /// Starts the waiter of a run that nobody has started, again when it died before it claimed the start.
    fn have_waiter(&self, waiter: &mut Waiter) -> io::Result<()> {
        let storage = self.home.storage.as_ref();
        if waiter.is_running() || self.files.start(storage)?.is_some() {
            return Ok(());
        }
        if waiter.tries < WAITER_TRIES {
            waiter.tries += 1;
            waiter.child = Some(self.start_waiter()?);
            return Ok(());
        }
        let log = last_lines_of(&self.files.log(), LAST_WORDS_BYTES);
        let last = log.trim().lines().last();
        let said = last.map(|line| line.split_once("] ").map_or(line, |(_, said)| said));
        let why = said.map_or_else(String::new, |said| format!(": {said}"));
        let exit = ExitRecord {
            exit: Exit::NotStarted(format!(
                "its waiter died again and again before it could start it{why}"
            )),
            unkept: None,
            at_ms: self.home.now_ms(),
        };
        self.files.write_exit(storage, &exit)
    }

    fn start_waiter(&self) -> io::Result<std::process::Child> {
        use std::os::unix::process::CommandExt;
        close_inherited_on_exec();
        Command::new(&self.home.programs.dispatch)
            .arg("local-waiter")
            .arg(self.files.dir())
            .process_group(0)
            .spawn()
    }

    /// The leader decides: when it has ended by itself, what it left in the background is none of our business. The
    /// records are asked, not what this runner did: the request to stop may have been another runner's to carry out.
    fn is_free(&self, exit: Option<&ExitRecord>) -> io::Result<bool> {
        let storage = self.home.storage.as_ref();
        if self.stage != Stage::Running || exit.is_none() {
            return Ok(false);
        }
        // A run without a start has no group.
        let has_group = self.files.start(storage)?.is_some();
        Ok(!has_group || ended_by_itself(exit, self.files.stop(storage)?.as_ref()))
    }

    /// A run whose command did not end by itself is over only when nothing of its group is left.
    fn is_over(&self, is_free: bool, waiter: &mut Waiter) -> io::Result<bool> {
        if is_free {
            return Ok(true);
        }
        // Reaped, it is no member of its group: the kernel can say that the group is gone, and no process is looked at.
        waiter.is_running();
        // Not claimed yet: the waiter is on its way, or died on it.
        let start = self.files.start(self.home.storage.as_ref())?;
        Ok(start.is_some_and(|start| !led_group_alive(&start.waiter)))
    }

    /// Has the command stopped when another program has written to its session's transcript.
    fn heed_intrusion(&mut self) -> io::Result<()> {
        if !self.is_intruded()? {
            return Ok(());
        }
        let storage = self.home.storage.as_ref();
        if self.files.stop(storage)?.is_some() {
            return Ok(());
        }
        let seen = self.intrusion.map(|intrusion| self.told(intrusion));
        let stop = StopRecord {
            reason: StopReason::Takeover,
            at_ms: self.home.now_ms(),
            seen,
        };
        self.files.request_stop(storage, &stop)
    }

    fn is_intruded(&mut self) -> io::Result<bool> {
        if self.intrusion.is_none() {
            self.intrusion = self.transcript.change()?;
        }
        Ok(self.intrusion.is_some())
    }

    /// What was seen, and where the run's own text is when it is not in the transcript any more.
    fn told(&self, intrusion: Intrusion) -> String {
        let path = self.transcript_path.display();
        match intrusion.took_text() {
            false => format!("{intrusion} ({path})"),
            true => {
                let own = self.files.stdout();
                format!(
                    "{intrusion} ({path}); what the command said is in {}",
                    own.display()
                )
            }
        }
    }

    /// Sends what is due: TERM when the run is asked to stop or its time is up, KILL when TERM was not enough.
    fn enforce(&mut self, is_free: bool) -> io::Result<()> {
        if is_free {
            return Ok(());
        }
        let storage = self.home.storage.clone();
        // A group that is gone has left its number to strangers.
        let start = self.files.start(storage.as_ref())?;
        let Some(start) = start.filter(|start| led_group_alive(&start.waiter)) else {
            return Ok(());
        };
        let now = self.home.clock.monotonic();
        match self.stage {
            Stage::Running => {
                if self.stop_wanted(start.at_ms)?.is_some() {
                    self.signal(start.waiter.pid, Signal::TERM);
                    let grace = Duration::from_millis(self.spec.term_grace_ms);
                    self.stage = Stage::Terminating(now + grace);
                }
            }
            Stage::Terminating(until) if now >= until => {
                self.signal(start.waiter.pid, Signal::KILL);
                self.stage = Stage::Killed;
            }
            Stage::Terminating(_) | Stage::Killed => {}
        }
        Ok(())
    }

    fn stop_wanted(&self, started_ms: i64) -> io::Result<Option<StopRecord>> {
        let storage = self.home.storage.as_ref();
        if let Some(stop) = self.files.stop(storage)? {
            return Ok(Some(stop));
        }
        let now_ms = self.home.now_ms();
        let Some(limit) = self.spec.timeout_ms else {
            return Ok(None);
        };
        if now_ms.saturating_sub(started_ms) < i64::try_from(limit).unwrap_or(i64::MAX) {
            return Ok(None);
        }
        let stop = StopRecord {
            reason: StopReason::Timeout,
            at_ms: now_ms,
            seen: None,
        };
        self.files.request_stop(storage, &stop)?;
        self.files.stop(storage)
    }

    fn signal(&self, group: u32, signal: Signal) {
        if let Err(e) = signal_group(group, signal) {
            self.home
                .say(&format!("cannot signal the process group {group}: {e}"));
        }
    }

    fn next_look(&self, has_exit: bool) -> Duration {
        let now = self.home.clock.monotonic();
        let look = match self.stage {
            Stage::Running => LOOK_EVERY,
            // Nobody tells when the last of a group that is not our child has died.
            Stage::Terminating(until) => until.saturating_sub(now).min(Duration::from_millis(20)),
            Stage::Killed => Duration::from_millis(20),
        };
        let deadline = self
            .spec
            .timeout_ms
            .filter(|_| !has_exit)
            .and_then(|limit| {
                let start = self.files.start(self.home.storage.as_ref()).ok()??;
                let due = start
                    .at_ms
                    .saturating_add(i64::try_from(limit).unwrap_or(i64::MAX));
                u64::try_from(due.saturating_sub(self.home.now_ms())).ok()
            });
        match (self.stage, deadline) {
            (Stage::Running, Some(ms)) => look.min(Duration::from_millis(ms + 1)),
            _ => look,
        }
    }

    /// Copies new output into chunk lines.
    fn stream(&mut self) -> io::Result<()> {
        while self.output.offset() < MAX_STREAMED_BYTES {
            if self.is_intruded()? {
                return Ok(());
            }
            let Some(text) = self.output.next_piece(&self.files.stdout())? else {
                return Ok(());
            };
            let now = self.home.now_ms();
            let note = json!({"runId": self.spec.run_id, "offset": self.output.offset()});
            self.transcript.message(now, assistant(&text, now), note)?;
        }
        Ok(())
    }

    fn write_prompt(&mut self) -> io::Result<()> {
        let prompt = match &self.spec.prompt_path {
            Some(path) => String::from_utf8_lossy(&std::fs::read(path)?).into_owned(),
            None => self.spec.argv.join(" "),
        };
        let now = self.home.now_ms();
        let message = json!({
            "role": "user",
            "content": [{"type": "text", "text": prompt}],
            "timestamp": now,
            "idempotencyKey": format!("{}:user", self.spec.run_id),
        });
        self.transcript
            .message(now, message, json!({"runId": self.spec.run_id}))?;
        // A run that was started has its prompt in the transcript, whatever is cut: without it, somebody took it away.
        self.transcript.sync()
    }

    /// The end line: it settles the run, so it is on the disk before anybody is told otherwise.
    fn finish(&mut self, ending: &Ending, unkept: Option<&str>) -> io::Result<()> {
        let now = self.home.now_ms();
        let end = EndLine::of(&self.spec.run_id, &self.files.stdout(), ending, unkept, now);
        self.write_end(&end, now)?;
        close_row(self.home, &self.spec.session_key, end.status)
    }

    /// Puts the end line into the transcript as it is by now, behind whatever others have written.
    fn write_end(&mut self, end: &EndLine, now: i64) -> io::Result<()> {
        for _ in 0..END_TRIES {
            if self.is_intruded()? {
                let (id, cwd) = (&self.spec.session_id, &self.spec.cwd);
                self.transcript =
                    TranscriptWriter::open(self.home, &self.transcript_path, id, cwd)?;
            }
            self.transcript
                .message(now, end.message.clone(), end.note.clone())?;
            self.transcript.sync()?;
            if self.transcript.is_in_place()? {
                return Ok(());
            }
        }
        Err(io::Error::other(format!(
            "another program replaces {} again and again",
            self.transcript_path.display()
        )))
    }

    fn open_row(&self) -> io::Result<()> {
        let now = self.home.now_ms();
        let row = json!({
            "sessionId": self.spec.session_id,
            "sessionFile": self.transcript_path,
            "updatedAt": now,
            "sessionStartedAt": now,
            "startedAt": now,
            "endedAt": null,
            "status": "running",
            "label": self.spec.label,
            "model": self.spec.model,
            "agentHarnessId": self.spec.runtime_id(),
            "runId": self.spec.run_id,
            "runner": ProcessIdentity::current(),
        });
        put_row(self.home, &self.spec.session_key, row)
    }
}

pub(super) fn close_row(home: &Home, session_key: &str, status: &str) -> io::Result<()> {
    let now = home.now_ms();
    let row = json!({"status": status, "updatedAt": now, "endedAt": now});
    put_row(home, session_key, row)
}

fn put_row(home: &Home, session_key: &str, row: Value) -> io::Result<()> {
    let Value::Object(fields) = row else {
        return Ok(());
    };
    set_row(home, session_key, fields)
}
