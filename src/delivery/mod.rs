//! The outbox: which records a change of an entry owes to its targets. Pure.
//!
//! Records are written in the same ledger write as the change that they tell of.

use crate::record::{Delivery, DeliveryKind, DeliveryState, Entry};

/// The target of a foreground watcher.
pub const STDOUT: &str = "stdout";

/// What an entry's `deliveryMode` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryMode {
    /// The result, or the final failure.
    Announce,
    /// Also the start and each retry.
    AnnounceAlways,
    /// Nothing: it stays in the ledger.
    None,
}

impl DeliveryMode {
    /// The mode of that name; an unknown one in a foreign ledger announces, as the tools that wrote it did.
    pub fn from_text(text: Option<&str>) -> Self {
        match text {
            Some("none") => DeliveryMode::None,
            Some("announce-always") => DeliveryMode::AnnounceAlways,
            _ => DeliveryMode::Announce,
        }
    }
}

/// The targets of an entry, as `<channel>:<target>`.
pub fn targets(entry: &Entry) -> Vec<String> {
    let Some(to) = entry.text("deliverTo") else {
        return Vec::new();
    };
    let channel = entry.text("deliverChannel").unwrap_or("telegram");
    vec![format!("{channel}:{to}")]
}

/// Adds the records that telling `kind` needs: one per target of the entry, none twice, none where the mode is `none`.
pub fn owe(label: &str, entry: &mut Entry, kind: DeliveryKind) {
    if DeliveryMode::from_text(entry.text("deliveryMode")) == DeliveryMode::None {
        return;
    }
    let targets = targets(entry);
    owe_to(label, entry, kind, &targets);
}

/// As [`owe`], to the stdout of a foreground watcher, which is then the run's only sink whatever its mode.
pub fn owe_stdout(label: &str, entry: &mut Entry, kind: DeliveryKind) {
    owe_to(label, entry, kind, &[STDOUT.to_owned()]);
}

/// Marks what was owed to a stdout as delivered. Says whether there was anything.
pub fn settle_stdout(entry: &mut Entry) -> bool {
    let mut settled = false;
    for mut delivery in entry.deliveries() {
        if delivery.target == STDOUT && delivery.is_open() {
            delivery.state = DeliveryState::Delivered;
            delivery.attempts += 1;
            entry.put_delivery(&delivery);
            settled = true;
        }
    }
    settled
}

fn owe_to(label: &str, entry: &mut Entry, kind: DeliveryKind, targets: &[String]) {
    let known = entry.deliveries();
    for target in targets {
        let record = Delivery::new(label, entry.generation(), entry.attempt(), kind, target);
        if !known.iter().any(|other| other.key == record.key) {
            entry.put_delivery(&record);
        }
    }
}

/// Carries what an older generation still owes into its successor, so that no record is dropped by overwriting it.
pub fn carry_over(old: &Entry, new: &mut Entry) {
    for delivery in old.deliveries() {
        if delivery.is_open() {
            new.put_delivery(&delivery);
        }
    }
}

/// Some record of the entry has not reached its target.
pub fn is_owed(entry: &Entry) -> bool {
    entry.deliveries().iter().any(Delivery::is_open)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Generation;

    fn entry(mode: &str) -> Entry {
        let mut e = Entry::new();
        e.set_generation(Generation::new(5));
        e.set("deliverTo", "-100");
        e.set("deliverChannel", "telegram");
        e.set("deliveryMode", mode);
        e
    }

    #[test]
    fn each_target_is_owed_one_record_a_kind_however_often_it_is_asked() {
        let mut e = entry("announce");
        owe("l", &mut e, DeliveryKind::Result);
        owe("l", &mut e, DeliveryKind::Result);
        owe("l", &mut e, DeliveryKind::Correction);
        let keys: Vec<String> = e.deliveries().into_iter().map(|d| d.key).collect();
        assert_eq!(
            keys,
            [
                "l/5/1/result/telegram:-100",
                "l/5/1/correction/telegram:-100"
            ]
        );
    }

    #[test]
    fn mode_none_and_no_target_owe_nothing() {
        let mut e = entry("none");
        owe("l", &mut e, DeliveryKind::Result);
        assert!(!is_owed(&e));
        let mut e = entry("announce");
        e.clear("deliverTo");
        owe("l", &mut e, DeliveryKind::Result);
        assert!(!is_owed(&e));
    }

    #[test]
    fn a_new_generation_carries_what_is_open_and_only_that() {
        let mut old = entry("announce");
        owe("l", &mut old, DeliveryKind::Failure);
        owe("l", &mut old, DeliveryKind::Correction);
        let mut sent = old.deliveries().remove(0);
        sent.state = DeliveryState::Delivered;
        old.put_delivery(&sent);
        let mut new = entry("announce");
        carry_over(&old, &mut new);
        assert_eq!(new.deliveries().len(), 1);
        assert!(is_owed(&new));
    }
}
