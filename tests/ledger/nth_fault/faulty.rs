//! The real file system, with one call that fails.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use dispatch::storage::{DurableFile, FileFacts, RealStorage, Storage};

/// What happens to the N-th call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// ENOSPC.
    NoSpace,
    /// EIO.
    Io,
    /// EINTR.
    Interrupted,
    /// Half of what was given is written; calls that write nothing succeed.
    ShortWrite,
    /// It and all later ones fail, as after SIGKILL or a power cut.
    Death,
}

impl Fault {
    pub const ALL: [Fault; 5] = [
        Fault::NoSpace,
        Fault::Io,
        Fault::Interrupted,
        Fault::ShortWrite,
        Fault::Death,
    ];
}

type Meanwhile = Box<dyn FnOnce() + Send>;

struct Plan {
    fault: Fault,
    at: u32,
    calls: u32,
    failed: Option<&'static str>,
    meanwhile: Option<Meanwhile>,
}

/// A storage that counts its calls and spoils the planned one.
#[derive(Clone)]
pub struct Faulty(Arc<Mutex<Plan>>);

impl Faulty {
    /// The `at`-th call, counted from 1, meets `fault`.
    pub fn new(fault: Fault, at: u32) -> Self {
        Self(Arc::new(Mutex::new(Plan {
            fault,
            at,
            calls: 0,
            failed: None,
            meanwhile: None,
        })))
    }

    /// No call fails; `meanwhile` happens right after the first.
    pub fn between(meanwhile: impl FnOnce() + Send + 'static) -> Self {
        let storage = Self::new(Fault::ShortWrite, 0);
        storage.plan(|plan| plan.meanwhile = Some(Box::new(meanwhile)));
        storage
    }

    /// How many calls there were.
    pub fn calls(&self) -> u32 {
        self.plan(|plan| plan.calls)
    }

    /// The call that failed.
    pub fn failed_call(&self) -> Option<&'static str> {
        self.plan(|plan| plan.failed)
    }

    fn plan<T>(&self, look: impl FnOnce(&mut Plan) -> T) -> T {
        look(&mut self.0.lock().expect("no panic holds it"))
    }

    /// Counts a call; the error that it meets, if any.
    fn call(&self, name: &'static str) -> io::Result<()> {
        let (fails, meanwhile) = self.plan(|plan| {
            plan.calls += 1;
            let hit = plan.calls == plan.at || (plan.fault == Fault::Death && plan.calls > plan.at);
            let errno = match plan.fault {
                Fault::NoSpace => Some(28),
                Fault::Io | Fault::Death => Some(5),
                Fault::Interrupted => Some(4),
                Fault::ShortWrite => None,
            };
            let fails = errno.filter(|_| hit);
            if fails.is_some() {
                plan.failed.get_or_insert(name);
            }
            (
                fails,
                if plan.calls > 1 {
                    plan.meanwhile.take()
                } else {
                    None
                },
            )
        });
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        fails.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    fn file(&self, file: Box<dyn DurableFile>) -> Box<dyn DurableFile> {
        Box::new(FaultyFile {
            storage: self.clone(),
            file,
        })
    }
}

impl Storage for Faulty {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.call("read").and_then(|()| RealStorage.read(path))
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.call("read_at")
            .and_then(|()| RealStorage.read_at(path, offset, len))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read>> {
        self.call("open").and_then(|()| RealStorage.open(path))
    }

    fn facts(&self, path: &Path) -> io::Result<Option<FileFacts>> {
        self.call("facts").and_then(|()| RealStorage.facts(path))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        self.call("create_new")
            .and_then(|()| Ok(self.file(RealStorage.create_new(path)?)))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        self.call("open_append")
            .and_then(|()| Ok(self.file(RealStorage.open_append(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename")
            .and_then(|()| RealStorage.rename(from, to))
    }

    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        self.call("hard_link")
            .and_then(|()| RealStorage.hard_link(original, link))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call("remove").and_then(|()| RealStorage.remove(path))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.call("remove_dir")
            .and_then(|()| RealStorage.remove_dir(dir))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call("sync_dir")
            .and_then(|()| RealStorage.sync_dir(dir))
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.call("create_dir_all")
            .and_then(|()| RealStorage.create_dir_all(dir))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.call("list").and_then(|()| RealStorage.list(dir))
    }
}

struct FaultyFile {
    storage: Faulty,
    file: Box<dyn DurableFile>,
}

impl DurableFile for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.storage.call("write")?;
        let is_short = self
            .storage
            .plan(|plan| plan.fault == Fault::ShortWrite && plan.calls == plan.at);
        let taken = if is_short {
            bytes.len().div_ceil(2)
        } else {
            bytes.len()
        };
        self.file.write(bytes.get(..taken).unwrap_or_default())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.storage.call("sync").and_then(|()| self.file.sync())
    }

    fn set_owner_and_mode(&mut self, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
        self.storage
            .call("set_owner_and_mode")
            .and_then(|()| self.file.set_owner_and_mode(uid, gid, mode))
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.storage
            .call("truncate")
            .and_then(|()| self.file.truncate(len))
    }
}
