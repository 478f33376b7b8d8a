//! What signals ask of a watcher's process, heard by all watches in it.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::home::Home;
use crate::process::{StopSignal, on_stop_signals};
use crate::wake::Waker;

/// The orders that a process is given. Clones hear the same.
#[derive(Clone, Default)]
pub struct Orders(Arc<Shared>);

#[derive(Default)]
struct Shared {
    stop: Mutex<Option<StopSignal>>,
    reread: AtomicBool,
    listeners: Mutex<Vec<(u64, Waker)>>,
}

/// While it lives, its waker is woken by every order.
#[must_use = "nobody is woken any more as soon as this is dropped"]
pub struct Listener {
    orders: Orders,
    number: u64,
}

impl Orders {
    /// Orders that nobody gives: signals do what they do by default.
    pub fn none() -> Self {
        Self::default()
    }

    /// Listens to SIGTERM and SIGINT (leave), SIGHUP (read the configuration again) and SIGURG (look) from now on.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn listen() -> io::Result<Self> {
        let orders = Self::default();
        let heard = orders.clone();
        on_stop_signals(move |signal| heard.take(signal))?;
        Ok(orders)
    }

    fn take(&self, signal: StopSignal) {
        match signal {
            StopSignal::Terminate | StopSignal::Interrupt => {
                self.stop().get_or_insert(signal);
            }
            StopSignal::HangUp => self.0.reread.store(true, Ordering::SeqCst),
            StopSignal::Look => {}
        }
        for (_, waker) in self.listeners().iter() {
            waker.wake();
        }
    }

    fn listeners(&self) -> MutexGuard<'_, Vec<(u64, Waker)>> {
        // Every step leaves the list whole.
        let listeners = self.0.listeners.lock();
        listeners.unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `waker` woken by orders.
    pub fn wake(&self, waker: Waker) -> Listener {
        let mut listeners = self.listeners();
        let number = listeners.last().map_or(0, |(last, _)| last + 1);
        listeners.push((number, waker));
        drop(listeners);
        Listener {
            orders: self.clone(),
            number,
        }
    }

    /// The process is to leave.
    pub fn to_stop(&self) -> bool {
        self.stopped_by().is_some()
    }

    /// The first signal that told the process to leave.
    pub fn stopped_by(&self) -> Option<StopSignal> {
        *self.stop()
    }

    fn stop(&self) -> MutexGuard<'_, Option<StopSignal>> {
        // It is written in one step.
        self.0.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the configuration again if that was asked for since the last time.
    pub fn reread(&self, home: &Home) {
        if self.0.reread.swap(false, Ordering::SeqCst) {
            home.reread_config();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let number = self.number;
        self.orders.listeners().retain(|(n, _)| *n != number);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wake::{Wake, Woke};

    #[test]
    fn every_listener_hears_an_order_until_it_is_gone() {
        let orders = Orders::none();
        let mut wakes = [Wake::new(), Wake::new(), Wake::new()];
        let mut listeners: Vec<Listener> =
            wakes.iter().map(|wake| orders.wake(wake.waker())).collect();
        drop(listeners.remove(1));
        orders.take(StopSignal::HangUp);
        assert!(!orders.to_stop());
        orders.take(StopSignal::Interrupt);
        orders.take(StopSignal::Terminate);
        assert!(orders.to_stop());
        assert_eq!(orders.stopped_by(), Some(StopSignal::Interrupt));
        let woken = wakes.each_mut().map(|wake| wake.wait(Duration::ZERO));
        assert_eq!(woken, [Woke::Event, Woke::Timeout, Woke::Event]);
    }

    #[test]
    fn a_number_is_not_given_to_two_listeners() {
        let orders = Orders::none();
        let wake = Wake::new();
        let first = orders.wake(wake.waker());
        let second = orders.wake(wake.waker());
        drop(first);
        let third = orders.wake(wake.waker());
        assert_ne!(second.number, third.number);
        drop(second);
        assert_eq!(orders.listeners().len(), 1);
    }
}
