//! The embedded local backend: a session is a child process, run by a detached runner.

mod end_line;
mod ending;
mod intrusion;
mod output;
mod past;
mod pulse;
mod room;
pub mod run_files;
mod runner;
pub mod runtimes;
mod store;
mod survivor;
mod transcript;
mod undescribed;
mod waiter;

use std::io;
use std::path::PathBuf;
use std::process::Command;

pub use output::OutputReader;
pub use run_files::{RunFiles, RunRuntime, RunSpec};
pub use runner::run;
use store::open_rows;
pub use store::{remove_rows, store_path, transcript_path};
pub use survivor::{Survivor, command_at_work};
pub use waiter::wait_for_command;

use self::run_files::{StopReason, StopRecord};
use super::{Backend, Evidence, Liveness, RunRef, Settled, Text};
use crate::failure::{self, policy};
use crate::home::Home;
use crate::process::{Detached, spawn_detached};
use crate::record::{Attempt, Baseline, Entry, FailureKind, Selection};
use crate::session::reader::{read_run_turn, take_baseline};
use crate::session::store::{SessionRow, read_row};
use crate::session::terminal::{FailedStop, Turn};
use crate::storage::open_to_write;
use uuid::Uuid;

/// A session that is written to for so long after another program took it over is not waited for any more.
const LONGEST_UNREST_MS: u64 = 10 * 60 * 1000;

/// Tells a command which attempt at its work it is, from 2.
pub const ATTEMPT_VARIABLE: &str = "DISPATCH_ATTEMPT";

/// The embedded backend of a state directory.
pub struct LocalBackend<'a> {
    home: &'a Home,
}

impl<'a> LocalBackend<'a> {
    /// The backend whose sessions lie in `home`.
    pub fn new(home: &'a Home) -> Self {
        Self { home }
    }

    /// The id of the session that has this key, if there is one.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn session_id_of(&self, session_key: &str) -> io::Result<Option<String>> {
        Ok(self.row(session_key)?.and_then(|row| row.session_id))
    }

    /// The session's row in the store.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn row(&self, session_key: &str) -> io::Result<Option<SessionRow>> {
        read_row(&store_path(self.home), session_key).map_err(io::Error::other)
    }

    /// The session as it is before a run.
    ///
    /// # Errors
    /// When its transcript is there and cannot be read.
    pub fn baseline(&self, session_id: &str) -> io::Result<Baseline> {
        take_baseline(&transcript_path(self.home, session_id), Some(session_id))
    }

    /// Has a runner close each row of the session store that says running while nothing carries its run any more: one
    /// that died after its end line has left it so. Returns the labels. Runs that were never started, or that a watcher sees to, are left alone.
    ///
    /// # Errors
    /// When the store cannot be read, or a runner cannot be started.
    pub fn close_left_open(&self, is_watched: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
        let mut labels = Vec::new();
        for (label, run_id) in open_rows(self.home)? {
            let run = RunRef {
                run_id,
                ..RunRef::default()
            };
            let files = self.files(&run);
            if !is_watched(&label)
                && !files.has_runner()
                && files.start(self.home.storage.as_ref())?.is_some()
            {
                let is_closed = match self.lack(&files)? {
                    Some(_) => self.close_undescribed(&run, &files)?,
                    None => self.carry(&run).map(|_| true)?,
                };
                if is_closed {
                    labels.push(label);
                }
            }
        }
        Ok(labels)
    }

    /// A session that another program took over has settled once its transcript was left alone for as long as the pause
    /// before the retry is.
    fn has_settled(&self, run: &RunRef) -> io::Result<()> {
        let transcript = transcript_path(self.home, &run.session_id);
        let reading = read_run_turn(&transcript, &run.baseline, &run.run_id)?;
        let Some(Settled::Failed { failure, .. }) = self.settled(run, reading.turn) else {
            return Ok(());
        };
        let kind = FailureKind::SessionTakeover;
        let retry = policy::retry_of(kind, &self.home.config.retry);
        let Some(retry) = retry.filter(|_| failure.kind == kind) else {
            return Ok(());
        };
        let now_ms = self.home.now_ms();
        let since = |at_ms: i64| u64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(0);
        let still_ms = reading.last_activity_ms.map_or(u64::MAX, since);
        if still_ms >= retry.first_ms {
            return Ok(());
        }
        let error = match since(failure.at) > LONGEST_UNREST_MS {
            true => io::ErrorKind::NotFound,
            false => io::ErrorKind::WouldBlock,
        };
        let path = transcript.display();
        Err(io::Error::new(
            error,
            format!("another program goes on writing to the session ({path})"),
        ))
    }

    fn files(&self, run: &RunRef) -> RunFiles {
        RunFiles::of(self.home, &run.run_id)
    }

    fn settled(&self, run: &RunRef, turn: Turn) -> Option<Settled> {
        let ours = |note: &Option<serde_json::Value>| {
            let note = note.as_ref()?;
            let end = note.get("end")?.as_bool()? && note.get("runId")?.as_str()? == run.run_id;
            end.then(|| note.clone())
        };
        let raw = |note: &serde_json::Value, text: String| match note.get("raw") {
            Some(serde_json::Value::Bool(true)) => {
                let lead = note.get("lead").and_then(serde_json::Value::as_str);
                let lead = lead.unwrap_or_default().to_owned();
                let bytes = note.get("bytes").and_then(serde_json::Value::as_u64);
                Text::File {
                    path: self.files(run).stdout(),
                    bytes: bytes.unwrap_or(0) + lead.len() as u64,
                    lead,
                }
            }
            _ => Text::Inline(text),
        };
        match turn {
            Turn::Reply(reply) => ours(&reply.dispatch).map(|note| Settled::Reply {
                text: raw(&note, reply.text),
                truncated: reply.truncated,
                at_ms: reply.timestamp_ms.unwrap_or_else(|| self.home.now_ms()),
            }),
            Turn::Failed(failed) => ours(&failed.dispatch).map(|note| Settled::Failed {
                failure: failure::of_local_end(
                    Some(&note),
                    failed.message.as_deref(),
                    failed.timestamp_ms.unwrap_or_else(|| self.home.now_ms()),
                ),
                partial: raw(&note, failed.partial),
                cancelled: failed.stop == FailedStop::Aborted,
            }),
            Turn::Nothing | Turn::MidTurn { .. } => None,
        }
    }
}

impl Backend for LocalBackend<'_> {
    fn carry(&self, run: &RunRef) -> io::Result<Option<Detached>> {
        let files = self.files(run);
        // Read first: a run nobody described cannot be carried, and the error names the file.
        files.spec(self.home.storage.as_ref())?;
        let mut how = std::fs::OpenOptions::new();
        let log = open_to_write(&files.log(), how.append(true).create(true))?;
        let mut command = Command::new(&self.home.programs.dispatch);
        command
            .arg("local-runner")
            .arg(files.dir())
            .envs(
                self.home
                    .paths
                    .exports
                    .iter()
                    .map(|(name, path)| (name, path)),
            )
            .current_dir("/");
        spawn_detached(command, Some(log)).map(Some)
    }

    fn next_attempt(&self, run: &RunRef, selection: &Selection) -> io::Result<Attempt> {
        let storage = self.home.storage.as_ref();
        let mut spec = self.files(run).spec(storage)?;
        self.has_settled(run)?;
        let run_id = Uuid::new_v4().to_string();
        let baseline = self.baseline(&spec.session_id)?;
        spec.run_id = run_id.clone();
        let number = run.attempt.saturating_add(1);
        spec.env.retain(|(name, _)| name != ATTEMPT_VARIABLE);
        spec.env
            .push((ATTEMPT_VARIABLE.to_owned(), number.to_string()));
        spec.set_model(selection.model.clone());
        spec.auth_profile = selection.auth_profile.clone();
        let mut entry = Entry::from_fields(std::mem::take(&mut spec.entry));
        entry.set_baseline(&baseline);
        entry.set("runId", run_id.as_str());
        entry.set("attempt", number);
        spec.entry = entry.fields().clone();
        RunFiles::of(self.home, &run_id).write_spec(storage, &spec)?;
        Ok(Attempt {
            run_id,
            session_key: run.session_key.clone(),
            baseline,
        })
    }

    fn takes_over(&self) -> bool {
        true
    }

    fn observe(&self, run: &RunRef) -> io::Result<Evidence> {
        let files = self.files(run);
        // Asked before the transcript is read: a runner that ends in between has then written its end line.
        let carried = files.has_runner();
        let transcript = transcript_path(self.home, &run.session_id);
        let reading = read_run_turn(&transcript, &run.baseline, &run.run_id)?;
        let storage = self.home.storage.as_ref();
        let liveness = match carried {
            true => Liveness::Alive,
            false if files.start(storage)?.is_some() => Liveness::Gone,
            false => Liveness::Absent,
        };
        let settled = match self.settled(run, reading.turn) {
            None if !carried => self.lost(run, &files)?,
            settled => settled,
        };
        Ok(Evidence {
            settled,
            liveness,
            last_activity_ms: reading.last_activity_ms,
            position: reading.len,
            mid_turn: false,
            open_tool: false,
            is_known: true,
        })
    }

    fn abort(&self, run: &RunRef) -> io::Result<()> {
        let stop = StopRecord {
            reason: StopReason::Cancel,
            at_ms: self.home.now_ms(),
            seen: None,
        };
        let (files, storage) = (self.files(run), self.home.storage.as_ref());
        files.request_stop(storage, &stop)?;
        let first = files.stop(storage)?;
        self.stop_undescribed(&files, first.as_ref().unwrap_or(&stop))
    }

    fn wake_paths(&self, run: &RunRef) -> Vec<PathBuf> {
        vec![transcript_path(self.home, &run.session_id)]
    }
}
