//! Room, permission to write, and locks.

use std::fs;
use std::process::Command;

use dispatch::process::ProcessIdentity;
use serde_json::json;

use super::{heed, is_sound, look, only, sound_house, troubles};
use crate::concurrency::recovery::{MINUTE_MS, now_ms};
use crate::ledger::full_disk::SmallDisk;
use crate::outbox::signal_done;
use crate::support::{House, eventually};

#[test]
fn little_room_is_a_warning_and_too_little_is_wrong() {
    for (kib, state, told) in [
        (200 * 1024, "ok", "MiB free"),
        (60 * 1024, "warn", "MiB free"),
        (15 * 1024, "wrong", "MiB free"),
        (256, "wrong", "KiB free"),
    ] {
        let house = House::new();
        let Some(disk) = SmallDisk::under(&house, kib) else {
            return;
        };
        signal_done(&house, "a", "there").exits(0);
        let ran = look(&house);
        if state == "ok" {
            assert_eq!(troubles(ran, 0), []);
            continue;
        }
        let found = only(ran, "disk", state);
        let start = format!("{} has ", house.state().display());
        assert!(found.message.starts_with(&start), "{found:#?}");
        assert!(found.message.contains(told), "{found:#?}");
        // More room, as if somebody had made some.
        disk.remount("size=300m");
        is_sound(&house);
    }
}

#[test]
fn a_file_system_that_takes_no_more_files_is_told() {
    let house = House::new();
    let Some(disk) = SmallDisk::under(&house, 200 * 1024) else {
        return;
    };
    signal_done(&house, "a", "there").exits(0);
    for (most, state) in [(600, "warn"), (15, "wrong")] {
        disk.remount(&format!("nr_inodes={most}"));
        let told = only(look(&house), "disk", state);
        assert!(told.message.contains("more files"), "{told:#?}");
    }
    disk.remount("nr_inodes=100000");
    is_sound(&house);
}

#[test]
fn a_disk_that_is_mounted_read_only_is_told() {
    let house = House::new();
    let Some(disk) = SmallDisk::under(&house, 200 * 1024) else {
        return;
    };
    signal_done(&house, "a", "there").exits(0);
    disk.remount("ro");
    let told = only(look(&house), "disk", "wrong");
    let start = format!("{} is mounted read-only", house.state().display());
    assert!(told.message.starts_with(&start), "{told:#?}");
    disk.remount("rw");
    is_sound(&house);
}

#[test]
fn a_lock_that_is_held_and_not_signed_for_is_told() {
    let house = sound_house();
    let path = house.state().join("labels.json.lock");
    let lock = fs::File::open(&path).expect("there");
    fs2::FileExt::lock_exclusive(&lock).expect("free");
    let told = only(look(&house), "locks", "wrong");
    assert!(told.message.contains("not by whoever signed"), "{told:#?}");
    assert!(
        told.todo.ends_with(&path.display().to_string()),
        "{told:#?}"
    );
    drop(lock);
    is_sound(&house);
}

#[test]
fn a_lock_that_is_held_for_long_names_its_holder() {
    let house = sound_house();
    let path = house.state().join("labels.json.lock");
    // A process that stands still in the middle of a change.
    let script = "exec 9<\"$0\"; flock -x 9; kill -STOP $$; exit 0";
    let probe = Command::new("flock").arg("--version").output();
    if probe.is_err() {
        println!("skipped: util-linux's flock is not here");
        return;
    }
    let mut holder = Command::new("sh")
        .args(["-c", script])
        .arg(&path)
        .env("HOUSE", house.root())
        .spawn()
        .expect("sh is on every system");
    let pid = holder.id();
    eventually("it holds the lock", || {
        let lock = fs::File::open(&path).ok()?;
        fs2::FileExt::try_lock_shared(&lock).is_err().then_some(())
    });
    let signed = |age_ms: i64| {
        let process = ProcessIdentity::of(pid).expect("it lives");
        let mut signature = serde_json::to_value(process).expect("serialisable");
        signature["program"] = json!("dispatch done");
        signature["since"] = json!(now_ms() - age_ms);
        // In place: whoever holds the lock holds this very file.
        fs::write(&path, signature.to_string()).expect("writable");
    };
    signed(0);
    is_sound(&house);
    signed(10 * MINUTE_MS);
    let told = only(look(&house), "locks", "wrong");
    let said = format!("is held by dispatch done (pid {pid}) for 10m");
    assert!(told.message.contains(&said), "{told:#?}");
    assert_eq!(
        told.todo,
        format!("let it go on (kill -CONT {pid}) or end it: kill -KILL {pid}")
    );
    heed(&house, &told);
    holder.wait().expect("our own child");
    is_sound(&house);
}
