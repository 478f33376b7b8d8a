//! Who watches which label: the files of a watcher, and starting one.

use std::fs::OpenOptions;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::home::Home;
use crate::process::{
    Detached, FileLock, LockHolder, ProcessIdentity, Signal, log_of, signal_process, spawn_detached,
};
use crate::record::{Generation, file_stem_of};
use crate::storage::{
    open_to_write, replace_synced, replace_unsynced, sweep_temporaries, temporary_beside,
};

/// A watcher's log is begun anew above this size.
const MAX_LOG_BYTES: u64 = 256 * 1024;

/// A heartbeat older than this is stale; watchers write one a minute.
pub const STALE_MS: i64 = 3 * 60_000;

/// How often a watcher is asked again, and looked at, that is to answer.
const ANSWER_LOOK: Duration = Duration::from_millis(50);

/// How long a killed watcher may take to be gone, and how often that is looked at.
pub const DEATH_PATIENCE: Duration = Duration::from_secs(5);

/// The same, where somebody waits for the command that looks.
const ABANDONED_PATIENCE: Duration = Duration::from_millis(500);

const DEATH_LOOK: Duration = Duration::from_millis(2);

/// What a detached watcher calls itself in its lock.
pub const DETACHED: &str = "detached watcher";

/// What a watcher calls itself whose stdout somebody reads.
pub const FOREGROUND: &str = "watcher";

/// What the watcher of every label calls itself.
pub const OF_EVERY_LABEL: &str = "watcher --all";

/// What a watcher that looks once calls itself: it leaves the post at once, and nobody takes it for one that stays.
pub const LOOK: &str = "watcher --once";

/// The files of the watcher of one label and generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    dir: PathBuf,
    stem: String,
}

/// What a watcher says of itself; written by it alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The watcher.
    #[serde(flatten)]
    pub process: ProcessIdentity,
    /// When it wrote this, ms since the epoch.
    pub at: i64,
    /// The same in the machine's time awake ([`Clock::awake_ms`](crate::clock::Clock::awake_ms)), where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awake_at: Option<i64>,
    /// What it is doing (`watching`, `aborting`, `ended`, ...).
    pub state: String,
    /// Why, in one line.
    pub reason: String,
    /// When it will look again at the latest, ms since the epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<i64>,
    /// When it will do something by itself, ms since the epoch, as far as that was known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acts_at: Option<i64>,
    /// How far it has read the transcript, in bytes.
    #[serde(default)]
    pub position: u64,
    /// The system had no file events for it: it is told of changes by a signal.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub polls: bool,
    /// The end of the run is to be printed: by this watcher, or by one before it that was killed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub prints: bool,
}

/// Who is at a post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keeper {
    /// Nobody.
    Nobody,
    /// A watcher that `dispatch` started; it gives the post to whoever asks.
    Detached(LockHolder),
    /// A watcher whose stdout is the run's only sink.
    Foreground(LockHolder),
    /// One that watches all labels.
    OfEveryLabel(LockHolder),
    /// Somebody who leaves in a moment: a look, a command that resolves the label, or one who has not signed yet.
    Passing,
}

/// A watcher that holds its post and does not stir.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wedged {
    /// The process.
    pub process: ProcessIdentity,
    /// When it stirred last, ms since the epoch, as if the clock had not been set and the machine had not slept since.
    pub since_ms: i64,
}

impl Heartbeat {
    /// When a watcher that still stirs acts next, as far as it said, ms since the epoch: what it plans, or else its next
    /// look. It looks at least as often as it said; the time of a wedged one stays in the past.
    pub fn next_act(&self, now_ms: i64) -> Option<i64> {
        if let Some(act) = self.acts_at.filter(|at| *at > now_ms) {
            return Some(act);
        }
        let look = self.next_at?;
        let pause = look.saturating_sub(self.at).max(1);
        let is_stirring = now_ms.saturating_sub(self.at) < STALE_MS;
        if look > now_ms || !is_stirring {
            return Some(look);
        }
        let passed = now_ms.saturating_sub(self.at) / pause;
        Some(self.at.saturating_add((passed + 1).saturating_mul(pause)))
    }

    /// How long its watcher has not stirred, ms. A suspend of the machine, and a clock that is set, are no silence where
    /// the time awake is known; `awake_ms` is that time now.
    fn silence_ms(&self, now_ms: i64, awake_ms: Option<i64>) -> i64 {
        // One that lies ahead was written by another reckoning, as in a container that has its own.
        let awake = (self.awake_at.zip(awake_ms)).filter(|(at, now)| at <= now);
        match awake {
            Some((at, now)) => now.saturating_sub(at),
            None => now_ms.saturating_sub(self.at),
        }
    }

    /// How long it said that it would rest, ms.
    fn pause_ms(&self) -> i64 {
        let pause = self.next_at.map(|next| next.saturating_sub(self.at));
        pause.unwrap_or(0).max(0)
    }
}

impl Post {
    /// The post of a label and generation.
    pub fn of(home: &Home, label: &str, generation: Generation) -> Self {
        Self {
            dir: home.paths.watchers(),
            stem: format!("{}.{generation}", file_stem_of(label)),
        }
    }

    /// Held by the watcher for its whole life.
    pub fn lock_path(&self) -> PathBuf {
        self.dir.join(format!("{}.lock", self.stem))
    }

    fn heartbeat_path(&self) -> PathBuf {
        self.dir.join(format!("{}.json", self.stem))
    }

    /// Names the verify command's process while one is at work.
    pub fn verify_note_path(&self) -> PathBuf {
        self.dir.join(format!("{}.verify.json", self.stem))
    }

    /// The detached watcher's log.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.stem))
    }

    /// All of its files.
    pub fn paths(&self) -> [PathBuf; 4] {
        [
            self.heartbeat_path(),
            self.verify_note_path(),
            self.log_path(),
            self.lock_path(),
        ]
    }

    /// A watcher is at its post.
    pub fn is_held(&self) -> bool {
        FileLock::is_held(&self.lock_path())
    }

    /// Its watcher has just died: the last of the threads may hold the lock a moment longer, and to take that for a watcher
    /// would leave the label alone. Waits for that moment to be over. A new watcher signs as soon as it has the lock.
    /// A holder that this process cannot see (one of another container) is waited for in vain.
    pub fn is_abandoned(&self, home: &Home, patience: Duration) -> bool {
        let end = home.clock.monotonic() + patience;
        while self.is_held() {
            let holder = FileLock::holder(&self.lock_path());
            if holder.is_some_and(|holder| holder.process.is_alive())
                || home.clock.monotonic() >= end
            {
                return false;
            }
            thread::sleep(DEATH_LOOK);
        }
        true
    }

    /// Waits, not for ever, until a killed watcher has given its lock back: one that finds the post taken until then would
    /// leave.
    pub fn wait_until_free(&self, home: &Home) {
        let end = home.clock.monotonic() + DEATH_PATIENCE;
        while self.is_held() && home.clock.monotonic() < end {
            thread::sleep(DEATH_LOOK);
        }
    }

    /// Who is at the post now.
    pub fn keeper(&self) -> Keeper {
        if !self.is_held() {
            return Keeper::Nobody;
        }
        let holder = FileLock::holder(&self.lock_path());
        match holder.filter(|holder| holder.process.is_alive()) {
            Some(holder) => match holder.program.as_str() {
                DETACHED => Keeper::Detached(holder),
                FOREGROUND => Keeper::Foreground(holder),
                OF_EVERY_LABEL => Keeper::OfEveryLabel(holder),
                _ => Keeper::Passing,
            },
            None => Keeper::Passing,
        }
    }

    /// The watcher of a held post, where it has not stirred for longer than it said it would rest, and for [`STALE_MS`].
    pub fn wedged(&self, home: &Home) -> Option<Wedged> {
        // The signature in the lock names who really holds it; the heartbeat may be an earlier watcher's.
        let holder = FileLock::holder(&self.lock_path()).filter(|h| h.process.is_alive())?;
        let beat = self.heartbeat(home);
        let beat = beat.filter(|beat| beat.process == holder.process);
        let now_ms = home.now_ms();
        let (silence_ms, pause_ms) = match &beat {
            Some(beat) => (
                beat.silence_ms(now_ms, home.clock.awake_ms()),
                beat.pause_ms(),
            ),
            // One that never wrote a heartbeat has stirred once: when it signed.
            None if holder.since == 0 => return None,
            None => (now_ms.saturating_sub(holder.since), 0),
        };
        // One that said it would sleep longer than a heartbeat's interval is not late before that.
        let is_late = silence_ms >= STALE_MS.saturating_add(pause_ms);
        is_late.then_some(Wedged {
            process: holder.process,
            since_ms: now_ms.saturating_sub(silence_ms),
        })
    }

    /// Asks the watcher at the post whether it lives: a poke makes it write a heartbeat. False when it has not within
    /// `patience`.
    pub fn answers(&self, home: &Home, patience: Duration) -> bool {
        let before = self.heartbeat(home);
        let end = home.clock.monotonic() + patience;
        loop {
            self.poke();
            thread::sleep(ANSWER_LOOK);
            if self.heartbeat(home) != before || !self.is_held() {
                return true;
            }
            if home.clock.monotonic() >= end {
                return false;
            }
        }
    }

    /// A watcher could write its heartbeat.
    ///
    /// # Errors
    /// Why not.
    pub fn takes_files(&self, home: &Home) -> io::Result<()> {
        let probe = temporary_beside(&self.heartbeat_path());
        let storage = home.storage.as_ref();
        replace_unsynced(storage, &probe, &[b'\n'; 512])?;
        storage.remove(&probe)
    }

    /// The run's end was to be printed by a watcher that was killed: who has the post now does not print it.
    pub fn was_to_print(&self, home: &Home) -> bool {
        self.heartbeat(home).is_some_and(|beat| beat.prints)
    }

    /// Takes the post; `Err(holder)` when another watcher has it.
    ///
    /// # Errors
    /// When the lock file cannot be opened or locked.
    pub fn take(&self, home: &Home) -> io::Result<Result<FileLock, Option<LockHolder>>> {
        home.storage.create_dir_all(&self.dir)?;
        let taken = FileLock::try_acquire(&self.lock_path(), &home.program)?;
        if taken.is_ok() {
            // Whoever has the post owns them all.
            let names = format!("{}.json", self.stem);
            sweep_temporaries(home.storage.as_ref(), &self.dir, &names, |_| true);
        }
        Ok(taken)
    }

    /// Makes a watcher at the post look at once, by touching its lock file. Without a watcher nothing happens.
    pub fn poke(&self) {
        let touch = || -> io::Result<()> {
            let file = open_to_write(&self.lock_path(), OpenOptions::new().write(true))?;
            file.set_modified(std::time::SystemTime::now())
        };
        let _ = touch();
        self.signal_who_polls();
    }

    /// A watcher without file events would find the touched file at its next poll. The signal does nothing to a process
    /// that does not expect it.
    fn signal_who_polls(&self) {
        let bytes = std::fs::read(self.heartbeat_path()).unwrap_or_default();
        let beat = serde_json::from_slice::<Heartbeat>(&bytes).ok();
        if let Some(beat) = beat.filter(|beat| beat.polls)
            && FileLock::holder(&self.lock_path()).is_some_and(|h| h.process == beat.process)
        {
            let _ = signal_process(&beat.process, Signal::URG);
        }
    }

    /// The last heartbeat, if one can be read.
    pub fn heartbeat(&self, home: &Home) -> Option<Heartbeat> {
        let bytes = home.storage.read(&self.heartbeat_path()).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Writes a heartbeat. Most need not outlast a power cut, which ends the watcher, too.
    ///
    /// # Errors
    /// When it cannot be written; the one before is then still there.
    pub fn write_heartbeat(&self, home: &Home, heartbeat: &Heartbeat) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(heartbeat)?;
        bytes.push(b'\n');
        // Whom the end is owed to must outlast a power cut.
        match heartbeat.prints {
            true => replace_synced(home.storage.as_ref(), &self.heartbeat_path(), &bytes),
            false => replace_unsynced(home.storage.as_ref(), &self.heartbeat_path(), &bytes),
        }
    }
}

/// Starts a detached watcher for the label. One that is there already makes the new one leave at once.
///
/// # Errors
/// When the program cannot be started.
pub fn start_watcher(home: &Home, label: &str, generation: Generation) -> io::Result<Detached> {
    start(home, label, generation, &[])
}

/// As [`start_watcher`]; a detached watcher that is there already is asked to leave and the new one takes its post.
///
/// # Errors
/// When the program cannot be started.
pub fn start_successor(home: &Home, label: &str, generation: Generation) -> io::Result<Detached> {
    start(home, label, generation, &["--take-over"])
}

fn start(home: &Home, label: &str, generation: Generation, more: &[&str]) -> io::Result<Detached> {
    let post = Post::of(home, label, generation);
    home.storage.create_dir_all(&post.dir)?;
    let log = log_of(&post.log_path(), MAX_LOG_BYTES)?;
    let mut command = Command::new(&home.programs.watcher);
    command
        .arg(format!("--label={label}"))
        .arg(format!("--generation={generation}"))
        .arg("--detached")
        .args(more)
        .envs(home.paths.exports.iter().map(|(name, path)| (name, path)))
        .current_dir("/");
    spawn_detached(command, Some(log))
}

/// Starts a watcher unless one is at its post; says on stderr when it cannot.
pub fn ensure_watcher(home: &Home, label: &str, generation: Generation) -> bool {
    let post = Post::of(home, label, generation);
    if post.is_held() {
        post.poke();
        if !post.is_abandoned(home, ABANDONED_PATIENCE) {
            return true;
        }
    }
    match start_watcher(home, label, generation) {
        Ok(_) => true,
        Err(e) => {
            home.say(&format!(
                "cannot start the watcher of \"{label}\" ({}): {e}; '529-recovery' will start one",
                home.programs.watcher.display()
            ));
            false
        }
    }
}

#[cfg(test)]
mod tests;
