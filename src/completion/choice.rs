//! Which text is the result of a session.
//!
//! Promises that a real text always beats a stock phrase, that bookkeeping is never taken for a result, and that the
//! chosen text is handed on exactly as it was. It does not judge whether the session succeeded.

use serde_json::{Map, Value};

/// Longer texts are never a stock phrase; checked first, so that a large reply costs nothing.
const GENERIC_MAX_BYTES: usize = 80;

/// Longer texts are never a bare status object.
const STATUS_OBJECT_MAX_BYTES: usize = 128;

/// Lower-case words of the phrases that say only that something ended, punctuation and symbols left out.
const GENERIC_PHRASES: &[&str] = &[
    "agent completed",
    "all done",
    "complete",
    "completed",
    "completed agent signal",
    "completed successfully",
    "done",
    "done agent signal",
    "done successfully",
    "finished",
    "finished successfully",
    "job complete",
    "job completed",
    "job done",
    "ok",
    "session complete",
    "session completed",
    "success",
    "successfully completed",
    "task complete",
    "task completed",
    "task completed successfully",
    "task done",
    "task finished",
    "the task is complete",
    "the task is done",
    "work complete",
    "work completed",
    "work done",
];

/// Where a chosen text came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// The structured completion that the agent handed in.
    Structured,
    /// The session's terminal reply.
    Reply,
    /// The entry's one-line summary, for want of anything better.
    Summary,
}

/// The text to deliver, untouched, and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The whole text as it was given, white space included.
    pub text: &'a str,
    /// Its origin.
    pub source: Source,
}

/// Chooses the body of a result: the structured completion, else the terminal reply, else the summary.
///
/// Blank texts and internal noise are out. A stock phrase in any of the three places yields to a real text in another;
/// among stock phrases the session's own reply comes first. `None`: there is nothing to deliver.
pub fn choose<'a>(
    structured: Option<&'a str>,
    reply: Option<&'a str>,
    summary: Option<&'a str>,
) -> Option<Choice<'a>> {
    let usable = |text: Option<&'a str>, source| {
        text.filter(|t| !t.trim().is_empty() && !is_internal_noise(t))
            .map(|text| Choice { text, source })
    };
    let structured = usable(structured, Source::Structured);
    let reply = usable(reply, Source::Reply);
    let summary = usable(summary, Source::Summary);
    [structured, reply, summary]
        .into_iter()
        .flatten()
        .find(|choice| !is_generic_summary(choice.text))
        .or(reply)
        .or(structured)
        .or(summary)
}

/// Says whether a text only states that something ended (`completed (agent signal)`, "Done.", "✅ Task complete!").
///
/// Case, punctuation and symbols do not matter; any further word makes the text a real one.
pub fn is_generic_summary(text: &str) -> bool {
    let text = text.trim();
    if text.len() > GENERIC_MAX_BYTES {
        return false;
    }
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    GENERIC_PHRASES.contains(&words.join(" ").as_str())
}

/// Says whether a text is bookkeeping that was never meant for a reader.
///
/// That is a single line that starts with `auto-resolved:`, a JSON object that holds nothing but `"status": "done"`,
/// or one of the gateway's silent replies `NO_REPLY` and `HEARTBEAT_OK`. A report of several lines, or an object with
/// any further field, is a result.
pub fn is_internal_noise(text: &str) -> bool {
    let text = text.trim();
    matches!(text, "NO_REPLY" | "HEARTBEAT_OK")
        || is_auto_resolved(text)
        || is_bare_status_object(text)
}

fn is_auto_resolved(line: &str) -> bool {
    const PREFIX: &str = "auto-resolved:";
    line.get(..PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
        && !line.contains(['\n', '\r'])
}

fn is_bare_status_object(text: &str) -> bool {
    if text.len() > STATUS_OBJECT_MAX_BYTES || !text.starts_with('{') {
        return false;
    }
    let Ok(object) = serde_json::from_str::<Map<String, Value>>(text) else {
        return false;
    };
    object.len() == 1
        && object
            .get("status")
            .and_then(Value::as_str)
            .is_some_and(|status| status.eq_ignore_ascii_case("done"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn picked<'a>(
        structured: Option<&'a str>,
        reply: Option<&'a str>,
        summary: Option<&'a str>,
    ) -> Option<(&'a str, Source)> {
        choose(structured, reply, summary).map(|c| (c.text, c.source))
    }

    #[test]
    fn a_structured_completion_beats_the_reply() {
        assert_eq!(
            picked(Some("Fixed the parser."), Some("I am done here"), None),
            Some(("Fixed the parser.", Source::Structured))
        );
    }

    #[test]
    fn without_a_structured_completion_the_reply_is_the_body() {
        assert_eq!(
            picked(None, Some("The answer"), Some("A summary of it")),
            Some(("The answer", Source::Reply))
        );
        assert_eq!(
            picked(Some("  \n"), Some("The answer"), None),
            Some(("The answer", Source::Reply))
        );
    }

    #[test]
    fn a_generic_summary_yields_to_the_reply() {
        assert_eq!(
            picked(
                Some("completed (agent signal)"),
                Some("Report: 3 files"),
                None
            ),
            Some(("Report: 3 files", Source::Reply))
        );
        assert_eq!(
            picked(Some("done."), Some("Done"), None),
            Some(("Done", Source::Reply))
        );
    }

    #[test]
    fn a_telling_summary_beats_stock_phrases_in_the_other_places() {
        assert_eq!(
            picked(Some("Done"), Some("done."), Some("Merged 14 branches")),
            Some(("Merged 14 branches", Source::Summary))
        );
    }

    #[test]
    fn a_stock_phrase_is_delivered_when_there_is_nothing_else() {
        assert_eq!(
            picked(None, None, Some("completed (agent signal)")),
            Some(("completed (agent signal)", Source::Summary))
        );
    }

    #[test]
    fn noise_is_never_delivered() {
        assert_eq!(
            picked(Some(r#"{"status":"done"}"#), Some("NO_REPLY"), None),
            None
        );
        assert_eq!(
            picked(
                Some("auto-resolved: session gone"),
                Some("The real end"),
                None
            ),
            Some(("The real end", Source::Reply))
        );
        assert_eq!(picked(None, None, None), None);
    }

    #[test]
    fn the_text_is_handed_on_with_its_white_space() {
        assert_eq!(
            picked(None, Some("  indented\n\n"), None),
            Some(("  indented\n\n", Source::Reply))
        );
    }

    #[rstest]
    #[case("completed (agent signal)")]
    #[case("done.")]
    #[case("Done")]
    #[case(" completed ")]
    #[case("Task complete!")]
    #[case("✅ Task completed successfully.")]
    fn generic(#[case] text: &str) {
        assert!(is_generic_summary(text));
    }

    #[rstest]
    #[case("")]
    #[case("Done: 5 files changed")]
    #[case("not done")]
    #[case("done 完了")]
    #[case("completed the migration")]
    fn not_generic(#[case] text: &str) {
        assert!(!is_generic_summary(text));
    }

    #[rstest]
    #[case("auto-resolved: not in the session store")]
    #[case("Auto-resolved: idle")]
    #[case(r#"{"status":"done"}"#)]
    #[case("\n{ \"status\" : \"DONE\" }\n")]
    #[case("HEARTBEAT_OK")]
    fn noise(#[case] text: &str) {
        assert!(is_internal_noise(text));
    }

    #[rstest]
    #[case("")]
    #[case("All conflicts auto-resolved: see below")]
    #[case("Auto-resolved: 3 conflicts\n- a.rs\n- b.rs\n- c.rs")]
    #[case(r#"{"status":"done","files":3}"#)]
    #[case(r#"{"status":"ok"}"#)]
    #[case(r#"["done"]"#)]
    #[case("The agent said NO_REPLY")]
    fn not_noise(#[case] text: &str) {
        assert!(!is_internal_noise(text));
    }
}
