//! The command lines of the four programs: definitions, one file per command, output and exit codes.

mod args;
mod argv;
mod cancel;
mod complaint;
mod completions;
mod definition;
mod doctor;
mod done;
mod enqueue;
mod exit;
mod handoff;
mod heartbeat;
mod help;
mod labels;
mod list;
mod logs;
mod manual;
mod note;
mod output;
mod prompt;
mod prune;
mod recovery;
mod redeliver;
mod redrawn;
mod result;
mod retry;
mod send;
mod status;
mod stuck;
mod sync;
pub mod terminal;
mod timers;
mod views;
mod wait;
mod watcher;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Arg, Command as ClapCommand, CommandFactory, Parser};

use self::args::{Cli, Command, OutputChoice};
use self::definition::whole;
use self::exit::{OK, USAGE};
use self::output::{Output, Screen};
use crate::backend::local::{RunFiles, run, wait_for_command};
use crate::config::Strictness;
use crate::events;
use crate::home::{Home, HomeError};
use crate::paths::process_environment;
use crate::process::survive_size_limits;

pub use self::manual::command_lines;
pub use self::recovery::main as recovery;
pub use self::stuck::main as stuck_detector;
pub use self::watcher::main as watcher;

/// The `dispatch` program.
pub fn dispatch() -> ExitCode {
    prepare();
    let mut cli = match parse::<Cli>("dispatch") {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    if let Command::Enqueue(args) = &mut cli.command {
        args.no_monitor = args.no_monitor.take().or(args.older.no_monitor());
    }
    // What is generated needs no state and no settings.
    let generated = match &cli.command {
        Command::Completions(args) => Some(completions::run(args, generates_json(&cli))),
        Command::CompleteLabels(args) => Some(Ok(completions::labels(args))),
        Command::Man(args) => Some(manual::run(args, generates_json(&cli))),
        _ => None,
    };
    if let Some(outcome) = generated {
        return exit::finish("dispatch", outcome);
    }
    let strictness = match &cli.command {
        Command::Done(_)
        | Command::Doctor(_)
        | Command::SendEvents
        | Command::LocalRunner(_)
        | Command::LocalWaiter(_) => Strictness::Warn,
        _ => Strictness::Refuse,
    };
    let program = format!("dispatch {}", name(&cli.command));
    let home = match open_home(&program, strictness) {
        Ok(home) => home,
        Err(error) => return exit::finish("dispatch", Err(error.into())),
    };
    exit::finish(&home.config.brand.clone(), run_command(&home, &cli))
}

/// JSON was asked for by a flag. A variable that is set for all calls leaves scripts and pages what a shell and `man` read.
fn generates_json(cli: &Cli) -> bool {
    let is_usual = process_environment(args::OUTPUT_VARIABLE).is_some_and(|form| form == "json");
    cli.json || (cli.output == OutputChoice::Json && !is_usual)
}

/// The ground of a program whose changes of the ledger are told as events.
fn open_home(program: &str, strictness: Strictness) -> Result<Home, HomeError> {
    let mut home = Home::open(&process_environment, program, strictness)?;
    home.witness = Some(events::witness);
    Ok(home)
}

/// What every program that writes does first. A system that refuses the handler leaves the default action, which is
/// what there was before.
fn prepare() {
    let _ = survive_size_limits();
}

/// Reads a program's command line; an error is printed and becomes the exit code.
fn parse<T: Parser + CommandFactory>(program: &str) -> Result<T, ExitCode> {
    let argv = argv::with_help_as_flag(T::command, std::env::args_os());
    if let Some(parsed) = parse_called::<T>(&argv) {
        return Ok(parsed);
    }
    let mut command = without_empty_variables(T::command());
    let matches = command.try_get_matches_from_mut(&argv);
    // By now the command that was called knows its flags.
    if let Err(e) = argv::check(&command, &argv) {
        return Err(exit::finish(program, Err(exit::usage(e.to_string()))));
    }
    let parsed = matches.and_then(|mut matches| T::from_arg_matches_mut(&mut matches));
    let help = || help::text(whole::<T>(), &argv, redrawn::size_of(std::io::stdout()).0);
    parsed.map_err(|e| match e.kind() {
        ErrorKind::DisplayHelp => {
            let printed = output::write_stdout(help().as_bytes());
            exit::finish(program, printed.map(|()| OK).map_err(Into::into))
        }
        ErrorKind::DisplayVersion => {
            let _ = e.print();
            ExitCode::from(OK)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = write!(std::io::stderr(), "{}", help());
            ExitCode::from(USAGE)
        }
        _ => {
            // Global flags reach the subcommands only when the whole tree is built.
            command.build();
            let sentence = complaint::sentence(&command, &argv, &e);
            exit::finish(program, Err(exit::usage(sentence)))
        }
    })
}

/// Reads a command line by the definition of its command alone; `None` for one that the whole definition has to read.
fn parse_called<T: Parser + CommandFactory>(argv: &[OsString]) -> Option<T> {
    let mut command = without_empty_variables(definition::called::<T>(argv)?);
    let mut matches = command.try_get_matches_from_mut(argv).ok()?;
    argv::check(&command, argv).ok()?;
    T::from_arg_matches_mut(&mut matches).ok()
}

/// An environment variable that is set to nothing counts as unset, as everywhere.
fn without_empty_variables(command: ClapCommand) -> ClapCommand {
    let is_empty = |arg: &Arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        value.is_some_and(|value| value.is_empty())
    };
    command.mut_args(|arg| match is_empty(&arg) {
        true => arg.env(Resettable::Reset),
        false => arg,
    })
}

fn name(command: &Command) -> &'static str {
    match command {
        Command::Enqueue(_) => "enqueue",
        Command::Send(_) => "send",
        Command::Status(_) => "status",
        Command::Result(_) => "result",
        Command::Heartbeat(_) => "heartbeat",
        Command::List(_) => "list",
        Command::Wait(_) => "wait",
        Command::Logs(_) => "logs",
        Command::Cancel(_) => "cancel",
        Command::Done(_) => "done",
        Command::Note(_) => "note",
        Command::Stuck(_) => "stuck",
        Command::Sync(_) => "sync",
        Command::Redeliver(_) => "redeliver",
        Command::WatcherHandoff(_) => "watcher-handoff",
        Command::InstallTimers(_) => "install-timers",
        Command::Retry(_) => "retry",
        Command::Prune(_) => "prune",
        Command::Doctor(_) => "doctor",
        Command::Completions(_) => "completions",
        Command::CompleteLabels(_) => "complete-labels",
        Command::Man(_) => "man",
        Command::SendEvents => events::SENDER,
        Command::LocalRunner(_) => "local-runner",
        Command::LocalWaiter(_) => "local-waiter",
    }
}

fn run_command(home: &Home, cli: &Cli) -> Result<u8> {
    let screen = Screen::from_environment(&process_environment);
    let output = Output::new(cli.output, cli.json, screen);
    let json_asked = cli.json || cli.output == OutputChoice::Json;
    match &cli.command {
        Command::Enqueue(args) => enqueue::run(home, output, args, &process_environment),
        Command::Send(args) => send::run(home, output, args, &process_environment),
        Command::Status(args) => status::run(home, output, args),
        Command::Result(args) => result::run(home, output, args, json_asked),
        Command::Heartbeat(args) => heartbeat::run(home, output, args),
        Command::List(args) => list::run(home, output, args),
        Command::Wait(args) => wait::run(home, output, args),
        Command::Logs(args) => logs::run(home, output, args, json_asked),
        Command::Cancel(args) => cancel::run(home, output, args),
        Command::Done(args) => done::run(home, output, args, &process_environment, json_asked),
        Command::Note(args) => note::run(home, output, args, &process_environment, json_asked),
        Command::Stuck(args) => stuck::run(home, output, args, json_asked),
        Command::Sync(args) => sync::run(home, output, args),
        Command::Redeliver(args) => redeliver::run(home, output, args),
        Command::WatcherHandoff(args) => handoff::run(home, output, args),
        Command::InstallTimers(args) => timers::run(home, output, args),
        Command::Retry(args) => retry::run(home, output, args, &process_environment),
        Command::Prune(args) => prune::run(home, output, args),
        Command::Doctor(args) => doctor::run(home, output, args),
        Command::Completions(args) => completions::run(args, generates_json(cli)),
        Command::CompleteLabels(args) => Ok(completions::labels(args)),
        Command::Man(args) => manual::run(args, generates_json(cli)),
        Command::SendEvents => {
            events::send_new(home)?;
            Ok(OK)
        }
        Command::LocalRunner(args) => {
            let carried = run(home, &RunFiles::at(args.dir.clone()));
            carried.with_context(|| format!("cannot carry the run in {}", args.dir.display()))?;
            Ok(OK)
        }
        Command::LocalWaiter(args) => {
            wait_for_command(home, &RunFiles::at(args.dir.clone()))?;
            Ok(OK)
        }
    }
}

/// Prints a line on stderr; a closed stderr is no error.
fn complain(brand: &str, line: &str) {
    let _ = writeln!(std::io::stderr(), "[{brand}] {line}");
}
