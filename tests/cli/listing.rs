//! `list --watch`: drawn again whenever the ledger changes, until somebody interrupts.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};

use serde_json::Value;

use super::{ONE_LABEL, house_with_one_label, refused};
use crate::support::{House, ignores_interrupts, kill};

fn watching(house: &House, words: &[&str]) -> (Child, impl FnMut() -> Value + use<>) {
    let mut command = house.command("dispatch");
    command.args([&["list", "--watch"], words].concat());
    command.stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let next = move || {
        let line = lines.next().expect("it goes on").expect("text");
        serde_json::from_str(&line).expect("JSON on a line")
    };
    (child, next)
}

#[test]
fn a_program_gets_a_line_for_every_change() {
    if ignores_interrupts() {
        println!("skipped: SIGINT is ignored here");
        return;
    }
    let house = House::new();
    let (mut child, mut next) = watching(&house, &[]);
    assert_eq!(next()["count"], 0);
    house.enqueue("a", "true");
    house.ended("a");
    loop {
        let list = next();
        if list["labels"][0]["status"] == "done" {
            assert_eq!((&list["ok"], &list["count"]), (&true.into(), &1.into()));
            break;
        }
    }
    kill(child.id(), "INT");
    let status = child.wait().expect("it can be waited for");
    assert_eq!(status.signal(), Some(2), "a shell reports that as 130");
}

#[test]
fn a_table_off_a_terminal_is_refused() {
    refused(
        &house_with_one_label(),
        &["list", "--watch", "--output", "table"],
        2,
        "--watch draws over a terminal, and stdout is none; --json prints a line for every change",
    );
}

#[test]
fn a_damaged_ledger_ends_it() {
    let house = House::new();
    house.write_ledger("{\"torn");
    let ran = house.dispatch(&["list", "--watch"]).exits(3);
    assert_eq!(ran.stdout, "");
}

#[test]
fn a_terminal_is_drawn_over_and_an_interrupt_exits_with_130() {
    if ignores_interrupts() {
        println!("skipped: SIGINT is ignored here");
        return;
    }
    let house = house_with_one_label();
    let Some(mut script) = house.on_terminal(&["list", "--watch"], &[]) else {
        return;
    };
    script.stdout(Stdio::piped());
    let mut child = script.spawn().expect("script is here");
    let mut keys = child.stdin.take().expect("piped");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut shown = Vec::new();
    for line in lines.by_ref() {
        let line = line.expect("text");
        let is_whole = line.starts_with("nightly-build");
        let is_drawn_over = line.contains("\r\u{1b}[2A\u{1b}[J");
        shown.push(line);
        if is_drawn_over {
            break;
        }
        if is_whole {
            // What looks the same is not drawn again.
            let newer = house.path("newer");
            fs::write(&newer, ONE_LABEL.replace("built", "broken")).expect("writable");
            fs::rename(newer, house.ledger_path()).expect("renamable");
        }
    }
    std::io::Write::write_all(&mut keys, b"\x03").expect("it reads");
    shown.extend(lines.map(|line| line.expect("text")));
    let status = child.wait().expect("it can be waited for");
    assert!(shown[0].contains("LABEL"), "{shown:?}");
    assert!(shown[1].starts_with("nightly-build"), "{shown:?}");
    assert_eq!(status.code(), Some(130), "{shown:?}");
}
