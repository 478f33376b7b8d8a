//! Asking a gateway for a run.

use std::io;

use serde_json::{Value, json};

use super::CALL_LIMIT;
use super::sessions::{describe, messages, tasks};
use crate::backend::{LONGEST_RUN, RunRef};
use crate::brief::{Brief, Reach, Told};
use crate::gateway::{Client, GatewayError};
use crate::home::Home;
use crate::record::Steer;
use crate::session::key::SessionKey;

/// How much later than any deadline of ours the gateway ends a run by itself, in seconds.
const LIMIT_MARGIN_S: u64 = 600;

/// What a new run is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Spawn {
    /// The session's key.
    pub session_key: String,
    /// The run's id, which is its idempotency key.
    pub run_id: String,
    /// The prompt.
    pub message: String,
    /// The label, shown by the gateway.
    pub label: String,
    /// The model, `None` for the agent's own.
    pub model: Option<String>,
    /// The account that the session is to use from now on.
    pub account: Account,
    /// The thinking level.
    pub thinking: Option<String>,
    /// The run's hard limit in seconds.
    pub timeout_s: Option<u64>,
}

/// Which credentials a session uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// Those that it has.
    AsItIs,
    /// Those of this profile.
    Profile(String),
    /// The agent's own again: an attempt before had a profile.
    Own,
}

impl Account {
    fn of_run(run: &RunRef) -> Self {
        match &run.selection.auth_profile {
            Some(profile) => Account::Profile(profile.clone()),
            None if run.had_profile => Account::Own,
            None => Account::AsItIs,
        }
    }
}

impl Spawn {
    /// The run as its entry describes it, with the prompt of its file.
    ///
    /// # Errors
    /// When the prompt's file cannot be read.
    pub fn of_run(home: &Home, run: &RunRef) -> io::Result<Self> {
        let path = run
            .prompt_path
            .as_ref()
            .ok_or_else(|| io::Error::other("no prompt is recorded"))?;
        let prompt = std::fs::read(home.paths.found(path))?;
        Ok(Self::with_prompt(
            home,
            run,
            &String::from_utf8_lossy(&prompt),
        ))
    }

    /// The run with this prompt as the user gave it.
    pub fn with_prompt(home: &Home, run: &RunRef, prompt: &str) -> Self {
        let reach = Reach::new(&home.programs.dispatch, home.paths.variables());
        let told: Vec<Told> = run
            .earlier_steers
            .iter()
            .map(|steer| told(home, steer))
            .collect();
        let brief = Brief {
            label: &run.label,
            generation: run.generation,
            reach: &reach,
            audience: &run.audience,
            task: prompt,
            timeout_s: run.timeout_s,
            cwd: run.cwd.as_deref(),
            attempt: run.attempt,
            retry_of: run.retry_of,
            told: &told,
        };
        Self {
            session_key: run.session_key.clone(),
            run_id: run.run_id.clone(),
            message: brief.compose(),
            label: run.label.clone(),
            model: run.selection.model.clone(),
            account: Account::of_run(run),
            thinking: run.thinking.clone(),
            // The watcher alone enforces the deadline, which rolls on while the run works.
            timeout_s: hard_limit_s(run.timeout_s),
        }
    }
}

/// A message that was sent into an earlier attempt, whole where it is still there.
fn told(home: &Home, steer: &Steer) -> Told {
    let whole = steer
        .prompt_path
        .as_ref()
        .and_then(|path| std::fs::read(home.paths.found(path.as_ref())).ok());
    Told {
        text: match &whole {
            Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            None => steer.head.clone(),
        },
        interrupts: steer.interrupts,
    }
}

/// When the gateway ends a run by itself, in seconds after its start: later than any deadline that rolls on.
pub(super) fn hard_limit_s(limit_s: Option<u64>) -> Option<u64> {
    let limit_s = limit_s?.max(LONGEST_RUN.as_secs());
    Some(limit_s.saturating_add(LIMIT_MARGIN_S))
}

/// Asks the gateway to start a run. Returns its acceptance.
///
/// # Errors
/// The gateway's refusal; [`GatewayError::TimedOut`] or [`GatewayError::Broken`] leave it open whether the run exists.
pub fn spawn(client: &mut Client, spawn: &Spawn) -> Result<Value, GatewayError> {
    let model = select(client, spawn)?;
    client.call("agent", &params(spawn, model.as_deref()), CALL_LIMIT)
}

/// Whether the gateway takes a run with so long a prompt.
///
/// # Errors
/// The refusal that asking for it would come to.
pub fn takes(client: &Client, spawn: &Spawn) -> Result<(), GatewayError> {
    client.takes("agent", &params(spawn, spawn.model.as_deref()))
}

fn params(spawn: &Spawn, model: Option<&str>) -> Value {
    let mut params = json!({
        "sessionKey": spawn.session_key,
        "message": spawn.message,
        "idempotencyKey": spawn.run_id,
        "deliver": false,
        "label": spawn.label.chars().take(512).collect::<String>(),
        // Any other name is run one at a time, process-wide.
        "lane": "subagent",
    });
    if let Value::Object(fields) = &mut params {
        for (name, value) in [("model", model), ("thinking", spawn.thinking.as_deref())] {
            if let Some(value) = value {
                fields.insert(name.to_owned(), json!(value));
            }
        }
        // Without it the older generation makes up an agent that it does not have.
        if let Ok(key) = SessionKey::parse(&spawn.session_key) {
            fields.insert("agentId".to_owned(), json!(key.agent_id()));
        }
        if let Some(seconds) = spawn.timeout_s {
            fields.insert("timeout".to_owned(), json!(seconds));
        }
    }
    params
}

/// Sets the session's account where one is asked for, by way of its model, which the database generation alone knows how to
/// name with an account. Returns the model that the run itself is to be asked for.
fn select(client: &mut Client, spawn: &Spawn) -> Result<Option<String>, GatewayError> {
    let model = match &spawn.account {
        Account::AsItIs => return Ok(spawn.model.clone()),
        Account::Profile(profile) => {
            let model = match &spawn.model {
                Some(model) => model.clone(),
                None => default_model(client)?,
            };
            json!(format!("{model}@{profile}"))
        }
        Account::Own => json!(spawn.model),
    };
    let params = json!({"key": spawn.session_key, "model": model});
    client.call("sessions.patch", &params, CALL_LIMIT)?;
    Ok(None)
}

/// The model that sessions use when none is asked for, as `provider/model`.
fn default_model(client: &mut Client) -> Result<String, GatewayError> {
    let told = client.call("sessions.list", &json!({"limit": 1}), CALL_LIMIT)?;
    let text = |name: &str| told.get("defaults")?.get(name)?.as_str();
    let named = text("modelProvider").zip(text("model"));
    let (provider, model) = named.ok_or_else(|| {
        GatewayError::Configuration(
            "the gateway does not name its default model; give --model beside the account"
                .to_owned(),
        )
    })?;
    Ok(format!("{provider}/{model}"))
}

/// The gateway has begun the run, or has had it: its session is there, or tells of it where it was there before.
pub(super) fn has_begun(client: &mut Client, run: &RunRef) -> Result<bool, GatewayError> {
    let (row, _) = describe(client, &run.session_key)?;
    let Some(row) = row else {
        return Ok(false);
    };
    let before = &run.baseline;
    // One that was only given its account has no status.
    let has_run = row.status.is_some() || row.started_at_ms.is_some();
    if (before.session_id.is_none() && has_run) || row.started_at_ms > before.started_at {
        return Ok(true);
    }
    let is_ours = |task: &Value| task.get("runId").and_then(Value::as_str) == Some(&run.run_id);
    if tasks(client, &run.session_key)?.iter().any(is_ours) {
        return Ok(true);
    }
    let newest = messages(client, &run.session_key)?.pop();
    Ok(newest.and_then(|message| message.id) != before.last_entry_id)
}
