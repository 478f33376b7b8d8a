//! What killed processes left: temporary files, files of watchers of generations that nobody names any more, and what an
//! `enqueue` without an answer wrote.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::files::Tree;
use super::findings::{Findings, and_more, word, words};
use super::unanswered::{Unanswered, is_of_description, is_old_dir};
use crate::home::Home;
use crate::ledger::{Archive, Book};
use crate::process::{FileLock, ProcessIdentity};
use crate::record::file_stem_of;
use crate::storage::{parent_of, writer_of_temporary};

/// A temporary file this young may be another machine's or container's, whose processes we do not see.
const YOUNG: Duration = Duration::from_secs(10 * 60);

/// No write takes so long, whoever has its writer's number by now.
const OLD: Duration = Duration::from_secs(24 * 60 * 60);

/// The most files that one command for a shell names.
const AT_ONCE: usize = 100;

/// How the names of a watcher's files end.
const ENDINGS: [&str; 4] = [".verify.json", ".lock", ".json", ".log"];

pub(super) fn check(home: &Home, tree: &Tree, book: Option<&Book>, found: &mut Findings) {
    let mut tell = |what: &str, paths: &[PathBuf]| {
        if paths.is_empty() {
            return;
        }
        let named = words(paths.iter().map(PathBuf::as_path));
        let more = and_more(paths.len());
        found
            .warn("leftovers", format!("{what}: {named}{more}"))
            .todo("'dispatch doctor --repair' removes what nobody holds");
    };
    tell("temporary files of dead writers", &temporaries(tree));
    let posts = book.map(|book| abandoned_posts(home, tree, book));
    let files: Vec<PathBuf> = posts.unwrap_or_default().into_values().flatten().collect();
    tell("files of watchers of generations that nobody knows", &files);
    let unanswered = book.map(|book| Unanswered::of(home, tree, book));
    let Unanswered { runs, prompts } = unanswered.unwrap_or_default();
    let runs: Vec<PathBuf> = runs.into_keys().collect();
    tell("runs of no label that were never started", &runs);
    if !prompts.is_empty() {
        let named = words(prompts.iter().map(PathBuf::as_path));
        let what = format!("prompts of no label: {named}{}", and_more(prompts.len()));
        let all = prompts.iter().take(AT_ONCE).map(|path| word(path));
        let all: Vec<String> = all.collect();
        found.warn("leftovers", what).todo(format!(
            "they are somebody's words, so no repair removes them: rm {}",
            all.join(" ")
        ));
    }
    found.fine_else("leftovers", "none");
}

/// Removes them; says what was done.
pub(super) fn mend(home: &Home, tree: &Tree, book: Option<&Book>, found: &mut Findings) {
    let mut removed = Vec::new();
    let mut remove = |path: PathBuf, found: &mut Findings| match home.storage.remove(&path) {
        Ok(()) => removed.push(path),
        Err(e) => {
            found.wrong("repair", format!("cannot remove {}: {e}", path.display()));
        }
    };
    // To remove something from a directory makes it look young.
    let unanswered = book.map(|book| Unanswered::of(home, tree, book));
    let mut dirs = empty_dirs_of_prompts(home);
    for path in temporaries(tree) {
        remove(path, found);
    }
    let posts = book.map(|book| abandoned_posts(home, tree, book));
    for (lock, files) in posts.unwrap_or_default() {
        // Whoever comes now finds it held, and afterwards gone; it then makes one of its own.
        let Ok(Ok(held)) = FileLock::try_acquire(&lock, &home.program) else {
            continue;
        };
        for path in files {
            remove(path, found);
        }
        // Where there was none, taking it has made one.
        let _ = home.storage.remove(&lock);
        drop(held);
    }
    for (dir, prompt) in unanswered.unwrap_or_default().runs {
        let held = home.storage.list(&dir).unwrap_or_default();
        // It may have been started a moment ago.
        if !held.iter().all(|name| is_of_description(name)) {
            continue;
        }
        // The prompt first: without its run nobody would know whose it was.
        let described = held.into_iter().map(|name| dir.join(name));
        for path in prompt.into_iter().chain(described) {
            remove(path, found);
        }
        dirs.push(dir);
    }
    let prompts = home.paths.prompts();
    let emptied = removed.iter().map(|path| parent_of(path).to_owned());
    dirs.extend(emptied.filter(|dir| parent_of(dir) == prompts));
    dirs.sort();
    dirs.dedup();
    // What is not empty, or is no more, stays as it is.
    dirs.retain(|dir| home.storage.remove_dir(dir).is_ok());
    removed.append(&mut dirs);
    if !removed.is_empty() {
        let named = words(removed.iter().map(PathBuf::as_path));
        found.mended(format!("removed: {named}{}", and_more(removed.len())));
    }
}

/// The directories of labels that have had no prompt for a day.
fn empty_dirs_of_prompts(home: &Home) -> Vec<PathBuf> {
    let prompts = home.paths.prompts();
    let names = home.storage.list(&prompts).unwrap_or_default();
    let dirs = names.into_iter().map(|name| prompts.join(name));
    dirs.filter(|dir| is_old_dir(dir) && home.storage.list(dir).is_ok_and(|held| held.is_empty()))
        .collect()
}

fn temporaries(tree: &Tree) -> Vec<PathBuf> {
    let now = SystemTime::now();
    let mut stale = Vec::new();
    for (path, facts) in &tree.files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(writer) = writer_of_temporary(&name).filter(|_| facts.is_file()) else {
            continue;
        };
        // What lies in the future has no age.
        let age = facts
            .modified()
            .ok()
            .and_then(|at| now.duration_since(at).ok());
        let age = age.unwrap_or_default();
        let is_dead = ProcessIdentity::of(writer).is_none();
        if age >= OLD || (is_dead && age >= YOUNG) {
            stale.push(path.clone());
        }
    }
    stale
}

/// The files of posts of generations that neither ledger nor archive names and that nobody holds, by their locks.
fn abandoned_posts(home: &Home, tree: &Tree, book: &Book) -> BTreeMap<PathBuf, Vec<PathBuf>> {
    let dir = home.paths.watchers();
    let mut posts: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for (path, facts) in &tree.files {
        let name = path.file_name().and_then(|name| name.to_str());
        let stem = name.and_then(stem_of_post);
        let Some(stem) = stem.filter(|_| path.parent() == Some(&dir) && facts.is_file()) else {
            continue;
        };
        let lock = dir.join(format!("{stem}.lock"));
        posts.entry(lock).or_default().push(path.clone());
    }
    if posts.is_empty() {
        return posts;
    }
    let Some(known) = known_posts(home, book) else {
        return BTreeMap::new();
    };
    posts.retain(|lock, _| !known.is_named(lock) && !FileLock::is_held(lock));
    posts
}

/// `<label>.<generation>` of a name in the directory of watchers.
fn stem_of_post(name: &str) -> Option<&str> {
    let stem = ENDINGS
        .iter()
        .find_map(|ending| name.strip_suffix(ending))?;
    let (label, generation) = stem.rsplit_once('.')?;
    let is_post = !label.is_empty() && generation.parse::<u64>().is_ok();
    (is_post && !name.starts_with('.')).then_some(stem)
}

/// The posts that ledger and archive name.
struct Known {
    stems: BTreeSet<String>,
    /// Stems of labels whose generation cannot be read.
    unreadable: BTreeSet<String>,
}

impl Known {
    fn is_named(&self, lock: &Path) -> bool {
        let Some(stem) = lock.file_stem().and_then(|stem| stem.to_str()) else {
            return true;
        };
        let label = stem.rsplit_once('.').map_or(stem, |(label, _)| label);
        self.stems.contains(stem) || self.unreadable.contains(label)
    }
}

/// `None` where not all of them can be read.
fn known_posts(home: &Home, book: &Book) -> Option<Known> {
    let mut known = Known {
        stems: BTreeSet::new(),
        unreadable: BTreeSet::new(),
    };
    for label in book.labels() {
        let label_stem = file_stem_of(label);
        match book.get(label) {
            Some(entry) => {
                let stem = format!("{label_stem}.{}", entry.generation());
                known.stems.insert(stem);
            }
            None => {
                known.unreadable.insert(label_stem);
            }
        }
    }
    Archive::new(home)
        .for_each(|archived| {
            let stem = file_stem_of(&archived.label);
            let generation = archived.entry.generation();
            known.stems.insert(format!("{stem}.{generation}"));
        })
        .ok()?;
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_known_by_label_and_generation() {
        for (name, stem) in [
            ("a.b.17.lock", Some("a.b.17")),
            ("a.17.verify.json", Some("a.17")),
            ("a.17.json", Some("a.17")),
            ("a.17.log", Some("a.17")),
            (".a.17.json.tmp-3-f", None),
            ("a.lock", None),
            ("a.x.lock", None),
            ("17.lock", None),
            ("a.17.txt", None),
        ] {
            assert_eq!(stem_of_post(name), stem, "{name}");
        }
    }
}
