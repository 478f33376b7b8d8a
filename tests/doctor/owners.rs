//! State directories in which two users have been at work.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

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
        // A copy that this process writes is busy as long as another test's child, which was forked meanwhile, has it open.
        let copied = Command::new("cp")
            .arg(program("dispatch"))
            .arg(&dir)
            .status();
        assert!(copied.expect("cp is on every system").success());
        for dir in [house.root(), &dir] {
            fs::set_permissions(dir, Permissions::from_mode(0o755)).expect("ours");
        }
        Some(Self(house))
    }

    /// Runs `dispatch` with these words.
    pub fn dispatch(&self, words: &[&str]) -> Ran {
        let mut command = self.0.command("dispatch");
        let mut own = Command::new(self.0.path("programs/dispatch"));
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
    let owners = told.iter().filter(|told| told.name == "permissions");
    let owners: Vec<&Told> = owners.collect();
    assert_eq!(owners.len(), 1, "{told:#?}");
    let todo = format!("run: sudo chown -R {UID}:{UID} {}", house.state().display());
    assert_eq!(owners[0].todo, todo);
    let ledger = told.iter().find(|told| told.name == "ledger");
    let see = format!(
        "{} belongs to user 0, and you are user {UID}: see under 'permissions' how to take it",
        house.ledger_path().display()
    );
    assert_eq!(ledger.map(|told| told.todo.as_str()), Some(see.as_str()));
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

#[test]
fn whoever_works_in_a_state_of_somebody_else_is_told_whose_it_is() {
    let house = sound_house();
    let Some(somebody) = Somebody::of(&house) else {
        return;
    };
    let state = house.state().display().to_string();
    let todo = format!(
        "{state} belongs to user 0, and you are user {UID}: run dispatch as that user, or set DISPATCH_HOME to a directory of your own"
    );
    let told = somebody.troubles(1);
    let found: Vec<(&str, &str, &str)> = told
        .iter()
        .map(|told| (told.name.as_str(), told.state.as_str(), told.todo.as_str()))
        .collect();
    let whose = format!(
        "run dispatch as that user; what should be yours: sudo chown -R {UID}:{UID} {state}"
    );
    assert_eq!(
        found,
        [
            ("config", "wrong", ""),
            ("ledger", "wrong", todo.as_str()),
            ("disk", "wrong", &todo),
            ("locks", "wrong", &todo),
            ("permissions", "wrong", &whose),
        ]
    );
    let table = somebody.dispatch(&["doctor", "--output", "table"]).exits(1);
    let fine = table.stdout.lines().find(|line| line.starts_with("ok "));
    assert_eq!(
        fine,
        Some("ok     leftovers, events (--verbose tells more)")
    );
}

#[test]
fn what_its_owner_may_not_use_is_told_and_the_advice_is_enough() {
    let house = sound_house();
    let Some(somebody) = Somebody::of(&house) else {
        return;
    };
    give_all(&house, UID, UID);
    let state = house.state();
    let ledger = house.ledger_path();
    let lock = state.join("labels.json.lock");
    let cases: [(&Path, u32, &str, &str); 5] = [
        (&state, 0, "disk", "u+rwx"),
        (&state, 0o300, "disk", "u+rwx"),
        (&state, 0o500, "disk", "u+rwx"),
        (&ledger, 0, "ledger", "u+rw"),
        (&lock, 0, "locks", "u+rw"),
    ];
    for (path, mode, check, wanted) in cases {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("root may");
        let told = somebody.troubles(1);
        let told = told.iter().find(|told| told.name == check);
        let told = told.unwrap_or_else(|| panic!("{check} of {}", path.display()));
        let todo = format!("run: chmod {wanted} {}", path.display());
        assert_eq!((told.state.as_str(), &told.todo), ("wrong", &todo));
        heed(&house, told);
        assert_eq!(somebody.troubles(0), [], "{} {mode:o}", path.display());
    }
}
