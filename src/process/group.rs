//! Process groups: a command and everything it started.

use std::io;

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

use super::ProcessIdentity;

fn pid_of(pgid: u32) -> Option<Pid> {
    i32::try_from(pgid)
        .ok()
        .filter(|n| *n > 1)
        .and_then(Pid::from_raw)
}

/// Sends a signal to every process of a group; a group that is gone is no error.
///
/// # Errors
/// When the group belongs to another user.
pub fn signal_group(pgid: u32, signal: Signal) -> io::Result<()> {
    let Some(pid) = pid_of(pgid) else {
        return Ok(());
    };
    match kill_process_group(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Sends a signal to this very process; one that is gone is no error.
///
/// # Errors
/// When it belongs to another user.
pub fn signal_process(process: &ProcessIdentity, signal: Signal) -> io::Result<()> {
    let Some(pid) = pid_of(process.pid).filter(|_| process.is_alive()) else {
        return Ok(());
    };
    match kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Some process still runs of the group that `leader` leads, or led until its death. A group's number is not given to
/// another process while the group has members, so somebody else under the leader's pid, or another boot, means that
/// it is gone and the number is a stranger's.
///
/// Limitation: a later group of the same number in the same boot, its leader dead too, is taken for this one.
pub fn led_group_alive(leader: &ProcessIdentity) -> bool {
    match ProcessIdentity::of(leader.pid) {
        Some(now) => now == *leader,
        None => leader.is_of_this_boot() && group_alive(leader.pid),
    }
}

/// Some process of the group still runs; zombies that nobody reaped do not count.
fn group_alive(pgid: u32) -> bool {
    let Some(pid) = pid_of(pgid) else {
        return false;
    };
    if test_kill_process_group(pid) == Err(rustix::io::Errno::SRCH) {
        return false;
    }
    has_running_member(pgid)
}

#[cfg(target_os = "linux")]
fn has_running_member(pgid: u32) -> bool {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return true;
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(super::identity::stat_fields)
        .any(|fields| {
            let state = fields.first().map(String::as_str);
            let group = fields.get(2).and_then(|group| group.parse::<u32>().ok());
            group == Some(pgid) && !matches!(state, Some("Z" | "X"))
        })
}

#[cfg(target_os = "macos")]
fn has_running_member(_pgid: u32) -> bool {
    // launchd reaps orphans at once, so the kernel's answer is enough.
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    #[test]
    fn a_group_under_a_reused_number_is_not_the_leaders() {
        let own = ProcessIdentity::current();
        assert!(led_group_alive(&own));
        let mut before = own.clone();
        before.start_time.push('0');
        assert!(!led_group_alive(&before));
    }

    #[test]
    fn a_group_dies_as_one_and_an_unreaped_zombie_is_no_life() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 60 & sleep 60"])
            .process_group(0)
            .spawn()
            .expect("sh is on every supported system");
        assert!(group_alive(child.id()));
        signal_group(child.id(), Signal::KILL).expect("our own group can be killed");
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while group_alive(child.id()) && std::time::Instant::now() < end {
            std::thread::yield_now();
        }
        assert!(!group_alive(child.id()));
        child.wait().expect("our own child can be waited for");
        assert!(signal_group(child.id(), Signal::TERM).is_ok());
    }
}
