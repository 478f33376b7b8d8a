//! The files of generations that have left the ledger.
//!
//! A file goes when an old archived entry names it, and nothing in the ledger and no younger archived entry does. Nothing
//! outside the state directory is touched, nothing is reached through a symbolic link, and nothing is looked for by its age
//! alone: what nobody recorded is nobody's to remove.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Component, Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use super::choice::Wanted;
use crate::backend::BackendName;
use crate::backend::local::{RunFiles, remove_rows, transcript_path};
use crate::home::Home;
use crate::ledger::{Archive, Archived, Book};
use crate::paths::Paths;
use crate::record::{Entry, Generation};
use crate::storage::parent_of;
use crate::watch::artifact_path;
use crate::watchers::Post;

/// What was removed, or would be.
#[derive(Debug, Default)]
pub struct Removed {
    /// So many files.
    pub files: u64,
    /// Of so many bytes.
    pub bytes: u64,
    /// What could not be removed, and why.
    pub failed: Vec<String>,
}

/// What the ledger and young archived entries name.
#[derive(Default)]
struct InUse {
    texts: HashSet<String>,
    generations: HashSet<(String, Generation)>,
}

impl InUse {
    fn add(&mut self, paths: &Paths, label: &str, entry: &Entry) {
        self.generations
            .insert((label.to_owned(), entry.generation()));
        for value in entry.fields().values() {
            self.add_texts(paths, value);
        }
    }

    fn add_texts(&mut self, paths: &Paths, value: &Value) {
        match value {
            // Ids and paths are short, and have no line breaks.
            Value::String(text) if text.len() <= 4096 && !text.contains('\n') => {
                let found = paths.found(Path::new(text));
                self.texts.extend(found.to_str().map(str::to_owned));
                self.texts.insert(text.clone());
            }
            Value::Array(values) => values.iter().for_each(|value| self.add_texts(paths, value)),
            Value::Object(fields) => fields
                .values()
                .for_each(|value| self.add_texts(paths, value)),
            _ => {}
        }
    }

    fn has(&self, text: &str) -> bool {
        self.texts.contains(text)
    }

    fn has_path(&self, path: &Path) -> bool {
        path.to_str().is_none_or(|path| self.has(path))
    }
}

/// Removes the files of old archived generations that `wanted` means; with `is_dry` it only counts. `leaving` are entries
/// that are about to be archived, `book` is the ledger without them.
///
/// # Errors
/// When the archive cannot be read. What cannot be removed is told in the answer, and the rest goes all the same.
pub fn remove_old(
    home: &Home,
    wanted: &Wanted,
    book: &Book,
    leaving: &[Archived],
    is_dry: bool,
) -> Result<Removed> {
    let archive = Archive::new(home);
    let now_ms = home.now_ms();
    let mut in_use = InUse::default();
    for (label, entry) in book.entries() {
        in_use.add(&home.paths, label, &entry);
    }
    let is_doomed = |archived: &Archived| {
        wanted.means(&archived.label, &archived.entry) && wanted.is_old(&archived.entry, now_ms)
    };
    let young = |archived: &Archived| !is_doomed(archived);
    archive.for_each(|archived| {
        if young(&archived) {
            in_use.add(&home.paths, &archived.label, &archived.entry);
        }
    })?;
    for archived in leaving.iter().filter(|archived| young(archived)) {
        in_use.add(&home.paths, &archived.label, &archived.entry);
    }
    let mut sweep = Sweep {
        home,
        in_use,
        is_dry,
        removed: Removed::default(),
        counted: HashSet::new(),
        rows: Vec::new(),
        dirs: HashMap::new(),
    };
    archive.for_each(|archived| {
        if is_doomed(&archived) {
            sweep.take(&archived);
        }
    })?;
    for archived in leaving.iter().filter(|archived| is_doomed(archived)) {
        sweep.take(archived);
    }
    Ok(sweep.finish())
}

struct Sweep<'a> {
    home: &'a Home,
    in_use: InUse,
    is_dry: bool,
    removed: Removed,
    /// What a dry run has counted.
    counted: HashSet<PathBuf>,
    /// Sessions whose transcripts are gone.
    rows: Vec<(String, String)>,
    /// Directories that were looked at: whether files in them may go.
    dirs: HashMap<PathBuf, bool>,
}

impl Sweep<'_> {
    fn take(&mut self, archived: &Archived) {
        let Archived { label, entry } = archived;
        let generation = entry.generation();
        if self
            .in_use
            .generations
            .contains(&(label.clone(), generation))
        {
            return;
        }
        self.take_files_of_watcher(label, generation);
        let paths = &self.home.paths;
        let artifacts =
            ["artifact", "lastWords"].map(|field| artifact_path(self.home, entry, field));
        let told = entry
            .deliveries()
            .into_iter()
            .filter_map(|d| d.content.artifact);
        let told: Vec<PathBuf> = told.map(|path| paths.found(path.as_ref())).collect();
        for artifact in artifacts.into_iter().flatten().chain(told) {
            if parent_of(&artifact) == self.home.paths.artifacts && !self.in_use.has_path(&artifact)
            {
                self.take_file(&artifact);
            }
        }
        let prompt = entry.text("promptPath");
        if let Some(prompt) = prompt.map(|path| self.home.paths.found(path.as_ref())) {
            let dir = parent_of(&prompt).to_owned();
            if parent_of(&dir) == self.home.paths.prompts() && !self.in_use.has_path(&prompt) {
                self.take_file(&prompt);
                self.take_empty_dir(&dir);
            }
        }
        if BackendName::of_entry(entry) == Some(BackendName::Local) {
            self.take_local(entry);
        }
    }

    fn take_files_of_watcher(&mut self, label: &str, generation: Generation) {
        let post = Post::of(self.home, label, generation);
        if post.is_held() {
            return;
        }
        for path in post.paths() {
            self.take_file(&path);
        }
    }

    /// The runs of a local label and, once no other label speaks in it, its session.
    fn take_local(&mut self, entry: &Entry) {
        let runs = entry.value("runIds").and_then(Value::as_array);
        let runs = runs.into_iter().flatten().filter_map(Value::as_str);
        let mut runs: Vec<&str> = runs.chain(entry.text("runId")).collect();
        runs.sort_unstable();
        runs.dedup();
        let mut is_at_work = false;
        for run in runs {
            let files = RunFiles::of(self.home, run);
            is_at_work |= files.is_at_work(self.home.storage.as_ref());
            if !is_at_work && !self.in_use.has(run) {
                self.take_dir(files.dir());
            }
        }
        let (Some(id), Some(key)) = (entry.text("sessionId"), entry.text("sessionKey")) else {
            return;
        };
        if is_at_work || self.in_use.has(id) {
            return;
        }
        let transcript = transcript_path(self.home, id);
        self.take_file(&transcript.with_extension("lock"));
        self.take_file(&transcript);
        self.rows.push((key.to_owned(), id.to_owned()));
    }

    /// A directory of plain files, and the directory itself.
    fn take_dir(&mut self, dir: &Path) {
        if !self.is_ours(dir) {
            return;
        }
        match self.home.storage.list(dir) {
            Ok(names) => {
                for name in names {
                    self.take_file(&dir.join(name));
                }
                self.take_empty_dir(dir);
            }
            Err(e) => self.fail(dir, &e),
        }
    }

    fn take_file(&mut self, path: &Path) {
        let storage = self.home.storage.clone();
        if !self.is_ours(parent_of(path)) {
            return;
        }
        let facts = match storage.facts(path) {
            Ok(Some(facts)) if !facts.is_dir => facts,
            Ok(_) => return,
            Err(e) => return self.fail(path, &e),
        };
        let done = match self.is_dry {
            true if !self.counted.insert(path.to_owned()) => return,
            true => Ok(()),
            false => storage.remove(path),
        };
        match done {
            Ok(()) => {
                self.removed.files += 1;
                self.removed.bytes += facts.len;
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => self.fail(path, &e),
        }
    }

    fn take_empty_dir(&mut self, dir: &Path) {
        let storage = self.home.storage.as_ref();
        if self.is_dry
            || !self.is_ours(dir)
            || storage.list(dir).is_ok_and(|names| !names.is_empty())
        {
            return;
        }
        match storage.remove_dir(dir) {
            Err(e)
                if !matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                self.fail(dir, &e);
            }
            _ => {}
        }
    }

    /// The directory is inside the state directory, and no part of the way to it is a symbolic link.
    fn is_ours(&mut self, dir: &Path) -> bool {
        if let Some(known) = self.dirs.get(dir) {
            return *known;
        }
        let home = &self.home.paths.home;
        let is_plain = |at: &Path| {
            let facts = self.home.storage.facts(at);
            facts.is_ok_and(|facts| facts.is_some_and(|facts| facts.is_dir && !facts.is_symlink))
        };
        let mut at = home.clone();
        let is_ours = dir.strip_prefix(home).is_ok_and(|way| {
            way.components().all(|part| {
                at.push(part);
                matches!(part, Component::Normal(_)) && is_plain(&at)
            })
        });
        self.dirs.insert(dir.to_owned(), is_ours);
        is_ours
    }

    fn fail(&mut self, path: &Path, error: &io::Error) {
        let line = format!("cannot remove {}: {error}", path.display());
        self.removed.failed.push(line);
    }

    fn finish(mut self) -> Removed {
        if !self.is_dry
            && let Err(e) = remove_rows(self.home, &self.rows)
        {
            let line = format!("cannot take old sessions out of the store: {e}");
            self.removed.failed.push(line);
        }
        self.removed
    }
}
