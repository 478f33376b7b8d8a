//! The `529-recovery` program.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use serde_json::json;

use super::exit::{self, FAILURE, OK};
use super::output::write_stdout;
use super::{parse, prepare};
use crate::config::Strictness;
use crate::home::Home;
use crate::paths::process_environment;
use crate::recovery::{Scan, scan};

/// Take up what a crash left undone: labels whose watcher is dead get a new one, and owed deliveries go out.
///
/// Safe to run at any time, and twice at once. Prints nothing when there was nothing to do. Retries of overloaded
/// sessions come with a later version.
#[derive(Debug, Parser)]
#[command(
    name = "529-recovery",
    version,
    after_help = "Example (crontab):\n  * * * * * 529-recovery"
)]
struct RecoveryArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the program.
pub fn main() -> ExitCode {
    prepare();
    let args = match parse::<RecoveryArgs>("529-recovery") {
        Ok(args) => args,
        Err(code) => return code,
    };
    let home = match Home::open(&process_environment, "529-recovery", Strictness::Warn) {
        Ok(home) => home,
        Err(error) => return exit::finish("529-recovery", Err(error.into())),
    };
    let outcome = scan(&home)
        .map_err(Into::into)
        .and_then(|scan| report(&scan, args.json));
    exit::finish(&home.config.brand.clone(), outcome)
}

fn report(scan: &Scan, as_json: bool) -> Result<u8> {
    let code = if scan.failed.is_empty() { OK } else { FAILURE };
    if as_json {
        let pairs = |list: &[(String, String)]| -> Vec<serde_json::Value> {
            list.iter()
                .map(|(label, why)| json!({"label": label, "reason": why}))
                .collect()
        };
        let view = json!({
            "ok": code == OK,
            "revived": pairs(&scan.revived),
            "closed": scan.closed,
            "wedged": pairs(&scan.wedged),
            "failed": pairs(&scan.failed),
            "skipped": pairs(&scan.skipped),
        });
        write_stdout(format!("{view:#}\n").as_bytes())?;
        return Ok(code);
    }
    let mut text = String::new();
    for (label, why) in &scan.revived {
        text.push_str(&format!("started a watcher for \"{label}\": {why}\n"));
    }
    for label in &scan.closed {
        text.push_str(&format!(
            "closed the session of \"{label}\": it has ended\n"
        ));
    }
    for (label, why) in &scan.wedged {
        text.push_str(&format!("wedged \"{label}\": {why}\n"));
    }
    for (label, why) in &scan.failed {
        text.push_str(&format!("could not help \"{label}\": {why}\n"));
    }
    if !text.is_empty() {
        for (label, why) in &scan.skipped {
            text.push_str(&format!("left alone \"{label}\": {why}\n"));
        }
    }
    write_stdout(text.as_bytes())?;
    Ok(code)
}
