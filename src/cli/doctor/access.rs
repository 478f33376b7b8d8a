//! Why this user is kept from a path, and what lets them use it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::Access;

use super::findings::word;
use crate::home::Home;

/// What to do where permission for a path is denied.
pub(super) fn way_in(home: &Home, path: &Path) -> String {
    let barred = barrier(path);
    let own = rustix::process::geteuid().as_raw();
    match fs::metadata(&barred) {
        Ok(facts) if facts.uid() == own => {
            let mode = if facts.is_dir() { "u+rwx" } else { "u+rw" };
            format!("run: chmod {mode} {}", word(&barred))
        }
        Ok(facts) if is_inside_ours(home, &barred) => format!(
            "{} belongs to user {}, and you are user {own}: see under 'permissions' how to take it",
            barred.display(),
            facts.uid()
        ),
        Ok(facts) => format!(
            "{} belongs to user {}, and you are user {own}: run dispatch as that user, or set DISPATCH_HOME to a directory of your own",
            barred.display(),
            facts.uid()
        ),
        Err(_) => format!("see whose it is: ls -ld {}", word(&barred)),
    }
}

/// It lies in a state directory that is this user's own.
fn is_inside_ours(home: &Home, path: &Path) -> bool {
    let top = &home.paths.home;
    let own = rustix::process::geteuid().as_raw();
    let is_own = fs::metadata(top).is_ok_and(|facts| facts.uid() == own);
    is_own && path != top && path.starts_with(top)
}

/// The first directory on the way to a path that does not let us in; else the path itself.
fn barrier(path: &Path) -> PathBuf {
    let mut above: Vec<&Path> = path.ancestors().skip(1).collect();
    above.reverse();
    let closed = above
        .into_iter()
        .find(|dir| rustix::fs::access(*dir, Access::EXEC_OK).is_err());
    closed.unwrap_or(path).to_owned()
}
