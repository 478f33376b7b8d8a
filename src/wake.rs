//! Waiting until a watched file changes, another thread calls, or time is up.
//!
//! A [`Wake`] never loses an event: one that came before [`Wake::wait`] was called ends that wait at once. Any number of
//! events between two waits end one wait. Reading a file wakes nobody. Watch first, then read: what is written after
//! [`Wake::watch`] returned wakes.
//!
//! Where the system has no watches left, `wait` returns after a short interval instead, so that the caller polls; it
//! tries to get its watches back each time. A patient wake compares the files itself instead, ever more slowly while
//! nothing happens: there may be hundreds of them. Callers poll now and then in any case, by way of the timeout: no kernel
//! promises that every change is told (network file systems tell none).
//!
//! Limitation: a path that is a symbolic link is watched at its target; that the link is pointed elsewhere is noticed
//! when a wait times out.

mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{BuildHasher, DefaultHasher, Hash, Hasher, RandomState};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::event::ModifyKind;
use notify::{Event, EventKind};

use source::Kernel;
pub use source::Source;

/// How often a caller should look without an event: the timeout to give to [`Wake::wait`].
pub const SAFETY_POLL: Duration = Duration::from_secs(5);

/// How often a [`Wake`] that has no watches left lets its caller poll.
pub const DEGRADED_POLL: Duration = Duration::from_millis(250);

/// How often in a row a patient wake doubles its pause.
const MOST_DOUBLINGS: u32 = 3;

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
    source: Source,
    user: u64,
    /// What is really watched, with the number of the watch.
    armed: BTreeMap<PathBuf, u64>,
    /// For each target that is watched, what is watched in its place.
    placed: BTreeMap<PathBuf, Place>,
    /// Some path could not be watched.
    is_degraded: bool,
    degraded_poll: Duration,
    /// It compares the targets itself while it is degraded.
    is_patient: bool,
    /// What the targets looked like, and how often in a row they have not changed since.
    looks: BTreeMap<PathBuf, u64>,
    unchanged: u32,
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
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is plain data that every step leaves whole, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, event: Result<&Event, &notify::Error>) {
        let mut state = self.lock();
        match event {
            Ok(event) if !state.concerns(event) => return,
            Ok(event) => {
                let content_only = matches!(event.kind, EventKind::Modify(ModifyKind::Data(_)));
                state.stale |= !content_only || event.need_rescan();
            }
            Err(_) => state.stale = true,
        }
        state.pending = true;
        drop(state);
        self.changed.notify_all();
    }

    /// A watch has been away for a moment: what came meanwhile was not told.
    fn unsettle(&self) {
        let mut state = self.lock();
        state.stale = true;
        state.pending = true;
        drop(state);
        self.changed.notify_all();
    }

    /// A target is this path or lies below it.
    fn lies_below(&self, path: &Path) -> bool {
        let state = self.lock();
        state.targets.iter().any(|target| target.starts_with(path))
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
        Self::from_parts(&Source::new(), degraded_poll)
    }

    /// A wake that polls alone, as on a system without watches.
    pub fn polling(degraded_poll: Duration) -> Self {
        Self::from_parts(&Source::none(), degraded_poll)
    }

    /// A wake that shares its events' source, for somebody who waits for long. When watches run out its waits go on: it
    /// compares the files (and what lies in a directory) itself, more and more seldom while nothing changes.
    pub fn patient(source: &Source) -> Self {
        let mut wake = Self::from_parts(source, DEGRADED_POLL);
        wake.is_patient = true;
        wake
    }

    fn from_parts(source: &Source, degraded_poll: Duration) -> Self {
        let shared = Arc::new(Shared::default());
        let user = source.join(&shared);
        let is_there = source.kernel().is_there();
        Self {
            is_degraded: !is_there,
            user,
            shared,
            source: source.clone(),
            armed: BTreeMap::new(),
            placed: BTreeMap::new(),
            degraded_poll,
            is_patient: false,
            looks: BTreeMap::new(),
            unchanged: 0,
        }
    }

    /// Watches a file, or the entries of a directory (not what lies below them). What does not exist yet is watched from
    /// the moment it appears, what was replaced or deleted and comes back is watched again. Watching twice is watching
    /// once.
    pub fn watch(&mut self, path: &Path) {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if self.shared.lock().targets.insert(absolute.clone()) {
            if self.is_patient {
                self.looks.insert(absolute.clone(), look_of(&absolute));
            }
            self.arm_between_waits(Some(&absolute));
        }
    }

    /// Stops watching a path.
    pub fn unwatch(&mut self, path: &Path) {
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if self.shared.lock().targets.remove(&absolute) {
            self.placed.remove(&absolute);
            self.looks.remove(&absolute);
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

    /// Waits for an event, at most `timeout`; while degraded at most the poll interval, unless it is patient.
    pub fn wait(&mut self, timeout: Duration) -> Woke {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            let left =
                deadline.map_or(timeout, |end| end.saturating_duration_since(Instant::now()));
            if self.wait_once(left) == Woke::Event || self.has_found_a_change() {
                self.unchanged = 0;
                return Woke::Event;
            }
            let is_over = deadline.is_some_and(|end| Instant::now() >= end);
            if is_over || !self.is_degraded || !self.is_patient {
                return Woke::Timeout;
            }
        }
    }

    /// Compares the targets, where nobody else would tell.
    fn has_found_a_change(&mut self) -> bool {
        if !self.is_degraded || !self.is_patient {
            return false;
        }
        let mut is_change = false;
        for (target, look) in &mut self.looks {
            let now = look_of(target);
            is_change |= *look != now;
            *look = now;
        }
        self.unchanged = self.unchanged.saturating_add(1);
        is_change
    }

    fn wait_once(&mut self, timeout: Duration) -> Woke {
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
        let poll = self.degraded_poll * 2_u32.pow(self.unchanged.min(MOST_DOUBLINGS));
        timeout.min(poll * 3 / 4 + poll / 4 * chance / 256)
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
        let targets = {
            let mut state = self.shared.lock();
            state.stale = false;
            state.targets.clone()
        };
        let mut kernel = self.source.kernel();
        kernel.renew();
        if !kernel.is_there() {
            self.is_degraded = true;
            return false;
        }
        kernel.take_losses(self.user);
        let mut any_new = false;
        self.is_degraded = false;
        for target in &targets {
            match arm_target(&mut kernel, self.user, &mut self.armed, target) {
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
                kernel.unwatch(self.user, root);
            }
            keep
        });
        any_new
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        self.source.kernel().leave(self.user, self.armed.keys());
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
    kernel: &mut Kernel,
    user: u64,
    armed: &mut BTreeMap<PathBuf, u64>,
    target: &Path,
) -> notify::Result<(Place, bool)> {
    let mut is_new = false;
    for _ in 0..ARM_ATTEMPTS {
        // The identity is taken before the watch is set: if another file comes in between, the next look sees it.
        let (root, identity) = nearest_existing(target)?;
        let serial = match kernel.watch(user, &root, identity) {
            Ok(serial) => serial,
            Err(e) if matches!(e.kind, notify::ErrorKind::PathNotFound) => continue,
            Err(e) => return Err(e),
        };
        is_new |= armed.insert(root.clone(), serial) != Some(serial);
        // It may have come while its directory was not watched yet.
        let place = (root, identity);
        if nearest_existing(target)? == place {
            return Ok((place, is_new));
        }
    }
    Err(notify::Error::generic("the path keeps changing"))
}

/// What is there, as a number: a file's identity, length and time; for a directory also those of all that lies in it.
fn look_of(path: &Path) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut note = |path: &Path| {
        let facts = fs::metadata(path).ok().map(|facts| {
            let time = (facts.mtime(), facts.mtime_nsec());
            (facts.dev(), facts.ino(), facts.len(), time, facts.is_dir())
        });
        facts.hash(&mut hasher);
        facts.is_some_and(|(.., is_dir)| is_dir)
    };
    if note(path) {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        for entry in entries {
            note(&entry.path());
        }
    }
    hasher.finish()
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
