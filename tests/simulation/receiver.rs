//! The simulated receivers of deliveries: they take a message, refuse it, or leave it open whether they took it; and they
//! remember the keys of what they took for a while.

use std::time::Duration;

use dispatch::delivery::outbox::Outcome;
use dispatch::record::Delivery;
use serde_json::json;

use super::random::Random;

/// How long keys are remembered, and asked to be waited for.
const MEMORY_MS: i64 = 5 * 60_000;

/// A message under way.
#[derive(Debug)]
pub struct Sending {
    pub id: u64,
    pub label: usize,
    pub record: Delivery,
    arrives_at: i64,
    answers_at: i64,
    fate: Fate,
    outcome: Option<Outcome>,
    is_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Taken,
    /// It is taken, and the answer is lost.
    TakenUnanswered,
    Lost,
    Failed,
    Refused,
}

/// All receivers.
#[derive(Debug, Default)]
pub struct Receivers {
    sendings: Vec<Sending>,
    /// Keys, and until when they are remembered.
    known: Vec<(String, i64)>,
    /// Keys whose try it refused for now, and until when it answers them so from memory.
    failed: Vec<(String, i64)>,
    /// It does that at all.
    pub remembers_failures: bool,
    pub down_until: i64,
    /// It refuses for ever: the chat has left.
    pub refuses: bool,
    last_id: u64,
}

impl Receivers {
    /// A message goes out. Returns what its end is asked for by.
    pub fn send(
        &mut self,
        label: usize,
        record: &Delivery,
        now: i64,
        has_faults: bool,
        random: &mut Random,
    ) -> u64 {
        let fate = match (
            self.refuses && has_faults,
            now < self.down_until,
            has_faults,
        ) {
            (true, _, _) => Fate::Refused,
            (_, true, _) => random.pick(&[Fate::Failed, Fate::Lost, Fate::Failed]),
            (_, _, false) => Fate::Taken,
            (_, _, true) => random.pick(&[
                Fate::Taken,
                Fate::Taken,
                Fate::Taken,
                Fate::Failed,
                Fate::TakenUnanswered,
                Fate::Lost,
            ]),
        };
        let arrives_at = now + random.between(1, 400);
        let answers_at = match fate {
            Fate::TakenUnanswered | Fate::Lost => arrives_at + 30_000,
            _ => arrives_at + random.between(1, 400),
        };
        self.last_id += 1;
        self.sendings.push(Sending {
            id: self.last_id,
            label,
            record: record.clone(),
            arrives_at,
            answers_at,
            fate,
            outcome: None,
            is_over: false,
        });
        self.last_id
    }

    pub fn next_at(&self) -> Option<i64> {
        let arrivals = self.sendings.iter().filter(|s| s.outcome.is_none());
        arrivals.map(|s| s.arrives_at).min()
    }

    /// What arrives by `now`; the answer says whether it is shown to people, or recognised as known.
    pub fn advance(&mut self, now: i64) -> Vec<(Delivery, usize)> {
        let mut shown = Vec::new();
        self.sendings.retain(|sending| !sending.is_over);
        for sending in &mut self.sendings {
            if sending.outcome.is_some() || sending.arrives_at > now {
                continue;
            }
            let key = sending.record.key_of_try();
            let is_refused = |(failed, until): &(String, i64)| *failed == key && *until > now;
            if self.failed.iter().any(is_refused) {
                sending.fate = Fate::Failed;
            }
            if sending.fate == Fate::Failed && self.remembers_failures {
                self.failed.push((key.clone(), now + MEMORY_MS));
            }
            let is_taken = matches!(sending.fate, Fate::Taken | Fate::TakenUnanswered);
            let is_known = self
                .known
                .iter()
                .any(|(known, until)| *known == key && *until > now);
            if is_taken && !is_known {
                self.known.push((key, now + MEMORY_MS));
                shown.push((sending.record.clone(), sending.label));
            }
            let why = "said".to_owned();
            sending.outcome = Some(match sending.fate {
                Fate::Taken => Outcome::Delivered {
                    receipt: json!("taken"),
                },
                Fate::Failed => {
                    let failed = Outcome::Failed {
                        why,
                        retry_after: None,
                    };
                    match self.remembers_failures {
                        true => Outcome::Spent(Box::new(failed)),
                        false => failed,
                    }
                }
                Fate::Refused => Outcome::Refused { why },
                Fate::TakenUnanswered | Fate::Lost => Outcome::Unknown {
                    why,
                    retry_after: None,
                    remembered: Some(Duration::from_secs(10)),
                },
            });
        }
        shown
    }

    /// The end of a sending, once its sender hears of it.
    pub fn outcome(&mut self, id: u64, now: i64) -> Option<Outcome> {
        let sending = self.sendings.iter_mut().find(|s| s.id == id)?;
        if sending.answers_at > now {
            return None;
        }
        sending.is_over = sending.outcome.is_some();
        sending.outcome.clone()
    }

    /// When the sender hears of it.
    pub fn answers_at(&self, id: u64) -> i64 {
        let sending = self.sendings.iter().find(|s| s.id == id);
        sending.map_or(0, |sending| sending.answers_at)
    }

    /// Its sender has died: what was not out yet stays where it was.
    pub fn break_off(&mut self, id: u64, random: &mut Random) {
        let is_out = random.chance(500);
        self.sendings
            .retain(|s| s.id != id || (s.outcome.is_none() && is_out));
        for sending in self.sendings.iter_mut().filter(|s| s.id == id) {
            sending.answers_at = i64::MIN;
        }
    }

    /// What they remembered is forgotten.
    pub fn restart(&mut self) {
        self.known.clear();
        self.failed.clear();
    }
}
