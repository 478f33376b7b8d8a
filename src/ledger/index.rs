//! Where a ledger's labels and entries stand in its text. Pure.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::record::json;

/// Where an entry's text stands in the ledger's.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub label: Name,
    pub text: Range<usize>,
}

/// A label, which as a rule stands in the text as it is.
#[derive(Debug, Clone)]
pub(super) enum Name {
    Here(Range<usize>),
    Decoded(String),
}

impl Name {
    pub fn in_text<'a>(&'a self, text: &'a str) -> &'a str {
        match self {
            Name::Here(place) => text.get(place.clone()).unwrap_or_default(),
            Name::Decoded(label) => label,
        }
    }
}

/// What makes a text no ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage(pub String);

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A label as it is read: copied only where it holds escapes.
#[derive(Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

struct Spans<'a>(&'a str);

impl<'de> Visitor<'de> for Spans<'de> {
    type Value = Vec<Span>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        // An entry of ours has a thousand bytes or so; a guess too low only costs a few moves.
        let mut spans = Vec::with_capacity(self.0.len() / 1024 + 8);
        let start = self.0.as_ptr() as usize;
        let place = |part: &str| {
            let from = part.as_ptr() as usize - start;
            from..from + part.len()
        };
        while let Some(Key(label)) = map.next_key()? {
            let label = match label {
                Cow::Borrowed(label) => Name::Here(place(label)),
                Cow::Owned(label) => Name::Decoded(label),
            };
            let text = place(map.next_value::<&'de RawValue>()?.get());
            spans.push(Span { label, text });
        }
        Ok(spans)
    }
}

/// Line and column (from 1, in bytes) of an offset.
pub(super) fn place(text: &[u8], offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    format!("line {line} column {column}")
}

/// The index; a label that JavaScript cut in the middle of a character is read as `record::json` reads texts.
pub(super) fn index_as_javascript_writes(text: String) -> Result<(String, Vec<Span>), Damage> {
    let error = match index(&text) {
        Ok(spans) => return Ok((text, spans)),
        Err(error) => error,
    };
    let repaired = json::repair_surrogates(&text).ok_or(error.clone())?;
    match index(&repaired) {
        Ok(spans) => Ok((repaired, spans)),
        Err(_) => Err(error),
    }
}

/// The spans of a ledger's text, in its order.
///
/// # Errors
/// When it is anything but an object of objects.
pub(super) fn index(text: &str) -> Result<Vec<Span>, Damage> {
    let first = text.trim_start();
    if !first.is_empty() && !first.starts_with('{') {
        let at = place(text.as_bytes(), text.len() - first.len());
        return Err(Damage(format!("not an object of labels at {at}")));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let spans = deserializer
        .deserialize_map(Spans(text))
        .map_err(|e| Damage(e.to_string()))?;
    deserializer.end().map_err(|e| Damage(e.to_string()))?;
    let is_object = |span: &&Span| text.as_bytes().get(span.text.start) == Some(&b'{');
    match spans.iter().find(|span| !is_object(span)) {
        None => Ok(spans),
        Some(span) => {
            let at = place(text.as_bytes(), span.text.start);
            let label = span.label.in_text(text);
            Err(Damage(format!("label {label:?} is not an object, at {at}")))
        }
    }
}
