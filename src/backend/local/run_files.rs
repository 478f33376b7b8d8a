//! The files of one run: what is to be run, who runs it, who asked it to stop, how it ended.
//!
//! Each file is written once, whole, by an exclusive create, so that of two processes that both believe they must act
//! one wins and the other sees it. The directory outlives every process of the run.

use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::Runtime;
use crate::config::runtimes::COMMAND;
use crate::home::Home;
use crate::process::{FileLock, ProcessIdentity, led_group_alive};
use crate::record::file_stem_of;
use crate::storage::{Storage, create_dir_synced, create_synced, replace_synced};

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunSpec {
    /// The run's id.
    pub run_id: String,
    /// The label it belongs to.
    pub label: String,
    /// The label's generation.
    pub generation: u64,
    /// The session's key in the store.
    pub session_key: String,
    /// The session's id, which names its transcript.
    pub session_id: String,
    /// Program and arguments; the program as an absolute path.
    pub argv: Vec<String>,
    /// The registered runtime that `argv` was made of; `None` for a command of the call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<RunRuntime>,
    /// Working directory.
    pub cwd: PathBuf,
    /// Variables added to the runner's own environment.
    pub env: Vec<(String, String)>,
    /// The prompt's file; `None` when there is no prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_path: Option<PathBuf>,
    /// Hard limit on the run's wall-clock time, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Time between TERM and KILL, in ms.
    pub term_grace_ms: u64,
    /// The label's entry as it was enqueued, for a ledger that was lost.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub entry: Map<String, Value>,
    /// The model the user asked for; the command may heed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The account the user asked for; the command may heed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_profile: Option<String>,
}

/// A registered runtime as it was when the work was enqueued: further attempts are made of it, whatever is registered by
/// then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRuntime {
    /// Its id.
    pub id: String,
    /// Its command line; the program as an absolute path.
    #[serde(flatten)]
    pub definition: Runtime,
}

impl RunSpec {
    /// The id of the runtime.
    pub fn runtime_id(&self) -> &str {
        self.runtime.as_ref().map_or(COMMAND, |runtime| &runtime.id)
    }

    /// Has the run made with this model: a registered runtime is told of it in its arguments.
    pub fn set_model(&mut self, model: Option<String>) {
        if let Some(runtime) = &self.runtime {
            self.argv = runtime.definition.argv(model.as_deref());
        }
        self.model = model;
    }
}

/// The command was started: written by the waiter before it starts it, so that it is never started twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartRecord {
    /// The waiter, which leads the process group of the command.
    pub waiter: ProcessIdentity,
    /// Wall time, ms since the epoch.
    pub at_ms: i64,
}

/// Why a run was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StopReason {
    /// Somebody cancelled the label.
    Cancel,
    /// Its time limit passed.
    Timeout,
    /// Another program wrote to its session's transcript.
    Takeover,
}

/// A request to stop: the first one counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopRecord {
    /// Why.
    pub reason: StopReason,
    /// When it was asked, ms since the epoch.
    pub at_ms: i64,
    /// What was seen that asks for it, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
}

/// How the command ended, written by its waiter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRecord {
    /// How.
    #[serde(flatten)]
    pub exit: Exit,
    /// Why the disk may not have taken all of its output, with place and time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unkept: Option<String>,
    /// When, ms since the epoch.
    pub at_ms: i64,
}

/// The ways a command ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Exit {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
    /// It could not be started at all.
    NotStarted(String),
}

/// The directory of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunFiles {
    dir: PathBuf,
}

impl RunFiles {
    /// The files of the run with this id.
    pub fn of(home: &Home, run_id: &str) -> Self {
        let dir = home
            .paths
            .sessions()
            .join("runs")
            .join(file_stem_of(run_id));
        Self { dir }
    }

    /// The files in a directory.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The command's standard output, from its first byte.
    pub fn stdout(&self) -> PathBuf {
        self.dir.join("stdout")
    }

    /// The command's standard error, from its first byte.
    pub fn stderr(&self) -> PathBuf {
        self.dir.join("stderr")
    }

    /// Written and removed to see whether there is room for more output.
    pub fn room(&self) -> PathBuf {
        self.dir.join("room")
    }

    /// The log of runner and waiter.
    pub fn log(&self) -> PathBuf {
        self.dir.join("runner.log")
    }

    /// Held by the runner for its whole life.
    pub fn runner_lock(&self) -> PathBuf {
        self.dir.join("runner.lock")
    }

    /// A runner lives.
    pub fn has_runner(&self) -> bool {
        FileLock::is_held(&self.runner_lock())
    }

    /// A runner lives, or something of the command's group.
    pub fn is_at_work(&self, storage: &dyn Storage) -> bool {
        let is_alive = |start: StartRecord| led_group_alive(&start.waiter);
        self.has_runner() || self.start(storage).ok().flatten().is_some_and(is_alive)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Writes what is to be run, over a description that was never started.
    ///
    /// # Errors
    /// When the directory or file cannot be written.
    pub fn write_spec(&self, storage: &dyn Storage, spec: &RunSpec) -> io::Result<()> {
        create_dir_synced(storage, &self.dir)?;
        let mut bytes = serde_json::to_vec_pretty(spec)?;
        bytes.push(b'\n');
        replace_synced(storage, &self.path("run.json"), &bytes)
    }

    /// What is to be run.
    ///
    /// # Errors
    /// When it cannot be read or is no run description.
    pub fn spec(&self, storage: &dyn Storage) -> io::Result<RunSpec> {
        self.read(storage, "run.json")?.ok_or_else(|| {
            let path = self.path("run.json");
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("there is no {}", path.display()),
            )
        })
    }

    /// As [`RunFiles::spec`], with the prompt's file where it is now: the state directory may have moved.
    ///
    /// # Errors
    /// As there.
    pub fn spec_here(&self, home: &Home) -> io::Result<RunSpec> {
        let mut spec = self.spec(home.storage.as_ref())?;
        spec.prompt_path = spec.prompt_path.map(|path| home.paths.found(&path));
        Ok(spec)
    }

    /// Claims the start. `AlreadyExists` when another waiter did.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn claim_start(&self, storage: &dyn Storage, start: &StartRecord) -> io::Result<()> {
        self.write_once(storage, "started.json", start)
    }

    /// The claim to the start, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn start(&self, storage: &dyn Storage) -> io::Result<Option<StartRecord>> {
        self.read(storage, "started.json")
    }

    /// Asks the runner to stop the command. Asking again changes nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn request_stop(&self, storage: &dyn Storage, stop: &StopRecord) -> io::Result<()> {
        match self.write_once(storage, "stop.json", stop) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// The request to stop, if there is one.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn stop(&self, storage: &dyn Storage) -> io::Result<Option<StopRecord>> {
        self.read(storage, "stop.json")
    }

    /// Records how the command ended; the first record counts.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_exit(&self, storage: &dyn Storage, exit: &ExitRecord) -> io::Result<()> {
        match self.write_once(storage, "exit.json", exit) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// How the command ended, if it did and its waiter lived to say so.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn exit(&self, storage: &dyn Storage) -> io::Result<Option<ExitRecord>> {
        self.read(storage, "exit.json")
    }

    fn write_once(
        &self,
        storage: &dyn Storage,
        name: &str,
        value: &impl Serialize,
    ) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(value)?;
        bytes.push(b'\n');
        create_synced(storage, &self.path(name), &bytes)
    }

    fn read<T: DeserializeOwned>(
        &self,
        storage: &dyn Storage,
        name: &str,
    ) -> io::Result<Option<T>> {
        let path = self.path(name);
        let bytes = match storage.read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|e| {
            let what = format!("{} is damaged: {e}", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(runtime: Value) -> RunSpec {
        let mut spec = json!({
            "runId": "r", "label": "l", "generation": 1, "sessionKey": "agent:main:s", "sessionId": "s",
            "argv": ["/bin/agent", "-p", "--model", "a/1"], "cwd": "/", "env": [], "termGraceMs": 1, "model": "a/1",
        });
        if !runtime.is_null() {
            spec["runtime"] = runtime;
        }
        RunSpec::deserialize(spec).expect("a description")
    }

    #[test]
    fn a_registered_runtime_is_told_of_another_model_and_a_command_stays_what_it_is() {
        let mut registered = spec(json!({
            "id": "agent", "command": ["/bin/agent", "-p"], "modelArgs": ["--model", "{model}"],
        }));
        assert_eq!(registered.runtime_id(), "agent");
        registered.set_model(Some("b/2".to_owned()));
        assert_eq!(registered.argv, ["/bin/agent", "-p", "--model", "b/2"]);
        registered.set_model(None);
        assert_eq!(registered.argv, ["/bin/agent", "-p"]);
        // As it was written before there were runtimes.
        let mut command = spec(Value::Null);
        assert_eq!(command.runtime_id(), "command");
        let argv = command.argv.clone();
        command.set_model(Some("b/2".to_owned()));
        assert_eq!(
            (command.argv, command.model),
            (argv, Some("b/2".to_owned()))
        );
    }
}
