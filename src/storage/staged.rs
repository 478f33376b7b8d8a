//! A file that is written before it is known whether it is wanted.

use std::io;
use std::path::{Path, PathBuf};

use super::{Storage, create_dir_synced, missing_dirs, parent_of, write_temporary};

/// How often a directory that others remove as empty is created again.
const TRIES: u32 = 5;

/// A file's content, written and synced beside its place. Dropping it leaves nothing of it, nor of the directories that
/// were created for it.
#[must_use = "the file is gone again as soon as this is dropped"]
pub struct Staged<'a> {
    storage: &'a dyn Storage,
    path: PathBuf,
    /// `None` once it is in its place.
    temporary: Option<PathBuf>,
    created: Vec<PathBuf>,
}

impl<'a> Staged<'a> {
    /// Writes and syncs exactly `bytes` beside `path`, whose missing directories are created to last.
    ///
    /// # Errors
    /// The failing call's error; nothing is left.
    pub fn write(storage: &'a dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<Self> {
        let mut staged = Self {
            storage,
            path: path.to_owned(),
            temporary: None,
            created: Vec::new(),
        };
        let mut tries = 1;
        loop {
            staged.create_dirs()?;
            match write_temporary(storage, path, bytes, |file| file.sync()) {
                Ok(temporary) => {
                    staged.temporary = Some(temporary);
                    return Ok(staged);
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound && tries < TRIES => tries += 1,
                Err(e) => {
                    staged.remove_dirs();
                    return Err(e);
                }
            }
        }
    }

    /// Puts the file in its place, to last; a second time does nothing.
    ///
    /// # Errors
    /// The failing call's error; the old content is then intact (or, when only the directory's sync failed, the new content
    /// is in place but may not outlast a power cut).
    pub fn put_in_place(&mut self) -> io::Result<()> {
        let Some(temporary) = &self.temporary else {
            return Ok(());
        };
        self.storage.rename(temporary, &self.path)?;
        self.temporary = None;
        self.storage.sync_dir(parent_of(&self.path))
    }

    fn create_dirs(&mut self) -> io::Result<()> {
        let dir = parent_of(&self.path);
        self.created.extend(missing_dirs(self.storage, dir)?);
        create_dir_synced(self.storage, dir).inspect_err(|_| self.remove_dirs())
    }

    /// Removes what was created, as far as nobody else uses it by now.
    fn remove_dirs(&self) {
        for dir in &self.created {
            let _ = self.storage.remove_dir(dir);
        }
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let _ = self.storage.remove(&temporary);
            self.remove_dirs();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::storage::RealStorage;

    #[test]
    fn what_is_not_wanted_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a/b/c.txt");
        let staged = Staged::write(&RealStorage, &path, b"x").expect("writable");
        assert!(dir.path().join("a/b").is_dir() && !path.exists());
        drop(staged);
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 0);
    }

    #[test]
    fn directories_that_others_use_stay() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a/b/c.txt");
        let staged = Staged::write(&RealStorage, &path, b"x").expect("writable");
        fs::write(dir.path().join("a/other"), "").expect("writable");
        drop(staged);
        let left = fs::read_dir(dir.path().join("a")).expect("there");
        let left: Vec<_> = left.flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, ["other"]);
    }

    #[test]
    fn what_is_wanted_replaces_the_old_once() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a/c.txt");
        for text in ["old", "new"] {
            let mut staged = Staged::write(&RealStorage, &path, text.as_bytes()).expect("writable");
            for _ in 0..2 {
                staged.put_in_place().expect("writable");
                assert_eq!(fs::read_to_string(&path).expect("there"), text);
            }
        }
        assert_eq!(
            fs::read_dir(path.parent().expect("a directory"))
                .expect("there")
                .count(),
            1
        );
    }

    #[test]
    fn a_file_where_a_directory_is_needed_is_left_alone() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::write(dir.path().join("a"), "mine").expect("writable");
        let path = dir.path().join("a/b/c.txt");
        assert!(Staged::write(&RealStorage, &path, b"x").is_err());
        assert_eq!(
            fs::read_to_string(dir.path().join("a")).expect("there"),
            "mine"
        );
    }
}
