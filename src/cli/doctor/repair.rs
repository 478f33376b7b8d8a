//! `doctor --repair`: what is safe to mend, in an order in which each step stands on the one before. Every act is told;
//! asked again, there is nothing left to do.

use anyhow::Result;

use super::files::{self, Tree};
use super::findings::Findings;
use super::{ledger as book_of, leftovers};
use crate::home::Home;
use crate::ledger::Ledger;
use crate::recovery::{adopt_forgotten_runs, in_need};
use crate::watchers::{Post, ensure_watcher};

/// Mends what can be mended.
///
/// # Errors
/// When the ledger is damaged and cannot be repaired; it is then untouched.
pub(super) fn run(home: &Home, ledger: &Ledger, found: &mut Findings) -> Result<()> {
    let repaired = ledger.repair()?;
    match &repaired {
        Some(repair) => book_of::tell_repair(found, repair),
        None => found.fine("repair", "the ledger is sound; nothing to repair"),
    }
    // Before the ledger is read: what is new afterwards is nobody's leftover.
    let tree = Tree::of(home, ledger);
    let book = ledger.read()?;
    if let Some(trouble) = book_of::trouble_of_backup(ledger, &book) {
        ledger.renew_backup()?;
        found.mended(format!("made a new one: {trouble}"));
    }
    files::mend(home, &tree, found);
    leftovers::mend(home, &tree, Some(&book), found);
    let mut started = adopt_forgotten_runs(home, ledger)?;
    if !started.is_empty() {
        found.mended(format!("runs taken up again: {}", started.join(", ")));
    }
    if repaired.is_some_and(|repair| repair.is_blind) {
        book_of::tell_traces(home, ledger, found)?;
    }
    let mut revived = Vec::new();
    for (label, entry) in in_need(home, &ledger.read()?) {
        let is_watched = Post::of(home, &label, entry.generation()).is_held();
        if !is_watched
            && !started.contains(&label)
            && ensure_watcher(home, &label, entry.generation())
        {
            revived.push(label);
        }
    }
    if !revived.is_empty() {
        found.mended(format!("started watchers for: {}", revived.join(", ")));
    }
    started.extend(revived);
    found.started = started;
    Ok(())
}
