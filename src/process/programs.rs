//! Where the programs of this project are.

use std::io;
use std::path::{Path, PathBuf};

/// The programs that call one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// `dispatch`: also what prompts name as the program to call.
    pub dispatch: PathBuf,
    /// `watcher`, beside it.
    pub watcher: PathBuf,
}

impl Programs {
    /// `named` (from `DISPATCH_INDEX_PATH`) if given, else the `dispatch` beside the running program. A script that the
    /// reference's variable names is no program of ours, and counts as not given.
    ///
    /// # Errors
    /// When the running program's own path is unknown to the system.
    pub fn locate(named: Option<&Path>) -> io::Result<Self> {
        let own = std::env::current_exe()?;
        let beside = |name: &str| own.parent().unwrap_or(Path::new(".")).join(name);
        let named = named.filter(|path| !is_script(path));
        let dispatch = match named {
            None => beside("dispatch"),
            Some(name) if name.components().count() == 1 => name.to_owned(),
            Some(path) => std::path::absolute(path)?,
        };
        let sibling = dispatch.with_file_name("watcher");
        let watcher = if sibling.exists() {
            sibling
        } else {
            beside("watcher")
        };
        Ok(Self { dispatch, watcher })
    }
}

/// A file that node runs: the reference's programs are such.
pub fn is_script(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str());
    extension.is_some_and(|e| ["mjs", "js", "cjs"].contains(&e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(named: &str) -> PathBuf {
        let programs = Programs::locate(Some(Path::new(named)));
        programs.expect("this program is somewhere").dispatch
    }

    #[test]
    fn the_variable_names_a_program_of_ours_or_nothing() {
        assert_eq!(located("/opt/dispatch"), Path::new("/opt/dispatch"));
        assert_eq!(located("my-dispatch"), Path::new("my-dispatch"));
        assert!(located("./dispatch").is_absolute());
        let own = located("/opt/scheduler/dispatch/index.mjs");
        assert_eq!(own, Programs::locate(None).expect("as above").dispatch);
    }
}
