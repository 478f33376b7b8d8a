//! The thin file-system trait: every durable write of dispatch goes through it.
//!
//! One method is one system call (or one call and its retry on EINTR), so that a test can make the N-th of them fail,
//! cut it short, or drop what was not synced. Reads of other programs' files (transcripts, gateway stores) and the
//! output files that a session's own command writes are outside it.
//!
//! Limitations: the promises hold on file systems where `rename` is atomic and `fsync` of a directory makes it last.
//! On NFS, locks depend on the server.

#[cfg(debug_assertions)]
pub mod faults;
mod open;
mod staged;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use self::open::{open_to_read, open_to_write};
pub use self::staged::Staged;

/// What a file looked like when it was asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileFacts {
    /// Length in bytes.
    pub len: u64,
    /// Permission bits (`0o600`).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Inode number.
    pub inode: u64,
    /// Device number.
    pub device: u64,
    /// Last change in nanoseconds since the Unix epoch.
    pub mtime_ns: i128,
    /// A symbolic link (never followed by [`Storage::facts`]).
    pub is_symlink: bool,
    /// A directory.
    pub is_dir: bool,
}

/// An open file that is being written.
pub trait DurableFile: Send {
    /// Writes some of `bytes` and says how many, as `write(2)` does.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Brings content and length to the disk. A failure is final: the file must not be synced again.
    fn sync(&mut self) -> io::Result<()>;

    /// Sets permission bits and, where they differ, owner and group. A group that this user may not give files to is let
    /// be; another group gets nothing of what it could do.
    fn set_owner_and_mode(&mut self, uid: u32, gid: u32, mode: u32) -> io::Result<()>;

    /// Cuts the file to `len` bytes and puts the write position there.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
}

/// The file system as dispatch uses it for everything that must last.
pub trait Storage: Send + Sync {
    /// The whole content of a file; symbolic links are followed. Pipes and devices are refused.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// At most `len` bytes of a file from `offset` on, fewer only at its end; else as `read`.
    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Opens a file to be read from its beginning on, piece by piece; else as `read`.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>>;

    /// Facts of a path itself, `None` when it does not exist. Links are not followed.
    fn facts(&self, path: &Path) -> io::Result<Option<FileFacts>>;

    /// Creates a file that must not exist yet, with mode 0600. Never follows a link.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DurableFile>>;

    /// Opens a file for appending, creating it with mode 0600. Refuses symbolic links, pipes and devices.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn DurableFile>>;

    /// Renames a file over another, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Makes `link` a second name of `original`; fails when `link` exists.
    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;

    /// Brings a directory's entries to the disk.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Creates a directory and its parents, new ones with mode 0700.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The names in a directory, sorted; empty when the directory does not exist.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
}

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealStorage;

struct RealFile(File);

const EPERM: i32 = rustix::io::Errno::PERM.raw_os_error();

/// What a file's group may do, and that it is done in the group's name.
const GROUP_BITS: u32 = 0o2070;

impl DurableFile for RealFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn set_owner_and_mode(&mut self, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
        let now = self.0.metadata()?;
        let mut mode = mode;
        if now.uid() != uid || now.gid() != gid {
            match std::os::unix::fs::fchown(&self.0, Some(uid), Some(gid)) {
                // Only members may give a file to a group.
                Err(e) if now.uid() == uid && e.raw_os_error() == Some(EPERM) => {
                    mode &= !GROUP_BITS;
                }
                given => given?,
            }
        }
        if now.mode() & 0o7777 != mode {
            self.0.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.0.set_len(len)?;
        self.0.seek(SeekFrom::Start(len)).map(|_| ())
    }
}

impl Storage for RealStorage {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = open_to_read(path)?;
        let mut bytes = Vec::with_capacity(file.metadata()?.len() as usize + 1);
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut file = open_to_read(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::with_capacity(len);
        file.take(len as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(open_to_read(path)?))
    }

    fn facts(&self, path: &Path) -> io::Result<Option<FileFacts>> {
        match fs::symlink_metadata(path) {
            Ok(m) => Ok(Some(FileFacts {
                len: m.len(),
                mode: m.mode() & 0o7777,
                uid: m.uid(),
                gid: m.gid(),
                inode: m.ino(),
                device: m.dev(),
                mtime_ns: i128::from(m.mtime()) * 1_000_000_000 + i128::from(m.mtime_nsec()),
                is_symlink: m.is_symlink(),
                is_dir: m.is_dir(),
            })),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        let file = open_to_write(path, OpenOptions::new().append(true).create(true))?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        fs::hard_link(original, link)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e),
        };
        let mut names = Vec::new();
        for entry in entries {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

/// Writes all of `bytes`, going on after short writes and EINTR.
///
/// # Errors
/// The first error of the file; `WriteZero` when it takes no more bytes.
pub fn write_all(file: &mut dyn DurableFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = bytes.get(n..).unwrap_or_default(),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// The directory that holds `path` (`.` for a bare name).
pub fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Replaces `path` with exactly `bytes`, all or nothing for every reader, and syncs nothing: for what tells of a process
/// that a power cut ends, too. After one the file may be the old one, the new one, or empty.
///
/// # Errors
/// The failing call's error; the old content is then intact.
pub fn replace_unsynced(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(storage, path, bytes, |_| Ok(()))?;
    put_in_place(storage, &temporary, path)
}

/// Creates `path` with exactly `bytes`, all or nothing: written and synced under a temporary name, then linked to its
/// own name, then the directory is synced.
///
/// # Errors
/// `AlreadyExists` when `path` exists (its content is then complete, whoever wrote it); else the failing call's error.
/// The temporary file is removed in every case.
pub fn create_synced(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(storage, path, bytes, |file| file.sync())?;
    let linked = storage.hard_link(&temporary, path);
    if storage.remove(&temporary).is_err() {
        // The content is in place or not, whatever becomes of its second name.
        let _ = storage.remove(&temporary);
    }
    linked?;
    storage.sync_dir(parent_of(path))
}

/// Replaces `path` with exactly `bytes`, all or nothing, and syncs file and directory.
///
/// # Errors
/// The failing call's error; the old content is then intact (or, when only the last directory sync failed, the new
/// content is in place but may not outlast a power cut).
pub fn replace_synced(storage: &dyn Storage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = write_temporary(storage, path, bytes, |file| file.sync())?;
    put_in_place(storage, &temporary, path)?;
    storage.sync_dir(parent_of(path))
}

/// Creates `dir` and its missing parents, and makes every new directory's own entry last.
///
/// # Errors
/// The failing call's error.
pub fn create_dir_synced(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    let missing = missing_dirs(storage, dir)?;
    storage.create_dir_all(dir)?;
    let mut outermost_first = missing.iter().rev();
    outermost_first.try_for_each(|created| storage.sync_dir(parent_of(created)))
}

/// What has to be created for `dir` to be there, the innermost first.
fn missing_dirs(storage: &dyn Storage, dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    let mut at = dir;
    while storage.facts(at)?.is_none() {
        missing.push(at.to_owned());
        let parent = parent_of(at);
        if parent == at {
            break;
        }
        at = parent;
    }
    Ok(missing)
}

/// The name of a temporary file beside `path`, unique to this process and call.
pub fn temporary_beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unique = uuid::Uuid::new_v4().simple();
    parent_of(path).join(format!(".{name}.tmp-{}-{unique}", std::process::id()))
}

/// The process that made the temporary file of this name; `None` for other names.
pub fn writer_of_temporary(name: &str) -> Option<u32> {
    let rest = name.strip_prefix('.')?;
    let (pid, _) = rest.rsplit_once(".tmp-")?.1.split_once('-')?;
    pid.parse().ok()
}

/// Removes the temporaries in `dir` that killed writers left: those of files whose names begin with `names`, written by
/// a pid that `is_stale`. Best effort.
pub fn sweep_temporaries(
    storage: &dyn Storage,
    dir: &Path,
    names: &str,
    is_stale: impl Fn(u32) -> bool,
) {
    let prefix = format!(".{names}");
    for temporary in storage.list(dir).unwrap_or_default() {
        let is_meant = temporary.starts_with(&prefix);
        let writer = writer_of_temporary(&temporary).filter(|_| is_meant);
        if writer.is_some_and(&is_stale) {
            let _ = storage.remove(&dir.join(temporary));
        }
    }
}

fn write_temporary(
    storage: &dyn Storage,
    path: &Path,
    bytes: &[u8],
    settle: impl FnOnce(&mut dyn DurableFile) -> io::Result<()>,
) -> io::Result<PathBuf> {
    let temporary = temporary_beside(path);
    let mut file = storage.create_new(&temporary)?;
    let written = write_all(file.as_mut(), bytes).and_then(|()| settle(file.as_mut()));
    drop(file);
    if let Err(e) = written {
        let _ = storage.remove(&temporary);
        return Err(e);
    }
    Ok(temporary)
}

fn put_in_place(storage: &dyn Storage, temporary: &Path, path: &Path) -> io::Result<()> {
    storage.rename(temporary, path).inspect_err(|_| {
        let _ = storage.remove(temporary);
    })
}
