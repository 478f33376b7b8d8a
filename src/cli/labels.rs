//! Finding the label that a command names.

use anyhow::Result;

use super::exit::{damaged, failure};
use crate::duration::format_ago;
use crate::home::Home;
use crate::ledger::{Archive, Book};
use crate::nearest::nearest;
use crate::record::Entry;
use crate::shell;

/// The label's entry.
///
/// # Errors
/// A sentence when the ledger has no such label: that it is archived, or else the nearest labels; and when its entry
/// cannot be read.
pub fn find(home: &Home, book: &Book, label: &str) -> Result<Entry> {
    if let Some(entry) = book.get(label) {
        return Ok(entry);
    }
    check_readable(book, label)?;
    match Archive::new(home).latest(label)? {
        Some(entry) => Err(failure(archived(home, label, &entry))),
        None => Err(absent(book, label)),
    }
}

/// The sentence for a label that is in the archive alone.
pub fn archived(home: &Home, label: &str, entry: &Entry) -> String {
    let ended = entry.time("endedAt").or_else(|| entry.time("updatedAt"));
    let when = ended.map_or_else(String::new, |at| {
        format!(" {}", format_ago(home.now_ms() - at))
    });
    format!(
        "label \"{label}\" is archived: it ended as {}{when}; what is kept of it is printed by: dispatch result {}",
        entry.status(),
        shell::label(label)
    )
}

/// The error for a label without an entry, or with one that cannot be read.
pub fn absent(book: &Book, label: &str) -> anyhow::Error {
    match book.unreadable(label) {
        Some(damage) => damaged(format!(
            "{damage}; see what can be saved by: dispatch doctor"
        )),
        None => failure(unknown(book, label)),
    }
}

/// Refuses a label whose entry cannot be read: what the archive has of it is older.
///
/// # Errors
/// A sentence with the place that cannot be read.
pub fn check_readable(book: &Book, label: &str) -> Result<()> {
    match book.unreadable(label) {
        Some(_) => Err(absent(book, label)),
        None => Ok(()),
    }
}

/// The sentence for a label without an entry.
pub fn unknown(book: &Book, label: &str) -> String {
    let near = nearest(label, book.labels());
    let hint = match near.is_empty() {
        true => "; 'dispatch list' shows what there is".to_owned(),
        false => format!(
            "; did you mean {}?",
            near.iter()
                .map(|l| format!("\"{l}\""))
                .collect::<Vec<_>>()
                .join(" or ")
        ),
    };
    format!("no session found for label \"{label}\"{hint}")
}
