//! Reading what a damaged ledger's text still holds. Pure.
//!
//! Labels are read one after another as long as each stands where a label must. Behind what cannot be read the next place
//! is looked for where a label can only be: at the indentation of the ledger's labels, or, in a text without lines, where
//! a whole entry stands whose surroundings close the ledger and not an entry. So an object inside an entry is not taken
//! for one. Limitations: damage that leaves valid JSON is not seen, and of two places that are damaged at once in a text
//! without lines, the labels of broken entries between them are not known.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::record::{Entry, json};

/// What could be read out of a damaged ledger's text.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Salvage {
    /// Entries that are whole, as the text they are.
    pub entries: Vec<(String, String)>,
    /// Labels whose entries are not.
    pub broken: Vec<String>,
}

/// How labels stand where the ledger is laid out in lines, unless its beginning says otherwise.
const USUAL_LEAD: &[u8] = b"\n  \"";

/// Names of objects that stand inside entries. With the fields of the entry around it, which it has when it has lost its
/// brace, or with words of an agent's own, such an object may look like an entry.
const INSIDE: [&str; 13] = [
    "baseline",
    "cancelRequested",
    "checklist",
    "claim",
    "completion",
    "content",
    "debug",
    "details_technical",
    "failure",
    "fallbackUse",
    "receipt",
    "stopRequested",
    "watchdog",
];

/// Reads every entry that parses out of a damaged text. Never fails: the worst text holds nothing.
pub fn salvage(bytes: &[u8]) -> Salvage {
    let text = Text::new(bytes);
    let mut found = Salvage::default();
    let mut run = Run::default();
    let (mut at, mut is_in_step) = match text.start {
        Some(start) => (start, true),
        None => (0, false),
    };
    loop {
        let next = match is_in_step {
            true => text.next(at),
            false => Next::Lost(at),
        };
        let quote = match next {
            Next::Label(quote) => quote,
            Next::Lost(from) => {
                found.take(std::mem::take(&mut run));
                let Some(quote) = text.find_label(from) else {
                    break;
                };
                quote
            }
            Next::Inside(from) => {
                found.take(std::mem::take(&mut run).without_the_inside());
                (at, is_in_step) = (from, false);
                continue;
            }
        };
        (at, is_in_step) = text.read(quote, &mut run);
    }
    let whole: BTreeSet<&String> = found.entries.iter().map(|(label, _)| label).collect();
    found.broken.retain(|label| !whole.contains(label));
    found
}

impl Salvage {
    fn take(&mut self, run: Run) {
        for (label, entry) in run.0 {
            match entry {
                Some(entry) => {
                    self.entries.retain(|(other, _)| *other != label);
                    self.entries.push((label, entry));
                }
                None => self.broken.push(label),
            }
        }
    }
}

/// Labels that were read one after another: each with its entry, or without where that is broken.
#[derive(Default)]
struct Run(Vec<(String, Option<String>)>);

impl Run {
    fn push(&mut self, label: String, entry: Option<&str>) {
        self.0.push((label, entry.map(str::to_owned)));
    }

    /// An entry that a stray brace ended too early is followed by what is inside of it. Where that begins, the last object
    /// says that looks like an entry; what comes first behind it may be the label of one that does not any more.
    fn without_the_inside(mut self) -> Self {
        let is_entry = |(_, entry): &(String, Option<String>)| {
            entry.as_deref().is_some_and(looks_like_an_entry)
        };
        let kept = self.0.iter().rposition(is_entry).map_or(0, |n| n + 1);
        self.0.truncate(kept + 1);
        if let Some((_, entry)) = self.0.get_mut(kept) {
            *entry = None;
        }
        self
    }
}

/// What comes behind a label's entry.
enum Next {
    /// A label whose quote is here.
    Label(usize),
    /// Nothing that says where the next label is: it is to be looked for from here.
    Lost(usize),
    /// What was read last is inside an entry, which ends here.
    Inside(usize),
}

/// What a closing brace closes, as far as what is behind it tells.
#[derive(PartialEq)]
enum Closes {
    Ledger,
    Entry,
    Unknown,
}

struct Text<'a> {
    bytes: &'a [u8],
    /// Where the first label may start; `None` where the beginning is damaged.
    start: Option<usize>,
    /// The line break, the blanks and the quote with which each label begins, where the text has lines.
    lead: Option<&'a [u8]>,
    /// Lines of an entry are indented deeper than its label, so that the lead alone tells a label.
    is_indented: bool,
}

impl<'a> Text<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let brace = skip_space(bytes, 0);
        let start = (bytes.get(brace) == Some(&b'{')).then_some(brace + 1);
        let first = start.and_then(|start| bytes.get(start..=skip_space(bytes, start)));
        let lead = match first {
            Some(lead) => Some(lead).filter(|lead| is_lead(lead)),
            None => find(bytes, 0, USUAL_LEAD).map(|_| USUAL_LEAD),
        };
        let is_indented = lead
            .and_then(|lead| lead.split_last())
            .is_some_and(|(_, blanks)| {
                let deeper = |blank: &[u8]| find(bytes, 0, &[blanks, blank].concat()).is_some();
                deeper(b" ") || deeper(b"\t")
            });
        Self {
            bytes,
            start,
            lead,
            is_indented,
        }
    }

    /// What comes from `at` on, which is right behind an entry or the ledger's opening brace.
    fn next(&self, at: usize) -> Next {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let Some(place) = rest.iter().position(|b| matches!(b, b'"' | b'}')) else {
            return Next::Lost(self.bytes.len());
        };
        let place = at + place;
        let is_brace = self.bytes.get(place) == Some(&b'}');
        match is_brace {
            true if !self.is_indented && self.closed_by(place) == Closes::Entry => {
                Next::Inside(place + 1)
            }
            true => Next::Lost(place + 1),
            false if self.is_indented && !self.is_in_place(place) => Next::Lost(place),
            false => Next::Label(place),
        }
    }

    /// Reads the label whose quote is at `quote`, and its entry. Returns from where to go on, and whether the next label
    /// is expected there.
    fn read(&self, quote: usize, run: &mut Run) -> (usize, bool) {
        let Some((label, value)) = self.label_at(quote) else {
            let label = parse_at::<String>(self.bytes, quote).map(|(label, _)| label);
            if let Some(label) = label {
                run.push(label, None);
            }
            return (quote + 1, false);
        };
        match parse_at::<&RawValue>(self.bytes, value) {
            Some((entry, end)) if is_object(entry) && !self.swallows(entry, end) => {
                run.push(label, Some(entry.get()));
                (end, true)
            }
            // A whole value of another kind is where it ends, however the text is laid out.
            Some((entry, end)) if !is_object(entry) && self.is_followed(end) => {
                run.push(label, None);
                (end, true)
            }
            _ => {
                run.push(label, None);
                (value, false)
            }
        }
    }

    /// The next label's quote, in a text of which it is not known how deep in it we are.
    fn find_label(&self, from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let quote = find(self.bytes, at, b"\"")?;
            if self.is_label(quote) {
                return Some(quote);
            }
            at = quote + 1;
        }
    }

    fn is_label(&self, quote: usize) -> bool {
        let Some((label, value)) = self.label_at(quote) else {
            return false;
        };
        let is_in_place = self.is_in_place(quote);
        let Some((entry, end)) = parse_at::<&RawValue>(self.bytes, value) else {
            return is_in_place && (self.is_indented || self.bytes.get(value) == Some(&b'{'));
        };
        let looks_right = !INSIDE.contains(&label.as_str()) && looks_like_an_entry(entry.get());
        match (is_in_place, looks_right) {
            (false, false) => false,
            (true, true) if self.is_indented => true,
            _ => match self.closes(end) {
                Closes::Entry => false,
                Closes::Ledger => true,
                Closes::Unknown if self.is_indented => is_in_place,
                Closes::Unknown => looks_right,
            },
        }
    }

    /// A label, and where its value starts.
    fn label_at(&self, quote: usize) -> Option<(String, usize)> {
        let (label, after) = parse_at::<String>(self.bytes, quote)?;
        let colon = skip_space(self.bytes, after);
        (self.bytes.get(colon) == Some(&b':')).then(|| (label, skip_space(self.bytes, colon + 1)))
    }

    /// The quote stands where those of labels do.
    fn is_in_place(&self, quote: usize) -> bool {
        let before = self.bytes.get(..=quote).unwrap_or_default();
        self.lead.is_some_and(|lead| before.ends_with(lead))
    }

    /// What the members from `at` on are closed by: those of the ledger by its last brace.
    fn closes(&self, mut at: usize) -> Closes {
        loop {
            at = skip_space(self.bytes, at);
            if self.bytes.get(at) == Some(&b'}') {
                return self.closed_by(at);
            }
            let next = (self.bytes.get(at) == Some(&b','))
                .then(|| self.label_at(skip_space(self.bytes, at + 1)))
                .flatten()
                .and_then(|(_, value)| parse_at::<&RawValue>(self.bytes, value));
            let Some((_, end)) = next else {
                return Closes::Unknown;
            };
            at = end;
        }
    }

    fn closed_by(&self, brace: usize) -> Closes {
        match self.bytes.get(self.skip_end(brace + 1)) {
            None => Closes::Ledger,
            Some(b',' | b'}' | b']') => Closes::Entry,
            Some(_) => Closes::Unknown,
        }
    }

    /// An entry that has lost a closing brace takes the labels behind it for its own.
    fn swallows(&self, entry: &RawValue, end: usize) -> bool {
        if let Some(lead) = self.lead.filter(|_| self.is_indented) {
            return find(entry.get().as_bytes(), 0, lead).is_some();
        }
        if self.skip_end(end) < self.bytes.len() {
            return false;
        }
        let Ok(Value::Object(members)) = json::parse_value(entry.get()) else {
            return false;
        };
        let mut members = members.into_iter();
        members.any(|(name, value)| !INSIDE.contains(&name.as_str()) && is_entry(value))
    }

    /// What stands there goes on with the next label, or ends the ledger.
    fn is_followed(&self, at: usize) -> bool {
        let next = self.bytes.get(skip_space(self.bytes, at));
        matches!(next, Some(b',' | b'}'))
    }

    /// Past the blanks, and the NUL bytes that a crash may leave at a file's end.
    fn skip_end(&self, from: usize) -> usize {
        let rest = self.bytes.get(from..).unwrap_or_default();
        let is_nothing = |b: &&u8| b.is_ascii_whitespace() || **b == 0;
        from + rest.iter().take_while(is_nothing).count()
    }
}

fn is_lead(text: &[u8]) -> bool {
    text.contains(&b'\n') && text.ends_with(b"\"")
}

fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

/// It has what every entry has and nothing inside one: a status, and when that was.
fn looks_like_an_entry(text: &str) -> bool {
    json::parse_value(text).is_ok_and(is_entry)
}

fn is_entry(value: Value) -> bool {
    let Value::Object(fields) = value else {
        return false;
    };
    let entry = Entry::from_fields(fields);
    let has_time = |name: &str| entry.time(name).is_some();
    entry.text("status").is_some() && (has_time("updatedAt") || has_time("spawnedAt"))
}

fn find(bytes: &[u8], from: usize, needle: &[u8]) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(needle.len())
        .position(|window| window == needle)
        .map(|n| from + n)
}

fn skip_space(bytes: &[u8], from: usize) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    from + rest.iter().take_while(|b| b.is_ascii_whitespace()).count()
}

/// One JSON value that starts at `at`, and where it ends.
fn parse_at<'a, T: Deserialize<'a>>(bytes: &'a [u8], at: usize) -> Option<(T, usize)> {
    let mut values = serde_json::Deserializer::from_slice(bytes.get(at..)?).into_iter::<T>();
    let value = values.next()?.ok()?;
    Some((value, at + values.byte_offset()))
}

#[cfg(test)]
#[path = "salvage_tests.rs"]
mod tests;
