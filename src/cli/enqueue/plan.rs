//! What `enqueue` is going to do, worked out before anything is written.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use uuid::Uuid;

use super::content::content_hash;
use super::profile;
use super::requester;
use super::runtime::{self, Place, Work};
use super::target::{self, Target};
use super::variables::variables;
use crate::backend::BackendName;
use crate::backend::local::{LocalBackend, RunRuntime, store_path, transcript_path};
use crate::backend::openclaw::take_baseline;
use crate::cli::args::{DeliveryModeChoice, EnqueueArgs, Mode, Thinking};
use crate::cli::exit::{failure, usage};
use crate::cli::prompt;
use crate::cron;
use crate::gateway::Connecting;
use crate::home::Home;
use crate::ledger::{Archive, Ledger};
use crate::paths::Environment;
use crate::record::{Baseline, Entry, Generation, Label, file_stem_of};
use crate::session::key::SessionKey;

/// Everything that a run needs, checked and complete, before anything is written.
pub struct Plan {
    pub backend: BackendName,
    pub label: Label,
    pub prompt: Option<Vec<u8>>,
    pub prompt_path: Option<PathBuf>,
    pub run_id: String,
    pub session_key: String,
    pub session_id: String,
    pub baseline: Baseline,
    /// The label's entry when the session was looked at.
    pub last: Option<Entry>,
    /// What is run, with which model; where a gateway runs it, the model alone.
    pub work: Work,
    pub cwd: PathBuf,
    pub env: Vec<(String, String)>,
    pub target: Option<Target>,
    pub origin: Option<String>,
    pub content_hash: String,
    pub auth_profile: Option<String>,
    /// When it counts as stuck; `None` where nobody is to be told.
    pub watchdog: Option<Watchdog>,
    /// The generation whose work is done again, by `retry`.
    pub repeats: Option<Generation>,
}

/// When a label counts as stuck.
pub struct Watchdog {
    /// How often that is looked at, as a cron expression.
    pub interval: String,
    /// After so many minutes of silence.
    pub timeout_min: u64,
}

/// Work that was enqueued before and is done again: what a first call has to read or to look for is known.
pub struct Repeat {
    pub of: Generation,
    /// The registered runtime that did it.
    pub runtime: Option<RunRuntime>,
    pub prompt: Option<Vec<u8>>,
    pub target: Option<Target>,
    pub origin: Option<String>,
}

/// Checks the command line and reads the prompt.
///
/// # Errors
/// Usage errors; nothing is written.
pub fn plan(
    home: &Home,
    args: &EnqueueArgs,
    repeat: Option<Repeat>,
    env: Environment<'_>,
    mut gateway: Option<&mut Connecting>,
) -> Result<Plan> {
    let label = Label::new(&args.label).map_err(|e| usage(format!("--label: {e}")))?;
    if file_stem_of(&args.agent) != args.agent || args.agent.is_empty() {
        return Err(usage(format!(
            "--agent: \"{}\" is no agent id; use letters, digits, '.', '_' and '-'",
            args.agent
        )));
    }
    if args
        .verify_cmd
        .as_deref()
        .is_some_and(|cmd| cmd.trim().is_empty())
    {
        return Err(usage(
            "--verify-cmd: an empty command accepts everything; give one, or leave it out",
        ));
    }
    let cwd = working_directory(args.cwd.as_deref())?;
    let backend = match gateway {
        Some(_) => BackendName::Openclaw,
        None => BackendName::Local,
    };
    let named_model = model(home, args);
    let work = match backend {
        BackendName::Local => {
            let stored = repeat.as_ref().and_then(|repeat| repeat.runtime.as_ref());
            let place = Place {
                label: label.as_str(),
                cwd: &cwd,
                model: named_model.as_deref(),
            };
            work(home, args, stored, &place, env)?
        }
        BackendName::Openclaw => Work {
            model: named_model,
            ..Work::default()
        },
    };
    let watchdog = watchdog(home, args)?;
    let variables = variables(args)?;
    let repeats = repeat.as_ref().map(|repeat| repeat.of);
    let (target, origin, known_prompt) = match repeat {
        Some(repeat) => (repeat.target, repeat.origin, Some(repeat.prompt)),
        None => {
            let (target, origin) = target::given(home, args)?;
            (target, origin, None)
        }
    };
    let auth_profile = profile::auth_profile(home, args, gateway.as_deref_mut())?;
    let prompt = match known_prompt {
        Some(prompt) => prompt,
        None => prompt::read_prompt(home, &args.prompt, env)?,
    };
    if prompt.is_none() && (backend == BackendName::Openclaw || work.runtime.is_some()) {
        return Err(usage(
            "a prompt is needed: give --message, --message-file, --message-env, --message-stdin, or pipe it in",
        ));
    }
    if backend == BackendName::Openclaw {
        check_for_gateway(args, prompt.as_deref().unwrap_or_default())?;
    }
    // A call that was made before is answered again, whatever has become of who made it.
    if !target::is_answered(home, args)? {
        requester::check(home, args, gateway.as_deref_mut())?;
    }
    let (target, origin) = match gateway.as_deref_mut() {
        Some(gateway) if target.is_none() && repeats.is_none() => {
            target::found(home, args, gateway, origin)?
        }
        None if target.is_none() && repeats.is_none() => target::usual(home, args, origin)?,
        _ => (target, origin),
    };
    let run_id = match &args.idempotency_key {
        Some(key)
            if key.trim().is_empty() || key.len() > 512 || key.chars().any(char::is_control) =>
        {
            return Err(usage(
                "--idempotency-key: give 1 to 512 bytes of text without control characters",
            ));
        }
        Some(key) => key.clone(),
        None => Uuid::new_v4().to_string(),
    };
    let last = Ledger::new(home).entry(label.as_str())?;
    let (session_key, session_id, baseline) = session(home, args, label.as_str(), gateway)?;
    let prompt_path = prompt.is_some().then(|| {
        home.paths
            .prompts()
            .join(label.file_stem())
            .join(format!("{}.txt", file_stem_of(&run_id)))
    });
    let content_hash = content_hash(args, &cwd, prompt.as_deref(), env)?;
    Ok(Plan {
        backend,
        label,
        prompt,
        prompt_path,
        run_id,
        session_key,
        session_id,
        baseline,
        last,
        work,
        cwd,
        env: variables,
        target,
        origin,
        content_hash,
        auth_profile,
        watchdog,
        repeats,
    })
}

impl Plan {
    /// There is something to run.
    pub fn is_runnable(&self) -> bool {
        self.backend == BackendName::Openclaw || !self.work.argv.is_empty()
    }

    /// The prompt as a gateway is told it; empty where there is none.
    pub fn prompt_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.prompt.as_deref().unwrap_or_default())
    }

    /// Looks at the session again: it has gone on since.
    ///
    /// # Errors
    /// As [`plan`].
    pub fn renew(
        &mut self,
        home: &Home,
        args: &EnqueueArgs,
        env: Environment<'_>,
        gateway: Option<&mut Connecting>,
    ) -> Result<()> {
        let label = self.label.as_str();
        self.last = Ledger::new(home).entry(label)?;
        if self.backend == BackendName::Local {
            let model = model(home, args);
            let place = Place {
                label,
                cwd: &self.cwd,
                model: model.as_deref(),
            };
            let stored = self.work.runtime.clone();
            let stored = stored.filter(|_| self.repeats.is_some());
            self.work = work(home, args, stored.as_ref(), &place, env)?;
        }
        if self.baseline.session_id.is_some() {
            (self.session_key, self.session_id, self.baseline) =
                session(home, args, label, gateway)?;
        }
        Ok(())
    }
}

/// What runs the work. A call that was made before is answered again, whatever is registered by now: where that leaves
/// nothing to run, the work is empty, and only an answer can come of it ([`Plan::is_runnable`]).
fn work(
    home: &Home,
    args: &EnqueueArgs,
    stored: Option<&RunRuntime>,
    place: &Place<'_>,
    env: Environment<'_>,
) -> Result<Work> {
    match runtime::work(home, args, stored, place, env) {
        Err(_) if target::is_answered(home, args)? => Ok(Work::default()),
        work => work,
    }
}

/// The model that the call names, else, for a session of its own, the configuration's. A session that was there before goes
/// on with the model that it has.
fn model(home: &Home, args: &EnqueueArgs) -> Option<String> {
    let given = args.model.clone().filter(|model| !model.is_empty());
    let is_new = args.mode == Mode::Fresh && args.session_key.is_none();
    let default = home.config.default_model.clone().filter(|_| is_new);
    given.or(default)
}

fn watchdog(home: &Home, args: &EnqueueArgs) -> Result<Option<Watchdog>> {
    if args.no_monitor.is_some() {
        return Ok(None);
    }
    let interval = match &args.monitor_interval {
        Some(interval) => interval.clone(),
        None => cron::parse(&home.config.watchdog_interval).map_err(|e| {
            let config = home.paths.config.display();
            usage(format!(
                "the configuration {config}: \"watchdogIntervalCron\": {e}"
            ))
        })?,
    };
    let minutes = |t: Duration| t.as_secs().div_ceil(60);
    Ok(Some(Watchdog {
        interval,
        timeout_min: args
            .monitor_timeout
            .map_or(home.config.watchdog_timeout_min, minutes),
    }))
}

/// What a gateway cannot take.
fn check_for_gateway(args: &EnqueueArgs, prompt: &[u8]) -> Result<()> {
    if std::str::from_utf8(prompt).is_err() {
        return Err(usage("the prompt is not UTF-8, which a gateway needs"));
    }
    if !args.env.is_empty() {
        return Err(usage(
            "--env is for local commands; a gateway's agents have its own environment",
        ));
    }
    Ok(())
}

fn working_directory(given: Option<&Path>) -> Result<PathBuf> {
    let here = || {
        let here = std::env::current_dir();
        here.map_err(|e| {
            usage(format!(
                "the current directory cannot be told ({e}); give --cwd"
            ))
        })
    };
    let cwd = match given {
        Some(path) if path.is_absolute() => path.to_owned(),
        Some(path) => here()?.join(path),
        None => here()?,
    };
    match cwd.is_dir() {
        true => Ok(cwd),
        false => Err(usage(format!(
            "--cwd: {} is not a directory; give one that exists",
            cwd.display()
        ))),
    }
}

/// The level as the ledger and the command see it.
pub fn thinking_text(thinking: Thinking) -> &'static str {
    match thinking {
        Thinking::Low => "low",
        Thinking::Medium => "medium",
        Thinking::High => "high",
        Thinking::Xhigh => "xhigh",
        Thinking::Off => "off",
    }
}

/// The key of the session, where the call gives one.
///
/// # Errors
/// A usage error for what is no session key.
pub fn given_key(args: &EnqueueArgs) -> Result<Option<String>> {
    let Some(key) = &args.session_key else {
        return Ok(None);
    };
    let parsed = SessionKey::parse(key).map_err(|e| usage(format!("--session-key: {e}")))?;
    Ok(Some(parsed.as_str().to_owned()))
}

/// The label's last entry, in the ledger or out of it.
///
/// # Errors
/// When ledger or archive cannot be read.
pub fn last_entry(home: &Home, label: &str) -> Result<Option<Entry>> {
    match Ledger::new(home).entry(label)? {
        None => Ok(Archive::new(home).latest(label)?),
        last => Ok(last),
    }
}

/// The session: a new one, or the one that the label or the key names.
fn session(
    home: &Home,
    args: &EnqueueArgs,
    label: &str,
    gateway: Option<&mut Connecting>,
) -> Result<(String, String, Baseline)> {
    let backend = LocalBackend::new(home);
    let given = given_key(args)?;
    if args.mode == Mode::Fresh {
        let id = Uuid::new_v4();
        let key = match &given {
            Some(key) => key.clone(),
            None => SessionKey::subagent(&args.agent, id)
                .map_err(|e| usage(format!("--agent: {e}")))?
                .as_str()
                .to_owned(),
        };
        return Ok(match (gateway, given) {
            // The session may be there already, with replies that are not this run's.
            (Some(gateway), Some(_)) => {
                let baseline = take_baseline(gateway.client()?, &key)?;
                (key, String::new(), baseline)
            }
            (Some(_), None) => (key, String::new(), Baseline::default()),
            (None, _) => (key, id.to_string(), Baseline::default()),
        });
    }
    let last = last_entry(home, label)?;
    let key = given.or_else(|| last.as_ref()?.text("sessionKey").map(str::to_owned));
    let Some(key) = key else {
        return Err(failure(format!(
            "--mode reuse: label \"{label}\" has no session to go on with; use --mode fresh"
        )));
    };
    if let Some(gateway) = gateway {
        let baseline = take_baseline(gateway.client()?, &key)?;
        if baseline.session_id.is_none() {
            return Err(failure(format!(
                "--mode reuse: the gateway has no session {key}; use --mode fresh"
            )));
        }
        return Ok((key, String::new(), baseline));
    }
    let known = backend.session_id_of(&key).with_context(|| {
        format!(
            "cannot read the session store {}",
            store_path(home).display()
        )
    })?;
    // A run that has just been entered has no row in the store yet.
    let entered = || {
        let last = last.filter(|last| last.text("sessionKey") == Some(&key))?;
        last.text("sessionId").map(str::to_owned)
    };
    let id = known.or_else(entered).ok_or_else(|| {
        failure(format!(
            "--mode reuse: there is no session {key}; use --mode fresh"
        ))
    })?;
    let baseline = backend.baseline(&id).with_context(|| {
        let path = transcript_path(home, &id);
        format!("cannot read the session's transcript {}", path.display())
    })?;
    Ok((key, id, baseline))
}

/// The mode as the ledger has it.
pub fn delivery_mode_text(mode: DeliveryModeChoice) -> &'static str {
    match mode {
        DeliveryModeChoice::Announce => "announce",
        DeliveryModeChoice::AnnounceAlways => "announce-always",
        DeliveryModeChoice::None => "none",
    }
}
