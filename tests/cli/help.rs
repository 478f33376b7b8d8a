//! Help, manual, completions and version: generated from one definition, short enough to read, complete.

use crate::support::House;

/// Every command with all of its flags.
const COMMANDS: [(&str, &[&str]); 17] = [
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
    ("list", &["--status", "--limit", "--all"]),
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
    ("sync", &["--dry-run", "--no-import"]),
    ("watcher-handoff", &["--label", "--all"]),
    ("doctor", &["--repair", "--verbose"]),
    ("completions", &[]),
    ("man", &[]),
];

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
                .any(|word| word.trim_end_matches(',') == *flag);
            assert!(
                named,
                "dispatch {command} --help does not name {flag}:\n{help}"
            );
        }
        let most = 24.max(2 * (flags.len() + everywhere.len()));
        assert!(
            help.lines().count() <= most,
            "dispatch {command} --help is long:\n{help}"
        );
        assert!(
            help.lines().all(|line| line.chars().count() <= 100),
            "{help}"
        );
    }
}

#[test]
fn the_overview_names_every_command_and_an_example() {
    let house = House::new();
    let help = house.dispatch(&["--help"]).exits(0).stdout;
    for (command, _) in COMMANDS {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
    assert!(help.contains("\nExample:\n"), "{help}");
    assert!(!help.contains("local-runner"), "{help}");
}

#[test]
fn the_manual_names_every_command_and_flag() {
    let house = House::new();
    let page = house.dispatch(&["man"]).exits(0).stdout;
    assert!(page.contains(".TH dispatch 1"), "{page}");
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
fn completions_are_made_for_each_shell_without_a_state_directory() {
    let house = House::new();
    for (shell, mark) in [
        ("bash", "complete -F _dispatch"),
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
