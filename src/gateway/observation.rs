//! What events tell of runs that answers leave out: the newer generation's typed classification of errors, and what a run
//! had said when it was stopped, which the older generation does not always write down. Pure.

use std::collections::VecDeque;

use serde_json::Value;

use crate::failure::Facts;

/// Runs that are remembered; a gateway tells every connection of every run.
const MAX_RUNS: usize = 64;

/// The most bytes that are kept of what the followed run says.
const MAX_HEARD_BYTES: usize = 1024 * 1024;

/// The typed facts of each run's last error, of the runs that erred last, and what one run is saying.
#[derive(Debug, Default)]
pub(super) struct Observations {
    runs: VecDeque<(String, Facts)>,
    /// The run that is listened to, and its last message so far.
    followed: Option<(String, String)>,
}

impl Observations {
    /// Takes an event. A run that starts, or ends well, has no error any more.
    pub(super) fn take(&mut self, name: &str, payload: &Value) {
        let at = |path: &str| payload.pointer(path);
        let text = |path: &str| at(path).and_then(Value::as_str);
        let Some(run_id) = text("/runId") else {
            return;
        };
        self.listen(run_id, name, payload);
        let observed = match (name, text("/stream"), text("/state")) {
            ("agent", Some("lifecycle"), _) => at("/data/errorObservation"),
            ("chat", _, Some("error")) => at("/errorDetail"),
            _ => return,
        };
        match observed {
            Some(observed) => {
                let known = self.forget(run_id);
                if self.runs.len() == MAX_RUNS {
                    self.runs.pop_front();
                }
                let facts = Facts::from_value(observed).or(known);
                self.runs.push_back((run_id.to_owned(), facts));
            }
            None if text("/data/phase") == Some("start") => {
                self.forget(run_id);
            }
            None if at("/data/aborted") == Some(&Value::Bool(true)) => {
                self.forget(run_id);
            }
            None => {}
        }
    }

    /// Listens to what this run says from now on, and to no other.
    pub(super) fn follow(&mut self, run_id: &str) {
        if self.followed.as_ref().is_none_or(|(id, _)| id != run_id) {
            self.followed = Some((run_id.to_owned(), String::new()));
        }
    }

    /// What the run was saying last, as far as it was listened to.
    pub(super) fn heard(&self, run_id: &str) -> &str {
        let followed = self.followed.as_ref().filter(|(id, _)| id == run_id);
        followed.map_or("", |(_, heard)| heard)
    }

    fn listen(&mut self, run_id: &str, name: &str, payload: &Value) {
        let Some((_, heard)) = self.followed.as_mut().filter(|(id, _)| id == run_id) else {
            return;
        };
        let text = |path: &str| payload.pointer(path).and_then(Value::as_str);
        let said = match (name, text("/stream"), text("/state")) {
            ("agent", Some("assistant"), _) => text("/data/text"),
            ("chat", _, Some("aborted")) => text("/message/content/0/text"),
            // A try that begins anew says everything again.
            ("agent", Some("lifecycle"), _) if text("/data/phase") == Some("start") => Some(""),
            _ => None,
        };
        if let Some(said) = said {
            heard.clear();
            heard.push_str(clip(said, MAX_HEARD_BYTES));
        }
    }

    /// What is known of a run's last error.
    pub(super) fn of(&self, run_id: &str) -> Facts {
        let known = self.runs.iter().find(|(id, _)| id == run_id);
        known.map(|(_, facts)| facts.clone()).unwrap_or_default()
    }

    fn forget(&mut self, run_id: &str) -> Facts {
        let at = self.runs.iter().position(|(id, _)| id == run_id);
        let gone = at.and_then(|at| self.runs.remove(at));
        gone.map(|(_, facts)| facts).unwrap_or_default()
    }
}

/// The beginning of a text, cut at a character.
fn clip(text: &str, limit: usize) -> &str {
    let end = (0..=limit.min(text.len())).rev();
    let mut ends = end.filter_map(|end| text.get(..end));
    ends.next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As 2026.9.6 sent it about an HTTP 529; shortened.
    fn erred(run_id: &str) -> Value {
        json!({"runId": run_id, "stream": "lifecycle", "data": {"phase": "finishing", "error": "The AI service is temporarily overloaded.", "errorObservation": {"provider": "fake", "model": "fake-1", "failoverReason": "overloaded", "providerRuntimeFailureKind": "timeout"}, "aborted": false}})
    }

    #[test]
    fn the_typed_reason_of_the_last_error_is_kept_per_run() {
        let mut seen = Observations::default();
        seen.take("agent", &erred("r1"));
        seen.take("agent", &json!({"runId": "r2", "stream": "assistant"}));
        let facts = seen.of("r1");
        assert_eq!(facts.failover_reason.as_deref(), Some("overloaded"));
        assert_eq!(facts.model.as_deref(), Some("fake-1"));
        assert!(seen.of("r2").is_empty());
        seen.take(
            "chat",
            &json!({"runId": "r2", "state": "error", "errorDetail": {"failoverReason": "format", "httpStatus": 400}}),
        );
        assert_eq!(seen.of("r2").http_status, Some(400));
    }

    #[test]
    fn a_run_that_starts_again_or_is_stopped_has_no_error_any_more() {
        for data in [
            json!({"phase": "start"}),
            json!({"phase": "error", "aborted": true}),
        ] {
            let mut seen = Observations::default();
            seen.take("agent", &erred("r1"));
            seen.take(
                "agent",
                &json!({"runId": "r1", "stream": "lifecycle", "data": data}),
            );
            assert!(seen.of("r1").is_empty(), "{data}");
        }
    }

    /// As both generations send it.
    fn says(run_id: &str, text: &str) -> Value {
        json!({"runId": run_id, "stream": "assistant", "data": {"text": text, "delta": "x"}})
    }

    #[test]
    fn what_the_followed_run_was_saying_is_kept_and_no_others() {
        let mut seen = Observations::default();
        seen.take("agent", &says("r1", "too early"));
        seen.follow("r1");
        assert_eq!(seen.heard("r1"), "");
        seen.take("agent", &says("r1", "alpha"));
        seen.take("agent", &says("r2", "of another"));
        seen.take("agent", &says("r1", "alpha beta"));
        seen.follow("r1");
        assert_eq!((seen.heard("r1"), seen.heard("r2")), ("alpha beta", ""));
        // As 2026.5.18 told of a run that was stopped; shortened.
        let aborted = json!({"runId": "r1", "state": "aborted", "stopReason": "rpc", "message": {"role": "assistant", "content": [{"type": "text", "text": "alpha beta gam"}]}});
        seen.take("chat", &aborted);
        seen.take(
            "chat",
            &json!({"runId": "r1", "state": "aborted", "stopReason": "rpc"}),
        );
        assert_eq!(seen.heard("r1"), "alpha beta gam");
        let start = json!({"runId": "r1", "stream": "lifecycle", "data": {"phase": "start"}});
        seen.take("agent", &start);
        assert_eq!(seen.heard("r1"), "");
        seen.follow("r2");
        assert_eq!(seen.heard("r1"), "");
    }

    #[test]
    fn a_run_that_talks_without_end_does_not_fill_the_memory() {
        let mut seen = Observations::default();
        seen.follow("r1");
        seen.take("agent", &says("r1", &"ż".repeat(MAX_HEARD_BYTES)));
        assert_eq!(seen.heard("r1").len(), MAX_HEARD_BYTES);
        seen.take(
            "agent",
            &says("r1", &format!("a{}", "ż".repeat(MAX_HEARD_BYTES))),
        );
        assert_eq!(seen.heard("r1").len(), MAX_HEARD_BYTES - 1);
    }

    #[test]
    fn a_busy_gateway_does_not_fill_the_memory() {
        let mut seen = Observations::default();
        for n in 0..1_000 {
            seen.take("agent", &erred(&format!("r{n}")));
        }
        assert_eq!(seen.runs.len(), MAX_RUNS);
        assert!(!seen.of("r999").is_empty() && seen.of("r0").is_empty());
    }
}
