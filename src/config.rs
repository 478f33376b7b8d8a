//! `config.json`: the operator's settings, and the settings that come from the environment.
//!
//! Unknown keys are warned about with the nearest known one, keys that start with `_` are comments. A value of the
//! wrong type is refused, or warned about where a completion would be lost by refusing.

pub mod aliases;
mod keys;
mod live;
mod receivers;
pub mod runtimes;
mod windows;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

pub use self::keys::known_keys;
use self::keys::{Slip, sound};
pub use self::receivers::EventReceivers;
pub use self::runtimes::{Runtime, Runtimes};
pub use self::windows::{LivenessWindows, RetryWindows};
use crate::duration::{self, Unit};
use crate::paths::Environment;
use crate::storage::Storage;

pub use live::Settings;

/// A configuration larger than this is refused unread.
const MAX_CONFIG_BYTES: u64 = 4 * 1024 * 1024;

/// What to do about a configuration that cannot be used as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strictness {
    /// Refuse it.
    Refuse,
    /// Warn and go on with defaults: for programs whose refusal would lose a completion.
    Warn,
}

/// A receiver of results over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Webhook {
    /// Where to POST.
    pub url: String,
    /// The key of the signature; none, no signature.
    pub secret: Option<String>,
}

/// How an OpenClaw gateway is called.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Gateway {
    /// The way.
    pub transport: GatewayTransport,
    /// The `openclaw` program: a name on PATH, or a path.
    pub cli: PathBuf,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            transport: GatewayTransport::default(),
            cli: PathBuf::from("openclaw"),
        }
    }
}

/// The way to a gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayTransport {
    /// Its socket.
    #[default]
    WebSocket,
    /// The `openclaw` program, a process for each call.
    Cli,
}

/// The settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The name that messages and log lines carry.
    pub brand: String,
    /// The names that messages and log lines of single agents carry.
    pub agent_brands: BTreeMap<String, String>,
    /// The runtimes that single agents' local sessions are given, by their ids.
    pub agent_runtimes: BTreeMap<String, String>,
    /// The command lines of agents that local sessions may run.
    pub runtimes: Runtimes,
    /// The model of an enqueue that names none.
    pub default_model: Option<String>,
    /// Where results of labels go that nobody enqueued.
    pub deliver_to: Option<String>,
    /// `deliverTo` could not be read: whom it names, or whether anybody, is not known.
    pub is_deliver_to_unread: bool,
    /// The channel of delivery targets that name none.
    pub delivery_channel: String,
    /// `@name` -> target.
    pub aliases: BTreeMap<String, String>,
    /// Receivers that `webhook:<name>` targets mean.
    pub webhooks: BTreeMap<String, Webhook>,
    /// Programs that `command:<name>` targets mean, with their arguments.
    pub commands: BTreeMap<String, Vec<String>>,
    /// How often a stuck label is looked for, as a cron expression, where its call does not say.
    pub watchdog_interval: String,
    /// After so many minutes of silence a label counts as stuck, where its call does not say.
    pub watchdog_timeout_min: u64,
    /// How an OpenClaw gateway is called; `DISPATCH_GATEWAY_TRANSPORT` decides about the way.
    pub gateway: Gateway,
    /// How long a delivery is tried.
    pub delivery_ttl: Duration,
    /// How long one try may take; the sinks have limits of their own where it is not set.
    pub delivery_timeout: Option<Duration>,
    /// How long a session may take to appear, where the operator says so.
    pub startup_grace: Option<Duration>,
    /// The operator's own windows of the liveness policy.
    pub liveness: LivenessWindows,
    /// The operator's own pauses and counts of automatic retries.
    pub retry: RetryWindows,
    /// Who hears of events.
    pub events: EventReceivers,
    /// A verify command that takes longer has failed.
    pub verify_timeout: Duration,
    /// How long a local command has between TERM and KILL.
    pub term_grace: Duration,
    /// `DISPATCH_COMPLETION_INLINE_LIMIT_BYTES` as it is set: the completion rules read it.
    pub inline_limit: Option<String>,
    /// The limit that `DISPATCH_LOCK_TIMEOUT` puts on waiting for the ledger, where it is set.
    pub lock_timeout: Option<Duration>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            brand: "dispatch".to_owned(),
            agent_brands: BTreeMap::new(),
            agent_runtimes: BTreeMap::new(),
            runtimes: Runtimes::default(),
            default_model: None,
            deliver_to: None,
            is_deliver_to_unread: false,
            delivery_channel: "telegram".to_owned(),
            aliases: BTreeMap::new(),
            webhooks: BTreeMap::new(),
            commands: BTreeMap::new(),
            watchdog_interval: "*/15 * * * *".to_owned(),
            watchdog_timeout_min: 60,
            gateway: Gateway::default(),
            delivery_ttl: Duration::from_secs(48 * 3600),
            delivery_timeout: None,
            startup_grace: None,
            liveness: LivenessWindows::default(),
            retry: RetryWindows::default(),
            events: EventReceivers::default(),
            verify_timeout: Duration::from_secs(600),
            term_grace: Duration::from_secs(10),
            inline_limit: None,
            lock_timeout: None,
        }
    }
}

/// Why a configuration was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// It could not be read.
    #[error("cannot read the configuration {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is no JSON object.
    #[error("the configuration {path} is not usable: {what}; mend it or move it away")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        what: String,
    },
    /// A key has a value of another type.
    #[error(
        "the configuration {path} is not usable: \"{key}\" must be {expected}, not {found}; mend it or take it out"
    )]
    WrongType {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What it must be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A key is there that stands for nothing any more, or cannot stand where it does.
    #[error("the configuration {path} is not usable: \"{key}\": {why}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Why, and what to do instead.
        why: String,
    },
    /// An environment variable has a value that cannot be used.
    #[error("{name} must be {expected}, not \"{value}\"")]
    Variable {
        /// The variable.
        name: &'static str,
        /// What it must be.
        expected: &'static str,
        /// Its value.
        value: String,
    },
}

impl Config {
    /// The name that what concerns this agent carries.
    pub fn brand_of(&self, agent: Option<&str>) -> &str {
        let own = agent.and_then(|agent| self.agent_brands.get(agent));
        own.unwrap_or(&self.brand)
    }

    /// Reads `path` (missing: defaults) and the environment. Returns the settings and the warnings to show.
    ///
    /// # Errors
    /// When the file is unusable and `strictness` says to refuse.
    pub fn load(
        storage: &dyn Storage,
        path: &Path,
        env: Environment<'_>,
        strictness: Strictness,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        Self::load_as(storage, path, env, strictness, strictness)
    }

    /// As [`Config::load`], for a process that keeps the settings it has when the file is unusable. What the environment
    /// says counts as it did at the start: it cannot be mended while the process runs.
    ///
    /// # Errors
    /// When the file is unusable.
    pub fn reread(
        storage: &dyn Storage,
        path: &Path,
        env: Environment<'_>,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        Self::load_as(storage, path, env, Strictness::Refuse, Strictness::Warn)
    }

    fn load_as(
        storage: &dyn Storage,
        path: &Path,
        env: Environment<'_>,
        file: Strictness,
        variables: Strictness,
    ) -> Result<(Self, Vec<String>), ConfigError> {
        let mut warnings = Vec::new();
        let mut config = Self::default();
        match read_object(storage, path) {
            Ok(keys) => {
                let unusable = config.apply(path, &keys, &mut warnings);
                config.is_deliver_to_unread = unusable.iter().any(is_about_deliver_to);
                settle(unusable, file, &mut warnings)?;
            }
            Err(error) => {
                config.is_deliver_to_unread = true;
                settle(vec![error], file, &mut warnings)?;
            }
        }
        let text = |name: &str| env(name).and_then(|value| value.into_string().ok());
        if config.default_model.is_none() {
            config.default_model = text("DISPATCH_DEFAULT_MODEL").filter(|model| !model.is_empty());
        }
        config.events = config.events.overridden(text);
        config.inline_limit = text("DISPATCH_COMPLETION_INLINE_LIMIT_BYTES");
        if let Some(value) = text("DISPATCH_LOCK_TIMEOUT").filter(|value| !value.is_empty()) {
            match duration::parse(&value, Unit::Seconds) {
                Ok(limit) => config.lock_timeout = Some(limit),
                Err(_) => settle(
                    vec![ConfigError::Variable {
                        name: "DISPATCH_LOCK_TIMEOUT",
                        expected: "a duration such as 30 or 2m",
                        value,
                    }],
                    variables,
                    &mut warnings,
                )?,
            }
        }
        if let Some(value) = text("DISPATCH_GATEWAY_TRANSPORT").filter(|value| !value.is_empty()) {
            match GatewayTransport::deserialize(Value::String(value.trim().to_lowercase())) {
                Ok(transport) => config.gateway.transport = transport,
                Err(_) => settle(
                    vec![ConfigError::Variable {
                        name: "DISPATCH_GATEWAY_TRANSPORT",
                        expected: "websocket or cli",
                        value,
                    }],
                    variables,
                    &mut warnings,
                )?,
            }
        }
        Ok((config, warnings))
    }

    fn apply(
        &mut self,
        path: &Path,
        keys: &Map<String, Value>,
        warnings: &mut Vec<String>,
    ) -> Vec<ConfigError> {
        let (sound, slips) = sound(keys);
        for (key, value) in &sound {
            self.set(key, value);
        }
        let mut unusable = Vec::new();
        for slip in slips {
            match slip {
                Slip::Unknown { key, near } => warnings.push(unknown_key(path, &key, near)),
                Slip::Wrong {
                    key,
                    expected,
                    found,
                } => unusable.push(ConfigError::WrongType {
                    path: path.to_owned(),
                    key,
                    expected,
                    found,
                }),
                Slip::Refused { key, why } => unusable.push(ConfigError::Refused {
                    path: path.to_owned(),
                    key,
                    why,
                }),
            }
        }
        unusable
    }

    fn set(&mut self, key: &str, value: &Value) {
        let text = || value.as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        let number = || value.as_f64().unwrap_or_default();
        match key {
            "name" => self.brand = text().unwrap_or_else(|| self.brand.clone()),
            "agents" => {
                self.agent_brands = texts_of_agents(value, "name");
                self.agent_runtimes = texts_of_agents(value, "runtime");
            }
            "runtimes" => self.runtimes = Runtimes::of(value),
            "defaultModel" => self.default_model = text().or(self.default_model.take()),
            // The older place of the same setting.
            "dispatch" if self.default_model.is_none() => {
                let model = value.get("model").and_then(Value::as_str);
                self.default_model = model.filter(|m| !m.is_empty()).map(str::to_owned);
            }
            "deliverTo" => self.deliver_to = text(),
            "deliveryChannel" => {
                self.delivery_channel = text().unwrap_or_else(|| self.delivery_channel.clone());
            }
            "aliases" => {
                let pairs = value.as_object().into_iter().flatten();
                self.aliases = pairs
                    .filter_map(|(name, target)| Some((name.clone(), target.as_str()?.to_owned())))
                    .collect();
            }
            "webhooks" => {
                self.webhooks = BTreeMap::deserialize(value).unwrap_or_default();
            }
            "commands" => {
                self.commands = BTreeMap::deserialize(value).unwrap_or_default();
            }
            "watchdogIntervalCron" => {
                self.watchdog_interval = text().unwrap_or_else(|| self.watchdog_interval.clone());
            }
            "watchdogTimeoutMin" => self.watchdog_timeout_min = number().max(1.0) as u64,
            "deliver_watcher_ttl_hours" => {
                let seconds = number() * 3600.0;
                self.delivery_ttl = Duration::from_secs_f64(seconds.min(10.0 * 365.0 * 86_400.0));
            }
            "gateway" => self.gateway = Gateway::deserialize(value).unwrap_or_default(),
            // A limit of nothing would make each try end before its receiver could answer.
            "deliveryTimeoutSeconds" => {
                self.delivery_timeout = Some(Duration::from_secs_f64(number().clamp(0.1, 3600.0)));
            }
            "startupGraceMs" => self.startup_grace = Some(Duration::from_millis(number() as u64)),
            "liveness" => self.liveness = LivenessWindows::deserialize(value).unwrap_or_default(),
            "retry" => self.retry = RetryWindows::deserialize(value).unwrap_or_default(),
            "events" => self.events = EventReceivers::deserialize(value).unwrap_or_default(),
            "verifyTimeoutSeconds" => {
                self.verify_timeout = Duration::from_secs_f64(number().clamp(0.1, 86_400.0));
            }
            "termGraceSeconds" => {
                self.term_grace = Duration::from_secs_f64(number().min(86_400.0));
            }
            _ => {}
        }
    }
}

/// What each agent's key of this name says, where it says something.
fn texts_of_agents(agents: &Value, key: &str) -> BTreeMap<String, String> {
    let agents = agents.as_object().into_iter().flatten();
    agents
        .filter_map(|(id, agent)| Some((id.clone(), agent.get(key)?.as_str()?.to_owned())))
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

fn read_object(storage: &dyn Storage, path: &Path) -> Result<Map<String, Value>, ConfigError> {
    let failed = |source| ConfigError::Io {
        path: path.to_owned(),
        source,
    };
    let syntax = |what: String| ConfigError::Syntax {
        path: path.to_owned(),
        what,
    };
    match storage.facts(path) {
        Ok(None) => return Ok(Map::new()),
        Ok(Some(facts)) if facts.len > MAX_CONFIG_BYTES => {
            return Err(syntax(format!(
                "it has {} bytes, at most {MAX_CONFIG_BYTES} are read",
                facts.len
            )));
        }
        Ok(Some(_)) => {}
        Err(e) => return Err(failed(e)),
    }
    let bytes = storage.read(path).map_err(failed)?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(keys)) => Ok(keys),
        Ok(_) => Err(syntax("it is not a JSON object".to_owned())),
        Err(e) => Err(syntax(e.to_string())),
    }
}

fn is_about_deliver_to(error: &ConfigError) -> bool {
    matches!(error, ConfigError::WrongType { key, .. } if key == "deliverTo")
}

fn settle(
    errors: Vec<ConfigError>,
    strictness: Strictness,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    for error in errors {
        match strictness {
            Strictness::Refuse => return Err(error),
            Strictness::Warn => warnings.push(format!("{error}; going on with the default")),
        }
    }
    Ok(())
}

fn unknown_key(path: &Path, key: &str, near: Option<String>) -> String {
    let hint = near.map_or_else(String::new, |name| format!("; did you mean \"{name}\"?"));
    format!(
        "the configuration {} has an unknown key \"{key}\"{hint}",
        path.display()
    )
}
