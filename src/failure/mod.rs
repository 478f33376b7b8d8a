//! Classifying failures. Pure: evidence in, [`Failure`] out.

use serde::Deserialize;
use serde_json::Value;

use crate::record::{Failure, FailureKind};

/// What the local runner noted on a run's end line says about its failure; typed, so no text is searched.
pub fn of_local_end(note: Option<&Value>, message: Option<&str>, at_ms: i64) -> Failure {
    let kind = note
        .and_then(|note| note.get("kind"))
        .and_then(|kind| FailureKind::deserialize(kind).ok())
        .unwrap_or(FailureKind::Unknown);
    let message = message.unwrap_or("the run failed without saying why");
    Failure::new(kind, message, at_ms)
}

/// The kind that a provider's error text names by its leading HTTP status (`529 Overloaded`, `HTTP 429: ...`). Anchored at the
/// start of the text: a number anywhere else says nothing.
pub fn of_http_text(text: &str) -> Option<FailureKind> {
    let text = text.trim_start();
    let text = text.strip_prefix("HTTP ").unwrap_or(text);
    let digits = text
        .get(..3)
        .filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
    // A longer number, a version or a file name is no status.
    let next = text.get(3..).and_then(|rest| rest.chars().next());
    if next.is_some_and(|c| c.is_alphanumeric() || c == '.' || c == '_' || c == '-') {
        return None;
    }
    match digits {
        "529" => Some(FailureKind::Overload),
        "429" => Some(FailureKind::RateLimit),
        "401" | "403" => Some(FailureKind::Auth),
        "402" => Some(FailureKind::Billing),
        "400" | "404" | "413" | "422" | "500" | "502" | "503" | "504" => Some(FailureKind::Model),
        _ => None,
    }
}

/// The kind that a gateway's own sentence about a failed run names. Only sentences that gateways are known to write count.
pub fn of_gateway_text(text: &str) -> Option<FailureKind> {
    if let Some(kind) = of_http_text(text.strip_prefix("FailoverError: ").unwrap_or(text)) {
        return Some(kind);
    }
    if is_takeover(text) {
        return Some(FailureKind::SessionTakeover);
    }
    // `⚠️ openai/gpt-5 request failed (authentication failed, HTTP 401).`
    let status = text.split_once(" request failed (").and_then(|(_, rest)| {
        let inside = rest.split_once(')')?.0;
        of_http_text(inside.rsplit(", ").next()?)
    });
    let sentences = [
        (
            "The AI service is temporarily overloaded",
            FailureKind::Overload,
        ),
        (
            "temporarily disabled after a provider auth/billing failure",
            FailureKind::Auth,
        ),
        (
            "LLM request failed: provider rejected the request",
            FailureKind::Model,
        ),
        ("LLM request rejected: ", FailureKind::Model),
    ];
    let known = sentences.iter().find(|(words, _)| text.contains(words));
    status.or(known.map(|(_, kind)| *kind))
}

/// The gateway's own words for a session that something else had at the same time: its file changed, or its lock could not
/// be had.
pub fn is_takeover(text: &str) -> bool {
    [
        "EmbeddedAttemptSessionTakeoverError",
        "session file changed while embedded prompt lock was released",
        "code=file_lock_stale",
        "code=file_lock_timeout",
        "session file locked (timeout ",
    ]
    .iter()
    .any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_leading_status_names_the_kind_and_a_number_elsewhere_does_not() {
        assert_eq!(of_http_text("529 Overloaded"), Some(FailureKind::Overload));
        assert_eq!(
            of_http_text("HTTP 429: too many"),
            Some(FailureKind::RateLimit)
        );
        assert_eq!(of_http_text("401"), Some(FailureKind::Auth));
        for text in [
            "5290 things",
            "529.txt is gone",
            "see issue 529",
            "",
            "52",
            "ümlaut",
        ] {
            assert_eq!(of_http_text(text), None, "{text}");
        }
    }

    #[test]
    fn a_gateways_sentence_names_the_kind() {
        let known = [
            ("FailoverError: 401 no", FailureKind::Auth),
            ("529 Overloaded", FailureKind::Overload),
            (
                "⚠️ fake/fake-1 request failed (authentication failed, HTTP 401). Check the key.",
                FailureKind::Auth,
            ),
            (
                "The AI service is temporarily overloaded. Please try again in a moment.",
                FailureKind::Overload,
            ),
            (
                "Error: file lock stale for /s/1.jsonl: code=file_lock_stale",
                FailureKind::SessionTakeover,
            ),
        ];
        for (text, kind) in known {
            assert_eq!(of_gateway_text(text), Some(kind), "{text}");
        }
        for text in ["it failed", "request failed (no)", "overloaded", ""] {
            assert_eq!(of_gateway_text(text), None, "{text}");
        }
    }

    #[test]
    fn the_runners_own_kind_counts_and_nothing_is_guessed_from_text() {
        let note = json!({"kind": "timeout"});
        let failure = of_local_end(Some(&note), Some("529 overloaded"), 7);
        assert_eq!((failure.kind, failure.at), (FailureKind::Timeout, 7));
        assert_eq!(
            of_local_end(None, Some("529 overloaded"), 7).kind,
            FailureKind::Unknown
        );
    }
}
