//! The ledger and the version before it.

use std::io;

use super::access::way_in;
use super::findings::{Findings, NAMED, and_more};
use crate::events::History;
use crate::home::Home;
use crate::ledger::{Archive, Book, Ledger, LedgerError, Repair, salvage};

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
            found.wrong("ledger", without_advice(&error)).todo(format!(
                "'dispatch doctor --repair' would save {} labels from it ({} broken) and has a backup with {in_backup}",
                saved.entries.len(),
                saved.broken.len(),
            ));
            None
        }
        Err(error) => {
            let todo = match &error {
                LedgerError::Io { path, source, .. }
                    if source.kind() == io::ErrorKind::PermissionDenied =>
                {
                    way_in(home, path)
                }
                LedgerError::Io { path, .. } if !path.is_file() => {
                    "find out who put it there, and move it away".to_owned()
                }
                _ => "look for errors of the disk in the kernel's log (dmesg)".to_owned(),
            };
            found.wrong("ledger", error.to_string()).todo(todo);
            None
        }
    }
}

/// What is wrong, without the advice to ask doctor.
fn without_advice(error: &LedgerError) -> String {
    match error {
        LedgerError::Damaged { path, what } => {
            format!("the ledger {} is damaged: {what}", path.display())
        }
        error => error.to_string(),
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
        Err(LedgerError::Damaged { what, .. }) => {
            Some(format!("the backup {} is no use: {what}", path.display()))
        }
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
    let backup_aside = repair
        .backup_aside
        .as_ref()
        .map_or_else(String::new, |path| {
            format!(
                "; its backup was broken, too, and is kept as {}",
                path.display()
            )
        });
    let names = |labels: &[String]| match labels.is_empty() {
        true => "none".to_owned(),
        false => labels.join(", "),
    };
    let older = match repair.from_backup.is_empty() {
        true => "",
        false => ", whose last change may be missing: the backup is one version older",
    };
    let lost = match (repair.is_blind, repair.lost.is_empty()) {
        (false, _) => names(&repair.lost),
        (true, true) => "nobody can know: no sound backup tells what it held".to_owned(),
        (true, false) => format!(
            "{}, and perhaps more: no sound backup tells what it held",
            names(&repair.lost)
        ),
    };
    found.mended(format!(
        "repaired: {aside}{backup_aside}; {} saved from it; {} taken from the backup ({}){older}; lost: {lost}",
        repair.salvaged.len(),
        repair.from_backup.len(),
        names(&repair.from_backup),
    ));
}

/// Says which labels a ledger that was lost may have had, once everything that can be is back in it.
///
/// # Errors
/// When ledger or archive cannot be read.
pub(super) fn tell_traces(
    home: &Home,
    ledger: &Ledger,
    found: &mut Findings,
) -> Result<(), LedgerError> {
    let book = ledger.read()?;
    let archived = Archive::new(home).last_generations()?;
    let labels = History::of(home).labels().into_iter();
    let gone: Vec<String> = labels
        .filter(|label| !book.contains(label) && !archived.contains_key(label))
        .collect();
    let what = match gone.is_empty() {
        true => "the history names no further label that the ledger may have had".to_owned(),
        false => format!(
            "the history names labels that the ledger may have had, and has no more ({}{})",
            gone.iter()
                .take(NAMED)
                .cloned()
                .collect::<Vec<_>>()
                .join(", "),
            and_more(gone.len())
        ),
    };
    found.warn("ledger", what).todo(format!(
        "what is left of such work: prompts in {}, full texts in {}, sessions at their gateway (dispatch sync takes those up again)",
        home.paths.prompts().display(),
        home.paths.artifacts.display()
    ));
    Ok(())
}
