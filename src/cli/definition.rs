//! The definition of a command line, whole: `dispatch` itself builds only the command that it was called with, which is
//! half of the time that a small command takes.

use clap::{Command, CommandFactory};

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
    fn a_command_that_was_not_called_is_not_built() {
        let mut root = Cli::command();
        root.try_get_matches_from_mut(["dispatch", "status", "--label", "a"])
            .expect("it is understood");
        let has_label = |name: &str| {
            let command = root.find_subcommand(name).expect("it is there");
            command.get_arguments().any(|arg| arg.get_id() == "label")
        };
        assert!(has_label("status") && !has_label("enqueue"));
    }
}
