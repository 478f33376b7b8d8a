//! `archive.jsonl`: entries that left the ledger or were overwritten by a new generation, one JSON object a line.

use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};

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
        let path = self.path();
        let storage = self.home.storage.as_ref();
        let line = json!({"label": label, "entry": entry.fields()});
        let append = || -> io::Result<()> {
            let known = storage.facts(&path)?;
            let mut file = storage.open_append(&path)?;
            // The leading line break ends a line that a killed writer left half-written; readers skip empty lines.
            write_all(file.as_mut(), format!("\n{line}\n").as_bytes())?;
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

    fn bytes(&self) -> Result<Vec<u8>, LedgerError> {
        let path = self.path();
        match self.home.storage.read(&path) {
            Ok(bytes) => Ok(bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(source) => Err(LedgerError::Io {
                action: "read the archive",
                path,
                source,
            }),
        }
    }

    /// Hands every archived entry to `visit`, in the order in which they came; one may come more than once.
    ///
    /// # Errors
    /// As [`Archive::entries`]. Unreadable lines are passed over.
    pub fn for_each(&self, mut visit: impl FnMut(Archived)) -> Result<(), LedgerError> {
        for line in self.bytes()?.split(|b| *b == b'\n') {
            let Ok(Value::Object(mut line)) = js::parse_bytes(line) else {
                continue;
            };
            let label = line.get("label").and_then(Value::as_str).map(str::to_owned);
            if let (Some(label), Some(Value::Object(fields))) = (label, line.remove("entry")) {
                let entry = Entry::from_fields(fields);
                visit(Archived { label, entry });
            }
        }
        Ok(())
    }

    /// The session keys of all archived entries.
    ///
    /// # Errors
    /// As [`Archive::entries`].
    pub fn session_keys(&self) -> Result<Vec<String>, LedgerError> {
        let bytes = self.bytes()?;
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let keys = lines.filter_map(|line| {
            let line = js::parse_bytes(line).ok()?;
            Some(line.pointer("/entry/sessionKey")?.as_str()?.to_owned())
        });
        Ok(keys.collect())
    }

    /// All archived entries of a label, oldest generation first.
    ///
    /// # Errors
    /// When the archive exists and cannot be read. Unreadable lines are passed over.
    pub fn entries(&self, label: &str) -> Result<Vec<Entry>, LedgerError> {
        let bytes = self.bytes()?;
        let start = format!("{{\"label\":{},", Value::from(label));
        let mut found: Vec<Entry> = Vec::new();
        for line in bytes.split(|b| *b == b'\n') {
            if !line.starts_with(start.as_bytes()) {
                continue;
            }
            let Ok(Value::Object(mut line)) = js::parse_bytes(line) else {
                continue;
            };
            let Some(Value::Object(fields)) = line.remove("entry") else {
                continue;
            };
            let entry = Entry::from_fields(fields);
            found.retain(|other| other.generation() != entry.generation());
            found.push(entry);
        }
        found.sort_by_key(Entry::generation);
        Ok(found)
    }

    /// The highest archived generation of a label: a new one must be above it.
    ///
    /// # Errors
    /// As [`Archive::entries`].
    pub fn last_generation(&self, label: &str) -> Result<Option<Generation>, LedgerError> {
        Ok(self.entries(label)?.last().map(Entry::generation))
    }
}
