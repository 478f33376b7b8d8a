//! A shell in a house, and names for what is another each time.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};

use super::FOUND;
use crate::support::{House, Ran, program, run};

/// Runs a line as somebody would who stands in the house's root, with its `bin` and the programs on the PATH.
pub fn typed(house: &House, line: &str) -> Ran {
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", line]).env_clear();
    for (name, value) in house.command("dispatch").get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let programs = program("dispatch");
    let programs = programs.parent().expect("it is in a directory").to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = [house.path("bin"), programs]
        .into_iter()
        .chain(std::env::split_paths(&path));
    shell
        .env("PATH", std::env::join_paths(dirs).expect("no colon in it"))
        .current_dir(house.root());
    run(shell, b"")
}

/// What is another each time. A group is what is replaced, behind what shows what it is.
static PATTERNS: LazyLock<Vec<(&str, Regex)>> = LazyLock::new(|| {
    [
        (
            "UUID",
            "()([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})",
        ),
        ("TIME", r"()(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)"),
        ("FILE", r"()(\d{8}T\d{6}Z-[\w-]+?-[0-9a-f]{8}\.txt)"),
        ("STAMP", r"()(\d{8}T\d{6}(?:\d{3})?Z)"),
        ("CLOCK", r"()(\d\d:\d\d:\d\d)"),
        ("MS", r"()(\b1\d{12}\b)"),
        (
            "N",
            r#"("(?:ageMs|nextInMs|position|startTime)": )(\d+|"[^"]+")"#,
        ),
        ("LEFT", r"(goes on (?:at CLOCK \()?in )([\w ]+)"),
        ("TOOK", r"(\btook +)(\d+(?:ms|s|m)(?: \d+m?s)?)"),
        ("PID", r#"(\bpid |"(?:pid|oldPid|newPid)": )(\d+)"#),
        ("AGO", r"()(\b(?:just now|\d+[sm] ago)\b)"),
        ("SIZE", r"()(\b\d+ [GM]iB\b)"),
    ]
    .map(|(name, pattern)| (name, Regex::new(pattern).expect("a pattern")))
    .into()
});

/// What was told, with the house's root as `ROOT`, the programs' directory as `BIN` and what differs from run to run by
/// its kind (`TIME`, `PID`); of ids the first is `UUID-1`, and the same one again, too. What the story itself or [`FOUND`] says stays.
pub fn named(house: &House, told: &str, story: &str) -> String {
    let programs = program("dispatch");
    let programs = programs.parent().expect("it is in a directory");
    let mut text = told
        .replace(&house.root().display().to_string(), "ROOT")
        .replace(&programs.display().to_string(), "BIN");
    for (name, pattern) in PATTERNS.iter() {
        let mut known: HashMap<String, usize> = HashMap::new();
        let replaced = pattern.replace_all(&text, |found: &Captures<'_>| {
            let (before, value) = (&found[1], &found[2]);
            if story.contains(&found[0]) || FOUND.contains(&found[0]) {
                return found[0].to_owned();
            }
            if *name != "UUID" {
                return format!("{before}{name}");
            }
            let next = known.len() + 1;
            let number = known.entry(value.to_owned()).or_insert(next);
            format!("{name}-{number}")
        });
        text = replaced.into_owned();
    }
    text
}
