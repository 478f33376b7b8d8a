//! Where an event for a session goes: the queue that its receiver drains, and the call that wakes it. Pure.
//!
//! A cron run's session is over when its run is: what comes later belongs to the agent's main session, or, where the gateway
//! has one session for everybody, to the queue `global`. An event never goes to another agent than its key names; a key that
//! names none is not scoped at all.

use serde_json::{Map, Value, json};

use super::key::SessionKey;

/// The main session's name where none is configured.
const DEFAULT_MAIN_KEY: &str = "main";

/// The queue of a gateway that has one session for everybody.
const GLOBAL_QUEUE: &str = "global";

/// Who shares a session, `session.scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scope {
    /// Each sender has one.
    #[default]
    PerSender,
    /// Everybody has one together.
    Global,
}

/// What a gateway's `wake` takes to say whom it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WakeForm {
    /// `sessionKey` alone (up to 2026.7).
    Session,
    /// `sessionKey` or `agentId` (from 2026.8).
    SessionOrAgent,
}

/// What decides where events go, as a gateway is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routing {
    main_key: String,
    scope: Scope,
    wake: WakeForm,
    /// The heartbeat's target of all agents.
    heartbeat: Option<String>,
    /// The heartbeat's target of one agent, by its id in lower case.
    heartbeats: Vec<(String, String)>,
}

/// Where one event goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The queue that its receiver drains.
    pub queue: String,
    /// How the receiver comes to look.
    pub by: Call,
    /// What the receiver says about it is for nobody's chat.
    pub internal: bool,
}

/// The call that brings an event to its receiver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `wake` for this session.
    WakeSession(String),
    /// `wake` for this agent's own session.
    WakeAgent(String),
    /// `wake` that names nobody.
    Wake,
    /// `sessions.send` into this session: gateways wake no sub-agents.
    Send(String),
}

impl Routing {
    /// From the object that holds `mainKey` and `scope`: `session` of OpenClaw's configuration, or `snapshot.sessionDefaults`
    /// of a gateway's greeting. What is missing or of another type has its default.
    pub fn new(session: &Value, wake: WakeForm) -> Self {
        let text = |name: &str| session.get(name).and_then(Value::as_str).map(str::trim);
        let main_key = text("mainKey").filter(|key| !key.is_empty());
        let is_global = text("scope").is_some_and(|scope| scope.eq_ignore_ascii_case("global"));
        Self {
            main_key: main_key.unwrap_or(DEFAULT_MAIN_KEY).to_lowercase(),
            scope: match is_global {
                true => Scope::Global,
                false => Scope::PerSender,
            },
            wake,
            heartbeat: None,
            heartbeats: Vec::new(),
        }
    }

    /// With the heartbeats' targets of OpenClaw's configuration.
    #[must_use = "the routing is not changed in place"]
    pub fn with_heartbeats(mut self, config: &Value) -> Self {
        let target = |of: &Value| Some(of.pointer("/heartbeat/target")?.as_str()?.to_owned());
        self.heartbeat = config.pointer("/agents/defaults").and_then(target);
        let agents = config.pointer("/agents/list").and_then(Value::as_array);
        let own = agents.into_iter().flatten().filter_map(|agent| {
            let id = agent.get("id")?.as_str()?.to_lowercase();
            Some((id, target(agent)?))
        });
        self.heartbeats = own.collect();
        self
    }

    /// Where an event for the session with this key goes. The key may have any form and any case.
    pub fn route(&self, requester: &str) -> Route {
        let requester = requester.trim();
        let Ok(key) = SessionKey::parse(requester) else {
            return Route {
                queue: requester.to_owned(),
                by: Call::Wake,
                internal: self.is_internal(None),
            };
        };
        let agent_id = key.agent_id();
        let internal = self.is_internal(Some(agent_id));
        let to = |queue: &str, by| Route {
            queue: queue.to_owned(),
            by,
            internal,
        };
        if self.leads_to_main(&key) {
            let main = self.main_session_of(agent_id);
            return match (self.scope, self.wake) {
                (Scope::PerSender, _) => to(&main, Call::WakeSession(main.clone())),
                (Scope::Global, WakeForm::Session) => to(GLOBAL_QUEUE, Call::WakeSession(main)),
                (Scope::Global, WakeForm::SessionOrAgent) => {
                    to(GLOBAL_QUEUE, Call::WakeAgent(agent_id.to_owned()))
                }
            };
        }
        let by = match key.is_subagent() {
            true => Call::Send(requester.to_owned()),
            false => Call::WakeSession(requester.to_owned()),
        };
        to(requester, by)
    }

    /// What is for this key goes to the main session of its agent, or to everybody's.
    pub fn leads_to_main(&self, key: &SessionKey) -> bool {
        key.is_under_cron_run() || self.is_main(key)
    }

    /// The key of the agent's main session.
    pub fn main_session_of(&self, agent_id: &str) -> String {
        format!("agent:{agent_id}:{}", self.main_key)
    }

    /// The text names the queue that everybody shares, and there is one.
    pub fn is_global_queue(&self, requester: &str) -> bool {
        self.scope == Scope::Global && requester.trim().eq_ignore_ascii_case(GLOBAL_QUEUE)
    }

    /// The agent's main session, under its configured name or the usual one, which gateways take for the same.
    fn is_main(&self, key: &SessionKey) -> bool {
        let rest = key.rest().to_lowercase();
        rest == self.main_key || rest == DEFAULT_MAIN_KEY
    }

    /// What the heartbeat says stays inside.
    fn is_internal(&self, agent_id: Option<&str>) -> bool {
        let agent_id = agent_id.map(str::to_lowercase);
        let own = self
            .heartbeats
            .iter()
            .find(|(id, _)| Some(id) == agent_id.as_ref());
        let target = own.map(|(_, target)| target).or(self.heartbeat.as_ref());
        target.is_some_and(|target| target.trim().eq_ignore_ascii_case("none"))
    }
}

impl Call {
    /// The gateway's method.
    pub fn method(&self) -> &'static str {
        match self {
            Call::Send(_) => "sessions.send",
            Call::WakeSession(_) | Call::WakeAgent(_) | Call::Wake => "wake",
        }
    }

    /// The method's parameters. `idempotency_key` is for the method that has one; a `wake` has none.
    pub fn params(&self, text: &str, idempotency_key: &str) -> Value {
        let mut params = Map::new();
        let mut set = |name: &str, value: &str| params.insert(name.to_owned(), json!(value));
        match self {
            Call::Send(key) => {
                set("key", key);
                set("message", text);
                set("idempotencyKey", idempotency_key);
            }
            wake => {
                set("mode", "now");
                set("text", text);
                match wake {
                    Call::WakeSession(key) => set("sessionKey", key),
                    Call::WakeAgent(id) => set("agentId", id),
                    Call::Wake | Call::Send(_) => None,
                };
            }
        }
        Value::Object(params)
    }
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
