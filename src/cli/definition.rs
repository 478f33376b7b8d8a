//! The definition of a command line, whole, and as much of it as one call needs: to build all commands takes more time
//! than a small command itself.

use std::ffi::OsString;

use clap::{Command, CommandFactory};

/// The program's flags with the one command that `argv` names and no other; `None` where it names none. What this
/// definition understands the whole one understands alike; what it does not, the whole one has to explain.
pub fn called<T: CommandFactory>(argv: &[OsString]) -> Option<Command> {
    let root = T::command();
    let command = named(&root, argv)?.clone();
    // Neither its name nor anything that help says is ever seen.
    let bare = Command::new("called")
        .disable_help_flag(root.is_disable_help_flag_set())
        .disable_version_flag(true)
        .disable_help_subcommand(true)
        .subcommand_required(true);
    Some(bare.args(root.get_arguments()).subcommand(command))
}

/// The command that the words of `argv`, the program's name first, name.
pub fn named<'a>(root: &'a Command, argv: &[OsString]) -> Option<&'a Command> {
    let words = argv.iter().skip(1).filter_map(|word| word.to_str());
    let mut words = words.take_while(|word| *word != "--");
    words.find_map(|word| root.find_subcommand(word))
}

/// The whole definition, with the flags of every command.
pub fn whole<T: CommandFactory>() -> Command {
    let mut root = T::command();
    let commands = root.get_subcommands();
    let abouts: Vec<_> = commands
        .filter_map(|command| Some((command.get_name().to_owned(), command.get_about()?.clone())))
        .collect();
    root.build();
    // Building puts the doc of a command's flags in the place of the command's own.
    abouts.into_iter().fold(root, |root, (name, about)| {
        root.mut_subcommand(name, |command| command.about(about))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Cli;
    use clap::FromArgMatches;

    #[test]
    fn every_command_keeps_its_own_sentence_and_has_its_flags() {
        let (short, whole) = (Cli::command(), whole::<Cli>());
        for command in short.get_subcommands() {
            let name = command.get_name();
            let built = whole.find_subcommand(name).expect("the same commands");
            assert_eq!(
                built.get_about().map(ToString::to_string),
                command.get_about().map(ToString::to_string),
                "{name}"
            );
        }
        let status = whole.find_subcommand("status").expect("it is there");
        assert!(status.get_arguments().any(|arg| arg.get_id() == "label"));
    }

    #[test]
    fn a_command_line_is_read_alike_by_the_definition_of_its_command_alone() {
        for line in [
            "dispatch status --label a",
            "dispatch --json status --label=status",
            "dispatch --output table list --limit 3 --status done",
            "dispatch steer --label a --message -x",
            "dispatch wait a b --timeout 20m --json",
            "dispatch enqueue --label status --env A=1 --env B=2 -- list --label b",
            "dispatch send-events",
        ] {
            let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            let alone = called::<Cli>(&argv).expect("it is named");
            assert_eq!(alone.get_subcommands().count(), 1, "{line}");
            let read = |command: Command| {
                let mut matches = command.try_get_matches_from(&argv).expect(line);
                format!("{:?}", Cli::from_arg_matches_mut(&mut matches).expect(line))
            };
            assert_eq!(read(alone), read(Cli::command()), "{line}");
        }
    }

    #[test]
    fn a_command_line_that_names_no_command_needs_the_whole_definition() {
        for line in [
            "dispatch",
            "dispatch --version",
            "dispatch statsu --label a",
            "dispatch -- status",
        ] {
            let argv: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            assert!(called::<Cli>(&argv).is_none(), "{line}");
        }
    }
}
