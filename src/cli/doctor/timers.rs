//! Whether somebody has the recovery scan run by the clock, and when it ran last.

use std::path::PathBuf;

use super::asking::ask;
use super::findings::Findings;
use crate::backend::BackendName;
use crate::duration::format_duration;
use crate::home::Home;
use crate::ledger::Book;
use crate::record::Status;
use crate::recovery::LastRun;

/// The units that `install-timers` writes.
const TIMERS: [&str; 2] = ["dispatch-recovery.timer", "dispatch-stuck.timer"];

/// Timers have the scan run each minute: one that has not run for so long is run by nobody.
const LATE_MS: i64 = 10 * 60_000;

/// Who has the scan run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Timers {
    /// systemd's user manager, as far as can be told.
    Enabled,
    /// The units are there, and these do not run.
    Idle(Vec<String>),
    /// cron.
    Cron,
    /// Nobody whom we know.
    None,
}

pub(super) fn check(home: &Home, book: &Book, found: &mut Findings) {
    let timers = timers(home);
    if let Timers::Idle(idle) = &timers {
        let idle = idle.join(" ");
        let what = format!("installed, and not started: {idle}");
        found
            .warn("timers", what)
            .todo(format!("run: systemctl --user enable --now {idle}"));
    }
    let last = LastRun::read(home);
    let age_ms = last
        .as_ref()
        .map(|last| home.now_ms().saturating_sub(last.last_run_at));
    let ran = match (age_ms, &last) {
        (Some(age_ms), Some(last)) => {
            let ago = format_duration(age_ms.max(0));
            match last.outcome.as_str() {
                "ok" => format!("the recovery scan ran {ago} ago"),
                outcome => format!("the recovery scan ran {ago} ago ({outcome})"),
            }
        }
        _ => "the recovery scan has never run here".to_owned(),
    };
    let is_late = age_ms.is_none_or(|age_ms| age_ms > LATE_MS);
    let needy = needy(book);
    if is_late && needy > 0 {
        let what = format!(
            "{ran}, and {needy} labels run or owe a delivery: nobody would revive their watchers"
        );
        found.warn("timers", what).todo(match timers {
            Timers::None => "have it run by the clock: dispatch install-timers; once: 529-recovery",
            _ => "look why the timer does not run it; once: 529-recovery",
        });
        return;
    }
    let by = match timers {
        Timers::Enabled => "installed with systemd",
        Timers::Cron => "installed with cron",
        Timers::Idle(_) => return,
        Timers::None => "none are installed (dispatch install-timers)",
    };
    found.fine("timers", format!("{by}; {ran}"));
}

/// So many labels would be taken up by the scan, should their watchers die.
fn needy(book: &Book) -> usize {
    let entries = book
        .entries()
        .filter(|(_, entry)| BackendName::of_entry(entry).is_some());
    let is_needy = entries.filter(|(_, entry)| {
        let is_running = entry.status() == Status::Running;
        is_running || entry.deliveries().iter().any(|d| d.is_to_be_sent())
    });
    is_needy.count()
}

fn timers(home: &Home) -> Timers {
    let dir = unit_dir(home);
    let is_there = |timer: &&str| dir.as_ref().is_some_and(|dir| dir.join(timer).is_file());
    let units: Vec<&str> = TIMERS.into_iter().filter(is_there).collect();
    if units.is_empty() {
        let crontab = ask("crontab", &["-l"]).unwrap_or_default();
        let mut lines = crontab.lines().map(str::trim);
        let is_run = lines.any(|line| !line.starts_with('#') && line.contains("529-recovery"));
        return if is_run { Timers::Cron } else { Timers::None };
    }
    let state = |question: &str| {
        let words = [&["--user", question], units.as_slice()].concat();
        ask("systemctl", &words).unwrap_or_default()
    };
    match idle(&units, &state("is-enabled"), &state("is-active")) {
        idle if idle.is_empty() => Timers::Enabled,
        idle => Timers::Idle(idle),
    }
}

/// The units that systemd says are not started; it answers a line for each, and none at all where it does not run. Pure.
fn idle(units: &[&str], enabled: &str, active: &str) -> Vec<String> {
    let is_idle = |answer: &str, n: usize| {
        let line = answer.lines().nth(n).map(str::trim);
        matches!(
            line,
            Some("disabled" | "inactive" | "failed" | "masked" | "not-found")
        )
    };
    let units = units.iter().enumerate();
    units
        .filter(|(n, _)| is_idle(enabled, *n) || is_idle(active, *n))
        .map(|(_, unit)| (*unit).to_owned())
        .collect()
}

/// Where the units of the user's own manager are (`systemd.unit(5)`).
fn unit_dir(home: &Home) -> Option<PathBuf> {
    let path = |name: &str| {
        let value = (home.environment)(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from).filter(|path| path.is_absolute())
    };
    let config = path("XDG_CONFIG_HOME").or_else(|| Some(path("HOME")?.join(".config")));
    Some(config?.join("systemd/user"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_is_idle_when_systemd_says_so_and_not_when_it_says_nothing() {
        let units = ["a.timer", "b.timer"];
        let cases: [(&str, &str, &[&str]); 5] = [
            ("enabled\nenabled\n", "active\nactive\n", &[]),
            ("enabled\ndisabled\n", "active\ninactive\n", &["b.timer"]),
            ("enabled\nenabled\n", "inactive\nactive\n", &["a.timer"]),
            ("not-found\nmasked\n", "", &["a.timer", "b.timer"]),
            ("", "", &[]),
        ];
        for (enabled, active, expected) in cases {
            assert_eq!(idle(&units, enabled, active), expected, "{enabled}{active}");
        }
    }
}
