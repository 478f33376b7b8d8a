//! A chat channel, through the gateway's `send` under the record's key.
//!
//! The gateway splits a long text as the channel wants it, and remembers a key for some minutes: a repeat within them is
//! answered from memory, be it a success or a failure. So a send that the chat itself has answered with an error, and which
//! has brought nothing, is tried again under a key of its own as soon as the outbox likes; neither generation of gateways
//! sends such a text by itself again (they keep it, and refuse a blind replay). A send of unknown fate keeps its key, and
//! waits until the gateway has forgotten it; what is then sent may be there twice, and says so. The gateway reports the last
//! message's id alone; how many there were is read from its log, where the log tells.

use std::time::Duration;

use serde_json::{Value, json};

use super::Payload;
use crate::delivery::no_gateway;
use crate::delivery::outbox::Outcome;
use crate::failure::retry_after;
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

/// For so long a gateway may answer a key that has failed from memory: it forgets what is older than five minutes, and looks
/// for that once a minute. A repeat that comes sooner is none, and costs the whole time again.
const FAILURE_IS_REMEMBERED: Duration = Duration::from_secs(365);

/// How an answer of the chat itself, to a call that sends, shows in the gateway's words: `(500: oops)` follows.
const CHAT_ANSWERED: &str = "call to 'send";

/// Answers that come from something in front of the chat: the chat may have taken the message all the same.
const ANSWERED_ON_THE_WAY: [u16; 3] = [408, 502, 504];

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
        "idempotencyKey": payload.key_of_try,
    });
    match client.call("send", &params, limit.unwrap_or(TIME_OUT)) {
        Ok(answer) => {
            let parts = log_end.and_then(|end| parts_of(&mut client, &answer, end));
            Outcome::Delivered {
                receipt: receipt(channel, &answer, parts),
            }
        }
        Err(e) => {
            // The older generation does not say that the first parts have arrived.
            let has_arrived = || match log_end.and_then(|end| log_since(&mut client, Some(end))) {
                Some(log) => log.is_cut || may_hold_a_part(&log.lines, to),
                None => true,
            };
            judge(&e, has_arrived, home.now_ms())
        }
    }
}

/// A connection to the gateway that reaches `channel`.
pub(super) fn connect(home: &Home, channel: &str) -> Result<Client, Outcome> {
    if configured(&home.paths, &home.environment).is_none() {
        return Err(Outcome::Refused {
            why: no_gateway(channel),
        });
    }
    let connected = endpoint(home).and_then(|gateway| Client::connect(&gateway, CONNECT_LIMIT));
    // Nothing was sent yet, whatever it was; a wrong token is the operator's to mend, and then it goes on by itself.
    connected.map_err(|e| Outcome::Failed {
        why: e.to_string(),
        retry_after: e.refusal().and_then(Refused::retry_after),
    })
}

/// What a `send` without success leaves. `has_arrived` tells whether a part of the text may have got there.
fn judge(error: &GatewayError, has_arrived: impl FnOnce() -> bool, now_ms: i64) -> Outcome {
    let why = error.to_string();
    let Some(refused) = error.refusal() else {
        return Outcome::Unknown {
            why,
            retry_after: None,
            remembered: None,
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
        return Outcome::Spent(Box::new(Outcome::Refused { why }));
    }
    if is_answered_by_chat(&words) && !is_partial && !has_arrived() {
        let retry_after = retry_after::in_text(&refused.message, now_ms).map(Duration::from_millis);
        return Outcome::Spent(Box::new(Outcome::Failed { why, retry_after }));
    }
    // The channel failed on the way, perhaps after the first parts.
    Outcome::Unknown {
        why,
        retry_after: None,
        remembered: Some(FAILURE_IS_REMEMBERED),
    }
}

/// The chat has said no, with a number that means that it has not taken the message.
fn is_answered_by_chat(words: &str) -> bool {
    let answer = words.split_once(CHAT_ANSWERED).map(|(_, answer)| answer);
    let number = answer
        .and_then(|answer| answer.split_once("failed! ("))
        .and_then(|(_, number)| number.split_once(": "))
        .and_then(|(number, _)| number.parse::<u16>().ok());
    number.is_some_and(|number| {
        (400..600).contains(&number) && !ANSWERED_ON_THE_WAY.contains(&number)
    })
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
    /// Lines are missing.
    is_cut: bool,
}

/// The gateway's log from a position on, or where it ends now.
fn log_since(client: &mut Client, cursor: Option<u64>) -> Option<Log> {
    let params = match cursor {
        Some(cursor) => json!({"cursor": cursor, "limit": 1000}),
        None => json!({"limit": 1}),
    };
    let answer = client.call("logs.tail", &params, LOG_LIMIT).ok()?;
    let lines = answer.get("lines").and_then(Value::as_array);
    let is = |name: &str| answer.get(name) == Some(&Value::Bool(true));
    Some(Log {
        is_cut: is("truncated") || is("reset"),
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

/// Something was sent that may be a part of what went to `to`: a channel may know a chat by a name and by a number.
fn may_hold_a_part(log: &[String], to: &str) -> bool {
    let is_number = |chat: &str| chat.parse::<i64>().is_ok();
    let is_other = |sent: &Sent<'_>| is_number(to) && is_number(sent.chat) && sent.chat != to;
    let mut sent = log.iter().filter_map(|line| Sent::read(line));
    sent.any(|sent| !is_other(&sent))
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

    fn judged(error: &GatewayError) -> Outcome {
        judge(error, || false, 0)
    }

    fn unavailable(words: &str) -> GatewayError {
        let words = format!("OutboundDeliveryError: {words}");
        refused("UNAVAILABLE", &words, Value::Null, false)
    }

    fn is_unknown_until_forgotten(outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Unknown { remembered: Some(pause), .. } if *pause == FAILURE_IS_REMEMBERED)
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
                judged(&error),
                Outcome::Spent(Box::new(Outcome::Refused {
                    why: error.to_string()
                })),
                "{words}"
            );
            assert!(error.to_string().contains(words));
        }
    }

    #[test]
    fn what_the_chat_has_answered_is_tried_again_soon_under_another_key() {
        let failed = |words: &str| {
            judged(&unavailable(&format!(
                "Call to 'sendMessage' failed! {words}"
            )))
        };
        for (words, asked_to_wait) in [
            ("(500: oops)", None),
            ("(503: overloaded)", None),
            ("(409: busy)", None),
            ("(429: fake failure of sendMessage)", None),
            ("(429: Too Many Requests: retry after 35)", Some(35)),
        ] {
            let Outcome::Spent(inner) = failed(words) else {
                panic!("{words}: {:?}", failed(words));
            };
            let Outcome::Failed { retry_after, .. } = *inner else {
                panic!("{words}: {inner:?}");
            };
            assert_eq!(
                retry_after,
                asked_to_wait.map(Duration::from_secs),
                "{words}"
            );
        }
        for on_the_way in [
            "(502: Bad Gateway)",
            "(504: Gateway Timeout)",
            "(0: x)",
            "(x: y)",
            "",
        ] {
            assert!(
                is_unknown_until_forgotten(&failed(on_the_way)),
                "{on_the_way}"
            );
        }
    }

    #[test]
    fn what_may_have_arrived_in_part_keeps_its_key_until_the_gateway_has_forgotten_it() {
        let network = unavailable("Network request for 'sendMessage' failed!");
        assert!(is_unknown_until_forgotten(&judged(&network)));
        // A call that finds out whom to send to is none that sends.
        let lookup = unavailable("Call to 'getChat' failed! (500: oops)");
        assert!(is_unknown_until_forgotten(&judged(&lookup)));
        let answered = unavailable("Call to 'sendMessage' failed! (500: oops)");
        assert!(is_unknown_until_forgotten(&judge(&answered, || true, 0)));
        // The first parts have arrived: whoever got them is told the rest.
        let cut = json!({"partialDelivery": {"messageIds": ["1"]}});
        for words in ["(500: oops)", "(400: too long)"] {
            let words =
                format!("Error: Call to 'sendMessage' failed! {words} | CHANNEL_PARTIAL_DELIVERY");
            let cut = refused("UNAVAILABLE", &words, cut.clone(), false);
            assert!(is_unknown_until_forgotten(&judged(&cut)), "{words}");
        }
    }

    #[test]
    fn what_never_got_to_the_channel_keeps_its_key_and_is_tried_soon() {
        let starting = refused("UNAVAILABLE", "gateway starting", Value::Null, true);
        assert!(matches!(judged(&starting), Outcome::Failed { .. }));
        let broke = GatewayError::Broken("reset".to_owned());
        let broke = judged(&broke);
        assert!(
            matches!(
                broke,
                Outcome::Unknown {
                    remembered: None,
                    ..
                }
            ),
            "{broke:?}"
        );
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
        for (to, may_be) in [("-100", true), ("7", true), ("8", false), ("@name", true)] {
            assert_eq!(may_hold_a_part(&older, to), may_be, "{to}");
        }
        assert!(!may_hold_a_part(&[], "@name"));
        let noise = ["", "{}", "outbound send ok", "outbound send ok chatId=1"];
        assert_eq!(parts_until("1", &noise.map(str::to_owned)), None);
    }
}
