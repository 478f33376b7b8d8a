//! Help, manual and `docs/` say the same, and say what the code does: flags, exit codes, statuses, failures, keys of the
//! configuration, variables, files. Each comparison goes both ways.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use clap::{Arg, Command};
use dispatch::failure::policy;
use dispatch::record::FailureKind;
use regex::Regex;

use crate::support::{House, eventually};
use crate::walls::{project, sources};

fn page(name: &str) -> String {
    fs::read_to_string(project(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a pattern")
}

/// What the groups of the pattern are, at each of its places.
fn all(text: &str, of: &str) -> BTreeSet<String> {
    let of = pattern(of);
    let found = of.captures_iter(text).filter_map(|found| found.get(1));
    found.map(|found| found.as_str().to_owned()).collect()
}

/// The rows of every table of a text whose first column has this heading, cell by cell.
fn tables(text: &str, head: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut is_meant = false;
    for line in text.lines() {
        let Some(line) = line.strip_prefix("| ") else {
            is_meant = is_meant && line.starts_with("|-");
            continue;
        };
        let cells: Vec<String> = line
            .trim_end()
            .trim_end_matches('|')
            .split('|')
            .map(|cell| cell.trim().to_owned())
            .collect();
        if is_meant {
            rows.push(cells);
        } else {
            is_meant = cells.first().is_some_and(|cell| cell == head);
        }
    }
    rows
}

/// What stands in quotes of code in the first cells of these rows.
fn names(rows: &[Vec<String>]) -> BTreeSet<String> {
    let cells = rows.iter().filter_map(|row| row.first());
    let names: Vec<String> = cells.flat_map(|cell| all(cell, "`([^`]+)`")).collect();
    let found: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(
        found.len(),
        names.len(),
        "something stands twice: {names:?}"
    );
    found
}

/// The part of a page under this heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = format!("\n{heading}\n");
    let (_, rest) = page
        .split_once(&start)
        .unwrap_or_else(|| panic!("no heading {heading}"));
    rest.split("\n#").next().unwrap_or_default()
}

#[track_caller]
fn agree(what: &str, code: &BTreeSet<String>, docs: &BTreeSet<String>) {
    assert!(!code.is_empty(), "{what}: nothing was found in the code");
    let undocumented: Vec<_> = code.difference(docs).collect();
    let invented: Vec<_> = docs.difference(code).collect();
    assert!(
        undocumented.is_empty() && invented.is_empty(),
        "{what}: the docs lack {undocumented:?}, and name {invented:?}, which is not there"
    );
}

/// A command with the words that call it: `dispatch enqueue`, `watcher`.
struct Called {
    words: Vec<String>,
    definition: Command,
}

impl Called {
    fn name(&self) -> String {
        self.words.join(" ")
    }

    fn shown(&self) -> impl Iterator<Item = &Arg> {
        let args = self.definition.get_arguments();
        args.filter(|arg| !arg.is_hide_set() && !arg.is_global_set())
    }

    /// `--label`, `-f`, and of what has no name the name of its value.
    fn flags(&self) -> BTreeSet<String> {
        let mut flags = BTreeSet::new();
        for arg in self.shown() {
            if let Some(long) = arg.get_long() {
                flags.insert(format!("--{long}"));
            }
            if let Some(short) = arg.get_short() {
                flags.insert(format!("-{short}"));
            }
            if arg.is_positional() {
                let value = arg.get_value_names().unwrap_or_default().join(" ");
                let name = if value.is_empty() {
                    arg.get_id().to_string().to_uppercase()
                } else {
                    value
                };
                flags.insert(name);
            }
        }
        // What each program has, the documents say once.
        flags.retain(|flag| !["--help", "-h", "--version", "-V"].contains(&flag.as_str()));
        flags
    }

    fn help(&self, house: &House) -> String {
        let (program, words) = self.words.split_first().expect("it has a name");
        let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
        words.push("--help");
        house.run(program, &words).exits(0).stdout
    }

    /// Its part of the manual, without the signs of the format.
    fn manual(&self, house: &House) -> String {
        let page = house.dispatch(&["man", &self.words[0]]).exits(0).stdout;
        let page = page.replace("\\-", "-").replace('\\', "");
        match self.words.len() {
            1 => page,
            _ => {
                let part = page.split(&format!("\n.SS {}\n", self.name())).nth(1);
                let part = part.unwrap_or_else(|| panic!("no section for {}", self.name()));
                part.split("\n.S").next().unwrap_or_default().to_owned()
            }
        }
    }
}

/// Every command of the four programs that people are shown.
fn commands() -> Vec<Called> {
    let mut found = Vec::new();
    for mut program in dispatch::cli::command_lines() {
        program.build();
        let name = program.get_name().to_owned();
        let subcommands: Vec<Command> = program
            .get_subcommands()
            .filter(|command| !command.is_hide_set() && command.get_name() != "help")
            .cloned()
            .collect();
        if subcommands.is_empty() {
            found.push(Called {
                words: vec![name],
                definition: program,
            });
            continue;
        }
        for definition in subcommands {
            found.push(Called {
                words: vec![name.clone(), definition.get_name().to_owned()],
                definition,
            });
        }
    }
    assert!(found.len() > 20);
    found
}

/// A documented flag without its value: `--label` of `--label LABEL`, `COMMAND` of `-- COMMAND...`.
fn bare(cell: &str) -> String {
    let cell = cell.strip_prefix("-- ").unwrap_or(cell);
    let word = cell.split(' ').next().unwrap_or_default();
    word.trim_end_matches("...").to_owned()
}

#[test]
fn every_flag_stands_in_help_manual_and_docs_and_no_other() {
    let house = House::new();
    let docs = page("docs/commands.md");
    for called in commands() {
        let name = called.name();
        let flags = called.flags();
        let documented = names(&tables(section(&docs, &format!("### {name}")), "flag"));
        let bare: BTreeSet<String> = documented.iter().map(|cell| bare(cell)).collect();
        if flags.is_empty() && bare.is_empty() {
            continue;
        }
        agree(&name, &flags, &bare);
        let (help, manual) = (called.help(&house), called.manual(&house));
        for cell in &documented {
            assert!(
                help.contains(cell.as_str()),
                "{name} --help says not: {cell}\n{help}"
            );
        }
        for flag in &flags {
            assert!(manual.contains(flag.as_str()), "{name}: {flag}: {manual}");
        }
    }
}

#[test]
fn every_command_stands_in_the_docs_and_no_other() {
    let called: BTreeSet<String> = commands().iter().map(Called::name).collect();
    let docs = all(&page("docs/commands.md"), "(?m)^### (.+)$");
    agree("commands", &called, &docs);
}

#[test]
fn nothing_names_a_flag_that_is_not_there() {
    let house = House::new();
    let mut known: BTreeSet<String> = ["--output", "--json", "--help", "--version"]
        .map(str::to_owned)
        .into();
    let mut texts: Vec<(String, String)> = Vec::new();
    for called in commands() {
        known.extend(called.flags());
        texts.push((called.name(), called.help(&house)));
        texts.push((called.name(), called.manual(&house)));
    }
    for name in documents() {
        let text = page(&name);
        texts.push((name, text));
    }
    // Flags of other programs, and older ones that the page on migrating speaks of.
    let others = [
        "--locked",
        "--release",
        "--user",
        "--test",
        "--bench",
        "--lib",
        "--inodes",
        "--source-context",
        "--spawn-via",
        "--send-via",
        "--payload-kind",
        "--monitor",
        "--force-with-lease",
        "--flag",
    ];
    for (name, text) in texts {
        for flag in all(&text, r"(?:^|[\s`(|'])(--[a-z][a-z-]*)") {
            assert!(
                known.contains(&flag) || others.contains(&flag.as_str()),
                "{name} names {flag}, which no program takes"
            );
        }
    }
}

/// README and docs, by their paths in the project.
fn documents() -> Vec<String> {
    let docs = fs::read_dir(project("docs")).expect("readable").flatten();
    let names = docs.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<String> = names.map(|name| format!("docs/{name}")).collect();
    found.push("README.md".to_owned());
    found.sort();
    found
}

/// The texts by which a type's values stand in files, from the match over all of them that the compiler checks.
fn words_of(file: &str, kind: &str) -> BTreeSet<String> {
    all(&page(file), &format!(r#"{kind}::\w+ => "([^"]+)""#))
}

#[test]
fn every_status_phase_failure_delivery_and_event_is_explained_and_no_other() {
    let docs = page("docs/operating.md");
    for (head, file, kind) in [
        ("status", "src/record/status.rs", "Status"),
        ("phase", "src/record/status.rs", "Phase"),
        ("kind", "src/record/failure.rs", "FailureKind"),
        ("kind of delivery", "src/record/delivery.rs", "DeliveryKind"),
        (
            "state of a delivery",
            "src/record/delivery.rs",
            "DeliveryState",
        ),
        ("event", "src/events/event.rs", "EventKind"),
    ] {
        agree(kind, &words_of(file, kind), &names(&tables(&docs, head)));
    }
}

#[test]
fn the_docs_say_how_often_each_failure_is_tried_again() {
    for row in tables(&page("docs/operating.md"), "kind") {
        let kind = row[0].trim_matches('`');
        let kind: FailureKind = serde_json::from_value(kind.into()).expect("any text is a kind");
        let words = row[2].split([',', ' ']).next().unwrap_or_default();
        let documented = match words {
            "no" => 0,
            "once" => 1,
            count => count.parse().unwrap_or_else(|e| panic!("{row:?}: {e}")),
        };
        let retry = policy::of(kind).retry;
        assert_eq!(
            retry.map_or(0, |retry| retry.at_most),
            documented,
            "{row:?}"
        );
    }
}

#[test]
fn every_key_of_the_configuration_is_explained_with_its_type_and_no_other() {
    let keys = dispatch::config::known_keys().into_iter();
    let known: BTreeSet<String> = keys.map(|(key, kind)| format!("{key}: {kind}")).collect();
    let rows = tables(&page("docs/configuration.md"), "key");
    names(&rows);
    let documented = rows
        .iter()
        .map(|row| format!("{}: {}", row[0], row[1]).replace('`', ""));
    agree("config.json", &known, &documented.collect());
}

#[test]
fn the_configurations_that_the_documents_show_are_accepted() {
    let mut tried = 0;
    for name in documents() {
        for block in page(&name).split("```json\n").skip(1) {
            let text = block.split("```").next().unwrap_or_default();
            let house = House::new();
            house.configure(&serde_json::from_str(text).expect("it is JSON"));
            let ran = house.dispatch(&["list"]).exits(0);
            assert_eq!(ran.stderr, "", "{name}: {text}");
            tried += 1;
        }
    }
    assert!(tried > 1);
}

/// Variables that are read or set, as they stand in the code.
const VARIABLES: &str = r#""((?:DISPATCH|OPENCLAW|SCHEDULER|LOKI|XDG)_[A-Z0-9_]+|HOME|PATH|USER|LOGNAME|TERM|COLUMNS|NO_COLOR)""#;

fn variables(page_name: &str) -> BTreeSet<String> {
    names(&tables(&page(page_name), "variable"))
}

#[test]
fn every_variable_of_the_code_is_explained_and_no_other() {
    let code = |top: &str| -> String {
        let sources = sources(top).into_iter();
        // The manual only speaks of them.
        let sources = sources.filter(|source| !source.code.contains("pub(super) const PAGES"));
        sources.map(|source| source.code).collect()
    };
    let programs = all(&(code("src") + &code("bin")), VARIABLES);
    let of_programs = variables("docs/configuration.md");
    let of_tests = variables("docs/development.md");
    let both = of_programs.intersection(&of_tests).collect::<Vec<_>>();
    assert!(both.is_empty(), "on two pages: {both:?}");
    let only_in_tests: BTreeSet<String> = of_tests.difference(&programs).cloned().collect();
    agree(
        "variables of the programs",
        &programs,
        &of_programs
            .union(&of_tests)
            .filter(|name| !only_in_tests.contains(*name))
            .cloned()
            .collect(),
    );
    let read = r#"(?:var|var_os|number)\(\s*"(DISPATCH_[A-Z0-9_]+)""#;
    let tests: String = ["tests", "benches"].iter().map(|top| code(top)).collect();
    agree("variables of the tests", &all(&tests, read), &only_in_tests);
}

/// The first parts of the items of a section of a manual page.
fn items(house: &House, program: &str, section: &str) -> BTreeSet<String> {
    let page = house.dispatch(&["man", program]).exits(0).stdout;
    let part = page.split(&format!("\n.SH \"{section}\"\n")).nth(1);
    let part = part.and_then(|part| part.split("\n.SH").next());
    let heads = all(part.unwrap_or_default(), r"\\fB([^\\]+)\\fR");
    heads
        .iter()
        .flat_map(|head| head.split(", "))
        .map(str::to_owned)
        .collect()
}

const PROGRAMS: [&str; 4] = ["dispatch", "watcher", "529-recovery", "stuck-detector"];

#[test]
fn the_manual_and_the_docs_name_the_same_variables() {
    let house = House::new();
    let docs = page("docs/configuration.md");
    let documented = names(&tables(
        section(&docs, "### What the programs read"),
        "variable",
    ));
    agree(
        "dispatch(1)",
        &items(&house, "dispatch", "ENVIRONMENT"),
        &documented,
    );
    for program in PROGRAMS {
        let named = items(&house, program, "ENVIRONMENT");
        let invented: Vec<_> = named.difference(&documented).collect();
        assert!(invented.is_empty(), "{program}: {invented:?}");
    }
}

#[test]
fn the_manual_and_the_docs_name_the_same_exit_codes() {
    let house = House::new();
    let mut documented: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for row in tables(&page("docs/commands.md"), "code") {
        for (program, meaning) in PROGRAMS.into_iter().zip(&row[1..]) {
            let codes = documented.entry(program).or_default();
            if !meaning.is_empty() {
                codes.insert(row[0].replace('`', ""));
            }
        }
    }
    for program in PROGRAMS {
        let manual = items(&house, program, "EXIT STATUS");
        agree(program, &manual, &documented[program]);
    }
    let constants = all(&page("src/cli/exit.rs"), r"pub const \w+: u8 = (\d+);");
    let own: BTreeSet<String> = documented["dispatch"]
        .iter()
        // The shell says it of a program that an interrupt has ended.
        .filter(|code| *code != "130")
        .cloned()
        .collect();
    agree("src/cli/exit.rs", &constants, &own);
}

/// The files below a directory, by their paths in it.
fn files_below(top: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut dirs = vec![top.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("readable").flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let name = path.strip_prefix(top).expect("below it");
            found.push(name.to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn every_file_of_a_usual_day_is_explained() {
    let house = House::new();
    house.configure(&serde_json::json!({
        "commands": {"mail": ["true"]},
        "events": {"command": ["false"]},
    }));
    let words = "enqueue --label build --message hi --verify-cmd true --deliver-to command:mail --wait -- cat";
    let words: Vec<&str> = words.split(' ').collect();
    house.dispatch(&words).exits(0);
    house.dispatch(&words).exits(0);
    house.enqueue("other", "exec sleep 1000");
    house.dispatch(&["cancel", "--label", "other"]).exits(0);
    house.run("529-recovery", &[]).exits(0);
    house.run("stuck-detector", &[]).exits(0);
    eventually("all watchers have left", || {
        house.processes().is_empty().then_some(())
    });
    house.dispatch(&["prune", "--label", "other"]).exits(0);
    fs::write(house.ledger_path(), "{").expect("writable");
    house.dispatch(&["doctor", "--repair"]).exits(0);
    let documented = names(&tables(&page("docs/operating.md"), "path"));
    let patterns: Vec<Regex> = documented
        .iter()
        .map(|path| {
            let path = regex::escape(path);
            let any = pattern(r"<\w+>").replace_all(&path, "[^/]+").into_owned();
            pattern(&format!("^{any}$"))
        })
        .collect();
    let files = files_below(&house.state());
    assert!(
        files.iter().any(|file| file.ends_with("stop.json")),
        "{files:?}"
    );
    let is_hidden = |file: &str| file.split('/').any(|part| part.starts_with('.'));
    let unexplained: Vec<&String> = files
        .iter()
        .filter(|file| !is_hidden(file) && !patterns.iter().any(|of| of.is_match(file)))
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
    let code: String = sources("src")
        .into_iter()
        .map(|source| source.code)
        .collect();
    for path in &documented {
        let fixed = pattern(r"<\w+>").replace_all(path, "/").into_owned();
        let part = fixed.split('/').rfind(|part| !part.is_empty());
        let mut part = part.unwrap_or_default();
        // What stands beside the ledger and its backup is called after them.
        for beside in ["labels.json", ".bak"] {
            part = part
                .strip_prefix(beside)
                .filter(|rest| !rest.is_empty())
                .unwrap_or(part);
        }
        // A lock is called after what it locks.
        let part = part.strip_suffix(".lock").unwrap_or(part);
        assert!(code.contains(part), "nothing in src makes {path} ({part})");
    }
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let anchor = |heading: &str| -> String {
        let kept = heading.trim_start_matches(['#', ' ']).to_lowercase();
        kept.chars()
            .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
            .map(|c| if c == ' ' { '-' } else { c })
            .collect()
    };
    for name in documents() {
        let text = page(&name);
        for link in all(&text, r"\]\(([^)]+)\)") {
            if link.starts_with("https://") {
                continue;
            }
            let (file, wanted) = link.split_once('#').unwrap_or((&link, ""));
            let path = match file {
                "" => project(&name),
                file => project(&name).with_file_name("").join(file),
            };
            let there = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{name}: {link}: {e}"));
            let headings: Vec<String> = there
                .lines()
                .filter(|l| l.starts_with('#'))
                .map(anchor)
                .collect();
            assert!(
                wanted.is_empty() || headings.iter().any(|h| h == wanted),
                "{name}: {link}"
            );
        }
    }
}
