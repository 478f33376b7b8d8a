//! `dispatch completions`: scripts for shells, and the labels that they ask for while somebody types.
//!
//! Commands and flags are written into the script from the command line's definition. Labels change, so the script asks
//! `dispatch complete-labels` for them; a ledger that is missing, damaged or locked away has none to offer, without a word.

use anyhow::Result;
use clap::{Arg, Command};
use clap_complete::Shell;

use super::args::{Cli, CompleteLabelsArgs, CompletionsArgs};
use super::definition::whole;
use super::exit::OK;
use super::output::{print_generated, write_stdout};
use super::views::open_deliveries;
use crate::config::Strictness;
use crate::home::Home;
use crate::ledger::{Book, Ledger};
use crate::paths::process_environment;
use crate::record::Status;

const BASH: &str = include_str!("completions/labels.bash");
const ZSH: &str = include_str!("completions/labels.zsh");
const FISH: &str = include_str!("completions/labels.fish");

/// Prints the script for a shell, or JSON that holds it.
///
/// # Errors
/// When stdout does not take it.
pub fn run(args: &CompletionsArgs, is_json: bool) -> Result<u8> {
    print_generated(&script(args.shell), is_json)?;
    Ok(OK)
}

fn script(shell: Shell) -> String {
    let mut command = whole::<Cli>();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "dispatch", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    match shell {
        Shell::Bash => in_bash(&script),
        Shell::Zsh => in_zsh(&script),
        Shell::Fish => in_fish(script, &command),
        _ => script,
    }
}

fn statuses() -> String {
    Status::WRITTEN
        .map(|status| status.as_str().to_owned())
        .join(" ")
}

/// The function that knows labels goes before the one that knows flags, which it calls for everything else.
fn in_bash(script: &str) -> String {
    let own = BASH.replace("STATUSES", &statuses());
    let last = "\nif [[ \"${BASH_VERSINFO[0]}\"";
    let script = script.replacen(last, &format!("{own}{}", last.trim_start()), 1);
    script.replace(
        "complete -F _dispatch -o",
        "complete -F __dispatch_complete -o",
    )
}

/// In zsh each flag of each command says what completes its value.
fn in_zsh(script: &str) -> String {
    let mut command = "status";
    let mut own = String::new();
    for line in script.lines() {
        // What begins a command's part reads "(enqueue)".
        let name = line
            .trim()
            .strip_prefix('(')
            .and_then(|l| l.strip_suffix(')'));
        command = name.unwrap_or(command);
        let labels = format!("_dispatch_labels {command}'");
        let line = match line.contains(":LABEL:_default'") || line.starts_with("'*::labels ") {
            true => line.replace("_default'", &labels),
            false => line.replace(":STATUS:_default'", &format!(":STATUS:({})'", statuses())),
        };
        if line == "_dispatch() {" {
            own.push_str(ZSH);
        }
        own.push_str(&line);
        own.push('\n');
    }
    own
}

/// Fish puts together what several lines say of one flag.
fn in_fish(mut script: String, root: &Command) -> String {
    script.push_str(FISH);
    let commands = root
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    for command in commands {
        let names = std::iter::once(command.get_name()).chain(command.get_visible_aliases());
        for name in names {
            let line = |what: &str| {
                format!(
                    "complete -c dispatch -n \"__fish_dispatch_using_subcommand {name}\" {what}\n"
                )
            };
            let labels = format!("-a '(__fish_dispatch_labels {name})'");
            let has = |id: &str| command.get_arguments().any(|arg: &Arg| arg.get_id() == id);
            if has("label") {
                script.push_str(&line(&format!("-l label -x {labels}")));
            }
            if has("labels") {
                script.push_str(&line(&format!("-f {labels}")));
            }
            if has("status") {
                script.push_str(&line(&format!("-l status -x -a '{}'", statuses())));
            }
        }
    }
    script
}

/// Prints the labels that a command may be given, one a line. There is no error: a shell has nowhere to show one.
pub fn labels(args: &CompleteLabelsArgs) -> u8 {
    let Ok(home) = Home::open(
        &process_environment,
        "dispatch complete-labels",
        Strictness::Warn,
    ) else {
        return OK;
    };
    if let Ok(book) = Ledger::new(&home).read() {
        let fitting = fitting(&book, &args.command);
        let lines: String = fitting
            .iter()
            .filter(|label| label.starts_with(&args.prefix))
            // What another tool wrote may be no label; a line must be one.
            .filter(|label| !label.contains(char::is_control))
            .map(|label| format!("{label}\n"))
            .collect();
        let _ = write_stdout(lines.as_bytes());
    }
    OK
}

/// The labels that this command can do something with; a command that is not named here takes any.
fn fitting(book: &Book, command: &str) -> Vec<String> {
    let running = || {
        let entries = book.entries_containing("\"running\"");
        entries.filter(|(_, entry)| entry.status() == Status::Running)
    };
    let names = |labels: &mut dyn Iterator<Item = &str>| labels.map(str::to_owned).collect();
    match command {
        "send" | "steer" | "cancel" | "wait" | "note" | "done" => {
            names(&mut running().map(|(label, _)| label))
        }
        "redeliver" => {
            let entries = book.entries_containing("\"deliveries\"");
            let owing = entries.filter(|(_, entry)| !open_deliveries(entry).is_empty());
            names(&mut owing.map(|(label, _)| label))
        }
        "watcher-handoff" => names(&mut book.entries().filter_map(|(label, entry)| {
            let is_watched =
                entry.status() == Status::Running || !open_deliveries(&entry).is_empty();
            is_watched.then_some(label)
        })),
        "retry" | "prune" => names(
            &mut book
                .entries()
                .filter_map(|(label, entry)| entry.status().is_ended().then_some(label)),
        ),
        _ => names(&mut book.labels()),
    }
}
