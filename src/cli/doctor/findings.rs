//! What doctor found, and how it is told.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::exit::{DAMAGED, FAILURE, OK};
use crate::cli::output::Output;
use crate::shell;

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// As it should be.
    Fine,
    /// This run has mended it.
    Mended,
    /// Nothing is lost by it yet.
    Warning,
    /// Something does not work, or will not.
    Wrong,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            State::Fine => "ok",
            State::Mended => "mended",
            State::Warning => "warn",
            State::Wrong => "wrong",
        }
    }

    /// What a person sees, and in which colour (ANSI).
    fn mark(self) -> (&'static str, u8) {
        match self {
            State::Fine => ("ok", 32),
            State::Mended => ("MENDED", 32),
            State::Warning => ("warn", 33),
            State::Wrong => ("WRONG", 31),
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    check: &'static str,
    state: State,
    what: String,
    todo: Option<String>,
}

impl Finding {
    /// What to do about it, with the command to copy where there is one.
    pub fn todo(&mut self, todo: impl Into<String>) {
        self.todo = Some(todo.into());
    }

    fn message(&self) -> String {
        match &self.todo {
            Some(todo) => format!("{}; {todo}", self.what),
            None => self.what.clone(),
        }
    }
}

/// What was found.
#[derive(Default)]
pub(super) struct Findings {
    all: Vec<Finding>,
    /// Labels whose watchers are being started by this very run.
    pub started: Vec<String>,
    /// The ledger is.
    pub damaged: bool,
}

impl Findings {
    fn add(&mut self, check: &'static str, state: State, what: String) -> &mut Finding {
        self.all.push(Finding {
            check,
            state,
            what,
            todo: None,
        });
        let last = self.all.len() - 1;
        &mut self.all[last]
    }

    /// Something is as it should be.
    pub fn fine(&mut self, check: &'static str, what: impl Into<String>) {
        self.add(check, State::Fine, what.into());
    }

    /// This run has mended something.
    pub fn mended(&mut self, what: impl Into<String>) {
        self.add("repair", State::Mended, what.into());
    }

    /// Something is not as it should be, and nothing is lost by it yet.
    pub fn warn(&mut self, check: &'static str, what: impl Into<String>) -> &mut Finding {
        self.add(check, State::Warning, what.into())
    }

    /// Something is wrong.
    pub fn wrong(&mut self, check: &'static str, what: impl Into<String>) -> &mut Finding {
        self.add(check, State::Wrong, what.into())
    }

    /// As `what`, where this check has found nothing else.
    pub fn fine_else(&mut self, check: &'static str, what: impl Into<String>) {
        if self.all.iter().all(|finding| finding.check != check) {
            self.fine(check, what);
        }
    }

    /// The exit code: a warning alone is none.
    pub fn code(&self) -> u8 {
        let is_wrong = self.of(State::Wrong).next().is_some();
        match (self.damaged, is_wrong) {
            (true, _) => DAMAGED,
            (false, true) => FAILURE,
            (false, false) => OK,
        }
    }

    fn of(&self, state: State) -> impl Iterator<Item = &Finding> {
        self.all
            .iter()
            .filter(move |finding| finding.state == state)
    }

    /// Tells programs everything; people what is wrong first, and what is fine in a line, or all of it when `verbose`.
    pub fn print(&self, output: Output, verbose: bool) -> Result<()> {
        if output.is_json() {
            let checks: Vec<Value> = self.all.iter().map(view).collect();
            output.json(&json!({"ok": self.code() == OK, "checks": checks}))?;
            return Ok(());
        }
        for state in [State::Mended, State::Wrong, State::Warning] {
            for finding in self.of(state) {
                print_one(output, finding)?;
            }
        }
        if verbose {
            for finding in self.of(State::Fine) {
                print_one(output, finding)?;
            }
            return Ok(());
        }
        let is_marred = |check: &str| {
            let bad = self.of(State::Wrong).chain(self.of(State::Warning));
            bad.into_iter().any(|finding| finding.check == check)
        };
        let fine = self.of(State::Fine).map(|finding| finding.check);
        let mut fine: Vec<&str> = fine.filter(|check| !is_marred(check)).collect();
        fine.dedup();
        if !fine.is_empty() {
            let (mark, color) = State::Fine.mark();
            let names = fine.join(", ");
            output.check(mark, color, &format!("{names} (--verbose tells more)"))?;
        }
        Ok(())
    }
}

fn view(finding: &Finding) -> Value {
    let mut view = json!({
        "name": finding.check,
        "ok": finding.state != State::Wrong,
        "state": finding.state.name(),
        "message": finding.message(),
    });
    if let Some(todo) = &finding.todo {
        view["todo"] = json!(todo);
    }
    view
}

fn print_one(output: Output, finding: &Finding) -> Result<()> {
    let (mark, color) = finding.state.mark();
    let line = format!("{}: {}", finding.check, finding.what);
    output.check(mark, color, &line)?;
    if let Some(todo) = &finding.todo {
        output.untrusted(&format!("       -> {todo}"))?;
    }
    Ok(())
}

/// The most paths that one finding names.
pub(super) const NAMED: usize = 5;

/// A path as a word of a shell.
pub(super) fn word(path: &Path) -> String {
    shell::word(&path.to_string_lossy()).into_owned()
}

/// Paths as words of a shell, not too many of them.
pub(super) fn words<'a>(paths: impl IntoIterator<Item = &'a Path>) -> String {
    let named: Vec<String> = paths.into_iter().take(NAMED).map(word).collect();
    named.join(" ")
}

/// `1 label runs`, `3 labels run`.
pub(super) fn counted(count: impl TryInto<u64>, one: &str, many: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

/// ` and N more`, where a list is too long to be told whole.
pub(super) fn and_more(count: usize) -> String {
    match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_alone_is_no_failure() {
        let mut found = Findings::default();
        found.fine("a", "x");
        found.warn("b", "y").todo("z");
        assert_eq!(found.code(), OK);
        found.wrong("c", "y");
        assert_eq!(found.code(), FAILURE);
        found.damaged = true;
        assert_eq!(found.code(), DAMAGED);
    }
}
