//! A command of the operator: the payload as JSON on its stdin, never on its command line.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::{Payload, excerpt};
use crate::delivery::outbox::Outcome;
use crate::process::{status_within, stdin_of};

/// A command that takes longer is ended, unless the configuration says otherwise; what it did by then is unknown.
const TIME_OUT: Duration = Duration::from_secs(60);

/// Exit code of a command that asks to be called again later (`EX_TEMPFAIL` of sysexits.h).
const TRY_AGAIN: i32 = 75;

/// Exit codes by which a command says that no repeat will help (`EX_USAGE`, `EX_DATAERR`, `EX_NOUSER`, `EX_CONFIG`).
const NEVER: [i32; 4] = [64, 65, 67, 78];

/// Runs the command with the payload.
pub(super) fn run(argv: &[String], payload: &Payload, limit: Option<Duration>) -> Outcome {
    // Its arguments may hold secrets: what goes wrong is told with its name alone.
    let program = argv.first().map_or("", String::as_str);
    match attempt(argv, payload, limit.unwrap_or(TIME_OUT)) {
        Ok(outcome) => outcome,
        // A program that is not there may be found by another watcher's PATH, or be back after an upgrade.
        Err(e) => Outcome::Failed {
            why: format!("the command {program} cannot be run: {e}"),
            retry_after: None,
        },
    }
}

fn attempt(argv: &[String], payload: &Payload, limit: Duration) -> std::io::Result<Outcome> {
    let Some((program, arguments)) = argv.split_first() else {
        return Ok(Outcome::Refused {
            why: "the command is empty".to_owned(),
        });
    };
    let input = stdin_of(|input| {
        serde_json::to_writer(&mut *input, payload)?;
        input.write_all(b"\n")
    })?;
    let output = tempfile::tempfile()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("DISPATCH_DELIVERY_KEY", &payload.key)
        .env("DISPATCH_DELIVERY_KIND", payload.kind.as_str())
        .env("DISPATCH_LABEL", &payload.label)
        .stdin(input)
        .stdout(Stdio::from(output.try_clone()?))
        .stderr(Stdio::from(output.try_clone()?));
    Ok(match status_within(&mut command, limit)? {
        Some(status) => judge(status.code(), &said(output)),
        None => Outcome::Unknown {
            why: format!(
                "the command took longer than {} s and was ended",
                limit.as_secs_f64()
            ),
            retry_after: None,
            remembered: None,
        },
    })
}

/// A sentence with the command's own words, where it said any.
fn with_words(sentence: String, said: &str) -> String {
    match said.trim() {
        "" => sentence,
        said => format!("{sentence}: {said}"),
    }
}

fn judge(code: Option<i32>, said: &str) -> Outcome {
    match code {
        Some(0) => Outcome::Delivered {
            receipt: json!({"exitCode": 0, "output": excerpt(said)}),
        },
        Some(code) if NEVER.contains(&code) => Outcome::Refused {
            why: with_words(format!("the command exited with code {code}"), said),
        },
        Some(TRY_AGAIN) => Outcome::Failed {
            why: with_words("the command asked to be called again".to_owned(), said),
            retry_after: None,
        },
        // It may have failed after it had passed the text on.
        Some(code) => Outcome::Unknown {
            why: with_words(format!("the command exited with code {code}"), said),
            retry_after: None,
            remembered: None,
        },
        None => Outcome::Unknown {
            why: "the command was ended by a signal".to_owned(),
            retry_after: None,
            remembered: None,
        },
    }
}

/// The start of what the command printed.
fn said(mut output: File) -> String {
    let mut bytes = Vec::new();
    let _ = output
        .seek(SeekFrom::Start(0))
        .and_then(|_| output.take(300).read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}
