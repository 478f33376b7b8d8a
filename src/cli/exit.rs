//! Exit codes and the one place where an error becomes a line and a code.

use std::io::IsTerminal;
use std::process::ExitCode;

use super::terminal::escape_untrusted;
use crate::home::HomeError;
use crate::ledger::LedgerError;

/// Success, nothing stuck.
pub const OK: u8 = 0;
/// Failure, something stuck, a rejected `done`.
pub const FAILURE: u8 = 1;
/// The command line or its input is unusable.
pub const USAGE: u8 = 2;
/// The ledger is damaged.
pub const DAMAGED: u8 = 3;
/// `wait` timed out.
pub const TIMED_OUT: u8 = 4;

/// A sentence for the user, with the exit code that goes with it.
#[derive(Debug, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    code: u8,
    sentence: String,
}

/// The command line or its input is unusable.
pub fn usage(sentence: impl Into<String>) -> anyhow::Error {
    Refusal {
        code: USAGE,
        sentence: sentence.into(),
    }
    .into()
}

/// The command cannot do what it was asked to.
pub fn failure(sentence: impl Into<String>) -> anyhow::Error {
    Refusal {
        code: FAILURE,
        sentence: sentence.into(),
    }
    .into()
}

/// A part of the ledger that the command needs is damaged.
pub fn damaged(sentence: impl Into<String>) -> anyhow::Error {
    Refusal {
        code: DAMAGED,
        sentence: sentence.into(),
    }
    .into()
}

/// The sentence of a refusal, be it of the command line or of what was asked; `None` for any other error.
pub fn refusal(error: &anyhow::Error) -> Option<String> {
    let is_refusal = error.chain().any(|cause| cause.is::<Refusal>());
    is_refusal.then(|| sentence(error))
}

/// The code that an error exits with.
fn code_of(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        if let Some(refusal) = cause.downcast_ref::<Refusal>() {
            return refusal.code;
        }
        if let Some(LedgerError::Damaged { .. }) = cause.downcast_ref::<LedgerError>() {
            return DAMAGED;
        }
        // A transparent error hides the one inside it from the chain.
        if let Some(HomeError::NoHome(_) | HomeError::NotADirectory(_) | HomeError::Config(_)) =
            cause.downcast_ref()
        {
            return USAGE;
        }
    }
    FAILURE
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    })
}

/// Ends a program: prints an error as one line, and turns it into its code. A reader that left is no error.
pub fn finish(brand: &str, outcome: anyhow::Result<u8>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_broken_pipe(&error) => ExitCode::from(OK),
        Err(error) => {
            use std::io::Write;
            let mut stderr = std::io::stderr();
            let sentence = sentence(&error);
            // A sentence may quote a label or an agent.
            let shown = match stderr.is_terminal() {
                true => escape_untrusted(&sentence, false),
                false => sentence.into(),
            };
            let _ = writeln!(stderr, "[{brand}] {shown}");
            ExitCode::from(code_of(&error))
        }
    }
}

/// The error with its causes, each said once.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let part = cause.to_string();
        if text.ends_with(&part) || text.contains(&format!(": {part}")) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&part);
    }
    text
}
