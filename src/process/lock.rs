//! Whole-file locks (flock) that the kernel frees on any death.
//!
//! A lock file is created once and only its lock is passed on. Its content names the last holder, for people and for
//! telling a real holder from somebody who merely looks. Limitations: on NFS the server decides whether locks hold.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::ProcessIdentity;
use crate::clock::{Clock, SystemClock};
use crate::storage::{open_to_read, open_to_write};

/// How long a try goes on when the lock is taken but nobody alive has signed for it: somebody looks, or just got it.
const UNSIGNED_PATIENCE: Duration = Duration::from_millis(1000);

/// How long a wait stays silent before it is worth a line: forty jobs at once are no trouble to tell of.
const SILENT_WAIT: Duration = Duration::from_secs(2);

/// Who holds a lock, as signed in its file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessIdentity,
    /// What it is doing (`dispatch done`).
    pub program: String,
    /// When it took the lock, ms since the epoch; 0 where it did not say.
    #[serde(default)]
    pub since: i64,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.program, self.process.pid)
    }
}

/// Why a lock was not taken.
#[derive(Debug, Error)]
pub enum LockError {
    /// The file could not be opened or locked.
    #[error("cannot lock {path}: {source}")]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else kept it too long.
    #[error("gave up after {} s: the lock {path} is held by {holder}; let it finish, or end that process, then try again", waited.as_secs())]
    TimedOut {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as far as known.
        holder: String,
        /// How long it was waited for.
        waited: Duration,
    },
}

/// A held lock; dropping it, or dying, frees it.
#[derive(Debug)]
#[must_use = "the lock is free again as soon as this is dropped"]
pub struct FileLock {
    file: File,
}

fn open(path: &Path) -> io::Result<File> {
    let mut how = OpenOptions::new();
    open_to_write(
        path,
        how.read(true).write(true).create(true).truncate(false),
    )
}

/// The file under `path` is still the one that was locked (a sweep may have removed it in between).
fn still_at(path: &Path, file: &File) -> bool {
    match (std::fs::symlink_metadata(path), file.metadata()) {
        (Ok(named), Ok(held)) => named.ino() == held.ino() && named.dev() == held.dev(),
        _ => false,
    }
}

fn would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        || error.raw_os_error() == fs2::lock_contended_error().raw_os_error()
}

fn retry_interrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

impl FileLock {
    /// One try, without waiting for a holder.
    ///
    /// # Errors
    /// When the file cannot be opened or the file system has no locks.
    pub fn try_acquire(
        path: &Path,
        program: &str,
    ) -> io::Result<Result<FileLock, Option<LockHolder>>> {
        Self::try_within(path, program, UNSIGNED_PATIENCE)
    }

    fn try_within(
        path: &Path,
        program: &str,
        patience: Duration,
    ) -> io::Result<Result<FileLock, Option<LockHolder>>> {
        let patience = Instant::now() + patience;
        loop {
            let file = open(path)?;
            match retry_interrupted(|| fs2::FileExt::try_lock_exclusive(&file)) {
                Ok(()) if still_at(path, &file) => {
                    let lock = FileLock { file };
                    lock.sign(program);
                    return Ok(Ok(lock));
                }
                Ok(()) => {}
                Err(e) if would_block(&e) => {
                    let holder = read_holder(path);
                    if holder.as_ref().is_some_and(|h| h.process.is_alive())
                        || Instant::now() >= patience
                    {
                        return Ok(Err(holder));
                    }
                    thread::sleep(Duration::from_millis(5));
                }
                Err(e) => return Err(e),
            }
        }
    }

    /// Takes the lock, waiting at most `limit` (`None`: as long as it takes). `on_wait` hears of the holder when the
    /// wait is long enough to be noticed.
    ///
    /// # Errors
    /// [`LockError::TimedOut`] names the holder; [`LockError::Io`] when the file cannot be opened or locked.
    pub fn acquire(
        path: &Path,
        program: &str,
        limit: Option<Duration>,
        on_wait: &dyn Fn(&str),
    ) -> Result<FileLock, LockError> {
        let failed = |source| LockError::Io {
            path: path.to_owned(),
            source,
        };
        let begun = Instant::now();
        loop {
            let file = open(path).map_err(failed)?;
            match retry_interrupted(|| fs2::FileExt::try_lock_exclusive(&file)) {
                Ok(()) => {}
                Err(e) if would_block(&e) => {
                    wait_for(path, &file, limit, begun, on_wait)?;
                }
                Err(e) => return Err(failed(e)),
            }
            if still_at(path, &file) {
                let lock = FileLock { file };
                lock.sign(program);
                return Ok(lock);
            }
        }
    }

    /// Somebody holds the lock right now. Looking takes a shared lock for an instant and never blocks anyone longer.
    pub fn is_held(path: &Path) -> bool {
        let Ok(file) = open_to_read(path) else {
            return false;
        };
        match retry_interrupted(|| fs2::FileExt::try_lock_shared(&file)) {
            Ok(()) => false,
            Err(e) => would_block(&e),
        }
    }

    /// The last process that signed for the lock.
    pub fn holder(path: &Path) -> Option<LockHolder> {
        read_holder(path)
    }

    /// Writes who holds the lock into its file. Only a courtesy to others: a failure (a full disk) changes nothing.
    fn sign(&self, program: &str) {
        let holder = LockHolder {
            process: ProcessIdentity::current(),
            program: program.to_owned(),
            since: SystemClock::new().now_ms(),
        };
        let Ok(mut text) = serde_json::to_vec(&holder) else {
            return;
        };
        text.push(b'\n');
        let mut file = &self.file;
        let _ = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.write_all(&text))
            .and_then(|()| file.set_len(text.len() as u64));
    }
}

/// Blocks in a thread of its own, so that the wait can be given up.
fn wait_for(
    path: &Path,
    file: &File,
    limit: Option<Duration>,
    begun: Instant,
    on_wait: &dyn Fn(&str),
) -> Result<(), LockError> {
    let failed = |source| LockError::Io {
        path: path.to_owned(),
        source,
    };
    let (sender, receiver) = mpsc::channel();
    let waiting = file.try_clone().map_err(failed)?;
    thread::spawn(move || {
        let result = retry_interrupted(|| fs2::FileExt::lock_exclusive(&waiting));
        if sender.send(result).is_err() {
            // Nobody waits any more: the descriptor is shared, so give the lock back by name.
            let _ = fs2::FileExt::unlock(&waiting);
        }
    });
    let left = |limit: Duration| limit.saturating_sub(begun.elapsed());
    let first = limit.map_or(SILENT_WAIT, |limit| SILENT_WAIT.min(left(limit) / 2));
    let mut outcome = receiver.recv_timeout(first);
    if outcome.is_err() && limit.is_none_or(|limit| !left(limit).is_zero()) {
        let holder = describe_holder(path);
        on_wait(&format!(
            "waiting for the lock {}: held by {holder}",
            path.display()
        ));
        outcome = match limit {
            Some(limit) => receiver.recv_timeout(left(limit)),
            None => receiver
                .recv()
                .map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        };
    }
    match outcome {
        Ok(result) => result.map_err(failed),
        Err(_) => Err(LockError::TimedOut {
            path: path.to_owned(),
            holder: describe_holder(path),
            waited: begun.elapsed(),
        }),
    }
}

fn read_holder(path: &Path) -> Option<LockHolder> {
    let mut text = String::new();
    open_to_read(path)
        .ok()?
        .take(4096)
        .read_to_string(&mut text)
        .ok()?;
    serde_json::from_str(&text).ok()
}

fn describe_holder(path: &Path) -> String {
    read_holder(path)
        .filter(|holder| holder.process.is_alive())
        .map_or_else(|| "another process".to_owned(), |holder| holder.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silent(_: &str) {}

    #[test]
    fn a_second_try_names_the_holder_and_a_drop_frees() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("x.lock");
        let first = FileLock::try_acquire(&path, "first").expect("lockable");
        let first = first.expect("free");
        assert!(FileLock::is_held(&path));
        let second = FileLock::try_acquire(&path, "second").expect("lockable");
        let holder = second.expect_err("held").expect("signed");
        assert_eq!(holder.program, "first");
        assert_eq!(holder.process.pid, std::process::id());
        drop(first);
        assert!(!FileLock::is_held(&path));
        assert!(
            FileLock::try_acquire(&path, "third")
                .expect("lockable")
                .is_ok()
        );
    }

    #[test]
    fn a_wait_with_a_limit_gives_up_and_leaves_nothing_locked() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("x.lock");
        let first = FileLock::acquire(&path, "first", None, &silent).expect("free");
        let error = FileLock::acquire(&path, "second", Some(Duration::from_millis(20)), &silent)
            .expect_err("held");
        assert!(error.to_string().contains("held by first (pid "), "{error}");
        drop(first);
        let third = FileLock::acquire(&path, "third", Some(Duration::from_secs(20)), &silent);
        assert!(third.is_ok());
    }

    #[test]
    fn somebody_who_only_looks_does_not_turn_a_holder_away() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("x.lock");
        drop(FileLock::acquire(&path, "first", None, &silent).expect("free"));
        let looker = File::open(&path).expect("it exists");
        fs2::FileExt::lock_shared(&looker).expect("free");
        let looking = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            drop(looker);
        });
        let mut dead = read_holder(&path).expect("signed");
        dead.process.start_time.push('0');
        std::fs::write(&path, serde_json::to_vec(&dead).expect("serialisable")).expect("writable");
        let patience = Duration::from_secs(120);
        let second = FileLock::try_within(&path, "second", patience);
        assert!(second.expect("lockable").is_ok());
        looking.join().expect("it does not panic");
    }
}
