//! The keys of `config.json` and what their values must be.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use super::{EventReceivers, Gateway, LivenessWindows, RetryWindows, Webhook};

/// Keys with their types, as far as this build reads them or an older tool's scripts set them.
pub(super) const KNOWN_KEYS: [(&str, Kind); 18] = [
    ("name", Kind::Text),
    ("agents", Kind::Object),
    ("aliases", Kind::TextObject),
    ("deliverTo", Kind::Text),
    ("deliveryChannel", Kind::Text),
    ("deliver_watcher_ttl_hours", Kind::Number),
    ("deliveryTimeoutSeconds", Kind::Number),
    ("startupGraceMs", Kind::Number),
    ("watchdogIntervalCron", Kind::Text),
    ("watchdogTimeoutMin", Kind::Number),
    ("termGraceSeconds", Kind::Number),
    ("webhooks", Kind::Webhooks),
    ("commands", Kind::Commands),
    ("gateway", Kind::Gateway),
    ("liveness", Kind::Windows),
    ("retry", Kind::Retry),
    ("verifyTimeoutSeconds", Kind::Number),
    ("events", Kind::Events),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Object,
    TextObject,
    Webhooks,
    Commands,
    Gateway,
    Windows,
    Retry,
    Events,
}

impl Kind {
    pub(super) fn matches(self, value: &Value) -> bool {
        match self {
            Kind::Text => value.is_string(),
            Kind::Number => value.as_f64().is_some_and(|n| n >= 0.0),
            Kind::Object => value.is_object(),
            Kind::TextObject => value
                .as_object()
                .is_some_and(|map| map.values().all(Value::is_string)),
            Kind::Webhooks => BTreeMap::<String, Webhook>::deserialize(value).is_ok(),
            Kind::Commands => BTreeMap::<String, Vec<String>>::deserialize(value)
                .is_ok_and(|commands| commands.values().all(|argv| !argv.is_empty())),
            Kind::Gateway => Gateway::deserialize(value).is_ok(),
            Kind::Windows => LivenessWindows::deserialize(value).is_ok(),
            Kind::Retry => RetryWindows::deserialize(value).is_ok(),
            Kind::Events => EventReceivers::deserialize(value)
                .is_ok_and(|receivers| receivers.command.is_none_or(|argv| !argv.is_empty())),
        }
    }
}

impl Kind {
    /// A value that does not match, as a message may show it: receivers hold secrets.
    pub(super) fn shown(self, value: &Value) -> String {
        match self {
            Kind::Webhooks | Kind::Commands | Kind::Events => "something else".to_owned(),
            _ => value.to_string(),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Text => "a text",
            Kind::Number => "a number that is not negative",
            Kind::Object => "an object",
            Kind::TextObject => "an object of texts",
            Kind::Webhooks => {
                "an object such as {\"ops\": {\"url\": \"https://...\", \"secret\": \"...\"}}"
            }
            Kind::Commands => "an object such as {\"mail\": [\"sendmail\", \"me\"]}",
            Kind::Gateway => {
                "an object such as {\"transport\": \"cli\", \"cli\": \"openclaw\"}, with transport \"websocket\" or \"cli\""
            }
            Kind::Retry => {
                "an object such as {\"atMost\": 3, \"overloadSeconds\": 30, \"spacingSeconds\": 5}"
            }
            Kind::Events => {
                "an object such as {\"loki\": \"http://loki:3100\", \"webhook\": {\"url\": \"https://...\"}, \"command\": [\"logger\"]}"
            }
            Kind::Windows => {
                "an object of seconds such as {\"idleFailureSeconds\": 600, \"flatSeconds\": 180}"
            }
        })
    }
}
