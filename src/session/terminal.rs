//! Has the turn ended, and how: decided from transcript lines, newest first.
//!
//! Pure. [`TurnSearch`] takes lines from the end of a transcript backwards, stopping at the baseline, and is done as
//! soon as they decide; [`decide`] does so for an iterator. A reply found here is a candidate: on a gateway it counts
//! once the run is settled. A failure found here is evidence, not the end: gateways retry by themselves.

use std::ops::ControlFlow;

use serde_json::Value;

use super::exec_event::is_exec_event;
use super::line::{Custom, Line, Message, Role, StopReason};
use crate::failure::Facts;

/// Chunks of a broken-off reply are gathered up to this many bytes, counted from the newest.
pub const MAX_PARTIAL_BYTES: usize = 1024 * 1024;

/// How many errors before the last one are kept.
const MAX_EARLIER_ERRORS: usize = 8;

/// What the lines after the baseline say about the turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// No evidence yet.
    Nothing,
    /// The agent is at work, or about to be.
    MidTurn {
        /// What says so.
        why: Pending,
    },
    /// A complete reply.
    Reply(Reply),
    /// The newest evidence is a failure.
    Failed(Failure),
}

/// What keeps a turn open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    /// The agent called a tool.
    ToolCall,
    /// A tool has answered and the agent has not gone on yet.
    ToolResult,
    /// A message waits for its answer.
    UserMessage,
    /// A piece of a reply without a stop reason.
    Chunk,
    /// A stop without text, which gateways ask for again.
    EmptyReply,
    /// The only answer so far is `NO_REPLY` or `HEARTBEAT_OK`, which is none.
    SilentReply,
    /// A stop reason that is not known to end a turn.
    UnknownStop(String),
}

/// A complete reply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reply {
    /// Its text, whole; empty only on a local end line of a command that printed nothing.
    pub text: String,
    /// The token limit cut it.
    pub truncated: bool,
    /// Id of its entry.
    pub entry_id: Option<String>,
    /// The run that it belongs to.
    pub run_id: Option<String>,
    /// When it was written, ms since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// The model that wrote it.
    pub model: Option<String>,
    /// What the local runner wrote beside it.
    pub dispatch: Option<Value>,
}

/// How a failed turn stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailedStop {
    /// The model or its provider failed.
    Error,
    /// Someone stopped the turn, or a time limit did.
    Aborted,
}

/// Evidence of a failure, put together from all lines of the turn's end that tell of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// How it stopped, by the newest line that says so.
    pub stop: FailedStop,
    /// The error's own words.
    pub message: Option<String>,
    /// What the line with these words tells in fields of their own.
    pub facts: Box<Facts>,
    /// What older lines of the same end said, newest first: a gateway tries again before it gives up.
    pub earlier_errors: Vec<EarlierError>,
    /// What the reply had reached, empty when nothing is known. Never a result.
    pub partial: String,
    /// The model's provider.
    pub provider: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// The run that failed.
    pub run_id: Option<String>,
    /// When the newest line about it was written, ms since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// What the local runner wrote beside it.
    pub dispatch: Option<Value>,
    /// A complete reply right before the failure, with no message in between: for whoever knows that the run had
    /// finished when it was stopped.
    pub earlier_reply: Option<Box<Reply>>,
}

/// An error that was followed by another one.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlierError {
    /// Its words.
    pub message: String,
    /// What its line tells in fields of their own.
    pub facts: Facts,
}

/// Decides the turn from lines given newest first, reading no more of them than needed.
pub fn decide(newest_first: impl IntoIterator<Item = Line>) -> Turn {
    let mut search = TurnSearch::new();
    for line in newest_first {
        if let ControlFlow::Break(turn) = search.push(line) {
            return turn;
        }
    }
    search.finish()
}

/// The search for a turn's end, from the newest line backwards.
#[derive(Debug, Default)]
pub struct TurnSearch {
    failure: Option<FailureSearch>,
    silence: Silence,
}

/// Whether an answer that is none was passed on the way back.
#[derive(Debug, Default, PartialEq)]
enum Silence {
    #[default]
    None,
    /// Within the exchange that it ends: all up to and including its user line is passed over.
    Within,
    /// Before that exchange.
    Passed,
}

#[derive(Debug)]
struct FailureSearch {
    failure: Failure,
    /// Pieces of the broken-off reply, newest first.
    chunks: Vec<String>,
    chunk_bytes: usize,
    /// The partial text comes from an abort marker, which repeats the reply of a run that finished just in time.
    marked: bool,
}

impl TurnSearch {
    /// A search that has seen no line.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next older line; breaks with the turn as soon as it is decided.
    pub fn push(&mut self, line: Line) -> ControlFlow<Turn> {
        match line {
            Line::Custom(custom) if is_abort_entry(&custom) => {
                if self.silence != Silence::Within {
                    self.add_failure(Failure::from_custom(custom), false);
                }
                ControlFlow::Continue(())
            }
            Line::Message(message) => self.push_message(*message),
            Line::Session(_) | Line::Custom(_) | Line::Bookkeeping { .. } => {
                ControlFlow::Continue(())
            }
        }
    }

    /// The turn, when there are no older lines after the baseline.
    pub fn finish(self) -> Turn {
        match (self.failure, self.silence) {
            (Some(search), _) => Turn::Failed(search.close(None)),
            (None, Silence::None) => Turn::Nothing,
            (None, Silence::Within | Silence::Passed) => mid_turn(Pending::SilentReply),
        }
    }

    fn push_message(&mut self, message: Message) -> ControlFlow<Turn> {
        if self.silence == Silence::Within {
            if message.role == Role::User {
                self.silence = Silence::Passed;
            }
            return ControlFlow::Continue(());
        }
        let uncounted = match message.role {
            Role::Other => true,
            Role::User => is_exec_event(&message.text),
            Role::Assistant => message.injected && !message.abort_marker,
            Role::ToolResult => false,
        };
        if uncounted {
            return ControlFlow::Continue(());
        }
        if let Some(search) = self.failure.take() {
            return self.push_behind_failure(search, message);
        }
        match message.role {
            Role::Assistant => self.push_assistant(message),
            Role::ToolResult => ControlFlow::Break(mid_turn(Pending::ToolResult)),
            Role::User | Role::Other => ControlFlow::Break(mid_turn(Pending::UserMessage)),
        }
    }

    fn push_assistant(&mut self, message: Message) -> ControlFlow<Turn> {
        if message.abort_marker {
            self.add_failure(Failure::from_message(message, FailedStop::Aborted), true);
            return ControlFlow::Continue(());
        }
        let pending = match &message.stop_reason {
            Some(StopReason::Error) => {
                self.add_failure(Failure::from_message(message, FailedStop::Error), false);
                return ControlFlow::Continue(());
            }
            Some(StopReason::Aborted) => {
                self.add_failure(Failure::from_message(message, FailedStop::Aborted), false);
                return ControlFlow::Continue(());
            }
            Some(StopReason::ToolUse) => Pending::ToolCall,
            _ if !message.tool_calls.is_empty() => Pending::ToolCall,
            None => Pending::Chunk,
            Some(StopReason::Other(reason)) => Pending::UnknownStop(reason.clone()),
            Some(StopReason::Stop | StopReason::Length) => {
                if message.dispatch_flag("end") {
                    return ControlFlow::Break(Turn::Reply(Reply::from_message(message)));
                }
                if is_silent(&message.text) {
                    self.silence = Silence::Within;
                    return ControlFlow::Continue(());
                }
                match finished_reply(message) {
                    Some(reply) => return ControlFlow::Break(Turn::Reply(reply)),
                    None => Pending::EmptyReply,
                }
            }
        };
        ControlFlow::Break(mid_turn(pending))
    }

    /// Older lines only complete the evidence that a newer one gave.
    fn push_behind_failure(
        &mut self,
        mut search: FailureSearch,
        message: Message,
    ) -> ControlFlow<Turn> {
        if message.role == Role::Assistant {
            if message.abort_marker {
                search.add(Failure::from_message(message, FailedStop::Aborted), true);
                self.failure = Some(search);
                return ControlFlow::Continue(());
            }
            let stop = match &message.stop_reason {
                Some(StopReason::Error) => Some(FailedStop::Error),
                Some(StopReason::Aborted) => Some(FailedStop::Aborted),
                _ => None,
            };
            if let Some(stop) = stop {
                search.add(Failure::from_message(message, stop), false);
                self.failure = Some(search);
                return ControlFlow::Continue(());
            }
            let is_chunk = message.stop_reason.is_none() && message.tool_calls.is_empty();
            if is_chunk && search.takes_chunks() {
                search.add_chunk(message.text);
                self.failure = Some(search);
                return ControlFlow::Continue(());
            }
            if let Some(reply) = finished_reply(message) {
                return ControlFlow::Break(search.behind_reply(reply));
            }
        }
        ControlFlow::Break(Turn::Failed(search.close(None)))
    }

    fn add_failure(&mut self, failure: Failure, marked: bool) {
        match &mut self.failure {
            Some(search) => search.add(failure, marked),
            None => {
                self.failure = Some(FailureSearch {
                    failure,
                    chunks: Vec::new(),
                    chunk_bytes: 0,
                    marked,
                });
            }
        }
    }
}

impl FailureSearch {
    /// Fills from an older line what the newer ones left open.
    fn add(&mut self, older: Failure, marked: bool) {
        let known = &mut self.failure;
        match (&known.message, older.message) {
            (None, message) => {
                known.message = message;
                let facts = std::mem::take(&mut *known.facts);
                *known.facts = facts.or(*older.facts);
            }
            (Some(_), Some(message)) if known.earlier_errors.len() < MAX_EARLIER_ERRORS => {
                let facts = *older.facts;
                known.earlier_errors.push(EarlierError { message, facts });
            }
            _ => {}
        }
        known.provider = known.provider.take().or(older.provider);
        known.model = known.model.take().or(older.model);
        known.run_id = known.run_id.take().or(older.run_id);
        known.timestamp_ms = known.timestamp_ms.or(older.timestamp_ms);
        known.dispatch = known.dispatch.take().or(older.dispatch);
        if known.partial.is_empty() {
            known.partial = older.partial;
            self.marked = marked;
        }
    }

    fn takes_chunks(&self) -> bool {
        self.failure.partial.is_empty() && self.chunk_bytes < MAX_PARTIAL_BYTES
    }

    fn add_chunk(&mut self, text: String) {
        self.chunk_bytes += text.len();
        self.chunks.push(text);
    }

    fn close(mut self, earlier_reply: Option<Reply>) -> Failure {
        if self.failure.partial.is_empty() {
            self.failure.partial = self.chunks.into_iter().rev().collect();
        }
        self.failure.earlier_reply = earlier_reply.map(Box::new);
        self.failure
    }

    /// An abort marker that repeats a finished reply came too late: the reply stands. Otherwise it is a failure that
    /// followed a reply.
    fn behind_reply(self, reply: Reply) -> Turn {
        let partial = self.failure.partial.trim();
        let same_run = reply.run_id.is_some() && reply.run_id == self.failure.run_id;
        let repeats = !partial.is_empty() && reply.text.trim_start().starts_with(partial);
        if self.marked && (same_run || repeats) {
            return Turn::Reply(reply);
        }
        Turn::Failed(self.close(Some(reply)))
    }
}

impl Failure {
    fn from_message(message: Message, stop: FailedStop) -> Self {
        // The gateway's own name on an abort line is not the model that was at work.
        let (provider, model) = match message.injected {
            true => (None, None),
            false => (message.provider, message.model),
        };
        Self {
            stop,
            message: message.error_message,
            facts: Box::new(message.error_facts),
            earlier_errors: Vec::new(),
            partial: message.text,
            provider,
            model,
            run_id: message.run_id,
            timestamp_ms: message.timestamp_ms,
            dispatch: message.dispatch,
            earlier_reply: None,
        }
    }

    fn from_custom(custom: Custom) -> Self {
        let field = |name: &str| {
            let value = custom.data.get(name)?.as_str()?;
            (!value.is_empty()).then(|| value.to_owned())
        };
        Self {
            stop: FailedStop::Aborted,
            message: field("error"),
            facts: Box::new(Facts::from_value(&custom.data)),
            earlier_errors: Vec::new(),
            partial: String::new(),
            provider: field("provider"),
            model: field("model"),
            run_id: field("runId"),
            timestamp_ms: custom.timestamp_ms,
            dispatch: None,
            earlier_reply: None,
        }
    }
}

impl Reply {
    fn from_message(message: Message) -> Self {
        Self {
            text: message.text,
            truncated: message.stop_reason == Some(StopReason::Length),
            entry_id: message.id,
            run_id: message.run_id,
            timestamp_ms: message.timestamp_ms,
            model: message.model,
            dispatch: message.dispatch,
        }
    }
}

fn mid_turn(why: Pending) -> Turn {
    Turn::MidTurn { why }
}

/// The reply in an assistant message that ends a turn with text of its own.
fn finished_reply(message: Message) -> Option<Reply> {
    let ended = matches!(
        message.stop_reason,
        Some(StopReason::Stop | StopReason::Length)
    );
    let says_something = !message.text.trim().is_empty() && !is_silent(&message.text);
    (ended && says_something && message.tool_calls.is_empty()).then(|| Reply::from_message(message))
}

/// The answers by which an agent says that it has nothing to say.
fn is_silent(text: &str) -> bool {
    matches!(text.trim(), "NO_REPLY" | "HEARTBEAT_OK")
}

fn is_abort_entry(custom: &Custom) -> bool {
    matches!(
        custom.custom_type.as_str(),
        "openclaw:prompt-error" | "openclaw:turn-aborted"
    )
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
