//! Lifecycle events: what became of labels, told to whoever the operator named.
//!
//! Each write of the ledger is compared with what was there before, so that no command and no program can end a label
//! unheard. Events are appended to the history first; where receivers are configured a detached child sends them from there, and
//! no command waits for it. Limitations: best effort. An event is tried once; a crash between the ledger's write and the
//! history's loses it, and events older than ten minutes are not sent any more. Completions do not travel this way: those are
//! the outbox's, which loses nothing.

mod change;
mod event;
mod history;
mod loki;
mod receivers;
mod sender;

use std::process::Command;

pub use self::event::{Event, EventKind};
pub use self::history::History;
pub use self::sender::{log_path, send_new, unheard};

use crate::home::Home;
use crate::process::spawn_detached;
use crate::record::Change;

/// What the child that sends events is called on the command line of `dispatch`.
pub const SENDER: &str = "send-events";

/// Hears of the ledger's changes: the witness of every program that writes.
pub fn witness(home: &Home, changes: &[Change]) {
    let host = host(home);
    let events: Vec<Event> = changes
        .iter()
        .flat_map(|one| change::events_of(one, &host, home.now_ms()))
        .collect();
    tell(home, &events);
}

/// Takes events into the history and has them sent. What goes wrong is a line on stderr, never an error.
pub fn tell(home: &Home, events: &[Event]) {
    if events.is_empty() {
        return;
    }
    let history = History::of(home);
    if let Err(e) = history.append(events) {
        home.say(&format!(
            "cannot write the history {}: {e}; the event is lost, and nothing else",
            history.path().display()
        ));
        return;
    }
    if home.config.events.is_anybody() && !sender::is_about_to_send(home) {
        start_sender(home);
    }
}

/// The machine's name in events: `DISPATCH_HOST`, else the system's.
pub fn host(home: &Home) -> String {
    let named = (home.environment)("DISPATCH_HOST").and_then(|name| name.into_string().ok());
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| {
        let system = rustix::system::uname();
        system.nodename().to_string_lossy().into_owned()
    })
}

fn start_sender(home: &Home) {
    let mut command = Command::new(&home.programs.dispatch);
    command
        .arg(SENDER)
        .envs(home.paths.exports.iter().map(|(name, path)| (name, path)))
        .current_dir("/");
    match sender::log(home).and_then(|log| spawn_detached(command, Some(log))) {
        Ok(child) => child.reap_when_ended(),
        Err(e) => home.say(&format!("cannot send events: {e}; the history has them")),
    }
}
