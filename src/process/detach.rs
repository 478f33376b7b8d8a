//! Children that outlive us: a session of their own, no terminal, no inherited descriptors.
//!
//! The only file of the project with unsafe code. It needs two things that the standard library does not offer in
//! safe form: a hook between fork and exec that makes the child a session leader (done in the child's `main` instead,
//! a Ctrl-C in between would kill it), and borrowing descriptors that somebody else left open.
#![allow(unsafe_code)]

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

use crate::storage::open_to_write;

/// A detached child; dropping it leaves the child running.
#[derive(Debug)]
pub struct Detached {
    child: Child,
}

impl Detached {
    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes the child out of the process table when it has ended; says whether it has.
    pub fn reap(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Takes the child out of the process table as soon as it has ended, for a parent that lives long and asks nothing of it.
    pub fn reap_when_ended(mut self) {
        std::thread::spawn(move || self.child.wait());
    }
}

/// Starts a command in a session of its own, with no input, and output to `log` or nowhere.
///
/// # Errors
/// When the program cannot be started.
pub fn spawn_detached(mut command: Command, log: Option<fs::File>) -> io::Result<Detached> {
    close_inherited_on_exec();
    let (out, err) = match log {
        Some(file) => (Stdio::from(file.try_clone()?), Stdio::from(file)),
        None => (Stdio::null(), Stdio::null()),
    };
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    // SAFETY: the closure runs in the forked child and calls setsid(2) alone, which is async-signal-safe; it touches
    // no memory that another thread of the parent could have left locked.
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()
                .map(|_| ())
                .map_err(io::Error::from)
        });
    }
    command.spawn().map(|child| Detached { child })
}

/// The log of a detached child, which is begun anew above `max_bytes`.
///
/// # Errors
/// When it cannot be opened or cut, or is no file.
pub fn log_of(path: &Path, max_bytes: u64) -> io::Result<fs::File> {
    let log = open_to_write(path, fs::OpenOptions::new().append(true).create(true))?;
    if log.metadata()?.len() > max_bytes {
        log.set_len(0)?;
    }
    Ok(log)
}

/// Marks every descriptor above stderr close-on-exec, so that no child keeps a pipe or a lock of our caller open.
pub fn close_inherited_on_exec() {
    let Ok(entries) = fs::read_dir("/dev/fd") else {
        return;
    };
    let numbers: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for number in numbers {
        // SAFETY: the descriptor is borrowed for two fcntl calls only; when it has been closed since it was listed
        // (the listing's own descriptor has), the calls fail with EBADF and nothing else happens.
        let fd = unsafe { BorrowedFd::borrow_raw(number) };
        if let Ok(flags) = fcntl_getfd(fd) {
            let _ = fcntl_setfd(fd, flags | FdFlags::CLOEXEC);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_detached_child_leads_a_session_of_its_own() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let out = dir.path().join("out");
        let mut command = Command::new("sh");
        command
            .args([
                "-c",
                "ps -o pid=,sid= -p $$ > \"$0.tmp\"; mv \"$0.tmp\" \"$0\"",
            ])
            .arg(&out);
        let mut child = spawn_detached(command, None).expect("sh starts");
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !child.reap() && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
        let text = fs::read_to_string(&out).expect("the child wrote its ids");
        let ids: Vec<&str> = text.split_whitespace().collect();
        assert_eq!(ids.first(), ids.get(1), "{text}");
    }
}
