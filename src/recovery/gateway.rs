//! Deliveries that were parked because their watcher knew of no gateway, taken up by a scan that knows of one.
//!
//! A watcher has the environment of whoever started it, and a gateway that variables name is not written down: their token
//! must not be.

use super::Options;
use crate::delivery::{lacks_gateway, outbox::hurry};
use crate::gateway::configured;
use crate::home::Home;
use crate::ledger::{Ledger, LedgerError, Patience};
use crate::record::Entry;
use crate::watchers::Post;

/// Has such records sent again, where no watcher is at its post: the one that is started next has our environment.
///
/// # Errors
/// When the ledger cannot be read or written.
pub fn take_up_parked(home: &Home, options: &Options) -> Result<(), LedgerError> {
    if options.dry_run || configured(&home.paths, &home.environment).is_none() {
        return Ok(());
    }
    let ledger = Ledger::new(home);
    let is_ours = |label: &str, entry: &Entry| {
        options.concerns(label)
            && entry.deliveries().iter().any(lacks_gateway)
            && !Post::of(home, label, entry.generation()).is_held()
    };
    let book = ledger.read()?;
    let found = book.entries_containing("\"parked\"");
    let labels: Vec<String> = found
        .filter(|(label, entry)| is_ours(label, entry))
        .map(|(label, _)| label.to_owned())
        .collect();
    if labels.is_empty() {
        return Ok(());
    }
    ledger.update(Patience::Unlimited, |book| {
        for label in &labels {
            let Some(mut entry) = book.get(label) else {
                continue;
            };
            let mut parked = entry.deliveries();
            parked.retain(lacks_gateway);
            for record in &mut parked {
                hurry(record, book.now_ms());
                entry.put_delivery(record);
            }
            if !parked.is_empty() {
                book.put(label, entry);
            }
        }
    })
}
