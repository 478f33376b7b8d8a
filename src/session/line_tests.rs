//! Tests of reading one transcript line.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn message(value: Value) -> Message {
    match Line::from_value(value).unwrap() {
        Line::Message(message) => *message,
        other => panic!("no message: {other:?}"),
    }
}

fn assistant(fields: Value) -> Message {
    let mut inner = json!({"role": "assistant", "content": []});
    inner
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    message(json!({"type": "message", "message": inner}))
}

#[test]
fn an_envelope_is_read_whole() {
    let read = message(json!({
        "type": "message", "id": "e1", "parentId": "e0", "timestamp": "2026-11-21T12:17:58.153Z",
        "dispatch": {"runId": "r9", "end": true},
        "message": {
            "role": "assistant", "timestamp": 1, "provider": "fake", "model": "fake-1", "stopReason": "stop",
            "content": [
                {"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "One."},
                {"type": "text", "text": ""}, {"type": "text", "text": "Two."}
            ],
            "usage": {"input": 3, "totalTokens": 7}
        }
    }));
    let expected = Message {
        id: Some("e1".into()),
        timestamp_ms: Some(1_795_263_478_153),
        role: Role::Assistant,
        text: "One.\nTwo.".into(),
        has_thinking: true,
        tool_calls: vec![],
        tool_answers: vec![],
        stop_reason: Some(StopReason::Stop),
        error_message: None,
        error_facts: Facts::default(),
        api: None,
        provider: Some("fake".into()),
        model: Some("fake-1".into()),
        total_tokens: Some(7),
        run_id: Some("r9".into()),
        injected: false,
        abort_marker: false,
        dispatch: Some(json!({"runId": "r9", "end": true})),
    };
    assert_eq!(read, expected);
    assert!(read.dispatch_flag("end") && !read.dispatch_flag("other"));
}

#[test]
fn a_bare_message_is_read() {
    let read = message(json!({
        "role": "assistant", "content": "Hi.", "stop_reason": "end_turn", "timestamp": 1_795_263_478,
        "__openclaw": {"id": "e7", "runId": "r1"}
    }));
    assert_eq!(read.text, "Hi.");
    assert_eq!(read.stop_reason, Some(StopReason::Stop));
    assert_eq!(read.timestamp_ms, Some(1_795_263_478_000));
    assert_eq!(
        (read.id.as_deref(), read.run_id.as_deref()),
        (Some("e7"), Some("r1"))
    );
}

#[test]
fn a_bare_message_may_call_itself_a_message() {
    let read =
        message(json!({"type": "message", "id": "m", "role": "assistant", "content": "Hi."}));
    assert_eq!((read.id.as_deref(), read.text.as_str()), (Some("m"), "Hi."));
}

#[rstest]
#[case("stop", StopReason::Stop)]
#[case("end_turn", StopReason::Stop)]
#[case("stop_sequence", StopReason::Stop)]
#[case("length", StopReason::Length)]
#[case("max_tokens", StopReason::Length)]
#[case("toolUse", StopReason::ToolUse)]
#[case("tool_use", StopReason::ToolUse)]
#[case("tool_calls", StopReason::ToolUse)]
#[case("error", StopReason::Error)]
#[case("aborted", StopReason::Aborted)]
#[case("refusal", StopReason::Other("refusal".into()))]
fn stop_reasons_are_read_in_every_spelling(#[case] text: &str, #[case] expected: StopReason) {
    for name in ["stopReason", "stop_reason"] {
        assert_eq!(
            assistant(json!({name: text})).stop_reason,
            Some(expected.clone())
        );
    }
}

#[rstest]
#[case("toolCall")]
#[case("tool_use")]
#[case("toolUse")]
fn tool_calls_are_read_in_every_spelling(#[case] block_type: &str) {
    let block = json!({"type": block_type, "id": "c1", "name": "read", "arguments": {"path": "a"}});
    let read = assistant(json!({"content": [block]}));
    let expected = ToolCall {
        id: Some("c1".into()),
        name: Some("read".into()),
        arguments: json!({"path": "a"}),
    };
    assert_eq!(read.tool_calls, [expected]);
}

#[test]
fn a_tool_result_names_its_call() {
    let read = message(json!({"type": "message", "message": {
        "role": "toolResult", "toolCallId": "c1", "toolName": "read", "isError": true,
        "content": [{"type": "text", "text": "gone"}]
    }}));
    assert_eq!((read.role, read.text.as_str()), (Role::ToolResult, "gone"));
    let expected = ToolAnswer {
        call_id: Some("c1".into()),
        name: Some("read".into()),
        is_error: true,
    };
    assert_eq!(read.tool_answers, [expected]);
}

#[test]
fn a_user_line_with_tool_results_is_a_tool_result() {
    let read = message(json!({"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "c1", "content": "a"},
        {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": "b"}], "is_error": true}
    ]}));
    assert_eq!((read.role, read.text.as_str()), (Role::ToolResult, "a\nb"));
    assert_eq!(read.tool_answers.len(), 2);
    assert!(read.tool_answers[1].is_error);
}

#[rstest]
#[case(json!({"idempotencyKey": "r:user"}), Some("r"))]
#[case(json!({"idempotencyKey": "a:b:assistant"}), Some("a:b"))]
#[case(json!({"idempotencyKey": "r:terminal-error"}), Some("r"))]
#[case(json!({"idempotencyKey": "r:other"}), None)]
#[case(json!({"idempotencyKey": ":user"}), None)]
#[case(json!({"idempotencyKey": "r"}), None)]
#[case(json!({"__openclaw": {"runId": "x"}, "idempotencyKey": "r:user"}), Some("x"))]
#[case(json!({"__openclaw": {}, "idempotencyKey": "r:user"}), Some("r"))]
#[case(json!({"openclawAbort": {"runId": "y"}}), Some("y"))]
#[case(json!({"__openclaw": 3, "idempotencyKey": 4}), None)]
fn the_run_id_is_found(#[case] fields: Value, #[case] expected: Option<&str>) {
    assert_eq!(assistant(fields).run_id.as_deref(), expected);
}

#[rstest]
#[case(json!({"model": "gateway-injected"}), true, false)]
#[case(json!({"model": "delivery-mirror"}), true, false)]
#[case(json!({"openclawAbort": {"aborted": true}}), true, true)]
#[case(json!({"openclawAbort": null}), false, false)]
#[case(json!({"model": "fake-1"}), false, false)]
fn injected_lines_are_marked(#[case] fields: Value, #[case] injected: bool, #[case] abort: bool) {
    let read = assistant(fields);
    assert_eq!((read.injected, read.abort_marker), (injected, abort));
}

#[rstest]
#[case(json!({"usage": {"total_tokens": 5}}), Some(5))]
#[case(json!({"usage": {"input_tokens": 5, "output_tokens": 2, "cache_read_input_tokens": 1}}), Some(8))]
#[case(json!({"usage": {"input_tokens": "many"}}), None)]
#[case(json!({}), None)]
fn tokens_are_counted(#[case] fields: Value, #[case] expected: Option<u64>) {
    assert_eq!(assistant(fields).total_tokens, expected);
}

#[rstest]
#[case(json!({"errorMessage": "529 Overloaded"}), Some("529 Overloaded"))]
#[case(json!({"error": "bad"}), Some("bad"))]
#[case(json!({"error": {"message": "worse"}}), Some("worse"))]
#[case(json!({"errorMessage": ""}), None)]
fn the_error_is_found(#[case] fields: Value, #[case] expected: Option<&str>) {
    assert_eq!(assistant(fields).error_message.as_deref(), expected);
}

#[test]
fn headers_custom_entries_and_bookkeeping_are_told_apart() {
    let header = json!({"type": "session", "version": 3, "id": "s1", "cwd": "/home/user"});
    assert_eq!(
        Line::from_value(header).unwrap(),
        Line::Session(Header {
            id: Some("s1".into()),
            version: Some(3),
            cwd: Some("/home/user".into()),
        })
    );
    let custom = json!({"type": "custom", "customType": "x", "data": {"a": 1}, "id": "c"});
    let Line::Custom(custom) = Line::from_value(custom).unwrap() else {
        panic!("no custom entry");
    };
    assert_eq!(
        (custom.custom_type.as_str(), custom.data),
        ("x", json!({"a": 1}))
    );
    for (value, entry_type) in [
        (json!({"type": "compaction", "id": "b"}), "compaction"),
        (
            json!({"type": "assistant", "id": "b", "message": {"role": "assistant"}}),
            "assistant",
        ),
        (
            json!({"type": "message", "id": "b", "message": "no object"}),
            "message",
        ),
        (json!({"id": "b"}), ""),
    ] {
        let line = Line::from_value(value).unwrap();
        assert_eq!(line.id(), Some("b"));
        assert!(matches!(line, Line::Bookkeeping { entry_type: t, .. } if t == entry_type));
    }
}

#[test]
fn what_is_no_object_is_an_error() {
    assert!(matches!(
        Line::parse(b"{\"type\":"),
        Err(LineError::Json(_))
    ));
    assert!(matches!(Line::parse(b"42\n"), Err(LineError::NotAnObject)));
    assert!(matches!(Line::parse(b""), Err(LineError::Json(_))));
    let deep = "[".repeat(100_000);
    assert!(matches!(
        Line::parse(deep.as_bytes()),
        Err(LineError::Json(_))
    ));
}

#[test]
fn a_lone_surrogate_and_a_carriage_return_are_no_hindrance() {
    let line = Line::parse(b"{\"role\":\"user\",\"content\":\"cut \\ud83d\"}\r\n").unwrap();
    assert!(matches!(line, Line::Message(m) if m.text == "cut \u{fffd}"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "(text|user|assistant|toolCall|message|stop|x:user|2026-01-01T00:00:00Z)"
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let name = "(type|message|role|content|text|stopReason|usage|timestamp|__openclaw|openclawAbort|dispatch|id|data)";
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(name, inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Line::parse(&bytes);
    }

    #[test]
    fn arbitrary_shapes_never_panic(value in any_json()) {
        let is_object = value.is_object();
        prop_assert_eq!(Line::from_value(value).is_ok(), is_object);
    }
}
