//! What README and docs show is run as it stands there, with stand-ins for the agents.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::stories::typed;
use crate::support::House;

/// Lines that cannot be run here, by how they begin, and why. A new line of a document is run unless it is named here.
const NOT_HERE: [(&str, &str); 21] = [
    ("cargo ", "it builds or tests the project itself"),
    ("export PATH=", "the test sets it"),
    ("dispatch enqueue --label report ", "it needs a gateway"),
    ("dispatch send --label report ", "it needs a gateway"),
    ("dispatch wait report ", "it needs a gateway"),
    ("dispatch heartbeat --label report", "it needs a gateway"),
    ("dispatch sync", "it needs a gateway"),
    (
        "dispatch cancel --label notes",
        "the label has ended by then",
    ),
    (
        "dispatch done --label notes ",
        "the label has ended by then",
    ),
    (
        "dispatch note --label build ",
        "the label has ended by then",
    ),
    ("watcher --all", "it goes on until it is told to stop"),
    ("kill -HUP PID", "there is no such process"),
    ("npm ", "it installs something"),
    ("openclaw ", "it needs a gateway"),
    ("node ", "it needs the reference implementation"),
    ("crontab ", "it changes this machine"),
    ("systemctl ", "it changes this machine"),
    ("git ", "it needs a repository"),
    ("cp ", "it copies files of another installation"),
    ("mkdir ", "it prepares what is copied"),
    ("export ", "it sets up another installation"),
];

/// The lines of the `sh` blocks of a document.
fn lines_of(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).expect("readable");
    let mut lines = Vec::new();
    for block in text.split("```sh\n").skip(1) {
        let block = block.split("\n```").next().unwrap_or_default();
        let whole = block.replace("\\\n", " ");
        let whole = whole.lines().map(str::trim);
        lines.extend(
            whole
                .filter(|l| !l.is_empty() && !l.starts_with('#'))
                .map(str::to_owned),
        );
    }
    lines
}

/// A house with what the documents take for granted: a prompt, agents, of which one is registered, a Makefile, an alias.
fn furnished() -> House {
    let house = House::new();
    fs::write(house.path("prompt.md"), "Sum up the notes\n").expect("writable");
    let bin = house.path("bin");
    fs::create_dir(&bin).expect("creatable");
    for (name, script) in [
        ("claude", "cat >/dev/null; echo 'All summed up.'"),
        ("codex", "echo 'The build is fixed.'"),
        ("make", "exit 0"),
        ("sendmail", "cat >/dev/null"),
    ] {
        let path = bin.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    }
    house.configure(&serde_json::json!({
        "aliases": {"ops": "command:mail"},
        "commands": {"mail": ["sendmail", "me@example.org"]},
        "runtimes": {"claude": {"command": ["claude", "-p"], "models": ["anthropic/*"]}},
    }));
    house
}

fn documents() -> Vec<std::path::PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(project.join("docs"))
        .expect("readable")
        .flatten();
    let mut found: Vec<_> = docs
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "md"))
        .collect();
    found.sort();
    found.insert(0, project.join("README.md"));
    found
}

#[test]
fn every_line_of_the_documents_runs_or_is_named_with_the_reason_why_not() {
    for document in documents() {
        let house = furnished();
        let mut ran = 0;
        for line in lines_of(&document) {
            if NOT_HERE.iter().any(|(start, _)| line.starts_with(start)) {
                continue;
            }
            let outcome = typed(&house, &line);
            assert_eq!(
                outcome.code,
                Some(0),
                "{}: {line}: {outcome:?}",
                document.display()
            );
            // What comes next takes for granted that what was begun has come to its end.
            house.dispatch(&["wait", "--all"]);
            ran += 1;
        }
        let is_readme = document == Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
        assert!(
            !is_readme || ran >= 10,
            "only {ran} lines of the README were run"
        );
    }
}

#[test]
fn the_examples_of_the_help_do_what_they_say() {
    let house = furnished();
    for (line, code, says) in [
        (
            "dispatch enqueue --label hello --message 'Say hi' --wait -- cat",
            0,
            "Say hi",
        ),
        ("dispatch result --label hello", 0, "Say hi"),
        (
            "dispatch enqueue --label notes --message 'Sum up notes.txt' -- claude -p",
            0,
            "accepted",
        ),
        ("dispatch wait notes --timeout 20m", 0, "All summed up."),
        ("dispatch status --label notes", 0, "\"found\": true"),
        ("dispatch result --label notes --full", 0, "All summed up."),
        ("dispatch list --status error --limit 5", 0, "\"count\": 0"),
        ("dispatch logs --label notes -f", 0, "All summed up."),
        ("dispatch heartbeat --label notes", 0, "\"alive\": false"),
        ("dispatch redeliver --label notes", 0, ""),
        ("dispatch watcher-handoff --all", 0, ""),
        ("dispatch doctor", 0, "\"ok\": true"),
        (
            "dispatch send --label notes --message 'Leave out the appendix'",
            1,
            "",
        ),
        (
            "dispatch man --dir ~/.local/share/man/man1",
            0,
            "529-recovery.1",
        ),
        ("watcher --label notes", 0, "All summed up."),
        ("529-recovery", 0, ""),
    ] {
        let ran = typed(&house, line);
        assert_eq!(ran.code, Some(code), "{line}: {ran:?}");
        assert!(ran.stdout.contains(says), "{line}: {ran:?}");
    }
}
