//! What events tell of runs' errors that answers leave out: the typed classification of the newer generation. Pure.

use std::collections::VecDeque;

use serde_json::Value;

use crate::failure::Facts;

/// Runs that are remembered; a gateway tells every connection of every run.
const MAX_RUNS: usize = 64;

/// The typed facts of each run's last error, of the runs that erred last.
#[derive(Debug, Default)]
pub(super) struct Observations {
    runs: VecDeque<(String, Facts)>,
}

impl Observations {
    /// Takes an event. A run that starts, or ends well, has no error any more.
    pub(super) fn take(&mut self, name: &str, payload: &Value) {
        let at = |path: &str| payload.pointer(path);
        let text = |path: &str| at(path).and_then(Value::as_str);
        let Some(run_id) = text("/runId") else {
            return;
        };
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
