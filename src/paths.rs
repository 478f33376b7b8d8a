//! Where everything is on disk. The only place, with `config.rs`, that reads the environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

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
mod tests {
    use super::*;

    fn paths(vars: &[(&str, &str)]) -> Paths {
        let vars: Vec<(String, String)> = vars
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let env = move |name: &str| {
            vars.iter()
                .find(|(k, _)| k == name)
                .map(|(_, v)| OsString::from(v))
        };
        Paths::from_environment(&env).expect("a home is set")
    }

    #[test]
    fn the_state_directory_follows_the_order_of_the_design() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let h = home.path().to_str().expect("UTF-8");
        let plain = paths(&[("HOME", h)]);
        assert_eq!(plain.home, home.path().join(".local/state/dispatch"));
        assert_eq!(
            paths(&[("HOME", h), ("XDG_STATE_HOME", "/x")]).home,
            Path::new("/x/dispatch")
        );
        std::fs::create_dir(home.path().join(".openclaw")).expect("creatable");
        assert_eq!(
            paths(&[("HOME", h)]).home,
            home.path().join(".openclaw/dispatch")
        );
        let labels = paths(&[("HOME", h), ("DISPATCH_LABELS_PATH", "/l/my.json")]);
        assert_eq!(labels.home, Path::new("/l"));
        assert_eq!(labels.labels, Path::new("/l/my.json"));
        let both = paths(&[
            ("DISPATCH_HOME", "/d"),
            ("DISPATCH_LABELS_PATH", "/l/my.json"),
        ]);
        assert_eq!(
            (both.home, both.labels),
            (PathBuf::from("/d"), PathBuf::from("/l/my.json"))
        );
    }

    #[test]
    fn each_variable_wins_over_what_stands_below_it() {
        type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, &'a str, &'a str);
        let table: [Row; 10] = [
            (
                &[],
                "/h/.local/state/dispatch",
                "/h/.local/state/dispatch/labels.json",
                "/h/.local/state/dispatch/config.json",
            ),
            (
                &[("XDG_STATE_HOME", "/x")],
                "/x/dispatch",
                "/x/dispatch/labels.json",
                "/x/dispatch/config.json",
            ),
            (
                &[("DISPATCH_STATE_DIR", "/s")],
                "/s",
                "/s/labels.json",
                "/s/config.json",
            ),
            (
                &[("DISPATCH_STATE_DIR", "/s"), ("XDG_STATE_HOME", "/x")],
                "/s",
                "/s/labels.json",
                "/s/config.json",
            ),
            (
                &[("DISPATCH_STATE_DIR", "/s"), ("DISPATCH_HOME", "/d")],
                "/d",
                "/d/labels.json",
                "/d/config.json",
            ),
            (
                &[
                    ("DISPATCH_STATE_DIR", "/s"),
                    ("DISPATCH_LABELS_PATH", "/l/my.json"),
                ],
                "/s",
                "/l/my.json",
                "/s/config.json",
            ),
            (
                &[
                    ("DISPATCH_STATE_DIR", "/s"),
                    ("DISPATCH_LABELS_PATH", "my.json"),
                ],
                "/s",
                "/s/my.json",
                "/s/config.json",
            ),
            (
                &[("DISPATCH_LABELS_PATH", "/l/my.json")],
                "/l",
                "/l/my.json",
                "/l/config.json",
            ),
            (
                &[
                    ("DISPATCH_LABELS_PATH", "/l/my.json"),
                    ("DISPATCH_HOME", "/d"),
                ],
                "/d",
                "/l/my.json",
                "/d/config.json",
            ),
            (
                &[("DISPATCH_CONFIG_DIR", "/c"), ("DISPATCH_HOME", "/d")],
                "/d",
                "/d/labels.json",
                "/c/config.json",
            ),
        ];
        for (vars, home, labels, config) in table {
            let vars = [&[("HOME", "/h")], vars].concat();
            let p = paths(&vars);
            let found = (p.home.as_path(), p.labels.as_path(), p.config.as_path());
            let expected = (Path::new(home), Path::new(labels), Path::new(config));
            assert_eq!(found, expected, "{vars:?}");
        }
    }

    #[test]
    fn artifacts_and_the_references_ledger_have_variables_of_their_own() {
        let plain = paths(&[("HOME", "/h"), ("DISPATCH_HOME", "/d")]);
        assert_eq!(
            plain.artifacts,
            Path::new("/d/artifacts/dispatch-completions")
        );
        assert_eq!(
            plain.reference_labels,
            Path::new("/h/.openclaw/scheduler/dispatch/labels.json")
        );
        let named = paths(&[
            ("HOME", "/h"),
            ("SCHEDULER_ARTIFACTS_DIR", "/a"),
            ("OPENCLAW_SCHEDULER_HOME", "/sched"),
        ]);
        assert_eq!(named.artifacts, Path::new("/a/dispatch-completions"));
        assert_eq!(
            named.reference_labels,
            Path::new("/sched/dispatch/labels.json")
        );
    }

    #[test]
    fn what_detached_children_are_given_is_absolute() {
        let p = paths(&[
            ("HOME", "/h"),
            ("DISPATCH_STATE_DIR", "/s"),
            ("DISPATCH_LABELS_PATH", "my.json"),
        ]);
        let labels = ("DISPATCH_LABELS_PATH", PathBuf::from("/s/my.json"));
        assert!(p.exports.contains(&labels), "{:?}", p.exports);
        let here = std::env::current_dir().expect("there is one");
        let p = paths(&[("HOME", "/h"), ("DISPATCH_LABELS_PATH", "my.json")]);
        assert_eq!(p.labels, here.join("my.json"));
    }

    #[test]
    fn a_shell_is_told_what_it_needs_to_find_the_same_files() {
        let told = |vars: &[(&str, &str)]| -> Vec<String> {
            let paths = paths(vars);
            let variables = paths.variables().into_iter();
            variables
                .map(|(name, path)| format!("{name}={}", path.display()))
                .collect()
        };
        assert_eq!(
            told(&[("HOME", "/nowhere")]),
            ["DISPATCH_HOME=/nowhere/.local/state/dispatch"]
        );
        assert_eq!(
            told(&[("HOME", "/h"), ("DISPATCH_LABELS_PATH", "/l/labels.json")]),
            ["DISPATCH_HOME=/l"]
        );
        let all = [
            ("DISPATCH_HOME", "/d"),
            ("DISPATCH_LABELS_PATH", "/l/my.json"),
            ("DISPATCH_CONFIG_DIR", "/c"),
            ("SCHEDULER_ARTIFACTS_DIR", "/a"),
            ("OPENCLAW_CONFIG_PATH", "/o.json"),
        ];
        let lines = all.map(|(name, value)| format!("{name}={value}"));
        assert_eq!(told(&all), lines);
        let again: Vec<(&str, &str)> = lines.iter().filter_map(|l| l.split_once('=')).collect();
        assert_eq!(told(&again), lines);
    }

    #[test]
    fn a_process_that_has_its_users_home_alone_is_told_where_everything_is() {
        let told = |vars: &[(&str, &str)]| -> Vec<String> {
            let variables = paths(vars).settled().into_iter();
            variables
                .map(|(name, path)| format!("{name}={}", path.display()))
                .collect()
        };
        let home = ("HOME", "/nowhere");
        let usual = "DISPATCH_HOME=/nowhere/.local/state/dispatch";
        assert_eq!(told(&[home]), [usual]);
        assert_eq!(
            told(&[home, ("OPENCLAW_PROFILE", "work")]),
            [usual, "OPENCLAW_STATE_DIR=/nowhere/.openclaw-work"]
        );
        assert_eq!(
            told(&[home, ("OPENCLAW_HOME", "/o"), ("OPENCLAW_PROFILE", "work")]),
            [usual, "OPENCLAW_HOME=/o"]
        );
        assert_eq!(
            told(&[home, ("OPENCLAW_STATE_DIR", "/s"), ("DISPATCH_HOME", "/d")]),
            ["DISPATCH_HOME=/d", "OPENCLAW_STATE_DIR=/s"]
        );
        assert_eq!(told(&[("DISPATCH_HOME", "/d")]), ["DISPATCH_HOME=/d"]);
    }

    #[test]
    fn empty_variables_count_as_unset() {
        let p = paths(&[
            ("HOME", "/h"),
            ("DISPATCH_HOME", ""),
            ("XDG_STATE_HOME", ""),
        ]);
        assert_eq!(p.home, Path::new("/h/.local/state/dispatch"));
    }

    #[test]
    fn openclaw_is_found_by_directory_home_or_profile() {
        assert_eq!(
            paths(&[("HOME", "/h"), ("OPENCLAW_PROFILE", "work")]).openclaw_config,
            Path::new("/h/.openclaw-work/openclaw.json")
        );
        assert_eq!(
            paths(&[("HOME", "/h"), ("OPENCLAW_HOME", "/o")]).openclaw_state,
            Path::new("/o/.openclaw")
        );
        assert_eq!(
            paths(&[("HOME", "/h"), ("OPENCLAW_STATE_DIR", "/s")]).openclaw_state,
            Path::new("/s")
        );
    }
}
