//! `labels.json`: who holds it, how it is read, how it is replaced.
//!
//! Promises: a change is either whole and on the disk when [`Ledger::update`] returns, or the old file is untouched;
//! concurrent changes queue behind one lock and none is lost; readers take no lock and always see one whole version.
//! A damaged ledger is refused and left byte for byte. Limitations: the promises need atomic `rename` and a working
//! `flock`, which some network file systems lack.

mod archive;
mod book;
mod error;
mod index;
mod one;
mod repair;
mod replace;
mod salvage;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use archive::{Archive, Archived, Unreadable};
pub use book::Book;
pub use error::LedgerError;
pub use index::Damage;
pub use repair::Repair;
pub(crate) use replace::replace;
pub use salvage::{Salvage, salvage};

use self::one::{PIECE_BYTES, Search, search};
use crate::home::Home;
use crate::process::FileLock;
use crate::record::Entry;
use crate::storage::{Storage, create_dir_synced, parent_of};

/// A ledger larger than this is refused unread.
const MAX_LEDGER_BYTES: u64 = 1024 * 1024 * 1024;

/// How long to wait for the ledger's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A command: 30 s.
    Command,
    /// `done`, whose failure would lose a completion: 120 s.
    Done,
    /// The watcher and the recovery scan: as long as it takes.
    Unlimited,
}

/// The ledger of a state directory.
#[derive(Clone)]
pub struct Ledger {
    path: PathBuf,
    storage: Arc<dyn Storage>,
    home: Home,
}

/// What a reader found.
enum Found {
    Text(Vec<u8>),
    Nothing,
}

impl Ledger {
    /// The ledger that `home` names, through any symbolic links.
    pub fn new(home: &Home) -> Self {
        Self {
            path: resolve_links(&home.paths.labels),
            storage: Arc::clone(&home.storage),
            home: home.clone(),
        }
    }

    /// The ledger file itself, links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The lock that every writer takes.
    pub fn lock_path(&self) -> PathBuf {
        with_suffix(&self.path, ".lock")
    }

    /// The version before the last write.
    pub fn backup_path(&self) -> PathBuf {
        with_suffix(&self.path, ".bak")
    }

    /// Reads the ledger as it is now, without a lock.
    ///
    /// # Errors
    /// When it is damaged or cannot be read.
    pub fn read(&self) -> Result<Book, LedgerError> {
        let now_ms = self.home.now_ms();
        match self.load()? {
            Found::Nothing => Ok(Book::empty(now_ms)),
            Found::Text(bytes) => {
                Book::parse(bytes, now_ms).map_err(|damage| self.damaged(damage.to_string()))
            }
        }
    }

    /// One label's entry as it is now, without a lock: as [`Book::get`], for less than to read the whole ledger takes.
    ///
    /// # Errors
    /// As [`Ledger::read`].
    pub fn entry(&self, label: &str) -> Result<Option<Entry>, LedgerError> {
        match self.search(label) {
            Ok(Search::Found(entry)) => Ok(Some(entry)),
            Ok(Search::Absent) => Ok(None),
            // Whatever it is, it is told by who reads all.
            Ok(Search::Unclear) | Err(_) => Ok(self.read()?.get(label)),
        }
    }

    fn search(&self, label: &str) -> io::Result<Search> {
        match self.storage.facts(&self.path)? {
            Some(facts) if (PIECE_BYTES as u64..=MAX_LEDGER_BYTES).contains(&facts.len) => {
                search(&mut *self.storage.open(&self.path)?, label)
            }
            _ => Ok(Search::Unclear),
        }
    }

    /// Changes the ledger under its lock: reads, calls `change`, and replaces the file when something changed.
    /// `change` must not wait for anything; it runs exactly once.
    ///
    /// # Errors
    /// As [`Ledger::read`]; when the lock cannot be had in time; when the new version cannot be written. The ledger is
    /// then as it was, but for [`LedgerError::NotDurable`].
    pub fn update<T>(
        &self,
        patience: Patience,
        change: impl FnOnce(&mut Book) -> T,
    ) -> Result<T, LedgerError> {
        let lock = self.lock(patience)?;
        let mut book = self.read()?;
        let outcome = change(&mut book);
        if let Some(damage) = book.overwritten_unread() {
            return Err(self.damaged(damage.to_string()));
        }
        if book.is_changed() {
            let backup = self.backup_path();
            replace(self.storage.as_ref(), &self.path, Some(&backup), &|out| {
                book.write_to(out)
            })?;
            drop(lock);
            if let Some(witness) = self.home.witness {
                witness(&self.home, &book.changes_made());
            }
        }
        Ok(outcome)
    }

    fn lock(&self, patience: Patience) -> Result<FileLock, LedgerError> {
        let dir = parent_of(&self.path);
        create_dir_synced(self.storage.as_ref(), dir).map_err(|source| LedgerError::Io {
            action: "create the directory",
            path: dir.to_owned(),
            source,
        })?;
        let limit = match patience {
            Patience::Unlimited => None,
            Patience::Command => Some(Duration::from_secs(30)),
            Patience::Done => Some(Duration::from_secs(120)),
        };
        let limit = limit.map(|default| self.home.config.lock_timeout.unwrap_or(default));
        let say = |line: &str| self.home.say(line);
        Ok(FileLock::acquire(
            &self.lock_path(),
            &self.home.program,
            limit,
            &say,
        )?)
    }

    fn load(&self) -> Result<Found, LedgerError> {
        if let Some(bytes) = self.content()? {
            return Ok(Found::Text(bytes));
        }
        let backup = self.backup_path();
        let facts = self.storage.facts(&backup);
        let is_backed_up = facts.map_err(|source| LedgerError::Io {
            action: "look for the backup",
            path: backup.clone(),
            source,
        })?;
        if is_backed_up.is_none() {
            return Ok(Found::Nothing);
        }
        // Readers take no lock: the first two versions may have been written since the first look.
        self.content()?.map(Found::Text).ok_or_else(|| {
            self.damaged(format!(
                "the file is gone while its backup {} is there",
                backup.display()
            ))
        })
    }

    /// The ledger's bytes; `None` when it is missing.
    fn content(&self) -> Result<Option<Vec<u8>>, LedgerError> {
        let failed = |source| LedgerError::Io {
            action: "read the ledger",
            path: self.path.clone(),
            source,
        };
        match self.storage.facts(&self.path).map_err(failed)? {
            Some(facts) if facts.len > MAX_LEDGER_BYTES => {
                return Err(self.damaged(format!(
                    "it has {} bytes, more than any ledger ({MAX_LEDGER_BYTES})",
                    facts.len
                )));
            }
            Some(_) => {}
            None => return Ok(None),
        }
        match self.storage.read(&self.path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(failed(e)),
        }
    }

    fn damaged(&self, what: String) -> LedgerError {
        LedgerError::Damaged {
            path: self.path.clone(),
            what,
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Follows links of the last component, whether the final target exists or not.
fn resolve_links(path: &Path) -> PathBuf {
    let mut path = path.to_owned();
    // As many hops as Linux itself follows.
    for _ in 0..40 {
        match std::fs::read_link(&path) {
            Ok(target) => path = parent_of(&path).join(target),
            Err(_) => break,
        }
    }
    path
}
