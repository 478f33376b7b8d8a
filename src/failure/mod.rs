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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
