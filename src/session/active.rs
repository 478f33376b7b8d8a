//! Which chat is being talked in: the delivery target of the main session that was at work last. Pure.
//!
//! A main session is one that people talk to: an agent's main session or a chat's own. Sub-agents, cron jobs and dashboards
//! are none. A session whose way back is not known, or leads to a page on this machine, has no target.

use std::time::Duration;

use serde_json::Value;

use super::key::SessionKey;
use super::store::SessionRow;
use crate::record::time;

/// Kinds of sessions that nobody talks in, by the first word after the agent's id.
const WITHOUT_PEOPLE: [&str; 5] = ["subagent", "cron", "dashboard", "hook", "acp"];

/// Channels that are pages on this machine, not chats.
const NO_CHATS: [&str; 2] = ["webchat", "internal"];

/// A chat in which a main session was at work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// The channel (`telegram`).
    pub channel: String,
    /// The target on it (`-1001234`).
    pub to: String,
    /// The session.
    pub session_key: String,
    /// How long ago it was at work.
    pub idle: Duration,
}

/// The chat to answer in: of the sessions at work within `window` a group's before a direct chat's, then the latest.
/// `now_ms` is wall time since the epoch; a session at work in the future was at work now.
pub fn chat<'a>(
    rows: impl IntoIterator<Item = (&'a str, &'a SessionRow)>,
    now_ms: i64,
    window: Duration,
) -> Option<Chat> {
    let chats = rows.into_iter().filter_map(|(key, row)| {
        let key = SessionKey::parse(key).ok().filter(has_people)?;
        let (channel, to) = way_back(&key, row)?;
        let idle_ms = now_ms.saturating_sub(at_work_ms(row)?).max(0);
        let idle = Duration::from_millis(u64::try_from(idle_ms).ok()?);
        let chat = Chat {
            channel,
            to,
            session_key: key.as_str().to_owned(),
            idle,
        };
        (idle <= window).then_some((!is_group(&key, row), chat))
    });
    let best = chats.min_by(|(one_direct, one), (other_direct, other)| {
        (one_direct, one.idle, &one.session_key).cmp(&(
            other_direct,
            other.idle,
            &other.session_key,
        ))
    });
    best.map(|(_, chat)| chat)
}

/// The profile of credentials that the session at work last within `window` names, of those that people talk in.
pub fn auth_profile<'a>(
    rows: impl IntoIterator<Item = (&'a str, &'a SessionRow)>,
    now_ms: i64,
    window: Duration,
) -> Option<String> {
    let named = rows.into_iter().filter_map(|(key, row)| {
        let key = SessionKey::parse(key).ok().filter(has_people)?;
        let at_ms = at_work_ms(row)?;
        let idle_ms = u64::try_from(now_ms.saturating_sub(at_ms)).unwrap_or(0);
        let profile = row.extra.get("authProfileOverride")?.as_str()?.trim();
        let is_recent = Duration::from_millis(idle_ms) <= window && !profile.is_empty();
        is_recent.then(|| (at_ms, key.as_str().to_owned(), profile.to_owned()))
    });
    named.max().map(|(_, _, profile)| profile)
}

fn has_people(key: &SessionKey) -> bool {
    let kind = key.rest().split(':').next().unwrap_or_default();
    let is_other = WITHOUT_PEOPLE.iter().any(|o| kind.eq_ignore_ascii_case(o));
    !is_other && !key.is_subagent()
}

/// When somebody last talked there; where only writes are told, when it was last written, ms since the epoch.
fn at_work_ms(row: &SessionRow) -> Option<i64> {
    let talked = row.extra.get("lastInteractionAt").and_then(time::parse);
    talked.or(row.updated_at_ms)
}

fn is_group(key: &SessionKey, row: &SessionRow) -> bool {
    let by_type = row.extra.get("chatType").and_then(Value::as_str);
    let by_key = key.rest().split(':').nth(1);
    let is_group = |word: &str| matches!(word, "group" | "channel");
    by_type.or(by_key).is_some_and(is_group)
}

/// Channel and target: as the gateway would deliver, else from where the last message came, else from the chat's own key
/// (`<channel>:group:<id>`).
fn way_back(key: &SessionKey, row: &SessionRow) -> Option<(String, String)> {
    let text = |value: Option<&Value>| Some(value?.as_str()?.trim().to_owned());
    let field = |name: &str| row.extra.get(name);
    let inside = |object: &str, name: &str| text(field(object)?.get(name));
    let delivery = || {
        let to = inside("deliveryContext", "to")?;
        Some((inside("deliveryContext", "channel")?, to))
    };
    let last = || Some((text(field("lastChannel"))?, text(field("lastTo"))?));
    let origin = || Some((inside("origin", "provider")?, inside("origin", "to")?));
    let from_key = || match *key.rest().split(':').collect::<Vec<_>>() {
        [channel, "group" | "channel" | "direct", id, ..] => {
            Some((channel.to_owned(), id.to_owned()))
        }
        _ => None,
    };
    let is_chat = |(channel, to): &(String, String)| {
        !channel.is_empty() && !to.is_empty() && !NO_CHATS.contains(&channel.as_str())
    };
    let (channel, to) = delivery()
        .filter(is_chat)
        .or_else(|| last().filter(is_chat))
        .or_else(|| origin().filter(is_chat))
        .or_else(|| from_key().filter(is_chat))?;
    // Gateways name the channel once more in front of the target.
    let bare = to
        .strip_prefix(channel.as_str())
        .and_then(|rest| rest.strip_prefix(':'))
        .filter(|bare| !bare.is_empty());
    let to = bare.unwrap_or(&to).to_owned();
    Some((channel, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    const NOW_MS: i64 = 1_795_265_402_037;
    const WINDOW: Duration = Duration::from_secs(600);

    fn chosen(rows: &Value) -> Option<String> {
        let rows: Vec<(String, SessionRow)> = rows
            .as_array()
            .expect("a list")
            .iter()
            .map(|row| {
                let key = row["key"].as_str().expect("a text").to_owned();
                let mut row = row.clone();
                let ago = row["ago"].as_i64().expect("seconds") * 1000;
                row["updatedAt"] = json!(NOW_MS - ago);
                (key, SessionRow::from_value(row).expect("an object"))
            })
            .collect();
        let rows = rows.iter().map(|(key, row)| (key.as_str(), row));
        chat(rows, NOW_MS, WINDOW).map(|chat| format!("{} {}", chat.channel, chat.to))
    }

    #[test]
    fn the_profile_is_that_of_the_main_session_at_work_last() {
        let row = |key: &str, ago: i64, profile: Value| {
            let row = json!({"updatedAt": NOW_MS - ago * 1000, "authProfileOverride": profile});
            (
                key.to_owned(),
                SessionRow::from_value(row).expect("an object"),
            )
        };
        let rows = [
            row("agent:main:main", 500, json!("anthropic:old")),
            row("agent:main:telegram:group:1", 100, json!("anthropic:work")),
            row("agent:main:telegram:group:2", 50, json!("  ")),
            row("agent:main:subagent:x", 1, json!("anthropic:sub")),
        ];
        let chosen = |rows: &[(String, SessionRow)], window| {
            let rows = rows.iter().map(|(key, row)| (key.as_str(), row));
            auth_profile(rows, NOW_MS, window)
        };
        assert_eq!(chosen(&rows, WINDOW).as_deref(), Some("anthropic:work"));
        assert_eq!(chosen(&rows[..1], WINDOW).as_deref(), Some("anthropic:old"));
        assert_eq!(chosen(&rows, Duration::from_secs(99)), None);
    }

    fn direct(ago: i64) -> Value {
        // As both generations tell it of a session with a telegram chat.
        json!({"key": "agent:main:main", "chatType": "direct", "ago": ago,
            "deliveryContext": {"channel": "telegram", "to": "telegram:12345", "accountId": "default"},
            "lastChannel": "telegram", "lastTo": "telegram:12345"})
    }

    fn group(id: &str, ago: i64) -> Value {
        json!({"key": format!("agent:main:telegram:group:{id}"), "chatType": "group", "ago": ago,
            "lastChannel": "telegram", "lastTo": format!("telegram:{id}")})
    }

    #[rstest]
    #[case::nobody(json!([]), None)]
    #[case::a_direct_chat(json!([direct(60)]), Some("telegram 12345"))]
    #[case::the_end_of_the_window(json!([direct(600)]), Some("telegram 12345"))]
    #[case::too_long_ago(json!([direct(601)]), None)]
    #[case::a_clock_that_is_ahead(json!([direct(-30)]), Some("telegram 12345"))]
    #[case::a_group_goes_before_a_later_direct_chat(json!([direct(1), group("-1001", 500)]), Some("telegram -1001"))]
    #[case::but_not_one_that_is_quiet(json!([direct(1), group("-1001", 700)]), Some("telegram 12345"))]
    #[case::the_latest_of_two_groups(json!([group("-1", 90), group("-2", 30), group("-3", 60)]), Some("telegram -2"))]
    #[case::the_key_where_nothing_else_tells(
        json!([{"key": "agent:ops:discord:channel:77:thread:5", "ago": 5}]), Some("discord 77"))]
    #[case::where_the_last_message_came_from(
        json!([{"key": "agent:main:main", "ago": 5, "origin": {"provider": "signal", "to": "signal:+49"}}]), Some("signal +49"))]
    #[case::a_page_on_this_machine(
        json!([{"key": "agent:main:main", "ago": 5, "lastChannel": "webchat", "deliveryContext": {"channel": "webchat"}}]), None)]
    #[case::a_sub_agent(
        json!([{"key": "agent:main:subagent:1", "ago": 5, "lastChannel": "telegram", "lastTo": "telegram:1"}]), None)]
    #[case::a_cron_run(
        json!([{"key": "agent:main:cron:daily:run:1", "ago": 5, "lastChannel": "telegram", "lastTo": "telegram:1"}]), None)]
    #[case::a_sub_agent_below_a_chat(
        json!([{"key": "agent:main:telegram:group:1:subagent:2", "ago": 5, "lastChannel": "telegram", "lastTo": "telegram:1"}]), None)]
    #[case::no_agent_key(json!([{"key": "global", "ago": 5, "lastChannel": "telegram", "lastTo": "1"}]), None)]
    fn the_chat_to_answer_in(#[case] rows: Value, #[case] chat: Option<&str>) {
        assert_eq!(chosen(&rows).as_deref(), chat);
    }

    #[test]
    fn talk_counts_and_not_what_else_wrote_the_row() {
        let mut row = direct(1);
        row["lastInteractionAt"] = json!(NOW_MS - 3_600_000);
        assert_eq!(chosen(&json!([row])), None);
    }
}
