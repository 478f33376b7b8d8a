//! Session keys: `agent:<agentId>:<rest>`.
//!
//! A key is kept as it was given; gateways store keys in lower case and look them up ignoring case, so compare with
//! [`SessionKey::is_same`] or [`same_key`]. A text that is no agent key is refused, never repaired.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The key of one agent session.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionKey {
    text: String,
    /// Byte offset after the second colon.
    rest_at: usize,
}

/// A text that is no `agent:<agentId>:<rest>` key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no session key: expected agent:<agentId>:<rest>")]
pub struct InvalidSessionKey(pub String);

impl SessionKey {
    /// Reads `agent:<agentId>:<rest>`; both parts must be there, `agent` in any case.
    ///
    /// # Errors
    /// [`InvalidSessionKey`] for every other text.
    pub fn parse(text: &str) -> Result<Self, InvalidSessionKey> {
        match split(text) {
            Some(rest_at) => Ok(Self {
                text: text.to_owned(),
                rest_at,
            }),
            None => Err(InvalidSessionKey(text.to_owned())),
        }
    }

    /// The key of a fresh sub-agent session, `agent:<agentId>:subagent:<uuid>`.
    ///
    /// # Errors
    /// [`InvalidSessionKey`] when `agent_id` is empty or contains a colon.
    pub fn subagent(agent_id: &str, id: Uuid) -> Result<Self, InvalidSessionKey> {
        let text = format!("agent:{agent_id}:subagent:{id}");
        match Self::parse(&text) {
            Ok(key) if key.agent_id() == agent_id => Ok(key),
            _ => Err(InvalidSessionKey(text)),
        }
    }

    /// The text is a key as [`SessionKey::subagent`] makes it for this agent.
    pub fn is_fresh_subagent(text: &str, agent_id: &str) -> bool {
        let id = text.rsplit(':').next().unwrap_or_default();
        let made = Uuid::try_parse(id)
            .ok()
            .and_then(|id| Self::subagent(agent_id, id).ok());
        made.is_some_and(|made| made.is_same(text))
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The agent's id, as written.
    pub fn agent_id(&self) -> &str {
        let before_rest = self.text.get(..self.rest_at).unwrap_or_default();
        before_rest.split(':').nth(1).unwrap_or_default()
    }

    /// What follows the agent's id (`main`, `subagent:<uuid>`, `telegram:group:-100...`).
    pub fn rest(&self) -> &str {
        self.text.get(self.rest_at..).unwrap_or_default()
    }

    /// A sub-agent's session, or one below it.
    pub fn is_subagent(&self) -> bool {
        let segments: Vec<&str> = self.rest().split(':').collect();
        segments
            .windows(2)
            .any(|pair| matches!(pair, [name, id] if is(name, "subagent") && !id.is_empty()))
    }

    /// One run of a cron job, `cron:<job>:run:<id>`, and not a session below it.
    pub fn is_cron_run(&self) -> bool {
        let segments: Vec<&str> = self.rest().split(':').collect();
        cron_run_len(&segments) == Some(segments.len())
    }

    /// A cron run, or a session below one (a sub-agent that the run spawned).
    pub fn is_under_cron_run(&self) -> bool {
        let segments: Vec<&str> = self.rest().split(':').collect();
        cron_run_len(&segments).is_some()
    }

    /// The same key, ignoring case.
    pub fn is_same(&self, other: &str) -> bool {
        same_key(&self.text, other)
    }
}

/// Whether two session keys are one to a gateway, which ignores case.
pub fn same_key(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || one.to_lowercase() == other.to_lowercase()
}

/// Where `<rest>` starts, when the text is a key.
fn split(text: &str) -> Option<usize> {
    let mut parts = text.splitn(3, ':');
    let (scheme, agent_id, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = is(scheme, "agent") && !agent_id.trim().is_empty() && !rest.trim().is_empty();
    whole.then(|| text.len() - rest.len())
}

/// How many leading segments name a cron run. A job's name may itself contain colons.
fn cron_run_len(segments: &[&str]) -> Option<usize> {
    let (first, after) = segments.split_first()?;
    if !is(first, "cron") {
        return None;
    }
    // The job's name takes at least one segment, the run's id exactly one.
    let run = after.iter().skip(1).position(|s| is(s, "run"))? + 2;
    segments.get(run + 1).filter(|id| !id.is_empty())?;
    Some(run + 2)
}

fn is(segment: &str, word: &str) -> bool {
    segment.eq_ignore_ascii_case(word)
}

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for SessionKey {
    type Err = InvalidSessionKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for SessionKey {
    type Error = InvalidSessionKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<SessionKey> for String {
    fn from(key: SessionKey) -> Self {
        key.text
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("agent:main:main", "main", "main")]
    #[case("agent:ops:subagent:1f-2e", "ops", "subagent:1f-2e")]
    #[case("Agent:Main:telegram:group:-1001", "Main", "telegram:group:-1001")]
    fn a_key_is_taken_apart(#[case] text: &str, #[case] agent: &str, #[case] rest: &str) {
        let key = SessionKey::parse(text).unwrap();
        assert_eq!(
            (key.agent_id(), key.rest(), key.as_str()),
            (agent, rest, text)
        );
    }

    #[rstest]
    #[case("")]
    #[case("main")]
    #[case("global")]
    #[case("agent:")]
    #[case("agent:main")]
    #[case("agent:main:")]
    #[case("agent::x")]
    #[case("agent: :x")]
    #[case("agents:main:x")]
    #[case(" agent:main:x")]
    fn other_texts_are_refused(#[case] text: &str) {
        assert_eq!(
            SessionKey::parse(text),
            Err(InvalidSessionKey(text.to_owned()))
        );
    }

    #[test]
    fn a_fresh_subagent_key_names_its_agent() {
        let key = SessionKey::subagent("ops", Uuid::nil()).unwrap();
        assert_eq!(
            key.as_str(),
            "agent:ops:subagent:00000000-0000-0000-0000-000000000000"
        );
        assert!(key.is_subagent() && !key.is_cron_run());
        assert!(SessionKey::subagent("", Uuid::nil()).is_err());
        assert!(SessionKey::subagent("a:b", Uuid::nil()).is_err());
    }

    #[rstest]
    #[case("agent:m:cron:job:run:1", true, true)]
    #[case("agent:m:CRON:job:RUN:1", true, true)]
    #[case("agent:m:cron:a:b:run:1", true, true)]
    #[case("agent:m:cron:run:run:1", true, true)]
    #[case("agent:m:cron:job:run:1:subagent:2", false, true)]
    #[case("agent:m:cron:job", false, false)]
    #[case("agent:m:cron:job:run", false, false)]
    #[case("agent:m:cron:job:run:", false, false)]
    #[case("agent:m:cron:run:1", false, false)]
    #[case("agent:m:subagent:cron:job:run:1", false, false)]
    fn cron_runs_are_recognised(#[case] text: &str, #[case] run: bool, #[case] under: bool) {
        let key = SessionKey::parse(text).unwrap();
        assert_eq!((key.is_cron_run(), key.is_under_cron_run()), (run, under));
    }

    #[rstest]
    #[case("agent:m:subagent:1", true)]
    #[case("agent:m:SubAgent:1", true)]
    #[case("agent:m:cron:j:run:1:subagent:2", true)]
    #[case("agent:m:subagent", false)]
    #[case("agent:m:subagent:", false)]
    #[case("agent:m:subagents:1", false)]
    fn subagents_are_recognised(#[case] text: &str, #[case] expected: bool) {
        assert_eq!(SessionKey::parse(text).unwrap().is_subagent(), expected);
    }

    #[test]
    fn keys_are_compared_ignoring_case() {
        let key = SessionKey::parse("agent:Main:Żółć").unwrap();
        assert!(key.is_same("AGENT:main:żÓŁĆ"));
        assert!(!key.is_same("agent:main:zolc"));
    }

    #[test]
    fn serde_refuses_what_parse_refuses() {
        let key: SessionKey = serde_json::from_str("\"agent:m:x\"").unwrap();
        assert_eq!(serde_json::to_string(&key).unwrap(), "\"agent:m:x\"");
        assert!(serde_json::from_str::<SessionKey>("\"x\"").is_err());
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC{0,40}", colons in "(agent|cron|run|subagent|:|é){0,12}") {
            for text in [text, colons] {
                if let Ok(key) = SessionKey::parse(&text) {
                    let _ = (key.is_subagent(), key.is_cron_run(), key.is_under_cron_run(), key.is_same(&text));
                    prop_assert_eq!(format!("{}:{}", &text[..5], key.agent_id()) + ":" + key.rest(), text);
                }
            }
        }
    }
}
