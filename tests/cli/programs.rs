//! What each program says before it has any state to work on, and to a reader that leaves.

use super::house_with_one_label;
use crate::support::{House, finish, run};

#[test]
fn every_program_says_that_it_has_no_place_for_its_state() {
    let house = House::new();
    for (name, words) in [
        ("dispatch", &["list"] as &[&str]),
        ("watcher", &["--label", "x"]),
        ("529-recovery", &[]),
        ("stuck-detector", &[]),
    ] {
        let mut command = house.command(name);
        command.env_remove("HOME").env_remove("DISPATCH_HOME");
        command.args(words);
        let ran = run(command, b"").exits(2);
        assert_eq!(
            ran.stderr,
            format!(
                "[{name}] there is no place for the state: neither DISPATCH_HOME nor HOME is set; set DISPATCH_HOME to a directory\n"
            )
        );
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn a_command_line_without_a_word_shows_the_help() {
    let house = House::new();
    let ran = house.dispatch(&[]).exits(2);
    assert!(
        ran.stderr.contains("Usage: dispatch [OPTIONS] <COMMAND>"),
        "{ran:?}"
    );
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let house = house_with_one_label();
    for words in [
        &["list"] as &[&str],
        &["--help"],
        &["man"],
        &["completions", "bash"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = house.command("dispatch");
        command
            .args(words)
            .stdout(writer)
            .stderr(std::process::Stdio::piped());
        drop(reader);
        let child = command.spawn().expect("it starts");
        drop(command);
        let ran = finish(child).exits(0);
        assert_eq!(ran.stderr, "", "{words:?}");
    }
}
