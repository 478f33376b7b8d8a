//! `dispatch doctor`: what is wrong, and what to do about it.
//!
//! Looking changes nothing and follows no symbolic link; nothing is waited for longer than some seconds. A warning is
//! something by which nothing is lost yet: only what is wrong makes the exit code 1.

mod access;
mod archive;
mod asking;
mod clock;
mod deliveries;
mod disk;
mod events;
mod files;
mod findings;
mod gateway;
mod jobs;
mod ledger;
mod leftovers;
mod limits;
mod reference;
mod repair;
mod runs;
mod settings;
mod timers;
mod unanswered;
mod watchers;

use anyhow::Result;

use self::files::Tree;
use self::findings::Findings;
use super::args::DoctorArgs;
use super::output::Output;
use crate::home::Home;
use crate::ledger::Ledger;

/// Runs the command.
///
/// # Errors
/// When a repair cannot be written; the broken ledger is then untouched.
pub fn run(home: &Home, output: Output, args: &DoctorArgs) -> Result<u8> {
    let ledger = Ledger::new(home);
    let mut found = Findings::default();
    if args.repair {
        repair::run(home, &ledger, &mut found)?;
    }
    check(home, &ledger, &mut found);
    found.print(output, args.verbose)?;
    Ok(found.code())
}

fn check(home: &Home, ledger: &Ledger, found: &mut Findings) {
    // Before the ledger is read: what is new afterwards is nobody's leftover.
    let tree = Tree::of(home, ledger);
    settings::check(home, found);
    let book = ledger::check(home, ledger, found);
    // Whoever cannot read the one cannot read the other.
    if book.is_some() || found.damaged {
        archive::check(home, found);
    }
    if let Some(book) = &book {
        watchers::check(home, ledger, book, found);
        runs::check(home, ledger, book, found);
        deliveries::check(home, ledger, book, found);
        timers::check(home, book, found);
        limits::check(home, book, found);
        clock::check(home, book, found);
        reference::check_work(home, ledger, book, found);
    }
    leftovers::check(home, &tree, book.as_ref(), found);
    disk::check(home, ledger, found);
    disk::check_locks(home, ledger, found);
    files::check(home, &tree, found);
    events::check(home, found);
    reference::check_ledger(home, found);
    gateway::check(home, found);
}
