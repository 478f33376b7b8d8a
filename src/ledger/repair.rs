//! Saving what a damaged ledger still holds.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::replace::replace;
use super::salvage::salvage;
use super::{Book, Ledger, LedgerError, Patience};
use crate::record::{Delivery, Entry, Status, time};
use crate::storage::create_synced;

/// Stands in a kept ledger's name behind that of the ledger.
const BROKEN: &str = ".broken-";

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

/// Puts an entry of the backup into the book. The version that is lost may have told what this one owes, or yet comes to
/// owe; one that owes nothing stays what it is, byte for byte.
fn restore_older(book: &mut Book, label: &str, text: &str) {
    book.restore_text(label, text);
    let owes = |entry: &Entry| {
        entry.status() == Status::Running || entry.deliveries().iter().any(Delivery::is_open)
    };
    if let Some(mut entry) = book.get(label).filter(owes) {
        entry.doubt_deliveries();
        book.restore(label, entry);
    }
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
                restore_older(&mut book, &label, &entry);
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

    /// The file is a damaged ledger that a repair has replaced and kept.
    pub fn is_kept_aside(&self, path: &Path) -> bool {
        let start = super::with_suffix(&self.path, BROKEN);
        path.as_os_str()
            .as_bytes()
            .starts_with(start.as_os_str().as_bytes())
    }

    fn keep_aside(&self, broken: &Path, bytes: &[u8]) -> Result<PathBuf, LedgerError> {
        let stamp = time::iso(self.home.now_ms()).replace([':', '-'], "");
        let base = super::with_suffix(broken, &format!("{BROKEN}{stamp}"));
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
