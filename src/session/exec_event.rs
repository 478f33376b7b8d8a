//! Recognising the gateway's report that a background command ended.
//!
//! Pure. The report comes as a user line of its own and is no task. It is known by its anchored form, never by the word
//! "exec" somewhere in a text.

/// Whether a user line is the gateway's report that a background command ended, and nothing else: `Exec completed (`,
/// `Exec failed (`, `Exec killed (` or `Exec finished (` at its start, behind `System:` and time prefixes at most.
pub fn is_exec_event(text: &str) -> bool {
    let (event, queued) = strip_prefixes(text);
    let verbs = ["completed", "failed", "killed", "finished"];
    let is_event = event
        .strip_prefix("Exec ")
        .and_then(|rest| verbs.iter().find_map(|verb| rest.strip_prefix(verb)))
        .is_some_and(|rest| rest.starts_with(" ("));
    // Events that waited in the queue are put before the next message, which starts a paragraph with its own time.
    is_event && !(queued && has_dated_paragraph(event))
}

/// The text behind `System:` and time prefixes, and whether there was a `System:`.
fn strip_prefixes(text: &str) -> (&str, bool) {
    let mut rest = text.trim_start();
    let mut queued = false;
    loop {
        let stripped = if let Some(after) = strip_system(rest) {
            queued = true;
            after
        } else if let Some(after) = strip_time(rest) {
            after
        } else {
            return (rest, queued);
        };
        rest = stripped.trim_start();
    }
}

fn strip_system(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("System")?;
    let rest = rest.strip_prefix(" (untrusted)").unwrap_or(rest);
    rest.strip_prefix(':')
}

/// `[Sat 2026-11-21 12:17 UTC]` and the like: short, in brackets, with a date in it.
fn strip_time(text: &str) -> Option<&str> {
    let (inside, rest) = text.strip_prefix('[')?.split_once(']')?;
    let is_time = inside.len() <= 64 && inside.split([' ', 'T']).any(is_date);
    is_time.then_some(rest)
}

fn is_date(word: &str) -> bool {
    let shape = word
        .bytes()
        .map(|b| if b.is_ascii_digit() { b'0' } else { b });
    shape.eq(*b"0000-00-00")
}

/// The text behind the time that a gateway puts before a message.
pub fn without_time(text: &str) -> &str {
    strip_time(text).map_or(text, str::trim_start)
}

fn has_dated_paragraph(text: &str) -> bool {
    text.split("\n\n")
        .skip(1)
        .any(|paragraph| strip_time(paragraph.trim_start()).is_some())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("Exec completed (ab12, code 0)", true)]
    #[case("Exec failed (ab12, code 1) :: boom\nmore", true)]
    #[case("Exec killed (ab12)", true)]
    #[case("Exec finished (gateway id=1, session=2, code 0)", true)]
    #[case("  System: Exec completed (x)", true)]
    #[case(
        "System (untrusted): [2026-01-02 03:04:05 UTC] Exec completed (x)",
        true
    )]
    #[case("[Sat 2026-11-21 12:17 UTC] Exec completed (x)", true)]
    #[case("[Sat 2026-11-21 12:17 UTC] System: Exec completed (x)", true)]
    #[case(
        "System: Exec failed (x)\n\nAn async command you ran earlier has completed.",
        true
    )]
    #[case(
        "System: Exec failed (x)\n\n[Sat 2026-11-21 12:17 UTC] Now do the rest.",
        false
    )]
    #[case("Tell me when Exec completed (x) shows up", false)]
    #[case("Exec completed", false)]
    #[case("Exec completed(x)", false)]
    #[case("Exec started (x)", false)]
    #[case("[note] Exec completed (x)", false)]
    #[case("System Exec completed (x)", false)]
    #[case("[2026-11-21 Exec completed (x)", false)]
    #[case("", false)]
    fn exec_events_are_recognised_at_the_start_only(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(is_exec_event(text), expected);
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_in_front_decides(text in "(System|:|\\[|\\]|2026-11-21| |Exec|completed|\\(|é|\n){0,16}") {
            let _ = is_exec_event(&text);
            let quoted = format!("> {text}");
            prop_assert!(!is_exec_event(&quoted));
        }
    }
}
