//! A session whose row shows nothing: its messages tell of a tool at work, of which the row says nothing.

use std::time::{Duration, Instant};

use super::steers::without_unanswered;
use super::turn;
use crate::backend::{Evidence, Liveness, RunRef};
use crate::session::line::Message;
use crate::session::terminal::{Pending, Turn};

/// How often the messages of a session without other news are read, and how long one has to be without any before.
const QUIET_LOOK: Duration = Duration::from_secs(60);

/// What the messages of a session tell of the turn that is at work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct AtWork {
    mid_turn: bool,
    open_tool: bool,
}

impl AtWork {
    /// Reads it from the session's messages, oldest first.
    pub(super) fn of(messages: Vec<Message>, run: &RunRef) -> Self {
        // Behind a message that nobody has answered, a tool call is as open as before.
        let (kept, is_unanswered) = without_unanswered(messages, run.followers());
        let why = match turn(kept, run) {
            Turn::MidTurn { why } => Some(why),
            Turn::Nothing | Turn::Reply(_) | Turn::Failed(_) => None,
        };
        let is_mid_turn = matches!(
            why,
            Some(Pending::ToolCall | Pending::ToolResult | Pending::UserMessage | Pending::Chunk)
        );
        Self {
            mid_turn: is_unanswered || is_mid_turn,
            open_tool: why == Some(Pending::ToolCall),
        }
    }

    /// Adds it to what the row shows.
    pub(super) fn show(self, evidence: &mut Evidence) {
        evidence.mid_turn = self.mid_turn;
        evidence.open_tool = self.open_tool;
    }
}

/// The row of a session at work has shown nothing for a while: its messages are worth a look.
pub(super) fn is_quiet(evidence: &Evidence, now_ms: i64) -> bool {
    let quiet_ms = i64::try_from(QUIET_LOOK.as_millis()).unwrap_or(i64::MAX);
    evidence.settled.is_none()
        && evidence.liveness == Liveness::Alive
        && evidence
            .last_activity_ms
            .is_none_or(|at| now_ms.saturating_sub(at) >= quiet_ms)
}

/// A session without news, and what its messages said of it last.
#[derive(Default)]
pub(super) struct Quiet {
    /// The row's activity and tokens, and since when they are so.
    since: Option<(Option<i64>, u64, Instant)>,
    asked_at: Option<Instant>,
    known: AtWork,
}

impl Quiet {
    /// Whether the messages are to be read.
    pub(super) fn is_to_be_asked(&mut self, evidence: &Evidence, now_ms: i64) -> bool {
        let row = (evidence.last_activity_ms, evidence.position);
        let since = match self.since {
            Some((activity, position, since)) if (activity, position) == row => since,
            before => {
                *self = Self {
                    since: Some((row.0, row.1, Instant::now())),
                    ..Self::default()
                };
                // It may have been quiet for long when it is looked at first.
                return before.is_none() && is_quiet(evidence, now_ms);
            }
        };
        let last = self.asked_at.unwrap_or(since);
        evidence.settled.is_none() && last.elapsed() >= QUIET_LOOK
    }

    /// Takes in what the messages tell.
    pub(super) fn learn(&mut self, known: AtWork) {
        self.asked_at = Some(Instant::now());
        self.known = known;
    }

    /// What is known since the last news.
    pub(super) fn known(&self) -> AtWork {
        self.known
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::record::Steer;
    use crate::session::line::Line;

    const NOW: i64 = 1_700_000_900_000;

    fn messages(list: &[Value]) -> Vec<Message> {
        let lines = list.iter().map(|value| Line::from_value(value.clone()));
        lines
            .map(|line| match line {
                Ok(Line::Message(message)) => *message,
                other => panic!("no message: {other:?}"),
            })
            .collect()
    }

    fn at_work(list: &[Value]) -> (bool, bool) {
        let run = RunRef {
            steers: vec![Steer::new("s", "Also the tests.", false, 1_700_000_009_000)],
            ..RunRef::default()
        };
        let found = AtWork::of(messages(list), &run);
        (found.mid_turn, found.open_tool)
    }

    #[test]
    fn a_tool_call_is_open_until_it_answers_whatever_is_queued_behind_it() {
        let asked =
            json!({"role": "user", "content": "Do it.", "timestamp": 1_700_000_001_000_i64});
        let called = json!({"role": "assistant", "timestamp": 1_700_000_002_000_i64, "stopReason": "toolUse",
            "content": [{"type": "toolCall", "id": "c", "name": "exec", "arguments": {}}]});
        let queued = json!({"role": "user", "content": "Also the tests.", "timestamp": 1_700_000_009_000_i64});
        let answered = json!({"role": "toolResult", "toolCallId": "c", "content": "hi"});
        let reply = json!({"role": "assistant", "content": "Fine.", "stopReason": "stop"});
        let cases: [(&[&Value], (bool, bool)); 6] = [
            (&[&asked], (true, false)),
            (&[&asked, &called], (true, true)),
            (&[&asked, &called, &queued], (true, true)),
            (&[&asked, &called, &answered], (true, false)),
            (&[&asked, &reply], (false, false)),
            (&[&asked, &reply, &queued], (true, false)),
        ];
        for (list, expected) in cases {
            let list: Vec<Value> = list.iter().map(|value| (*value).clone()).collect();
            assert_eq!(at_work(&list), expected, "{list:?}");
        }
    }

    fn row(liveness: Liveness, quiet_s: i64) -> Evidence {
        Evidence {
            liveness,
            last_activity_ms: Some(NOW - quiet_s * 1000),
            is_known: true,
            ..Evidence::unknown()
        }
    }

    #[test]
    fn messages_are_read_of_a_session_at_work_that_is_quiet() {
        assert!(is_quiet(&row(Liveness::Alive, 60), NOW));
        assert!(!is_quiet(&row(Liveness::Alive, 59), NOW));
        assert!(!is_quiet(&row(Liveness::Gone, 600), NOW));
        assert!(!is_quiet(&row(Liveness::Absent, 600), NOW));
    }

    #[test]
    fn whoever_begins_to_watch_a_session_that_is_quiet_for_long_asks_at_once() {
        let mut late = Quiet::default();
        assert!(late.is_to_be_asked(&row(Liveness::Alive, 700), NOW));
        late.learn(AtWork {
            mid_turn: true,
            open_tool: true,
        });
        assert!(!late.is_to_be_asked(&row(Liveness::Alive, 700), NOW));
        let mut seen = row(Liveness::Alive, 700);
        late.known().show(&mut seen);
        assert!(seen.open_tool);
        // News: what was known is old.
        assert!(!late.is_to_be_asked(&row(Liveness::Alive, 1), NOW));
        assert_eq!(late.known(), AtWork::default());
        assert!(!Quiet::default().is_to_be_asked(&row(Liveness::Alive, 1), NOW));
    }
}
