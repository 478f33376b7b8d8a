//! The ledger and the version before it.

use crate::home::Home;
use crate::ledger::{Book, Ledger, LedgerError, Repair, salvage};

use super::findings::Findings;

/// Reads the ledger and says how it is; `None` when it cannot be read.
pub(super) fn check(home: &Home, ledger: &Ledger, found: &mut Findings) -> Option<Book> {
    match ledger.read() {
        Ok(book) => {
            let count = book.labels().count();
            let labels = if count == 1 { "label" } else { "labels" };
            found.fine(
                "ledger",
                format!("{}: {count} {labels}", ledger.path().display()),
            );
            for damage in book.labels().filter_map(|label| book.unreadable(label)) {
                found
                    .wrong("entry", damage.to_string())
                    .todo("it is kept as it is, and a change of it is refused: mend it by hand");
            }
            check_backup(ledger, &book, found);
            Some(book)
        }
        Err(error @ LedgerError::Damaged { .. }) => {
            found.damaged = true;
            let bytes = home.storage.read(ledger.path()).unwrap_or_default();
            let saved = salvage(&bytes);
            let backup = home.storage.read(&ledger.backup_path()).unwrap_or_default();
            let in_backup = salvage(&backup).entries.len();
            found.wrong("ledger", error.to_string()).todo(format!(
                "'dispatch doctor --repair' would save {} labels from it ({} broken) and has a backup with {in_backup}",
                saved.entries.len(),
                saved.broken.len(),
            ));
            None
        }
        Err(error) => {
            found.wrong("ledger", error.to_string());
            None
        }
    }
}

/// What is wrong with the backup, in a sentence.
pub(super) fn trouble_of_backup(ledger: &Ledger, book: &Book) -> Option<String> {
    let path = ledger.backup_path();
    match ledger.read_backup() {
        Ok(Some(_)) => None,
        // The first write has nothing to keep.
        Ok(None) => book
            .entries()
            .any(|(_, entry)| entry.rev() > 1)
            .then(|| format!("the backup {} is missing", path.display())),
        Err(error) => Some(format!("the backup {} is no use: {error}", path.display())),
    }
}

fn check_backup(ledger: &Ledger, book: &Book, found: &mut Findings) {
    match trouble_of_backup(ledger, book) {
        Some(trouble) => found.warn("backup", trouble).todo(
            "the next change of the ledger makes a new one; at once: dispatch doctor --repair",
        ),
        None => found.fine("backup", "as it should be"),
    }
}

/// Says what a repair of the ledger did.
pub(super) fn tell_repair(found: &mut Findings, repair: &Repair) {
    let aside = match &repair.kept_aside {
        Some(path) => format!("the broken file is kept as {}", path.display()),
        None => "the ledger was missing".to_owned(),
    };
    let names = |labels: &[String]| match labels.is_empty() {
        true => "none".to_owned(),
        false => labels.join(", "),
    };
    let older = match repair.from_backup.is_empty() {
        true => "",
        false => ", whose last change may be missing: the backup is one version older",
    };
    found.mended(format!(
        "repaired: {aside}; {} saved from it; {} taken from the backup ({}){older}; lost: {}",
        repair.salvaged.len(),
        repair.from_backup.len(),
        names(&repair.from_backup),
        names(&repair.lost),
    ));
}
