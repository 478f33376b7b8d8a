//! Where the program of a command line is.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Where programs are looked for when PATH is not set.
const USUAL_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// The executable file that a program's name means, as an absolute path: a name is looked for on `path`, what has a
/// slash in it is a path from `cwd`. `None` when there is none.
pub fn find_program(name: &str, cwd: &Path, path: Option<&OsStr>) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(cwd.join(name)).filter(|path| is_executable(path));
    }
    if name.is_empty() {
        return None;
    }
    std::env::split_paths(path.unwrap_or(OsStr::new(USUAL_PATH)))
        .map(|dir| dir.join(name))
        .find(|candidate| is_executable(candidate))
        .and_then(|found| std::path::absolute(found).ok())
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_name_is_looked_for_and_a_path_is_one_from_the_directory() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bin = dir.path().join("bin");
        std::fs::create_dir(&bin).expect("creatable");
        for (name, mode) in [("agent", 0o700), ("text", 0o600)] {
            std::fs::write(bin.join(name), "").expect("writable");
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(bin.join(name), mode).expect("ours");
        }
        let path = Some(bin.as_os_str());
        let found = |name: &str| find_program(name, dir.path(), path);
        let agent = Some(bin.join("agent"));
        assert_eq!(found("agent"), agent);
        assert_eq!(found("bin/agent"), agent);
        assert_eq!(found(bin.join("agent").to_str().expect("UTF-8")), agent);
        for name in ["", "text", "bin/text", "gone", "./agent", "bin"] {
            assert_eq!(found(name), None, "{name}");
        }
        assert!(find_program("sh", dir.path(), None).is_some());
    }
}
