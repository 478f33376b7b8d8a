//! What an `enqueue` that was killed before its ledger entry left: a prompt, and the description of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::files::Tree;
use crate::backend::local::RunFiles;
use crate::home::Home;
use crate::ledger::{Archive, Book, Ledger};
use crate::record::{Entry, file_stem_of};
use crate::storage::writer_of_temporary;

/// No call takes so long between its first file and its entry.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Files of a day ago and more that neither ledger nor archive names.
#[derive(Debug, Default)]
pub(super) struct Unanswered {
    /// Runs that were never started, by their directories, with the prompts that only they name.
    pub runs: BTreeMap<PathBuf, Option<PathBuf>>,
    /// Prompts that no run names either.
    pub prompts: BTreeSet<PathBuf>,
}

impl Unanswered {
    /// Looks for them. Where an entry cannot be read nothing is known of anything; where a damaged ledger is kept for its
    /// owner to look at, a run that nobody names may have stood in that.
    pub fn of(home: &Home, tree: &Tree, book: &Book) -> Self {
        let dir = home.paths.prompts();
        let files = tree.files.iter().filter(|(path, facts)| {
            let is_prompt = path.extension().is_some_and(|ending| ending == "txt");
            is_prompt && facts.is_file() && path.starts_with(&dir) && is_old(facts)
        });
        let mut prompts: BTreeSet<PathBuf> = files.map(|(path, _)| path.clone()).collect();
        let ledger = Ledger::new(home);
        let mut runs = match tree.files.keys().any(|path| ledger.is_kept_aside(path)) {
            true => BTreeSet::new(),
            false => never_started(home),
        };
        if prompts.is_empty() && runs.is_empty() {
            return Self::default();
        }
        let mut is_whole = true;
        let mut keep = |entry: &Entry| {
            // An entry names its own prompt, those that were sent into its session, and its runs.
            for value in entry.fields().values() {
                each_text(value, &mut |text| {
                    prompts.remove(&home.paths.found(Path::new(text)));
                    if !runs.is_empty() {
                        runs.remove(&file_stem_of(text));
                    }
                });
            }
        };
        for label in book.labels() {
            match book.get(label) {
                Some(entry) => keep(&entry),
                None => is_whole = false,
            }
        }
        let archived = Archive::new(home).for_each(|archived| keep(&archived.entry));
        if !is_whole || archived.is_err() {
            return Self::default();
        }
        for name in home.storage.list(&runs_of(home)).unwrap_or_default() {
            if runs.contains(&name) {
                continue;
            }
            let spec = RunFiles::at(runs_of(home).join(name)).spec(home.storage.as_ref());
            if let Some(prompt) = spec.ok().and_then(|spec| spec.prompt_path) {
                prompts.remove(&home.paths.found(&prompt));
            }
        }
        // A prompt has its run's name, and was there before the run was described.
        let mut unanswered = Self::default();
        for prompt in prompts {
            let run = prompt
                .file_stem()
                .and_then(OsStr::to_str)
                .unwrap_or_default();
            match runs.take(run) {
                Some(run) => unanswered
                    .runs
                    .insert(runs_of(home).join(run), Some(prompt)),
                None => {
                    unanswered.prompts.insert(prompt);
                    None
                }
            };
        }
        let bare = runs.into_iter().map(|run| (runs_of(home).join(run), None));
        unanswered.runs.extend(bare);
        unanswered
    }
}

fn runs_of(home: &Home) -> PathBuf {
    home.paths.sessions().join("runs")
}

/// The names of directories that hold, for a day, no more than what is to be run.
fn never_started(home: &Home) -> BTreeSet<String> {
    let runs = runs_of(home);
    let storage = home.storage.as_ref();
    let mut names = storage.list(&runs).unwrap_or_default();
    names.retain(|name| {
        let dir = runs.join(name);
        if !is_old_dir(&dir) {
            return false;
        }
        let held = storage.list(&dir);
        held.is_ok_and(|held| held.iter().all(|name| is_of_description(name)))
    });
    names.into_iter().collect()
}

/// What an `enqueue` writes into a run's directory.
pub(super) fn is_of_description(name: &str) -> bool {
    name == "run.json" || writer_of_temporary(name).is_some()
}

/// A directory, no link to one, in which nothing has come or gone for a day.
pub(super) fn is_old_dir(dir: &Path) -> bool {
    let facts = fs::symlink_metadata(dir);
    facts.is_ok_and(|facts| facts.is_dir() && is_old(&facts))
}

fn is_old(facts: &fs::Metadata) -> bool {
    let age = facts
        .modified()
        .ok()
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    age.is_some_and(|age| age >= OLD)
}

fn each_text(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Array(values) => values.iter().for_each(|value| each_text(value, visit)),
        Value::Object(fields) => fields.values().for_each(|value| each_text(value, visit)),
        _ => {}
    }
}
