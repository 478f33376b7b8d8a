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

/// The gateway's own word for a session file that changed under it.
pub fn is_takeover(text: &str) -> bool {
    text.contains("EmbeddedAttemptSessionTakeoverError")
        || text.contains("session file changed while embedded prompt lock was released")
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
