//! Signs of openclaw-scheduler's dispatch beside us: a ledger of its own, or work in ours.

use std::time::Duration;

use super::findings::Findings;
use crate::home::Home;
use crate::ledger::{Book, Ledger};
use crate::record::Entry;

/// Its watchers write a ping each minute.
const PING_WITHIN: Duration = Duration::from_secs(5 * 60);

/// What it wrote within this was written lately.
const WRITTEN_WITHIN: Duration = Duration::from_secs(15 * 60);

/// Names a ledger of the reference that is not the one in use.
pub fn check_ledger(home: &Home, found: &mut Findings) {
    let other = &home.paths.reference_labels;
    if *other != home.paths.labels && other.is_file() {
        found.fine(
            "other ledger",
            format!(
                "openclaw-scheduler has a ledger at {}; to use it, set DISPATCH_LABELS_PATH to it (docs/migrating.md)",
                other.display()
            ),
        );
    }
}

/// Warns when the reference writes into this ledger, too: its locks are not ours.
pub fn check_work(home: &Home, ledger: &Ledger, book: &Book, found: &mut Findings) {
    let now_ms = home.now_ms();
    let mut entries = book.entries();
    let Some(sign) = entries.find_map(|(label, entry)| sign(label, &entry, now_ms)) else {
        return;
    };
    found.wrong(
        "other tool",
        format!(
            "openclaw-scheduler's dispatch writes into {} too ({sign}); neither waits for the other's lock, so a change of one may be lost by the other: let one of them alone write there (docs/migrating.md)",
            ledger.path().display()
        ),
    );
}

/// How an entry shows that the reference wrote it lately. Pure.
fn sign(label: &str, entry: &Entry, now_ms: i64) -> Option<String> {
    let is_within = |name: &str, within: Duration| {
        let age = now_ms.saturating_sub(entry.time(name)?);
        u64::try_from(age)
            .is_ok_and(|age| Duration::from_millis(age) <= within)
            .then_some(age / 60_000)
    };
    if let Some(minutes) = is_within("lastPing", PING_WITHIN) {
        return Some(format!(
            "its watcher of label \"{label}\" gave a sign of life {minutes} min ago"
        ));
    }
    // Ours have a revision, which moves with each write.
    let is_its_own = entry.value("rev").is_none();
    let minutes = is_within("updatedAt", WRITTEN_WITHIN).filter(|_| is_its_own)?;
    Some(format!("it wrote label \"{label}\" {minutes} min ago"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000;

    #[test]
    fn what_the_reference_wrote_lately_shows_that_it_is_at_work() {
        let minutes = |n: i64| NOW - n * 60_000;
        let entry = |fields: &[(&str, i64)], is_ours: bool| {
            let mut entry = Entry::new();
            for (name, at) in fields {
                entry.set_time(name, *at);
            }
            if is_ours {
                entry.set("rev", 3);
            }
            entry
        };
        let seen =
            |fields: &[(&str, i64)], is_ours| sign("l", &entry(fields, is_ours), NOW).is_some();
        assert!(seen(&[("lastPing", minutes(5))], true));
        assert!(!seen(&[("lastPing", minutes(6))], true));
        assert!(seen(&[("updatedAt", minutes(15))], false));
        assert!(!seen(&[("updatedAt", minutes(16))], false));
        assert!(!seen(&[("updatedAt", minutes(1))], true));
        assert!(!seen(&[], false));
    }
}
