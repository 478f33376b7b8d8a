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
    /// `named` (from `DISPATCH_INDEX_PATH`) if given, else the `dispatch` beside the running program.
    ///
    /// # Errors
    /// When the running program's own path is unknown to the system.
    pub fn locate(named: Option<&Path>) -> io::Result<Self> {
        let own = std::env::current_exe()?;
        let beside = |name: &str| own.parent().unwrap_or(Path::new(".")).join(name);
        let dispatch = match named {
            // Detached children and agents run in other directories.
            Some(named) => std::path::absolute(named)?,
            None => beside("dispatch"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_named_keeps_its_name_in_every_directory() {
        let programs = Programs::locate(Some(Path::new("bin/my dispatch"))).expect("it runs");
        let here = std::env::current_dir().expect("it is there");
        assert_eq!(programs.dispatch, here.join("bin/my dispatch"));
        let programs = Programs::locate(None).expect("it runs");
        assert!(programs.dispatch.is_absolute());
        assert!(programs.dispatch.ends_with("dispatch"));
    }
}
