//! The name of a piece of work, and the only way in which it becomes a file name.
//!
//! [`file_stem_of`] promises distinct stems for distinct texts, at most [`STEM_MAX_BYTES`] bytes of
//! `[A-Za-z0-9._%-]`, never a hidden name, never `.` or `..`.
//!
//! Limitations: on a file system that ignores case (the default of macOS) labels that differ only in case share a file.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The longest label in bytes.
pub const LABEL_MAX_BYTES: usize = 512;

/// The longest file stem in bytes.
pub const STEM_MAX_BYTES: usize = 100;

/// What is kept of a longer escaped form, before the digest.
const STEM_PREFIX_BYTES: usize = 60;

/// Hex digits of the digest: 128 bits, so that two labels never meet.
const DIGEST_DIGITS: usize = 32;

/// Why a text is no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// No character at all.
    #[error("the label is empty; give the work a name, for example `nightly-build`")]
    Empty,
    /// Nothing but white space.
    #[error(
        "the label is only white space; give the work a name that can be read, for example `nightly-build`"
    )]
    Blank,
    /// Above [`LABEL_MAX_BYTES`].
    #[error("the label is {bytes} bytes long; shorten it to {LABEL_MAX_BYTES} bytes or less")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A line break, NUL, escape or other control character.
    #[error("the label has the control character U+{:04X} at byte {at}; remove it, a label is one line of plain text", *.character as u32)]
    ControlCharacter {
        /// The character.
        character: char,
        /// Its byte offset.
        at: usize,
    },
}

/// The name that a person or script gave to a piece of work: non-blank, one line, at most [`LABEL_MAX_BYTES`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Label(String);

impl Label {
    /// Takes `text` as it is.
    ///
    /// # Errors
    /// What is wrong with it and what to do.
    pub fn new(text: &str) -> Result<Self, LabelError> {
        check(text)?;
        Ok(Self(text.to_owned()))
    }

    /// The label as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The label as a file name without directory and extension; see [`file_stem_of`].
    pub fn file_stem(&self) -> String {
        file_stem_of(&self.0)
    }
}

fn check(text: &str) -> Result<(), LabelError> {
    if text.is_empty() {
        return Err(LabelError::Empty);
    }
    if text.len() > LABEL_MAX_BYTES {
        return Err(LabelError::TooLong { bytes: text.len() });
    }
    if let Some((at, character)) = text.char_indices().find(|(_, c)| c.is_control()) {
        return Err(LabelError::ControlCharacter { character, at });
    }
    if text.trim().is_empty() {
        return Err(LabelError::Blank);
    }
    Ok(())
}

/// Any text (a run id, a label of a foreign ledger) as a file name without directory and extension.
///
/// Letters, digits, `.`, `_` and `-` of ASCII stay; a leading `.` and every other byte of the UTF-8 form becomes `%XX`.
/// Above [`STEM_MAX_BYTES`] the first 60 bytes (no escape is cut) are followed by `%%` and 32 hex digits of the text's
/// SHA-256; an empty text is `%%empty`. No escape yields `%%`, so the three forms never meet.
pub fn file_stem_of(text: &str) -> String {
    if text.is_empty() {
        return "%%empty".to_owned();
    }
    let mut stem = String::with_capacity(STEM_MAX_BYTES);
    let mut prefix_len = 0;
    for (i, byte) in text.bytes().enumerate() {
        match byte {
            b'.' if i == 0 => push_escape(&mut stem, byte),
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {
                stem.push(char::from(byte));
            }
            _ => push_escape(&mut stem, byte),
        }
        if stem.len() <= STEM_PREFIX_BYTES {
            prefix_len = stem.len();
        }
        if stem.len() > STEM_MAX_BYTES {
            stem.truncate(prefix_len);
            stem.push_str("%%");
            stem.push_str(&digest_of(text));
            return stem;
        }
    }
    stem
}

fn push_escape(stem: &mut String, byte: u8) {
    stem.push('%');
    stem.push_str(&format!("{byte:02X}"));
}

fn digest_of(text: &str) -> String {
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(DIGEST_DIGITS / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Label {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Label {
    type Error = LabelError;

    fn try_from(text: String) -> Result<Self, LabelError> {
        check(&text)?;
        Ok(Self(text))
    }
}

impl From<Label> for String {
    fn from(label: Label) -> Self {
        label.0
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("a")]
    #[case("..")]
    #[case("fix: the ünïcode / path")]
    #[case("-100123")]
    #[case("🇩🇪")]
    fn ordinary_text_is_a_label(#[case] text: &str) {
        let label = Label::new(text).expect("a label");
        assert_eq!(label.as_str(), text);
        assert_eq!(label.to_string(), text);
    }

    #[rstest]
    #[case(
        "",
        "the label is empty; give the work a name, for example `nightly-build`"
    )]
    #[case(
        " \u{3000}",
        "the label is only white space; give the work a name that can be read, for example `nightly-build`"
    )]
    #[case(
        "a\nb",
        "the label has the control character U+000A at byte 1; remove it, a label is one line of plain text"
    )]
    #[case(
        "\0",
        "the label has the control character U+0000 at byte 0; remove it, a label is one line of plain text"
    )]
    #[case(
        "ab\u{7f}",
        "the label has the control character U+007F at byte 2; remove it, a label is one line of plain text"
    )]
    #[case(
        "é\u{9b}",
        "the label has the control character U+009B at byte 2; remove it, a label is one line of plain text"
    )]
    fn a_bad_label_is_refused_with_a_sentence(#[case] text: &str, #[case] sentence: &str) {
        assert_eq!(Label::new(text).expect_err("refused").to_string(), sentence);
    }

    #[test]
    fn the_length_counts_in_bytes() {
        assert!(Label::new(&"é".repeat(256)).is_ok());
        assert_eq!(
            Label::new(&"x".repeat(513))
                .expect_err("refused")
                .to_string(),
            "the label is 513 bytes long; shorten it to 512 bytes or less"
        );
    }

    #[rstest]
    #[case("nightly-build_1.2", "nightly-build_1.2")]
    #[case("a b", "a%20b")]
    #[case("100%", "100%25")]
    #[case("../etc/passwd", "%2E.%2Fetc%2Fpasswd")]
    #[case(".", "%2E")]
    #[case("..", "%2E.")]
    #[case("é", "%C3%A9")]
    #[case("", "%%empty")]
    #[case("%empty", "%25empty")]
    fn stems_are_readable(#[case] text: &str, #[case] stem: &str) {
        assert_eq!(file_stem_of(text), stem);
    }

    #[test]
    fn a_long_stem_ends_in_a_digest() {
        assert_eq!(file_stem_of(&"a".repeat(100)), "a".repeat(100));
        assert_eq!(
            file_stem_of(&"a".repeat(101)),
            // `printf 'a%.0s' $(seq 101) | sha256sum`
            format!("{}%%{}", "a".repeat(60), LONG_A_DIGEST)
        );
        let cut_between_escapes = file_stem_of(&format!("a{}", " ".repeat(60)));
        assert!(cut_between_escapes.starts_with(&format!("a{}%%", "%20".repeat(19))));
    }

    const LONG_A_DIGEST: &str = "9d0793397991b57a99a07c6e6b4a92ba";

    #[test]
    fn json_sees_a_plain_string_and_bad_ones_are_refused() {
        let label = Label::new("a b").expect("a label");
        assert_eq!(
            serde_json::to_string(&label).expect("serializes"),
            r#""a b""#
        );
        assert_eq!(
            serde_json::from_str::<Label>(r#""a b""#).expect("a label"),
            label
        );
        let e = serde_json::from_str::<Label>(r#""a\nb""#).expect_err("refused");
        assert!(e.to_string().contains("control character U+000A"), "{e}");
    }

    #[test]
    fn a_map_of_labels_is_searched_by_text() {
        let label = Label::new("a").expect("a label");
        let by_order = std::collections::BTreeMap::from([(label.clone(), 1)]);
        let by_hash = std::collections::HashMap::from([(label, 2)]);
        assert_eq!((by_order.get("a"), by_hash.get("a")), (Some(&1), Some(&2)));
    }

    /// Texts that are likely to collide: few letters, escapes, and what escapes look like.
    fn text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            proptest::sample::select(vec![
                "a", "A", ".", "%", "2", "E", "%2E", "%%", " ", "/", "é", "\0"
            ])
            .prop_map(String::from),
            any::<char>().prop_map(String::from),
            (1..120_usize).prop_map(|n| "x".repeat(n)),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn a_stem_is_a_safe_bounded_name(text in text()) {
            let stem = file_stem_of(&text);
            prop_assert!(!stem.is_empty() && stem.len() <= STEM_MAX_BYTES);
            prop_assert!(stem.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-%".contains(&b)));
            prop_assert!(!stem.starts_with('.'));
        }

        #[test]
        fn different_texts_have_different_stems(a in text(), b in text()) {
            prop_assert_eq!(a == b, file_stem_of(&a) == file_stem_of(&b));
            let longer = format!("{a}{b}");
            prop_assert_eq!(a == longer, file_stem_of(&a) == file_stem_of(&longer));
        }

        #[test]
        fn a_label_is_refused_exactly_for_its_rules(text in text()) {
            let good = !text.trim().is_empty() && text.len() <= LABEL_MAX_BYTES && !text.contains(char::is_control);
            prop_assert_eq!(Label::new(&text).is_ok(), good);
        }
    }
}
