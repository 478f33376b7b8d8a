//! One transcript line, read into what the rest of dispatch asks about it.
//!
//! Two shapes are read: the envelope that gateways and the local runner write
//! (`{"type":"message","id",..,"message":{..}}`) and the bare message that `sessions.get` and other tools give
//! (`{"role","content",..}`). Fields of an unexpected type count as absent. What a line means for the turn is decided in
//! [`terminal`](super::terminal).

use serde_json::{Map, Value};

use super::content::{Content, ToolAnswer, ToolCall, text};
use crate::failure::Facts;
use crate::record::json;
use crate::record::time;

/// The model names of lines that the gateway put in by itself: its notes, and copies of what it sent to a chat.
const INJECTED_MODELS: [&str; 2] = ["gateway-injected", "delivery-mirror"];

/// A line of a transcript.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// The header that names the session.
    Session(Header),
    /// What a user, the agent or a tool said.
    Message(Box<Message>),
    /// `custom` and `custom_message` entries of gateways and extensions.
    Custom(Custom),
    /// Anything else: model changes, compactions, entries of other tools.
    Bookkeeping {
        /// The entry's `type`, empty when it has none.
        entry_type: String,
        /// The entry's id.
        id: Option<String>,
    },
}

/// The first line of a transcript.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    /// The session's id.
    pub id: Option<String>,
    /// The format's version.
    pub version: Option<i64>,
    /// The directory that the agent works in.
    pub cwd: Option<String>,
}

/// An entry that a gateway or an extension added.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Custom {
    /// The entry's id.
    pub id: Option<String>,
    /// When it was written, ms since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// Its `customType` (`model-snapshot`, `openclaw:prompt-error`, ...).
    pub custom_type: String,
    /// Its `data`, null when it has none.
    pub data: Value,
    /// The text of a `custom_message`.
    pub content: Option<String>,
}

/// Who speaks in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A person, another session, or the gateway in their name.
    User,
    /// The agent.
    Assistant,
    /// A tool's answer, also where it comes under the role `user`.
    ToolResult,
    /// Any other role.
    Other,
}

/// Why the model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// The turn is complete (`stop`, `end_turn`, `stop_sequence`).
    Stop,
    /// The token limit cut the reply (`length`, `max_tokens`).
    Length,
    /// It waits for a tool (`toolUse`, `tool_use`, `tool_calls`).
    ToolUse,
    /// The model or its provider failed.
    Error,
    /// Someone stopped it, or a time limit did.
    Aborted,
    /// A reason that is not known here.
    Other(String),
}

/// A message of a transcript.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The entry's id.
    pub id: Option<String>,
    /// When it was written, ms since the Unix epoch.
    pub timestamp_ms: Option<i64>,
    /// Who speaks.
    pub role: Role,
    /// The text: a string as it is, blocks joined by a newline, empty when there is none. Thinking is left out.
    pub text: String,
    /// It holds a thinking block.
    pub has_thinking: bool,
    /// The tool calls in it.
    pub tool_calls: Vec<ToolCall>,
    /// The tool answers in it.
    pub tool_answers: Vec<ToolAnswer>,
    /// Why the model stopped; `None` for chunks and for everybody but the agent.
    pub stop_reason: Option<StopReason>,
    /// What went wrong.
    pub error_message: Option<String>,
    /// What is told about it in fields of their own; empty where nothing went wrong.
    pub error_facts: Facts,
    /// The dialect in which the model was asked.
    pub api: Option<String>,
    /// The model's provider.
    pub provider: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Tokens of this call, where the line says so.
    pub total_tokens: Option<u64>,
    /// The run that it belongs to.
    pub run_id: Option<String>,
    /// The gateway put it in: a note, or what was left of an aborted reply.
    pub injected: bool,
    /// It carries `openclawAbort`: its text is what an aborted reply had reached.
    pub abort_marker: bool,
    /// What the local runner wrote beside the message.
    pub dispatch: Option<Value>,
}

/// Why a line cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is not JSON.
    #[error("a transcript line is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// It is JSON, but no object.
    #[error("a transcript line is no JSON object")]
    NotAnObject,
}

impl Line {
    /// Reads one line, without or with its newline.
    ///
    /// # Errors
    /// [`LineError`] when it is no JSON object.
    pub fn parse(bytes: &[u8]) -> Result<Self, LineError> {
        Self::from_value(json::parse_bytes(bytes)?)
    }

    /// Takes a line that is parsed already, such as a message of `sessions.get`.
    ///
    /// # Errors
    /// [`LineError::NotAnObject`].
    pub fn from_value(value: Value) -> Result<Self, LineError> {
        let Value::Object(mut entry) = value else {
            return Err(LineError::NotAnObject);
        };
        let entry_type = text(&entry, "type").unwrap_or_default();
        Ok(match entry_type.as_str() {
            "session" => Self::Session(Header {
                id: text(&entry, "id"),
                version: entry.get("version").and_then(Value::as_i64),
                cwd: text(&entry, "cwd"),
            }),
            "custom" | "custom_message" => Self::Custom(Custom {
                id: text(&entry, "id"),
                timestamp_ms: entry.get("timestamp").and_then(time::parse),
                custom_type: text(&entry, "customType").unwrap_or_default(),
                data: entry.remove("data").unwrap_or_default(),
                content: text_content(entry.remove("content")),
            }),
            "message" | "" => match entry.remove("message") {
                Some(Value::Object(message)) => Message::read(message, entry).into(),
                _ if entry.get("role").is_some_and(Value::is_string) => {
                    Message::read(entry, Map::new()).into()
                }
                _ => bookkeeping(entry_type, &entry),
            },
            _ => bookkeeping(entry_type, &entry),
        })
    }

    /// The entry's id; `None` for a header, whose id is the session's.
    pub fn id(&self) -> Option<&str> {
        match self {
            Self::Session(_) => None,
            Self::Message(message) => message.id.as_deref(),
            Self::Custom(custom) => custom.id.as_deref(),
            Self::Bookkeeping { id, .. } => id.as_deref(),
        }
    }
}

impl From<Message> for Line {
    fn from(message: Message) -> Self {
        Self::Message(Box::new(message))
    }
}

impl StopReason {
    /// Reads a stop reason in any provider's spelling.
    pub fn parse(text: &str) -> Self {
        match text {
            "stop" | "end_turn" | "endTurn" | "stop_sequence" => Self::Stop,
            "length" | "max_tokens" | "maxTokens" => Self::Length,
            "toolUse" | "tool_use" | "tool_calls" | "toolCalls" => Self::ToolUse,
            "error" => Self::Error,
            "aborted" => Self::Aborted,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl Message {
    /// `envelope` is what surrounds the message, empty for a bare one.
    fn read(mut message: Map<String, Value>, mut envelope: Map<String, Value>) -> Self {
        let content = Content::read(message.remove("content"));
        let model = text(&message, "model");
        let dispatch = envelope
            .remove("dispatch")
            .or_else(|| message.remove("dispatch"))
            .filter(Value::is_object);
        let abort = present(&message, "openclawAbort").or(present(&envelope, "openclawAbort"));
        let marks = message.get("__openclaw").or(envelope.get("__openclaw"));
        let run_id = marks
            .and_then(|marks| member(marks, "runId"))
            .or_else(|| abort.and_then(|abort| member(abort, "runId")))
            .or_else(|| keyed_run_id(&text(&message, "idempotencyKey")?))
            .or_else(|| dispatch.as_ref().and_then(|d| member(d, "runId")));
        let mut read = Self {
            id: text(&envelope, "id")
                .or_else(|| text(&message, "id"))
                .or_else(|| marks.and_then(|marks| member(marks, "id"))),
            timestamp_ms: envelope
                .get("timestamp")
                .and_then(time::parse)
                .or_else(|| message.get("timestamp").and_then(time::parse)),
            role: Role::Other,
            text: content.text,
            has_thinking: content.has_thinking,
            tool_calls: content.tool_calls,
            tool_answers: content.tool_answers,
            stop_reason: text(&message, "stopReason")
                .or_else(|| text(&message, "stop_reason"))
                .map(|reason| StopReason::parse(&reason)),
            error_message: error_message(&message),
            error_facts: Facts::default(),
            api: text(&message, "api"),
            provider: text(&message, "provider"),
            injected: abort.is_some()
                || model
                    .as_deref()
                    .is_some_and(|model| INJECTED_MODELS.contains(&model)),
            abort_marker: abort.is_some(),
            model,
            total_tokens: message.get("usage").and_then(total_tokens),
            run_id,
            dispatch,
        };
        let failed = matches!(
            read.stop_reason,
            Some(StopReason::Error | StopReason::Aborted)
        );
        if failed || read.error_message.is_some() {
            read.error_facts = Facts::from_fields(&message);
        }
        read.role = match text(&message, "role").unwrap_or_default().as_str() {
            "assistant" => Role::Assistant,
            "user" if !read.tool_answers.is_empty() => Role::ToolResult,
            "user" => Role::User,
            "toolResult" | "tool_result" | "tool" => {
                if read.tool_answers.is_empty() {
                    read.tool_answers.push(ToolAnswer::read(&message));
                }
                Role::ToolResult
            }
            _ => Role::Other,
        };
        read
    }

    /// A flag that the local runner set beside the message.
    pub fn dispatch_flag(&self, name: &str) -> bool {
        let dispatch = self.dispatch.as_ref();
        dispatch.and_then(|d| d.get(name)).and_then(Value::as_bool) == Some(true)
    }
}

fn bookkeeping(entry_type: String, entry: &Map<String, Value>) -> Line {
    Line::Bookkeeping {
        id: text(entry, "id"),
        entry_type,
    }
}

fn member(object: &Value, name: &str) -> Option<String> {
    object.get(name)?.as_str().map(str::to_owned)
}

fn present<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn text_content(content: Option<Value>) -> Option<String> {
    Some(Content::read(content).text).filter(|text| !text.is_empty())
}

/// The run id in an idempotency key of the form `<runId>:user`.
fn keyed_run_id(key: &str) -> Option<String> {
    let (run_id, part) = key.rsplit_once(':')?;
    let known = matches!(part, "user" | "assistant" | "terminal-error") && !run_id.is_empty();
    known.then(|| run_id.to_owned())
}

fn error_message(message: &Map<String, Value>) -> Option<String> {
    text(message, "errorMessage")
        .or_else(|| text(message, "error_message"))
        .or_else(|| text(message, "error"))
        .or_else(|| member(message.get("error")?, "message"))
        .filter(|message| !message.is_empty())
}

fn total_tokens(usage: &Value) -> Option<u64> {
    let count = |name: &str| usage.get(name).and_then(Value::as_u64);
    let total = ["totalTokens", "total_tokens", "total"];
    total.iter().find_map(|name| count(name)).or_else(|| {
        let parts = [
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
        ];
        let counts: Vec<u64> = parts.iter().filter_map(|name| count(name)).collect();
        (!counts.is_empty()).then(|| counts.into_iter().fold(0, u64::saturating_add))
    })
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
