//! Requests to stop or to look, and a signal that must not stop anything.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGURG, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

/// A request to stop, to read the configuration again, or to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM: hand over and leave.
    Terminate,
    /// SIGINT: the person at the terminal leaves.
    Interrupt,
    /// SIGHUP: read the configuration again.
    HangUp,
    /// SIGURG: something has changed. A process that does not listen to it is not harmed by it.
    Look,
}

/// A write beyond the limit on file sizes (`ulimit -f`) fails with EFBIG, like any other failing write, where the default
/// action would kill the process in the middle of it. Children get the default action back.
///
/// # Errors
/// When the handler cannot be installed.
pub fn survive_size_limits() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(|_| ())
}

/// Ends this process by the default action of a signal that it has caught, so that whoever waits for it sees which one it
/// was: a shell reports 130 after SIGINT and 143 after SIGTERM.
pub fn die_of(signal: StopSignal) {
    let number = match signal {
        StopSignal::Terminate => SIGTERM,
        StopSignal::Interrupt => SIGINT,
        StopSignal::HangUp => SIGHUP,
        StopSignal::Look => SIGURG,
    };
    // A system that refuses it leaves the caller to end in its own way.
    let _ = emulate_default_handler(number);
}

/// Calls `heard` on a thread of its own for every SIGTERM, SIGINT, SIGHUP and SIGURG. Children get the default actions back.
///
/// # Errors
/// When the handlers cannot be installed.
pub fn on_stop_signals(heard: impl Fn(StopSignal) + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGURG])?;
    thread::Builder::new()
        .name("signals".to_owned())
        .stack_size(64 * 1024)
        .spawn(move || {
            for signal in signals.forever() {
                heard(match signal {
                    SIGINT => StopSignal::Interrupt,
                    SIGHUP => StopSignal::HangUp,
                    SIGURG => StopSignal::Look,
                    _ => StopSignal::Terminate,
                });
            }
        })
        .map(|_| ())
}
