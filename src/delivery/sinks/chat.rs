//! A chat channel, through the gateway's `send` under the record's key.
//!
//! The gateway splits a long text as the channel wants it, and remembers a key for five minutes: a repeat within them is
//! answered from memory, be it a success or a failure. What its memory no longer holds may be sent twice, and the text
//! of a repeat says so. It reports the last message's id alone; how many there were is read from its log, where the log
//! tells.

use std::time::Duration;

use serde_json::{Value, json};

use super::Payload;
use crate::delivery::outbox::Outcome;
use crate::gateway::{Client, GatewayError, Refused, configured, endpoint};
use crate::home::Home;

/// A gateway sends a long text in parts, a second apart; one that takes longer than this may still be at it.
const TIME_OUT: Duration = Duration::from_secs(180);

/// How long a gateway may take to let us in.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// How long a look into the gateway's log may take. It decides nothing.
const LOG_LIMIT: Duration = Duration::from_secs(5);

/// How often, and how far apart, the log is looked at for what has just been sent.
const LOG_LOOKS: usize = 6;
const LOG_PAUSE: Duration = Duration::from_millis(200);

/// The gateway answers a key that has failed from memory for five minutes: no try before that is one.
const FAILURE_IS_REMEMBERED: Duration = Duration::from_secs(305);

/// What a channel says of a target that no repeat will reach. The numbers are those of a bot API's refusals.
const NEVER: [&str; 19] = [
    "(400: ",
    "(401: ",
    "(403: ",
    "(404: ",
    "chat not found",
    "user not found",
    "bot was blocked",
    "bot was kicked",
    "not a member",
    "not in room",
    "chat_id is empty",
    "no conversation reference",
    "not configured",
    "token missing",
    "recipient is not a valid",
    "recipient must be",
    "could not be resolved",
    "ambiguous",
    "unsupported channel",
];

/// Sends the text to `to` on `channel`.
pub(super) fn send(
    home: &Home,
    channel: &str,
    to: &str,
    payload: &Payload,
    limit: Option<Duration>,
) -> Outcome {
    let mut client = match connect(home, channel) {
        Ok(client) => client,
        Err(outcome) => return outcome,
    };
    let log_end = log_since(&mut client, None).map(|log| log.cursor);
    let params = json!({
        "channel": channel,
        "to": to,
        "message": payload.text,
        "idempotencyKey": payload.key,
    });
    match client.call("send", &params, limit.unwrap_or(TIME_OUT)) {
        Ok(answer) => {
            let parts = log_end.and_then(|end| parts_of(&mut client, &answer, end));
            Outcome::Delivered {
                receipt: receipt(channel, &answer, parts),
            }
        }
        Err(e) => judge(&e),
    }
}

/// A connection to the gateway that reaches `channel`.
pub(super) fn connect(home: &Home, channel: &str) -> Result<Client, Outcome> {
    if configured(&home.paths, &home.environment).is_none() {
        return Err(Outcome::Refused {
            why: format!(
                "channel {channel} is reached through an OpenClaw gateway, and none is configured; set OPENCLAW_GATEWAY_URL, then run 'dispatch redeliver'"
            ),
        });
    }
    let connected = endpoint(home).and_then(|gateway| Client::connect(&gateway, CONNECT_LIMIT));
    // Nothing was sent yet, whatever it was; a wrong token is the operator's to mend, and then it goes on by itself.
    connected.map_err(|e| Outcome::Failed {
        why: e.to_string(),
        retry_after: e.refusal().and_then(Refused::retry_after),
    })
}

/// What a `send` without success leaves.
fn judge(error: &GatewayError) -> Outcome {
    let why = error.to_string();
    let Some(refused) = error.refusal() else {
        return Outcome::Unknown {
            why,
            retry_after: None,
        };
    };
    if let Some(pause) = refused.retry_after() {
        return Outcome::Failed {
            why,
            retry_after: Some(pause),
        };
    }
    let words = refused.message.to_lowercase();
    let is_partial = refused.details.get("partialDelivery").is_some();
    let is_never = NEVER.iter().any(|never| words.contains(never));
    // Everything else that is said of a parameter, a channel or a right holds until somebody changes it.
    if (is_never && !is_partial) || refused.code != "UNAVAILABLE" {
        return Outcome::Refused { why };
    }
    // The channel failed on the way, perhaps after the first parts.
    Outcome::Unknown {
        why,
        retry_after: Some(FAILURE_IS_REMEMBERED),
    }
}

fn receipt(channel: &str, answer: &Value, parts: Option<u64>) -> Value {
    let mut receipt = json!({"channel": channel});
    for name in ["messageId", "chatId", "channelId", "conversationId"] {
        if let Some(value) = answer.get(name) {
            receipt[name] = value.clone();
        }
    }
    if let Some(parts) = parts {
        receipt["parts"] = json!(parts);
    }
    receipt
}

/// In how many messages the text went out, as the gateway's log tells since position `from`. It is written a moment after
/// the answer; one that is silent is not waited for long.
fn parts_of(client: &mut Client, answer: &Value, from: u64) -> Option<u64> {
    let id = match answer.get("messageId")? {
        Value::String(id) => id.clone(),
        other => other.to_string(),
    };
    for _ in 0..LOG_LOOKS {
        let log = log_since(client, Some(from))?;
        if let Some(parts) = parts_until(&id, &log.lines) {
            return Some(parts);
        }
        std::thread::sleep(LOG_PAUSE);
    }
    None
}

struct Log {
    cursor: u64,
    lines: Vec<String>,
}

/// The gateway's log from a position on, or where it ends now.
fn log_since(client: &mut Client, cursor: Option<u64>) -> Option<Log> {
    let params = match cursor {
        Some(cursor) => json!({"cursor": cursor, "limit": 1000}),
        None => json!({"limit": 1}),
    };
    let answer = client.call("logs.tail", &params, LOG_LIMIT).ok()?;
    let lines = answer.get("lines").and_then(Value::as_array);
    Some(Log {
        cursor: answer.get("cursor")?.as_u64()?,
        lines: lines
            .into_iter()
            .flatten()
            .filter_map(|line| line.as_str().map(str::to_owned))
            .collect(),
    })
}

/// How many messages were sent into the chat of message `id`, up to it. The newer generation logs one line for all parts
/// with their number, the older one a line for each part.
fn parts_until(id: &str, log: &[String]) -> Option<u64> {
    let sent: Vec<Sent<'_>> = log.iter().filter_map(|line| Sent::read(line)).collect();
    let last = sent.iter().rposition(|sent| sent.message == id)?;
    let chat = sent.get(last)?.chat;
    let same_chat = sent.iter().take(last + 1).filter(|sent| sent.chat == chat);
    Some(same_chat.map(|sent| sent.parts).sum())
}

/// A line of the gateway's log about messages that it sent.
struct Sent<'a> {
    chat: &'a str,
    message: &'a str,
    parts: u64,
}

impl<'a> Sent<'a> {
    fn read(line: &'a str) -> Option<Self> {
        // The sentence stands in the line twice, as a field of its own and as the message.
        let (_, sentence) = line.rsplit_once("outbound send ok ")?;
        let sentence = sentence.split('"').next().unwrap_or_default();
        let field = |name: &str| {
            sentence
                .split_whitespace()
                .find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
        };
        Some(Self {
            chat: field("chatId")?,
            message: field("messageId")?,
            parts: field("chunkCount")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, message: &str, details: Value, retryable: bool) -> GatewayError {
        GatewayError::Refused {
            method: "send".to_owned(),
            refused: Box::new(Refused {
                code: code.to_owned(),
                message: message.to_owned(),
                details,
                retryable,
                retry_after_ms: None,
            }),
        }
    }

    fn kind(error: &GatewayError) -> &'static str {
        match judge(error) {
            Outcome::Delivered { .. } => "delivered",
            Outcome::Failed { .. } => "failed",
            Outcome::Unknown { .. } => "unknown",
            Outcome::Refused { .. } => "refused",
        }
    }

    #[test]
    fn what_no_repeat_can_mend_is_refused_in_the_gateways_words() {
        for (code, words) in [
            ("INVALID_REQUEST", "unsupported channel: discord"),
            (
                "INVALID_REQUEST",
                "Channel is required (no configured channels detected)",
            ),
            ("FORBIDDEN", "missing scope: operator.write"),
            (
                "UNAVAILABLE",
                "OutboundDeliveryError: Telegram bot token missing for account \"default\" (set channels.telegram.accounts.default.botToken)",
            ),
            (
                "UNAVAILABLE",
                "OutboundDeliveryError: Telegram recipient must be a numeric chat ID",
            ),
            (
                "UNAVAILABLE",
                "OutboundDeliveryError: Call to 'sendMessage' failed! (403: Forbidden: bot was blocked by the user)",
            ),
        ] {
            let error = refused(code, words, Value::Null, false);
            assert_eq!(
                judge(&error),
                Outcome::Refused {
                    why: error.to_string()
                },
                "{words}"
            );
            assert!(error.to_string().contains(words));
        }
    }

    #[test]
    fn what_may_pass_is_repeated_and_is_unknown_once_it_was_under_way() {
        let starting = refused("UNAVAILABLE", "gateway starting", Value::Null, true);
        assert_eq!(kind(&starting), "failed");
        let broke = GatewayError::Broken("reset".to_owned());
        assert_eq!(kind(&broke), "unknown");
        let busy = refused(
            "UNAVAILABLE",
            "OutboundDeliveryError: Call to 'sendMessage' failed! (500: oops)",
            Value::Null,
            false,
        );
        let Outcome::Unknown { retry_after, .. } = judge(&busy) else {
            panic!("{}", kind(&busy));
        };
        assert_eq!(retry_after, Some(FAILURE_IS_REMEMBERED));
        // The first parts have arrived: whoever got them is told the rest.
        let cut = json!({"partialDelivery": {"messageIds": ["1"]}});
        let cut = refused("UNAVAILABLE", "failed! (400: too long)", cut, false);
        assert_eq!(kind(&cut), "unknown");
    }

    #[test]
    fn parts_are_counted_as_either_generation_logs_them() {
        let line = |chat: &str, message: &str, parts: &str| {
            let said = format!(
                "telegram outbound send ok accountId=default chatId={chat} messageId={message} operation=sendMessage deliveryKind=text chunkCount={parts}"
            );
            format!(r#"{{"1":"{said}","time":"t","message":"{said}","traceId":"x"}}"#)
        };
        let newer = [line("-100", "10", "3")];
        assert_eq!(parts_until("10", &newer), Some(3));
        let older = [
            line("-100", "8", "1"),
            line("7", "9", "1"),
            line("-100", "10", "1"),
            line("-100", "11", "1"),
        ];
        assert_eq!(parts_until("10", &older), Some(2));
        assert_eq!(parts_until("12", &older), None);
        let noise = ["", "{}", "outbound send ok", "outbound send ok chatId=1"];
        assert_eq!(parts_until("1", &noise.map(str::to_owned)), None);
    }
}
