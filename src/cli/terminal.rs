//! Untrusted text on a terminal: nothing an agent writes may move the cursor, recolour, reorder or hide what is shown.
//!
//! Used only when stdout is a terminal; pipes and files get the text as it is.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Makes every character visible that would steer the terminal or deceive the reader.
///
/// Those are control characters (C0, DEL, C1, so also the escape that opens ANSI sequences), bidirectional controls,
/// line and paragraph separators, the zero-width no-break space and tag characters. They become `\n`, `\r`, `\t`,
/// `\x1b` or `\u{202e}`; with `keep_newlines`, line feed and tab stay as they are.
pub fn escape_untrusted(text: &str, keep_newlines: bool) -> Cow<'_, str> {
    let bad = |c: char| is_deceptive(c) && !(keep_newlines && matches!(c, '\n' | '\t'));
    let Some(first) = text.find(bad) else {
        return Cow::Borrowed(text);
    };
    let (clean, rest) = text.split_at(first);
    let mut shown = String::with_capacity(text.len() + 16);
    shown.push_str(clean);
    for c in rest.chars() {
        if bad(c) {
            push_visible(&mut shown, c);
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}'
            | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}')
}

fn push_visible(shown: &mut String, c: char) {
    // Writing to a string cannot fail.
    let _ = match c {
        '\n' => write!(shown, "\\n"),
        '\r' => write!(shown, "\\r"),
        '\t' => write!(shown, "\\t"),
        c if c.is_ascii() => write!(shown, "\\x{:02x}", c as u32),
        c => write!(shown, "\\u{{{:x}}}", c as u32),
    };
}

/// Shortens one line of text to at most `columns` columns, the last one being `…` when something was left out.
///
/// Wide characters count two columns and are never halved; grapheme clusters stay whole. Line breaks and controls must
/// have been escaped before. Reads no further than the columns reach.
pub fn fit(text: &str, columns: usize) -> Cow<'_, str> {
    let mut used = 0;
    let mut room_for_ellipsis = 0;
    for (start, cluster) in text.grapheme_indices(true) {
        used += cluster.width();
        if used > columns {
            let kept = text.get(..room_for_ellipsis).unwrap_or_default();
            let ellipsis = if columns == 0 { "" } else { "…" };
            return Cow::Owned(format!("{kept}{ellipsis}"));
        }
        if used < columns {
            room_for_ellipsis = start + cluster.len();
        }
    }
    Cow::Borrowed(text)
}

/// As [`fit`], but what is left out is the middle: beginning and end of a name tell most.
pub fn fit_middle(text: &str, columns: usize) -> Cow<'_, str> {
    if text
        .graphemes(true)
        .map(UnicodeWidthStr::width)
        .sum::<usize>()
        <= columns
    {
        return Cow::Borrowed(text);
    }
    let room = columns.saturating_sub(1);
    let head = room - room / 2;
    let take = |clusters: &mut dyn Iterator<Item = &str>, room: usize| {
        let mut used = 0;
        let fits = |cluster: &&str| {
            used += cluster.width();
            used <= room
        };
        clusters.take_while(fits).map(str::len).sum::<usize>()
    };
    let head = take(&mut text.graphemes(true), head);
    let tail = take(&mut text.graphemes(true).rev(), room / 2);
    let (start, end) = (text.get(..head), text.get(text.len() - tail..));
    let ellipsis = if columns == 0 { "" } else { "…" };
    let (start, end) = (start.unwrap_or_default(), end.unwrap_or_default());
    Cow::Owned(format!("{start}{ellipsis}{end}"))
}

/// Breaks a line between words into lines of at most `columns` columns; a longer word stays whole on a line of its own.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && line.width() + 1 + word.width() > columns {
            lines.push(std::mem::take(&mut line));
        } else if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m")]
    #[case("\x1b]0;title\x07", r"\x1b]0;title\x07")]
    #[case("over\rwritten", r"over\rwritten")]
    #[case("\0\x7f", r"\x00\x7f")]
    #[case("\u{9b}31m", r"\u{9b}31m")]
    #[case("a\u{202e}b\u{2066}c\u{2069}", r"a\u{202e}b\u{2066}c\u{2069}")]
    #[case("\u{61c}\u{200e}\u{200f}", r"\u{61c}\u{200e}\u{200f}")]
    #[case("\u{feff}\u{2028}\u{2029}", r"\u{feff}\u{2028}\u{2029}")]
    #[case("\u{e0041}", r"\u{e0041}")]
    fn what_deceives_is_shown(#[case] text: &str, #[case] shown: &str) {
        assert_eq!(escape_untrusted(text, true), shown);
        assert_eq!(escape_untrusted(text, false), shown);
    }

    #[test]
    fn line_feed_and_tab_stay_only_when_asked() {
        assert_eq!(escape_untrusted("a\n\tb", true), "a\n\tb");
        assert_eq!(escape_untrusted("a\n\tb", false), r"a\n\tb");
    }

    #[test]
    fn ordinary_text_is_borrowed() {
        let text = "héllo 👨‍👩‍👧 नमस्ते שלום";
        assert!(matches!(escape_untrusted(text, false), Cow::Borrowed(t) if t == text));
    }

    #[rstest]
    #[case("hello", 5, "hello")]
    #[case("hello", 4, "hel…")]
    #[case("hello", 1, "…")]
    #[case("hello", 0, "")]
    #[case("", 0, "")]
    #[case("日本語", 6, "日本語")]
    #[case("日本語", 5, "日本…")]
    #[case("日本語", 4, "日…")]
    #[case("ae\u{301}b", 2, "a…")]
    #[case("👨‍👩‍👧xyz", 4, "👨‍👩‍👧x…")]
    fn a_line_is_fitted(#[case] text: &str, #[case] columns: usize, #[case] expected: &str) {
        assert_eq!(fit(text, columns), expected);
    }

    #[rstest]
    #[case("hello", 5, "hello")]
    #[case("hello there", 7, "hel…ere")]
    #[case("hello there", 6, "hel…re")]
    #[case("hello", 1, "…")]
    #[case("hello", 0, "")]
    #[case("日本語日本語", 12, "日本語日本語")]
    #[case("日本語日本語", 10, "日本…本語")]
    #[case("日本語日本語", 7, "日…語")]
    #[case("👨‍👩‍👧abc👨‍👩‍👧", 5, "👨‍👩‍👧…👨‍👩‍👧")]
    fn a_name_loses_its_middle(#[case] text: &str, #[case] columns: usize, #[case] expected: &str) {
        assert_eq!(fit_middle(text, columns), expected);
    }

    #[rstest]
    #[case("one two three", 7, &["one two", "three"])]
    #[case("one two three", 80, &["one two three"])]
    #[case("a /very/long/path b", 5, &["a", "/very/long/path", "b"])]
    #[case("日本 語", 4, &["日本", "語"])]
    #[case("", 5, &[""])]
    fn a_sentence_breaks_between_words(
        #[case] text: &str,
        #[case] columns: usize,
        #[case] expected: &[&str],
    ) {
        assert_eq!(wrapped(text, columns), expected);
    }

    proptest! {
        #[test]
        fn a_name_without_its_middle_fits(chars in proptest::collection::vec(any::<char>(), 0..40), columns in 0..50_usize) {
            let text: String = chars.into_iter().collect();
            let text = escape_untrusted(&text, false);
            let fitted = fit_middle(&text, columns);
            prop_assert!(fitted.graphemes(true).map(UnicodeWidthStr::width).sum::<usize>() <= columns);
        }

        #[test]
        fn nothing_deceptive_is_left(chars in proptest::collection::vec(any::<char>(), 0..40), keep: bool) {
            let text: String = chars.into_iter().collect();
            let shown = escape_untrusted(&text, keep);
            prop_assert!(!shown.contains(|c: char| is_deceptive(c) && !(keep && "\n\t".contains(c))));
        }

        #[test]
        fn a_fitted_line_fits(chars in proptest::collection::vec(any::<char>(), 0..40), columns in 0..50_usize) {
            let text: String = chars.into_iter().collect();
            let text = escape_untrusted(&text, false);
            let fitted = fit(&text, columns);
            prop_assert!(fitted.graphemes(true).map(UnicodeWidthStr::width).sum::<usize>() <= columns);
            let kept = fitted.strip_suffix('…').unwrap_or(&fitted);
            prop_assert!(text.starts_with(kept));
        }
    }
}
