//! Whether a gateway's run works: the session's row, and where that is silent the agent's messages.

use std::time::Duration;

use super::sessions::messages;
use super::steers::without_unanswered;
use super::{believed, look, turn};
use crate::backend::{Pulse, RunRef, Work};
use crate::gateway::{Client, GatewayError};
use crate::home::Home;
use crate::session::line::{Message, Role};
use crate::session::terminal::{Pending, Turn};

/// What row and messages say of a run now. Messages are read where the row has shown nothing for `quiet`, or may show a
/// nudge.
///
/// # Errors
/// As any call.
pub fn pulse(
    home: &Home,
    client: &mut Client,
    run: &RunRef,
    quiet: Duration,
) -> Result<Pulse, GatewayError> {
    let evidence = believed(&look(home, client, run, Duration::ZERO)?);
    let quiet_ms = i64::try_from(quiet.as_millis()).unwrap_or(i64::MAX);
    let is_fresh = evidence
        .last_activity_ms
        .is_some_and(|at| home.now_ms().saturating_sub(at) < quiet_ms);
    let is_nudged = run.steers.iter().any(|steer| steer.nudge);
    if evidence.settled.is_some() || is_fresh && !is_nudged {
        return Ok(Pulse {
            evidence,
            work: None,
        });
    }
    let work = work(messages(client, &run.session_key)?, run);
    Ok(Pulse {
        evidence,
        work: Some(work),
    })
}

/// What the agent and its tools have done. What others said to it is not theirs.
fn work(all: Vec<Message>, run: &RunRef) -> Work {
    // Behind a message that nobody has answered, a tool call is as open as before.
    let (all, _) = without_unanswered(all, run.followers());
    let mut work = Work::default();
    let mut called_at_ms = None;
    for message in &all {
        if !matches!(message.role, Role::Assistant | Role::ToolResult) {
            continue;
        }
        let size = 1 + message.text.len() + message.tool_calls.len();
        work.amount = work
            .amount
            .wrapping_add(u64::try_from(size).unwrap_or(u64::MAX));
        work.at_ms = work.at_ms.max(message.timestamp_ms);
        if !message.tool_calls.is_empty() {
            called_at_ms = message.timestamp_ms;
        }
    }
    let turn = turn(all, run);
    let is_open = matches!(
        turn,
        Turn::MidTurn {
            why: Pending::ToolCall
        }
    );
    work.tool_since_ms = is_open.then(|| called_at_ms.unwrap_or(run.since_ms));
    work
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Steer;
    use crate::session::line::Line;
    use serde_json::{Value, json};

    fn messages(list: &[Value]) -> Vec<Message> {
        let lines = list.iter().map(|value| Line::from_value(value.clone()));
        lines
            .map(|line| match line {
                Ok(Line::Message(message)) => *message,
                other => panic!("no message: {other:?}"),
            })
            .collect()
    }

    fn called() -> Value {
        json!({"role": "assistant", "timestamp": 1_700_000_002_000_i64, "stopReason": "toolUse",
            "content": [{"type": "toolCall", "id": "c", "name": "exec", "arguments": {}}]})
    }

    #[test]
    fn what_others_say_to_the_agent_is_not_its_work() {
        let asked =
            json!({"role": "user", "content": "Do it.", "timestamp": 1_700_000_001_000_i64});
        let nudged = json!({"role": "user", "content": "Are you there?", "timestamp": 1_700_000_009_000_i64});
        let mut run = RunRef::default();
        let before = work(messages(&[asked.clone(), called()]), &run);
        run.steers = vec![Steer::new("s", "Are you there?", false, 1_700_000_009_000)];
        let after = work(messages(&[asked.clone(), called(), nudged.clone()]), &run);
        assert_eq!(before, after);
        assert_eq!(before.at_ms, Some(1_700_000_002_000));
        assert_eq!(before.tool_since_ms, Some(1_700_000_002_000));
        let answered = json!({"role": "assistant", "content": "Here.", "stopReason": "stop",
            "timestamp": 1_700_000_010_000_i64});
        let answered = work(messages(&[asked, called(), nudged, answered]), &run);
        assert_ne!(answered.amount, after.amount);
        assert_eq!(answered.at_ms, Some(1_700_000_010_000));
        assert_eq!(answered.tool_since_ms, None);
    }

    #[test]
    fn a_tool_that_has_answered_is_not_open() {
        let result = json!({"role": "toolResult", "toolCallId": "c", "content": "hi",
            "timestamp": 1_700_000_005_000_i64});
        let done = work(messages(&[called(), result]), &RunRef::default());
        assert_eq!(done.tool_since_ms, None);
        assert_eq!(done.at_ms, Some(1_700_000_005_000));
        assert_eq!(work(Vec::new(), &RunRef::default()), Work::default());
    }
}
