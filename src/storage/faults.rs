//! A file system that fails on demand, for tests; part of debug builds alone.
//!
//! `DISPATCH_FAULT=<program>:<kind>:<n>` makes the n-th storage call of every program whose name holds `<program>` go
//! wrong: `enospc`, `eio` and `eintr` fail it, `short` writes half, `kill` ends the process before it, and `power` does so
//! after taking back everything that was not synced, as a power cut may. With `:<mark>` at the end, the path of a file
//! that does not exist yet, the first program to suffer creates it and no later one suffers.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use super::{DurableFile, FileFacts, RealStorage, Storage, parent_of};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails with this error.
    Error(Errno),
    /// A write takes half of its bytes; another call goes through.
    Short,
    /// The process dies.
    Kill,
    /// The process dies and what was not synced is gone.
    Power,
}

/// What a power cut would take back, newest last.
#[derive(Debug)]
enum Undo {
    Unlink(PathBuf),
    Restore { stash: PathBuf, path: PathBuf },
    RenameBack { from: PathBuf, to: PathBuf },
}

#[derive(Debug, Default)]
struct Ledger {
    calls: u64,
    /// Changes of directory entries that their directory was not synced after.
    undo: Vec<(PathBuf, Undo)>,
    /// Inode -> length at the last sync, for files that were written.
    synced: BTreeMap<u64, u64>,
    /// Every path that was written through here.
    paths: Vec<PathBuf>,
}

/// The machine's file system with one fault in it.
#[derive(Debug, Clone)]
pub struct FaultyStorage {
    inner: RealStorage,
    fault: Fault,
    at: u64,
    mark: Option<PathBuf>,
    ledger: Arc<Mutex<Ledger>>,
}

impl FaultyStorage {
    /// The n-th call (from 1) suffers `fault`.
    pub fn new(fault: Fault, at: u64) -> Self {
        Self {
            inner: RealStorage,
            fault,
            at,
            mark: None,
            ledger: Arc::default(),
        }
    }

    /// Only the first to suffer does, and leaves this file as its mark.
    pub fn once(mut self, mark: PathBuf) -> Self {
        self.mark = Some(mark);
        self
    }

    /// What `DISPATCH_FAULT` asks for in this program, if anything.
    pub fn from_variable(value: &OsStr, program: &str) -> Option<Self> {
        let mut parts = value.to_str()?.splitn(4, ':');
        if !program.contains(parts.next()?) {
            return None;
        }
        let fault = match parts.next()? {
            "enospc" => Fault::Error(Errno::NOSPC),
            "eio" => Fault::Error(Errno::IO),
            "eintr" => Fault::Error(Errno::INTR),
            "short" => Fault::Short,
            "kill" => Fault::Kill,
            "power" => Fault::Power,
            _ => return None,
        };
        let faulty = Self::new(fault, parts.next()?.parse().ok()?);
        Some(match parts.next() {
            Some(mark) => faulty.once(PathBuf::from(mark)),
            None => faulty,
        })
    }

    /// How many calls were made.
    pub fn calls(&self) -> u64 {
        self.with(|ledger| ledger.calls)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        work(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Counts a call. True when this one is to be cut short.
    fn call(&self) -> io::Result<bool> {
        let now = self.with(|ledger| {
            ledger.calls += 1;
            ledger.calls
        });
        if now != self.at || self.is_marked() {
            return Ok(false);
        }
        match self.fault {
            Fault::Error(errno) => Err(errno.into()),
            Fault::Short => Ok(true),
            Fault::Kill => die(),
            Fault::Power => {
                self.with(Ledger::lose_what_was_not_synced);
                die()
            }
        }
    }

    /// Another program has suffered; if none has, this one does.
    fn is_marked(&self) -> bool {
        let Some(mark) = &self.mark else {
            return false;
        };
        let made = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(mark);
        made.is_err()
    }

    fn keeps_undo(&self) -> bool {
        self.fault == Fault::Power
    }

    fn note(&self, path: &Path, undo: Undo) {
        self.with(|ledger| ledger.undo.push((parent_of(path).to_owned(), undo)));
    }

    /// A second name for what is about to be replaced or removed.
    fn stash(&self, path: &Path) -> Option<PathBuf> {
        let stash = parent_of(path).join(format!(".undo-{}", uuid::Uuid::new_v4().simple()));
        fs::hard_link(path, &stash).ok().map(|()| stash)
    }
}

fn die() -> ! {
    let _ = kill_process(getpid(), Signal::KILL);
    loop {
        std::thread::park();
    }
}

impl Ledger {
    fn lose_what_was_not_synced(&mut self) {
        for (_, undo) in self.undo.drain(..).rev() {
            let _ = match undo {
                Undo::Unlink(path) => fs::remove_file(path),
                Undo::Restore { stash, path } => fs::rename(stash, path),
                Undo::RenameBack { from, to } => fs::rename(from, to),
            };
        }
        for path in &self.paths {
            let Ok(facts) = fs::symlink_metadata(path) else {
                continue;
            };
            let kept = self.synced.get(&facts.ino()).copied();
            if let Some(kept) = kept.filter(|kept| *kept < facts.len()) {
                let _ = fs::OpenOptions::new()
                    .write(true)
                    .open(path)
                    .and_then(|file| file.set_len(kept));
            }
        }
    }
}

struct FaultyFile {
    inner: Box<dyn DurableFile>,
    path: PathBuf,
    storage: FaultyStorage,
    inode: u64,
}

impl DurableFile for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.storage.call()? {
            true if bytes.len() > 1 => self
                .inner
                .write(bytes.get(..bytes.len() / 2).unwrap_or(bytes)),
            _ => self.inner.write(bytes),
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        self.storage.call()?;
        self.inner.sync()?;
        let len = fs::metadata(&self.path).map_or(0, |m| m.len());
        self.storage
            .with(|ledger| ledger.synced.insert(self.inode, len));
        Ok(())
    }

    fn set_owner_and_mode(&mut self, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
        self.storage.call()?;
        self.inner.set_owner_and_mode(uid, gid, mode)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.storage.call()?;
        self.inner.truncate(len)
    }
}

impl FaultyStorage {
    fn opened(
        &self,
        path: &Path,
        inner: Box<dyn DurableFile>,
        is_new: bool,
    ) -> io::Result<Box<dyn DurableFile>> {
        let facts = fs::symlink_metadata(path)?;
        self.with(|ledger| {
            ledger.paths.push(path.to_owned());
            let known = if is_new { 0 } else { facts.len() };
            ledger.synced.entry(facts.ino()).or_insert(known);
        });
        if is_new && self.keeps_undo() {
            self.note(path, Undo::Unlink(path.to_owned()));
        }
        Ok(Box::new(FaultyFile {
            inner,
            path: path.to_owned(),
            storage: self.clone(),
            inode: facts.ino(),
        }))
    }
}

impl Storage for FaultyStorage {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.call()?;
        self.inner.read(path)
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.call()?;
        self.inner.read_at(path, offset, len)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read>> {
        self.call()?;
        self.inner.open(path)
    }

    fn facts(&self, path: &Path) -> io::Result<Option<FileFacts>> {
        self.call()?;
        self.inner.facts(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        self.call()?;
        let file = self.inner.create_new(path)?;
        self.opened(path, file, true)
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        self.call()?;
        let is_new = fs::symlink_metadata(path).is_err();
        let file = self.inner.open_append(path)?;
        self.opened(path, file, is_new)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        let stash = self.keeps_undo().then(|| self.stash(to)).flatten();
        self.inner.rename(from, to)?;
        if self.keeps_undo() {
            // Undone newest first: the new file goes back to its old name, then the old file to its own.
            if let Some(stash) = stash {
                let path = to.to_owned();
                self.note(to, Undo::Restore { stash, path });
            }
            let (from, to) = (to.to_owned(), from.to_owned());
            self.with(|ledger| ledger.paths.push(from.clone()));
            self.note(&from.clone(), Undo::RenameBack { from, to });
        }
        Ok(())
    }

    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        self.call()?;
        self.inner.hard_link(original, link)?;
        if self.keeps_undo() {
            self.with(|ledger| ledger.paths.push(link.to_owned()));
            self.note(link, Undo::Unlink(link.to_owned()));
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call()?;
        let stash = self.keeps_undo().then(|| self.stash(path)).flatten();
        self.inner.remove(path)?;
        if let Some(stash) = stash {
            let path = path.to_owned();
            self.note(&path.clone(), Undo::Restore { stash, path });
        }
        Ok(())
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.call()?;
        self.inner.remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call()?;
        self.inner.sync_dir(dir)?;
        self.with(|ledger| {
            ledger.undo.retain(|(of, undo)| {
                let is_kept = of != dir;
                if let (false, Undo::Restore { stash, .. }) = (is_kept, undo) {
                    let _ = fs::remove_file(stash);
                }
                is_kept
            });
        });
        Ok(())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.call()?;
        self.inner.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.call()?;
        self.inner.list(dir)
    }
}
