//! One label's entry out of a large ledger, which is read piece by piece through one buffer.
//!
//! Memory that a process touches for the first time costs more than what is done with it: to hold ten megabytes takes
//! longer than to look through them. A piece ends where an entry does, by the layout in which every ledger of ours is
//! written, and is then a JSON object of its own. Any other text makes larger pieces, at the most one.

use std::io::{self, Read};

use super::book::parse_entry;
use super::index::index;
use crate::record::Entry;

/// No ledger below this size is read in pieces; a piece has it, too, unless an entry is larger.
pub(super) const PIECE_BYTES: usize = 256 * 1024;

/// The end of an entry that another one follows. No line break stands in a JSON text, so this is none's content; where it
/// ends something deeper in the ledger, the piece is no whole object.
const ENTRY_END: &[u8] = b"\n  },";

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) enum Search {
    Found(Entry),
    /// The ledger is sound and does not have it.
    Absent,
    /// Something is unusual; whoever reads the whole ledger can say what.
    Unclear,
}

/// Looks through all of `ledger`, so that no damage is passed over. As in every JSON reader the later of two equal labels
/// counts.
///
/// # Errors
/// When it cannot be read.
pub(super) fn search(ledger: &mut dyn Read, label: &str) -> io::Result<Search> {
    let mut buffer = vec![0; PIECE_BYTES];
    let mut filled = 0;
    let mut is_first = true;
    let mut found = Search::Absent;
    loop {
        let is_end = fill(ledger, &mut buffer, &mut filled)?;
        let cut = match is_end {
            true => None,
            false => last_entry_end(buffer.get(..filled).unwrap_or_default()),
        };
        let piece_end = match (is_end, cut) {
            (true, _) => filled,
            (false, Some(comma)) => {
                // The piece is closed in the place of the comma.
                buffer[comma] = b'}';
                comma + 1
            }
            (false, None) => {
                buffer.resize(buffer.len() * 2, 0);
                continue;
            }
        };
        let piece = buffer.get(..piece_end).unwrap_or_default();
        match entry_in(piece, label, is_first) {
            Search::Absent => {}
            Search::Unclear => return Ok(Search::Unclear),
            entry => found = entry,
        }
        if is_end {
            return Ok(found);
        }
        // The rest is opened in the place of the comma.
        buffer.copy_within(piece_end..filled, 1);
        buffer[0] = b'{';
        filled = filled - piece_end + 1;
        is_first = false;
    }
}

/// Fills the buffer. True when the ledger ended before that.
fn fill(ledger: &mut dyn Read, buffer: &mut [u8], filled: &mut usize) -> io::Result<bool> {
    while let Some(room) = buffer.get_mut(*filled..).filter(|room| !room.is_empty()) {
        match ledger.read(room) {
            Ok(0) => return Ok(true),
            Ok(count) => *filled += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(false)
}

/// Where the comma after the last whole entry is.
fn last_entry_end(bytes: &[u8]) -> Option<usize> {
    let windows = bytes.windows(ENTRY_END.len());
    let start = windows.rev().position(|window| window == ENTRY_END)?;
    Some(bytes.len() - 1 - start)
}

fn entry_in(piece: &[u8], label: &str, is_first: bool) -> Search {
    let Ok(text) = std::str::from_utf8(piece) else {
        return Search::Unclear;
    };
    let Ok(spans) = index(text) else {
        return Search::Unclear;
    };
    // After a comma something has to follow.
    if spans.is_empty() && !is_first {
        return Search::Unclear;
    }
    let mut last_first = spans.iter().rev();
    let Some(span) = last_first.find(|span| span.label.in_text(text) == label) else {
        return Search::Absent;
    };
    let raw = text.get(span.text.clone()).unwrap_or_default();
    parse_entry(raw).map_or(Search::Unclear, Search::Found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Book;

    /// Gives as few bytes at a time as it likes.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len()).min(self.0.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn found(text: &str, label: &str) -> Search {
        let whole = search(&mut text.as_bytes(), label).expect("readable");
        let drops = search(&mut Drops(text.as_bytes(), 4_099), label).expect("readable");
        assert_eq!(whole, drops);
        whole
    }

    /// A ledger of several pieces, with entries of all sizes.
    fn many() -> String {
        let mut text = String::from("{");
        for n in 0..700 {
            let comma = if n == 0 { "" } else { "," };
            let words = "\\\"{\\n  },é ".repeat(n * 7 % 190);
            text += &format!(
                "{comma}\n  \"l{n}\": {{\n    \"n\": {n},\n    \"deep\": {{\n      \"a\": []\n    }},\n    \"w\": \"{words}\"\n  }}"
            );
        }
        text + "\n}\n"
    }

    #[test]
    fn every_label_is_found_as_in_the_whole() {
        let text = many();
        assert!(text.len() > 3 * PIECE_BYTES);
        let book = Book::parse(text.clone().into_bytes(), 0).expect("sound");
        for n in (0..700).step_by(13).chain([699]) {
            let label = format!("l{n}");
            let entry = book.get(&label).expect("there");
            assert_eq!(found(&text, &label), Search::Found(entry));
        }
        assert_eq!(found(&text, "l700"), Search::Absent);
    }

    #[test]
    fn layout_does_not_matter() {
        let value: serde_json::Value = serde_json::from_str(&many()).expect("sound");
        let minified = value.to_string();
        assert!(matches!(found(&minified, "l699"), Search::Found(_)));
        assert_eq!(found(&minified, "x"), Search::Absent);
        // What looks like the end of an entry is the end of something in one.
        let shifted = many().replace("\n  ", "\n ").replace("\n   ", "\n  ");
        assert!(shifted.contains("\n  },"));
        assert_eq!(found(&shifted, "l699"), Search::Unclear);
        for empty in ["{}", "{}\n"] {
            assert_eq!(found(empty, "a"), Search::Absent);
        }
        let large = format!(
            "{{\n  \"a\": {{\n    \"w\": \"{}\"\n  }}\n}}\n",
            "w".repeat(3 * PIECE_BYTES)
        );
        assert!(matches!(found(&large, "a"), Search::Found(_)));
    }

    #[test]
    fn the_later_of_two_equal_labels_counts() {
        let text = many()
            .replace("\"l600\"", "\"l1\"")
            .replace("\"l601\"", "\"\\u006c2\"");
        for (label, n) in [("l1", 600), ("l2", 601)] {
            match found(&text, label) {
                Search::Found(entry) => assert_eq!(entry.number("n"), Some(n)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn damage_anywhere_is_not_passed_over() {
        let text = many();
        let middle = text.len() / 2;
        let at = |from: usize, what: &str| {
            from + text.get(from..).and_then(|t| t.find(what)).expect("there")
        };
        for damaged in [
            text.get(..at(middle, "\n  \"l"))
                .expect("a place")
                .to_owned(),
            text.get(..at(middle, "\n    \"w"))
                .expect("a place")
                .to_owned(),
            format!("{}\0\0", text),
            format!("{text}}}"),
            text.replace("\n}\n", ",\n}\n"),
            text.replace("\"n\": 350,", "\"n\": 350,,"),
            text.replace("\n  \"l350\": {", "\n  \"l350\": 7, \"x\": {"),
            text.replace("\n  \"l350\": {", ",\n  \"l350\": {"),
            format!("[{text}]"),
            format!("\u{feff}{text}"),
            String::new(),
        ] {
            assert_eq!(found(&damaged, "l3"), Search::Unclear);
        }
        let mut bytes = text.into_bytes();
        bytes[middle] = 0xff;
        let seen = search(&mut bytes.as_slice(), "l3").expect("readable");
        assert_eq!(seen, Search::Unclear);
    }
}
