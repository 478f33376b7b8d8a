//! Sending: one function that takes a record to its target and says what came of it.
//!
//! Targets are `webhook:<name>` and `command:<name>`, whose addresses stand in the configuration alone, and
//! `<channel>:<target>`, a chat that the gateway reaches. `wake:<session key>` is the session that asked for the work,
//! `alias:@name` a name that led to nobody when the record was made, and `config:deliverTo` whomever the configuration
//! names, which could not be read then.

mod chat;
mod command;
mod wake;
mod webhook;

use serde::Serialize;
use serde_json::Value;

use super::outbox::{Outcome, repeat_words};
use super::{ALIAS, CONFIGURED, WAKE};
use crate::completion::artifact::read_artifact;
use crate::completion::cap::{ArtifactOutcome, cap, inline_limit_from, message};
use crate::config::aliases::{NoAlias, address};
use crate::home::Home;
use crate::record::{Delivery, DeliveryKind};

/// The most bytes of an artifact that are read to be sent; the inline limit cuts it further.
const MAX_ARTIFACT_BYTES: u64 = 256 * 1024 * 1024;

/// What a receiver gets.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    /// The key: equal for every repeat.
    pub key: String,
    /// The key of this try, for a receiver that answers a failed key from memory.
    #[serde(skip)]
    pub key_of_try: String,
    /// What it tells.
    pub kind: DeliveryKind,
    /// The label.
    pub label: String,
    /// Header, body and, where it applies, the words that this may be a repeat.
    pub text: String,
    /// The file that holds the whole text.
    pub artifact_path: Option<String>,
    /// The length of the whole text in bytes.
    pub bytes: u64,
    /// It may have been received before.
    pub may_be_repeat: bool,
    /// Which try this is.
    pub attempt: u32,
    /// When it was recorded, ms since the epoch.
    pub at: i64,
}

/// Puts a record into words.
pub fn payload(home: &Home, label: &str, delivery: &Delivery) -> Payload {
    let content = &delivery.content;
    let limit = inline_limit_from(home.config.inline_limit.as_deref());
    let recorded = content.artifact.as_ref();
    let artifact = recorded.map(|path| home.paths.found(path.as_ref()));
    let whole = artifact
        .as_ref()
        .map(|path| read_artifact(path, MAX_ARTIFACT_BYTES));
    let body = match (whole, &artifact) {
        (Some(Ok(text)), Some(path)) => {
            cap(&text, limit, &ArtifactOutcome::Written(path.clone())).text
        }
        (Some(Err(e)), _) => format!(
            "{}\n\n[The full text ({} bytes) cannot be read: {e}]",
            content.text, content.bytes
        ),
        _ => content.text.clone(),
    };
    let mut text = match content.header.is_empty() {
        true => body,
        false => message(&content.header, &body),
    };
    if let Some(words) = repeat_words(delivery) {
        text = format!("{}\n\n{words}", text.trim_end());
    }
    Payload {
        key: delivery.key.clone(),
        key_of_try: delivery.key_of_try(),
        kind: delivery.kind,
        label: label.to_owned(),
        text,
        artifact_path: artifact.map(|path| path.to_string_lossy().into_owned()),
        bytes: content.bytes,
        may_be_repeat: delivery.may_be_repeat,
        attempt: delivery.attempts,
        at: delivery.at,
    }
}

/// Sends a payload. Takes as long as its receiver, at most some minutes.
pub fn send(home: &Home, target: &str, payload: &Payload) -> Outcome {
    let (channel, name) = target.split_once(':').unwrap_or((target, ""));
    let is_known = || match channel {
        "webhook" => home.config.webhooks.contains_key(name),
        "command" => home.config.commands.contains_key(name),
        _ => true,
    };
    // A sender that began while the configuration was broken does not know what stands in it.
    if !is_known()
        && let Err(e) = home.renew_config()
    {
        return Outcome::Failed {
            why: format!("the receiver \"{name}\" cannot be looked up: {e}"),
            retry_after: None,
        };
    }
    let config = &home.config;
    let limit = config.delivery_timeout;
    match channel {
        "webhook" => match config.webhooks.get(name) {
            Some(hook) => webhook::post(hook, payload, limit, || home.now_ms()),
            None => unknown("webhooks", name),
        },
        "command" => match config.commands.get(name) {
            Some(argv) => command::run(argv, payload, limit),
            None => unknown("commands", name),
        },
        _ if is_looked_up(target) => match led_to(home, target) {
            Ok(target) => send(home, &target, payload),
            Err(outcome) => outcome,
        },
        WAKE => wake::send(home, name, payload, limit),
        channel => chat::send(home, channel, name, payload, limit),
    }
}

/// The target is not an address but says where one stands in the configuration.
fn is_looked_up(target: &str) -> bool {
    target == CONFIGURED
        || target
            .split_once(':')
            .is_some_and(|(channel, _)| channel == ALIAS)
}

/// The target that a name of the configuration leads to by now. It came out of `deliverTo`: where the name still leads to
/// nobody, what stands there now is meant.
fn led_to(home: &Home, target: &str) -> Result<String, Outcome> {
    let alias = target.split_once(':').map_or(target, |(_, name)| name);
    let alias = Some(alias).filter(|_| target != CONFIGURED);
    if let Err(e) = home.renew_config() {
        let what = alias.map_or("\"deliverTo\"".to_owned(), |name| {
            format!("the alias {name}")
        });
        return Err(Outcome::Failed {
            why: format!("{what} cannot be looked up: {e}"),
            retry_after: None,
        });
    }
    let config = &home.config;
    let path = home.paths.config.display();
    let mended = config.deliver_to.as_deref().filter(|to| Some(*to) != alias);
    let Some(name) = alias.or(mended) else {
        return Err(Outcome::Refused {
            why: format!(
                "{path} has no \"deliverTo\", and nobody else is named to hear it; add it, or have 'dispatch redeliver' settle it"
            ),
        });
    };
    let address = |to: &str| address(&config.aliases, to, &config.delivery_channel);
    let found = address(name).or_else(|e| mended.map_or(Err(e), address));
    let (channel, to) = found.map_err(|e| {
        let why = match e {
            NoAlias::Unknown => {
                format!("\"aliases\" of {path} has no {name}; add it, or mend \"deliverTo\"")
            }
            circle => format!("the alias {name} of {path} {circle}"),
        };
        Outcome::Refused { why }
    })?;
    let found = format!("{channel}:{to}");
    // A target of this kind would lead here again.
    match is_looked_up(&found) {
        true => Err(Outcome::Refused {
            why: format!("{name} of {path} names nobody: \"{found}\" is no receiver"),
        }),
        false => Ok(found),
    }
}

fn unknown(section: &str, name: &str) -> Outcome {
    Outcome::Refused {
        why: format!("the configuration names no \"{name}\" under \"{section}\"; add it"),
    }
}

/// What a receiver said, short enough for the ledger.
fn excerpt(text: &str) -> Value {
    Value::from(crate::record::clip_text(text.trim(), 300))
}
