//! One file-event instance of the system, which any number of wakes share: there are few of them to be had.
//!
//! What the kernel tells is passed on by its own thread, which takes the small locks alone. Nobody holds one of those while
//! the kernel's watches are changed: the change waits for that thread.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use super::{Identity, Shared};

/// How often it is tried to get an instance where the system had none left.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// A file-event instance, or the lack of one. Clones are the same.
#[derive(Debug, Clone)]
pub struct Source(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kernel: Mutex<Kernel>,
    heard: Arc<Heard>,
}

/// Who hears of events, and what was heard that the watches are not in line with yet.
#[derive(Debug, Default)]
struct Heard {
    users: Mutex<BTreeMap<u64, Weak<Shared>>>,
    /// Watches that notify has dropped, or is about to drop, by itself.
    lost: Mutex<BTreeSet<PathBuf>>,
}

/// The watches.
#[derive(Debug)]
pub(super) struct Kernel {
    watcher: Option<RecommendedWatcher>,
    /// When to try again to get one; `None` where none is wanted.
    retry_at: Option<Instant>,
    roots: BTreeMap<PathBuf, Root>,
    heard: Arc<Heard>,
    last_user: u64,
    last_serial: u64,
}

/// What is really watched.
#[derive(Debug)]
struct Root {
    /// The file that it was then.
    identity: Identity,
    users: BTreeSet<u64>,
    /// Tells this watch from an earlier one of the same path.
    serial: u64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // All of it is plain data that every step leaves whole, so a panic elsewhere does not spoil it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Heard {
    fn tell(&self, event: notify::Result<Event>) {
        let event = event.as_ref();
        let is_loss = event.is_ok_and(|event| {
            let kind = &event.kind;
            matches!(
                kind,
                EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
            )
        });
        let users: Vec<_> = locked(&self.users)
            .values()
            .filter_map(Weak::upgrade)
            .collect();
        if let Ok(event) = event
            && is_loss
        {
            // Only a target or a directory above one is ever watched.
            let ours = |path: &&PathBuf| users.iter().any(|user| user.lies_below(path));
            let lost = event.paths.iter().filter(ours).cloned();
            locked(&self.lost).extend(lost);
        }
        for user in users {
            user.note(event);
        }
    }

    /// Somebody's watch has been away for a moment.
    fn unsettle(&self, users: &BTreeSet<u64>, but: u64) {
        let others: Vec<_> = {
            let known = locked(&self.users);
            let others = users.iter().filter(|user| **user != but);
            others
                .filter_map(|user| known.get(user)?.upgrade())
                .collect()
        };
        for other in others {
            other.unsettle();
        }
    }
}

impl Source {
    /// An instance, if the system has one left; otherwise one is tried for now and then.
    pub fn new() -> Self {
        let source = Self::none();
        let mut kernel = source.kernel();
        kernel.retry_at = Some(Instant::now());
        kernel.renew();
        drop(kernel);
        source
    }

    /// No instance: whoever uses it polls.
    pub fn none() -> Self {
        let heard = Arc::new(Heard::default());
        Self(Arc::new(Inner {
            kernel: Mutex::new(Kernel {
                watcher: None,
                retry_at: None,
                roots: BTreeMap::new(),
                heard: Arc::clone(&heard),
                last_user: 0,
                last_serial: 0,
            }),
            heard,
        }))
    }

    /// A new user, who hears of every event.
    pub(super) fn join(&self, shared: &Arc<Shared>) -> u64 {
        let mut kernel = self.kernel();
        kernel.last_user += 1;
        let user = kernel.last_user;
        locked(&self.0.heard.users).insert(user, Arc::downgrade(shared));
        user
    }

    /// The watches, to be changed.
    pub(super) fn kernel(&self) -> MutexGuard<'_, Kernel> {
        locked(&self.0.kernel)
    }
}

impl Default for Source {
    fn default() -> Self {
        Self::new()
    }
}

impl Kernel {
    /// There is an instance.
    pub(super) fn is_there(&self) -> bool {
        self.watcher.is_some()
    }

    /// Tries for an instance where there is none, at times.
    pub(super) fn renew(&mut self) {
        let now = Instant::now();
        if self.watcher.is_some() || self.retry_at.is_none_or(|at| now < at) {
            return;
        }
        self.retry_at = Some(now + RETRY_EVERY);
        let heard = Arc::clone(&self.heard);
        self.watcher = notify::recommended_watcher(move |event| heard.tell(event)).ok();
    }

    /// Takes out the watches that notify has dropped; with a directory's watch it drops all those below it.
    pub(super) fn take_losses(&mut self, user: u64) {
        let lost = std::mem::take(&mut *locked(&self.heard.lost));
        if lost.is_empty() {
            return;
        }
        let is_lost = |root: &PathBuf| lost.iter().any(|path| root.starts_with(path));
        let dropped: Vec<PathBuf> = self
            .roots
            .keys()
            .filter(|root| is_lost(root))
            .cloned()
            .collect();
        for path in dropped {
            self.unset(&path);
            if let Some(root) = self.roots.remove(&path) {
                self.heard.unsettle(&root.users, user);
            }
        }
    }

    /// Watches `path`, which is the file `identity`, for this user. The number changes whenever the watch was set anew, and
    /// events may have been missed.
    pub(super) fn watch(
        &mut self,
        user: u64,
        path: &Path,
        identity: Identity,
    ) -> notify::Result<u64> {
        let mut users = BTreeSet::new();
        if let Some(root) = self.roots.get_mut(path) {
            if root.identity == identity {
                root.users.insert(user);
                return Ok(root.serial);
            }
            users = std::mem::take(&mut root.users);
            self.roots.remove(path);
            self.unset(path);
        }
        let set = match &mut self.watcher {
            Some(watcher) => watcher.watch(path, RecursiveMode::NonRecursive),
            None => Err(notify::Error::generic("no file events are to be had")),
        };
        self.heard.unsettle(&users, user);
        set?;
        users.insert(user);
        self.last_serial += 1;
        let serial = self.last_serial;
        let root = Root {
            identity,
            users,
            serial,
        };
        self.roots.insert(path.to_owned(), root);
        Ok(serial)
    }

    /// Stops watching `path` for this user.
    pub(super) fn unwatch(&mut self, user: u64, path: &Path) {
        let Some(root) = self.roots.get_mut(path) else {
            return;
        };
        root.users.remove(&user);
        if root.users.is_empty() {
            self.roots.remove(path);
            self.unset(path);
        }
    }

    fn unset(&mut self, path: &Path) {
        if let Some(watcher) = &mut self.watcher {
            let _ = watcher.unwatch(path);
        }
    }

    /// The user is gone.
    pub(super) fn leave<'a>(&mut self, user: u64, paths: impl Iterator<Item = &'a PathBuf>) {
        for path in paths {
            self.unwatch(user, path);
        }
        locked(&self.heard.users).remove(&user);
    }
}
