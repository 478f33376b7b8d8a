//! The machine's clock: generations, pauses and ages count by it.

use super::findings::Findings;
use crate::duration::format_duration;
use crate::home::Home;
use crate::ledger::Book;

/// Clocks that differ by less are fine.
pub(super) const TOLERATED_MS: i64 = 60_000;

/// Compares the clock with the newest time that somebody wrote into the ledger.
pub(super) fn check(home: &Home, book: &Book, found: &mut Findings) {
    let newest = book
        .entries()
        .filter_map(|(label, entry)| Some((entry.time("updatedAt")?, label)))
        .max();
    let Some((at, label)) = newest else {
        return;
    };
    let behind_ms = at.saturating_sub(home.now_ms());
    if behind_ms <= TOLERATED_MS {
        return found.fine("clock", "not behind what was written last");
    }
    let what = format!(
        "this machine's clock is {} behind the time at which label \"{label}\" was written",
        format_duration(behind_ms)
    );
    found
        .wrong("clock", what)
        .todo("set the clock (timedatectl, chronyc makestep); pauses and time limits count by it");
}
