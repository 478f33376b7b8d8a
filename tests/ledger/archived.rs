//! The archive: what is in it can be found again, and no generation in it is ever used again.

use std::fs;

use dispatch::config::Strictness;
use dispatch::home::Home;
use dispatch::ledger::Archive;
use dispatch::record::{Entry, Generation, Status};
use serde_json::json;

use crate::support::{House, program};

fn home(house: &House) -> Home {
    let env = |name: &str| match name {
        "DISPATCH_HOME" => Some(house.state().into_os_string()),
        "DISPATCH_INDEX_PATH" => Some(program("dispatch").into_os_string()),
        _ => None,
    };
    fs::create_dir_all(house.state()).expect("creatable");
    Home::open(&env, "a test", Strictness::Refuse).expect("a house has a home")
}

fn entry(generation: u64, summary: &str) -> Entry {
    let mut entry = Entry::new();
    entry.set_status(&Status::Done);
    entry.set_generation(Generation::new(generation));
    entry.set("summary", summary);
    entry
}

fn next(archive: &Archive, label: &str, previous: Option<u64>, now_ms: i64) -> u64 {
    let previous = previous.map(Generation::new);
    let next = archive.next_generation(label, previous, now_ms);
    next.expect("readable").get()
}

#[test]
fn a_generation_is_above_every_archived_one_of_its_label_whatever_the_clock_says() {
    let house = House::new();
    let home = home(&house);
    let archive = Archive::new(&home);
    assert_eq!(next(&archive, "a", None, 50), 50);
    archive.append("a", &entry(1_000, "")).expect("writable");
    archive.append("b", &entry(70, "")).expect("writable");
    assert_eq!(next(&archive, "a", None, 2_000), 2_000);
    assert_eq!(next(&archive, "a", None, 50), 1_001);
    assert_eq!(next(&archive, "a", Some(30), 50), 1_001);
    assert_eq!(next(&archive, "a", Some(5_000), 50), 5_001);
    assert_eq!(next(&archive, "b", None, 50), 71);
    assert_eq!(next(&archive, "c", None, 50), 50);
}

#[test]
fn lines_of_older_versions_count_and_half_a_line_does_not() {
    let house = House::new();
    let home = home(&house);
    let archive = Archive::new(&home);
    let old = json!({"label": "a", "entry": {"generation": 900, "status": "done"}});
    fs::write(archive.path(), format!("\n{old}\n")).expect("writable");
    assert_eq!(next(&archive, "a", None, 50), 901);
    archive.append("b", &entry(40, "")).expect("writable");
    let whole = fs::read_to_string(archive.path()).expect("UTF-8");
    let last = whole.lines().last().expect("a line");
    assert!(last.ends_with(",\"highest\":900}"), "{last}");
    for cut in 0..last.len() {
        let half = format!("{whole}\n{}", &last[..cut]);
        fs::write(archive.path(), half).expect("writable");
        assert_eq!(next(&archive, "a", None, 50), 901, "cut at {cut}");
        let found = archive.entries("b").expect("readable");
        assert_eq!(found, [entry(40, "")], "cut at {cut}");
        archive.append("c", &entry(60, "")).expect("writable");
        assert_eq!(archive.entries("c").expect("readable").len(), 1);
    }
}

#[test]
fn of_two_lines_of_one_generation_the_later_counts() {
    let house = House::new();
    let home = home(&house);
    let archive = Archive::new(&home);
    for (generation, summary) in [(5, "old"), (7, "seven"), (5, "new"), (7, "seven")] {
        archive
            .append("a", &entry(generation, summary))
            .expect("writable");
    }
    let found = archive.entries("a").expect("readable");
    assert_eq!(found, [entry(5, "new"), entry(7, "seven")]);
    assert_eq!(
        archive.latest("a").expect("readable"),
        Some(entry(7, "seven"))
    );
    let five = archive.find("a", Generation::new(5)).expect("readable");
    assert_eq!(five, Some(entry(5, "new")));
    assert_eq!(archive.latest("b").expect("readable"), None);
}

#[test]
fn a_label_is_not_taken_for_another_that_begins_alike() {
    let house = House::new();
    let home = home(&house);
    let archive = Archive::new(&home);
    for label in ["a", "a b", "a\"", "ä\\n"] {
        archive.append(label, &entry(1, label)).expect("writable");
    }
    for label in ["a", "a b", "a\"", "ä\\n"] {
        let found = archive.entries(label).expect("readable");
        assert_eq!(found, [entry(1, label)]);
    }
}
