//! Whether every running label is watched, and by whom.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::findings::Findings;
use crate::backend::RunRef;
use crate::home::Home;
use crate::ledger::{Book, Ledger};
use crate::process::FileLock;
use crate::record::{Entry, Status};
use crate::shell;
use crate::watchers::{Keeper, Post};

pub(super) fn check(home: &Home, ledger: &Ledger, book: &Book, found: &mut Findings) {
    let mut alive: usize = 0;
    let mut outdated: Vec<String> = Vec::new();
    let mut unwatched = Vec::new();
    for (label, entry) in book.entries_containing("\"running\"") {
        if entry.status() != Status::Running {
            continue;
        }
        if RunRef::of_entry(label, &entry).is_none() {
            let what = format!("label \"{label}\" is running, and another tool started it");
            found.wrong("watcher", what).todo(format!(
                "where that no longer watches it, take it over: dispatch watcher-handoff {}",
                shell::label(label)
            ));
            continue;
        }
        let post = Post::of(home, label, entry.generation());
        if !post.is_held() {
            if !found.started.iter().any(|started| started == label) {
                unwatched.push((label.to_owned(), entry));
            }
            continue;
        }
        alive += 1;
        if let Some(wedged) = post.wedged(home) {
            let pid = wedged.process.pid;
            let what = format!(
                "label \"{label}\": its watcher (pid {pid}) holds its post and has not stirred for {} s",
                home.now_ms().saturating_sub(wedged.since_ms) / 1000
            );
            found.wrong("watcher", what).todo(format!(
                "'529-recovery' replaces it after 10 minutes; at once: kill -KILL {pid}; dispatch watcher-handoff {}",
                shell::label(label)
            ));
        } else if is_outdated(home, &post) {
            outdated.push(label.to_owned());
        }
    }
    for (label, entry) in unchanged(ledger, unwatched) {
        if Post::of(home, &label, entry.generation()).is_held() {
            continue;
        }
        let what = format!("label \"{label}\" is running and its watcher is dead");
        found
            .wrong("watcher", what)
            .todo("'529-recovery' starts a new one, and so does: dispatch doctor --repair");
    }
    if !outdated.is_empty() {
        let what = format!(
            "{} of the watchers run another version of the program than the one installed ({})",
            outdated.len(),
            outdated.join(", ")
        );
        found
            .warn("watcher", what)
            .todo("have fresh ones take over: dispatch watcher-handoff --all");
    }
    let others = held(home).saturating_sub(alive);
    found.fine("watchers", match others {
        0 => format!("{alive} alive"),
        _ => format!("{} alive, {others} of them with a label that has ended: for last words, or deliveries", alive + others),
    });
}

/// How many posts somebody is at.
fn held(home: &Home) -> usize {
    let dir = home.paths.watchers();
    let names = home.storage.list(&dir).unwrap_or_default().into_iter();
    names
        .map(|name| dir.join(name))
        .filter(|path| path.extension().is_some_and(|ending| ending == "lock"))
        .filter(|path| FileLock::is_held(path))
        .count()
}

/// Those whose entries are still what was read a while ago; of a label that has changed since, somebody takes care.
pub(super) fn unchanged(ledger: &Ledger, suspects: Vec<(String, Entry)>) -> Vec<(String, Entry)> {
    if suspects.is_empty() {
        return suspects;
    }
    let Ok(now) = ledger.read() else {
        return Vec::new();
    };
    let suspects = suspects.into_iter();
    suspects
        .filter(|(label, entry)| now.get(label).as_ref() == Some(entry))
        .collect()
}

/// The watcher at the post was started from another file than the program that would be started now: after an upgrade
/// the old file is gone from its place, but runs on. Only Linux tells which file a process was started from.
fn is_outdated(home: &Home, post: &Post) -> bool {
    let Keeper::Detached(holder) = post.keeper() else {
        return false;
    };
    let file_of = |path: &Path| {
        let facts = std::fs::metadata(path).ok()?;
        Some((facts.dev(), facts.ino()))
    };
    let running = file_of(Path::new(&format!("/proc/{}/exe", holder.process.pid)));
    let installed = file_of(&home.programs.watcher);
    matches!((running, installed), (Some(running), Some(installed)) if running != installed)
}
