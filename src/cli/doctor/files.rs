//! What lies in the state directory: whose it is, who may read it, and what has no business there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::findings::{Findings, NAMED, and_more, word, words};
use crate::home::Home;
use crate::ledger::Ledger;
use crate::storage::parent_of;

/// No more files are looked at than this.
const MOST_FILES: usize = 100_000;

/// Directories lie no deeper in one another than this.
const DEEPEST: usize = 5;

/// How the names of our own files begin, beside the ledger's; nobody's are passed by, for the state directory may be one
/// that others use, too.
const OWN_NAMES: [&str; 6] = [
    "archive.",
    "config.",
    "history.",
    "events.",
    "stuck.",
    "recovery.",
];

/// Everything of ours in the state directory, as it is itself: links are not followed.
pub(super) struct Tree {
    pub files: BTreeMap<PathBuf, Metadata>,
    is_cut: bool,
}

impl Tree {
    /// Looks at everything, up to a bound.
    pub fn of(home: &Home, ledger: &Ledger) -> Self {
        let mut tree = Self {
            files: BTreeMap::new(),
            is_cut: false,
        };
        let name = ledger.path().file_name().unwrap_or_default();
        let name = name.to_string_lossy().into_owned();
        let is_own = |path: &Path| {
            let own = path.file_name().unwrap_or_default().to_string_lossy();
            let own = own.strip_prefix('.').unwrap_or(&own);
            own.starts_with(&name) || OWN_NAMES.iter().any(|start| own.starts_with(start))
        };
        let mut tops = vec![parent_of(ledger.path()), &home.paths.home];
        tops.dedup();
        for top in tops {
            for path in entries(top).filter(|path| is_own(path)) {
                tree.take(path, 0);
            }
        }
        for dir in [
            home.paths.watchers(),
            home.paths.prompts(),
            home.paths.sessions(),
            home.paths.artifacts.clone(),
        ] {
            // A link among the directories above it would be followed unseen.
            let above = dir.ancestors().skip(1);
            for above in above.take_while(|above| *above != home.paths.home) {
                if above.starts_with(&home.paths.home) {
                    tree.take(above.to_owned(), 0);
                }
            }
            tree.take(dir, DEEPEST);
        }
        tree
    }

    fn take(&mut self, path: PathBuf, depth: usize) {
        if self.files.len() >= MOST_FILES {
            self.is_cut = true;
            return;
        }
        let Ok(facts) = fs::symlink_metadata(&path) else {
            return;
        };
        if facts.is_dir() && depth > 0 {
            for inside in entries(&path) {
                self.take(inside, depth - 1);
            }
        }
        self.files.insert(path, facts);
    }

    fn those(&self, is_meant: impl Fn(&Metadata) -> bool) -> Vec<(&Path, &Metadata)> {
        let files = self.files.iter();
        files
            .filter(|(_, facts)| is_meant(facts))
            .map(|(path, facts)| (path.as_path(), facts))
            .collect()
    }
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path())
}

fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The user and group that files made by us have, as `chown` takes them.
fn own_ids() -> String {
    format!("{}:{}", own_uid(), rustix::process::getegid().as_raw())
}

/// Whether we may give a file to the group.
fn is_own_group(gid: u32) -> bool {
    let groups = rustix::process::getgroups().unwrap_or_default();
    own_uid() == 0
        || rustix::process::getegid().as_raw() == gid
        || groups.iter().any(|group| group.as_raw() == gid)
}

fn is_plain(facts: &Metadata) -> bool {
    facts.is_file() || facts.is_dir()
}

fn is_open_to_others(facts: &Metadata) -> bool {
    is_plain(facts) && facts.mode() & 0o077 != 0
}

/// The mode that it should have.
fn wanted_mode(facts: &Metadata) -> u32 {
    if facts.is_dir() { 0o700 } else { 0o600 }
}

/// The configuration is the operator's own file: who may read it is their business, unless it holds secrets.
fn is_config(home: &Home, path: &Path) -> bool {
    path == home.paths.config
}

pub(super) fn check(home: &Home, tree: &Tree, found: &mut Findings) {
    check_top(home, found);
    check_owners(home, tree, found);
    check_group(home, tree, found);
    check_modes(home, tree, found);
    check_config(home, found);
    check_kinds(home, tree, found);
    let cut = if tree.is_cut { "the first " } else { "" };
    let fine = format!("{cut}{} files are private to you", tree.files.len());
    found.fine_else("permissions", fine);
}

/// The state directory itself.
fn check_top(home: &Home, found: &mut Findings) {
    let top = &home.paths.home;
    // It may be a link of the user's own making.
    let Ok(facts) = fs::metadata(top) else {
        return;
    };
    let others = facts.mode() & 0o077;
    let is_sticky = facts.mode() & 0o1000 != 0;
    let told = format!(
        "the state directory {} is open to others (mode {:o})",
        top.display(),
        facts.mode() & 0o7777
    );
    let todo = format!("run: chmod 700 {}", word(top));
    if others & 0o022 != 0 && !is_sticky {
        let told = format!("{told}: they can put files there");
        found.wrong("permissions", told).todo(todo);
    } else if others != 0 {
        let told = format!("{told}: they can read the names of labels");
        found.warn("permissions", told).todo(todo);
    }
}

fn check_owners(home: &Home, tree: &Tree, found: &mut Findings) {
    let own = own_uid();
    let mut foreign = tree.those(|facts| facts.uid() != own);
    let top = fs::metadata(&home.paths.home).ok();
    let of_top = top.filter(|facts| facts.uid() != own);
    if let Some(facts) = &of_top {
        foreign.insert(0, (&home.paths.home, facts));
    }
    let Some((first, facts)) = foreign.first() else {
        return;
    };
    let ids = own_ids();
    let owner = facts.uid();
    let what = format!(
        "{}{} belongs to user {owner}, and you are user {own}",
        first.display(),
        match foreign.len() {
            1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        },
    );
    let paths = foreign.iter().map(|(path, _)| *path);
    let top = word(&home.paths.home);
    // A link is taken itself, never what it leads to: with -R that is so anyway.
    let todo = match (&of_top, own) {
        (Some(_), 0) => format!(
            "run dispatch as that user, and not as root; what should be yours: chown -R {ids} {top}"
        ),
        (Some(_), _) => {
            format!("run dispatch as that user; what should be yours: sudo chown -R {ids} {top}")
        }
        (None, _) if foreign.len() <= NAMED => {
            format!("run: sudo chown -h {ids} {}", words(paths))
        }
        (None, _) => format!("run: sudo chown -R {ids} {}", roots(home, paths)),
    };
    found.wrong("permissions", what).todo(todo);
}

/// What `chown -R` has to be given for all these: the state directory, where nothing of others is in it.
fn roots<'a>(home: &Home, paths: impl Iterator<Item = &'a Path>) -> String {
    let top = &home.paths.home;
    let root = |path: &Path| match path.strip_prefix(top) {
        Ok(_) if is_ours_alone(top) => top.clone(),
        Ok(inside) => top.join(inside.iter().next().unwrap_or_default()),
        Err(_) => path.to_owned(),
    };
    let roots: BTreeSet<PathBuf> = paths.map(root).collect();
    let roots: Vec<String> = roots.iter().map(|root| word(root)).collect();
    roots.join(" ")
}

/// A ledger's group is kept by every change, where that can be.
fn check_group(home: &Home, tree: &Tree, found: &mut Findings) {
    let path = &home.paths.labels;
    let Some(facts) = tree.files.get(path) else {
        return;
    };
    let is_own = facts.uid() == own_uid();
    if facts.is_file() && is_own && !is_own_group(facts.gid()) {
        let what = format!(
            "{} belongs to group {}, and you are not in it: the next change takes the group's access away",
            path.display(),
            facts.gid()
        );
        let todo = format!("run: sudo chown -h {} {}", own_ids(), word(path));
        found.warn("permissions", what).todo(todo);
    }
}

/// Files and directories that are open to others.
fn open(home: &Home, tree: &Tree) -> Vec<(PathBuf, u32)> {
    let open = tree.those(is_open_to_others).into_iter();
    open.filter(|(path, _)| !is_config(home, path))
        .map(|(path, facts)| (path.to_owned(), facts.mode() & 0o7777))
        .collect()
}

fn check_modes(home: &Home, tree: &Tree, found: &mut Findings) {
    let open = open(home, tree);
    for (path, mode) in open.iter().take(NAMED) {
        let wanted = tree.files.get(path).map_or(0o600, wanted_mode);
        let what = format!("{} is open to others (mode {mode:o})", path.display());
        found
            .wrong("permissions", what)
            .todo(format!("run: chmod {wanted:o} {}", word(path)));
    }
    if open.len() > NAMED {
        let what = format!("{} are open to others, too", &and_more(open.len())[5..]);
        found
            .wrong("permissions", what)
            .todo("run: dispatch doctor --repair");
    }
}

/// Whoever can write the configuration can have programs run; whoever can read it has its secrets.
fn check_config(home: &Home, found: &mut Findings) {
    let path = &home.paths.config;
    let Ok(facts) = fs::metadata(path) else {
        return;
    };
    let mode = facts.mode() & 0o7777;
    let has_secret = home
        .config
        .webhooks
        .values()
        .any(|hook| hook.secret.is_some());
    let told = format!("{} is open to others (mode {mode:o})", path.display());
    let todo = format!("run: chmod 600 {}", word(path));
    if mode & 0o022 != 0 {
        let told = format!("{told}: they can name programs that dispatch runs");
        found.wrong("permissions", told).todo(todo);
    } else if mode & 0o077 != 0 && has_secret {
        let told = format!("{told} and holds a secret");
        found.wrong("permissions", told).todo(todo);
    }
}

/// Links, pipes and the like, where files should be.
fn check_kinds(home: &Home, tree: &Tree, found: &mut Findings) {
    let odd = tree.those(|facts| !is_plain(facts));
    let odd: Vec<_> = odd
        .into_iter()
        // Ledger and configuration may be links of the user's own making.
        .filter(|(path, facts)| {
            let may_be_link = *path == home.paths.labels || is_config(home, path);
            !(may_be_link && facts.is_symlink())
        })
        .collect();
    for (path, facts) in odd.iter().take(NAMED) {
        let kind = facts.file_type();
        if kind.is_symlink() && path.is_dir() {
            tell_linked_directory(path, found);
            continue;
        }
        let what = if kind.is_symlink() {
            let target = fs::read_link(path).unwrap_or_default();
            let target = target.display();
            format!(
                "{} is a symbolic link to {target}, which dispatch did not make and does not write through",
                path.display()
            )
        } else if kind.is_fifo() {
            format!("{} is a named pipe, and no file", path.display())
        } else {
            format!("{} is no file", path.display())
        };
        found.wrong("stranger", what).todo(format!(
            "find out who put it there, then run: rm {}",
            word(path)
        ));
    }
    if odd.len() > NAMED {
        let what = format!("{} are like that", &and_more(odd.len())[5..]);
        found.wrong("stranger", what);
    }
}

/// A link in the place of a file is never written through; of one in the place of a directory the system follows every use.
fn tell_linked_directory(path: &Path, found: &mut Findings) {
    let target = fs::canonicalize(path).unwrap_or_default();
    let what = format!(
        "{} is a symbolic link, which dispatch did not make: what it keeps there lies in {}",
        path.display(),
        target.display()
    );
    let (link, target) = (word(path), word(&target));
    found.wrong("stranger", what).todo(format!(
        "find out who put it there; to have a directory in its place, while nothing runs: rm {link} && mkdir -m 700 {link} && cp -a {target}/. {link}"
    ));
}

/// Takes from others what they should not have; says what was done.
pub(super) fn mend(home: &Home, tree: &Tree, found: &mut Findings) {
    let mut open = open(home, tree);
    let top = &home.paths.home;
    let is_top_open = fs::symlink_metadata(top).is_ok_and(|facts| is_open_to_others(&facts));
    // A directory that is given to the user whole is another matter than one that others use, too.
    if is_top_open && parent_of(&home.paths.labels) == top && is_ours_alone(top) {
        open.insert(0, (top.clone(), 0));
    }
    let mut closed = Vec::new();
    for (path, _) in open {
        match close(&path) {
            Ok(true) => closed.push(path),
            Ok(false) => {}
            Err(e) => {
                let what = format!("cannot close {} to others: {e}", path.display());
                found.wrong("repair", what);
            }
        }
    }
    if !closed.is_empty() {
        let named = words(closed.iter().map(PathBuf::as_path));
        let what = format!("closed to others: {named}{}", and_more(closed.len()));
        found.mended(what);
    }
}

/// Nothing in it but what dispatch puts there.
fn is_ours_alone(top: &Path) -> bool {
    let own_dirs = ["watchers", "prompts", "sessions", "artifacts"];
    entries(top).all(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_prefix('.').unwrap_or(&name);
        own_dirs.contains(&name)
            || name.starts_with("labels.")
            || OWN_NAMES.iter().any(|start| name.starts_with(start))
    })
}

/// Sets the mode of this very file, never of one that a link leads to. False where it is somebody else's.
fn close(path: &Path) -> io::Result<bool> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file: File = OpenOptions::new()
        .read(true)
        // The flags are small positive numbers on every supported system, so the conversion is exact.
        .custom_flags(flags.bits() as i32)
        .open(path)?;
    let facts = file.metadata()?;
    if !is_plain(&facts) || facts.uid() != own_uid() {
        return Ok(false);
    }
    file.set_permissions(Permissions::from_mode(wanted_mode(&facts)))?;
    Ok(true)
}
