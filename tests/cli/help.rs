//! Help, manual, completions and version: generated from one definition, short enough to read, complete.

use serde_json::{Value, json};

use crate::support::{House, run};

/// Every command with all of its flags.
const COMMANDS: [(&str, &[&str]); 21] = [
    (
        "enqueue",
        &[
            "--label",
            "--message",
            "--message-file",
            "--message-env",
            "--message-stdin",
            "--agent",
            "--model",
            "--auth-profile",
            "--fallback-model",
            "--fallback-auth-profile",
            "--thinking",
            "--timeout",
            "--idle-threshold",
            "--mode",
            "--session-key",
            "--origin",
            "--deliver-to",
            "--deliver-channel",
            "--delivery-mode",
            "--requester",
            "--no-monitor",
            "--monitor-interval",
            "--monitor-timeout",
            "--runtime",
            "--verify-cmd",
            "--backend",
            "--idempotency-key",
            "--replace",
            "--cwd",
            "--env",
            "--wait",
        ],
    ),
    ("status", &["--label"]),
    ("heartbeat", &["--label", "--session-key"]),
    ("result", &["--label", "--full", "--path", "--generation"]),
    (
        "list",
        &[
            "--status",
            "--limit",
            "--all",
            "--archived",
            "--label",
            "--watch",
        ],
    ),
    ("wait", &["--all", "--any", "--timeout"]),
    ("logs", &["--label", "--follow", "--raw", "--stderr"]),
    ("cancel", &["--label", "--reason"]),
    (
        "done",
        &[
            "--label",
            "--summary",
            "--checklist",
            "--sha",
            "--force-done",
            "--reason",
            "--skip-activity-check",
            "--generation",
        ],
    ),
    (
        "send",
        &[
            "--label",
            "--session-key",
            "--message",
            "--message-file",
            "--message-env",
            "--message-stdin",
            "--interrupt",
            "--wait",
        ],
    ),
    ("note", &["--label"]),
    ("redeliver", &["--label"]),
    ("stuck", &["--threshold-min", "--quiet"]),
    ("sync", &["--dry-run", "--no-import"]),
    ("watcher-handoff", &["--label", "--all"]),
    ("retry", &["--label", "--wait"]),
    (
        "prune",
        &["--label", "--older-than", "--status", "--dry-run"],
    ),
    ("install-timers", &["--cron", "--remove", "--yes"]),
    ("doctor", &["--repair", "--verbose"]),
    ("completions", &[]),
    ("man", &["--dir"]),
];

/// The most lines of a command's help: a usual terminal's, but for the one with the many flags.
fn most_lines(command: &str) -> usize {
    if command == "enqueue" { 48 } else { 24 }
}

#[test]
fn help_of_every_command_fits_a_screen_and_names_every_flag() {
    let house = House::new();
    for (command, flags) in COMMANDS {
        let help = house.dispatch(&[command, "--help"]).exits(0).stdout;
        assert_eq!(house.dispatch(&[command, "-h"]).exits(0).stdout, help);
        let everywhere = ["--output", "--json", "--help"];
        for flag in flags.iter().chain(&everywhere) {
            let named = help
                .split_whitespace()
                .any(|word| word.trim_end_matches([',', ':']) == *flag);
            assert!(
                named,
                "dispatch {command} --help does not name {flag}:\n{help}"
            );
        }
        assert!(
            help.lines().count() <= most_lines(command),
            "dispatch {command} --help is long:\n{help}"
        );
        fits_a_terminal(&help);
    }
}

fn fits_a_terminal(help: &str) {
    for line in help.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn the_overview_names_every_command_and_an_example() {
    let house = House::new();
    let help = house.dispatch(&["--help"]).exits(0).stdout;
    for (command, _) in COMMANDS {
        let named = [' ', ','].map(|after| help.contains(&format!("\n  {command}{after}")));
        assert!(named.contains(&true), "{command}: {help}");
    }
    assert!(help.contains("\nExample:\n"), "{help}");
    assert!(!help.contains("local-runner"), "{help}");
}

#[test]
fn the_overview_and_the_other_programs_fit_a_terminal_too() {
    let house = House::new();
    for name in ["dispatch", "watcher", "529-recovery"] {
        let help = house.run(name, &["--help"]).exits(0).stdout;
        assert!(help.lines().count() <= 48, "{help}");
        fits_a_terminal(&help);
    }
}

#[test]
fn the_flags_of_enqueue_stand_under_headings() {
    let help = House::new()
        .dispatch(&["enqueue", "--help"])
        .exits(0)
        .stdout;
    let heads: Vec<&str> = help
        .lines()
        .filter(|line| line.ends_with(':') && !line.starts_with(' '))
        .collect();
    assert_eq!(
        heads,
        [
            "The work:",
            "Its session:",
            "Limits and checks:",
            "When the model's side fails:",
            "Who hears of it:",
            "The call itself:",
            "Example:",
        ],
        "a flag without a heading stands under Options; give it one: {help}"
    );
}

#[test]
fn the_manual_names_every_command_and_flag() {
    let house = House::new();
    let page = house.dispatch(&["man"]).exits(0).stdout;
    assert!(page.contains(".TH \"DISPATCH\" 1"), "{page}");
    let plain = page.replace('\\', "");
    for (command, flags) in COMMANDS {
        let section = plain.split(&format!("\n.SS dispatch {command}\n")).nth(1);
        let section = section.unwrap_or_else(|| panic!("no section for {command}"));
        let section = section.split("\n.S").next().unwrap_or_default();
        for flag in flags {
            assert!(section.contains(flag), "{command} {flag}: {section}");
        }
    }
    assert!(!plain.contains("local-runner"), "{plain}");
}

#[test]
fn what_is_generated_is_json_where_a_flag_asks_for_it() {
    let house = House::new();
    for words in [
        &["man"] as &[&str],
        &["man", "watcher"],
        &["completions", "bash"],
    ] {
        let text = house.dispatch(words).exits(0).stdout;
        for flags in [&["--json"] as &[&str], &["--output", "json"]] {
            let ran = house.dispatch(&[words, flags].concat()).exits(0);
            assert_eq!(ran.json(), json!({"ok": true, "text": text}));
        }
        // A shell reads the script, whatever is set for all other calls.
        let mut command = house.command("dispatch");
        command.args(words).env("DISPATCH_OUTPUT", "json");
        assert_eq!(run(command, b"").exits(0).stdout, text);
    }
    let dir = house.path("man1");
    let dir = dir.to_str().expect("UTF-8");
    let ran = house.dispatch(&["man", "--dir", dir, "--json"]).exits(0);
    let paths = PROGRAMS.map(|name| format!("{dir}/{name}.1"));
    assert_eq!(ran.json(), json!({"ok": true, "paths": paths}));
    house.enqueue("w", "echo hi");
    house.ended("w");
    let ran = house
        .dispatch(&["result", "--label", "w", "--path", "--json"])
        .exits(0);
    assert_eq!(ran.json()["label"], "w");
    let lines = house.dispatch(&["logs", "--label", "w", "--json"]).exits(0);
    for line in lines.stdout.lines() {
        let line: Value = serde_json::from_str(line).expect("JSON");
        assert!(line.is_object(), "{line}");
    }
}

const PROGRAMS: [&str; 4] = ["dispatch", "watcher", "529-recovery", "stuck-detector"];

#[test]
fn each_program_has_a_page_with_what_a_page_has() {
    let house = House::new();
    let dir = house.path("man1");
    let written = house
        .dispatch(&["man", "--dir", dir.to_str().expect("UTF-8")])
        .exits(0);
    let paths = PROGRAMS.map(|name| format!("{}/{name}.1\n", dir.display()));
    assert_eq!(written.stdout, paths.concat());
    for name in PROGRAMS {
        let page = house.dispatch(&["man", name]).exits(0).stdout;
        let file = std::fs::read_to_string(dir.join(format!("{name}.1"))).expect("written");
        assert_eq!(file, page);
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "\"EXIT STATUS\"",
            "FILES",
            "ENVIRONMENT",
            "\"SEE ALSO\"",
        ] {
            let head = format!("\n.SH {section}\n");
            let quoted = format!("\n.SH \"{section}\"\n");
            assert!(
                page.contains(&head) || page.contains(&quoted),
                "{name}: {section}"
            );
        }
        assert_eq!(
            formatted(&file, &dir.join(format!("{name}.1"))),
            "",
            "{name}"
        );
    }
    let nobody = house.dispatch(&["man", "dispathc"]).exits(2);
    assert_eq!(
        nobody.stderr,
        "[dispatch] PROGRAM: \"dispathc\" is not one of dispatch, watcher, 529-recovery, stuck-detector; did you mean dispatch?\n"
    );
}

/// What the formatter has to say about a page; nothing where there is none.
fn formatted(page: &str, path: &std::path::Path) -> String {
    assert!(page.ends_with('\n'));
    let ran = std::process::Command::new("groff")
        .args(["-ww", "-man", "-z", "-Kutf8"])
        .arg(path)
        .output();
    match ran {
        Ok(ran) => String::from_utf8_lossy(&ran.stderr).into_owned(),
        Err(e) => {
            let must_be = std::env::var_os("DISPATCH_TOOLS").is_some_and(|value| value == "1");
            assert!(!must_be, "groff: {e}");
            println!("skipped: groff, which formats manual pages, is not here");
            String::new()
        }
    }
}

#[test]
fn completions_are_made_for_each_shell_without_a_state_directory() {
    let house = House::new();
    for (shell, mark) in [
        ("bash", "complete -F __dispatch_complete"),
        ("zsh", "#compdef dispatch"),
        ("fish", "complete -c dispatch"),
    ] {
        let mut command = house.command("dispatch");
        command.env_remove("HOME").env_remove("DISPATCH_HOME");
        command.args(["completions", shell]);
        let ran = crate::support::run(command, b"").exits(0);
        assert!(ran.stdout.contains(mark), "{shell}");
        assert!(ran.stdout.contains("idempotency-key"), "{shell}");
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn every_program_tells_its_version_and_an_example() {
    let house = House::new();
    let version = env!("CARGO_PKG_VERSION");
    for name in ["dispatch", "watcher", "529-recovery"] {
        for flag in ["--version", "-V"] {
            let ran = house.run(name, &[flag]).exits(0);
            assert_eq!(ran.stdout, format!("{name} {version}\n"));
        }
        let help = house.run(name, &["--help"]).exits(0).stdout;
        assert!(help.contains("Example"), "{help}");
    }
}

#[test]
fn help_is_a_command_too() {
    let house = House::new();
    let said = |words: &[&str]| house.dispatch(words).exits(0).stdout;
    for words in [&["help"][..], &["help", "help"]] {
        assert_eq!(said(words), said(&["--help"]));
    }
    assert_eq!(said(&["help", "wait"]), said(&["wait", "--help"]));
}
