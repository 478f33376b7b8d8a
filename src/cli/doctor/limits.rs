//! The system's limits on file events, which watchers and runners wait for.

use std::fs;

use super::findings::{Findings, counted};
use crate::home::Home;
use crate::ledger::Book;
use crate::record::Status;
use crate::watchers::{Keeper, Post};

/// Where Linux says how many sources of file events a user may have.
const INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";

/// And how many files they may watch.
const WATCHES: &str = "/proc/sys/fs/inotify/max_user_watches";

/// A watcher watches no more files and directories than this.
const WATCHES_EACH: u64 = 16;

/// Each running label has a watcher and, where it is local, a runner.
const SOURCES_EACH: u64 = 2;

pub(super) fn check(home: &Home, book: &Book, found: &mut Findings) {
    let mut running = 0;
    let mut polling = Vec::new();
    for (label, entry) in book.entries_containing("\"running\"") {
        if entry.status() != Status::Running {
            continue;
        }
        running += 1;
        let post = Post::of(home, label, entry.generation());
        let beat = post.heartbeat(home).filter(|beat| beat.polls);
        let (Keeper::Detached(holder), Some(beat)) = (post.keeper(), beat) else {
            continue;
        };
        if beat.process == holder.process {
            polling.push(label.to_owned());
        }
    }
    let limit = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let (instances, watches) = (limit(INSTANCES), limit(WATCHES));
    if !polling.is_empty() {
        let what = format!(
            "the system has no file events left for {} of the watchers ({}): they look by themselves, and later",
            polling.len(),
            polling.join(", ")
        );
        found.warn("limits", what).todo(raise(instances, running));
        return;
    }
    let Some(scarce) = scarce(running, instances, watches) else {
        return found.fine("limits", "enough file events for what runs");
    };
    let runs = counted(running, "label runs", "labels run");
    let what = format!("{runs}, and the system offers {scarce}");
    found.warn("limits", what).todo(raise(instances, running));
}

/// Which of the limits what runs comes near to. Pure.
fn scarce(running: u64, instances: Option<u64>, watches: Option<u64>) -> Option<String> {
    let near =
        |need: u64, limit: Option<u64>| limit.filter(|limit| need > limit.saturating_mul(9) / 10);
    if let Some(limit) = near(running * SOURCES_EACH, instances) {
        return Some(format!(
            "no more than {limit} sources of file events to a user"
        ));
    }
    near(running * WATCHES_EACH, watches)
        .map(|limit| format!("no more than {limit} watched files to a user"))
}

/// How to have more.
fn raise(instances: Option<u64>, running: u64) -> String {
    let wanted = (running * SOURCES_EACH * 4)
        .max(1024)
        .max(instances.unwrap_or(0).saturating_mul(2));
    format!(
        "allow more: sudo sysctl -w fs.inotify.max_user_instances={wanted} fs.inotify.max_user_watches={}",
        (running * WATCHES_EACH * 4).max(524_288)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_scarce_before_it_is_reached() {
        assert_eq!(scarce(57, Some(128), Some(100_000)), None);
        let told = scarce(59, Some(128), Some(100_000)).expect("118 of 128");
        assert_eq!(told, "no more than 128 sources of file events to a user");
        let told = scarce(60, Some(1000), Some(1000)).expect("960 of 1000");
        assert_eq!(told, "no more than 1000 watched files to a user");
        assert_eq!(scarce(1_000_000, None, None), None);
    }
}
