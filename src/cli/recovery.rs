//! The `529-recovery` program.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use serde_json::{Value, json};

use super::definition::whole;
use super::exit::{self, FAILURE, OK};
use super::output::write_stdout;
use super::{labels, open_home, parse, prepare};
use crate::config::Strictness;
use crate::duration::parse_seconds;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::recovery::{LastRun, Options, Scan, scan};

/// Retry overloaded sessions, and take up what a crash left undone: labels whose watcher is dead get a new one, and owed
/// deliveries go out.
///
/// Safe to run at any time, and twice at once. Prints nothing when there was nothing to do.
#[derive(Debug, Parser)]
#[command(
    name = "529-recovery",
    version,
    after_help = "Example (crontab):\n  * * * * * 529-recovery"
)]
struct RecoveryArgs {
    /// Look at this label only
    #[arg(long, allow_hyphen_values = true)]
    label: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Retry no failure older than this (seconds, or a text such as 60m) [default: 60m]
    #[arg(long, value_parser = parse_seconds, allow_hyphen_values = true)]
    max_age: Option<Duration>,
    /// Retry each label so often at most [default: 3]
    #[arg(long, value_name = "N", value_parser = parse_retries, allow_hyphen_values = true)]
    max_retries: Option<u32>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn parse_retries(text: &str) -> Result<u32, String> {
    let number = text.parse();
    number.map_err(|_| format!("\"{text}\" is no count; give a whole number, 0 for no retry"))
}

/// The program's command line.
pub(super) fn definition() -> clap::Command {
    whole::<RecoveryArgs>()
}

/// Runs the program.
pub fn main() -> ExitCode {
    prepare();
    let args = match parse::<RecoveryArgs>("529-recovery") {
        Ok(args) => args,
        Err(code) => return code,
    };
    let home = match open_home("529-recovery", Strictness::Warn) {
        Ok(home) => home,
        Err(error) => return exit::finish("529-recovery", Err(error.into())),
    };
    let outcome = recover(&home, args);
    exit::finish(&home.config.brand.clone(), outcome)
}

fn recover(home: &Home, args: RecoveryArgs) -> Result<u8> {
    if let Some(label) = &args.label {
        labels::find(home, &Ledger::new(home).read()?, label)?;
    }
    // Somebody who asks about a label, or what would be done, wants to hear of what is left alone, too.
    let is_asked = args.dry_run || args.label.is_some();
    let options = Options {
        dry_run: args.dry_run,
        max_age: args.max_age,
        max_retries: args.max_retries,
        label: args.label,
    };
    let scan = scan(home, &options)?;
    let is_recorded = options.dry_run || options.label.is_some() || record(home, &scan);
    let code = match scan.failed.is_empty() && is_recorded {
        true => OK,
        false => FAILURE,
    };
    match args.json {
        true => write_stdout(format!("{:#}\n", view(&scan, code, args.dry_run)).as_bytes())?,
        false => write_stdout(summary(&scan, args.dry_run, is_asked).as_bytes())?,
    }
    Ok(code)
}

/// Records that the scan ran; says so where it cannot, for nobody sees then that it does.
fn record(home: &Home, scan: &Scan) -> bool {
    let outcome = match scan.failed.is_empty() {
        true => "ok",
        false => "failed",
    };
    let recorded = LastRun::record(home, outcome);
    if let Err(e) = &recorded {
        let path = LastRun::path(home);
        home.say(&format!(
            "cannot record when the scan ran in {}: {e}",
            path.display()
        ));
    }
    recorded.is_ok()
}

fn view(scan: &Scan, code: u8, dry_run: bool) -> Value {
    let pairs = |list: &[(String, String)]| -> Vec<Value> {
        list.iter()
            .map(|(label, why)| json!({"label": label, "reason": why}))
            .collect()
    };
    json!({
        "ok": code == OK,
        "dryRun": dry_run,
        "retried": pairs(&scan.retried),
        "givenUp": pairs(&scan.given_up),
        "revived": pairs(&scan.revived),
        "closed": scan.closed,
        "wedged": pairs(&scan.wedged),
        "failed": pairs(&scan.failed),
        "skipped": pairs(&scan.skipped),
    })
}

/// What was done, for people; empty when that is nothing. What was left alone is told beside something that was done.
fn summary(scan: &Scan, dry_run: bool, is_asked: bool) -> String {
    let (retried, revived) = match dry_run {
        true => ("would retry", "would start a watcher for"),
        false => ("retried", "started a watcher for"),
    };
    let mut text = String::new();
    let mut tell = |what: &str, list: &[(String, String)]| {
        for (label, why) in list {
            text.push_str(&format!("{what} \"{label}\": {why}\n"));
        }
    };
    tell(retried, &scan.retried);
    tell(revived, &scan.revived);
    tell("wedged", &scan.wedged);
    tell("could not help", &scan.failed);
    for label in &scan.closed {
        text.push_str(&format!(
            "closed the session of \"{label}\": it has ended\n"
        ));
    }
    if !text.is_empty() || is_asked {
        let mut tell = |what: &str, list: &[(String, String)]| {
            for (label, why) in list {
                text.push_str(&format!("{what} \"{label}\": {why}\n"));
            }
        };
        tell("gave up on", &scan.given_up);
        tell("left alone", &scan.skipped);
    }
    text
}
