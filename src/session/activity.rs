//! How much has happened in a session, counted in messages. Pure.
//!
//! What counts is what a person would: the prompts, what the agent said or called, and what its tools answered. When an
//! agent signals its completion from within its turn, gateways of both generations show the turn up to that very call: a
//! prompt and one message are there where the signal is the first thing that it does, and each tool call before it adds
//! two. So more than two messages means that something was done. A signal that was turned away is no work: neither its
//! answer nor the message that holds nothing but that call counts, or signalling twice would be enough.

use super::line::{Message, Role};

/// So many of the newest messages are enough to tell whether anything was done.
pub const NEWEST_MESSAGES: usize = 50;

/// What a tool's answer holds when the signal was turned away.
const TURNED_AWAY: &str = "] REJECTED: ";

/// Counts the messages behind `last_entry_id` (all of them where it is not among these), oldest first.
pub fn count(messages: &[Message], last_entry_id: Option<&str>) -> usize {
    let known = messages
        .iter()
        .rposition(|message| last_entry_id.is_some() && message.id.as_deref() == last_entry_id);
    let later = messages
        .get(known.map_or(0, |at| at + 1)..)
        .unwrap_or_default();
    let turned_away: Vec<&str> = later
        .iter()
        .filter(|message| is_turned_away(message))
        .flat_map(|message| &message.tool_answers)
        .filter_map(|answer| answer.call_id.as_deref())
        .collect();
    let only_signals = |message: &Message| {
        let mut calls = message.tool_calls.iter();
        !message.tool_calls.is_empty()
            && message.text.trim().is_empty()
            && calls.all(|call| {
                call.id
                    .as_deref()
                    .is_some_and(|id| turned_away.contains(&id))
            })
    };
    let counts = |message: &&Message| match message.role {
        _ if message.injected || message.abort_marker => false,
        Role::User => true,
        Role::Assistant => !only_signals(message),
        Role::ToolResult => !is_turned_away(message),
        Role::Other => false,
    };
    later.iter().filter(counts).count()
}

fn is_turned_away(message: &Message) -> bool {
    message.role == Role::ToolResult
        && message.tool_answers.len() <= 1
        && message.text.contains(TURNED_AWAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::line::Line;
    use serde_json::{Value, json};

    fn messages(lines: &[Value]) -> Vec<Message> {
        let read = |line: &Value| match Line::from_value(line.clone()) {
            Ok(Line::Message(message)) => *message,
            other => panic!("no message: {other:?}"),
        };
        lines.iter().map(read).collect()
    }

    fn prompt(id: &str) -> Value {
        json!({"role": "user", "content": "Do it.", "__openclaw": {"id": id}})
    }

    fn call(id: &str) -> Value {
        json!({"role": "assistant", "stopReason": "toolUse",
            "content": [{"type": "toolCall", "id": id, "name": "exec", "arguments": {}}]})
    }

    fn answer(id: &str, text: &str) -> Value {
        json!({"role": "toolResult", "toolCallId": id, "toolName": "exec",
            "content": [{"type": "text", "text": text}]})
    }

    const NO: &str =
        "[dispatch] REJECTED: Session has only 2 messages\n\nCommand exited with code 1";

    #[test]
    fn the_signal_of_an_agent_that_did_nothing_is_the_second_message() {
        assert_eq!(count(&[], None), 0);
        assert_eq!(count(&messages(&[prompt("u")]), None), 1);
        assert_eq!(count(&messages(&[prompt("u"), call("a")]), None), 2);
    }

    #[test]
    fn one_tool_call_before_it_is_work() {
        let all = [prompt("u"), call("a"), answer("a", "12 files"), call("b")];
        assert_eq!(count(&messages(&all), None), 4);
    }

    #[test]
    fn a_signal_that_was_turned_away_is_none() {
        let mut all = vec![prompt("u"), call("a"), answer("a", NO), call("b")];
        assert_eq!(count(&messages(&all), None), 2);
        all.extend([
            answer("b", NO),
            call("c"),
            answer("c", "12 files"),
            call("d"),
        ]);
        assert_eq!(count(&messages(&all), None), 4);
    }

    #[test]
    fn what_was_said_beside_a_signal_counts() {
        let said = json!({"role": "assistant", "content": [
            {"type": "text", "text": "It is 4."}, {"type": "toolCall", "id": "a", "name": "exec"}]});
        assert_eq!(
            count(
                &messages(&[prompt("u"), said, answer("a", NO), call("b")]),
                None
            ),
            3
        );
        let both = json!({"role": "assistant", "content": [
            {"type": "toolCall", "id": "a"}, {"type": "toolCall", "id": "x"}]});
        let all = [
            prompt("u"),
            both,
            answer("a", NO),
            answer("x", "ok"),
            call("b"),
        ];
        assert_eq!(count(&messages(&all), None), 4);
    }

    #[test]
    fn what_was_there_before_the_run_does_not_count() {
        let all = [
            prompt("old"),
            call("a"),
            answer("a", "x"),
            prompt("new"),
            call("b"),
        ];
        let all = messages(&all);
        assert_eq!(count(&all, Some("old")), 4);
        assert_eq!(count(&all, Some("new")), 1);
        // Among the newest messages it is not there any more: all of them came later.
        assert_eq!(count(&all, Some("older")), 5);
    }

    #[test]
    fn what_the_gateway_put_in_does_not_count() {
        let note = json!({"role": "assistant", "content": "x", "stopReason": "stop",
            "provider": "openclaw", "model": "gateway-injected"});
        let other = json!({"role": "system", "content": "x"});
        assert_eq!(count(&messages(&[prompt("u"), note, other]), None), 1);
    }
}
