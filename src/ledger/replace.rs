//! The durable replacement of the ledger, in its fixed order: temporary file, content, fsync, backup, rename, fsync
//! of the directory, sweep. The caller holds the lock.

use std::io::{self, Write};
use std::path::Path;

use super::LedgerError;
use crate::storage::{
    DurableFile, Storage, parent_of, sweep_temporaries, temporary_beside, write_all,
};

/// Written in pieces of this size, so that a large ledger costs no second copy in memory.
const PIECE_BYTES: usize = 64 * 1024;

/// Gathers small writes into pieces for a durable file.
struct Pieces<'a> {
    file: &'a mut dyn DurableFile,
    buffer: Vec<u8>,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > PIECE_BYTES {
            self.flush()?;
        }
        if bytes.len() >= PIECE_BYTES {
            write_all(self.file, bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        write_all(self.file, &self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Replaces `path` by what `content` writes; `backup`, where given, becomes a second name of the old version.
///
/// # Errors
/// The failing step; the ledger is then as it was and the temporary file is gone, but for
/// [`LedgerError::NotDurable`], where the new version is in place.
pub(crate) fn replace(
    storage: &dyn Storage,
    path: &Path,
    backup: Option<&Path>,
    content: &dyn Fn(&mut dyn Write) -> io::Result<()>,
) -> Result<(), LedgerError> {
    let temporary = temporary_beside(path);
    let failed = |action: &'static str, on: &Path| {
        let path = on.to_owned();
        move |source| LedgerError::Io {
            action,
            path,
            source,
        }
    };
    let prepared = write_temporary(storage, path, &temporary, content)
        .map_err(failed("write the ledger's new version", &temporary))
        .and_then(|()| match backup {
            Some(backup) => {
                refresh_backup(storage, path, backup).map_err(failed("refresh the backup", backup))
            }
            None => Ok(()),
        })
        .and_then(|()| {
            storage
                .rename(&temporary, path)
                .map_err(failed("replace the ledger", path))
        });
    if let Err(e) = prepared {
        let _ = storage.remove(&temporary);
        return Err(e);
    }
    storage
        .sync_dir(parent_of(path))
        .map_err(|source| LedgerError::NotDurable {
            path: path.to_owned(),
            source,
        })?;
    sweep(storage, path);
    Ok(())
}

fn write_temporary(
    storage: &dyn Storage,
    path: &Path,
    temporary: &Path,
    content: &dyn Fn(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let old = storage.facts(path)?;
    let mut file = storage.create_new(temporary)?;
    if let Some(old) = old {
        file.set_owner_and_mode(old.uid, old.gid, old.mode)?;
    }
    let mut pieces = Pieces {
        file: file.as_mut(),
        buffer: Vec::with_capacity(PIECE_BYTES),
    };
    content(&mut pieces)?;
    pieces.flush()?;
    file.sync()
}

/// Links the current version under the backup's name. A file system without hard links keeps no backup, which is
/// better than no ledger.
fn refresh_backup(storage: &dyn Storage, path: &Path, backup: &Path) -> io::Result<()> {
    if storage.facts(path)?.is_none() {
        return Ok(());
    }
    let link = temporary_beside(backup);
    match storage.hard_link(path, &link) {
        Ok(()) => {}
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
            ) =>
        {
            return Ok(());
        }
        Err(e) => return Err(e),
    }
    let renamed = storage.rename(&link, backup);
    // When both are already one file, rename(2) does nothing and leaves the link.
    match storage.remove(&link) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => renamed.and(Err(e)),
        _ => renamed,
    }
}

/// Removes temporaries that a killed writer left, of the file and of those named after it (its backup, copies kept
/// aside): whoever holds the lock owns them all. Best effort.
fn sweep(storage: &dyn Storage, path: &Path) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    sweep_temporaries(storage, parent_of(path), &name, |_| true);
}
