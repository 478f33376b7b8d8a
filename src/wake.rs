//! Waiting until a watched file changes, another thread calls, or time is up.
//!
//! A [`Wake`] never loses an event: one that came before [`Wake::wait`] was called ends that wait at once. Any number of
//! events between two waits end one wait. Reading a file wakes nobody. Watch first, then read: what is written after
//! [`Wake::watch`] returned wakes.
//!
//! Where the system has no watches left, `wait` returns after a short interval instead, so that the caller polls; it
//! tries to get its watches back each time. Callers poll now and then in any case, by way of the timeout: no kernel
//! promises that every change is told (network file systems tell none).
//!
//! Limitation: a path that is a symbolic link is watched at its target; that the link is pointed elsewhere is noticed
//! when a wait times out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// How often a caller should look without an event: the timeout to give to [`Wake::wait`].
pub const SAFETY_POLL: Duration = Duration::from_secs(5);

/// How often a [`Wake`] that has no watches left lets its caller poll.
pub const DEGRADED_POLL: Duration = Duration::from_millis(250);

/// Paths that keep changing while they are being watched are given up for this round after so many tries.
const ARM_ATTEMPTS: usize = 8;

/// Why a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woke {
    /// Something happened: look.
    Event,
    /// Time is up, or it is time to poll.
    Timeout,
}

/// Waits for changes of files.
#[derive(Debug)]
pub struct Wake {
    shared: Arc<Shared>,
    /// Absent when the system has no watch queue left.
    watcher: Option<RecommendedWatcher>,
    /// What is really watched, with the identity that it had then.
    armed: BTreeMap<PathBuf, Identity>,
    /// For each target that is watched, what is watched in its place.
    placed: BTreeMap<PathBuf, Place>,
    /// Some path could not be watched.
    is_degraded: bool,
    degraded_poll: Duration,
}

/// Ends a [`Wake`]'s wait from another thread. Takes a lock: call it from a thread, not from within a signal handler.
#[derive(Debug, Clone)]
pub struct Waker(Arc<Shared>);

/// Device and inode.
type Identity = (u64, u64);

/// What is watched in a target's place.
type Place = (PathBuf, Identity);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    targets: BTreeSet<PathBuf>,
    /// An event that no wait has told yet.
    pending: bool,
    /// A watched thing may have come, gone or been replaced.
    stale: bool,
    /// Watches that notify has dropped, or is about to drop, by itself.
    lost: BTreeSet<PathBuf>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is plain data that every step leaves whole, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: notify::Result<Event>) {
        let mut state = self.lock();
        match event {
            Ok(event) if !state.concerns(&event) => return,
            Ok(event) => {
                let content_only = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
                state.stale |= !content_only || event.need_rescan();
                if matches!(
                    event.kind,
                    EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))
                ) {
                    // Only a target or a directory above one is ever watched.
                    let targets = std::mem::take(&mut state.targets);
                    let watched = |path: &PathBuf| targets.iter().any(|t| t.starts_with(path));
                    state.lost.extend(event.paths.into_iter().filter(watched));
                    state.targets = targets;
                }
            }
            Err(_) => state.stale = true,
        }
        state.pending = true;
        drop(state);
        self.changed.notify_all();
    }
}

impl State {
    fn concerns(&self, event: &Event) -> bool {
        if event.need_rescan() || event.paths.is_empty() {
            return true;
        }
        // Our own reading opens and closes files; a writer's changes are told apart from its closing.
        if event.kind.is_access() {
            return false;
        }
        event.paths.iter().any(|path| {
            self.targets
                .iter()
                // The thing itself, what it lies in, or (of a directory) what lies in it.
                .any(|target| target.starts_with(path) || path.parent() == Some(target))
        })
    }
}

impl Wake {
    /// A wake with the usual poll interval for a system without watches. Never fails.
    pub fn new() -> Self {
        Self::with_degraded_poll(DEGRADED_POLL)
    }

    /// A wake that lets its caller poll at this interval, and a little more often by chance, when watches run out.
    pub fn with_degraded_poll(degraded_poll: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let noting = Arc::clone(&shared);
        let watcher = notify::recommended_watcher(move |event| noting.note(event)).ok();
        Self::from_parts(shared, watcher, degraded_poll)
    }

    /// A wake that polls alone, as on a system without watches.
    pub fn polling(degraded_poll: Duration) -> Self {
        Self::from_parts(Arc::new(Shared::default()), None, degraded_poll)
    }

    fn from_parts(
        shared: Arc<Shared>,
        watcher: Option<RecommendedWatcher>,
        degraded_poll: Duration,
    ) -> Self {
        Self {
            is_degraded: watcher.is_none(),
            shared,
            watcher,
            armed: BTreeMap::new(),
            placed: BTreeMap::new(),
            degraded_poll,
        }
    }

    /// Watches a file, or the entries of a directory (not what lies below them). What does not exist yet is watched from
    /// the moment it appears, what was replaced or deleted and comes back is watched again. Watching twice is watching
    /// once.
    pub fn watch(&mut self, path: &Path) {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if self.shared.lock().targets.insert(absolute.clone()) {
            self.arm_between_waits(Some(&absolute));
        }
    }

    /// Stops watching a path.
    pub fn unwatch(&mut self, path: &Path) {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if self.shared.lock().targets.remove(&absolute) {
            self.placed.remove(&absolute);
            self.arm_between_waits(None);
        }
    }

    /// A handle by which another thread can end a wait.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.shared))
    }

    /// Whether it polls because something cannot be watched.
    pub fn is_degraded(&self) -> bool {
        self.is_degraded
    }

    /// Waits for an event, at most `timeout`; while degraded at most the poll interval.
    pub fn wait(&mut self, timeout: Duration) -> Woke {
        let deadline = Instant::now().checked_add(self.bounded(timeout));
        let mut state = self.shared.lock();
        while !state.pending {
            let left = match deadline {
                Some(deadline) => deadline.saturating_duration_since(Instant::now()),
                None => timeout,
            };
            if left.is_zero() {
                break;
            }
            state = match self.shared.changed.wait_timeout(state, left) {
                Ok((state, _)) => state,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        let event = std::mem::take(&mut state.pending);
        let look_again = !event || state.stale;
        drop(state);
        // What is watched anew may have changed before the watch was in place, so that counts as an event.
        let rearmed = look_again && self.arm(None);
        if event || rearmed {
            Woke::Event
        } else {
            Woke::Timeout
        }
    }

    fn bounded(&self, timeout: Duration) -> Duration {
        if !self.is_degraded {
            return timeout;
        }
        // Many watchers that lost their watches at once should not all poll in step.
        let chance = (RandomState::new().hash_one(0_u8) % 256) as u32;
        timeout.min(self.degraded_poll * 3 / 4 + self.degraded_poll / 4 * chance / 256)
    }

    /// What this finds changed on the way is kept for the next wait.
    fn arm_between_waits(&mut self, added: Option<&Path>) {
        if self.arm(added) {
            self.shared.lock().pending = true;
        }
    }

    /// Brings the watches in line with what is at the paths now; says whether any target but the one just added is
    /// watched anew.
    fn arm(&mut self, added: Option<&Path>) -> bool {
        let (targets, lost) = {
            let mut state = self.shared.lock();
            state.stale = false;
            (state.targets.clone(), std::mem::take(&mut state.lost))
        };
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        // With a directory's watch notify drops all those below it.
        let drops = |root: &PathBuf| lost.iter().any(|path| root.starts_with(path));
        let dropped: Vec<PathBuf> = self
            .armed
            .keys()
            .filter(|root| drops(root))
            .cloned()
            .collect();
        for root in dropped {
            self.armed.remove(&root);
            let _ = watcher.unwatch(&root);
        }
        let mut any_new = false;
        self.is_degraded = false;
        for target in &targets {
            match arm_target(watcher, &mut self.armed, target) {
                Ok((place, is_new)) => {
                    let moved = self.placed.get(target) != Some(&place);
                    any_new |= (is_new || moved) && added != Some(target);
                    self.placed.insert(target.clone(), place);
                }
                Err(_) => {
                    self.is_degraded = true;
                    self.placed.remove(target);
                }
            }
        }
        let wanted: BTreeSet<&PathBuf> = self.placed.values().map(|(root, _)| root).collect();
        self.armed.retain(|root, _| {
            let keep = wanted.contains(root);
            if !keep {
                let _ = watcher.unwatch(root);
            }
            keep
        });
        any_new
    }
}

impl Default for Wake {
    fn default() -> Self {
        Self::new()
    }
}

impl Waker {
    /// Ends the wait that is under way, or the next one.
    pub fn wake(&self) {
        self.0.lock().pending = true;
        self.0.changed.notify_all();
    }
}

/// Watches the target, or the nearest directory above it that exists; says which, and whether the watch is new.
fn arm_target(
    watcher: &mut RecommendedWatcher,
    armed: &mut BTreeMap<PathBuf, Identity>,
    target: &Path,
) -> notify::Result<(Place, bool)> {
    let mut is_new = false;
    for _ in 0..ARM_ATTEMPTS {
        // The identity is taken before the watch is set: if another file comes in between, the next look sees it.
        let (root, identity) = nearest_existing(target)?;
        if armed.get(&root) != Some(&identity) {
            if armed.remove(&root).is_some() {
                let _ = watcher.unwatch(&root);
            }
            match watcher.watch(&root, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                Err(e) if matches!(e.kind, notify::ErrorKind::PathNotFound) => continue,
                Err(e) => return Err(e),
            }
            armed.insert(root.clone(), identity);
            is_new = true;
        }
        // It may have come while its directory was not watched yet.
        let place = (root, identity);
        if nearest_existing(target)? == place {
            return Ok((place, is_new));
        }
    }
    Err(notify::Error::generic("the path keeps changing"))
}

fn nearest_existing(target: &Path) -> io::Result<Place> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for path in target.ancestors() {
        match fs::metadata(path) {
            Ok(metadata) => return Ok((path.to_owned(), (metadata.dev(), metadata.ino()))),
            Err(e) => match e.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => last = e,
                _ => return Err(e),
            },
        }
    }
    Err(last)
}

#[cfg(test)]
#[path = "wake_tests.rs"]
mod tests;
