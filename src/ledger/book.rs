//! The ledger's content: an index over the text that was read, and the entries changed since.
//!
//! Entries that nobody touches are never parsed and go back byte for byte, so a write costs one scan and one copy
//! however large the ledger is.

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, HashMap};
use std::io;

use serde_json::Value;

use super::index::{Damage, Name, Span, index_as_javascript_writes, place};
use crate::record::{Change, Entry, json};

/// After so many questions for single labels it is worth it to know where each of them stands.
const FEW_QUESTIONS: u32 = 8;

/// All labels and their entries.
#[derive(Debug, Clone, Default)]
pub struct Book {
    text: String,
    spans: Vec<Span>,
    /// Where each label's span is, once that is worth it.
    position: OnceCell<HashMap<String, usize>>,
    questions: Cell<u32>,
    changed: HashMap<String, Option<Entry>>,
    added: Vec<String>,
    overwritten_unread: Option<Damage>,
    now_ms: i64,
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
        Ok(Self {
            text,
            spans,
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
        let positions = self.positions();
        let listed = self.spans.iter().enumerate().filter_map(move |(n, span)| {
            let label = self.name(span);
            (positions.get(label) == Some(&n)).then_some(label)
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

    fn name<'a>(&'a self, span: &'a Span) -> &'a str {
        span.label.in_text(&self.text)
    }

    /// Where each label's span is. As in every JSON reader, of two equal labels the later one counts.
    fn positions(&self) -> &HashMap<String, usize> {
        self.position.get_or_init(|| {
            let spans = self.spans.iter().enumerate();
            spans
                .map(|(n, span)| (self.name(span).to_owned(), n))
                .collect()
        })
    }

    /// The span that counts for a label.
    fn span(&self, label: &str) -> Option<&Span> {
        let questions = self.questions.get().saturating_add(1);
        self.questions.set(questions);
        if questions > FEW_QUESTIONS || self.position.get().is_some() {
            return self.spans.get(*self.positions().get(label)?);
        }
        let mut last_first = self.spans.iter().rev();
        last_first.find(|span| self.name(span) == label)
    }

    /// The label's text as it was read.
    fn raw(&self, label: &str) -> Option<&str> {
        self.text.get(self.span(label)?.text.clone())
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
        if self.span(label).is_none() && !self.added.iter().any(|l| l == label) {
            self.added.push(label.to_owned());
        }
        self.changed.insert(label.to_owned(), Some(entry));
    }

    /// Takes a label out of the ledger.
    pub fn remove(&mut self, label: &str) {
        if self.span(label).is_some() || self.changed.contains_key(label) {
            self.changed.insert(label.to_owned(), None);
        }
    }

    /// Puts a new label at the end, its entry (a JSON object) as the text it is.
    pub fn restore_text(&mut self, label: &str, entry: &str) {
        let start = self.text.len();
        self.text.push_str(entry);
        if let Some(positions) = self.position.get_mut() {
            positions.insert(label.to_owned(), self.spans.len());
        }
        self.spans.push(Span {
            label: Name::Decoded(label.to_owned()),
            text: start..self.text.len(),
        });
    }

    /// The label is there.
    pub fn contains(&self, label: &str) -> bool {
        match self.changed.get(label) {
            Some(changed) => changed.is_some(),
            None => self.span(label).is_some(),
        }
    }

    /// What was wrong with an entry that [`Book::get`] could not read and that a change would overwrite: such a book
    /// must not be written.
    pub fn overwritten_unread(&self) -> Option<&Damage> {
        self.overwritten_unread.as_ref()
    }

    /// Why the label's entry, which is JSON, still cannot be read: too deep, or a number out of all range.
    pub fn unreadable(&self, label: &str) -> Option<Damage> {
        let span = self.span(label)?;
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

/// An entry from its text, which [`Book::parse`] knows to be an object.
pub(super) fn parse_entry(raw: &str) -> Result<Entry, serde_json::Error> {
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
    fn a_label_is_found_however_often_somebody_asks() {
        let text = r#"{"a": {"n": 1}, "\u0062\n": {"n": 2}, "a": {"n": 3}}"#;
        let mut book = book(text);
        let n = |book: &Book, label: &str| Some(book.get(label)?.value("n")?.clone());
        for turn in 0..2 * FEW_QUESTIONS {
            assert_eq!(n(&book, "a"), Some(json!(3)), "{turn}");
            assert_eq!(n(&book, "b\n"), Some(json!(2)), "{turn}");
            assert_eq!(n(&book, "c"), None, "{turn}");
            let added = format!("added{turn}");
            book.restore_text(&added, r#"{"n": 4}"#);
            assert_eq!(n(&book, &added), Some(json!(4)));
        }
        assert_eq!(book.labels().count(), 2 + 2 * FEW_QUESTIONS as usize);
    }

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
