//! The watcher of every label: one process, a thread for each label that runs or owes something.
//!
//! It holds the very lock per label and generation that a single watcher holds, so that both can be at work beside each
//! other, and takes up what a dead one left. A label whose watching fails, or even panics, is told of, left alone for a
//! while and costs no other label anything. All threads share one source of file events.

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Result, anyhow};

use super::Reader;
use super::driver::{Limits, Span, Task, Watched, watch};
use super::orders::Orders;
use crate::delivery::is_owed;
use crate::home::Home;
use crate::ledger::Ledger;
use crate::process::FileLock;
use crate::record::{Entry, Generation};
use crate::recovery::in_need;
use crate::storage::{FileFacts, parent_of};
use crate::wake::{SAFETY_POLL, Source, Wake, Waker};
use crate::watchers::Post;

/// A label whose watching broke off is left alone for so long.
const REST: Duration = Duration::from_secs(60);

/// A label whose watch has ended is not looked at again before this has passed.
const PAUSE: Duration = Duration::from_secs(1);

/// The ledger is not read more often than this, however fast it changes.
const SCAN_PAUSE: Duration = Duration::from_millis(250);

/// What a thread may need of stack; only what it uses costs memory.
const STACK_BYTES: usize = 1024 * 1024;

/// A label and its generation.
type Key = (String, Generation);

/// The end of a label's thread.
type Ended = (Key, Result<()>);

/// Watches every label until it is asked to stop; leaves all of them as they are then.
///
/// # Errors
/// Never of a label's own; what goes wrong with one is told on stderr.
pub fn watch_every_label(home: &Home, orders: &Orders) -> Result<()> {
    let source = Source::new();
    let mut wake = Wake::patient(&source);
    let _listener = orders.wake(wake.waker());
    let ledger = Ledger::new(home);
    wake.watch(parent_of(ledger.path()));
    let (sender, ended) = channel();
    let mut supervisor = Supervisor {
        home,
        orders,
        source,
        waker: wake.waker(),
        ledger,
        ledger_seen: None,
        scanned_at: None,
        trouble: String::new(),
        active: HashSet::new(),
        elsewhere: HashSet::new(),
        resting: HashMap::new(),
        told: HashMap::new(),
        sender,
        ended,
    };
    home.say("watching every label");
    loop {
        orders.reread(home);
        supervisor.collect();
        if orders.to_stop() {
            break;
        }
        let within = supervisor.look();
        wake.wait(within);
    }
    // Each thread has heard the order, too.
    while !supervisor.active.is_empty() {
        wake.wait(SAFETY_POLL);
        supervisor.collect();
    }
    home.say("asked to stop; '529-recovery' or any command on a label starts a new watcher");
    Ok(())
}

struct Supervisor<'a> {
    home: &'a Home,
    orders: &'a Orders,
    source: Source,
    waker: Waker,
    ledger: Ledger,
    /// The ledger as it was read last, and the monotonic time of that.
    ledger_seen: Option<FileFacts>,
    scanned_at: Option<Duration>,
    /// What was wrong with the ledger last.
    trouble: String,
    /// Labels with a thread here.
    active: HashSet<Key>,
    /// Labels that somebody else watches.
    elsewhere: HashSet<Key>,
    /// Labels that are left alone until a monotonic time.
    resting: HashMap<Key, Duration>,
    /// What went wrong with a label last: a lasting trouble is told once.
    told: HashMap<Key, String>,
    sender: Sender<Ended>,
    ended: Receiver<Ended>,
}

impl Supervisor<'_> {
    /// Takes note of threads that have ended.
    fn collect(&mut self) {
        let now = self.home.clock.monotonic();
        while let Ok((key, outcome)) = self.ended.try_recv() {
            self.active.remove(&key);
            let pause = match outcome {
                Ok(()) => {
                    self.told.remove(&key);
                    PAUSE
                }
                Err(e) => {
                    self.complain(&key, &format!("{e:#}"));
                    REST
                }
            };
            self.resting.insert(key, now + pause);
        }
    }

    /// Says what went wrong with a label, once.
    fn complain(&mut self, key: &Key, why: &str) {
        if self.told.get(key).is_none_or(|told| told != why) {
            let (label, _) = key;
            let rest = REST.as_secs();
            self.home.say(&format!(
                "watcher [{label}] {why}; the other labels go on, this one is tried again in {rest} s"
            ));
            self.told.insert(key.clone(), why.to_owned());
        }
    }

    /// Takes up labels where that may be due. Says how soon to look again.
    fn look(&mut self) -> Duration {
        let now = self.home.clock.monotonic();
        let facts = self.home.storage.facts(self.ledger.path()).ok().flatten();
        let is_changed = facts.is_none() || facts != self.ledger_seen;
        let is_rested = self.resting.values().any(|until| *until <= now);
        // Of a watcher that dies nobody tells.
        let is_left = || {
            let mut elsewhere = self.elsewhere.iter();
            elsewhere.any(|(label, generation)| !Post::of(self.home, label, *generation).is_held())
        };
        if !is_changed && !is_rested && !is_left() {
            return SAFETY_POLL;
        }
        let due = self.scanned_at.map_or(now, |at| at + SCAN_PAUSE);
        if now < due {
            return due - now;
        }
        self.scanned_at = Some(now);
        self.resting.retain(|_, until| *until > now);
        match self.ledger.read() {
            Ok(book) => {
                self.ledger_seen = facts;
                self.trouble.clear();
                let needy = in_need(self.home, &book);
                drop(book);
                self.take_up(needy, now);
            }
            Err(e) => {
                let trouble = e.to_string();
                if trouble != self.trouble {
                    self.home
                        .say(&format!("{trouble}; what is watched goes on"));
                    self.trouble = trouble;
                }
            }
        }
        SAFETY_POLL
    }

    fn take_up(&mut self, needy: Vec<(String, Entry)>, now: Duration) {
        self.elsewhere.clear();
        for (label, entry) in needy {
            let key = (label, entry.generation());
            if self.active.contains(&key) || self.resting.contains_key(&key) {
                continue;
            }
            let post = Post::of(self.home, &key.0, key.1);
            let taken = match post.is_held() {
                true => Ok(None),
                false => post.take(self.home).map(Result::ok),
            };
            let begun = match taken {
                Ok(Some(lock)) => self.begin(key.clone(), entry, post, lock),
                Ok(None) => {
                    self.elsewhere.insert(key);
                    continue;
                }
                Err(e) => Err(e),
            };
            match begun {
                Ok(()) => {
                    self.active.insert(key);
                }
                Err(e) => {
                    self.complain(&key, &format!("cannot be watched: {e}"));
                    self.resting.insert(key, now + REST);
                }
            }
        }
        // What was said of labels that are gone is not kept.
        let (active, resting) = (&self.active, &self.resting);
        self.told
            .retain(|key, _| active.contains(key) || resting.contains_key(key));
    }

    fn begin(&self, key: Key, entry: Entry, post: Post, lock: FileLock) -> std::io::Result<()> {
        let (home, orders) = (self.home.clone(), self.orders.clone());
        let (source, sender) = (self.source.clone(), self.sender.clone());
        let waker = self.waker.clone();
        let begun = thread::Builder::new().stack_size(STACK_BYTES);
        begun.spawn(move || {
            let outcome = guarded(|| follow(&home, &key, &entry, &post, lock, &orders, &source));
            // Whoever would hear of it has left when the process ends.
            let _ = sender.send((key, outcome));
            waker.wake();
        })?;
        Ok(())
    }
}

/// One label, as a detached watcher follows it.
fn follow(
    home: &Home,
    key: &Key,
    entry: &Entry,
    post: &Post,
    mut lock: FileLock,
    orders: &Orders,
    source: &Source,
) -> Result<()> {
    let home = &home.of_agent(entry.text("agent"));
    let task = Task {
        label: &key.0,
        generation: key.1,
        span: Span::UntilEnd,
        reader: Reader::Outbox,
        limits: Limits::default(),
    };
    loop {
        let watched = watch(home, &task, entry, orders, source)?;
        drop(lock);
        // Whoever added a record while the post was being left found it taken and started nobody.
        let is_over = matches!(watched, Watched::Ended { .. });
        if !is_over || !still_owes(home, &key.0, key.1) {
            return Ok(());
        }
        lock = match post.take(home)? {
            Ok(lock) => lock,
            Err(_) => return Ok(()),
        };
    }
}

/// The ended label owes something that is to be sent.
pub fn still_owes(home: &Home, label: &str, generation: Generation) -> bool {
    let book = Ledger::new(home).read();
    let entry = book.ok().and_then(|book| book.get(label));
    entry.is_some_and(|entry| entry.generation() == generation && is_owed(&entry))
}

/// What `work` gives; a panic in it as an error.
fn guarded(work: impl FnOnce() -> Result<()>) -> Result<()> {
    // What the panic left is dropped with the thread; the rest of the process shares files and plain data alone.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        let what = text.unwrap_or_else(|| "of an unknown kind".to_owned());
        Err(anyhow!("panicked ({what}), which is a bug"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_with_its_text() {
        let text = |work: fn() -> Result<()>| guarded(work).map_err(|e| e.to_string());
        assert_eq!(text(|| Ok(())), Ok(()));
        assert_eq!(text(|| Err(anyhow!("no"))), Err("no".to_owned()));
        let bug = "panicked (at 3 of 2), which is a bug";
        assert_eq!(text(|| panic!("at {} of 2", 3)), Err(bug.to_owned()));
        let bug = "panicked (plain), which is a bug";
        assert_eq!(text(|| panic!("plain")), Err(bug.to_owned()));
    }
}
