//! Whether there was room on the disk for what a command printed.
//!
//! A command's writes go past everybody here, so that a refused one shows only in what the command makes of it: the file
//! system is looked at while the command runs, and written to at its end. A disk that is full for less than a look is
//! missed, and a quota that is exhausted shows at the end alone.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::run_files::RunFiles;
use crate::clock::Clock;
use crate::record::time::iso;

/// A disk without room for so much has refused what the command wrote last.
const ROOM_BYTES: usize = 4096;

/// With less than this, a write of some pages is refused or cut.
const NO_ROOM_BYTES: u64 = 16 * 1024;

/// So fast a disk may fill up: by then it is looked at again.
const FILLS_BYTES_PER_MS: u64 = 1024 * 1024;

/// How often it is looked at.
const FIRST_LOOK: Duration = Duration::from_millis(50);
const LAST_LOOK: Duration = Duration::from_secs(2);

/// How soon a write that found no room is tried again.
const ROOM_PAUSE: Duration = Duration::from_millis(500);

/// Does `work` as soon as the disk lets it: one that is full, or must not be written, is no reason to give a run up. `wait`
/// is told why, waits a while, and says whether it is to be tried again.
///
/// # Errors
/// Any other error, at once; want of room when it is not to be tried again.
pub fn once_there_is_room<T>(
    mut work: impl FnMut() -> io::Result<T>,
    mut wait: impl FnMut(&io::Error) -> bool,
) -> io::Result<T> {
    loop {
        match work() {
            Err(e) if is_want_of_room(&e) && wait(&e) => {}
            done => return done,
        }
    }
}

/// Waits until it is worth another try.
pub fn pause() {
    thread::sleep(ROOM_PAUSE);
}

/// The disk, or a quota, is full, or the file system is read-only.
fn is_want_of_room(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    [QuotaExceeded, ReadOnlyFilesystem, StorageFull].contains(&error.kind())
}

/// Looks at the file system of a run while its command is at work.
pub struct RoomWatch {
    end: Sender<()>,
    /// Gives the first time without room, ms since the epoch.
    thread: Option<JoinHandle<Option<i64>>>,
}

impl RoomWatch {
    /// Begins to look. Without a thread, the look at the end is all there is.
    pub fn begin(files: &RunFiles, clock: Arc<dyn Clock>) -> Self {
        let dir = files.dir().to_owned();
        let (end, ended) = channel();
        let look = move || {
            loop {
                let free = free_bytes(&dir);
                if free.is_some_and(|free| free < NO_ROOM_BYTES) {
                    return Some(clock.now_ms());
                }
                let pause = look_within(free.unwrap_or(u64::MAX));
                if ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return None;
                }
            }
        };
        let named = thread::Builder::new().name("room".to_owned());
        Self {
            end,
            thread: named.spawn(look).ok(),
        }
    }

    /// Why the output may not be whole, and since when: the command has ended.
    pub fn end(self, files: &RunFiles, now_ms: i64) -> Option<String> {
        let refusal = refusal(files);
        drop(self.end);
        let seen = self.thread.and_then(|thread| thread.join().ok()).flatten();
        let (since_ms, error) = match (seen, refusal) {
            (Some(at), _) => {
                let no_room = rustix::io::Errno::NOSPC.raw_os_error();
                (at, io::Error::from_raw_os_error(no_room))
            }
            (None, Some(error)) => (now_ms, error),
            (None, None) => return None,
        };
        let (dir, since) = (files.dir().display(), iso(since_ms));
        Some(format!("{dir} took no more at {since}: {error}"))
    }
}

/// What whoever asks may still write, as far as the file system tells.
fn free_bytes(dir: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(dir).ok()?;
    let blocks = match rustix::process::geteuid().is_root() {
        // A reserve is kept for it alone.
        true => disk.f_bfree,
        false => disk.f_bavail,
    };
    Some(blocks.saturating_mul(disk.f_frsize))
}

/// How soon to look again: before so much could have been written.
fn look_within(free_bytes: u64) -> Duration {
    Duration::from_millis(free_bytes / FILLS_BYTES_PER_MS).clamp(FIRST_LOOK, LAST_LOOK)
}

/// Why there is no room for more output where the command has just written the last of its own.
fn refusal(files: &RunFiles) -> Option<io::Error> {
    let path = files.room();
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(&[0; ROOM_BYTES]));
    let _ = std::fs::remove_file(&path);
    match written {
        // A waiter that was killed here has left it.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => None,
        written => written.err(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn want_of_room_is_waited_out_and_nothing_else_is() {
        use rustix::io::Errno;
        let outcome = |errors: &[Errno], patience: usize| {
            let (mut tries, mut waits) = (errors.iter(), 0);
            let done = once_there_is_room(
                || match tries.next() {
                    Some(errno) => Err(io::Error::from(*errno)),
                    None => Ok(()),
                },
                |_| {
                    waits += 1;
                    waits <= patience
                },
            );
            (done.err().and_then(|e| e.raw_os_error()), waits)
        };
        let full = [Errno::NOSPC, Errno::DQUOT, Errno::ROFS];
        assert_eq!(outcome(&full, 10), (None, 3));
        let second = Some(Errno::DQUOT.raw_os_error());
        assert_eq!(outcome(&full, 1), (second, 2));
        let denied = Some(Errno::ACCESS.raw_os_error());
        assert_eq!(outcome(&[Errno::NOSPC, Errno::ACCESS], 10), (denied, 1));
    }

    #[test]
    fn a_roomy_disk_is_looked_at_seldom_and_a_narrow_one_often() {
        const GIB: u64 = 1024 * 1024 * 1024;
        for (free, ms) in [
            (0, 50),
            (GIB / 10, 102),
            (GIB, 1024),
            (100 * GIB, 2000),
            (u64::MAX, 2000),
        ] {
            assert_eq!(look_within(free), Duration::from_millis(ms), "{free}");
        }
    }
}
