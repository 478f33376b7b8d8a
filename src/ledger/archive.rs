//! `archive.jsonl`: entries that left the ledger or were overwritten by a new generation, one JSON object a line.
//!
//! The file only grows, and its last line knows the highest generation in it, so that a new one can be told from all
//! archived ones without reading them. Writers hold the ledger's lock.

mod lines;

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use self::lines::Backwards;
use super::LedgerError;
use crate::home::Home;
use crate::record::{Entry, Generation, json as js};
use crate::storage::{parent_of, write_all};

/// The archive of a state directory.
pub struct Archive<'a> {
    home: &'a Home,
}

/// An entry with its label.
#[derive(Debug, Clone, PartialEq)]
pub struct Archived {
    /// The label.
    pub label: String,
    /// The entry as it left the ledger.
    pub entry: Entry,
}

/// Lines of the archive that hold no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable {
    /// How many there are.
    pub count: u64,
    /// The number of the first of them in the file, from 1.
    pub first: u64,
}

impl Archived {
    /// `None` for a line that a killed writer left half-written, or that is none of ours.
    fn read(line: &[u8]) -> Option<Self> {
        let mut line = object(line)?;
        let Some(Value::Object(fields)) = line.remove("entry") else {
            return None;
        };
        Some(Self {
            label: line.get("label")?.as_str()?.to_owned(),
            entry: Entry::from_fields(fields),
        })
    }
}

fn object(line: &[u8]) -> Option<Map<String, Value>> {
    match js::parse_bytes(line) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    }
}

impl<'a> Archive<'a> {
    /// The archive beside the state directory's ledger.
    pub fn new(home: &'a Home) -> Self {
        Self { home }
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.home.paths.home.join("archive.jsonl")
    }

    /// Appends an entry and syncs it. Appending the same generation twice is harmless: the later line counts.
    ///
    /// # Errors
    /// When the line is not safely on the disk; the caller must then leave the entry where it is.
    pub fn append(&self, label: &str, entry: &Entry) -> Result<(), LedgerError> {
        self.append_all([(label, entry)])
    }

    /// As [`Archive::append`], for many at once; readers meet the last one first.
    ///
    /// # Errors
    /// As [`Archive::append`]. Some of them may then be in the archive.
    pub fn append_all<'e>(
        &self,
        entries: impl IntoIterator<Item = (&'e str, &'e Entry)>,
    ) -> Result<(), LedgerError> {
        let mut highest = self.highest()?;
        let mut lines = String::new();
        for (label, entry) in entries {
            highest = highest.max(entry.generation());
            let line = json!({"label": label, "entry": entry.fields(), "highest": highest});
            // The leading line break ends a line that a killed writer left half-written; readers skip empty lines.
            lines += &format!("\n{line}\n");
        }
        let path = self.path();
        let storage = self.home.storage.as_ref();
        let append = || -> io::Result<()> {
            let known = storage.facts(&path)?;
            let mut file = storage.open_append(&path)?;
            write_all(file.as_mut(), lines.as_bytes())?;
            file.sync()?;
            match known {
                Some(_) => Ok(()),
                None => storage.sync_dir(parent_of(&path)),
            }
        };
        append().map_err(|source| LedgerError::Io {
            action: "append to the archive",
            path: path.clone(),
            source,
        })
    }

    fn unread(&self) -> impl Fn(io::Error) -> LedgerError {
        let path = self.path();
        move |source| LedgerError::Io {
            action: "read the archive",
            path: path.clone(),
            source,
        }
    }

    fn backwards(&self) -> Result<Backwards<'_>, LedgerError> {
        Backwards::of(self.home.storage.as_ref(), &self.path()).map_err(self.unread())
    }

    /// Hands every archived entry to `visit`, in the order in which they came; one may come more than once.
    ///
    /// # Errors
    /// When the archive exists and cannot be read. Unreadable lines are passed over.
    pub fn for_each(&self, mut visit: impl FnMut(Archived)) -> Result<(), LedgerError> {
        lines::for_each(self.home.storage.as_ref(), &self.path(), |_, line| {
            if let Some(archived) = Archived::read(line) {
                visit(archived);
            }
        })
        .map_err(self.unread())
    }

    /// The lines that are passed over, if there are any. The start of a line that was written whole after all is none of
    /// them: its writer was killed, and did it again.
    ///
    /// # Errors
    /// When the archive exists and cannot be read.
    pub fn unreadable(&self) -> Result<Option<Unreadable>, LedgerError> {
        let mut found: Option<Unreadable> = None;
        let mut tell = |number| {
            let found = found.get_or_insert(Unreadable {
                count: 0,
                first: number,
            });
            found.count += 1;
        };
        let mut cut: Option<(u64, Vec<u8>)> = None;
        lines::for_each(self.home.storage.as_ref(), &self.path(), |number, line| {
            if let Some((earlier, start)) = cut.take()
                && !line.starts_with(&start)
            {
                tell(earlier);
            }
            if Archived::read(line).is_none() {
                cut = Some((number, line.to_vec()));
            }
        })
        .map_err(self.unread())?;
        if let Some((number, _)) = cut {
            tell(number);
        }
        Ok(found)
    }

    /// Every archived entry, the one that came last first; one may come more than once, and then the first counts.
    ///
    /// # Errors
    /// As [`Archive::for_each`].
    pub fn newest_first(
        &self,
    ) -> Result<impl Iterator<Item = Result<Archived, LedgerError>>, LedgerError> {
        let unread = self.unread();
        Ok(self.backwards()?.filter_map(move |line| match line {
            Ok(line) => Archived::read(&line).map(Ok),
            Err(e) => Some(Err(unread(e))),
        }))
    }

    /// The session keys of all archived entries.
    ///
    /// # Errors
    /// As [`Archive::for_each`].
    pub fn session_keys(&self) -> Result<Vec<String>, LedgerError> {
        let mut keys = Vec::new();
        self.for_each(|archived| {
            keys.extend(archived.entry.text("sessionKey").map(str::to_owned));
        })?;
        Ok(keys)
    }

    /// All archived entries of a label, oldest generation first.
    ///
    /// # Errors
    /// As [`Archive::for_each`].
    pub fn entries(&self, label: &str) -> Result<Vec<Entry>, LedgerError> {
        let start = format!("{{\"label\":{},", Value::from(label));
        let mut found: Vec<Entry> = Vec::new();
        for line in self.backwards()? {
            let line = line.map_err(self.unread())?;
            let archived = line
                .starts_with(start.as_bytes())
                .then(|| Archived::read(&line));
            let Some(Archived { entry, .. }) = archived.flatten() else {
                continue;
            };
            // Read from the end, so the line that counts comes first.
            if found.iter().all(|e| e.generation() != entry.generation()) {
                found.push(entry);
            }
        }
        found.sort_by_key(Entry::generation);
        Ok(found)
    }

    /// The archived entry of a label's generation.
    ///
    /// # Errors
    /// As [`Archive::for_each`].
    pub fn find(&self, label: &str, wanted: Generation) -> Result<Option<Entry>, LedgerError> {
        let mut entries = self.entries(label)?;
        entries.retain(|entry| entry.generation() == wanted);
        Ok(entries.pop())
    }

    /// The highest archived generation of a label.
    ///
    /// # Errors
    /// As [`Archive::for_each`].
    pub fn latest(&self, label: &str) -> Result<Option<Entry>, LedgerError> {
        Ok(self.entries(label)?.pop())
    }

    /// The highest archived generation of every label.
    ///
    /// # Errors
    /// As [`Archive::for_each`].
    pub fn last_generations(&self) -> Result<HashMap<String, Generation>, LedgerError> {
        let mut last: HashMap<String, Generation> = HashMap::new();
        self.for_each(|archived| {
            let known = last.entry(archived.label).or_default();
            *known = archived.entry.generation().max(*known);
        })?;
        Ok(last)
    }

    /// The label of an archived entry that was enqueued under this idempotency key.
    ///
    /// # Errors
    /// As [`Archive::for_each`].
    pub fn label_of_key(&self, key: &str) -> Result<Option<String>, LedgerError> {
        let needle = format!("\"idempotencyKey\":{}", Value::from(key));
        let mut found = None;
        lines::for_each(self.home.storage.as_ref(), &self.path(), |_, line| {
            let holds = || {
                let mut windows = line.windows(needle.len());
                windows.any(|window| window == needle.as_bytes())
            };
            if found.is_none() && holds() {
                found = Archived::read(line)
                    .filter(|archived| archived.entry.text("idempotencyKey") == Some(key))
                    .map(|archived| archived.label);
            }
        })
        .map_err(self.unread())?;
        Ok(found)
    }

    /// The generation that a label's new work gets: above `previous`, which is its entry's in the ledger, and above all of
    /// its archived ones. What is archived is read only where the clock has gone back behind it.
    ///
    /// # Errors
    /// As [`Archive::for_each`].
    pub fn next_generation(
        &self,
        label: &str,
        previous: Option<Generation>,
        now_ms: i64,
    ) -> Result<Generation, LedgerError> {
        let next = Generation::next(previous, now_ms);
        if self.highest()? < next {
            return Ok(next);
        }
        let archived = self.latest(label)?.map(|entry| entry.generation());
        Ok(Generation::next(archived.max(previous), now_ms))
    }

    /// The highest generation of all; 0 where nothing is archived.
    fn highest(&self) -> Result<Generation, LedgerError> {
        for line in self.backwards()? {
            let line = line.map_err(self.unread())?;
            // Half a line says nothing.
            let Some(line) = object(&line) else {
                continue;
            };
            return match line.get("highest").and_then(Value::as_u64) {
                Some(highest) => Ok(Generation::new(highest)),
                // An older version wrote it.
                None => Ok(self
                    .last_generations()?
                    .into_values()
                    .max()
                    .unwrap_or_default()),
            };
        }
        Ok(Generation::default())
    }
}
