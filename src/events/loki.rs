//! The body of a push to Loki, after its documentation of `POST /loki/api/v1/push`: streams with labels, and values of a
//! nanosecond time stamp as text and a line.

use serde_json::{Value, json};

use super::event::{Event, EventKind};

/// Where Loki takes pushes, for an address that names only the server.
const PUSH_PATH: &str = "/loki/api/v1/push";

/// The body for some events, oldest first in each stream: one stream for each kind and machine.
pub(super) fn push_body(events: &[Event]) -> Value {
    let mut streams: Vec<(EventKind, &str, Vec<&Event>)> = Vec::new();
    for event in events {
        let known = |(kind, host, _): &&mut (EventKind, &str, _)| {
            *kind == event.event && *host == event.host.as_str()
        };
        match streams.iter_mut().find(known) {
            Some((_, _, events)) => events.push(event),
            None => streams.push((event.event, &event.host, vec![event])),
        }
    }
    let streams: Vec<Value> = streams
        .into_iter()
        .map(|(kind, host, mut events)| {
            events.sort_by_key(|event| event.ts);
            let values: Vec<Value> = events
                .into_iter()
                .map(|event| json!([nanoseconds(event.ts), event.line()]))
                .collect();
            let labels = json!({"service_name": "dispatch", "host": host, "event": kind.name()});
            json!({"stream": labels, "values": values})
        })
        .collect();
    json!({"streams": streams})
}

fn nanoseconds(ms: i64) -> String {
    format!("{}", i128::from(ms) * 1_000_000)
}

/// The address as it is, or with the path of pushes where it has none.
pub(super) fn push_url(address: &str) -> String {
    let path = address
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('/'))
        .map_or("", |(_, path)| path);
    match path.is_empty() {
        true => format!("{}{PUSH_PATH}", address.trim_end_matches('/')),
        false => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: EventKind, ts: i64, host: &str) -> Event {
        Event::new(kind, ts, host).with("label", json!("a"))
    }

    #[test]
    fn a_push_has_one_stream_for_each_kind_and_machine_with_times_in_nanoseconds() {
        let body = push_body(&[
            event(EventKind::Started, 1_700_000_000_001, "one"),
            event(EventKind::Finished, 1_700_000_000_003, "one"),
            event(EventKind::Started, 1_700_000_000_000, "one"),
            event(EventKind::Started, 5, "two"),
        ]);
        let line = |kind: &str, ts: i64, host: &str| {
            format!("{{\"event\":\"{kind}\",\"ts\":{ts},\"host\":\"{host}\",\"label\":\"a\"}}")
        };
        let expected = json!({"streams": [
            {
                "stream": {"service_name": "dispatch", "host": "one", "event": "dispatch.started"},
                "values": [
                    ["1700000000000000000", line("dispatch.started", 1_700_000_000_000, "one")],
                    ["1700000000001000000", line("dispatch.started", 1_700_000_000_001, "one")],
                ],
            },
            {
                "stream": {"service_name": "dispatch", "host": "one", "event": "dispatch.finished"},
                "values": [
                    ["1700000000003000000", line("dispatch.finished", 1_700_000_000_003, "one")],
                ],
            },
            {
                "stream": {"service_name": "dispatch", "host": "two", "event": "dispatch.started"},
                "values": [["5000000", line("dispatch.started", 5, "two")]],
            },
        ]});
        assert_eq!(body, expected);
    }

    #[test]
    fn an_address_without_a_path_gets_that_of_pushes() {
        for (address, url) in [
            ("http://loki:3100", "http://loki:3100/loki/api/v1/push"),
            ("http://loki:3100/", "http://loki:3100/loki/api/v1/push"),
            ("https://x/loki/api/v1/push", "https://x/loki/api/v1/push"),
            ("https://x/tenant/push", "https://x/tenant/push"),
        ] {
            assert_eq!(push_url(address), url);
        }
    }
}
