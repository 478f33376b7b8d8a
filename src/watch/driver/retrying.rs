//! What the driver does between two attempts.

use std::io;

use super::super::changes::Recorded;
use super::super::conclude::{amend, charge, file_ending};
use super::super::machine::{Conclusion, Leaving};
use super::Driver;
use crate::backend::{RunRef, Settled};
use crate::ledger::{Book, LedgerError, Patience};
use crate::record::{Attempt, Entry, Failure};
use crate::recovery::retries::{Claimed, Next, claim, next_selection};

impl Driver<'_> {
    /// Puts the label off until its retry. What the attempt had said is kept first.
    pub(super) fn put_off(
        &mut self,
        failure: &Failure,
        next: &Next,
        settled: Option<&Settled>,
    ) -> Result<Recorded, LedgerError> {
        if let Some(settled) = settled {
            file_ending(self.home, &self.run, Conclusion::Failed, settled);
        }
        let mut failure = failure.clone();
        if failure.at == 0 {
            failure.at = self.home.now_ms();
        }
        let charge = charge(self.home, &self.run, self.reader);
        let run = &self.run;
        let recorded = amend(&self.ledger, &run.label, |entry, now_ms| {
            let recorded = charge.put_off(entry, &run.steers, run.attempt, &failure, next, now_ms);
            let is_changed = recorded == Recorded::Yes;
            (recorded, is_changed)
        })?;
        Ok(recorded.unwrap_or(Recorded::Overtaken))
    }

    /// Claims the next attempt and has it begun. Says so when the label has come to its end instead.
    pub(super) fn retry(&mut self) -> Result<Option<Leaving>, LedgerError> {
        // Whether it is the label's turn, before anything is prepared for it.
        let foreseen = self.weigh(&self.ledger.read()?, &Attempt::default()).0;
        if foreseen != Claimed::Yes {
            return self.not_claimed(foreseen);
        }
        // The session is looked at before the ledger is locked.
        let attempt = match self
            .backend
            .next_attempt(&self.run, &next_selection(&self.entry))
        {
            Ok(attempt) => attempt,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return self.end_retries(&format!("it cannot be tried again: {e}"));
            }
            Err(e) => {
                self.voice
                    .say(&format!("the retry cannot be prepared yet: {e}"));
                return Ok(None);
            }
        };
        let (claimed, entry) = self.ledger.update(Patience::Unlimited, |book| {
            let (claimed, entry) = self.weigh(book, &attempt);
            if let Some(entry) = &entry {
                book.put(&self.run.label, entry.clone());
            }
            (claimed, entry)
        })?;
        let Some(entry) = entry else {
            return self.not_claimed(claimed);
        };
        self.entry = entry;
        if let Some(run) = RunRef::of_entry(&self.run.label, &self.entry) {
            self.run = run;
            self.is_new_run = true;
        }
        self.carry();
        Ok(None)
    }

    /// What claiming the attempt would make of the label, and its entry then.
    fn weigh(&self, book: &Book, attempt: &Attempt) -> (Claimed, Option<Entry>) {
        let (home, label) = (self.home, self.run.label.as_str());
        let Some(mut entry) = book.get(label) else {
            return (Claimed::No, None);
        };
        let others: Vec<Entry> = book
            .entries_containing("\"claim\"")
            .filter(|(other, _)| *other != label)
            .map(|(_, entry)| entry)
            .collect();
        let (own, now_ms) = (&home.config.retry, book.now_ms());
        let claimed = claim(
            label,
            &mut entry,
            &self.entry,
            attempt,
            &others,
            own,
            now_ms,
        );
        if claimed != Claimed::Yes {
            return (claimed, None);
        }
        charge(home, &self.run, self.reader).tell_retry(&mut entry, now_ms);
        (claimed, Some(entry))
    }

    fn not_claimed(&mut self, why: Claimed) -> Result<Option<Leaving>, LedgerError> {
        match why {
            Claimed::Held(left) => {
                self.held_until = Some(self.home.clock.monotonic() + left);
                self.voice.say(&format!(
                    "the retry waits for its turn: the provider is left alone for {} s",
                    left.as_secs().max(1)
                ));
                Ok(None)
            }
            Claimed::TooOld => self.end_retries("no turn to try again came in time"),
            Claimed::Yes | Claimed::No => {
                // Something else came first: the next look tells what.
                self.ledger_seen = None;
                Ok(None)
            }
        }
    }

    /// Records the last failure as the label's end: no retry can follow it.
    fn end_retries(&mut self, why: &str) -> Result<Option<Leaving>, LedgerError> {
        let Some(mut failure) = self.entry.failure() else {
            return Ok(None);
        };
        failure.message = format!("{}; {why}", failure.message);
        let settled = Settled::Failed {
            failure,
            partial: crate::backend::Text::Inline(String::new()),
            cancelled: false,
        };
        match self.conclude(Conclusion::Failed, &settled)? {
            Recorded::Overtaken => Ok(self.look_again()),
            Recorded::Yes | Recorded::No(_) => Ok(Some(Leaving::Ended)),
        }
    }
}
