//! What earlier runners of a run left in its session's transcript, and what was put among it.

use std::io;
use std::path::Path;

use serde_json::Value;

use super::end_line::store_status;
use super::intrusion::Intrusion;
use crate::record::FailureKind;
use crate::session::line::{Line, Message};
use crate::session::reader::read_all;

/// What a new runner finds.
#[derive(Debug, Default)]
pub struct Past {
    /// The run's prompt is there.
    pub prompted: bool,
    /// So many bytes of the command's output were copied.
    pub streamed: u64,
    /// The store's status for how the run ended; `None` when its end line is not there.
    pub end_status: Option<&'static str>,
    /// Lines after the prompt that no runner wrote.
    strangers: u64,
}

impl Past {
    /// Reads the whole transcript; a missing one has nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(transcript: &Path, run_id: &str) -> io::Result<Self> {
        let mut past = Past::default();
        let mut lines = read_all(transcript)?;
        let mut unreadable = 0;
        while let Some(line) = lines.next() {
            let line = line?.line;
            if past.counts_strangers() {
                past.strangers += lines.skipped() - unreadable;
            }
            unreadable = lines.skipped();
            match line {
                Line::Message(message) if message.run_id.as_deref() == Some(run_id) => {
                    past.add(&message);
                }
                // Another run of ours may have had the session while this one had no runner.
                Line::Message(message) if is_ours(&message) => {}
                _ if past.counts_strangers() => past.strangers += 1,
                _ => {}
            }
        }
        if past.counts_strangers() {
            past.strangers += lines.skipped() - unreadable;
        }
        Ok(past)
    }

    /// What another program did to the transcript of a run that was started.
    pub fn intrusion(&self) -> Option<Intrusion> {
        match (self.prompted, self.strangers) {
            (false, _) => Some(Intrusion::Lost),
            (true, 0) => None,
            (true, lines) => Some(Intrusion::Mixed { lines }),
        }
    }

    fn counts_strangers(&self) -> bool {
        self.prompted && self.end_status.is_none()
    }

    fn add(&mut self, message: &Message) {
        self.prompted = true;
        let Some(note) = &message.dispatch else {
            return;
        };
        if let Some(offset) = note.get("offset").and_then(Value::as_u64) {
            self.streamed = offset;
        }
        if note.get("end") == Some(&Value::Bool(true)) {
            // A kind that another version wrote is a failure, too.
            let read =
                |kind: &Value| serde_json::from_value(kind.clone()).unwrap_or(FailureKind::Unknown);
            self.end_status = Some(store_status(note.get("kind").map(read)));
        }
    }
}

/// A runner of ours wrote it.
fn is_ours(message: &Message) -> bool {
    let note = message.dispatch.as_ref();
    note.is_some_and(|note| note.get("runId").is_some_and(Value::is_string))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const HEADER: &str = r#"{"type":"session","version":3,"id":"s"}"#;
    const BEFORE: &str = r#"{"role":"user","content":"long before"}"#;
    const PROMPT: &str = r#"{"dispatch":{"runId":"r"},"type":"message","id":"1","message":{"role":"user","content":"go"}}"#;
    const CHUNK: &str = r#"{"dispatch":{"runId":"r","offset":5},"type":"message","id":"2","message":{"role":"assistant","content":"hello"}}"#;
    const END: &str = r#"{"dispatch":{"runId":"r","end":true},"type":"message","id":"3","message":{"role":"assistant","content":"hello","stopReason":"stop"}}"#;
    const OTHER_RUN: &str = r#"{"type":"message","id":"4","message":{"role":"user","content":"go"},"dispatch":{"runId":"q"}}"#;
    const STRANGER: &str =
        r#"{"type":"message","id":"5","message":{"role":"user","content":"hi"}}"#;
    const EVENT: &str = r#"{"type":"custom","customType":"model-snapshot","id":"6"}"#;
    const GARBAGE: &str = "no JSON";

    #[rstest]
    #[case::its_own(&[HEADER, BEFORE, PROMPT, CHUNK], None)]
    #[case::of_another_run(&[HEADER, PROMPT, OTHER_RUN, CHUNK], None)]
    #[case::a_message(&[HEADER, PROMPT, STRANGER, CHUNK], Some(Intrusion::Mixed { lines: 1 }))]
    #[case::an_event_at_the_end(&[HEADER, PROMPT, CHUNK, EVENT], Some(Intrusion::Mixed { lines: 1 }))]
    #[case::no_json(&[HEADER, PROMPT, GARBAGE, CHUNK, GARBAGE], Some(Intrusion::Mixed { lines: 2 }))]
    #[case::behind_the_end(&[HEADER, PROMPT, CHUNK, END, STRANGER, GARBAGE], None)]
    #[case::no_prompt(&[HEADER, GARBAGE, BEFORE, OTHER_RUN], Some(Intrusion::Lost))]
    #[case::nothing(&[], Some(Intrusion::Lost))]
    fn lines_after_the_prompt_that_no_runner_wrote_are_anothers(
        #[case] lines: &[&str],
        #[case] expected: Option<Intrusion>,
    ) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("s.jsonl");
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(&path, text).expect("writable");
        let past = Past::read(&path, "r").expect("readable");
        assert_eq!(past.intrusion(), expected);
        assert_eq!(past.prompted, lines.contains(&PROMPT));
        assert_eq!(past.streamed, if lines.contains(&CHUNK) { 5 } else { 0 });
        assert_eq!(past.end_status.is_some(), lines.contains(&END));
    }
}
