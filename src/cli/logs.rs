//! `dispatch logs`: a session's transcript, readable, and followed live.

mod telling;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use self::telling::Teller;
use super::args::LogsArgs;
use super::exit::{OK, failure};
use super::labels;
use super::output::{Output, write_stdout};
use crate::backend::BackendName;
use crate::backend::local::{OutputReader, RunFiles, transcript_path};
use crate::backend::openclaw::OpenclawBackend;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::record::{Entry, Generation, Status};
use crate::session::follow::Follower;
use crate::session::line::Line;
use crate::wake::Wake;

/// How often a follower looks whether the label has ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs the command. JSON is the transcript's own lines; they come when `json_asked`, which is more than a stdout that
/// is no terminal.
///
/// # Errors
/// An unknown label, one without a session here, an unreadable transcript.
pub fn run(home: &Home, output: Output, args: &LogsArgs, json_asked: bool) -> Result<u8> {
    let ledger = Ledger::new(home);
    let label = args.label.as_str();
    let entry = labels::find(home, &ledger.read()?, label)?;
    match BackendName::of_entry(&entry) {
        Some(BackendName::Local) => {}
        Some(BackendName::Openclaw) => return gateway_logs(home, output, args, &ledger, &entry),
        None => {
            return Err(failure(match entry.text("sessionKey") {
                Some(_) => format!(
                    "label \"{label}\" was started by another tool, which has its transcript"
                ),
                None if entry.status() == Status::Done => {
                    format!("label \"{label}\" has no session: it was only signalled done")
                }
                None => format!("label \"{label}\" has no session"),
            }));
        }
    }
    let (Some(session_id), Some(run_id)) = (entry.text("sessionId"), entry.text("runId")) else {
        return Err(failure(format!(
            "label \"{label}\" names no run of its session, so there is no transcript"
        )));
    };
    let mut source = match args.stderr {
        true => Source::Stderr {
            path: RunFiles::of(home, run_id).stderr(),
            reader: OutputReader::at(0),
        },
        false => {
            let path = transcript_path(home, session_id);
            Source::Transcript {
                follower: Follower::starting_at(&path, entry.baseline().offset),
                path,
                raw: args.raw || json_asked,
                teller: Box::default(),
            }
        }
    };
    // A run that goes on may not have begun it yet.
    if entry.status() != Status::Running && !source.path().exists() {
        let what = if args.stderr { "stderr" } else { "transcript" };
        let path = source.path().display();
        return Err(failure(format!(
            "label \"{label}\" has no {what}: {path} is not there"
        )));
    }
    let mut wake = Wake::new();
    if args.follow {
        wake.watch(source.path());
    }
    loop {
        // Asked before reading: what was written until then is read now.
        let over = !args.follow || is_over(&ledger, label, &entry)?;
        source
            .print(output)
            .with_context(|| format!("cannot print {}", source.path().display()))?;
        if over {
            source.end()?;
            return Ok(OK);
        }
        wake.wait(LOOK_EVERY);
    }
}

/// A gateway's session, from its messages: what is new since the last look is told.
fn gateway_logs(
    home: &Home,
    output: Output,
    args: &LogsArgs,
    ledger: &Ledger,
    entry: &Entry,
) -> Result<u8> {
    let label = args.label.as_str();
    if args.stderr || args.raw {
        return Err(failure(format!(
            "label \"{label}\" runs on an OpenClaw gateway, which keeps no such file; leave --raw and --stderr out"
        )));
    }
    let key = entry.text("sessionKey").unwrap_or_default();
    let backend = OpenclawBackend::new(home)?;
    let mut teller = Teller::default();
    let mut told = 0;
    loop {
        let over = !args.follow || is_over(ledger, label, entry)?;
        let messages = backend.messages(key)?;
        for message in messages.iter().skip(told) {
            teller.tell(output, message)?;
        }
        told = told.max(messages.len());
        if over {
            teller.end()?;
            return Ok(OK);
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn is_over(ledger: &Ledger, label: &str, entry: &Entry) -> Result<bool> {
    let generation: Generation = entry.generation();
    let now = ledger.entry(label)?;
    Ok(now.is_none_or(|e| e.status() != Status::Running || e.generation() != generation))
}

enum Source {
    Stderr {
        path: PathBuf,
        reader: OutputReader,
    },
    Transcript {
        path: PathBuf,
        follower: Follower,
        raw: bool,
        teller: Box<Teller>,
    },
}

impl Source {
    fn path(&self) -> &Path {
        match self {
            Source::Stderr { path, .. } | Source::Transcript { path, .. } => path,
        }
    }

    /// Nothing follows: the shell's prompt starts a line of its own.
    fn end(&mut self) -> io::Result<()> {
        match self {
            Source::Transcript { teller, .. } => teller.end(),
            _ => Ok(()),
        }
    }

    /// Prints what is new.
    fn print(&mut self, output: Output) -> io::Result<()> {
        match self {
            Source::Stderr { path, reader } => {
                while let Some(piece) = reader.next_piece(path)? {
                    output.untrusted_piece(&piece)?;
                }
                Ok(())
            }
            Source::Transcript {
                follower,
                raw: true,
                path,
                ..
            } => {
                let from = follower.offset();
                while follower.poll()?.more {}
                copy_range(path, from, follower.offset())
            }
            Source::Transcript {
                follower, teller, ..
            } => loop {
                let batch = follower.poll()?;
                for line in batch.lines {
                    if let Line::Message(message) = line.line {
                        teller.tell(output, &message)?;
                    }
                }
                if !batch.more {
                    return Ok(());
                }
            },
        }
    }
}

fn copy_range(path: &Path, from: u64, to: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    if from >= to {
        return Ok(());
    }
    let mut file = std::fs::File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = file.take(to.saturating_sub(from));
    let mut block = vec![0; 64 * 1024];
    loop {
        let n = bytes.read(&mut block)?;
        if n == 0 {
            return Ok(());
        }
        write_stdout(block.get(..n).unwrap_or_default())?;
    }
}
