//! Opening files of the state directory, where somebody may have put a pipe, a device or a link in their place.
//!
//! No call waits for whoever is at the other end of a pipe, and none writes through a link.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Opens a file to write to it, in the way that `how` says; one that it creates has mode 0600.
///
/// # Errors
/// When the path is a symbolic link, a pipe or a device; else what the system says.
pub fn open_to_write(path: &Path, how: &mut OpenOptions) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    // The flags are small positive numbers on every supported system, so the conversion is exact.
    let opened = how.mode(0o600).custom_flags(flags.bits() as i32).open(path);
    match opened {
        // A pipe that nobody reads, or a socket.
        Err(e) if e.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => Err(no_file()),
        opened => checked(opened?),
    }
}

/// Opens a file to read it; symbolic links are followed.
///
/// # Errors
/// When the path leads to a pipe or a device; else what the system says.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits() as i32;
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Err(e) if e.raw_os_error() == Some(Errno::NXIO.raw_os_error()) => Err(no_file()),
        opened => checked(opened?),
    }
}

/// Of a directory the first read or write says what it is.
fn checked(file: File) -> io::Result<File> {
    let facts = file.metadata()?;
    match facts.is_file() || facts.is_dir() {
        true => Ok(file),
        false => Err(no_file()),
    }
}

fn no_file() -> io::Error {
    let what = "it is a pipe or a device, and no file";
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo runs").success());
        path
    }

    #[test]
    fn a_pipe_is_refused_at_once_whether_anybody_is_at_its_other_end_or_not() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = pipe(dir.path());
        let mut ways = [
            OpenOptions::new().append(true).create(true).to_owned(),
            OpenOptions::new().write(true).to_owned(),
            OpenOptions::new().read(true).write(true).to_owned(),
        ];
        let mut refused = || {
            for how in &mut ways {
                let error = open_to_write(&path, how).expect_err("no file");
                assert_eq!(error.to_string(), no_file().to_string());
            }
            let error = open_to_read(&path).expect_err("no file");
            assert_eq!(error.to_string(), no_file().to_string());
        };
        refused();
        let both = OpenOptions::new().read(true).write(true).open(&path);
        refused();
        drop(both);
    }

    #[test]
    fn a_link_is_read_through_and_not_written_through() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        std::fs::write(&file, "x").expect("writable");
        std::os::unix::fs::symlink(&file, &link).expect("creatable");
        assert!(open_to_read(&link).is_ok());
        assert!(open_to_write(&link, OpenOptions::new().write(true)).is_err());
        assert!(open_to_write(&file, OpenOptions::new().write(true)).is_ok());
    }
}
