//! Runs whose description cannot be used any more. No runner can carry such a run: its command is let work on and can be
//! stopped, and when it has ended the run is lost, with what it had printed.

use std::io;

use rustix::process::Signal;

use super::LocalBackend;
use super::run_files::{RunFiles, StopReason, StopRecord};
use super::runner::close_row;
use super::store::key_of_run;
use super::survivor::group_at_work;
use crate::backend::{RunRef, Settled, Text};
use crate::process::signal_group;
use crate::record::{Failure, FailureKind};
use crate::shell;

impl LocalBackend<'_> {
    /// Why the run's description cannot be used: it is gone, or damaged.
    ///
    /// # Errors
    /// When it cannot be read at the moment.
    pub(super) fn lack(&self, files: &RunFiles) -> io::Result<Option<io::Error>> {
        match files.spec(self.home.storage.as_ref()) {
            Ok(_) => Ok(None),
            Err(e) if [io::ErrorKind::NotFound, io::ErrorKind::InvalidData].contains(&e.kind()) => {
                Ok(Some(e))
            }
            Err(e) => Err(e),
        }
    }

    /// The end of a run that nobody carries, where nobody can: its description cannot be used.
    ///
    /// # Errors
    /// As long as its command is at work: what is wrong, and what to do.
    pub(super) fn lost(&self, run: &RunRef, files: &RunFiles) -> io::Result<Option<Settled>> {
        let Some(lack) = self.lack(files)? else {
            return Ok(None);
        };
        if let Some(group) = group_at_work(self.home.storage.as_ref(), files) {
            let label = shell::label(&run.label);
            return Err(io::Error::other(format!(
                "{lack}; its command is at work (process group {group}), and nobody can tell how it ends; to stop it: dispatch cancel {label}"
            )));
        }
        let why = match files.dir().exists() {
            true => format!("nobody could carry the run to its end: {lack}"),
            false => format!("the files of the run are gone: {}", files.dir().display()),
        };
        let (path, storage) = (files.stdout(), self.home.storage.as_ref());
        let is_cancelled =
            (files.stop(storage)?).is_some_and(|stop| stop.reason == StopReason::Cancel);
        let (kind, why) = match is_cancelled {
            true => (FailureKind::Aborted, format!("cancelled on request; {why}")),
            false => (FailureKind::RunnerLost, why),
        };
        let bytes = storage.facts(&path)?.map_or(0, |facts| facts.len);
        Ok(Some(Settled::Failed {
            failure: Failure::new(kind, why, self.home.now_ms()),
            partial: match bytes {
                0 => Text::Inline(String::new()),
                _ => Text::File {
                    lead: String::new(),
                    path,
                    bytes,
                },
            },
            cancelled: is_cancelled,
        }))
    }

    /// Ends the command of such a run that was asked to stop and has had its grace. Any other run is its runner's.
    ///
    /// # Errors
    /// As [`Backend::abort`](crate::backend::Backend::abort).
    pub fn insist(&self, run: &RunRef) -> io::Result<()> {
        let files = RunFiles::of(self.home, &run.run_id);
        match files.stop(self.home.storage.as_ref())? {
            Some(stop) if self.has_had_its_grace(&stop) => self.stop_undescribed(&files, &stop),
            _ => Ok(()),
        }
    }

    fn has_had_its_grace(&self, stop: &StopRecord) -> bool {
        let asked_ms = self.home.now_ms().saturating_sub(stop.at_ms);
        let grace_ms = self.home.config.term_grace.as_millis();
        u128::try_from(asked_ms).is_ok_and(|asked_ms| asked_ms >= grace_ms)
    }

    /// Stops the command of such a run, as its runner would: TERM at once, KILL when that was not enough.
    ///
    /// # Errors
    /// When its files cannot be read, or its group is another user's.
    pub(super) fn stop_undescribed(&self, files: &RunFiles, stop: &StopRecord) -> io::Result<()> {
        if files.has_runner() || self.lack(files)?.is_none() {
            return Ok(());
        }
        let Some(group) = group_at_work(self.home.storage.as_ref(), files) else {
            return Ok(());
        };
        match self.has_had_its_grace(stop) {
            true => signal_group(group, Signal::KILL),
            false => signal_group(group, Signal::TERM),
        }
    }

    /// Closes the row of a run that no runner can close. Says whether there was one to close.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub(super) fn close_undescribed(&self, run: &RunRef, files: &RunFiles) -> io::Result<bool> {
        let is_over = group_at_work(self.home.storage.as_ref(), files).is_none();
        match key_of_run(self.home, &run.run_id)? {
            Some(key) if is_over => close_row(self.home, &key, "failed").map(|()| true),
            _ => Ok(false),
        }
    }
}
