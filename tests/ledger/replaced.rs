//! How a new version takes the old one's place.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::{COMPLETE, TWO, done, names_in, strays};
use crate::support::{House, run};

fn mode(path: &Path) -> u32 {
    fs::metadata(path)
        .expect("it is there")
        .permissions()
        .mode()
        & 0o7777
}

#[test]
fn a_new_ledger_and_all_beside_it_are_private() {
    let house = House::new();
    done(&house, "one").exits(0);
    done(&house, "two").exits(0);
    assert_eq!(mode(&house.state()), 0o700);
    for name in ["labels.json", "labels.json.lock", "labels.json.bak"] {
        assert_eq!(mode(&house.state().join(name)), 0o600, "{name}");
    }
}

#[test]
fn the_mode_and_the_owner_of_an_old_ledger_are_kept() {
    let house = House::new();
    house.write_ledger(TWO);
    fs::set_permissions(house.ledger_path(), fs::Permissions::from_mode(0o640)).expect("ours");
    let is_root = fs::metadata("/proc/self").expect("Linux").uid() == 0;
    if is_root {
        std::os::unix::fs::chown(house.ledger_path(), Some(1234), Some(4321)).expect("root may");
    } else {
        println!("skipped in part: only root can give a file to another owner");
    }
    let before = fs::metadata(house.ledger_path()).expect("it is there");
    done(&house, "new").exits(0);
    let after = fs::metadata(house.ledger_path()).expect("it is there");
    assert_eq!(mode(&house.ledger_path()), 0o640);
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    assert_ne!(after.ino(), before.ino(), "never edited in place");
}

#[test]
fn the_backup_is_the_version_before() {
    let house = House::new();
    house.write_ledger(TWO);
    let backup = house.state().join("labels.json.bak");
    let mut last = TWO.to_owned();
    for label in ["first", "second", "third"] {
        done(&house, label).exits(0);
        assert_eq!(fs::read_to_string(&backup).expect("UTF-8"), last);
        last = fs::read_to_string(house.ledger_path()).expect("UTF-8");
    }
    assert_eq!(strays(&house.state()), Vec::<String>::new());
}

#[test]
fn the_lock_file_stays_the_same_file() {
    let house = House::new();
    done(&house, "one").exits(0);
    let lock = house.state().join("labels.json.lock");
    let inode = fs::metadata(&lock).expect("it is there").ino();
    done(&house, "two").exits(0);
    assert_eq!(fs::metadata(&lock).expect("it is there").ino(), inode);
}

#[test]
fn a_linked_ledger_is_replaced_where_it_is_and_the_links_stay() {
    let house = House::new();
    let real = house.root().join("real");
    fs::create_dir_all(&real).expect("creatable");
    fs::create_dir_all(house.state()).expect("creatable");
    fs::write(real.join("ledger.json"), TWO).expect("writable");
    symlink("ledger.json", real.join("hop.json")).expect("creatable");
    symlink("../real/hop.json", house.ledger_path()).expect("creatable");
    done(&house, "new").exits(0);
    assert_eq!(
        fs::read_link(house.ledger_path()).expect("a link"),
        Path::new("../real/hop.json")
    );
    assert_eq!(
        fs::read_link(real.join("hop.json")).expect("a link"),
        Path::new("ledger.json")
    );
    assert!(
        fs::symlink_metadata(real.join("ledger.json"))
            .expect("there")
            .is_file()
    );
    assert_eq!(house.entry("new")["status"], "done");
    assert_eq!(
        names_in(&real),
        [
            "hop.json",
            "ledger.json",
            "ledger.json.bak",
            "ledger.json.lock"
        ]
    );
    assert_eq!(
        fs::read_to_string(real.join("ledger.json.bak")).expect("UTF-8"),
        TWO
    );
}

#[test]
fn a_link_to_a_ledger_that_is_not_there_yet_is_filled() {
    let house = House::new();
    fs::create_dir_all(house.state()).expect("creatable");
    symlink(house.root().join("later/ledger.json"), house.ledger_path()).expect("creatable");
    assert_eq!(house.dispatch(&["list"]).exits(0).json()["count"], 0);
    done(&house, "new").exits(0);
    assert!(house.root().join("later/ledger.json").is_file());
    assert_eq!(house.entry("new")["status"], "done");
}

#[test]
fn a_planted_link_in_the_place_of_the_lock_is_not_followed() {
    let house = House::new();
    house.write_ledger(TWO);
    let victim = house.root().join("victim");
    fs::write(&victim, "precious").expect("writable");
    symlink(&victim, house.state().join("labels.json.lock")).expect("creatable");
    let ran = done(&house, "new").exits(1);
    assert!(ran.stderr.starts_with("[dispatch] cannot lock "), "{ran:?}");
    assert_eq!(fs::read_to_string(&victim).expect("UTF-8"), "precious");
    assert_eq!(fs::read_to_string(house.ledger_path()).expect("UTF-8"), TWO);
}

#[test]
fn a_planted_link_in_the_place_of_the_backup_is_replaced_and_not_written_through() {
    let house = House::new();
    house.write_ledger(TWO);
    let victim = house.root().join("victim");
    fs::write(&victim, "precious").expect("writable");
    let backup = house.state().join("labels.json.bak");
    symlink(&victim, &backup).expect("creatable");
    done(&house, "new").exits(0);
    assert_eq!(fs::read_to_string(&victim).expect("UTF-8"), "precious");
    assert_eq!(fs::read_to_string(&backup).expect("UTF-8"), TWO);
    assert!(!fs::symlink_metadata(&backup).expect("there").is_symlink());
}

#[test]
fn the_environment_can_name_the_ledger_and_the_state_follows_it() {
    let house = House::new();
    let named = house.root().join("elsewhere/my.json");
    let dispatch = |words: &[&str]| {
        let mut command = house.command("dispatch");
        command.args(words).env("DISPATCH_LABELS_PATH", &named);
        command.env_remove("DISPATCH_HOME");
        run(command, b"").exits(0)
    };
    dispatch(&["done", "--label", "new", "--checklist", COMPLETE]);
    assert_eq!(dispatch(&["list"]).json()["labels"][0]["label"], "new");
    assert_eq!(
        names_in(&house.root().join("elsewhere")),
        ["artifacts", "history.jsonl", "my.json", "my.json.lock"]
    );
    assert!(!house.state().exists());
}
