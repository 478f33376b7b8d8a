//! Words of a command line that a person or an agent types into a shell. Pure.
//!
//! Labels come from agents: what they say is always one word, of which the shell runs and expands nothing.

use std::borrow::Cow;

/// A text as one word, in quotes where it needs them.
pub fn word(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./:@+,%".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("'{}'", text.replace('\'', r"'\''"))),
    }
}

/// The flag that names a label: `--label notes`, or `--label=--all` where the label would pass for a flag.
pub fn label(label: &str) -> String {
    match label.starts_with('-') {
        true => format!("--label={}", word(label)),
        false => format!("--label {}", word(label)),
    }
}

/// A label that is no flag's value: `notes`, or `-- --all`.
pub fn operand(label: &str) -> String {
    match label.starts_with('-') {
        true => format!("-- {}", word(label)),
        false => word(label).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_one_word_of_a_shell() {
        for (text, typed) in [
            ("/a/b-c.1", "/a/b-c.1"),
            ("user@host:50%,+x_", "user@host:50%,+x_"),
            ("é", "é"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's; rm", r"'it'\''s; rm'"),
            ("$(touch x)", "'$(touch x)'"),
            ("{a,b}", "'{a,b}'"),
            ("wow!", "'wow!'"),
            ("~", "'~'"),
            ("#1", "'#1'"),
            ("^a", "'^a'"),
            ("a=b", "'a=b'"),
        ] {
            assert_eq!(word(text), typed);
            let words = shell_words::split(typed).expect("words of a shell");
            assert_eq!(words, [text]);
        }
    }

    #[test]
    fn a_label_is_never_taken_for_a_flag() {
        for (text, flag, alone) in [
            ("notes", "--label notes", "notes"),
            ("a b", "--label 'a b'", "'a b'"),
            ("--all", "--label=--all", "-- --all"),
            ("-x y", "--label='-x y'", "-- '-x y'"),
        ] {
            assert_eq!(
                (label(text).as_str(), operand(text).as_str()),
                (flag, alone)
            );
        }
    }
}
