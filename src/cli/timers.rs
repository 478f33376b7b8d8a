//! `dispatch install-timers`: the recovery scan and the stuck detector by the clock, through systemd's user manager or cron.
//!
//! What is going to be done is shown first; on a terminal it is asked for, elsewhere `--yes` says so. Doing it again changes
//! nothing, `--remove` undoes it, and files that somebody else wrote are left alone.

mod given;
mod units;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use self::given::{Withheld, given, withheld};
use self::units::{Job, MARK, cron_line, service, timer};
pub(super) use self::units::{variables_of_cron_line, variables_of_service};
use super::args::TimersArgs;
use super::exit::{FAILURE, OK, failure};
use super::output::{Output, write_stdout};
use crate::home::Home;
use crate::process::output_within;
use crate::storage::{Storage, replace_synced};

/// A user manager that takes longer hangs; what it would say is read up to this size.
const SYSTEMCTL_LIMIT: Duration = Duration::from_secs(30);
const SYSTEMCTL_MOST_BYTES: u64 = 1024 * 1024;

/// What the cron of some systems takes for a command at most.
const MOST_CRON_BYTES: usize = 998;

/// What is to happen to one file.
struct Step {
    path: PathBuf,
    /// What it is to say; `None` takes it away.
    text: Option<String>,
    act: Act,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Write,
    Replace,
    Keep,
    Remove,
    /// Somebody else wrote it.
    LeaveAlone,
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Act::Write => "write",
            Act::Replace => "replace",
            Act::Keep => "unchanged",
            Act::Remove => "remove",
            Act::LeaveAlone => "leave alone (not ours)",
        }
    }
}

/// Runs the command.
///
/// # Errors
/// Programs or directories that are not there; files that cannot be written; a `systemctl` that refuses.
pub fn run(home: &Home, output: Output, args: &TimersArgs) -> Result<u8> {
    let beside = |name: &str| home.programs.dispatch.with_file_name(name);
    let (recovery, detector) = (beside("529-recovery"), beside("stuck-detector"));
    for program in [&recovery, &detector] {
        if !args.remove && !program.is_file() {
            return Err(failure(format!(
                "{} is not there; install the four programs into one directory",
                program.display()
            )));
        }
    }
    let jobs = [
        Job {
            unit: "dispatch-recovery",
            about: "retry, revive and redeliver",
            program: &recovery,
            arguments: &[],
            calendar: "*:0/1",
            cron: "* * * * *",
        },
        Job {
            unit: "dispatch-stuck",
            about: "find stuck sessions",
            program: &detector,
            arguments: &["--quiet"],
            calendar: "*:0/5",
            cron: "*/5 * * * *",
        },
    ];
    let variables = given(home);
    if !args.remove {
        for Withheld { variable, instead } in withheld(home) {
            home.say(&format!(
                "the timers are not given {variable}, which may hold a secret; {instead}"
            ));
        }
    }
    if args.cron {
        for job in &jobs {
            let line = cron_line(job, &variables);
            if line.len() > MOST_CRON_BYTES {
                home.say(&format!(
                    "warn: the line for {} has {} bytes, and some crons take {MOST_CRON_BYTES} at most; a shorter PATH makes it shorter",
                    job.unit,
                    line.len()
                ));
            }
            write_stdout(format!("{line}\n").as_bytes())?;
        }
        return Ok(OK);
    }
    let dir = unit_dir(home)?;
    let mut steps = Vec::new();
    for job in &jobs {
        for (suffix, text) in [("service", service(job, &variables)), ("timer", timer(job))] {
            let path = dir.join(format!("{}.{suffix}", job.unit));
            steps.push(step(
                home.storage.as_ref(),
                path,
                (!args.remove).then_some(text),
            )?);
        }
    }
    let timers: Vec<String> = jobs
        .iter()
        .map(|job| format!("{}.timer", job.unit))
        .collect();
    let verb = if args.remove { "disable" } else { "enable" };
    show(output, &steps, &timers, verb)?;
    if !is_agreed(args.yes)? {
        return tell(
            output,
            &steps,
            None,
            "Nothing was changed: say --yes to do it.",
        );
    }
    if let Some(foreign) = steps
        .iter()
        .find(|step| step.act == Act::LeaveAlone && !args.remove)
    {
        return Err(failure(format!(
            "{} was not written by dispatch; move it away first",
            foreign.path.display()
        )));
    }
    // Timers are stopped while their files are still there.
    if args.remove && steps.iter().any(|step| step.act == Act::Remove) {
        let _ = systemctl(&[&["disable", "--now"], texts(&timers).as_slice()].concat());
    }
    for step in &steps {
        carry_out(home.storage.as_ref(), step)?;
    }
    if args.remove {
        let _ = systemctl(&["daemon-reload"]);
        let message = match steps.iter().any(|step| step.act == Act::LeaveAlone) {
            true => "Our timers are gone; what somebody else wrote is left.",
            false => "The timers are gone.",
        };
        return tell(output, &steps, None, message);
    }
    let enabled = systemctl(&["daemon-reload"])
        .and_then(|()| systemctl(&[&["enable", "--now"], texts(&timers).as_slice()].concat()));
    match enabled {
        Ok(()) => tell(
            output,
            &steps,
            Some(true),
            "The timers run while you are logged in; 'loginctl enable-linger' keeps them running after that.",
        ),
        Err(why) => {
            let message = format!(
                "The files are written, but systemd's user manager did not take them: {why}; run 'systemctl --user enable --now {}' where it runs, or use --cron.",
                timers.join(" ")
            );
            tell(output, &steps, Some(false), &message)?;
            Ok(FAILURE)
        }
    }
}

/// Where the units of the user's own manager are (`systemd.unit(5)`).
pub(super) fn unit_dir(home: &Home) -> Result<PathBuf> {
    let path = |name: &str| {
        let value = (home.environment)(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from).filter(|path| path.is_absolute())
    };
    let config = path("XDG_CONFIG_HOME").or_else(|| Some(path("HOME")?.join(".config")));
    let config = config.ok_or_else(|| {
        failure("neither XDG_CONFIG_HOME nor HOME is set, so there is no place for units; set HOME")
    })?;
    Ok(config.join("systemd/user"))
}

fn step(storage: &dyn Storage, path: PathBuf, text: Option<String>) -> Result<Step> {
    let there = match storage.facts(&path) {
        Ok(None) => None,
        Ok(Some(_)) => Some(storage.read(&path)),
        Err(e) => Some(Err(e)),
    };
    let there = there
        .transpose()
        .with_context(|| format!("cannot read {}", path.display()))?;
    let is_ours = |bytes: &Vec<u8>| bytes.starts_with(MARK.as_bytes());
    let act = match (&there, &text) {
        (None, Some(_)) => Act::Write,
        (None, None) => Act::Keep,
        (Some(bytes), _) if !is_ours(bytes) => Act::LeaveAlone,
        (Some(bytes), Some(text)) if bytes == text.as_bytes() => Act::Keep,
        (Some(_), Some(_)) => Act::Replace,
        (Some(_), None) => Act::Remove,
    };
    Ok(Step { path, text, act })
}

fn carry_out(storage: &dyn Storage, step: &Step) -> Result<()> {
    let done = match (step.act, &step.text) {
        (Act::Write | Act::Replace, Some(text)) => step
            .path
            .parent()
            .map_or(Ok(()), |dir| storage.create_dir_all(dir))
            .and_then(|()| replace_synced(storage, &step.path, text.as_bytes())),
        (Act::Remove, _) => storage.remove(&step.path),
        _ => Ok(()),
    };
    done.with_context(|| format!("cannot change {}", step.path.display()))
}

fn show(output: Output, steps: &[Step], timers: &[String], verb: &str) -> io::Result<()> {
    if output.is_json() {
        return Ok(());
    }
    for step in steps {
        write_stdout(format!("{} {}\n", step.act.name(), step.path.display()).as_bytes())?;
        if let (Act::Write | Act::Replace, Some(text)) = (step.act, &step.text) {
            let indented: String = text.lines().map(|line| format!("    {line}\n")).collect();
            write_stdout(indented.as_bytes())?;
        }
    }
    let words = timers.join(" ");
    write_stdout(format!("systemctl --user {verb} --now {words}\n").as_bytes())
}

/// The person at the terminal says yes, or the command line did.
fn is_agreed(yes: bool) -> Result<bool> {
    if yes || !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Ok(yes);
    }
    let mut stderr = io::stderr();
    let _ = write!(stderr, "Do it? [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .context("cannot read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn tell(output: Output, steps: &[Step], enabled: Option<bool>, message: &str) -> Result<u8> {
    if !output.is_json() {
        write_stdout(format!("{message}\n").as_bytes())?;
        return Ok(OK);
    }
    let files: Vec<Value> = steps
        .iter()
        .map(|step| json!({"path": step.path, "action": step.act.name()}))
        .collect();
    output.json(&json!({
        "ok": enabled != Some(false),
        "files": files,
        "enabled": enabled,
        "message": message,
    }))?;
    Ok(OK)
}

fn texts(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Asks systemd's user manager. The error is what it said.
fn systemctl(words: &[&str]) -> Result<(), String> {
    let mut command = Command::new("systemctl");
    command.arg("--user").args(words);
    match output_within(&mut command, SYSTEMCTL_LIMIT, SYSTEMCTL_MOST_BYTES) {
        Ok(Some(ran)) if ran.success => Ok(()),
        Ok(Some(ran)) => {
            let said = ran.stderr.lines().next().unwrap_or("it failed");
            Err(said.trim().to_owned())
        }
        Ok(None) => {
            let seconds = SYSTEMCTL_LIMIT.as_secs();
            Err(format!("systemctl has not ended within {seconds} s"))
        }
        Err(e) => Err(format!("systemctl: {e}")),
    }
}
