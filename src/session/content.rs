//! A message's content: one string, or blocks in the spelling of several providers.
//!
//! Blocks of other kinds (images, documents) are passed over; fields of an unexpected type count as absent.

use serde_json::{Map, Value};

/// A tool call in an assistant message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// The call's id.
    pub id: Option<String>,
    /// The tool's name.
    pub name: Option<String>,
    /// What the tool is given: an object, or its JSON as a string; null where the line does not say.
    pub arguments: Value,
}

/// A tool's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolAnswer {
    /// Id of the call that it answers.
    pub call_id: Option<String>,
    /// The tool's name.
    pub name: Option<String>,
    /// The tool failed.
    pub is_error: bool,
}

impl ToolAnswer {
    pub(super) fn read(fields: &Map<String, Value>) -> Self {
        let first = |names: [&str; 3]| names.iter().find_map(|name| text(fields, name));
        let failed = fields.get("isError").or_else(|| fields.get("is_error"));
        Self {
            call_id: first(["toolCallId", "tool_use_id", "tool_call_id"]),
            name: first(["toolName", "tool_name", "name"]),
            is_error: failed.and_then(Value::as_bool) == Some(true),
        }
    }
}

/// What a message's content holds.
#[derive(Default)]
pub(super) struct Content {
    pub(super) text: String,
    pub(super) has_thinking: bool,
    pub(super) tool_calls: Vec<ToolCall>,
    pub(super) tool_answers: Vec<ToolAnswer>,
}

impl Content {
    pub(super) fn read(content: Option<Value>) -> Self {
        let mut read = Self::default();
        match content {
            Some(Value::String(text)) => read.text = text,
            Some(Value::Array(blocks)) => blocks.into_iter().for_each(|block| read.add(block)),
            Some(block @ Value::Object(_)) => read.add(block),
            _ => {}
        }
        read
    }

    fn add(&mut self, block: Value) {
        let mut block = match block {
            Value::Object(block) => block,
            Value::String(text) => return self.add_text(text),
            _ => return,
        };
        match text(&block, "type").unwrap_or_default().as_str() {
            "text" | "input_text" | "output_text" => {
                if let Some(Value::String(text)) = block.remove("text") {
                    self.add_text(text);
                }
            }
            "thinking" | "redacted_thinking" => self.has_thinking = true,
            "toolCall" | "tool_use" | "toolUse" => self.tool_calls.push(ToolCall {
                id: text(&block, "id"),
                name: text(&block, "name"),
                arguments: block
                    .remove("arguments")
                    .or_else(|| block.remove("input"))
                    .unwrap_or_default(),
            }),
            "tool_result" | "toolResult" => {
                self.tool_answers.push(ToolAnswer::read(&block));
                self.add_text(Self::read(block.remove("content")).text);
            }
            _ => {}
        }
    }

    fn add_text(&mut self, text: String) {
        if self.text.is_empty() {
            self.text = text;
        } else if !text.is_empty() {
            self.text.push('\n');
            self.text.push_str(&text);
        }
    }
}

/// A field that holds a string.
pub(super) fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    fields.get(name)?.as_str().map(str::to_owned)
}
