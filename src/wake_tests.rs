//! Tests of waking, against the real file system. No test sleeps: a wait that must end has a long bound, a wait that
//! must not end has a short one.
#![allow(clippy::unwrap_used)]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::thread;

use rstest::rstest;
use tempfile::TempDir;

use super::*;

const LONG: Duration = Duration::from_secs(120);
const SHORT: Duration = Duration::from_millis(80);

fn dir() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

fn wake_for(path: &Path) -> Wake {
    let mut wake = Wake::new();
    assert!(!wake.is_degraded(), "these tests need file watches");
    wake.watch(path);
    wake
}

fn append(path: &Path) {
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(b"x\n").unwrap();
}

/// Takes events until a whole short wait brings none.
fn settle(wake: &mut Wake) {
    let bound = Instant::now() + LONG;
    while wake.wait(SHORT) == Woke::Event {
        assert!(Instant::now() < bound, "it never comes to rest");
    }
}

#[test]
fn a_write_wakes() {
    let (_dir, dir) = dir();
    let file = dir.join("a");
    fs::write(&file, "").unwrap();
    let mut wake = wake_for(&file);
    assert_eq!(wake.wait(SHORT), Woke::Timeout);
    let writer = thread::spawn({
        let file = file.clone();
        move || append(&file)
    });
    assert_eq!(wake.wait(LONG), Woke::Event);
    writer.join().unwrap();
}

#[test]
fn an_event_before_the_wait_is_not_lost_and_a_burst_wakes_once() {
    let (_dir, dir) = dir();
    let file = dir.join("a");
    fs::write(&file, "").unwrap();
    let mut wake = wake_for(&file);
    let mut open = OpenOptions::new().append(true).open(&file).unwrap();
    for _ in 0..500 {
        open.write_all(b"x\n").unwrap();
    }
    let bound = Instant::now() + LONG;
    while !wake.shared.lock().pending {
        assert!(Instant::now() < bound, "the event never came");
        thread::yield_now();
    }
    assert_eq!(wake.wait(LONG), Woke::Event);
    settle(&mut wake);
}

#[test]
fn reading_wakes_nobody() {
    let (_dir, dir) = dir();
    let file = dir.join("a");
    fs::write(&file, "text").unwrap();
    for path in [&file, &dir] {
        let mut wake = wake_for(path);
        let mut text = String::new();
        File::open(&file)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        fs::read_dir(&dir).unwrap().for_each(drop);
        assert_eq!(wake.wait(SHORT), Woke::Timeout);
    }
}

#[test]
fn a_file_that_appears_wakes_and_is_watched_from_then_on() {
    let (_dir, dir) = dir();
    let file = dir.join("a");
    let mut wake = wake_for(&file);
    assert_eq!(wake.wait(SHORT), Woke::Timeout);
    fs::write(&file, "").unwrap();
    assert_eq!(wake.wait(LONG), Woke::Event);
    settle(&mut wake);
    assert_eq!(wake.armed.keys().collect::<Vec<_>>(), [&file]);
    append(&file);
    assert_eq!(wake.wait(LONG), Woke::Event);
}

#[test]
fn a_file_in_directories_that_do_not_exist_yet_is_found() {
    let (_dir, dir) = dir();
    let file = dir.join("deep/er/a");
    let mut wake = wake_for(&file);
    fs::create_dir(dir.join("deep")).unwrap();
    assert_eq!(wake.wait(LONG), Woke::Event);
    settle(&mut wake);
    fs::create_dir(dir.join("deep/er")).unwrap();
    assert_eq!(wake.wait(LONG), Woke::Event);
    settle(&mut wake);
    fs::write(&file, "").unwrap();
    assert_eq!(wake.wait(LONG), Woke::Event);
    settle(&mut wake);
    append(&file);
    assert_eq!(wake.wait(LONG), Woke::Event);
}

#[test]
fn neighbours_of_an_awaited_file_wake_nobody() {
    let (_dir, dir) = dir();
    let mut wake = wake_for(&dir.join("a"));
    fs::write(dir.join("b"), "text").unwrap();
    assert_eq!(wake.wait(SHORT), Woke::Timeout);
}

#[rstest]
#[case::closed(false)]
#[case::held_open(true)]
fn a_replaced_file_wakes_and_the_new_one_is_watched(#[case] held_open: bool) {
    let (_dir, dir) = dir();
    let file = dir.join("a");
    fs::write(&file, "old").unwrap();
    let mut wake = wake_for(&file);
    let _held = held_open.then(|| File::open(&file).unwrap());
    for _ in 0..3 {
        fs::write(dir.join("new"), "new").unwrap();
        fs::rename(dir.join("new"), &file).unwrap();
        assert_eq!(wake.wait(LONG), Woke::Event);
        settle(&mut wake);
        append(&file);
        assert_eq!(wake.wait(LONG), Woke::Event);
        settle(&mut wake);
    }
}

#[rstest]
#[case::closed(false)]
#[case::held_open(true)]
fn a_deleted_file_that_comes_back_is_watched_again(#[case] held_open: bool) {
    let (_dir, dir) = dir();
    let file = dir.join("a");
    fs::write(&file, "old").unwrap();
    let mut wake = wake_for(&file);
    let _held = held_open.then(|| File::open(&file).unwrap());
    for _ in 0..3 {
        fs::remove_file(&file).unwrap();
        assert_eq!(wake.wait(LONG), Woke::Event);
        settle(&mut wake);
        fs::write(&file, "new").unwrap();
        assert_eq!(wake.wait(LONG), Woke::Event);
        settle(&mut wake);
        append(&file);
        assert_eq!(wake.wait(LONG), Woke::Event);
        settle(&mut wake);
    }
}

#[test]
fn a_file_deleted_and_written_at_once_is_watched_again() {
    let (_dir, dir) = dir();
    let file = dir.join("a");
    fs::write(&file, "old").unwrap();
    let mut wake = wake_for(&file);
    wake.watch(&dir);
    for _ in 0..50 {
        fs::remove_file(&file).unwrap();
        fs::write(&file, "new").unwrap();
        assert_eq!(wake.wait(LONG), Woke::Event);
    }
    settle(&mut wake);
    wake.unwatch(&dir);
    append(&file);
    assert_eq!(wake.wait(LONG), Woke::Event);
}

#[test]
fn entries_of_a_directory_wake_but_not_what_lies_below() {
    let (_dir, dir) = dir();
    fs::create_dir(dir.join("sub")).unwrap();
    let mut wake = wake_for(&dir);
    fs::write(dir.join("sub/x"), "").unwrap();
    assert_eq!(wake.wait(SHORT), Woke::Timeout);
    fs::write(dir.join("y"), "").unwrap();
    assert_eq!(wake.wait(LONG), Woke::Event);
}

#[test]
fn a_file_and_its_directory_can_both_be_watched() {
    let (_dir, dir) = dir();
    let file = dir.join("a");
    fs::write(&file, "").unwrap();
    let mut wake = wake_for(&dir);
    wake.watch(&file);
    fs::remove_file(&file).unwrap();
    assert_eq!(wake.wait(LONG), Woke::Event);
    settle(&mut wake);
    wake.unwatch(&dir);
    fs::write(&file, "").unwrap();
    assert_eq!(wake.wait(LONG), Woke::Event);
    settle(&mut wake);
    append(&file);
    assert_eq!(wake.wait(LONG), Woke::Event);
}

#[test]
fn what_is_not_watched_any_more_wakes_nobody() {
    let (_dir, dir) = dir();
    let file = dir.join("a");
    fs::write(&file, "").unwrap();
    let mut wake = wake_for(&file);
    wake.unwatch(&file);
    append(&file);
    assert_eq!(wake.wait(SHORT), Woke::Timeout);
}

#[test]
fn another_thread_wakes_before_and_during_a_wait() {
    for mut wake in [Wake::new(), Wake::polling(LONG)] {
        wake.waker().wake();
        assert_eq!(wake.wait(LONG), Woke::Event);
        let waker = wake.waker().clone();
        let thread = thread::spawn(move || waker.wake());
        assert_eq!(wake.wait(LONG / 2), Woke::Event);
        thread.join().unwrap();
    }
}

#[test]
fn without_watches_a_wait_ends_at_the_poll_interval() {
    let (_dir, dir) = dir();
    let mut wake = Wake::polling(Duration::from_millis(20));
    wake.watch(&dir.join("a"));
    assert!(wake.is_degraded());
    let start = Instant::now();
    assert_eq!(wake.wait(LONG), Woke::Timeout);
    assert!(start.elapsed() < LONG);
    for _ in 0..1000 {
        let bound = wake.bounded(LONG);
        assert!((15..=20).contains(&bound.as_millis()), "{bound:?}");
    }
    assert_eq!(
        wake.bounded(Duration::from_millis(1)),
        Duration::from_millis(1)
    );
}

#[test]
fn a_path_that_cannot_be_watched_degrades_until_it_can() {
    let (_dir, dir) = dir();
    // A name over the file system's limit cannot even be asked about.
    let impossible = dir.join("n".repeat(5000));
    let mut wake = wake_for(&dir.join("a"));
    wake.watch(&impossible);
    assert!(wake.is_degraded());
    fs::write(dir.join("a"), "").unwrap();
    assert_eq!(wake.wait(LONG), Woke::Event);
    wake.unwatch(&impossible);
    assert!(!wake.is_degraded());
}

#[test]
fn an_endless_timeout_is_no_error() {
    let mut wake = Wake::new();
    wake.waker().wake();
    assert_eq!(wake.wait(Duration::MAX), Woke::Event);
}

#[test]
fn a_change_found_while_another_path_is_added_is_not_lost() {
    let (_dir, dir) = dir();
    let (a, b) = (dir.join("a"), dir.join("b"));
    fs::write(&a, "old").unwrap();
    let mut wake = wake_for(&a);
    for n in 0..20 {
        fs::write(dir.join("new"), "new").unwrap();
        fs::rename(dir.join("new"), &a).unwrap();
        if n % 2 == 0 {
            wake.watch(&b);
        } else {
            wake.unwatch(&b);
        }
        assert_eq!(wake.wait(LONG), Woke::Event);
        settle(&mut wake);
    }
}

/// Two wakes on one source.
fn sharing() -> (Source, Wake, Wake) {
    let source = Source::new();
    let wakes = [Wake::patient(&source), Wake::patient(&source)];
    let [first, second] = wakes;
    assert!(!first.is_degraded(), "these tests need file watches");
    (source, first, second)
}

#[test]
fn wakes_that_share_a_source_each_hear_of_their_own_files_alone() {
    let (_dir, dir) = dir();
    let (_source, mut first, mut second) = sharing();
    for (wake, name) in [(&mut first, "a"), (&mut second, "b")] {
        fs::write(dir.join(name), "").unwrap();
        wake.watch(&dir.join(name));
    }
    append(&dir.join("a"));
    assert_eq!(first.wait(LONG), Woke::Event);
    assert_eq!(second.wait(SHORT), Woke::Timeout);
    append(&dir.join("b"));
    assert_eq!(second.wait(LONG), Woke::Event);
}

#[test]
fn a_file_that_two_wakes_watch_stays_watched_when_one_leaves() {
    let (_dir, dir) = dir();
    let file = dir.join("a");
    fs::write(&file, "").unwrap();
    let (_source, mut first, mut second) = sharing();
    first.watch(&file);
    second.watch(&file);
    first.unwatch(&file);
    append(&file);
    assert_eq!(second.wait(LONG), Woke::Event);
    first.watch(&file);
    drop(second);
    settle(&mut first);
    append(&file);
    assert_eq!(first.wait(LONG), Woke::Event);
}

#[test]
fn a_file_that_two_wakes_watch_is_watched_by_both_after_it_was_replaced() {
    let (_dir, dir) = dir();
    let file = dir.join("a");
    fs::write(&file, "old").unwrap();
    let (_source, mut first, mut second) = sharing();
    first.watch(&file);
    second.watch(&file);
    for _ in 0..3 {
        fs::write(dir.join("new"), "new").unwrap();
        fs::rename(dir.join("new"), &file).unwrap();
        for wake in [&mut first, &mut second] {
            assert_eq!(wake.wait(LONG), Woke::Event);
        }
        // Each may have set the other's watch anew.
        for _ in 0..2 {
            settle(&mut first);
            settle(&mut second);
        }
        append(&file);
        for wake in [&mut first, &mut second] {
            assert_eq!(wake.wait(LONG), Woke::Event);
            settle(wake);
        }
        fs::remove_file(&file).unwrap();
        for wake in [&mut first, &mut second] {
            assert_eq!(wake.wait(LONG), Woke::Event);
        }
        fs::write(&file, "again").unwrap();
        for wake in [&mut first, &mut second] {
            assert_eq!(wake.wait(LONG), Woke::Event);
            settle(wake);
        }
    }
}

#[test]
fn a_patient_wake_without_watches_finds_changes_itself_and_waits_on_without_any() {
    let (_dir, dir) = dir();
    let (file, sub) = (dir.join("a"), dir.join("sub"));
    fs::create_dir(&sub).unwrap();
    let mut wake = Wake::patient(&Source::none());
    wake.degraded_poll = Duration::from_millis(2);
    wake.watch(&file);
    wake.watch(&sub);
    assert_eq!(wake.wait(SHORT), Woke::Timeout);
    for path in [&file, &file, &sub.join("b"), &sub.join("b")] {
        let mut open = OpenOptions::new();
        let mut open = open.append(true).create(true).open(path).unwrap();
        open.write_all(b"x\n").unwrap();
        assert_eq!(wake.wait(LONG), Woke::Event);
        assert_eq!(wake.wait(SHORT), Woke::Timeout);
    }
    fs::remove_file(&file).unwrap();
    assert_eq!(wake.wait(LONG), Woke::Event);
    let mut other = Wake::patient(&Source::none());
    other.waker().wake();
    assert_eq!(other.wait(LONG), Woke::Event);
}

#[test]
fn a_patient_wake_polls_more_and_more_seldom_until_something_happens() {
    let (_dir, dir) = dir();
    let mut wake = Wake::patient(&Source::none());
    wake.watch(&dir.join("a"));
    let mut bounds = Vec::new();
    for _ in 0..5 {
        bounds.push(wake.bounded(LONG).as_millis());
        assert!(!wake.has_found_a_change());
    }
    for (bound, most) in bounds.iter().zip([250, 500, 1000, 2000, 2000]) {
        assert!((most * 3 / 4..=most).contains(bound), "{bounds:?}");
    }
    wake.waker().wake();
    assert_eq!(wake.wait(LONG), Woke::Event);
    assert!(wake.bounded(LONG).as_millis() <= 250);
}
