//! The ledger: nothing acknowledged is lost, nothing damaged is touched, whatever the disk does.

mod archived;
mod completions;
mod concurrent;
mod damaged;
mod done_guards;
mod foreign;
pub mod full_disk;
mod killed;
mod lock;
mod nth_fault;
mod repaired;
mod replaced;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{House, Ran};

/// The least checklist that `done` takes.
const COMPLETE: &str = r#"{"work_complete":true}"#;

/// A sound ledger with two entries.
const TWO: &str = r#"{
  "a": {
    "status": "done",
    "summary": "first",
    "updatedAt": "2026-11-20T09:00:00.000Z"
  },
  "b": {
    "status": "error",
    "error": "broke",
    "updatedAt": "2026-11-20T09:00:01.000Z"
  }
}
"#;

/// `dispatch done` for a label.
fn done(house: &House, label: &str) -> Ran {
    house.dispatch(&["done", "--label", label, "--checklist", COMPLETE])
}

/// The names in a directory, sorted; none when it does not exist.
fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The temporaries of the ledger, its backup and its kept copies that a writer left behind.
fn strays(dir: &Path) -> Vec<String> {
    let mut names = names_in(dir);
    names.retain(|name| name.starts_with(".labels.json") && name.contains(".tmp-"));
    names
}

/// Every file below a directory with its content.
fn files_below(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => files.extend(files_below(&path)),
            false => {
                files.insert(path.clone(), fs::read(&path).unwrap_or_default());
            }
        }
    }
    files
}
