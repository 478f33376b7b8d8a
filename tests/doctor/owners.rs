//! State directories in which two users have been at work.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;

use super::{Told, heed, sound_house, troubles};
use crate::support::{House, Ran, program, run};

/// Nobody whom the system knows.
const UID: u32 = 12_345;

/// Another user's `dispatch`, in this house.
pub struct Somebody<'a>(&'a House);

impl<'a> Somebody<'a> {
    /// `None`, with a line, where only root could become somebody else.
    pub fn of(house: &'a House) -> Option<Self> {
        let user = house.path("user");
        if chown(&user, Some(UID), Some(UID)).is_err() {
            println!("skipped: only root becomes somebody else");
            return None;
        }
        // The programs may lie where nobody else can go.
        let dir = house.path("programs");
        fs::create_dir(&dir).expect("creatable");
        fs::copy(program("dispatch"), dir.join("dispatch")).expect("copyable");
        for dir in [house.root(), &dir] {
            fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("ours");
        }
        Some(Self(house))
    }

    /// Runs `dispatch` with these words.
    pub fn dispatch(&self, words: &[&str]) -> Ran {
        let mut command = self.0.command("dispatch");
        let mut own = std::process::Command::new(self.0.path("programs/dispatch"));
        own.env_clear().args(words).current_dir(self.0.root());
        for (name, value) in command.env("PATH", "/usr/bin:/bin").get_envs() {
            own.env(name, value.unwrap_or_default());
        }
        own.uid(UID).gid(UID);
        run(own, b"")
    }

    /// The findings that are not fine.
    #[track_caller]
    pub fn troubles(&self, code: i32) -> Vec<Told> {
        troubles(self.dispatch(&["doctor"]), code)
    }
}

/// Gives everything in the state directory, and itself, to a user and a group.
fn give_all(house: &House, uid: u32, gid: u32) {
    for path in house.state_files().into_keys() {
        chown(path, Some(uid), Some(gid)).expect("root may");
    }
    chown(house.state(), Some(uid), Some(gid)).expect("root may");
}

fn owner_and_mode(path: &Path) -> (u32, u32, u32) {
    let facts = fs::metadata(path).expect("there");
    (facts.uid(), facts.gid(), facts.mode() & 0o7777)
}

#[test]
fn a_ledger_of_a_group_that_its_owner_is_not_in_is_told_and_written_all_the_same() {
    let house = sound_house();
    let Some(somebody) = Somebody::of(&house) else {
        return;
    };
    give_all(&house, UID, 0);
    let told = somebody.troubles(0);
    assert_eq!(told.len(), 1, "{told:#?}");
    let ledger = house.ledger_path();
    let what = format!(
        "{} belongs to group 0, and you are not in it: the next change takes the group's access away",
        ledger.display()
    );
    assert!(told[0].message.starts_with(&what), "{told:#?}");
    fs::set_permissions(&ledger, Permissions::from_mode(0o664)).expect("root may");
    let done = [
        "done",
        "--label",
        "b",
        "--checklist",
        "{\"work_complete\":true}",
    ];
    somebody.dispatch(&done).exits(0);
    // What was the group's is nobody's now, least of all that of another group.
    assert_eq!(owner_and_mode(&ledger), (UID, UID, 0o604));
    assert_eq!(house.entry("b")["status"], "done");
    for path in [ledger, house.state().join("labels.json.bak")] {
        fs::set_permissions(path, Permissions::from_mode(0o600)).expect("root may");
    }
    assert_eq!(somebody.troubles(0), []);
}

#[test]
fn what_root_has_left_in_somebodys_state_is_taken_once_and_works_again() {
    let house = sound_house();
    let Some(somebody) = Somebody::of(&house) else {
        return;
    };
    chown(house.state(), Some(UID), Some(UID)).expect("root may");
    let told = somebody.troubles(1);
    let owners = told
        .iter()
        .filter(|told| told.message.contains("belongs to user"));
    let owners: Vec<&Told> = owners.collect();
    assert_eq!(owners.len(), 1, "{told:#?}");
    let todo = format!("run: sudo chown -R {UID}:{UID} {}", house.state().display());
    assert_eq!(owners[0].todo, todo);
    heed(&house, owners[0]);
    assert_eq!(somebody.troubles(0), []);
    let done = [
        "done",
        "--label",
        "b",
        "--checklist",
        "{\"work_complete\":true}",
    ];
    somebody.dispatch(&done).exits(0);
}
