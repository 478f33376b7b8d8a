//! Saving what a damaged ledger still holds.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::replace::replace;
use super::{Book, Ledger, LedgerError, Patience};
use crate::record::time;
use crate::storage::create_synced;

/// What could be read out of a damaged ledger's text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Salvage {
    /// Entries that are whole, as the text they are.
    pub entries: Vec<(String, String)>,
    /// Labels whose entries are not.
    pub broken: Vec<String>,
}

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Repair {
    /// The broken file, kept aside; `None` when the ledger was missing.
    pub kept_aside: Option<PathBuf>,
    /// Labels saved from the broken file.
    pub salvaged: Vec<String>,
    /// Labels taken from the backup.
    pub from_backup: Vec<String>,
    /// Labels that could not be saved.
    pub lost: Vec<String>,
    /// The backup, kept aside because it was broken, too.
    pub backup_aside: Option<PathBuf>,
    /// There was no sound backup: what else the ledger held, nobody can know.
    pub is_blind: bool,
}

/// Reads every entry that parses out of a damaged text. Never fails: the worst text holds nothing.
pub fn salvage(bytes: &[u8]) -> Salvage {
    let mut found = Salvage::default();
    let mut at = first_label(bytes);
    while let Some(quote) = find(bytes, at, b"\"") {
        let Some((label, after_label)) = parse_at::<String>(bytes, quote) else {
            at = next_label(bytes, quote + 1);
            continue;
        };
        let value = skip_space(bytes, after_label);
        if bytes.get(value) != Some(&b':') {
            at = next_label(bytes, quote + 1);
            continue;
        }
        let value = skip_space(bytes, value + 1);
        match parse_at::<&RawValue>(bytes, value) {
            Some((entry, end)) if entry.get().starts_with('{') => {
                found.entries.retain(|(other, _)| *other != label);
                found.entries.push((label, entry.get().to_owned()));
                at = end;
            }
            other => {
                found.broken.push(label);
                // A whole value of another kind is where it ends, however the text is laid out.
                at = match other.filter(|(_, end)| is_followed(bytes, *end)) {
                    Some((_, end)) => end,
                    None => next_label(bytes, value),
                };
            }
        }
    }
    let whole: BTreeSet<&String> = found.entries.iter().map(|(label, _)| label).collect();
    found.broken.retain(|label| !whole.contains(label));
    found
}

fn find(bytes: &[u8], from: usize, needle: &[u8]) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(needle.len())
        .position(|window| window == needle)
        .map(|n| from + n)
}

/// Where the first label starts: right after the opening brace, or, where the beginning is damaged, at the next place
/// that can only be a label's. What stands before it is the rest of some entry.
fn first_label(bytes: &[u8]) -> usize {
    let start = skip_space(bytes, 0);
    match bytes.get(start) {
        Some(b'{') => start + 1,
        _ => next_label(bytes, 0),
    }
}

/// The next place where a label can start: two spaces after a line break. Deeper lines belong to an entry.
fn next_label(bytes: &[u8], from: usize) -> usize {
    find(bytes, from, b"\n  \"").map_or(bytes.len(), |n| n + 3)
}

/// What stands there goes on with the next label, or ends the ledger.
fn is_followed(bytes: &[u8], at: usize) -> bool {
    matches!(bytes.get(skip_space(bytes, at)), Some(b',' | b'}'))
}

fn skip_space(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|b| b.is_ascii_whitespace()).count()
}

/// One JSON value that starts at `at`, and where it ends.
fn parse_at<'a, T: Deserialize<'a>>(bytes: &'a [u8], at: usize) -> Option<(T, usize)> {
    let mut values = serde_json::Deserializer::from_slice(bytes.get(at..)?).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((value, at + values.byte_offset()))
}

impl Ledger {
    /// Rebuilds a damaged or missing ledger from what it still holds and from its backup. The broken file is copied
    /// aside first. `Ok(None)` when the ledger is sound.
    ///
    /// # Errors
    /// When the lock cannot be had or a file cannot be written; the broken ledger is then untouched.
    pub fn repair(&self) -> Result<Option<Repair>, LedgerError> {
        let _lock = self.lock(Patience::Command)?;
        match self.read() {
            Ok(_) => return Ok(None),
            Err(LedgerError::Damaged { .. }) => {}
            Err(other) => return Err(other),
        }
        let broken = self.read_if_there(self.path.clone())?;
        let backup = self.read_if_there(self.backup_path())?;
        let mut repair = Repair::default();
        if let Some(bytes) = &broken {
            repair.kept_aside = Some(self.keep_aside(&self.path, bytes)?);
        }
        repair.is_blind = !matches!(self.read_backup(), Ok(Some(_)));
        if let Some(bytes) = backup.as_ref().filter(|_| repair.is_blind) {
            repair.backup_aside = Some(self.keep_aside(&self.backup_path(), bytes)?);
        }
        let saved = salvage(broken.as_deref().unwrap_or_default());
        let mut book = Book::empty(self.home.now_ms());
        for (label, entry) in saved.entries {
            book.restore_text(&label, &entry);
            repair.salvaged.push(label);
        }
        let older = salvage(backup.as_deref().unwrap_or_default());
        for (label, entry) in older.entries {
            if !book.contains(&label) {
                book.restore_text(&label, &entry);
                repair.from_backup.push(label);
            }
        }
        let broken: BTreeSet<String> = saved.broken.into_iter().chain(older.broken).collect();
        repair.lost = broken
            .into_iter()
            .filter(|label| !book.contains(label))
            .collect();
        self.write_repaired(&book)?;
        Ok(Some(repair))
    }

    /// The version before the last write; `None` where there is none.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    pub fn read_backup(&self) -> Result<Option<Book>, LedgerError> {
        let path = self.backup_path();
        let Some(bytes) = self.read_if_there(path.clone())? else {
            return Ok(None);
        };
        let book = Book::parse(bytes, self.home.now_ms());
        book.map(Some).map_err(|damage| LedgerError::Io {
            action: "make sense of",
            path,
            source: io::Error::new(io::ErrorKind::InvalidData, damage.to_string()),
        })
    }

    /// Makes the backup anew, as a copy of the ledger, which must be sound.
    ///
    /// # Errors
    /// When the lock cannot be had, the ledger is not sound, or the copy cannot be written; both are then as they were.
    pub fn renew_backup(&self) -> Result<(), LedgerError> {
        let _lock = self.lock(Patience::Command)?;
        let book = self.read()?;
        replace(self.storage.as_ref(), &self.backup_path(), None, &|out| {
            book.write_to(out)
        })
    }

    /// Writes over the broken file; the good backup stays what it is.
    fn write_repaired(&self, book: &Book) -> Result<(), LedgerError> {
        replace(self.storage.as_ref(), &self.path, None, &|out| {
            book.write_to(out)
        })
    }

    fn keep_aside(&self, broken: &Path, bytes: &[u8]) -> Result<PathBuf, LedgerError> {
        let stamp = time::iso(self.home.now_ms()).replace([':', '-'], "");
        let base = super::with_suffix(broken, &format!(".broken-{stamp}"));
        for n in 1..=100 {
            let path = match n {
                1 => base.clone(),
                n => super::with_suffix(&base, &format!("-{n}")),
            };
            match create_synced(self.storage.as_ref(), &path, bytes) {
                Ok(()) => return Ok(path),
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => {
                    return Err(LedgerError::Io {
                        action: "keep the broken ledger aside as",
                        path,
                        source,
                    });
                }
            }
        }
        Err(self.io(
            "keep the broken ledger aside; there are too many copies of",
        )(io::ErrorKind::AlreadyExists.into()))
    }

    fn read_if_there(&self, path: PathBuf) -> Result<Option<Vec<u8>>, LedgerError> {
        match self.storage.read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LedgerError::Io {
                action: "read",
                path,
                source,
            }),
        }
    }

    fn io(&self, action: &'static str) -> impl FnOnce(io::Error) -> LedgerError {
        let path = self.path.clone();
        move |source| LedgerError::Io {
            action,
            path,
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(salvage: &Salvage) -> Vec<&str> {
        salvage
            .entries
            .iter()
            .map(|(label, _)| label.as_str())
            .collect()
    }

    const THREE: &str = "{\n  \"a\": {\n    \"n\": 1\n  },\n  \"b\": {\n    \"baseline\": {\n      \"x\": {}\n    }\n  },\n  \"c\": {\n    \"n\": 3\n  }\n}\n";

    #[test]
    fn whatever_place_it_is_cut_at_whole_entries_are_saved_and_nothing_is_invented() {
        for end in 0..THREE.len() {
            let found = salvage(THREE.as_bytes().get(..end).expect("ASCII"));
            for label in labels(&found)
                .iter()
                .chain(&found.broken.iter().map(String::as_str).collect::<Vec<_>>())
            {
                assert!(["a", "b", "c"].contains(label), "{label} at {end}");
            }
        }
        assert_eq!(labels(&salvage(THREE.as_bytes())), ["a", "b", "c"]);
    }

    #[test]
    fn a_broken_middle_costs_only_itself() {
        let text = THREE.replace("\"x\": {}", "\"x\": {]");
        let found = salvage(text.as_bytes());
        assert_eq!(labels(&found), ["a", "c"]);
        assert_eq!(found.broken, ["b"]);
    }

    #[test]
    fn a_value_that_is_no_entry_costs_only_itself_however_the_text_is_laid_out() {
        for value in ["5", "null", "\"a text\"", "[1, {\"x\": 2}]", "true"] {
            for text in [
                format!("{{\"a\":{{\"n\":1}},\"b\":{value},\"c\":{{\"n\":3}}}}"),
                format!(
                    "{{\n  \"a\": {{\"n\": 1}},\n  \"b\": {value} ,\n  \"c\": {{\"n\": 3}}\n}}\n"
                ),
            ] {
                let found = salvage(text.as_bytes());
                assert_eq!(labels(&found), ["a", "c"], "{text}");
                assert_eq!(found.broken, ["b"], "{text}");
            }
        }
    }

    #[test]
    fn noise_holds_nothing() {
        for noise in [
            &b""[..],
            b"\0\0\0\0",
            b"\"",
            b"not json \"at all",
            b"\"a\" \"b\" : {",
        ] {
            assert_eq!(labels(&salvage(noise)), Vec::<&str>::new());
        }
    }
}
