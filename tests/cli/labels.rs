//! Labels are names that people give: odd ones work and stay inside the state directory, unusable ones are refused.

use std::collections::BTreeSet;
use std::fs;

use super::{house_with_one_label, refused};
use crate::support::House;

#[test]
fn a_label_that_is_no_name_is_refused() {
    let house = house_with_one_label();
    let too_long = "x".repeat(600);
    let example = "for example `nightly-build`";
    for (label, why) in [
        ("", format!("the label is empty; give the work a name, {example}")),
        (" \t", "the label has the control character U+0009 at byte 1; remove it, a label is one line of plain text".to_owned()),
        ("   ", format!("the label is only white space; give the work a name that can be read, {example}")),
        ("a\nb", "the label has the control character U+000A at byte 1; remove it, a label is one line of plain text".to_owned()),
        ("a\u{1}", "the label has the control character U+0001 at byte 1; remove it, a label is one line of plain text".to_owned()),
        ("\u{1b}[31m", "the label has the control character U+001B at byte 0; remove it, a label is one line of plain text".to_owned()),
        (&too_long, "the label is 600 bytes long; shorten it to 512 bytes or less".to_owned()),
    ] {
        let sentence = format!("--label: {why}");
        refused(&house, &["enqueue", "--label", label, "--", "true"], 2, &sentence);
        let done = ["done", "--label", label, "--checklist", "{\"work_complete\":true}"];
        refused(&house, &done, 2, &sentence);
    }
}

#[test]
fn odd_labels_work_end_to_end_inside_the_state_directory() {
    let house = House::new();
    let long = "y".repeat(300);
    let labels = [
        "a/b",
        "../../outside",
        "..",
        ".",
        "two words",
        "🌶️ chili",
        &long,
        "-dash",
        "--label",
        "a\"b'c$d",
    ];
    let outside = |house: &House| -> BTreeSet<_> {
        let entries = fs::read_dir(house.root()).expect("readable").flatten();
        entries.map(|entry| entry.file_name()).collect()
    };
    fs::create_dir_all(house.state()).expect("creatable");
    // Makes the user's home, so that what comes later is somebody's fault.
    house.command("dispatch");
    let before = outside(&house);
    for label in labels {
        let named = format!("--label={label}");
        house
            .dispatch(&[
                "enqueue",
                &named,
                "--message",
                "hi",
                "--",
                "sh",
                "-c",
                "cat; echo ' there'",
            ])
            .exits(0);
        let waited = house.dispatch(&["wait", "--", label]).exits(0).json();
        assert_eq!(waited["labels"][0]["label"], *label);
        let result = house.dispatch(&["result", &named]).exits(0).json();
        assert_eq!(result["lastReply"], "hi there\n", "{label}");
        let path = house
            .dispatch(&["result", &named, "--path"])
            .exits(0)
            .stdout;
        let path = fs::canonicalize(path.trim_end()).expect("it exists");
        let state = fs::canonicalize(house.state()).expect("it exists");
        assert!(path.starts_with(state), "{}", path.display());
        assert_eq!(
            house.dispatch(&["status", &named]).exits(0).json()["status"],
            "done"
        );
        assert!(
            house
                .dispatch(&["logs", &named])
                .exits(0)
                .stdout
                .contains("hi there")
        );
    }
    assert_eq!(outside(&house), before);
    let rows = house.dispatch(&["list"]).exits(0).json();
    assert_eq!(rows["count"], labels.len());
    let ledger = house.ledger();
    assert!(labels.iter().all(|label| ledger[label].is_object()));
}

#[test]
fn a_value_may_start_with_a_dash_or_follow_an_equals_sign() {
    let house = House::new();
    house
        .dispatch(&[
            "enqueue",
            "--label",
            "-dash",
            "--deliver-to",
            "-100123",
            "--message=--hi",
            "--",
            "cat",
        ])
        .exits(0);
    let entry = house.ended("-dash");
    assert_eq!(entry["deliverTo"], "-100123");
    assert_eq!(entry["origin"], "telegram:-100123");
    assert_eq!(entry["summary"], "--hi");
}
