//! A transcript's messages told to a person: who speaks and when, what tools are called with and what they answer, each
//! kept short. Thinking is left out.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use serde_json::Value;

use super::OutputReader;
use crate::cli::output::{Output, write_stdout};
use crate::cli::terminal::fit;
use crate::record::time;
use crate::session::content::ToolCall;
use crate::session::line::{Message, Role};

/// The most columns of one argument of a tool call.
const ARGUMENT_COLUMNS: usize = 60;

/// The most lines of a tool's answer.
const ANSWER_LINES: usize = 5;

/// Tells messages, one after another.
#[derive(Default)]
pub(super) struct Teller {
    /// Bytes of the run's output that chunk lines have brought already.
    streamed: u64,
    /// The last thing printed did not end its line.
    mid_line: bool,
    /// The names of the tools that were called, by the calls' ids.
    called: HashMap<String, String>,
}

impl Teller {
    /// Nothing follows: the shell's prompt starts a line of its own.
    pub(super) fn end(&mut self) -> io::Result<()> {
        match std::mem::take(&mut self.mid_line) {
            true => write_stdout(b"\n"),
            false => Ok(()),
        }
    }

    /// Tells one message.
    pub(super) fn tell(&mut self, output: Output, message: &Message) -> io::Result<()> {
        let note = message.dispatch.as_ref();
        let number = |name: &str| note.and_then(|note| note.get(name)).and_then(Value::as_u64);
        if let Some(offset) = number("offset") {
            if self.streamed == 0 {
                self.heading(output, message, "assistant", false)?;
            }
            self.streamed = offset;
            return self.piece(output, &message.text);
        }
        if message.dispatch_flag("end") {
            return self.tell_end(output, message);
        }
        if message.role == Role::ToolResult {
            return self.tell_answer(output, message);
        }
        let who = match &message.role {
            Role::User => "user",
            Role::Assistant if message.injected => "assistant (put in by the gateway)",
            Role::Assistant => "assistant",
            Role::ToolResult | Role::Other => "other",
        };
        let is_silent = message.text.is_empty() && message.tool_calls.is_empty();
        match &message.error_message {
            Some(error) if is_silent => {
                return self.heading(output, message, &format!("{who} failed: {error}"), true);
            }
            None if is_silent && message.has_thinking => {
                return self.heading(output, message, &format!("{who} thinks"), false);
            }
            _ => self.heading(output, message, who, false)?,
        }
        self.piece(output, &message.text)?;
        for call in &message.tool_calls {
            self.end()?;
            output.remark(&format!("  calls {}", call_in_short(call)))?;
            if let (Some(id), Some(name)) = (&call.id, &call.name) {
                self.called.insert(id.clone(), name.clone());
            }
        }
        match &message.error_message {
            Some(error) => self.heading(output, message, &format!("failed: {error}"), true),
            None => Ok(()),
        }
    }

    fn tell_end(&mut self, output: Output, message: &Message) -> io::Result<()> {
        let raw = message
            .dispatch
            .as_ref()
            .and_then(|note| note.get("rawPath"))
            .and_then(Value::as_str);
        if self.streamed == 0 && !message.text.is_empty() {
            self.heading(output, message, "assistant", false)?;
        }
        self.rest(output, raw.map(Path::new), &message.text)?;
        self.streamed = 0;
        match &message.error_message {
            Some(error) => self.heading(output, message, &format!("ended: {error}"), true),
            None => self.heading(output, message, "ended", false),
        }
    }

    /// The beginning of what a tool answered, and how much it was.
    fn tell_answer(&mut self, output: Output, message: &Message) -> io::Result<()> {
        let answer = message.tool_answers.first();
        let called = answer
            .and_then(|answer| answer.call_id.as_ref())
            .and_then(|id| self.called.get(id));
        let name = answer.and_then(|answer| answer.name.as_ref()).or(called);
        let failed = message.tool_answers.iter().any(|answer| answer.is_error);
        let who = format!(
            "{} {}, {}",
            name.map_or("a tool", String::as_str),
            if failed { "failed" } else { "answers" },
            size_of(message.text.len())
        );
        self.heading(output, message, &who, failed)?;
        let text = message.text.trim_end();
        if text.is_empty() {
            return Ok(());
        }
        let lines = text.lines().count();
        for line in text.lines().take(ANSWER_LINES) {
            output.remark(&format!("  {}", line.replace('\t', "    ")))?;
        }
        match lines.saturating_sub(ANSWER_LINES) {
            0 => Ok(()),
            more => output.remark(&format!("  … {more} more lines")),
        }
    }

    /// What the end line knows and no chunk brought.
    fn rest(&mut self, output: Output, raw: Option<&Path>, text: &str) -> io::Result<()> {
        if self.streamed == 0 && raw.is_none() {
            return self.piece(output, text);
        }
        let Some(raw) = raw else {
            return Ok(());
        };
        let mut reader = OutputReader::at(self.streamed);
        while let Some(piece) = reader.next_piece(raw)? {
            self.piece(output, &piece)?;
        }
        Ok(())
    }

    fn heading(
        &mut self,
        output: Output,
        message: &Message,
        what: &str,
        is_bad: bool,
    ) -> io::Result<()> {
        self.end()?;
        let at = message.timestamp_ms.map(time::iso).unwrap_or_default();
        let clock = at.get(11..19).unwrap_or_default();
        output.heading(clock, what, is_bad)
    }

    fn piece(&mut self, output: Output, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.mid_line = !text.ends_with('\n');
        output.untrusted_piece(text)
    }
}

/// A call as one would write it: `read(path: "hello.txt", limit: 20)`.
fn call_in_short(call: &ToolCall) -> String {
    let name = call.name.as_deref().unwrap_or("a tool");
    let parsed;
    let arguments = match &call.arguments {
        // Some dialects give the object as a text.
        Value::String(text) => match serde_json::from_str(text) {
            Ok(value) => {
                parsed = value;
                &parsed
            }
            Err(_) => &call.arguments,
        },
        other => other,
    };
    let short = |value: &Value| fit(&value.to_string(), ARGUMENT_COLUMNS).into_owned();
    let inside = match arguments {
        Value::Null => String::new(),
        Value::Object(fields) => {
            let fields = fields.iter();
            let parts: Vec<String> = fields
                .map(|(name, value)| format!("{name}: {}", short(value)))
                .collect();
            parts.join(", ")
        }
        other => short(other),
    };
    format!("{name}({inside})")
}

/// `1 byte`, `870 bytes`, `1.2 KB`, `3.4 MB`.
fn size_of(bytes: usize) -> String {
    let tenths = |unit: usize| {
        let tenths = bytes.saturating_mul(10) / unit;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match bytes {
        1 => "1 byte".to_owned(),
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} KB", tenths(1_000)),
        _ => format!("{} MB", tenths(1_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    #[rstest]
    #[case(json!({"path": "a b", "limit": 20}), r#"read(path: "a b", limit: 20)"#)]
    #[case(json!("{\"path\":\"a\"}"), r#"read(path: "a")"#)]
    #[case(json!("no JSON"), r#"read("no JSON")"#)]
    #[case(json!({"old": [1, {"a": null}]}), r#"read(old: [1,{"a":null}])"#)]
    #[case(json!(null), "read()")]
    fn a_call_is_told_in_one_line(#[case] arguments: Value, #[case] told: &str) {
        let call = ToolCall {
            id: None,
            name: Some("read".to_owned()),
            arguments,
        };
        assert_eq!(call_in_short(&call), told);
    }

    #[test]
    fn a_long_argument_is_cut() {
        let call = ToolCall {
            id: None,
            name: None,
            arguments: json!({"text": "line\n".repeat(1000)}),
        };
        let told = call_in_short(&call);
        assert!(told.starts_with(r#"a tool(text: "line\nline\n"#), "{told}");
        assert!(told.ends_with("…)") && told.chars().count() < 80, "{told}");
    }

    #[rstest]
    #[case(0, "0 bytes")]
    #[case(1, "1 byte")]
    #[case(999, "999 bytes")]
    #[case(1_000, "1.0 KB")]
    #[case(1_299, "1.2 KB")]
    #[case(3_450_000, "3.4 MB")]
    fn sizes_are_short(#[case] bytes: usize, #[case] told: &str) {
        assert_eq!(size_of(bytes), told);
    }
}
