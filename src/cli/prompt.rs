//! Where the prompt comes from: at most one explicit source, else piped stdin.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};

use super::args::PromptArgs;
use super::exit::usage;
use crate::home::Home;
use crate::paths::Environment;

/// A prompt larger than this is refused.
const MAX_PROMPT_BYTES: u64 = 256 * 1024 * 1024;

/// How long a silent pipe is waited for before it is worth a line.
const SILENT_STDIN: Duration = Duration::from_secs(1);

enum Source<'a> {
    Text(&'a str),
    File(&'a Path),
    Variable(&'a str),
    Stdin,
    Piped,
    None,
}

/// The prompt's bytes, exactly as given; `None` when there is no source at all.
///
/// # Errors
/// Usage errors: two sources, an unreadable or empty one, one that is too large.
pub fn read_prompt(
    home: &Home,
    args: &PromptArgs,
    env: Environment<'_>,
) -> Result<Option<Vec<u8>>> {
    let source = choose(args)?;
    let (what, bytes) = match source {
        Source::None => return Ok(None),
        Source::Text(text) => ("--message".to_owned(), text.as_bytes().to_vec()),
        Source::File(path) => (
            format!("the prompt file {}", path.display()),
            read_file(path)?,
        ),
        Source::Variable(name) => {
            use std::os::unix::ffi::OsStringExt;
            let value = env(name).ok_or_else(|| {
                usage(format!(
                    "--message-env: the environment variable {name} is not set; export it, or give another prompt source"
                ))
            })?;
            (format!("the environment variable {name}"), value.into_vec())
        }
        Source::Stdin => ("stdin".to_owned(), read_stdin(home)?),
        Source::Piped => {
            let bytes = read_stdin(home)?;
            if bytes.is_empty() {
                return Ok(None);
            }
            ("stdin".to_owned(), bytes)
        }
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(usage(format!(
            "the prompt is empty: {what} has no text; give some, or leave it out where none is needed"
        )));
    }
    Ok(Some(bytes))
}

fn choose(args: &PromptArgs) -> Result<Source<'_>> {
    let mut given: Vec<(&str, Source<'_>)> = Vec::new();
    if let Some(text) = &args.message {
        given.push(("--message", Source::Text(text)));
    }
    if let Some(path) = &args.message_file {
        let source = match path.as_os_str() == "-" {
            true => Source::Stdin,
            false => Source::File(path),
        };
        given.push(("--message-file", source));
    }
    if let Some(name) = &args.message_env {
        given.push(("--message-env", Source::Variable(name)));
    }
    if args.message_stdin {
        given.push(("--message-stdin", Source::Stdin));
    }
    if given.len() > 1 {
        let names: Vec<&str> = given.iter().map(|(name, _)| *name).collect();
        return Err(usage(format!(
            "{} are {} given; choose one source for the prompt",
            names.join(" and "),
            if names.len() == 2 { "both" } else { "all" }
        )));
    }
    Ok(match given.pop() {
        Some((_, source)) => source,
        None if stdin_is_piped() => Source::Piped,
        None => Source::None,
    })
}

/// A pipe, a socket or a file; not a terminal, not `/dev/null`.
fn stdin_is_piped() -> bool {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return false;
    }
    let Ok(facts) = rustix::fs::fstat(&stdin) else {
        return false;
    };
    let kind = rustix::fs::FileType::from_raw_mode(facts.st_mode);
    !kind.is_char_device()
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let facts = fs::metadata(path).map_err(|e| {
        usage(format!(
            "--message-file: cannot read {}: {e}; give a file that can be read, or - for stdin",
            path.display()
        ))
    })?;
    if facts.is_dir() {
        return Err(usage(format!(
            "--message-file: {} is a directory; give a file, or - for stdin",
            path.display()
        )));
    }
    let file = File::open(path).map_err(|e| {
        usage(format!(
            "--message-file: cannot read {}: {e}; give a file that can be read, or - for stdin",
            path.display()
        ))
    })?;
    let what = format!("the prompt file {}", path.display());
    bounded(file, &what)
}

fn read_stdin(home: &Home) -> Result<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = sender.send(bounded(io::stdin().lock(), "stdin"));
    });
    if let Ok(read) = receiver.recv_timeout(SILENT_STDIN) {
        return read;
    }
    home.say("reading the prompt from stdin until its end (</dev/null means: no prompt)");
    receiver.recv().context("stdin could not be read")?
}

fn bounded(source: impl Read, what: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source
        .take(MAX_PROMPT_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {what}"))?;
    if bytes.len() as u64 > MAX_PROMPT_BYTES {
        return Err(usage(format!(
            "{what} is longer than {MAX_PROMPT_BYTES} bytes, the most for a prompt"
        )));
    }
    Ok(bytes)
}
