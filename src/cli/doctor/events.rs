//! Whether those who are told of events hear of them.

use super::findings::Findings;
use crate::events;
use crate::home::Home;

pub(super) fn check(home: &Home, found: &mut Findings) {
    if !home.config.events.is_anybody() {
        return found.fine("events", "nobody is to be told");
    }
    match events::unheard(home) {
        Some(line) => found.warn("events", line).todo(format!(
            "mend the receiver; the next event that it takes settles this. More of it is in {}; the events are in {}",
            events::log_path(home).display(),
            events::History::of(home).path().display()
        )),
        None => found.fine("events", "the last ones were heard"),
    }
}
