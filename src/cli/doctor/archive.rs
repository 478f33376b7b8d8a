//! The archive: lines that nobody can read, which readers pass over without a word.

use super::findings::{Findings, counted, word};
use crate::home::Home;
use crate::ledger::Archive;

pub(super) fn check(home: &Home, found: &mut Findings) {
    let archive = Archive::new(home);
    let path = archive.path();
    match archive.unreadable() {
        Ok(None) => {}
        Ok(Some(unreadable)) => {
            let what = format!(
                "{} of {} cannot be read, the first of them line {}: what they held is not found by 'result --generation' and 'list --archived'",
                counted(unreadable.count, "line", "lines"),
                path.display(),
                unreadable.first,
            );
            found.warn("archive", what).todo(format!(
                "mend them by hand, or take them out; to see the first: sed -n {}p {} | cat -v",
                unreadable.first,
                word(&path)
            ));
        }
        Err(error) => {
            found.wrong("archive", error.to_string());
        }
    }
}
