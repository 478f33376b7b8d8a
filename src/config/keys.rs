//! The keys of `config.json` and what their values must be.

use std::fmt;

use serde_json::{Map, Value};

use super::runtimes;
use crate::nearest::nearest;

/// Keys with their types, as far as this build reads them or an older tool's scripts set them.
pub(super) const KNOWN_KEYS: &[(&str, Kind)] = &[
    ("name", Kind::Text),
    ("agents", Kind::Named(&Kind::Loose(AGENT))),
    ("aliases", Kind::Named(&Kind::Text)),
    ("defaultModel", Kind::Text),
    ("dispatch", Kind::Loose(&[("model", Kind::Text)])),
    ("deliverTo", Kind::Text),
    ("deliveryChannel", Kind::Text),
    // The watchers of dispatch are woken by what happens, and need no schedule.
    ("deliver_watcher_cron", Kind::Text),
    ("deliver_watcher_ttl_hours", Kind::Number),
    ("deliveryTimeoutSeconds", Kind::Number),
    ("startupGraceMs", Kind::Number),
    ("watchdogIntervalCron", Kind::Text),
    ("watchdogTimeoutMin", Kind::Number),
    ("termGraceSeconds", Kind::Number),
    (
        "webhooks",
        Kind::Secret(&Kind::Named(&Kind::Fields(WEBHOOK, &["url"]))),
    ),
    ("commands", Kind::Secret(&Kind::Named(&Kind::Words(MAIL)))),
    (
        "runtimes",
        Kind::Secret(&Kind::Named(&Kind::Fields(RUNTIME, &["command"]))),
    ),
    ("gateway", Kind::Fields(GATEWAY, &[])),
    ("liveness", Kind::Fields(LIVENESS, &[])),
    ("retry", Kind::Fields(RETRY, &[])),
    ("verifyTimeoutSeconds", Kind::Number),
    ("events", Kind::Secret(&Kind::Fields(EVENTS, &[]))),
];

const AGENT: Keys = &[("name", Kind::Text), ("runtime", Kind::RuntimeId)];

const RUNTIME: Keys = &[
    ("command", Kind::Words(r#"["claude", "-p"]"#)),
    ("models", Kind::Words(r#"["anthropic/*", "claude-*"]"#)),
    ("modelArgs", Kind::Words(r#"["--model", "{model}"]"#)),
];

/// A program that takes results, with its arguments.
const MAIL: &str = r#"["sendmail", "me"]"#;

const WEBHOOK: Keys = &[("url", Kind::Text), ("secret", Kind::Text)];

const EVENTS: Keys = &[
    ("loki", Kind::Text),
    ("webhook", Kind::Fields(WEBHOOK, &["url"])),
    ("command", Kind::Words(MAIL)),
];

const GATEWAY: Keys = &[
    ("transport", Kind::OneOf(&["websocket", "cli"])),
    ("cli", Kind::Text),
];

const LIVENESS: Keys = &[
    ("startupGraceSeconds", Kind::Number),
    ("probeSeconds", Kind::Number),
    ("idleFailureSeconds", Kind::Number),
    ("ceilingSeconds", Kind::Number),
    ("ceilingSilenceSeconds", Kind::Number),
    ("longestSeconds", Kind::Number),
    ("flatSeconds", Kind::Number),
    ("extensionSeconds", Kind::Number),
    ("firstRequestSeconds", Kind::Number),
    ("secondRequestSeconds", Kind::Number),
    ("lastWordsSeconds", Kind::Number),
    ("abortSeconds", Kind::Number),
];

const RETRY: Keys = &[
    ("atMost", Kind::Count),
    ("overloadSeconds", Kind::Number),
    ("rateLimitSeconds", Kind::Number),
    ("restartSeconds", Kind::Number),
    ("takeoverSeconds", Kind::Number),
    ("spacingSeconds", Kind::Number),
    ("coolDownSeconds", Kind::Number),
    ("maxAgeSeconds", Kind::Number),
];

/// Keys of one object, each with what its value must be.
type Keys = &'static [(&'static str, Kind)];

/// What a value must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Count,
    OneOf(&'static [&'static str]),
    /// Texts, one at least; such as these.
    Words(&'static str),
    /// A runtime's id, by itself or as the `id` of an object, as OpenClaw has it.
    RuntimeId,
    /// An object whose keys are names of the operator's choice.
    Named(&'static Kind),
    /// An object with these keys, of which some must be there.
    Fields(Keys, &'static [&'static str]),
    /// An object with these keys; others are not ours.
    Loose(Keys),
    /// What is never shown.
    Secret(&'static Kind),
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slip {
    /// A key that nobody reads, with the nearest one that somebody does.
    Unknown { key: String, near: Option<String> },
    /// A value that cannot be used.
    Wrong {
        key: String,
        expected: String,
        found: String,
    },
    /// A key that is refused whatever its value is.
    Refused { key: String, why: String },
}

/// The settings that can be used, and what is wrong with the others. A key that starts with `_` is a comment; null counts
/// as absent.
pub(super) fn sound(keys: &Map<String, Value>) -> (Map<String, Value>, Vec<Slip>) {
    let (keys, refused) = runtimes::without_refused(keys);
    let mut slips: Vec<Slip> = refused
        .into_iter()
        .map(|(key, why)| Slip::Refused { key, why })
        .collect();
    let sound = fields("", KNOWN_KEYS, &keys, false, &mut slips);
    (sound, slips)
}

/// Every key with what its value must be, in a word or two; `<name>` stands for a name of the operator's choice.
pub fn known_keys() -> Vec<(String, String)> {
    let mut found = Vec::new();
    list("", KNOWN_KEYS, &mut found);
    found
}

fn list(path: &str, keys: Keys, found: &mut Vec<(String, String)>) {
    for (key, kind) in keys {
        kind.list(inside(path, key), found);
    }
}

fn is_comment(key: &str) -> bool {
    key.starts_with('_')
}

fn inside(path: &str, key: &str) -> String {
    match path.is_empty() {
        true => key.to_owned(),
        false => format!("{path}.{key}"),
    }
}

fn fields(
    path: &str,
    known: &[(&str, Kind)],
    given: &Map<String, Value>,
    is_loose: bool,
    slips: &mut Vec<Slip>,
) -> Map<String, Value> {
    let mut sound = Map::new();
    for (key, value) in given {
        if is_comment(key) || value.is_null() {
            continue;
        }
        match known.iter().find(|(name, _)| name == key) {
            Some((_, kind)) => {
                if let Some(value) = kind.take(&inside(path, key), value, slips) {
                    sound.insert(key.clone(), value);
                }
            }
            None if is_loose => {}
            None => slips.push(Slip::Unknown {
                key: inside(path, key),
                near: nearest(key, known.iter().map(|(name, _)| *name))
                    .first()
                    .map(|name| inside(path, name)),
            }),
        }
    }
    sound
}

impl Kind {
    fn list(self, path: String, found: &mut Vec<(String, String)>) {
        let word = match self {
            Kind::Text => "text".to_owned(),
            Kind::Number => "number".to_owned(),
            Kind::Count => "whole number".to_owned(),
            Kind::OneOf(words) => words.join(" or "),
            Kind::Words(_) => "list of texts".to_owned(),
            Kind::RuntimeId => "text, or object with id".to_owned(),
            Kind::Named(kind) => return kind.list(inside(&path, "<name>"), found),
            Kind::Secret(kind) => return kind.list(path, found),
            Kind::Fields(keys, _) | Kind::Loose(keys) => return list(&path, keys, found),
        };
        found.push((path, word));
    }

    /// The value without what cannot be used of it; `None` when nothing can.
    fn take(self, path: &str, value: &Value, slips: &mut Vec<Slip>) -> Option<Value> {
        let is_fitting = match self {
            Kind::Text => value.is_string(),
            Kind::Number => value.as_f64().is_some_and(|n| n >= 0.0),
            Kind::Count => value.as_u64().is_some_and(|n| u32::try_from(n).is_ok()),
            Kind::OneOf(words) => value.as_str().is_some_and(|text| words.contains(&text)),
            Kind::RuntimeId => value.is_string() || value.get("id").is_some_and(Value::is_string),
            Kind::Words(_) => value
                .as_array()
                .is_some_and(|words| !words.is_empty() && words.iter().all(Value::is_string)),
            Kind::Secret(kind) => {
                let before = slips.len();
                let taken = kind.take(path, value, slips);
                for slip in slips.iter_mut().skip(before) {
                    if let Slip::Wrong { found, .. } = slip {
                        *found = "something else".to_owned();
                    }
                }
                return taken;
            }
            Kind::Named(_) | Kind::Fields(..) | Kind::Loose(_) => value.is_object(),
        };
        if !is_fitting {
            slips.push(Slip::Wrong {
                key: path.to_owned(),
                expected: self.to_string(),
                found: value.to_string(),
            });
            return None;
        }
        let given = value.as_object();
        Some(match (self, given) {
            (Kind::Named(kind), Some(given)) => {
                let named = given
                    .iter()
                    .filter(|(key, value)| !is_comment(key) && !value.is_null());
                let sound = named.filter_map(|(key, value)| {
                    let value = kind.take(&inside(path, key), value, slips)?;
                    Some((key.clone(), value))
                });
                Value::Object(sound.collect())
            }
            (Kind::RuntimeId, Some(given)) => {
                let sound = fields(path, &[("id", Kind::Text)], given, false, slips);
                sound.get("id").cloned().unwrap_or_default()
            }
            (Kind::Loose(known), Some(given)) => {
                Value::Object(fields(path, known, given, true, slips))
            }
            (Kind::Fields(known, needed), Some(given)) => {
                let sound = fields(path, known, given, false, slips);
                let missing = needed
                    .iter()
                    .find(|key| given.get(**key).is_none_or(Value::is_null));
                if let Some(key) = missing {
                    slips.push(Slip::Wrong {
                        key: path.to_owned(),
                        expected: format!("{self} with \"{key}\""),
                        found: value.to_string(),
                    });
                }
                if needed.iter().any(|key| !sound.contains_key(*key)) {
                    return None;
                }
                Value::Object(sound)
            }
            _ => value.clone(),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Text => "a text",
            Kind::Number => "a number that is not negative",
            Kind::Count => "a whole number that is not negative",
            Kind::OneOf(words) => return write!(f, "\"{}\"", words.join("\" or \"")),
            Kind::Words(such) => return write!(f, "a list of texts such as {such}"),
            Kind::RuntimeId => "a runtime's id such as \"claude\", or {\"id\": \"claude\"}",
            Kind::Named(kind) => {
                return match kind {
                    Kind::Text => f.write_str("an object of texts"),
                    Kind::Words(such) => write!(f, "an object such as {{\"mail\": {such}}}"),
                    Kind::Fields(..) | Kind::Loose(_) => f.write_str("an object of objects"),
                    _ => f.write_str("an object"),
                };
            }
            Kind::Fields(keys, _) if *keys == WEBHOOK => {
                "an object such as {\"url\": \"https://...\", \"secret\": \"...\"}"
            }
            Kind::Fields(keys, _) if *keys == RUNTIME => {
                "an object such as {\"command\": [\"claude\", \"-p\"], \"models\": [\"claude-*\"]}"
            }
            Kind::Fields(keys, _) if *keys == GATEWAY => {
                "an object such as {\"transport\": \"cli\", \"cli\": \"openclaw\"}"
            }
            Kind::Fields(keys, _) if *keys == RETRY => {
                "an object such as {\"atMost\": 3, \"overloadSeconds\": 30, \"spacingSeconds\": 5}"
            }
            Kind::Fields(keys, _) if *keys == LIVENESS => {
                "an object of seconds such as {\"idleFailureSeconds\": 600, \"flatSeconds\": 180}"
            }
            Kind::Fields(..) | Kind::Loose(_) => "an object",
            Kind::Secret(kind) => return kind.fmt(f),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn checked(config: Value) -> (Value, Vec<String>) {
        let (sound, slips) = sound(config.as_object().expect("an object"));
        let lines = slips.into_iter().map(|slip| match slip {
            Slip::Unknown { key, near } => format!("{key}? {}", near.unwrap_or_default()),
            Slip::Wrong {
                key,
                expected,
                found,
            } => format!("{key}: {expected}, not {found}"),
            Slip::Refused { key, why } => format!("{key}: {why}"),
        });
        (Value::Object(sound), lines.collect())
    }

    #[test]
    fn what_the_reference_writes_is_no_slip() {
        let config = json!({
            "_comment": "mine", "name": "acme", "agents": {"_doc": 1, "ops": {"name": "Ops", "emoji": "x"}},
            "defaultModel": "m", "dispatch": {"model": "n", "_": 1}, "deliverTo": null, "deliveryChannel": null,
            "startupGraceMs": 90000, "deliver_watcher_cron": "* * * * *", "deliver_watcher_ttl_hours": 48,
            "watchdogIntervalCron": "*/5 * * * *", "watchdogTimeoutMin": 10,
        });
        let (sound, slips) = checked(config);
        assert_eq!(slips, [""; 0]);
        assert_eq!(sound.get("deliverTo"), None);
        assert_eq!(sound["agents"], json!({"ops": {"name": "Ops"}}));
    }

    #[test]
    fn a_slip_inside_an_object_is_named_and_costs_only_its_own_key() {
        let cases = [
            (
                json!({"retry": {"atMots": 1, "overloadSeconds": 2}}),
                json!({"retry": {"overloadSeconds": 2}}),
                "retry.atMots? retry.atMost",
            ),
            (
                json!({"retry": {"atMost": 1.5}}),
                json!({"retry": {}}),
                "retry.atMost: a whole number that is not negative, not 1.5",
            ),
            (
                json!({"liveness": {"flatSeconds": "3", "_": 0, "probeSeconds": null}}),
                json!({"liveness": {}}),
                "liveness.flatSeconds: a number that is not negative, not \"3\"",
            ),
            (
                json!({"gateway": {"transport": "ssh", "cli": "oc"}}),
                json!({"gateway": {"cli": "oc"}}),
                "gateway.transport: \"websocket\" or \"cli\", not \"ssh\"",
            ),
            (
                json!({"retry": 3}),
                json!({}),
                "retry: an object such as {\"atMost\": 3, \"overloadSeconds\": 30, \"spacingSeconds\": 5}, not 3",
            ),
            (
                json!({"webhooks": {"a": {"secret": "s"}, "b": {"url": "u"}}}),
                json!({"webhooks": {"b": {"url": "u"}}}),
                "webhooks.a: an object such as {\"url\": \"https://...\", \"secret\": \"...\"} with \"url\", not something else",
            ),
            (
                json!({"webhooks": {"a": {"url": "u", "secret": 5}}}),
                json!({"webhooks": {"a": {"url": "u"}}}),
                "webhooks.a.secret: a text, not something else",
            ),
            (
                json!({"commands": {"a": []}}),
                json!({"commands": {}}),
                "commands.a: a list of texts such as [\"sendmail\", \"me\"], not something else",
            ),
            (
                json!({"agents": {"ops": {"runtime": ["claude"], "name": "Ops"}}}),
                json!({"agents": {"ops": {"name": "Ops"}}}),
                "agents.ops.runtime: a runtime's id such as \"claude\", or {\"id\": \"claude\"}, not [\"claude\"]",
            ),
            (
                json!({"agents": {"ops": {"runtime": {"id": "claude", "di": 1}}}}),
                json!({"agents": {"ops": {"runtime": "claude"}}}),
                "agents.ops.runtime.di? agents.ops.runtime.id",
            ),
            (
                json!({"agents": {"ops": {"runtime": {"id": "claude", "fallback": "pi"}}}}),
                json!({"agents": {"ops": {"runtime": "claude"}}}),
                "agents.ops.runtime.fallback: a runtime never falls back to another; take the key out, and name the runtime that you want",
            ),
            (
                json!({"runtimes": {"claude": {"command": ["claude"], "modelargs": ["x"]}}}),
                json!({"runtimes": {"claude": {"command": ["claude"]}}}),
                "runtimes.claude.modelargs? runtimes.claude.modelArgs",
            ),
            (
                json!({"runtimes": {"claude": {"command": ["claude"], "models": "claude-*"}}}),
                json!({"runtimes": {"claude": {"command": ["claude"]}}}),
                "runtimes.claude.models: a list of texts such as [\"anthropic/*\", \"claude-*\"], not something else",
            ),
            (
                json!({"runtimes": {"claude": {"models": ["*"]}, "codex": {"command": ["codex"]}}}),
                json!({"runtimes": {"codex": {"command": ["codex"]}}}),
                "runtimes.claude: an object such as {\"command\": [\"claude\", \"-p\"], \"models\": [\"claude-*\"]} with \"command\", not something else",
            ),
            (
                json!({"agents": {"ops": {"name": 5}}}),
                json!({"agents": {"ops": {}}}),
                "agents.ops.name: a text, not 5",
            ),
        ];
        for (config, sound, slip) in cases {
            assert_eq!(
                checked(config.clone()),
                (sound, vec![slip.to_owned()]),
                "{config}"
            );
        }
    }
}
