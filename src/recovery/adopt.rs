//! Local runs that the ledger does not know: what a lost or repaired ledger forgot is still described on the disk.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use crate::backend::local::{RunFiles, RunSpec};
use crate::home::Home;
use crate::ledger::{Archive, Book, Ledger, LedgerError, Patience};
use crate::record::{Entry, Generation};
use crate::watchers::ensure_watcher;

/// The newest started run of each label that is in neither ledger nor archive. What was never started was never
/// acknowledged: a killed `enqueue` left it.
pub fn forgotten_runs(home: &Home, book: &Book) -> Vec<RunSpec> {
    let runs = home.paths.sessions().join("runs");
    let storage = home.storage.as_ref();
    let mut newest: BTreeMap<String, RunSpec> = BTreeMap::new();
    let mut archive = None;
    for name in storage.list(&runs).unwrap_or_default() {
        let files = RunFiles::at(runs.join(name));
        let (Ok(spec), Ok(Some(_))) = (files.spec(storage), files.start(storage)) else {
            continue;
        };
        let is_newer = newest
            .get(&spec.label)
            .is_none_or(|other| place_of(other) < place_of(&spec));
        if is_newer && !spec.entry.is_empty() && !is_known(home, book, &spec, &mut archive) {
            newest.insert(spec.label.clone(), spec);
        }
    }
    newest.into_values().collect()
}

/// Which of a label's runs is the later one: its generation, then its attempt.
fn place_of(spec: &RunSpec) -> (u64, u64) {
    let attempt = spec.entry.get("attempt").and_then(Value::as_u64);
    (spec.generation, attempt.unwrap_or(1))
}

/// `archive` is read when it is asked for the first time.
fn is_known(
    home: &Home,
    book: &Book,
    spec: &RunSpec,
    archive: &mut Option<HashMap<String, Generation>>,
) -> bool {
    let generation = Generation::new(spec.generation);
    let in_ledger = book
        .get(&spec.label)
        .is_some_and(|entry| entry.generation() >= generation);
    let read = || Archive::new(home).last_generations().unwrap_or_default();
    in_ledger
        || archive
            .get_or_insert_with(read)
            .get(&spec.label)
            .is_some_and(|last| *last >= generation)
}

/// Enters forgotten runs into the ledger again, as they stood when they were enqueued, and has them watched: their
/// watchers find out how they ended. Returns their labels.
///
/// # Errors
/// When the ledger cannot be read or written.
pub fn adopt_forgotten_runs(home: &Home, ledger: &Ledger) -> Result<Vec<String>, LedgerError> {
    let forgotten = forgotten_runs(home, &ledger.read()?);
    if forgotten.is_empty() {
        return Ok(Vec::new());
    }
    let adopted = ledger.update(Patience::Command, |book| {
        let mut adopted = Vec::new();
        let mut archive = None;
        for spec in forgotten {
            if is_known(home, book, &spec, &mut archive) {
                continue;
            }
            book.put(&spec.label, taken_up(Entry::from_fields(spec.entry)));
            adopted.push((spec.label, Generation::new(spec.generation)));
        }
        adopted
    })?;
    for (label, generation) in &adopted {
        ensure_watcher(home, label, *generation);
    }
    Ok(adopted.into_iter().map(|(label, _)| label).collect())
}

/// The entry of a run that the ledger forgot. Of what it owes nobody knows any more whether it was told.
fn taken_up(mut entry: Entry) -> Entry {
    entry.doubt_deliveries();
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Content, Delivery, DeliveryKind};

    #[test]
    fn what_a_forgotten_run_owes_may_have_been_told_before() {
        let mut entry = Entry::default();
        let key = "l/5/1/starting/webhook:ops".to_owned();
        let kind = DeliveryKind::Starting;
        entry.put_delivery(&Delivery::new(
            key,
            kind,
            "webhook:ops",
            Content::default(),
            0,
        ));
        let records = taken_up(entry).deliveries();
        assert_eq!(records.len(), 1);
        assert!(records[0].may_be_repeat);
    }
}
