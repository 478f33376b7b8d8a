//! The ledger's content: an index over the text that was read, and the entries changed since.
//!
//! Entries that nobody touches are never parsed and go back byte for byte, so a write costs one scan and one copy
//! however large the ledger is.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::ops::Range;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::record::{Change, Entry, json};

/// Where an entry's text stands in the ledger's.
#[derive(Debug, Clone)]
struct Span {
    label: String,
    text: Range<usize>,
}

/// All labels and their entries.
#[derive(Debug, Clone, Default)]
pub struct Book {
    text: String,
    spans: Vec<Span>,
    position: HashMap<String, usize>,
    changed: HashMap<String, Option<Entry>>,
    added: Vec<String>,
    overwritten_unread: Option<Damage>,
    now_ms: i64,
}

/// What makes a text no ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage(pub String);

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

struct Spans<'a>(&'a str);

impl<'de> Visitor<'de> for Spans<'de> {
    type Value = Vec<(Cow<'de, str>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of labels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        // An entry of ours has a thousand bytes or so; a guess too low only costs a few moves.
        let mut spans = Vec::with_capacity(self.0.len() / 1024 + 8);
        while let Some(label) = map.next_key::<Cow<'de, str>>()? {
            spans.push((label, map.next_value::<&'de RawValue>()?));
        }
        Ok(spans)
    }
}

/// Line and column (from 1, in bytes) of an offset.
fn place(text: &[u8], offset: usize) -> String {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|b| **b != b'\n').count() + 1;
    format!("line {line} column {column}")
}

impl Book {
    /// An empty ledger.
    pub fn empty(now_ms: i64) -> Self {
        Self {
            now_ms,
            ..Self::default()
        }
    }

    /// Indexes a ledger's text.
    ///
    /// # Errors
    /// When it is empty, NUL-filled, cut short, or anything but an object of objects.
    pub fn parse(bytes: Vec<u8>, now_ms: i64) -> Result<Self, Damage> {
        if bytes.is_empty() {
            return Err(Damage("the file is empty".to_owned()));
        }
        if let Some(nul) = bytes.iter().take(64).position(|b| *b == 0) {
            return Err(Damage(format!("NUL bytes at {}", place(&bytes, nul))));
        }
        let text = String::from_utf8(bytes).map_err(|e| {
            let at = e.utf8_error().valid_up_to();
            Damage(format!("invalid UTF-8 at {}", place(e.as_bytes(), at)))
        })?;
        let text = match text.strip_prefix('\u{feff}') {
            Some(marked) => marked.to_owned(),
            None => text,
        };
        let (text, spans) = index_as_javascript_writes(text)?;
        let mut position = HashMap::with_capacity(spans.len());
        for (n, span) in spans.iter().enumerate() {
            // As in every JSON reader, of two equal labels the later one counts.
            position.insert(span.label.clone(), n);
        }
        Ok(Self {
            text,
            spans,
            position,
            now_ms,
            ..Self::default()
        })
    }

    /// Wall time of this reading, ms since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The labels in the order of the file, new ones last.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        let listed = self.spans.iter().enumerate().filter_map(|(n, span)| {
            (self.position.get(&span.label) == Some(&n)).then_some(span.label.as_str())
        });
        listed
            .chain(self.added.iter().map(String::as_str))
            .filter(|label| !matches!(self.changed.get(*label), Some(None)))
    }

    /// The label's entry.
    pub fn get(&self, label: &str) -> Option<Entry> {
        match self.changed.get(label) {
            Some(changed) => changed.clone(),
            None => self.raw(label).and_then(|raw| parse_entry(raw).ok()),
        }
    }

    /// The label's text as it was read.
    fn raw(&self, label: &str) -> Option<&str> {
        let span = self.spans.get(*self.position.get(label)?)?;
        self.text.get(span.text.clone())
    }

    /// Every label with its entry.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Entry)> {
        self.labels()
            .filter_map(|label| Some((label, self.get(label)?)))
    }

    /// Every label whose text holds `needle` somewhere: a cheap sieve before entries are parsed.
    pub fn entries_containing(&self, needle: &str) -> impl Iterator<Item = (&str, Entry)> {
        let hit = move |label: &&str| match self.changed.contains_key(*label) {
            true => true,
            false => self.raw(label).is_some_and(|raw| raw.contains(needle)),
        };
        self.labels()
            .filter(hit)
            .filter_map(|label| Some((label, self.get(label)?)))
    }

    /// Writes an entry: moves its `updatedAt` and `rev`.
    pub fn put(&mut self, label: &str, mut entry: Entry) {
        entry.touch(self.now_ms);
        self.restore(label, entry);
    }

    /// Writes an entry as it is, with the `rev` it has.
    pub fn restore(&mut self, label: &str, entry: Entry) {
        if self.overwritten_unread.is_none() && !self.changed.contains_key(label) {
            self.overwritten_unread = self.unreadable(label);
        }
        if !self.position.contains_key(label) && !self.added.iter().any(|l| l == label) {
            self.added.push(label.to_owned());
        }
        self.changed.insert(label.to_owned(), Some(entry));
    }

    /// Takes a label out of the ledger.
    pub fn remove(&mut self, label: &str) {
        if self.position.contains_key(label) || self.changed.contains_key(label) {
            self.changed.insert(label.to_owned(), None);
        }
    }

    /// Puts a new label at the end, its entry (a JSON object) as the text it is.
    pub fn restore_text(&mut self, label: &str, entry: &str) {
        let start = self.text.len();
        self.text.push_str(entry);
        self.position.insert(label.to_owned(), self.spans.len());
        self.spans.push(Span {
            label: label.to_owned(),
            text: start..self.text.len(),
        });
    }

    /// The label is there.
    pub fn contains(&self, label: &str) -> bool {
        match self.changed.get(label) {
            Some(changed) => changed.is_some(),
            None => self.position.contains_key(label),
        }
    }

    /// What was wrong with an entry that [`Book::get`] could not read and that a change would overwrite: such a book
    /// must not be written.
    pub fn overwritten_unread(&self) -> Option<&Damage> {
        self.overwritten_unread.as_ref()
    }

    /// Why the label's entry, which is JSON, still cannot be read: too deep, or a number out of all range.
    pub fn unreadable(&self, label: &str) -> Option<Damage> {
        let span = self.spans.get(*self.position.get(label)?)?;
        let raw = self.text.get(span.text.clone())?;
        let error = parse_entry(raw).err()?;
        let lines: usize = raw
            .split_inclusive('\n')
            .take(error.line().saturating_sub(1))
            .map(str::len)
            .sum();
        let offset = lines + error.column().saturating_sub(1);
        let at = place(self.text.as_bytes(), span.text.start + offset);
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or_default();
        Some(Damage(format!(
            "the entry of label {label:?} cannot be read: {what} at {at}"
        )))
    }

    /// Something differs from what was read.
    pub fn is_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// The changed labels with what they become.
    pub fn changes(&self) -> BTreeMap<&str, Option<&Entry>> {
        self.changed
            .iter()
            .map(|(label, entry)| (label.as_str(), entry.as_ref()))
            .collect()
    }

    /// The changed labels as they were read and as they are now.
    pub fn changes_made(&self) -> Vec<Change> {
        let changed = self.changed.iter();
        changed
            .map(|(label, after)| Change {
                label: label.clone(),
                before: self.raw(label).and_then(|raw| parse_entry(raw).ok()),
                after: after.clone(),
            })
            .collect()
    }

    /// Writes the whole ledger: two-space indented, final newline.
    ///
    /// # Errors
    /// Whatever `out` says.
    pub fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let mut first = true;
        for label in self.labels() {
            out.write_all(if first { b"{\n  " } else { b",\n  " })?;
            first = false;
            serde_json::to_writer(&mut *out, label)?;
            out.write_all(b": ")?;
            match (self.changed.get(label), self.raw(label)) {
                (Some(Some(entry)), _) => out.write_all(pretty(entry).as_bytes())?,
                (_, Some(raw)) if is_pretty(raw) => out.write_all(raw.as_bytes())?,
                (_, Some(raw)) => match parse_entry(raw) {
                    Ok(entry) => out.write_all(pretty(&entry).as_bytes())?,
                    Err(_) => out.write_all(raw.as_bytes())?,
                },
                (_, None) => out.write_all(b"{}")?,
            }
        }
        out.write_all(if first { b"{}\n" } else { b"\n}\n" })
    }
}

/// The index; a label that JavaScript cut in the middle of a character is read as `record::json` reads texts.
fn index_as_javascript_writes(text: String) -> Result<(String, Vec<Span>), Damage> {
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

fn index(text: &str) -> Result<Vec<Span>, Damage> {
    let first = text.trim_start();
    if !first.is_empty() && !first.starts_with('{') {
        let at = place(text.as_bytes(), text.len() - first.len());
        return Err(Damage(format!("not an object of labels at {at}")));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let raw = deserializer
        .deserialize_map(Spans(text))
        .map_err(|e| Damage(e.to_string()))?;
    deserializer.end().map_err(|e| Damage(e.to_string()))?;
    let start = text.as_ptr() as usize;
    raw.into_iter()
        .map(|(label, raw)| {
            let raw = raw.get();
            let from = raw.as_ptr() as usize - start;
            if !raw.starts_with('{') {
                let at = place(text.as_bytes(), from);
                return Err(Damage(format!("label {label:?} is not an object, at {at}")));
            }
            Ok(Span {
                label: label.into_owned(),
                text: from..from + raw.len(),
            })
        })
        .collect()
}

/// An entry from its text, which [`Book::parse`] knows to be an object.
fn parse_entry(raw: &str) -> Result<Entry, serde_json::Error> {
    match json::parse_value(raw)? {
        Value::Object(fields) => Ok(Entry::from_fields(fields)),
        _ => Ok(Entry::new()),
    }
}

/// An entry that already stands as we would write it.
fn is_pretty(raw: &str) -> bool {
    raw == "{}" || raw.starts_with("{\n    \"")
}

fn pretty(entry: &Entry) -> String {
    let text = serde_json::to_string_pretty(entry.fields())
        .expect("a JSON object with text keys is always serialisable");
    // Texts hold no raw line breaks in JSON, so each of these is one of the layout.
    text.replace('\n', "\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn book(text: &str) -> Book {
        Book::parse(text.as_bytes().to_vec(), 1_000).expect("a sound ledger")
    }

    fn written(book: &Book) -> String {
        let mut out = Vec::new();
        book.write_to(&mut out).expect("a vector takes everything");
        String::from_utf8(out).expect("JSON is UTF-8")
    }

    fn entry(value: Value) -> Entry {
        Entry::from_fields(value.as_object().cloned().expect("an object"))
    }

    const TWO: &str = "{\n  \"a\": {\n    \"status\": \"done\",\n    \"big\": 12345678901234567890123\n  },\n  \"b\": {}\n}\n";

    #[test]
    fn untouched_entries_go_back_byte_for_byte() {
        let mut b = book(TWO);
        assert_eq!(written(&b), TWO);
        b.restore("c", entry(json!({"x": [1, {"y": "é\n"}]})));
        let expected = TWO.replace(
            "{}\n}\n",
            "{},\n  \"c\": {\n    \"x\": [\n      1,\n      {\n        \"y\": \"é\\n\"\n      }\n    ]\n  }\n}\n",
        );
        assert_eq!(written(&b), expected);
        assert_eq!(written(&book(&expected)), expected);
    }

    #[test]
    fn a_minified_ledger_is_laid_out() {
        assert_eq!(
            written(&book("{\"a\":{\"s\":1},\"b\":{}}")),
            "{\n  \"a\": {\n    \"s\": 1\n  },\n  \"b\": {}\n}\n"
        );
        assert_eq!(written(&book("{}")), "{}\n");
    }

    #[test]
    fn of_two_equal_labels_the_later_counts_and_one_is_written() {
        let b = book("{\"a\":{\"n\":1},\"a\":{\"n\":2}}");
        assert_eq!(b.labels().collect::<Vec<_>>(), ["a"]);
        assert_eq!(b.get("a").and_then(|e| e.number("n")), Some(2));
        assert_eq!(written(&b), "{\n  \"a\": {\n    \"n\": 2\n  }\n}\n");
    }

    #[test]
    fn put_moves_rev_and_time_and_remove_takes_out() {
        let mut b = book(TWO);
        let e = b.get("b").expect("listed");
        b.put("b", e);
        assert_eq!(b.get("b").map(|e| e.rev()), Some(1));
        assert_eq!(b.get("b").and_then(|e| e.time("updatedAt")), Some(1_000));
        b.remove("a");
        b.remove("never-there");
        assert_eq!(b.labels().collect::<Vec<_>>(), ["b"]);
        assert!(!written(&b).contains("\"a\""));
    }

    #[test]
    fn a_lone_surrogate_in_a_text_does_not_hide_the_entry() {
        let b = book("{\"a\":{\"taskPrompt\":\"cut \\ud83d\",\"status\":\"done\"}}");
        let e = b.get("a").expect("readable");
        assert_eq!(e.text("taskPrompt"), Some("cut \u{fffd}"));
    }

    #[test]
    fn damage_is_named_with_its_place() {
        let cases: [(&[u8], &str); 8] = [
            (b"", "the file is empty"),
            (b"\0\0\0", "NUL bytes at line 1 column 1"),
            (
                b"{\n  \"a\": {\"s\": 1",
                "EOF while parsing an object at line 2 column 14",
            ),
            (b"[]", "not an object of labels at line 1 column 1"),
            (
                b"{\n  \"a\": 7\n}",
                "label \"a\" is not an object, at line 2 column 8",
            ),
            (b"{} x", "trailing characters at line 1 column 4"),
            (b"{\"a\": {}}\0\0", "NUL bytes at line 1 column 10"),
            (b"{\"\xff\": {}}", "invalid UTF-8 at line 1 column 3"),
        ];
        for (bytes, what) in cases {
            let damage = Book::parse(bytes.to_vec(), 0).expect_err("damaged");
            assert_eq!(
                damage.to_string(),
                what,
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
    }
}
