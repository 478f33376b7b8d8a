//! The walls of the house, read from its sources: what is pure, who may use whom, what has one home.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The directories and root files of `src`, from the top down; one on a line may use what is on the lines below it.
const STOREYS: [&[&str]; 19] = [
    &["cli"],
    &["watch"],
    &["recovery"],
    &["stuck"],
    &["delivery"],
    &["events"],
    &["backend"],
    &["gateway"],
    &["ledger"],
    &["brief"],
    &["session"],
    &["completion"],
    &["failure"],
    &["watchers"],
    &["home"],
    &["record", "process", "wake"],
    &["config"],
    &["nearest", "cron", "duration", "paths", "shell", "signature"],
    &["clock", "storage"],
];

/// Decisions: functions of data and a given `now`.
const PURE: [&str; 41] = [
    "cron.rs",
    "shell.rs",
    "brief.rs",
    "brief/",
    "record/",
    "events/change.rs",
    "events/event.rs",
    "events/loki.rs",
    "failure/",
    "completion/choice.rs",
    "completion/cap.rs",
    "completion/structured.rs",
    "session/line.rs",
    "session/active.rs",
    "session/activity.rs",
    "session/terminal.rs",
    "session/content.rs",
    "session/exec_event.rs",
    "session/key.rs",
    "session/routing.rs",
    "stuck/rules.rs",
    "watch/changes.rs",
    "watch/ending.rs",
    "watch/liveness.rs",
    "recovery/fallback.rs",
    "recovery/retries.rs",
    "watch/machine.rs",
    "watch/machine/",
    "watch/orphan.rs",
    "watch/requests.rs",
    "watch/sighting.rs",
    "delivery/mod.rs",
    "backend/local/ending.rs",
    "backend/local/runtimes.rs",
    "config/runtimes.rs",
    "backend/openclaw/evidence.rs",
    "backend/openclaw/steers.rs",
    "gateway/cli_answer.rs",
    "gateway/frame.rs",
    "gateway/observation.rs",
    "cli/done/guards.rs",
];

const IMPURE: [&str; 10] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "std::io",
    "SystemTime::now",
    "Instant::now",
    "crate::storage",
    "crate::process",
    "crate::home",
];

/// A source file: its path under `src` (or `bin`), and its code without comments and tests.
pub struct Source {
    name: String,
    pub code: String,
    lines: usize,
}

impl Source {
    /// The directory or root file of `src` that it belongs to.
    fn room(&self) -> &str {
        let first = self.name.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs")
    }

    /// The code, with the paths of its grouped imports written out.
    fn names(&self) -> String {
        let mut names = self.code.clone();
        // In the root file of a room, `super` is the crate.
        if !self.name.contains('/') || self.name.ends_with(&format!("{}/mod.rs", self.room())) {
            names = names.replace("super::", "crate::");
        }
        for import in names.clone().split("use ").skip(1) {
            let tree: String = import
                .split(';')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .collect();
            for path in written_out(&tree) {
                names.push('\n');
                names.push_str(&path);
            }
        }
        names
    }
}

/// `std::{fs, io::{self, Read}}` as `std::fs`, `std::io::self`, `std::io::Read`.
fn written_out(tree: &str) -> Vec<String> {
    let Some((stem, rest)) = tree.split_once('{') else {
        return vec![tree.to_owned()];
    };
    let inside = rest.strip_suffix('}').unwrap_or(rest);
    let mut depth = 0;
    let members = inside.split(|c| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    members
        .flat_map(written_out)
        .map(|member| format!("{stem}{member}"))
        .collect()
}

/// What is left without comments, test modules and what follows them.
fn code_of(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .collect();
    let tests = (0..lines.len()).find(|&i| {
        let mut next = lines[i + 1..].iter();
        let opens = next.find(|line| !line.starts_with("#["));
        lines[i] == "#[cfg(test)]" && opens.is_some_and(|line| line.ends_with('{'))
    });
    lines[..tests.unwrap_or(lines.len())].join("\n")
}

pub fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The sources below `top` that are no tests.
pub fn sources(top: &str) -> Vec<Source> {
    let top = project(top);
    let mut found = Vec::new();
    let mut dirs = vec![top.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let name = path.strip_prefix(&top).expect("below the top");
            let name = name.to_string_lossy().into_owned();
            if !name.ends_with(".rs") || name.ends_with("_tests.rs") || name.ends_with("/tests.rs")
            {
                continue;
            }
            let text = fs::read_to_string(&path).expect("UTF-8");
            found.push(Source {
                code: code_of(&text),
                lines: text.lines().count(),
                name,
            });
        }
    }
    assert!(!found.is_empty(), "{} has no sources", top.display());
    found
}

#[track_caller]
fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n  {}", found.join("\n  "));
}

#[test]
fn decisions_do_no_input_or_output() {
    let sources = sources("src");
    let mut found = Vec::new();
    for pure in PURE {
        let files: Vec<&Source> = sources
            .iter()
            .filter(|source| source.name.starts_with(pure))
            .collect();
        assert!(!files.is_empty(), "src/{pure} is gone; name its successor");
        for source in files {
            let names = source.names();
            let used = IMPURE.iter().filter(|impure| names.contains(*impure));
            found.extend(used.map(|impure| format!("src/{} uses {impure}", source.name)));
        }
    }
    none(
        "these decide and must not read files, clocks or processes",
        &found,
    );
}

#[test]
fn dependencies_point_down() {
    let storey = |room: &str| STOREYS.iter().position(|rooms| rooms.contains(&room));
    let mut found = BTreeSet::new();
    for source in sources("src") {
        let room = source.room();
        if room == "lib" {
            continue;
        }
        let here = storey(room)
            .unwrap_or_else(|| panic!("src/{} belongs to no storey: add it", source.name));
        for part in source.names().split("crate::").skip(1) {
            let used: String = part
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            let is_below = storey(&used).is_none_or(|there| there > here);
            if used != room && !is_below {
                found.insert(format!("src/{} uses {used}", source.name));
            }
        }
    }
    let found: Vec<String> = found.into_iter().collect();
    none("these use what stands beside or above them", &found);
}

#[test]
fn every_storey_that_the_library_names_has_its_place() {
    let library = fs::read_to_string(project("src/lib.rs")).expect("readable");
    let homeless: Vec<String> = library
        .lines()
        .filter_map(|line| {
            line.trim_start_matches("pub ")
                .strip_prefix("mod ")?
                .strip_suffix(';')
        })
        .filter(|room| !STOREYS.iter().any(|rooms| rooms.contains(room)))
        .map(str::to_owned)
        .collect();
    none("these have no storey in this test", &homeless);
}

#[test]
fn the_page_on_the_architecture_has_the_storeys_in_their_order() {
    let page = fs::read_to_string(project("docs/architecture.md")).expect("readable");
    let rows = page
        .lines()
        .skip_while(|line| !line.starts_with("| in `src/` |"));
    let rows = rows.skip(2).take_while(|line| line.starts_with("| "));
    let named: Vec<&str> = rows
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    assert_eq!(named, STOREYS.concat());
}

#[test]
fn only_the_ledger_knows_its_file() {
    let found: Vec<String> = sources("src")
        .iter()
        .filter(|source| source.code.contains("labels.json"))
        .filter(|source| source.room() != "ledger" && source.name != "paths.rs")
        .map(|source| source.name.clone())
        .collect();
    none("these name labels.json", &found);
}

#[test]
fn what_is_typed_into_a_shell_is_quoted_in_one_place() {
    let mut found = Vec::new();
    for source in sources("src") {
        let is_home = source.name == "shell.rs";
        let quotes = !is_home && source.code.contains("shell_words::quote");
        // A label in a sentence is fine; behind a flag it is to be typed.
        let raw = !is_home
            && ["--label {", "--label=\"{"]
                .iter()
                .any(|raw| source.code.contains(raw));
        if quotes || raw {
            found.push(format!("src/{}", source.name));
        }
    }
    none(
        "these quote for a shell, or should; src/shell.rs does",
        &found,
    );
}

#[test]
fn no_module_is_called_after_nothing() {
    let empty_names = ["util", "utils", "helper", "helpers", "common", "misc"];
    let mut found = Vec::new();
    for top in ["src", "bin", "tests"] {
        for source in sources(top) {
            let mut parts = source.name.trim_end_matches(".rs").split('/');
            if parts.any(|part| empty_names.contains(&part)) {
                found.push(format!("{top}/{}", source.name));
            }
        }
    }
    none("a name says what the thing is", &found);
}

#[test]
fn nothing_is_unwrapped_outside_tests() {
    let mut found = Vec::new();
    for top in ["src", "bin"] {
        for source in sources(top) {
            if source.code.contains(".unwrap()") {
                found.push(format!("{top}/{}", source.name));
            }
        }
    }
    none(
        "these unwrap; return an error, or expect with the reason why it cannot fail",
        &found,
    );
}

#[test]
fn unsafe_code_has_one_small_home() {
    let mut found = Vec::new();
    for top in ["src", "bin"] {
        for source in sources(top) {
            let words = source
                .code
                .split(|c: char| !c.is_alphanumeric() && c != '_');
            let is_unsafe = words
                .into_iter()
                .any(|word| word == "unsafe" || word == "unsafe_code");
            if is_unsafe && source.name != "process/detach.rs" {
                found.push(format!("{top}/{}", source.name));
            }
        }
    }
    none("only src/process/detach.rs may be unsafe", &found);
}

#[test]
fn no_file_is_longer_than_a_reader_bears() {
    let found: Vec<String> = sources("src")
        .iter()
        .filter(|source| source.lines > 500)
        .map(|source| format!("src/{} has {} lines", source.name, source.lines))
        .collect();
    none("split these along a noun", &found);
}

#[test]
fn the_readme_names_the_commands_that_decide_about_main() {
    let Ok(readme) = fs::read_to_string(project("README.md")) else {
        println!("skipped: there is no README.md yet");
        return;
    };
    let script = fs::read_to_string(project(".ci/run")).expect("readable");
    let run: BTreeSet<&str> = script.split(['\n', ';']).map(str::trim).collect();
    let fenced = readme
        .split("\n```")
        .skip(1)
        .step_by(2)
        .flat_map(str::lines);
    let fenced: BTreeSet<&str> = fenced.map(str::trim).collect();
    for command in ["cargo build --locked --release", "cargo test --locked"] {
        assert!(run.contains(command), ".ci/run does not call: {command}");
        assert!(
            fenced.contains(command),
            "README.md has no fenced line: {command}"
        );
    }
}

#[test]
fn the_reader_of_sources_sees_grouped_imports_and_no_tests() {
    let text = "use std::{fmt, io::{self, Read}};\n// std::net\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    use std::fs;\n}\n";
    let source = Source {
        name: "record/x.rs".to_owned(),
        code: code_of(text),
        lines: 6,
    };
    let names = source.names();
    assert!(names.contains("std::io::self") && names.contains("std::io::Read"));
    assert!(!names.contains("std::fs") && !names.contains("std::net"));
}
