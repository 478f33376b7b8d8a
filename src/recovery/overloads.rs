//! Labels that failed for good of an overload or a rate limit while their budget was not spent: whoever ended them could
//! not retry. Each is reopened and given a watcher, which claims the retry as any watcher does; the scan sees whether it
//! really started.

use std::time::Duration;

use crate::config::RetryWindows;
use crate::failure::policy;
use crate::home::Home;
use crate::ledger::{Book, Ledger, LedgerError, Patience};
use crate::record::{Entry, Failure, FailureKind, Phase, Status};
use crate::storage::parent_of;
use crate::wake::Wake;
use crate::watchers::{Post, start_watcher};

use super::retries::{Account, FAILURES_IN_A_ROW, reopen};
use super::{Options, Scan};

/// A failure older than this is left alone.
pub const MAX_AGE: Duration = Duration::from_secs(60 * 60);

/// A label that failed or was retried so lately may be in somebody's hands.
const UNTOUCHED: Duration = Duration::from_secs(5 * 60);

/// How long a retry may take to start before the scan goes on to the next.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// So many refused credentials end the retries of a scan, as failures in a row do.
const AUTH_FAILURES: usize = 2;

/// What a label that failed of an overload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidacy {
    /// It did not fail of one.
    None,
    /// It is to be retried.
    Due,
    /// It is left alone, for this reason.
    Skipped(String),
    /// Its budget is spent.
    GivenUp(String),
}

/// What a label is. Pure; `own` holds the operator's limits, `max_age` how old a failure may be.
pub fn candidacy(
    label: &str,
    entry: &Entry,
    own: &RetryWindows,
    max_age: Duration,
    now_ms: i64,
) -> Candidacy {
    let Some(failure) = failure_of(entry) else {
        return Candidacy::None;
    };
    let since = |at: i64| {
        let ms = u64::try_from(now_ms.saturating_sub(at)).unwrap_or(0);
        Duration::from_millis(ms)
    };
    let age = since(failure.at);
    if age > max_age {
        return Candidacy::Skipped(format!("it failed {} min ago", age.as_secs() / 60));
    }
    if Account::of(label, entry, own).next(&failure).is_none() {
        return match entry.text("promptPath") {
            None => Candidacy::Skipped("its prompt is not kept".to_owned()),
            Some(_) => {
                let made = entry.number("retryCount").unwrap_or(0);
                Candidacy::GivenUp(format!("{made} retries were made"))
            }
        };
    }
    let touched = failure.at.max(entry.time("lastRetryAt").unwrap_or(0));
    if since(touched) < UNTOUCHED {
        let seconds = since(touched).as_secs();
        return Candidacy::Skipped(format!("it failed {seconds} s ago"));
    }
    Candidacy::Due
}

fn failure_of(entry: &Entry) -> Option<Failure> {
    let failure = entry.failure()?;
    let is_models = policy::spends_models_budget(failure.kind);
    (entry.status() == Status::Error && is_models).then_some(failure)
}

/// Retries what is due, oldest failure first.
///
/// # Errors
/// When the ledger cannot be read or written.
pub fn retry_overloads(
    home: &Home,
    book: &Book,
    options: &Options,
    scan: &mut Scan,
) -> Result<(), LedgerError> {
    let mut own = home.config.retry.clone();
    own.at_most = options.max_retries.or(own.at_most);
    let max_age = options.max_age.unwrap_or(MAX_AGE);
    let mut due: Vec<(i64, String)> = Vec::new();
    for (label, entry) in book.entries_containing("\"failure\"") {
        if !options.concerns(label) {
            continue;
        }
        match candidacy(label, &entry, &own, max_age, home.now_ms()) {
            Candidacy::None => {}
            Candidacy::Due => {
                let at = entry.failure().map_or(0, |failure| failure.at);
                due.push((at, label.to_owned()));
            }
            Candidacy::Skipped(why) => scan.skipped.push((label.to_owned(), why)),
            Candidacy::GivenUp(why) => scan.given_up.push((label.to_owned(), why)),
        }
    }
    due.sort();
    let mut tried: Vec<String> = Vec::new();
    for (_, label) in due {
        if options.dry_run {
            scan.retried.push((label, "it would be retried".to_owned()));
            continue;
        }
        let book = Ledger::new(home).read()?;
        let outcomes = tried.iter().filter_map(|label| book.get(label));
        if let Some(why) = stop(outcomes) {
            scan.skipped.push((label, why.to_owned()));
            continue;
        }
        match retry(home, &label, &own, max_age)? {
            Outcome::Started(attempt) => {
                tried.push(label.clone());
                scan.retried.push((label, format!("attempt {attempt}")));
            }
            Outcome::Waits(why) => scan.skipped.push((label, why)),
            Outcome::Failed(why) => {
                tried.push(label.clone());
                scan.failed.push((label, why));
            }
        }
    }
    Ok(())
}

/// Why the labels that are left are not tried in this scan, as the entries of those that were tell. Pure.
fn stop(tried: impl Iterator<Item = Entry>) -> Option<&'static str> {
    let failures: Vec<Option<FailureKind>> = tried
        .map(|entry| match entry.status() {
            Status::Error => entry.failure().map(|failure| failure.kind),
            Status::Running if entry.phase() == Some(Phase::RetryWait) => {
                entry.failure().map(|failure| failure.kind)
            }
            _ => None,
        })
        .collect();
    let auth = Some(FailureKind::Auth);
    if failures.iter().filter(|kind| **kind == auth).count() >= AUTH_FAILURES {
        return Some("credentials were refused twice in this scan");
    }
    let in_a_row = failures.iter().rev().take_while(|kind| kind.is_some());
    (in_a_row.count() >= FAILURES_IN_A_ROW)
        .then_some("three retries in a row have failed in this scan")
}

enum Outcome {
    /// The run of this attempt is there.
    Started(u32),
    /// Somebody else has it, or its turn has not come.
    Waits(String),
    /// It failed at once, or nothing can start it.
    Failed(String),
}

/// Reopens one label and waits until its retry has started.
fn retry(
    home: &Home,
    label: &str,
    own: &RetryWindows,
    max_age: Duration,
) -> Result<Outcome, LedgerError> {
    let ledger = Ledger::new(home);
    let reopened = ledger.update(Patience::Unlimited, |book| {
        let now_ms = book.now_ms();
        let mut entry = book
            .get(label)
            .filter(|entry| candidacy(label, entry, own, max_age, now_ms) == Candidacy::Due)?;
        reopen(&mut entry, Duration::ZERO, now_ms);
        if let Some(at_most) = own.at_most {
            entry.set("retryLimit", at_most);
        }
        book.put(label, entry.clone());
        Some(entry)
    })?;
    let Some(entry) = reopened else {
        return Ok(Outcome::Waits("it has changed meanwhile".to_owned()));
    };
    let generation = entry.generation();
    let post = Post::of(home, label, generation);
    if post.is_held() {
        post.poke();
    } else if let Err(e) = start_watcher(home, label, generation) {
        let program = home.programs.watcher.display();
        return Ok(Outcome::Failed(format!("cannot start {program}: {e}")));
    }
    let mut wake = Wake::new();
    wake.watch(parent_of(ledger.path()));
    let end = home.clock.monotonic() + START_PATIENCE;
    loop {
        let now = ledger.entry(label)?;
        let Some(now) = now.filter(|now| now.generation() == generation) else {
            return Ok(Outcome::Waits("it has gone on to other work".to_owned()));
        };
        let has_claimed = now.attempt() > entry.attempt();
        match (now.status(), now.phase()) {
            (Status::Running, Some(Phase::Running | Phase::Verifying)) | (Status::Done, _)
                if has_claimed =>
            {
                return Ok(Outcome::Started(now.attempt()));
            }
            (Status::Running, Some(Phase::RetryWait)) if has_claimed => {
                return Ok(match now.failure() {
                    Some(failure) => Outcome::Failed(failure.message),
                    None => Outcome::Started(now.attempt()),
                });
            }
            (Status::Error, _) => {
                return Ok(match now.failure() {
                    Some(failure) => Outcome::Failed(failure.message),
                    None => Outcome::Failed("it failed and does not say why".to_owned()),
                });
            }
            (Status::Running, _) => {}
            (other, _) => return Ok(Outcome::Waits(format!("it is {other} by now"))),
        }
        let left = end.saturating_sub(home.clock.monotonic());
        if left.is_zero() {
            return Ok(match has_claimed {
                true => Outcome::Failed("its run has not been seen yet".to_owned()),
                false => Outcome::Waits("it waits for its turn at the provider".to_owned()),
            });
        }
        wake.wait(left.min(Duration::from_secs(1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const NOW: i64 = 1_900_000_000_000;
    const MINUTE: i64 = 60_000;

    fn failed(kind: FailureKind, minutes_ago: i64) -> Entry {
        let mut entry = Entry::new();
        entry.set_status(&Status::Error);
        entry.set("backend", "openclaw");
        entry.set("promptPath", "/p");
        entry.set_failure(&Failure::new(kind, "m", NOW - minutes_ago * MINUTE));
        entry
    }

    fn word(entry: &Entry) -> &'static str {
        match candidacy("l", entry, &RetryWindows::default(), MAX_AGE, NOW) {
            Candidacy::None => "none",
            Candidacy::Due => "due",
            Candidacy::Skipped(_) => "skipped",
            Candidacy::GivenUp(_) => "given up",
        }
    }

    #[rstest]
    #[case(FailureKind::Overload, 5, "due")]
    #[case(FailureKind::Overload, 4, "skipped")]
    #[case(FailureKind::RateLimit, 60, "due")]
    #[case(FailureKind::RateLimit, 61, "skipped")]
    #[case(FailureKind::Auth, 10, "none")]
    #[case(FailureKind::GatewayRestart, 10, "none")]
    fn the_kind_and_the_age_decide(
        #[case] kind: FailureKind,
        #[case] minutes_ago: i64,
        #[case] expected: &str,
    ) {
        assert_eq!(word(&failed(kind, minutes_ago)), expected);
    }

    #[test]
    fn a_late_retry_a_spent_budget_and_what_runs_are_left_alone() {
        let mut retried = failed(FailureKind::Overload, 30);
        retried.set_time("lastRetryAt", NOW - 2 * MINUTE);
        assert_eq!(word(&retried), "skipped");
        retried.set_time("lastRetryAt", NOW - 6 * MINUTE);
        assert_eq!(word(&retried), "due");
        retried.set("retryCount", 3);
        assert_eq!(word(&retried), "given up");
        let mut running = failed(FailureKind::Overload, 30);
        running.set_status(&Status::Running);
        assert_eq!(word(&running), "none");
        let mut promptless = failed(FailureKind::Overload, 30);
        promptless.clear("promptPath");
        assert_eq!(word(&promptless), "skipped");
    }

    #[test]
    fn nothing_but_failure_and_retry_moves_the_age() {
        let mut entry = failed(FailureKind::Overload, 30);
        entry.touch(NOW);
        entry.set_time("lastPing", NOW);
        assert_eq!(word(&entry), "due");
    }

    #[test]
    fn three_failures_in_a_row_or_two_refused_credentials_end_the_retries_of_a_scan() {
        let with = |kind: Option<FailureKind>| match kind {
            Some(kind) => failed(kind, 0),
            None => {
                let mut entry = failed(FailureKind::Overload, 0);
                entry.set_status(&Status::Running);
                entry.set_phase(Phase::Running);
                entry
            }
        };
        let (over, auth) = (Some(FailureKind::Overload), Some(FailureKind::Auth));
        let cases = [
            (vec![], false),
            (vec![over, over], false),
            (vec![over, over, over], true),
            (vec![over, over, None, over], false),
            (vec![None, over, over, over], true),
            (vec![auth, None], false),
            (vec![auth, None, auth, None], true),
        ];
        for (kinds, stops) in cases {
            let found = stop(kinds.iter().map(|kind| with(*kind)));
            assert_eq!(found.is_some(), stops, "{kinds:?}");
        }
        let mut waits = failed(FailureKind::Overload, 0);
        waits.set_status(&Status::Running);
        waits.set_phase(Phase::RetryWait);
        assert!(stop([waits.clone(), waits.clone(), waits].into_iter()).is_some());
    }
}
