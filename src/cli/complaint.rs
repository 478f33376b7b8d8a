//! Complaints of the command line parser as one sentence: what is wrong, where, and what to do.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Arg, Command};

use super::definition::named;
use crate::shell;

/// The sentence for `error`, which `command` raised over the words `argv`, the program's name first.
pub fn sentence(command: &Command, argv: &[OsString], error: &Error) -> String {
    let place = Place::of(command, argv);
    let invalid = texts(error, ContextKind::InvalidArg);
    let first = invalid.first().map(String::as_str).unwrap_or_default();
    let value = texts(error, ContextKind::InvalidValue).pop();
    let value = value.unwrap_or_default();
    let help = format!("see '{} --help'", place.program);
    match error.kind() {
        ErrorKind::UnknownArgument if first.starts_with('-') => {
            let near = did_you_mean(error, ContextKind::SuggestedArg);
            let label = match place.takes_labels() {
                true if first == "--label" => ": the labels are its arguments",
                true => "; a label that starts with - goes after --",
                false => "",
            };
            format!(
                "there is no flag {first}{label}{near}{}",
                after(&near, &help)
            )
        }
        ErrorKind::UnknownArgument if place.lacks_label() => {
            let label = shell::label(first);
            format!("the word \"{first}\" belongs to nothing; did you mean {label}? Or {help}")
        }
        ErrorKind::UnknownArgument => {
            let command_place = match place.takes_command() {
                true => ", and put a command to run after --",
                false => "",
            };
            format!(
                "the word \"{first}\" belongs to nothing; quote a text that has spaces{command_place}; {help}"
            )
        }
        ErrorKind::InvalidSubcommand => {
            let name = texts(error, ContextKind::InvalidSubcommand).concat();
            let near = did_you_mean(error, ContextKind::SuggestedSubcommand);
            format!(
                "there is no command \"{name}\"{near}{}",
                after(&near, &help)
            )
        }
        ErrorKind::MissingRequiredArgument => {
            let missing: Vec<&str> = invalid.iter().map(|arg| bare(arg)).collect();
            let is = if missing.len() == 1 { "is" } else { "are" };
            let instead = match place.instead_of(&missing) {
                Some(other) => format!("; give it, or {other}"),
                None => String::new(),
            };
            format!("{} {is} missing{instead}; {help}", missing.join(" and "))
        }
        ErrorKind::InvalidValue if value.is_empty() => {
            format!("{} needs a value; {help}", place.source_of(first))
        }
        ErrorKind::InvalidValue => {
            let valid = texts(error, ContextKind::ValidValue).join(", ");
            let near = did_you_mean(error, ContextKind::SuggestedValue);
            let source = place.source_of(first);
            format!("{source}: \"{value}\" is not one of {valid}{near}")
        }
        ErrorKind::ValueValidation => {
            let why = std::error::Error::source(error).map(ToString::to_string);
            let why = why.unwrap_or_else(|| format!("\"{value}\" cannot be used"));
            format!("{}: {why}", place.source_of(first))
        }
        ErrorKind::MissingSubcommand => format!("a command is missing; {help}"),
        ErrorKind::TooManyValues => {
            format!(
                "{} takes no value, and \"{value}\" is one; {help}",
                bare(first)
            )
        }
        ErrorKind::ArgumentConflict => {
            let others = texts(error, ContextKind::PriorArg);
            let other = others.first().map(String::as_str).unwrap_or_default();
            if bare(first) == bare(other) {
                return format!("{} is given twice; give it once", bare(first));
            }
            format!(
                "{} and {} exclude each other; leave one of them out",
                bare(first),
                bare(other)
            )
        }
        _ => format!("{}; {help}", plain(error)),
    }
}

/// Where the parser was when it complained.
struct Place<'a> {
    command: &'a Command,
    argv: &'a [OsString],
    /// Program and command, as they are called.
    program: String,
}

impl<'a> Place<'a> {
    fn of(root: &'a Command, argv: &'a [OsString]) -> Self {
        match named(root, argv) {
            Some(sub) => Self {
                command: sub,
                argv,
                program: format!("{} {}", root.get_name(), sub.get_name()),
            },
            None => Self {
                command: root,
                argv,
                program: root.get_name().to_owned(),
            },
        }
    }

    /// What may be given in place of a label: `--all` stands for every one, a session may be named by its key.
    fn instead_of(&self, missing: &[&str]) -> Option<&'static str> {
        let arguments = || self.command.get_arguments();
        let is_optional = arguments()
            .filter(|arg| missing.contains(&format!("--{}", arg.get_id()).as_str()))
            .all(|arg| !arg.is_required_set());
        let takes = |id: &str| is_optional && arguments().any(|arg| arg.get_id() == id);
        match () {
            () if takes("all") => Some("--all"),
            () if takes("session_key") => Some("--session-key"),
            () => None,
        }
    }

    /// The command needs a label, and none was given.
    fn lacks_label(&self) -> bool {
        let mut needed = self.command.get_arguments().filter(|a| a.is_required_set());
        let mut words = self.argv.iter().filter_map(|word| word.to_str());
        needed.any(|arg| arg.get_long() == Some("label"))
            && !words.any(|word| word.split('=').next() == Some("--label"))
    }

    fn takes_labels(&self) -> bool {
        let mut words = self.command.get_positionals();
        words.any(|word| word.get_id() == "labels")
    }

    fn takes_command(&self) -> bool {
        self.command.get_arguments().any(Arg::is_last_set)
    }

    /// The flag, or the environment variable that stood in for it.
    fn source_of(&self, arg: &str) -> String {
        let flag = bare(arg);
        let is_given = self
            .argv
            .iter()
            .filter_map(|word| word.to_str())
            .any(|word| word.split('=').next() == Some(flag));
        let variable = self
            .command
            .get_arguments()
            .find(|known| known.get_long() == flag.strip_prefix("--"))
            .and_then(Arg::get_env)
            .filter(|_| !is_given);
        variable.map_or_else(
            || flag.to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
    }
}

/// `--label <LABEL>` as `--label`, `<LABEL>...` as `LABEL...`.
fn bare(arg: &str) -> &str {
    match arg.split_once(' ') {
        Some((flag, _)) if flag.starts_with('-') => flag,
        _ => arg.trim_matches(['<', '[', '.', '>', ']']),
    }
}

fn texts(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => vec![text.clone()],
        Some(ContextValue::Strings(texts)) => texts.clone(),
        _ => Vec::new(),
    }
}

fn did_you_mean(error: &Error, kind: ContextKind) -> String {
    let near = texts(error, kind);
    match near.is_empty() {
        true => String::new(),
        false => format!("; did you mean {}?", near.join(" or ")),
    }
}

/// The way to the help, behind a question or a statement.
fn after(near: &str, help: &str) -> String {
    match near.is_empty() {
        true => format!("; {help}"),
        false => format!(" Or {help}"),
    }
}

/// The parser's own words, on one line.
fn plain(error: &Error) -> String {
    let text = error.render().to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("Usage:"))
        .filter(|line| !line.starts_with("For more"))
        .collect();
    let line = lines.join("; ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}
