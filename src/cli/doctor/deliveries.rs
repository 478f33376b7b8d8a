//! Deliveries that were given up, or are tried in vain, or that nobody sends.

use super::findings::Findings;
use super::watchers::unchanged;
use crate::cli::views;
use crate::delivery::{STDOUT, is_owed};
use crate::home::Home;
use crate::ledger::{Book, Ledger};
use crate::record::DeliveryState;
use crate::shell;
use crate::watchers::Post;

/// A delivery that is tried for longer than this is told of: a chat or a gateway that restarts is back by then.
const SLOW_DELIVERY_MS: i64 = 10 * 60_000;

pub(super) fn check(home: &Home, ledger: &Ledger, book: &Book, found: &mut Findings) {
    let now_ms = home.now_ms();
    let mut unsent = Vec::new();
    for (label, entry) in book.entries_containing("\"deliveries\"") {
        let deliveries = entry.deliveries();
        for delivery in &deliveries {
            if delivery.state != DeliveryState::Parked {
                continue;
            }
            let why = delivery
                .last_error
                .as_deref()
                .unwrap_or("no reason is recorded");
            // What a stdout did not take says itself what to do.
            if delivery.target == STDOUT {
                found.wrong("delivery", format!("label \"{label}\": {why}"));
                continue;
            }
            let what = format!("label \"{label}\": to {} parked: {why}", delivery.target);
            found.wrong("delivery", what).todo(format!(
                "mend that, then run: dispatch redeliver {}",
                shell::label(label)
            ));
        }
        for delivery in &deliveries {
            let waits = matches!(
                delivery.state,
                DeliveryState::Retrying | DeliveryState::Unknown
            );
            if waits && now_ms.saturating_sub(delivery.at) >= SLOW_DELIVERY_MS {
                let line = views::open_delivery_line(delivery, now_ms);
                found
                    .wrong("delivery", format!("label \"{label}\": {line}"))
                    .todo(format!(
                        "mend that, or try at once: dispatch redeliver {}",
                        shell::label(label)
                    ));
            }
        }
        let waits = is_owed(&entry) && entry.status().is_ended();
        if waits
            && !found.started.iter().any(|started| started == label)
            && !Post::of(home, label, entry.generation()).is_held()
        {
            unsent.push((label.to_owned(), entry));
        }
    }
    for (label, entry) in unchanged(ledger, unsent) {
        if !Post::of(home, &label, entry.generation()).is_held() {
            let what = format!("label \"{label}\" owes a delivery and nobody sends it");
            found
                .wrong("delivery", what)
                .todo("'529-recovery' starts a watcher, and so does: dispatch doctor --repair");
        }
    }
    found.fine_else("delivery", "none is parked or late");
}
