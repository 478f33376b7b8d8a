//! Whether somebody has the recovery scan and the stuck detector run by the clock, and when they ran last.

use super::asking::ask;
use super::findings::{Findings, counted};
use super::jobs::{self, Job, Runner};
use crate::backend::BackendName;
use crate::duration::format_duration;
use crate::home::Home;
use crate::ledger::Book;
use crate::record::Status;
use crate::recovery::LastRun;
use crate::stuck::memory::Memory;

/// Timers have the scan run each minute: one that has not run for so long is run by nobody.
const SCAN_LATE_MS: i64 = 10 * 60_000;

/// Timers have the detector run every five minutes.
const DETECTOR_LATE_MS: i64 = 45 * 60_000;

pub(super) fn check(home: &Home, book: &Book, found: &mut Findings) {
    let jobs = jobs::all(home);
    let idle = idle_units(&jobs);
    if !idle.is_empty() {
        let idle = idle.join(" ");
        let what = format!("installed, and not started: {idle}");
        found
            .warn("timers", what)
            .todo(format!("run: systemctl --user enable --now {idle}"));
    }
    let now_ms = home.now_ms();
    let scan = LastRun::read(home);
    let outcome = scan.as_ref().map_or("ok", |scan| scan.outcome.as_str());
    let mut scanned = ran(
        "the recovery scan",
        scan.as_ref().map(|s| s.last_run_at),
        now_ms,
    );
    if outcome != "ok" {
        scanned.push_str(&format!(" ({outcome})"));
    }
    let detector = Memory::last_run(home);
    let detected = ran("the stuck detector", detector, now_ms);
    let Needy { running, owing } = needy(book);
    let mut late = Vec::new();
    if running + owing > 0 && is_late(scan.map(|scan| scan.last_run_at), SCAN_LATE_MS, now_ms) {
        late.push((scanned.as_str(), "529-recovery"));
    }
    if running > 0 && is_late(detector, DETECTOR_LATE_MS, now_ms) {
        late.push((detected.as_str(), "stuck-detector"));
    }
    if !late.is_empty() {
        let told: Vec<&str> = late.iter().map(|(told, _)| *told).collect();
        let programs: Vec<&str> = late.iter().map(|(_, program)| *program).collect();
        let what = format!(
            "{}, while {} and {}",
            told.join(", and "),
            counted(running, "label runs", "labels run"),
            counted(owing, "owes a delivery", "owe a delivery"),
        );
        let is_installed = |job: &Job| !programs.contains(&job.program) || job.is_ours();
        let once = programs.join("; ");
        let todo = match jobs.iter().all(is_installed) {
            true => format!("look why the timers do not do it; once: {once}"),
            false => format!("have it done by the clock (dispatch install-timers); once: {once}"),
        };
        let elsewhere = jobs.iter().any(|job| job.elsewhere.is_some());
        let what = match elsewhere {
            true => format!("{what} ({})", installed(&jobs)),
            false => what,
        };
        found.warn("timers", what).todo(todo);
        return;
    }
    if idle.is_empty() {
        let by = installed(&jobs);
        found.fine("timers", format!("{by}; {scanned}, {detected}"));
    }
}

/// Who has the two programs run.
fn installed(jobs: &[Job; 2]) -> String {
    let [one, other] = jobs;
    let is_alike = (one.runner, &one.elsewhere) == (other.runner, &other.elsewhere);
    match one.runner {
        Runner::Nobody if is_alike => "none are installed (dispatch install-timers)".to_owned(),
        Runner::Systemd if is_alike && one.is_ours() => "installed with systemd".to_owned(),
        Runner::Cron if is_alike && one.is_ours() => "installed with cron".to_owned(),
        _ => format!("{}, {} (dispatch install-timers)", one.told(), other.told()),
    }
}

fn ran(who: &str, at_ms: Option<i64>, now_ms: i64) -> String {
    match at_ms {
        Some(at_ms) => {
            let age_ms = now_ms.saturating_sub(at_ms).max(0);
            format!("{who} ran {} ago", format_duration(age_ms))
        }
        None => format!("{who} has never run here"),
    }
}

fn is_late(at_ms: Option<i64>, late_ms: i64, now_ms: i64) -> bool {
    at_ms.is_none_or(|at_ms| now_ms.saturating_sub(at_ms) > late_ms)
}

/// Labels that somebody has to look after, by the clock.
struct Needy {
    running: usize,
    /// They have ended, and a delivery is not out yet.
    owing: usize,
}

fn needy(book: &Book) -> Needy {
    let mut needy = Needy {
        running: 0,
        owing: 0,
    };
    for (_, entry) in book.entries() {
        if BackendName::of_entry(&entry).is_none() {
            continue;
        }
        if entry.status() == Status::Running {
            needy.running += 1;
        } else if entry.deliveries().iter().any(|d| d.is_to_be_sent()) {
            needy.owing += 1;
        }
    }
    needy
}

/// The timers for this state directory that systemd has not started.
fn idle_units(jobs: &[Job; 2]) -> Vec<String> {
    let ours = jobs
        .iter()
        .filter(|job| job.runner == Runner::Systemd && job.is_ours());
    let units: Vec<&str> = ours.map(|job| job.timer).collect();
    if units.is_empty() {
        return Vec::new();
    }
    let state = |question: &str| {
        let words = [&["--user", question], units.as_slice()].concat();
        ask("systemctl", &words).unwrap_or_default()
    };
    idle(&units, &state("is-enabled"), &state("is-active"))
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
