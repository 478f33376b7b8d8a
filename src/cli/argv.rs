//! Rules that clap does not have: `help COMMAND` is `COMMAND --help`, and a separate value may start with `-`, but a known flag of the command is never
//! taken for a value.

use std::ffi::OsString;

use clap::{Arg, ArgAction, Command};

use super::definition::named;

/// A flag that stands where a value belongs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{flag} needs a value, but {value} follows, which is a flag of its own; if {value} is meant as the value, write {flag}={value}"
)]
pub struct FlagAsValue {
    flag: String,
    value: String,
}

/// The words, with `help` and `help COMMAND` as the flag that they stand for, where the program has commands.
pub fn with_help_as_flag(
    root: impl FnOnce() -> Command,
    argv: impl Iterator<Item = OsString>,
) -> Vec<OsString> {
    let mut argv: Vec<OsString> = argv.collect();
    if argv.get(1).is_some_and(|word| word == "help") && root().has_subcommands() {
        argv.remove(1);
        if argv.get(1).is_some_and(|word| word == "help") {
            argv.remove(1);
        }
        argv.push("--help".into());
    }
    argv
}

/// A value must follow; where one only may, a flag is none.
fn takes_value(arg: &Arg) -> bool {
    let may_do_without = arg.get_num_args().is_some_and(|n| n.min_values() == 0);
    matches!(arg.get_action(), ArgAction::Set | ArgAction::Append) && !may_do_without
}

/// Finds the flag that `word` names, either alone or with `=value`.
fn flag_of<'a>(command: &'a Command, word: &str) -> Option<(&'a Arg, bool)> {
    let (name, has_value) = match word.split_once('=') {
        Some((name, _)) => (name, true),
        None => (word, false),
    };
    command
        .get_arguments()
        .find(|arg| {
            let long = arg
                .get_long()
                .is_some_and(|long| name.strip_prefix("--") == Some(long));
            let short = arg.get_short().is_some_and(|short| {
                let mut letters = name.chars();
                letters.next() == Some('-')
                    && letters.next() == Some(short)
                    && letters.next().is_none()
            });
            long || short
        })
        .map(|arg| (arg, has_value))
}

/// Checks the words of a command line, program name first, by a definition whose named command is built.
///
/// # Errors
/// The first flag that is followed by another known flag instead of its value.
pub fn check(root: &Command, argv: &[OsString]) -> Result<(), FlagAsValue> {
    let words: Vec<&str> = argv
        .iter()
        .skip(1)
        .map(|word| word.to_str().unwrap_or_default())
        .take_while(|word| *word != "--")
        .collect();
    let sub = named(root, argv);
    let find = |word: &str| {
        sub.and_then(|sub| flag_of(sub, word)).or_else(|| {
            // A flag of the program alone is none of its command's.
            flag_of(root, word).filter(|(arg, _)| sub.is_none() || arg.is_global_set())
        })
    };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some((arg, has_value)) = find(word) else {
            continue;
        };
        if has_value || !takes_value(arg) {
            continue;
        }
        if let Some(value) = rest.next()
            && find(value).is_some()
        {
            return Err(FlagAsValue {
                flag: (*word).to_owned(),
                value: (*value).to_owned(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(line: &str) -> Option<String> {
        let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let command = crate::cli::definition::whole::<crate::cli::args::Cli>();
        check(&command, &argv).err().map(|e| e.to_string())
    }

    #[test]
    fn a_known_flag_is_never_a_value_and_the_remedy_is_named() {
        assert_eq!(
            checked("dispatch done --label --summary x").as_deref(),
            Some(
                "--label needs a value, but --summary follows, which is a flag of its own; if --summary is meant as the value, write --label=--summary"
            )
        );
        assert!(checked("dispatch logs --label -f").is_some());
        assert!(checked("dispatch status --label --json").is_some());
    }

    #[test]
    fn other_values_may_start_with_a_dash() {
        for line in [
            "dispatch enqueue --label x --deliver-to -1001234 -- cmd --label --message",
            "dispatch enqueue --label x --message --not-a-flag",
            "dispatch done --label=--summary --summary x",
            "dispatch enqueue --wait --label x",
            "dispatch enqueue --no-monitor --label x",
            "dispatch enqueue --label",
            "dispatch done --label --version",
        ] {
            assert_eq!(checked(line), None, "{line}");
        }
    }
}
