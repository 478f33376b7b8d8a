//! The local backend's session store, `sessions.json`: session key -> row, in OpenClaw's format.
//!
//! Each runner writes its own row twice, at the start and at the end; a lock beside the store keeps them apart.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::home::Home;
use crate::ledger::{Book, replace};
use crate::process::FileLock;
use crate::record::Entry;
use crate::storage::create_dir_synced;

/// The store's file.
pub fn store_path(home: &Home) -> PathBuf {
    home.paths.sessions().join("sessions.json")
}

/// A session's transcript.
pub fn transcript_path(home: &Home, session_id: &str) -> PathBuf {
    let stem = crate::record::file_stem_of(session_id);
    home.paths.sessions().join(format!("{stem}.jsonl"))
}

/// Label and run id of each row that says running.
///
/// # Errors
/// When the store cannot be read. One that cannot be parsed has none: the next runner begins it anew.
pub fn open_rows(home: &Home) -> io::Result<Vec<(String, String)>> {
    let named = rows_that_run(home)?.into_iter().filter_map(|(_, row)| {
        let label = row.text("label").unwrap_or_default();
        Some((label.to_owned(), row.text("runId")?.to_owned()))
    });
    Ok(named.collect())
}

/// Each row that says running, under its key.
fn rows_that_run(home: &Home) -> io::Result<Vec<(String, Entry)>> {
    let bytes = match home.storage.read(&store_path(home)) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let book = Book::parse(bytes, home.now_ms()).unwrap_or_default();
    let rows = book.entries_containing("\"running\"");
    let open = rows.filter(|(_, row)| row.text("status") == Some("running"));
    Ok(open.map(|(key, row)| (key.to_owned(), row)).collect())
}

/// The key of the row that says running of this run.
///
/// # Errors
/// As [`open_rows`].
pub fn key_of_run(home: &Home, run_id: &str) -> io::Result<Option<String>> {
    let rows = rows_that_run(home)?;
    let found = rows
        .into_iter()
        .find(|(_, row)| row.text("runId") == Some(run_id));
    Ok(found.map(|(key, _)| key))
}

/// Takes rows out, each named by its key and its session's id: a key that has another session by now is left alone.
///
/// # Errors
/// When the store cannot be locked, read or written.
pub fn remove_rows(home: &Home, sessions: &[(String, String)]) -> io::Result<()> {
    let path = store_path(home);
    let storage = home.storage.as_ref();
    if sessions.is_empty() || storage.facts(&path)?.is_none() {
        return Ok(());
    }
    let _lock = lock(home, &path)?;
    // One that cannot be parsed is the next runner's to put aside.
    let Ok(mut book) = Book::parse(storage.read(&path)?, home.now_ms()) else {
        return Ok(());
    };
    for (key, id) in sessions {
        if book
            .get(key)
            .is_some_and(|row| row.text("sessionId") == Some(id))
        {
            book.remove(key);
        }
    }
    match book.is_changed() {
        true => replace(storage, &path, None, &|out| book.write_to(out)).map_err(io::Error::other),
        false => Ok(()),
    }
}

fn lock(home: &Home, path: &Path) -> io::Result<FileLock> {
    let say = |line: &str| home.say(line);
    FileLock::acquire(&path.with_extension("json.lock"), &home.program, None, &say)
        .map_err(io::Error::other)
}

/// Sets fields of a session's row, keeping the others.
///
/// # Errors
/// When the store cannot be locked or written. A store that cannot be parsed is put aside and begun anew: the
/// transcripts hold everything that counts.
pub fn set_row(home: &Home, session_key: &str, fields: Map<String, Value>) -> io::Result<()> {
    let path = store_path(home);
    let storage = home.storage.as_ref();
    create_dir_synced(storage, &home.paths.sessions())?;
    let _lock = lock(home, &path)?;
    let mut book = match storage.read(&path) {
        Ok(bytes) => Book::parse(bytes, home.now_ms()).or_else(|damage| {
            let aside = path.with_extension(format!("json.broken-{}", home.now_ms()));
            home.say(&format!(
                "the session store {} is damaged ({damage}); it is kept as {}",
                path.display(),
                aside.display()
            ));
            storage.rename(&path, &aside)?;
            io::Result::Ok(Book::empty(home.now_ms()))
        })?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Book::empty(home.now_ms()),
        Err(e) => return Err(e),
    };
    let mut row = book.get(session_key).unwrap_or_else(Entry::new);
    for (name, value) in fields {
        row.set(&name, value);
    }
    book.restore(session_key, row);
    replace(storage, &path, None, &|out| book.write_to(out)).map_err(io::Error::other)
}
