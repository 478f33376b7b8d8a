//! Who has the recovery scan and the stuck detector run by the clock: systemd's user manager, cron, or nobody we know of;
//! and for which state directory.

use std::fs;
use std::path::{Path, PathBuf};

use super::asking::ask;
use crate::cli::timers::{unit_dir, variables_of_cron_line, variables_of_service};
use crate::home::Home;
use crate::paths::Paths;

/// Who has a program run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runner {
    /// Units of systemd's user manager.
    Systemd,
    /// A line of the user's crontab.
    Cron,
    /// Nobody we know of.
    Nobody,
}

/// A program that is to run by the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    /// The program.
    pub program: &'static str,
    /// Its timer among the units that `install-timers` writes.
    pub timer: &'static str,
    /// Who has it run.
    pub runner: Runner,
    /// The state directory that it looks after, where that is another one than this.
    pub elsewhere: Option<PathBuf>,
}

impl Job {
    /// Somebody has it run, for this state directory as far as can be told.
    pub fn is_ours(&self) -> bool {
        self.runner != Runner::Nobody && self.elsewhere.is_none()
    }

    /// In a few words.
    pub fn told(&self) -> String {
        let by = match self.runner {
            Runner::Systemd => "is installed with systemd",
            Runner::Cron => "is installed with cron",
            Runner::Nobody => "is not installed",
        };
        match &self.elsewhere {
            Some(dir) => format!("{} {by} for {}", self.program, dir.display()),
            None => format!("{} {by}", self.program),
        }
    }
}

/// The recovery scan and the stuck detector.
pub(super) fn all(home: &Home) -> [Job; 2] {
    let units = unit_dir(home).ok();
    let mut crontab = None;
    [
        ("529-recovery", "dispatch-recovery.timer"),
        ("stuck-detector", "dispatch-stuck.timer"),
    ]
    .map(|(program, timer)| {
        let unit = units.as_ref().map(|dir| dir.join(timer));
        let (runner, variables) = match unit.filter(|unit| unit.is_file()) {
            Some(unit) => {
                let service = fs::read_to_string(unit.with_extension("service"));
                let service = service.ok().as_deref().and_then(variables_of_service);
                (Runner::Systemd, service)
            }
            None => {
                let crontab =
                    crontab.get_or_insert_with(|| ask("crontab", &["-l"]).unwrap_or_default());
                match cron_job(crontab, program) {
                    Some(variables) => (Runner::Cron, variables),
                    None => (Runner::Nobody, None),
                }
            }
        };
        let elsewhere = variables.and_then(|variables| another_home(home, &variables));
        Job {
            program,
            timer,
            runner,
            elsewhere,
        }
    })
}

type Variables = Vec<(String, String)>;

/// What the crontab gives the program, where it has it run; `Some(None)` where that cannot be told. Pure.
fn cron_job(crontab: &str, program: &str) -> Option<Option<Variables>> {
    let mut variables = Variables::new();
    for line in crontab.lines().map(str::trim) {
        if line.starts_with('#') {
            continue;
        }
        if let Some(setting) = setting(line) {
            variables.push(setting);
        } else if line.contains(program) {
            return Some(variables_of_cron_line(line, program).map(|own| {
                variables.extend(own);
                variables
            }));
        }
    }
    None
}

/// A line that sets a variable for the lines after it (`crontab(5)`). Pure.
fn setting(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty()
        || name.starts_with(|c: char| c.is_ascii_digit())
        || !name.chars().all(is_name)
    {
        return None;
    }
    let unquoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
    Some((name.to_owned(), unquoted.unwrap_or(value).to_owned()))
}

/// The state directory of a process that is given these variables and the user's home alone, unless it is this one.
fn another_home(home: &Home, variables: &Variables) -> Option<PathBuf> {
    let given = |name: &str| {
        let known = variables.iter().rev().find(|(known, _)| known == name);
        match known {
            Some((_, value)) => Some(value.into()),
            None if name == "HOME" => (home.environment)(name),
            None => None,
        }
    };
    let theirs = Paths::from_environment(&given).ok()?.home;
    let real = |dir: &Path| fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    (real(&theirs) != real(&home.paths.home)).then_some(theirs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crontab_gives_a_program_what_stands_above_its_line_and_in_it() {
        let crontab = "# 529-recovery\nMAILTO=\"\"\nA = 'x y'\n* * * * * B=2 /opt/529-recovery\nA=3\n* * * * * . ~/env; stuck-detector\n";
        let pairs = |pairs: &[(&str, &str)]| -> Variables {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let given = pairs(&[("MAILTO", ""), ("A", "x y"), ("B", "2")]);
        assert_eq!(cron_job(crontab, "529-recovery"), Some(Some(given)));
        assert_eq!(cron_job(crontab, "stuck-detector"), Some(None));
        assert_eq!(cron_job(crontab, "another"), None);
    }
}
