//! A watcher's standing connection: waits for the run's end on a thread of its own, connects again when it breaks.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::evidence::{Seen, evidence};
use super::quiet::{AtWork, Quiet};
use super::{CONNECT_LIMIT, look, messages};
use crate::backend::{Evidence, RunRef, Settled, Text};
use crate::gateway::{Client, Endpoint, GatewayError, Generation, Transport};
use crate::home::Home;
use crate::record::{Failure, FailureKind};
use crate::session::terminal::Turn;
use crate::wake::Waker;

/// One wait for the run's end; the gateway answers at once when it comes.
const WAIT_SLICE: Duration = Duration::from_secs(20);

/// As [`WAIT_SLICE`], where each call is a process.
const COSTLY_WAIT_SLICE: Duration = Duration::from_secs(60);

/// Before a look that follows another at once.
const SOON: Duration = Duration::from_millis(500);

/// As [`SOON`], where each call is a process: also the shortest pause before such a gateway is tried again.
const COSTLY_SOON: Duration = Duration::from_secs(5);

/// Pauses before the connection is tried again.
const RECONNECT_PAUSES_MS: [u64; 6] = [100, 250, 500, 1_000, 2_000, 5_000];

/// A session that says it runs while nothing works on it is given up after this long: a gateway that has just started may
/// be about to take it up.
const LEFT_BEHIND_PATIENCE: Duration = Duration::from_secs(30);

/// The older generation writes the session's final status up to this long after the run's end, and tells why a run failed
/// only 15 s after that.
const LATE_STATUS: Duration = Duration::from_secs(20);

#[derive(Debug, Default)]
struct Shared {
    evidence: Option<Evidence>,
    trouble: Option<String>,
}

/// The connection; dropping it ends its thread at the next answer.
pub(super) struct Link {
    shared: Arc<Mutex<Shared>>,
    stop: Arc<AtomicBool>,
    aborts: Aborts,
}

/// Counts the beginnings and the ends of our own requests to stop the run: odd while one is under way.
#[derive(Clone, Default)]
struct Aborts(Arc<AtomicUsize>);

impl Aborts {
    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    /// No request was under way at any moment since `before` was counted.
    fn none_since(&self, before: usize) -> bool {
        before.is_multiple_of(2) && self.count() == before
    }
}

/// While it lives, a failure that is seen is not believed.
pub(super) struct Hold(Aborts);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Link {
    /// Starts following a run; `waker` is woken by every piece of news.
    pub(super) fn start(home: Home, endpoint: Endpoint, run: RunRef, waker: Waker) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let aborts = Aborts::default();
        let follower = Follower {
            home,
            endpoint,
            run,
            waker,
            shared: Arc::clone(&shared),
            stop: Arc::clone(&stop),
            aborts: aborts.clone(),
            left_behind_since: None,
            ended_since: None,
            quiet: Quiet::default(),
        };
        thread::spawn(move || follower.follow());
        Self {
            shared,
            stop,
            aborts,
        }
    }

    /// To be held while the run is asked to stop. The gateway tells everybody of the end at once, and writes down what the
    /// run had said before it answers the request: only then is the failure complete.
    pub(super) fn hold(&self) -> Hold {
        self.aborts.0.fetch_add(1, Ordering::SeqCst);
        Hold(self.aborts.clone())
    }

    /// The latest evidence.
    pub(super) fn evidence(&self) -> io::Result<Evidence> {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match (&shared.evidence, &shared.trouble) {
            (Some(evidence), None) => Ok(evidence.clone()),
            (Some(evidence), Some(_)) if evidence.settled.is_some() => Ok(evidence.clone()),
            (_, Some(trouble)) => Err(io::Error::other(trouble.clone())),
            (None, None) => Ok(Evidence::unknown()),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

struct Follower {
    home: Home,
    endpoint: Endpoint,
    run: RunRef,
    waker: Waker,
    shared: Arc<Mutex<Shared>>,
    stop: Arc<AtomicBool>,
    aborts: Aborts,
    left_behind_since: Option<Instant>,
    ended_since: Option<Instant>,
    quiet: Quiet,
}

impl Follower {
    fn follow(mut self) {
        let mut failures = 0;
        while !self.stop.load(Ordering::SeqCst) {
            match self.stay_connected(&mut failures) {
                Ok(()) => return,
                Err(e) => self.tell(None, Some(e.to_string())),
            }
            let last = RECONNECT_PAUSES_MS.len() - 1;
            let pause = RECONNECT_PAUSES_MS
                .get(failures.min(last))
                .copied()
                .unwrap_or(5_000);
            failures += 1;
            let mut pause = Duration::from_millis(pause);
            if self.endpoint.transport != Transport::WebSocket {
                pause = pause.max(COSTLY_SOON);
            }
            thread::sleep(pause);
        }
    }

    /// Asks until the run is settled or the connection breaks.
    fn stay_connected(&mut self, failures: &mut usize) -> Result<(), GatewayError> {
        let mut client = Client::reopen(&self.endpoint, CONNECT_LIMIT)?;
        let (soon_pause, wait_slice) = match client.is_costly() {
            true => (COSTLY_SOON, COSTLY_WAIT_SLICE),
            false => (SOON, WAIT_SLICE),
        };
        let mut slice = Duration::ZERO;
        loop {
            let aborts = self.aborts.count();
            let seen = look(&self.home, &mut client, &self.run, slice)?;
            *failures = 0;
            let mut evidence = self.weigh(&seen, client.generation());
            if self.quiet.is_to_be_asked(&evidence, self.home.now_ms()) {
                let all = messages(&mut client, &self.run.session_key)?;
                self.quiet.learn(AtWork::of(all, &self.run));
            }
            self.quiet.known().show(&mut evidence);
            if matches!(evidence.settled, Some(Settled::Failed { .. }))
                && !self.aborts.none_since(aborts)
            {
                evidence.settled = None;
            }
            let is_settled = evidence.settled.is_some();
            self.tell(Some(evidence), None);
            if is_settled || self.stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            // An end that is not told yet, or a session left behind, is looked at again soon; a wait would return at once.
            let is_told = seen.is_ended() || seen.wait.ended_at.is_some();
            let soon = is_told || seen.is_left_behind() || seen.row.is_none();
            if soon {
                thread::sleep(soon_pause);
            }
            slice = if soon { Duration::ZERO } else { wait_slice };
        }
    }

    /// What can be believed already.
    fn weigh(&mut self, seen: &Seen, generation: Generation) -> Evidence {
        let mut evidence = evidence(seen);
        let failed = matches!(evidence.settled, Some(Settled::Failed { .. }));
        // The transcript of the older generation may lack the reply, or what there was of it.
        let store_is_late = generation == Generation::Files && seen.is_active != Some(false);
        if (failed && (store_is_late || seen.is_unexplained())) || seen.is_unproven() {
            let since = *self.ended_since.get_or_insert_with(Instant::now);
            if since.elapsed() < LATE_STATUS {
                evidence.settled = None;
            }
        }
        if !seen.is_ended() {
            self.ended_since = None;
        }
        match seen.is_left_behind() {
            false => self.left_behind_since = None,
            true => {
                let since = *self.left_behind_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= LEFT_BEHIND_PATIENCE {
                    evidence.settled = Some(left_behind(seen));
                }
            }
        }
        evidence
    }

    fn tell(&self, evidence: Option<Evidence>, trouble: Option<String>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if evidence.is_some() {
            shared.evidence = evidence;
        }
        shared.trouble = trouble;
        drop(shared);
        self.waker.wake();
    }
}

/// A run that the gateway's restart cut; a reply that was complete before counts.
pub fn left_behind(seen: &Seen) -> Settled {
    match &seen.turn {
        Turn::Reply(reply) => Settled::Reply {
            text: Text::Inline(reply.text.clone()),
            truncated: reply.truncated,
            at_ms: reply.timestamp_ms.unwrap_or(seen.now_ms),
        },
        _ => Settled::Failed {
            failure: Failure::new(
                FailureKind::GatewayRestart,
                match seen.task.as_ref().and_then(|task| task.error.as_deref()) {
                    Some(words) => format!("the gateway was restarted: {words}"),
                    None => "the gateway was restarted and no longer works on the run".to_owned(),
                },
                seen.now_ms,
            ),
            partial: Text::Inline(match &seen.turn {
                Turn::Failed(failed) => failed.partial.clone(),
                _ => String::new(),
            }),
            cancelled: false,
        },
    }
}
