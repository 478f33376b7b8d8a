//! Where everything is on disk. The only place, with `config.rs`, that reads the environment.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

/// A way to look up environment variables; empty values count as unset.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// The ledger's name in the state directory.
pub const LEDGER_FILE: &str = "labels.json";

/// The process's own environment.
pub fn process_environment(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

/// Every path that dispatch uses, worked out once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// The state directory.
    pub home: PathBuf,
    /// The ledger.
    pub labels: PathBuf,
    /// The configuration file.
    pub config: PathBuf,
    /// Full completion texts.
    pub artifacts: PathBuf,
    /// OpenClaw's state directory, whether it exists or not.
    pub openclaw_state: PathBuf,
    /// OpenClaw's configuration file, whether it exists or not.
    pub openclaw_config: PathBuf,
    /// Where the reference keeps its ledger, whether it exists or not.
    pub reference_labels: PathBuf,
    /// The variables that named paths, as absolute paths: detached children run in another directory.
    pub exports: Vec<(&'static str, PathBuf)>,
}

/// Every variable that names a path.
const PATH_VARIABLES: [&str; 12] = [
    "HOME",
    "XDG_STATE_HOME",
    "DISPATCH_HOME",
    "DISPATCH_STATE_DIR",
    "DISPATCH_LABELS_PATH",
    "DISPATCH_CONFIG_DIR",
    "DISPATCH_INDEX_PATH",
    "SCHEDULER_ARTIFACTS_DIR",
    "OPENCLAW_STATE_DIR",
    "OPENCLAW_HOME",
    "OPENCLAW_CONFIG_PATH",
    "OPENCLAW_SCHEDULER_HOME",
];

/// Why no state directory could be named.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no place for the state: neither DISPATCH_HOME nor HOME is set; set DISPATCH_HOME to a directory"
)]
pub struct NoHome;

impl Paths {
    /// Works the paths out from the environment: `DISPATCH_HOME`, else `DISPATCH_STATE_DIR`, else the ledger's directory, else
    /// beside OpenClaw's state where that exists, else the XDG state directory. A relative `DISPATCH_LABELS_PATH` is one
    /// in `DISPATCH_STATE_DIR` where that is set, as it is for the reference.
    ///
    /// # Errors
    /// When nothing names a directory, not even `HOME`.
    pub fn from_environment(env: Environment<'_>) -> Result<Self, NoHome> {
        let given = |name: &str| {
            env(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let path = |name: &str| {
            let path = given(name)?;
            Some(match given("DISPATCH_STATE_DIR") {
                Some(state) if name == "DISPATCH_LABELS_PATH" => absolute(state).join(path),
                _ => absolute(path),
            })
        };
        let user_home = path("HOME");
        let openclaw_state = openclaw_state(&path, env, user_home.as_deref());
        let named_labels = path("DISPATCH_LABELS_PATH");
        let home = path("DISPATCH_HOME")
            .or_else(|| path("DISPATCH_STATE_DIR"))
            .or_else(|| {
                let labels = named_labels.as_deref()?;
                Some(crate::storage::parent_of(labels).to_owned())
            })
            .or_else(|| {
                let state = openclaw_state.as_deref()?;
                state.is_dir().then(|| state.join("dispatch"))
            })
            .or_else(|| Some(path("XDG_STATE_HOME")?.join("dispatch")))
            .or_else(|| Some(user_home.as_deref()?.join(".local/state/dispatch")))
            .ok_or(NoHome)?;
        let openclaw_state = openclaw_state.unwrap_or_else(|| home.join("no-openclaw"));
        Ok(Self {
            labels: named_labels.unwrap_or_else(|| home.join(LEDGER_FILE)),
            config: path("DISPATCH_CONFIG_DIR")
                .unwrap_or_else(|| home.clone())
                .join("config.json"),
            artifacts: path("SCHEDULER_ARTIFACTS_DIR")
                .unwrap_or_else(|| home.join("artifacts"))
                .join("dispatch-completions"),
            openclaw_config: path("OPENCLAW_CONFIG_PATH")
                .unwrap_or_else(|| openclaw_state.join("openclaw.json")),
            reference_labels: path("OPENCLAW_SCHEDULER_HOME")
                .unwrap_or_else(|| openclaw_state.join("scheduler"))
                .join("dispatch/labels.json"),
            openclaw_state,
            home,
            exports: PATH_VARIABLES
                .into_iter()
                // A bare name is one that PATH finds.
                .filter(|name| {
                    *name != "DISPATCH_INDEX_PATH"
                        || given(name).is_some_and(|program| program.components().count() > 1)
                })
                .filter_map(|name| Some((name, path(name)?)))
                .collect(),
        })
    }

    /// The variables that a shell of this user without this environment must set for `dispatch` to use the same files. The
    /// state directory is always named: the gateway's own environment may lead elsewhere.
    pub fn variables(&self) -> Vec<(&'static str, &Path)> {
        let mut variables = vec![("DISPATCH_HOME", self.home.as_path())];
        if self.labels != self.home.join("labels.json") {
            variables.push(("DISPATCH_LABELS_PATH", &self.labels));
        }
        let directories = [
            (
                "DISPATCH_CONFIG_DIR",
                self.config.parent(),
                self.home.clone(),
            ),
            (
                "SCHEDULER_ARTIFACTS_DIR",
                self.artifacts.parent(),
                self.home.join("artifacts"),
            ),
        ];
        for (name, used, usual) in directories {
            variables.extend(used.filter(|used| *used != usual).map(|used| (name, used)));
        }
        let user = self.exports.iter().find(|(name, _)| *name == "HOME");
        let usual = user.map(|(_, user)| user.join(".openclaw/openclaw.json"));
        if usual.as_ref() != Some(&self.openclaw_config) {
            variables.push(("OPENCLAW_CONFIG_PATH", &self.openclaw_config));
        }
        variables
    }

    /// Where a recorded prompt or completion text is now. The ledger names such a file by its full path: one that is not
    /// there any more, and stands under its own name in the present directories, has moved with them.
    pub fn found(&self, recorded: &Path) -> PathBuf {
        let is_gone = || matches!(recorded.try_exists(), Ok(false));
        let is_there = |path: &Path| path.symlink_metadata().is_ok_and(|facts| facts.is_file());
        let moved = self.moved(recorded);
        let moved = moved.filter(|moved| moved != recorded && is_gone() && is_there(moved));
        moved.unwrap_or_else(|| recorded.to_owned())
    }

    /// Where a prompt or a completion text of another state directory stands in this one.
    fn moved(&self, recorded: &Path) -> Option<PathBuf> {
        let mut parts = recorded.components().rev().map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        });
        let mut next = || parts.next().flatten();
        let (file, dir) = (next()?, next()?);
        if Some(dir) == self.artifacts.file_name() {
            return Some(self.artifacts.join(file));
        }
        let prompts = self.prompts();
        (next() == prompts.file_name()).then(|| prompts.join(dir).join(file))
    }

    /// The variables that a process with no more than this user's `HOME` must be given to use the same files and the same
    /// OpenClaw, whatever else may lead there: the state directory, those that were set, and what a profile decides.
    pub fn settled(&self) -> Vec<(&'static str, PathBuf)> {
        let named = |name: &str| self.exports.iter().find(|(known, _)| *known == name);
        let mut variables = vec![("DISPATCH_HOME", self.home.clone())];
        let set = self.exports.iter();
        variables.extend(
            set.filter(|(name, _)| !["HOME", "DISPATCH_HOME"].contains(name))
                .cloned(),
        );
        let usual = named("HOME").map(|(_, user)| user.join(".openclaw"));
        let is_named = named("OPENCLAW_STATE_DIR")
            .or(named("OPENCLAW_HOME"))
            .is_some();
        if !is_named && usual.is_some_and(|usual| usual != self.openclaw_state) {
            variables.push(("OPENCLAW_STATE_DIR", self.openclaw_state.clone()));
        }
        variables
    }

    /// Locks, heartbeats and logs of the watchers.
    pub fn watchers(&self) -> PathBuf {
        self.home.join("watchers")
    }

    /// The users' prompts.
    pub fn prompts(&self) -> PathBuf {
        self.home.join("prompts")
    }

    /// The local backend's session store, transcripts and runs.
    pub fn sessions(&self) -> PathBuf {
        self.home.join("sessions")
    }
}

fn openclaw_state(
    path: &dyn Fn(&str) -> Option<PathBuf>,
    env: Environment<'_>,
    user_home: Option<&Path>,
) -> Option<PathBuf> {
    let folder = match env("OPENCLAW_PROFILE").and_then(|p| p.into_string().ok()) {
        Some(profile) if !profile.is_empty() && profile != "default" => {
            format!(".openclaw-{profile}")
        }
        _ => ".openclaw".to_owned(),
    };
    path("OPENCLAW_STATE_DIR")
        .or_else(|| Some(path("OPENCLAW_HOME")?.join(".openclaw")))
        .or_else(|| Some(user_home?.join(folder)))
}

/// Detached children run elsewhere, so a relative path is fixed once, here.
fn absolute(path: PathBuf) -> PathBuf {
    std::path::absolute(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests;
