//! Which process a pid means.
//!
//! A pid alone is reused; a pid with its start time (and, on Linux, the boot it started in) is not.

use std::fs;

use serde::{Deserialize, Serialize};

/// A process that can be told from a later one with the same pid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProcessIdentity {
    /// Process id.
    pub pid: u32,
    /// Start time in the kernel's own terms; only ever compared.
    pub start_time: String,
}

impl ProcessIdentity {
    /// This process.
    pub fn current() -> Self {
        let pid = std::process::id();
        Self::of(pid).unwrap_or(Self {
            pid,
            start_time: String::new(),
        })
    }

    /// The process that has this pid now; `None` when there is none or it is a zombie.
    pub fn of(pid: u32) -> Option<Self> {
        start_time(pid).map(|start_time| Self { pid, start_time })
    }

    /// This very process still runs.
    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).is_some_and(|now| now == *self)
    }

    /// It was started since the machine was, as far as the system's start times tell (macOS: they do not).
    pub(super) fn is_of_this_boot(&self) -> bool {
        let boot = |identity: &Self| {
            identity
                .start_time
                .split_once(':')
                .map(|(b, _)| b.to_owned())
        };
        cfg!(target_os = "macos") || boot(self) == boot(&Self::current())
    }
}

/// `/proc/<pid>/stat`, split after the command name (which may hold anything): state is field 0.
#[cfg(target_os = "linux")]
pub(super) fn stat_fields(pid: u32) -> Option<Vec<String>> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&stat);
    let after_name = text.rsplit_once(')')?.1;
    Some(after_name.split_whitespace().map(str::to_owned).collect())
}

#[cfg(target_os = "linux")]
fn start_time(pid: u32) -> Option<String> {
    let fields = stat_fields(pid)?;
    if matches!(fields.first()?.as_str(), "Z" | "X") {
        return None;
    }
    // Field 22 of proc(5), counted from 1 and including pid and name.
    let ticks = fields.get(19)?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot = boot.get(..8).unwrap_or_default();
    Some(format!("{boot}:{ticks}"))
}

#[cfg(target_os = "macos")]
fn start_time(pid: u32) -> Option<String> {
    let output = std::process::Command::new("/bin/ps")
        .args(["-o", "stat=,lstart=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let (state, started) = text.split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_a_reaped_child_is_not() {
        assert!(ProcessIdentity::current().is_alive());
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .expect("sleep is on every supported system");
        let identity = ProcessIdentity::of(child.id()).expect("the child runs");
        assert!(identity.is_alive());
        child.kill().expect("our own child can be killed");
        child.wait().expect("our own child can be waited for");
        assert!(!identity.is_alive());
    }

    #[test]
    fn the_same_pid_with_another_start_is_another_process() {
        let mut identity = ProcessIdentity::current();
        identity.start_time.push('0');
        assert!(!identity.is_alive());
    }
}
