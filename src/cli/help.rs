//! Help as it is printed: one screen, no wider than a usual terminal, from the command line's definition. The many flags
//! of one command stand under headings.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use super::definition::named;
use super::terminal::wrapped;

/// A usual terminal's width; a wider one is not filled.
const COLUMNS: usize = 80;

/// A flag with its value that is longer has its text on the next line.
const NAME_COLUMNS: usize = 27;

/// The headings of `enqueue`, and which flags go under each, by the names of their fields.
const HEADINGS: [(&str, &[&str]); 6] = [
    (
        "The work",
        &["label", "message", "command", "cwd", "env", "wait"],
    ),
    (
        "Its session",
        &[
            "agent",
            "model",
            "auth_profile",
            "thinking",
            "mode",
            "session_key",
            "backend",
            "runtime",
        ],
    ),
    (
        "Limits and checks",
        &["timeout", "idle_threshold", "verify_cmd", "monitor_timeout"],
    ),
    ("When the model's side fails", &["fallback_model"]),
    (
        "Who hears of it",
        &[
            "origin",
            "deliver_to",
            "deliver_channel",
            "delivery_mode",
            "requester",
            "no_monitor",
        ],
    ),
    ("The call itself", &["idempotency_key", "replace"]),
];

/// What `enqueue` says of flags whose own text, which the manual has, takes more than a line.
const IN_SHORT: [(&str, &str); 15] = [
    (
        "message",
        "The prompt; or --message-file FILE (- is stdin), --message-env VAR, --message-stdin",
    ),
    ("auth_profile", "Credentials to use, or \"inherit\""),
    ("thinking", "How hard the model thinks"),
    ("mode", "New, or the label's last"),
    ("backend", "Where it runs"),
    ("runtime", "Registered runtime, command or auto"),
    ("timeout", "Stop it after this time (90, 20m)"),
    ("idle_threshold", "Stop it after so long without progress"),
    (
        "verify_cmd",
        "Command that must accept the result (on stdin)",
    ),
    (
        "monitor_timeout",
        "Counts as stuck after so long a silence; for older tools: --monitor-interval CRON",
    ),
    (
        "fallback_model",
        "Tried once; credentials: --fallback-auth-profile P",
    ),
    ("delivery_mode", "What is told"),
    ("no_monitor", "Nobody needs to be told (and why)"),
    ("requester", "Session that is woken at the end"),
    ("idempotency_key", "A repeated call starts nothing new"),
];

/// Flags of `enqueue` that another one's text names, or that nobody types: they need no line of their own.
const NAMED_BESIDE: [&str; 5] = [
    "message_file",
    "message_env",
    "message_stdin",
    "fallback_auth_profile",
    "monitor_interval",
];

/// The help of the command that `argv` names, else of the program itself; `root` is the whole definition.
pub fn text(root: Command, argv: &[OsString], columns: usize) -> String {
    let named = named(&root, argv);
    let (mut command, is_root) = match named {
        Some(command) => (command.clone(), false),
        None => (root, true),
    };
    let mut page = Page {
        text: String::new(),
        columns: columns.min(COLUMNS),
    };
    let about = command.get_long_about().or(command.get_about());
    for paragraph in about.map(ToString::to_string).unwrap_or_default().lines() {
        page.sentence(paragraph, 0);
    }
    page.blank();
    let usage = command.render_usage().to_string();
    page.sentence(&usage, 7);
    page.blank();
    page.commands(&command);
    page.flags(&command, is_root);
    if let Some(more) = command.get_after_help() {
        page.blank();
        for line in more.to_string().trim_end().lines() {
            // An example stays on its line, to be copied.
            match line.starts_with(' ') {
                true => page.line(line),
                false => page.sentence(line, 0),
            }
        }
    }
    page.text
}

struct Page {
    text: String,
    columns: usize,
}

impl Page {
    fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A sentence, its further lines indented.
    fn sentence(&mut self, sentence: &str, indent: usize) {
        let room = self.columns.saturating_sub(indent);
        for (index, line) in wrapped(sentence, room).iter().enumerate() {
            let indent = if index == 0 { 0 } else { indent };
            self.line(&format!("{}{line}", " ".repeat(indent)));
        }
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// `  NAME  What it is`, the text below itself where it needs more lines.
    fn item(&mut self, name: &str, text: &str, name_columns: usize) {
        let indent = name_columns + 4;
        let room = self.columns.saturating_sub(indent);
        let mut lines = wrapped(text, room).into_iter();
        match name.len() > name_columns {
            true => self.line(&format!("  {name}")),
            false => {
                let first = lines.next().unwrap_or_default();
                self.line(&format!("  {name:name_columns$}  {first}"));
            }
        }
        for line in lines {
            self.line(&format!("{}{line}", " ".repeat(indent)));
        }
    }

    fn commands(&mut self, command: &Command) {
        let commands: Vec<&Command> = command
            .get_subcommands()
            .filter(|command| !command.is_hide_set())
            .collect();
        if commands.is_empty() {
            return;
        }
        let name = |command: &Command| {
            let names = std::iter::once(command.get_name()).chain(command.get_visible_aliases());
            names.collect::<Vec<_>>().join(", ")
        };
        let widest = commands.iter().map(|command| name(command).len()).max();
        self.line("Commands:");
        for command in commands {
            let about = command.get_about().map(ToString::to_string);
            self.item(
                &name(command),
                &about.unwrap_or_default(),
                widest.unwrap_or(0),
            );
        }
        self.blank();
    }

    fn flags(&mut self, command: &Command, is_root: bool) {
        let shown: Vec<&Arg> = command
            .get_arguments()
            .filter(|arg| !arg.is_hide_set())
            .filter(|arg| is_root || !arg.is_global_set())
            .collect();
        let widths = shown.iter().map(|arg| name_of(arg).len());
        let widest = widths.filter(|width| *width <= NAME_COLUMNS).max();
        let is_grouped = command.get_name() == "enqueue";
        let mut left = shown;
        if is_grouped {
            left.retain(|arg| !is_named_beside(arg));
            for (heading, ids) in HEADINGS {
                self.line(&format!("{heading}:"));
                let (own, rest): (Vec<_>, Vec<_>) = left
                    .into_iter()
                    .partition(|arg| ids.contains(&arg.get_id().as_str()));
                for arg in own {
                    self.item(&name_of(arg), &text_of(arg, true), widest.unwrap_or(0));
                }
                left = rest;
            }
        }
        if !left.is_empty() {
            self.line("Options:");
        }
        for arg in left {
            self.item(&name_of(arg), &text_of(arg, false), widest.unwrap_or(0));
        }
        if !is_root {
            self.line("Everywhere: --output auto|table|json, --json, -h, --help");
        }
    }
}

fn is_named_beside(arg: &Arg) -> bool {
    NAMED_BESIDE.iter().any(|id| arg.get_id() == *id)
}

/// `-f, --follow`, `--label LABEL`, `LABEL...`.
fn name_of(arg: &Arg) -> String {
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let value = arg.get_value_names().unwrap_or_default().join(" ");
    let value = match value.is_empty() {
        true => arg.get_id().to_string().to_uppercase(),
        false => value,
    };
    if arg.is_positional() {
        let many = arg
            .get_num_args()
            .is_some_and(|count| count.max_values() > 1);
        let dots = if many { "..." } else { "" };
        let dashes = if arg.is_last_set() { "-- " } else { "" };
        return format!("{dashes}{value}{dots}");
    }
    let mut name = String::new();
    if let Some(short) = arg.get_short() {
        name.push_str(&format!("-{short}, "));
    }
    name.push_str(&format!("--{}", arg.get_long().unwrap_or_default()));
    let may_do_without = arg
        .get_num_args()
        .is_some_and(|count| count.min_values() == 0);
    match (takes_value, may_do_without) {
        (true, true) => name.push_str(&format!(" [{value}]")),
        (true, false) => name.push_str(&format!(" {value}")),
        (false, _) => {}
    }
    name
}

/// What it is, what it may be, and what it is when it is not given.
fn text_of(arg: &Arg, is_grouped: bool) -> String {
    let own = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let short = IN_SHORT
        .iter()
        .find(|(id, _)| is_grouped && arg.get_id() == *id);
    let mut text = short.map_or(own, |(_, text)| (*text).to_owned());
    if arg.get_id() == "help" {
        return "Print help".to_owned();
    }
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    if !takes_value {
        return text;
    }
    let possible = arg.get_possible_values();
    let default = match arg.get_default_values() {
        [default] => default.to_string_lossy().into_owned(),
        _ => String::new(),
    };
    let names: Vec<String> = possible
        .iter()
        .filter(|value| !value.is_hide_set())
        .map(|value| match value.get_name() == default {
            true => format!("{default} (default)"),
            false => value.get_name().to_owned(),
        })
        .collect();
    match (names.is_empty(), default.is_empty()) {
        (false, _) => text.push_str(&format!(" [{}]", names.join(", "))),
        (true, false) => text.push_str(&format!(" [default: {default}]")),
        (true, true) => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use crate::cli::definition::whole;

    /// The words of a command line, as a shell reads them.
    fn words(line: &str) -> Vec<String> {
        let line = line.split(['|', '>']).next().unwrap_or_default();
        let script = format!("printf '%s\\n' {line}");
        let shell = std::process::Command::new("sh")
            .args(["-c", &script])
            .output();
        let words = shell.expect("there is a shell").stdout;
        let words = String::from_utf8_lossy(&words).into_owned();
        words.lines().map(str::to_owned).collect()
    }

    #[test]
    fn every_command_has_an_example_that_it_understands() {
        let root = whole::<Cli>();
        let commands = root
            .get_subcommands()
            .filter(|command| !command.is_hide_set());
        for command in commands.chain([&root]) {
            let name = command.get_name();
            let more = command.get_after_help().map(ToString::to_string);
            let more = more.unwrap_or_default();
            let below = more.lines().skip_while(|line| !line.starts_with("Example"));
            let examples: Vec<&str> = below.skip(1).map(str::trim).collect();
            assert!(!examples.is_empty(), "{name} has no example");
            for example in examples {
                let line = match example.strip_prefix("eval \"$(") {
                    Some(line) => line.trim_end_matches(")\""),
                    None => example,
                };
                let words = words(line);
                assert!(
                    name == "dispatch" || words.get(1).is_some_and(|word| word == name),
                    "{example}"
                );
                let read = whole::<Cli>().try_get_matches_from(&words);
                assert!(read.is_ok(), "{example}: {:?}", read.err());
            }
        }
    }

    #[test]
    fn each_flag_with_a_heading_or_a_short_text_is_there() {
        let root = whole::<Cli>();
        let enqueue = root.find_subcommand("enqueue").expect("it is there");
        let has = |id: &str| enqueue.get_arguments().any(|arg| arg.get_id() == id);
        let headed = HEADINGS.iter().flat_map(|(_, ids)| *ids);
        let short = IN_SHORT.iter().map(|(id, _)| id);
        let gone: Vec<_> = headed
            .chain(short)
            .chain(&NAMED_BESIDE)
            .filter(|id| !has(id))
            .collect();
        assert!(gone.is_empty(), "{gone:?}");
    }
}
