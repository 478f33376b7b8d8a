//! What every command stands on: paths, settings, storage, clock and programs, gathered once at the start.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigError, Settings, Strictness};
use crate::paths::{Environment, NoHome, Paths};
use crate::process::Programs;
use crate::record::Change;
use crate::storage::{RealStorage, Storage};

/// Who hears of what a write of the ledger changed, after it is on the disk and the lock is free again.
pub type Witness = fn(&Home, &[Change]);

/// The ground of a command.
#[derive(Clone)]
pub struct Home {
    /// Where things are.
    pub paths: Paths,
    /// The settings.
    pub config: Settings,
    /// The file system.
    pub storage: Arc<dyn Storage>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The process's environment, for what is looked up late.
    pub environment: fn(&str) -> Option<OsString>,
    /// The programs that call one another.
    pub programs: Programs,
    /// What this process calls itself in locks and logs (`dispatch done`).
    pub program: String,
    /// The agent that this process works for, where it works for one.
    pub agent: Option<String>,
    /// Who hears of every change of the ledger, if anybody.
    pub witness: Option<Witness>,
}

/// Why a command has no ground to stand on.
#[derive(Debug, Error)]
pub enum HomeError {
    /// No state directory.
    #[error(transparent)]
    NoHome(#[from] NoHome),
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The program does not know where it is.
    #[error("cannot find this program's own path: {0}")]
    Programs(#[from] std::io::Error),
    /// Something else is where the state directory should be.
    #[error(
        "the state directory {0} is not a directory; move that file away, or set DISPATCH_HOME to a directory"
    )]
    NotADirectory(PathBuf),
}

/// The machine's file system; in a debug build with the fault that a test asked for.
fn storage_for(env: Environment<'_>, program: &str) -> Arc<dyn Storage> {
    #[cfg(debug_assertions)]
    if let Some(value) = env("DISPATCH_FAULT")
        && let Some(faulty) = crate::storage::faults::FaultyStorage::from_variable(&value, program)
    {
        return Arc::new(faulty);
    }
    let _ = (env, program);
    Arc::new(RealStorage)
}

impl Home {
    /// Reads environment and configuration. Warnings go to stderr.
    ///
    /// # Errors
    /// When no state directory can be named or it is none, or the configuration is refused.
    pub fn open(
        env: Environment<'_>,
        program: &str,
        strictness: Strictness,
    ) -> Result<Self, HomeError> {
        let paths = Paths::from_environment(env)?;
        if paths.home.metadata().is_ok_and(|facts| !facts.is_dir()) {
            return Err(HomeError::NotADirectory(paths.home));
        }
        let storage = RealStorage;
        let (config, warnings) = Config::load(&storage, &paths.config, env, strictness)?;
        let named = env("DISPATCH_INDEX_PATH")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from);
        let home = Self {
            paths,
            config: Settings::new(config),
            storage: storage_for(env, program),
            clock: Arc::new(SystemClock::new()),
            environment: crate::paths::process_environment,
            programs: Programs::locate(named.as_deref())?,
            program: program.to_owned(),
            agent: None,
            witness: None,
        };
        for warning in warnings {
            home.say(&warning);
        }
        Ok(home)
    }

    /// As [`Home::reread_config`], without a word.
    ///
    /// # Errors
    /// When the configuration cannot be used; the settings are then as they were.
    pub fn renew_config(&self) -> Result<(), ConfigError> {
        let (config, _) = Config::reread(&RealStorage, &self.paths.config, &self.environment)?;
        self.config.renew(config);
        Ok(())
    }

    /// Reads the configuration anew, for this and every clone. One that cannot be used leaves the settings as they are.
    /// Says on stderr what came of it.
    pub fn reread_config(&self) {
        let path = &self.paths.config;
        match Config::reread(&RealStorage, path, &self.environment) {
            Ok((config, warnings)) => {
                let what = match self.config.renew(config) {
                    true => "the new settings count from now on",
                    false => "nothing has changed",
                };
                self.say(&format!("read {} again: {what}", path.display()));
                for warning in warnings {
                    self.say(&warning);
                }
            }
            Err(e) => self.say(&format!("{e}; going on with the settings as they were")),
        }
    }

    /// The same ground for what is done for one agent, under its own name where the configuration gives it one.
    pub fn of_agent(&self, agent: Option<&str>) -> Self {
        Self {
            agent: agent.map(str::to_owned),
            ..self.clone()
        }
    }

    /// The name that messages and log lines carry.
    pub fn brand(&self) -> &str {
        self.config.brand_of(self.agent.as_deref())
    }

    /// A line for people on stderr, prefixed with the brand. A closed stderr is no error.
    pub fn say(&self, line: &str) {
        use std::io::Write;
        // At once, for others may write into the same log.
        let line = format!("[{}] {line}\n", self.brand());
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    /// Wall time, ms since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
}
