//! JSON text that JavaScript wrote, read without giving up on what Rust strings cannot hold.
//!
//! JavaScript cuts strings between the two halves of a surrogate pair and then writes the lone half as an escape, which
//! is no Unicode text. Such an escape, and every invalid UTF-8 sequence, is read as U+FFFD. Text that is valid pays
//! nothing for this. What is not JSON for another reason stays an error.

use std::borrow::Cow;

use serde_json::Value;

const REPLACEMENT_ESCAPE: &str = "\\ufffd";

/// Parses one JSON value; unpaired surrogate escapes become U+FFFD.
///
/// # Errors
/// The parser's error, with line and column in `text`.
pub fn parse_value(text: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str(text).or_else(|first| match repair_surrogates(text) {
        Some(repaired) => serde_json::from_str(&repaired),
        None => Err(first),
    })
}

/// As [`parse_value`], for bytes that may not be UTF-8: invalid sequences become U+FFFD.
///
/// # Errors
/// The parser's error, with line and column in the text.
pub fn parse_bytes(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(text) => parse_value(text),
        Cow::Owned(text) => parse_value(&text),
    }
}

/// `text` with every unpaired surrogate escape replaced, or `None` when it has none. The length stays the same, so that
/// positions in error messages stay true.
pub fn repair_surrogates(text: &str) -> Option<String> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return None;
    }
    let bytes = text.as_bytes();
    let mut repaired = String::new();
    let mut kept = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'\\' {
            at += 1;
            continue;
        }
        match escaped_unit(bytes, at) {
            Some(0xD800..=0xDBFF)
                if matches!(escaped_unit(bytes, at + 6), Some(0xDC00..=0xDFFF)) =>
            {
                at += 12;
            }
            Some(0xD800..=0xDFFF) => {
                repaired.push_str(text.get(kept..at)?);
                repaired.push_str(REPLACEMENT_ESCAPE);
                at += 6;
                kept = at;
            }
            // Any other escape is two characters at least; skipping both keeps `\\ud83d` what it is.
            _ => at += 2,
        }
    }
    if kept == 0 {
        return None;
    }
    repaired.push_str(text.get(kept..)?);
    Some(repaired)
}

/// The UTF-16 unit of a `\uXXXX` escape that starts at `at`.
fn escaped_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let escape = bytes.get(at..at + 6)?;
    let digits = escape.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, &digit| {
        Some(unit * 16 + char::from(digit).to_digit(16)?)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case::valid(r#""a""#, "a")]
    #[case::pair(r#""\ud83e\udd9e""#, "🦞")]
    #[case::pair_in_capitals(r#""\uD83E\uDD9E""#, "🦞")]
    #[case::lone_high(r#""a\ud83e""#, "a\u{fffd}")]
    #[case::lone_high_in_capitals(r#""a\uD83Eb""#, "a\u{fffd}b")]
    #[case::lone_low(r#""\udd9e!""#, "\u{fffd}!")]
    #[case::high_high_low(r#""\ud83e\ud83e\udd9e""#, "\u{fffd}🦞")]
    #[case::low_then_high(r#""\udd9e\ud83e""#, "\u{fffd}\u{fffd}")]
    #[case::high_then_other_escape(r#""\ud83e\n""#, "\u{fffd}\n")]
    #[case::escaped_backslash_is_no_escape(r#""\\ud83e \ud83e""#, "\\ud83e \u{fffd}")]
    #[case::three_backslashes(r#""\\\ud83e""#, "\\\u{fffd}")]
    #[case::quote_before(r#""\"\ud83e\"""#, "\"\u{fffd}\"")]
    fn strings_are_read_as_text(#[case] text: &str, #[case] expected: &str) {
        assert_eq!(parse_value(text).unwrap(), json!(expected));
    }

    #[test]
    fn a_lone_half_in_a_key_is_replaced_too() {
        assert_eq!(
            parse_value(r#"{"k\ud83e":1}"#).unwrap(),
            json!({"k\u{fffd}": 1})
        );
    }

    #[test]
    fn other_damage_stays_an_error_with_its_true_column() {
        let error = parse_value(r#"["\ud83e", x]"#).unwrap_err();
        assert_eq!((error.line(), error.column()), (1, 12));
        assert!(parse_value(r#""\\ud83e"#).is_err());
        assert!(parse_value(r#""\ud8"#).is_err());
        assert!(parse_value("").is_err());
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        assert_eq!(
            parse_bytes(b"{\"a\":\"x\xff\xc5\"}").unwrap(),
            json!({"a": "x\u{fffd}\u{fffd}"})
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_bytes(&bytes);
        }

        #[test]
        fn every_sequence_of_units_and_backslashes_is_read(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("\\ud83e"), Just("\\uDD9E"), Just("\\\\"), Just("ud83e"), Just("\\n"), Just("é"), Just("\\u0041"),
                ],
                0..20,
            )
        ) {
            let text = format!("\"{}\"", parts.concat());
            prop_assert!(parse_value(&text).is_ok());
        }

        #[test]
        fn what_serde_json_reads_is_unchanged(text in "\\PC*") {
            let written = serde_json::to_string(&text).unwrap();
            prop_assert_eq!(parse_value(&written).unwrap(), json!(text));
        }
    }
}
