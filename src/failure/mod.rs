//! Why a run failed, and what is done about it: one taxonomy for every source of evidence. Pure.
//!
//! Typed facts win over words, and the failover reason over the other typed facts. Words count only where a cause begins,
//! in forms that providers and gateways are known to write: a number or a word somewhere in a text says nothing. Who wrote the
//! text counts too: a program's last words may begin with any number. What is put together of several causes is taken apart,
//! and what decided is named. What a text does not prove stays [`FailureKind::Unknown`].

mod causes;
mod facts;
pub mod policy;
pub mod retry_after;
mod words;

use serde::Deserialize;
use serde_json::{Map, Value};

pub use facts::Facts;

use crate::record::{Failure, FailureKind};

/// How much a piece of evidence proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Certainty {
    /// Better evidence may say otherwise: an HTTP 400 may be a full context.
    Suggests,
    /// It names the kind.
    Says,
}

/// Who wrote a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    /// A gateway or a provider, which tells of an error: the number that it begins with is a status.
    Provider,
    /// Any program: the number that it begins with may count its tests.
    Program,
}

/// What was made of the evidence of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// The kind.
    pub kind: FailureKind,
    /// The words that decided, where they are only a part of the text: one of several causes.
    pub decided_by: Option<String>,
    /// The provider of the cause that decided.
    pub provider: Option<String>,
    /// The model of the cause that decided.
    pub model: Option<String>,
    /// How long the provider asked to wait, in ms from `now`.
    pub retry_after_ms: Option<u64>,
    /// Of a time-out: it was the model that did not answer in time.
    pub model_silent: bool,
}

/// The most characters of the words that decided that are kept.
const DECIDED_BY_CHARS: usize = 500;

impl Reading {
    /// It is the model's side that failed.
    pub fn is_models(&self) -> bool {
        policy::of(self.kind).model_side || self.model_silent
    }

    /// The failure as the ledger keeps it; `message` for people, `at_ms` since the epoch.
    pub fn into_failure(self, message: impl Into<String>, at_ms: i64) -> Failure {
        let mut failure = Failure::new(self.kind, message, at_ms);
        failure.provider = self.provider;
        failure.model = self.model;
        failure.retry_after_ms = self.retry_after_ms;
        failure.model_silent = self.model_silent;
        if let Some(words) = self.decided_by {
            let words: String = words.chars().take(DECIDED_BY_CHARS).collect();
            failure.extra.insert("decidedBy".to_owned(), words.into());
        }
        failure
    }

    /// Writes it on a run's end line, where [`of_local_end`] reads it.
    pub fn note_on(&self, note: &mut Map<String, Value>) {
        let words = self.decided_by.as_ref();
        let words = words.map(|words| words.chars().take(DECIDED_BY_CHARS).collect::<String>());
        let fields = [
            ("decidedBy", words.map(Value::from)),
            ("provider", self.provider.clone().map(Value::from)),
            ("model", self.model.clone().map(Value::from)),
            ("retryAfterMs", self.retry_after_ms.map(Value::from)),
            ("modelSilent", self.model_silent.then_some(true.into())),
        ];
        note.insert("kind".to_owned(), serde_json::json!(self.kind));
        let known = fields
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        note.extend(known.map(|(name, value)| (name.to_owned(), value)));
    }
}

impl From<FailureKind> for Reading {
    /// A kind with nothing more known.
    fn from(kind: FailureKind) -> Self {
        Self {
            kind,
            decided_by: None,
            provider: None,
            model: None,
            retry_after_ms: None,
            model_silent: false,
        }
    }
}

/// Reads the evidence of one failure: its typed facts and its words (empty where there are none). `now_ms` (since the epoch)
/// is for times of day in a retry-after.
pub fn read(facts: &Facts, text: &str, now_ms: i64) -> Reading {
    weighed(facts, causes::read(text, Speaker::Provider, now_ms))
}

/// As [`read`], from a gateway's or a provider's words alone.
pub fn read_text(text: &str, now_ms: i64) -> Reading {
    read(&Facts::default(), text, now_ms)
}

/// Reads the last line of a program that failed, which may be an agent that quotes its provider. A number in front of it is a
/// status only where the words behind it, or a wrapper around it, are of a provider's error.
pub fn read_last_words(line: &str, now_ms: i64) -> Reading {
    let said = causes::read(line, Speaker::Program, now_ms);
    weighed(&Facts::default(), said)
}

fn weighed(facts: &Facts, said: causes::Said) -> Reading {
    let typed = facts.verdict();
    let (kind, by_words) = match (typed, said.verdict) {
        (Some((kind, Certainty::Says)), _) => (kind, false),
        // The session's file changed because the gateway tried again: the provider's error is the cause.
        (Some((kind, _)), Some((FailureKind::SessionTakeover, _))) => (kind, false),
        (_, Some((kind, Certainty::Says))) => (kind, true),
        (Some((FailureKind::Model, _)), Some((kind, _))) => (kind, true),
        (Some((kind, _)), _) => (kind, false),
        (None, Some((kind, _))) => (kind, true),
        (None, None) => (FailureKind::Unknown, false),
    };
    let (provider, model) = match by_words {
        true => (said.provider.or_else(|| facts.provider.clone()), said.model),
        false => (facts.provider.clone(), None),
    };
    let is_silent = said.model_silent || facts.tell_of_silence();
    Reading {
        kind,
        model_silent: kind == FailureKind::Timeout && is_silent,
        decided_by: said.decided_by.filter(|_| by_words),
        provider,
        model: model.or_else(|| facts.model.clone()),
        retry_after_ms: facts
            .retry_after_ms
            .or(said.retry_after_ms)
            .filter(|_| policy::of(kind).waits),
    }
}

/// What the local runner noted on a run's end line says about its failure. The note counts alone: the words of any command
/// are no provider's, whatever they look like.
pub fn of_local_end(note: Option<&Value>, message: Option<&str>, at_ms: i64) -> Failure {
    let kind = note
        .and_then(|note| note.get("kind"))
        .and_then(|kind| FailureKind::deserialize(kind).ok())
        .unwrap_or(FailureKind::Unknown);
    let words = note.and_then(|note| note.get("decidedBy")?.as_str());
    let facts = note.map(Facts::from_value).unwrap_or_default();
    let reading = Reading {
        kind,
        decided_by: words.map(str::to_owned),
        model_silent: note.is_some_and(|note| note.get("modelSilent") == Some(&Value::Bool(true))),
        provider: facts.provider,
        model: facts.model,
        retry_after_ms: facts.retry_after_ms.filter(|_| policy::of(kind).waits),
    };
    reading.into_failure(
        message.unwrap_or("the run failed without saying why"),
        at_ms,
    )
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
