//! `dispatch list --watch`: the list, drawn again whenever the ledger changes.

use std::io;
use std::time::Duration;

use anyhow::Result;

use super::listed;
use crate::cli::args::ListArgs;
use crate::cli::exit::usage;
use crate::cli::output::Output;
use crate::cli::redrawn::{Redrawn, size_of};
use crate::home::Home;
use crate::ledger::Ledger;
use crate::storage::parent_of;
use crate::wake::Wake;

/// How often a person sees that time passes.
const TICK: Duration = Duration::from_secs(1);

/// Shows the list until somebody interrupts; a signal ends it, as any program without one of its own to mind.
///
/// # Errors
/// When stdout is neither a terminal nor wants JSON; when the ledger cannot be read.
pub(super) fn run(home: &Home, output: Output, args: &ListArgs) -> Result<u8> {
    if !output.is_json() && !output.is_terminal() {
        return Err(usage(
            "--watch draws over a terminal, and stdout is none; --json prints a line for every change",
        ));
    }
    let ledger = Ledger::new(home);
    let mut wake = Wake::new();
    wake.watch(parent_of(ledger.path()));
    let mut picture = Redrawn::on(io::stdout());
    let mut seen = None;
    let mut told = None;
    let mut book = ledger.read()?;
    listed(&book, args).warn(home);
    loop {
        let facts = home.storage.facts(ledger.path()).ok().flatten();
        if facts != seen {
            seen = facts;
            book = ledger.read()?;
        }
        let listed = listed(&book, args);
        if output.is_json() {
            let now = listed.value(home);
            if told.as_ref() != Some(&now) {
                output.json_line(&now)?;
                told = Some(now);
            }
        } else {
            let mut lines = listed.lines(home, output);
            if listed.left_out() > 0 {
                lines.push(format!("{} more; --all shows them", listed.left_out()));
            }
            picture.draw(&lines, size_of(io::stdout()).1)?;
        }
        wake.wait(TICK);
    }
}
