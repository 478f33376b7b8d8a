//! `list --archived`: what left the ledger, the last to leave first.

use std::fmt::Write;
use std::fs;

use serde_json::{Value, json};

use crate::support::House;

/// A house whose archive holds `a` to `e`, three generations of each, in turns; the ledger has the last of `a` and a newer `b`.
fn house() -> House {
    let house = House::new();
    let mut archive = String::new();
    for generation in 1..=3 {
        for label in ["a", "b", "c", "d", "e"] {
            let status = if label == "c" { "error" } else { "done" };
            let line = line(label, generation, status);
            write!(archive, "\n{line}\n").expect("a text takes everything");
        }
    }
    // What a killed prune leaves: half a line, a line that comes again, an entry that is still in the ledger.
    archive += "\n{\"label\":\"e\",\"entry\":{\"gener";
    write!(archive, "\n{}\n", line("e", 3, "done")).expect("a text takes everything");
    fs::create_dir_all(house.state()).expect("creatable");
    fs::write(house.state().join("archive.jsonl"), archive).expect("writable");
    let entry = |generation: u64| json!({"status": "done", "generation": generation});
    house.write_ledger(json!({"a": entry(3), "b": entry(4)}).to_string());
    house
}

fn line(label: &str, generation: u64, status: &str) -> Value {
    json!({
        "label": label,
        "entry": {"status": status, "generation": generation, "summary": format!("{label}{generation}"), "x": 1},
    })
}

/// The summaries of what is listed.
fn listed(house: &House, flags: &[&str]) -> (Vec<String>, Value) {
    let words = [&["list", "--archived"], flags].concat();
    let answer = house.dispatch(&words).exits(0).json();
    let rows = answer["labels"].as_array().expect("a list");
    assert_eq!(answer["count"], rows.len());
    let summaries = rows
        .iter()
        .map(|row| row["summary"].as_str().expect("a text").to_owned());
    (summaries.collect(), answer["more"].clone())
}

#[test]
fn commands_that_need_a_label_of_the_ledger_say_that_it_is_archived() {
    let house = house();
    let line = "label \"d\" is archived: it ended as done; what is kept of it is printed by: dispatch result --label d";
    for words in [
        &["wait", "d"][..],
        &["logs", "--label", "d"],
        &["send", "--label", "d", "--message", "Hi."],
        &["cancel", "--label", "d"],
        &["heartbeat", "--label", "d"],
    ] {
        super::refused(&house, words, 1, line);
    }
}

#[test]
fn the_last_to_leave_comes_first_and_each_comes_once() {
    let house = house();
    let all = [
        "e3", "d3", "c3", "b3", "e2", "d2", "c2", "b2", "a2", "e1", "d1", "c1", "b1", "a1",
    ];
    let (found, more) = listed(&house, &[]);
    assert_eq!(
        (found, more),
        (all.map(str::to_owned).to_vec(), json!(false))
    );
    let (found, more) = listed(&house, &["--limit", "2"]);
    assert_eq!(
        (found, more),
        (vec!["e3".to_owned(), "d3".to_owned()], json!(true))
    );
    assert_eq!(listed(&house, &["--limit", "14"]).1, json!(false));
    assert_eq!(listed(&house, &["--limit", "1", "--all"]).0.len(), 14);
    assert_eq!(listed(&house, &["--label", "a"]).0, ["a2", "a1"]);
    assert_eq!(listed(&house, &["--status", "error"]).0, ["c3", "c2", "c1"]);
    assert_eq!(
        listed(&house, &["--label", "c", "--status", "done"]).0,
        Vec::<String>::new()
    );
}

#[test]
fn rows_are_whole_entries_and_people_get_a_table() {
    let house = house();
    let words = ["list", "--archived", "--limit", "1"];
    let answer = house.dispatch(&words).exits(0).json();
    let row = &answer["labels"][0];
    assert_eq!((&row["label"], &row["x"]), (&json!("e"), &json!(1)));
    let ran = house
        .dispatch(&[&words[..], &["--output", "table"]].concat())
        .exits(0);
    assert_eq!(
        ran.stdout,
        "LABEL  STATUS  UPDATED  TOOK  SUMMARY\ne      done                   e3\n"
    );
    assert_eq!(ran.stderr, "[dispatch] there are more; --all shows them\n");
    let empty = House::new();
    let ran = empty
        .dispatch(&["list", "--archived", "--output", "table"])
        .exits(0);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        ("nothing is in the archive\n", "")
    );
    let ran = empty.dispatch(&["list", "--archived"]).exits(0);
    assert_eq!(
        ran.json(),
        json!({"ok": true, "count": 0, "more": false, "labels": []})
    );
}

#[test]
#[cfg(target_os = "linux")]
fn a_big_archive_is_read_no_further_than_is_shown() {
    let house = house();
    // What cannot be read costs nothing as long as nobody gets there.
    let path = house.state().join("archive.jsonl");
    let tail = fs::read(&path).expect("readable");
    let mut big = vec![b'x'; 64 * 1024 * 1024];
    big.extend(tail);
    fs::write(&path, big).expect("writable");
    let mut command = std::process::Command::new("sh");
    // Programs and libraries fit into that, and the file would not beside them.
    let dispatch = crate::support::program("dispatch");
    let line = format!(
        "ulimit -v 65536; exec '{}' list --archived --limit 3",
        dispatch.display()
    );
    command
        .args(["-c", &line])
        .env("DISPATCH_HOME", house.state());
    command.env("HOME", house.path("user"));
    let answer = crate::support::run(command, b"").exits(0).json();
    assert_eq!(answer["labels"][2]["summary"], "c3");
}
