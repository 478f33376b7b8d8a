//! The file systems under state and artifacts: room, permission to write, and locks that work.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::fs::{Access, OFlags, StatVfs, StatVfsMountFlags};

use super::access::way_in;
use super::findings::{Findings, word};
use crate::duration::format_duration;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::process::FileLock;
use crate::storage::parent_of;

/// With less room than this the next result may not fit.
const MIN_FREE_BYTES: u64 = 16 * 1024 * 1024;

/// With less room than this it is time to look for some.
const LITTLE_FREE_BYTES: u64 = 100 * 1024 * 1024;

/// So small a part of a file system is little, too, unless it is much in itself.
const LITTLE_FREE_PERCENT: u64 = 5;
const MUCH_FREE_BYTES: u64 = 1024 * 1024 * 1024;

/// With fewer files to be had than this, it is time to look for more.
const FEW_FREE_FILES: u64 = 1000;

/// A lock is asked for without waiting: whoever takes so long to answer hangs.
const LOCK_LIMIT: Duration = Duration::from_secs(3);

/// Nobody keeps the ledger's lock for so long.
const LONG_HELD_MS: i64 = 60_000;

/// How a file system is for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Enough,
    Little,
    TooLittle,
}

/// Pure.
fn room(free_bytes: u64, all_bytes: u64) -> Room {
    let is_small_part =
        free_bytes.saturating_mul(100) < all_bytes.saturating_mul(LITTLE_FREE_PERCENT);
    if free_bytes < MIN_FREE_BYTES {
        Room::TooLittle
    } else if free_bytes < LITTLE_FREE_BYTES || (is_small_part && free_bytes < MUCH_FREE_BYTES) {
        Room::Little
    } else {
        Room::Enough
    }
}

/// Checks each file system once.
pub(super) fn check(home: &Home, ledger: &Ledger, found: &mut Findings) {
    let mut dirs = vec![
        nearest_that_is_there(&home.paths.home),
        nearest_that_is_there(parent_of(ledger.path())),
        nearest_that_is_there(&home.paths.artifacts),
    ];
    dirs.dedup();
    let mut seen = BTreeSet::new();
    for dir in dirs {
        let Ok(disk) = rustix::fs::statvfs(&dir) else {
            continue;
        };
        let is_new = seen.insert(disk.f_fsid);
        let is_readonly = disk.f_flag.contains(StatVfsMountFlags::RDONLY);
        if is_new && is_readonly {
            found
                .wrong("disk", format!("{} is mounted read-only", dir.display()))
                .todo("look for errors of the disk in the kernel's log (dmesg), then remount it");
        }
        if is_new {
            check_room(&dir, &disk, found);
        }
        let can = |access| rustix::fs::access(&dir, access).is_ok();
        let what = match can(Access::WRITE_OK | Access::EXEC_OK) {
            true if can(Access::READ_OK) => continue,
            true => "cannot be listed",
            false if is_readonly => continue,
            false => "cannot be written to",
        };
        found
            .wrong("disk", format!("{} {what}", dir.display()))
            .todo(way_in(home, &dir));
    }
}

fn nearest_that_is_there(dir: &Path) -> PathBuf {
    let there = dir.ancestors().find(|dir| dir.is_dir());
    there.unwrap_or(Path::new("/")).to_owned()
}

fn check_room(dir: &Path, disk: &StatVfs, found: &mut Findings) {
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let all = disk.f_blocks.saturating_mul(disk.f_frsize);
    let told = format!("{} has {} free", dir.display(), amount(free));
    let todo = format!(
        "results wait until there is room, and what commands print meanwhile is lost: free some; the largest: du -xh {} | sort -h | tail",
        word(dir)
    );
    match room(free, all) {
        Room::TooLittle => found.wrong("disk", told).todo(todo),
        Room::Little => found.warn("disk", told).todo(todo),
        Room::Enough => found.fine("disk", told),
    }
    // A file system that does not count its files says that it has none.
    if disk.f_files > 0 && disk.f_favail < FEW_FREE_FILES {
        let told = format!(
            "the file system of {} has room for {} more files",
            dir.display(),
            disk.f_favail
        );
        let todo = format!(
            "remove some; the most: du -x --inodes {} | sort -n | tail",
            word(dir)
        );
        match disk.f_favail {
            0..20 => found.wrong("disk", told).todo(todo),
            _ => found.warn("disk", told).todo(todo),
        }
    }
}

fn amount(bytes: u64) -> String {
    const STEPS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let step = STEPS.iter().find(|(_, size)| bytes >= *size);
    let (name, size) = step.unwrap_or(&("bytes", 1));
    format!("{} {name}", bytes / size)
}

/// Whether the ledger's lock works, and is not kept by somebody who does not work with it any more.
pub(super) fn check_locks(home: &Home, ledger: &Ledger, found: &mut Findings) {
    let path = ledger.lock_path();
    let (tell, told) = channel();
    let asked = path.clone();
    thread::spawn(move || {
        let _ = tell.send(probe(&asked));
    });
    let shown = path.display();
    match told.recv_timeout(LOCK_LIMIT) {
        Err(_) => {
            let what = format!("asking for the lock {shown} hangs");
            found.wrong("locks", what).todo(
                "the file system's server does not answer: have its lock service looked at, or move the state to a local disk (DISPATCH_HOME)",
            );
        }
        Ok(Err(e)) if e.kind() == io::ErrorKind::NotFound => {
            found.fine("locks", "none was ever taken");
        }
        Ok(Err(e)) if e.kind() == io::ErrorKind::WouldBlock => check_holder(home, &path, found),
        Ok(Err(e)) if e.kind() == io::ErrorKind::PermissionDenied => {
            found
                .wrong("locks", format!("the lock {shown} cannot be opened: {e}"))
                .todo(way_in(home, &path));
        }
        Ok(Err(e)) => {
            found.wrong("locks", format!("the lock {shown} cannot be taken: {e}")).todo(
                "dispatch needs a file system with flock(2); move the state to a local disk (DISPATCH_HOME)",
            );
        }
        Ok(Ok(())) => found.fine("locks", format!("{shown} is free")),
    }
}

/// Takes the lock, shared, for an instant.
fn probe(path: &Path) -> io::Result<()> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::options()
        .read(true)
        // The flags are small positive numbers on every supported system, so the conversion is exact.
        .custom_flags(flags.bits() as i32)
        .open(path)?;
    fs2::FileExt::try_lock_shared(&file).map_err(|e| {
        let is_held = e.raw_os_error() == fs2::lock_contended_error().raw_os_error();
        if is_held {
            io::ErrorKind::WouldBlock.into()
        } else {
            e
        }
    })
}

fn check_holder(home: &Home, path: &Path, found: &mut Findings) {
    let shown = path.display();
    let holder = FileLock::holder(path);
    let see = format!("to see who has it open: fuser -v {}", word(path));
    match holder.filter(|holder| holder.process.is_alive()) {
        // Whoever has just got it has not signed yet; a process that inherited it never does.
        None if !is_held_still(path) => found.fine("locks", format!("{shown} works")),
        None => {
            let what = format!("the lock {shown} is held, and not by whoever signed for it last");
            found.wrong("locks", what).todo(see);
        }
        Some(holder) => {
            let age_ms = home.now_ms().saturating_sub(holder.since);
            if holder.since == 0 || age_ms < LONG_HELD_MS {
                return found.fine("locks", format!("{shown} is held by {holder}"));
            }
            let what = format!(
                "the lock {shown} is held by {holder} for {}; everybody who changes the ledger waits",
                format_duration(age_ms)
            );
            let pid = holder.process.pid;
            found.wrong("locks", what).todo(format!(
                "let it go on (kill -CONT {pid}) or end it: kill -KILL {pid}"
            ));
        }
    }
}

/// After a while in which anybody alive would have signed.
fn is_held_still(path: &Path) -> bool {
    let mut is_held = true;
    for _ in 0..10 {
        thread::sleep(Duration::from_millis(50));
        let is_signed = FileLock::holder(path).is_some_and(|holder| holder.process.is_alive());
        is_held = FileLock::is_held(path) && !is_signed;
        if !is_held {
            break;
        }
    }
    is_held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_room_is_little_in_itself_or_a_small_part() {
        const MIB: u64 = 1024 * 1024;
        let cases = [
            (15 * MIB, 20 * MIB, Room::TooLittle),
            (16 * MIB, 20 * MIB, Room::Little),
            (99 * MIB, 100 * MIB, Room::Little),
            (100 * MIB, 1000 * MIB, Room::Enough),
            (100 * MIB, 2001 * MIB, Room::Little),
            (1023 * MIB, 100 * 1024 * MIB, Room::Little),
            (1024 * MIB, 100 * 1024 * MIB, Room::Enough),
        ];
        for (free, all, expected) in cases {
            assert_eq!(room(free, all), expected, "{free} of {all}");
        }
    }

    #[test]
    fn amounts_are_told_in_the_largest_unit_that_fits() {
        for (bytes, told) in [(1023, "1023 bytes"), (1024, "1 KiB"), (3 << 30, "3 GiB")] {
            assert_eq!(amount(bytes), told);
        }
    }
}
