//! Which labels leave the ledger, and why others stay. Pure.

use std::time::Duration;

use serde_json::Value;

use crate::record::{Entry, Status};

/// What ended more than two weeks ago is old, unless the call says otherwise.
const DEFAULT_AGE: Duration = Duration::from_secs(14 * 24 * 3600);

/// What a call wants to be gone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Wanted {
    /// These labels alone; all where it is empty.
    pub labels: Vec<String>,
    /// Ended like this.
    pub status: Option<Status>,
    /// Ended at least so long ago.
    pub older_than: Option<Duration>,
}

/// What becomes of a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It leaves the ledger.
    Goes,
    /// It is wanted, and may not go.
    Stays(String),
    /// It is not what was asked for.
    Spared,
}

impl Wanted {
    /// The label is among those that were named, or none was.
    pub fn names(&self, label: &str) -> bool {
        self.labels.is_empty() || self.labels.iter().any(|named| named == label)
    }

    /// The entry's label and end are what was asked for, its age aside.
    pub fn means(&self, label: &str, entry: &Entry) -> bool {
        let status = entry.status();
        self.names(label) && self.status.as_ref().is_none_or(|wanted| *wanted == status)
    }

    /// The entry's files are old: what it needed may go.
    pub fn is_old(&self, entry: &Entry, now_ms: i64) -> bool {
        is_older(entry, self.older_than.unwrap_or(DEFAULT_AGE), now_ms)
    }

    /// Decides about an entry of the ledger. `is_at_work` says what still works on the label, in a few words; it is asked
    /// only where nothing else keeps it.
    pub fn verdict(
        &self,
        label: &str,
        entry: &Entry,
        now_ms: i64,
        is_at_work: impl Fn() -> Option<&'static str>,
    ) -> Verdict {
        if !self.names(label) {
            return Verdict::Spared;
        }
        let is_named = !self.labels.is_empty();
        let status = entry.status();
        if self.status.as_ref().is_some_and(|wanted| *wanted != status) {
            return match is_named {
                true => Verdict::Stays(format!("it is {status}")),
                false => Verdict::Spared,
            };
        }
        if !status.is_ended() {
            return match is_named {
                true => Verdict::Stays(format!("it is {status}, which is no end")),
                false => Verdict::Spared,
            };
        }
        // Whoever names a label means it, however young it is.
        let is_old = match (is_named, self.older_than) {
            (true, None) => true,
            _ => self.is_old(entry, now_ms),
        };
        if !is_old {
            return match is_named {
                true => Verdict::Stays("it ended later than that".to_owned()),
                false => Verdict::Spared,
            };
        }
        match owed(entry) {
            0 => {}
            1 => return Verdict::Stays("a delivery of it is not delivered".to_owned()),
            n => return Verdict::Stays(format!("{n} deliveries of it are not delivered")),
        }
        if entry.is_signalled() {
            return Verdict::Stays("its result is being verified".to_owned());
        }
        match is_at_work() {
            Some(what) => Verdict::Stays(format!("{what} is at work")),
            None => Verdict::Goes,
        }
    }
}

/// When the entry ended, as far as it knows, ms since the epoch.
pub fn end_of(entry: &Entry) -> Option<i64> {
    entry.time("endedAt").or_else(|| entry.time("updatedAt"))
}

/// An entry that does not know its time is never old.
fn is_older(entry: &Entry, age: Duration, now_ms: i64) -> bool {
    let age_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
    end_of(entry).is_some_and(|end| now_ms.saturating_sub(end) >= age_ms)
}

/// Records that are not delivered, those included that only another version can read.
fn owed(entry: &Entry) -> usize {
    let records = entry.value("deliveries").and_then(Value::as_array);
    let is_delivered = |record: &&Value| record.get("state") == Some(&Value::from("delivered"));
    let records = records.into_iter().flatten();
    records.filter(|record| !is_delivered(record)).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const DAY: i64 = 24 * 3600 * 1000;
    const NOW: i64 = 100 * DAY;

    fn entry(value: Value) -> Entry {
        Entry::from_fields(value.as_object().cloned().expect("an object"))
    }

    /// A label that ended so many days ago.
    fn ended(days: i64, status: &str) -> Entry {
        let mut entry = entry(json!({"status": status}));
        entry.set_time("endedAt", NOW - days * DAY);
        entry
    }

    fn verdict(wanted: &Wanted, entry: &Entry) -> Verdict {
        wanted.verdict("l", entry, NOW, || None)
    }

    fn stays(why: &str) -> Verdict {
        Verdict::Stays(why.to_owned())
    }

    #[test]
    fn what_ended_two_weeks_ago_goes_and_what_is_younger_is_spared() {
        let wanted = Wanted::default();
        assert_eq!(verdict(&wanted, &ended(14, "done")), Verdict::Goes);
        assert_eq!(verdict(&wanted, &ended(13, "done")), Verdict::Spared);
        let longer = Wanted {
            older_than: Some(Duration::from_secs(30 * 86_400)),
            ..Wanted::default()
        };
        assert_eq!(verdict(&longer, &ended(29, "done")), Verdict::Spared);
        assert_eq!(verdict(&longer, &ended(30, "error")), Verdict::Goes);
    }

    #[test]
    fn an_entry_without_an_end_counts_from_its_last_change_and_without_any_time_it_stays() {
        let wanted = Wanted::default();
        let foreign = entry(json!({"status": "done", "updatedAt": "1970-01-02T00:00:00.000Z"}));
        assert_eq!(verdict(&wanted, &foreign), Verdict::Goes);
        let timeless = entry(json!({"status": "done"}));
        assert_eq!(verdict(&wanted, &timeless), Verdict::Spared);
    }

    #[test]
    fn what_runs_or_has_a_status_of_another_tool_never_goes() {
        for status in ["running", "spawn-warning"] {
            assert_eq!(
                verdict(&Wanted::default(), &ended(90, status)),
                Verdict::Spared
            );
            let named = Wanted {
                labels: vec!["l".to_owned()],
                ..Wanted::default()
            };
            let why = format!("it is {status}, which is no end");
            assert_eq!(verdict(&named, &ended(90, status)), stays(&why));
        }
    }

    #[test]
    fn a_named_label_goes_however_young_unless_an_age_is_given() {
        let mut wanted = Wanted {
            labels: vec!["l".to_owned()],
            ..Wanted::default()
        };
        assert_eq!(verdict(&wanted, &ended(0, "done")), Verdict::Goes);
        assert!(!wanted.is_old(&ended(0, "done"), NOW), "its files stay");
        wanted.older_than = Some(Duration::from_secs(86_400));
        let why = stays("it ended later than that");
        assert_eq!(verdict(&wanted, &ended(0, "done")), why);
        wanted.labels = vec!["m".to_owned()];
        assert_eq!(verdict(&wanted, &ended(90, "done")), Verdict::Spared);
    }

    #[test]
    fn only_the_status_that_was_asked_for_goes() {
        let wanted = Wanted {
            status: Some(Status::Error),
            ..Wanted::default()
        };
        assert_eq!(verdict(&wanted, &ended(90, "done")), Verdict::Spared);
        assert_eq!(verdict(&wanted, &ended(90, "error")), Verdict::Goes);
        let named = Wanted {
            labels: vec!["l".to_owned()],
            ..wanted
        };
        assert_eq!(verdict(&named, &ended(90, "done")), stays("it is done"));
    }

    #[test]
    fn whatever_is_still_owed_keeps_a_label() {
        let owing = |deliveries: Value| {
            let mut entry = ended(90, "done");
            entry.set("deliveries", deliveries);
            verdict(&Wanted::default(), &entry)
        };
        assert_eq!(owing(json!([{"state": "delivered"}])), Verdict::Goes);
        for state in [
            "pending",
            "sending",
            "retrying",
            "unknown",
            "parked",
            "a-later-state",
        ] {
            let one = owing(json!([{"state": state}, {"state": "delivered"}]));
            assert_eq!(one, stays("a delivery of it is not delivered"), "{state}");
        }
        let both = owing(json!(["odd", {"state": "parked"}]));
        assert_eq!(both, stays("2 deliveries of it are not delivered"));
    }

    #[test]
    fn whoever_works_on_it_keeps_it() {
        let entry = ended(90, "done");
        let verdict = Wanted::default().verdict("l", &entry, NOW, || Some("its watcher"));
        assert_eq!(verdict, stays("its watcher is at work"));
        let mut signalled = ended(90, "error");
        signalled.set("phase", "verifying");
        signalled.set("completion", json!({}));
        let verdict = Wanted::default().verdict("l", &signalled, NOW, || None);
        assert_eq!(verdict, stays("its result is being verified"));
    }
}
