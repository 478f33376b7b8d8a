//! The outbox: which records a change of an entry owes to its targets.
//!
//! This file and [`outbox`] are pure; [`sinks`] alone sends anything anywhere. Records are written in the same ledger write
//! as the change that they tell of.

pub mod outbox;
pub mod sinks;

use crate::record::{Content, Delivery, DeliveryKind, DeliveryState, Entry, Status};
use crate::shell;

/// The target of a foreground watcher.
pub const STDOUT: &str = "stdout";

/// The channel of targets that are names of the configuration (`@name`) and led to nobody when they were recorded: each
/// try looks them up anew.
pub const ALIAS: &str = "alias";

/// The target of what was recorded while nobody could read whom the configuration's `deliverTo` names: each try looks
/// there anew.
pub const CONFIGURED: &str = "config:deliverTo";

/// The channel of targets that are sessions.
pub const WAKE: &str = "wake";

/// Where other tools, too, note that a completion was delivered.
const TOLD_AT: &str = "completionDeliveredAt";

/// So many delivered notes stay in an entry.
const KEPT_NOTES: usize = 10;

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

/// The session that asked for the work, as a target: it hears of the end, not of what comes before.
fn requester(entry: &Entry, kind: DeliveryKind) -> Option<String> {
    let key = entry.text("requester").filter(|_| !kind.is_progress())?;
    Some(format!("{WAKE}:{key}"))
}

/// Adds the records that telling `kind` needs: one per target of the entry and one for the session that asked, none
/// twice, none where the mode is `none`.
pub fn owe(label: &str, entry: &mut Entry, kind: DeliveryKind, content: &Content, now_ms: i64) {
    for target in audience(entry, kind) {
        owe_to(label, entry, kind, &target, content, now_ms);
    }
}

/// As [`owe`], to the stdout of a foreground watcher, which is then the run's only sink whatever its mode.
pub fn owe_stdout(
    label: &str,
    entry: &mut Entry,
    kind: DeliveryKind,
    content: &Content,
    now_ms: i64,
) {
    owe_to(label, entry, kind, STDOUT, content, now_ms);
}

fn owe_to(
    label: &str,
    entry: &mut Entry,
    kind: DeliveryKind,
    target: &str,
    content: &Content,
    now_ms: i64,
) {
    let key = Delivery::key_of(label, entry.generation(), entry.attempt(), kind, target);
    owe_under(entry, key, kind, target, content, now_ms);
}

fn owe_under(
    entry: &mut Entry,
    key: String,
    kind: DeliveryKind,
    target: &str,
    content: &Content,
    now_ms: i64,
) {
    if !entry.deliveries().iter().any(|other| other.key == key) {
        let mut record = Delivery::new(key, kind, target, content.clone(), now_ms);
        record.may_be_repeat = entry.is_in_doubt();
        entry.put_delivery(&record);
    }
}

/// Adds the records of a failure that a retry follows, for the targets that hear of everything. Their keys are not those of
/// the end: should the same attempt be the last after all, that is told beside it.
pub fn owe_passing_failure(label: &str, entry: &mut Entry, content: &Content, now_ms: i64) {
    let kind = DeliveryKind::Failure;
    for target in targets(entry) {
        let key = Delivery::key_of(label, entry.generation(), entry.attempt(), kind, &target);
        owe_under(
            entry,
            format!("{key}#retry"),
            kind,
            &target,
            content,
            now_ms,
        );
    }
}

/// Puts off what tells of the result, and was never tried, until `until_ms`: by then better words may have come.
pub fn hold_results(entry: &mut Entry, until_ms: i64) {
    for mut record in entry.deliveries() {
        if is_untried_result(&record) && record.next_at.is_none() {
            record.next_at = Some(until_ms);
            entry.put_delivery(&record);
        }
    }
}

/// Has what was put off told now, with `content` where better words have come. Says whether there was anything.
pub fn release_results(entry: &mut Entry, content: Option<&Content>) -> bool {
    let held = entry.deliveries().into_iter();
    let held: Vec<Delivery> = held
        .filter(|record| is_untried_result(record) && record.next_at.is_some())
        .collect();
    for record in &held {
        let mut record = record.clone();
        record.next_at = None;
        if let Some(content) = content {
            record.content = content.clone();
        }
        entry.put_delivery(&record);
    }
    !held.is_empty()
}

fn is_untried_result(record: &Delivery) -> bool {
    record.kind == DeliveryKind::Result
        && record.state == DeliveryState::Pending
        && record.attempts == 0
}

/// Adds a note. Each has a number of its own, so that two notes with one text are two.
pub fn owe_note(label: &str, entry: &mut Entry, content: &Content, now_ms: i64) -> u64 {
    let number = entry.number("noteCount").unwrap_or(0) + 1;
    entry.set("noteCount", number);
    if DeliveryMode::from_text(entry.text("deliveryMode")) == DeliveryMode::None {
        return number;
    }
    for target in targets(entry) {
        let kind = DeliveryKind::Note;
        let key = Delivery::key_of(label, entry.generation(), entry.attempt(), kind, &target);
        let record = Delivery::new(
            format!("{key}#{number}"),
            kind,
            &target,
            content.clone(),
            now_ms,
        );
        entry.put_delivery(&record);
    }
    forget_old_notes(entry);
    number
}

/// Delivered notes are of no use for long; a chatty session must not make the ledger grow.
fn forget_old_notes(entry: &mut Entry) {
    let mut delivered: Vec<String> = entry
        .deliveries()
        .into_iter()
        .filter(|d| d.kind == DeliveryKind::Note && d.state == DeliveryState::Delivered)
        .map(|d| d.key)
        .collect();
    delivered.truncate(delivered.len().saturating_sub(KEPT_NOTES));
    for key in delivered {
        entry.remove_delivery(&key);
    }
}

/// Marks what the entry's own generation owed to a stdout as delivered. Says whether there was anything.
pub fn settle_stdout(label: &str, entry: &mut Entry) -> bool {
    let mut settled = false;
    for mut delivery in owed_to_stdout(label, entry) {
        delivery.state = DeliveryState::Delivered;
        delivery.attempts += 1;
        entry.put_delivery(&delivery);
        settled = true;
    }
    settled
}

/// What the entry's own generation still owes to a stdout: what it carries of an older one was never printed.
fn owed_to_stdout(label: &str, entry: &Entry) -> Vec<Delivery> {
    let own = format!("{label}/{}/", entry.generation());
    let mut records = entry.deliveries();
    records.retain(|d| d.target == STDOUT && d.is_open() && d.key.starts_with(&own));
    records
}

/// Why a stdout did not take what it was to have, where its watcher was killed.
pub const PRINTER_GONE: &str = "the watcher that was to print it is gone";

/// What the stdout of a foreground watcher did not take goes to whom the entry names, each under a record of its own;
/// `may_be_seen` says that some of it could have been read. Where it names nobody the record is parked, with `why` and what
/// to do. Returns the targets; `None` when nothing was owed to a stdout.
pub fn pass_on_stdout(
    label: &str,
    entry: &mut Entry,
    why: &str,
    may_be_seen: bool,
    now_ms: i64,
) -> Option<Vec<String>> {
    let mut unprinted = entry.deliveries();
    unprinted.retain(|d| d.target == STDOUT && d.is_open());
    if unprinted.is_empty() {
        return None;
    }
    let mut told: Vec<String> = Vec::new();
    for mut record in unprinted {
        record.may_be_repeat |= may_be_seen;
        let audience = audience(entry, record.kind);
        if audience.is_empty() {
            if record.state != DeliveryState::Parked {
                record.state = DeliveryState::Parked;
                record.attempts += 1;
                record.next_at = None;
                record.last_error = Some(format!("{why}, and {}", nobody_else(label)));
            }
            entry.put_delivery(&record);
            continue;
        }
        entry.remove_delivery(&record.key);
        let head = record.key.strip_suffix(STDOUT).unwrap_or(&record.key);
        for target in audience {
            let key = format!("{head}{target}");
            if !entry.deliveries().iter().any(|other| other.key == key) {
                let content = record.content.clone();
                let mut passed_on = Delivery::new(key, record.kind, &target, content, now_ms);
                passed_on.may_be_repeat = record.may_be_repeat;
                entry.put_delivery(&passed_on);
            }
            if !told.contains(&target) {
                told.push(target);
            }
        }
    }
    Some(told)
}

/// Takes out what is owed to whomever the configuration names, and the target with it, because it names nobody: the entry
/// is then as if that had been known from the first. Returns the records.
pub fn settle_unnamed(entry: &mut Entry) -> Vec<Delivery> {
    let mut records = entry.deliveries();
    records.retain(|record| {
        record.target == CONFIGURED && record.is_open() && record.state != DeliveryState::Sending
    });
    for record in &records {
        entry.remove_delivery(&record.key);
    }
    if !records.is_empty() && targets(entry) == [CONFIGURED] {
        for field in ["deliverTo", "deliverChannel", "deliveryMode"] {
            entry.clear(field);
        }
    }
    records
}

/// Somebody is named who would hear of what the entry's own generation owes to a stdout.
pub fn has_other_audience(label: &str, entry: &Entry) -> bool {
    owed_to_stdout(label, entry)
        .iter()
        .any(|delivery| !audience(entry, delivery.kind).is_empty())
}

/// Whom an entry names to hear of `kind`, whatever watches it.
fn audience(entry: &Entry, kind: DeliveryKind) -> Vec<String> {
    if DeliveryMode::from_text(entry.text("deliveryMode")) == DeliveryMode::None {
        return Vec::new();
    }
    let own = targets(entry).into_iter();
    own.chain(requester(entry, kind)).collect()
}

/// What to do with a text that a stdout did not take and nobody else is to hear.
pub fn nobody_else(label: &str) -> String {
    let label = shell::label(label);
    format!(
        "the label names nobody else to hear it; print it with: watcher {label}; or read it with: dispatch result {label}"
    )
}

/// How the reason begins of a record that was parked because its watcher knew of no gateway.
const NO_GATEWAY: &str = "the environment of its watcher names no OpenClaw gateway";

/// Why a record for `channel` cannot be sent by a watcher that knows of no gateway, and what to do.
pub fn no_gateway(channel: &str) -> String {
    format!(
        "{NO_GATEWAY}, through which {channel} is reached; set OPENCLAW_GATEWAY_URL and OPENCLAW_GATEWAY_TOKEN where you send it again"
    )
}

/// The record was parked because its watcher knew of no gateway; whoever knows of one can have it sent.
pub fn lacks_gateway(record: &Delivery) -> bool {
    let why = record.last_error.as_deref().unwrap_or_default();
    record.state == DeliveryState::Parked && why.starts_with(NO_GATEWAY)
}

/// Carries what an older generation still owes into its successor, so that no record is dropped by overwriting it.
pub fn carry_over(old: &Entry, new: &mut Entry) {
    for delivery in old.deliveries() {
        if delivery.is_open() {
            new.put_delivery(&delivery);
        }
    }
}

/// Some record of the entry is to be sent: by a watcher, which is to be started where none is. One that a foreground
/// watcher left unprinted is among them.
pub fn is_owed(entry: &Entry) -> bool {
    entry.deliveries().iter().any(Delivery::is_to_be_sent)
}

/// The end of the entry's own generation waits for a reader of a foreground watcher's stdout.
pub fn is_owed_to_stdout(label: &str, entry: &Entry) -> bool {
    !owed_to_stdout(label, entry).is_empty()
}

/// What there is to print of an ended label for whoever delivers the stdout of repeated looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Telling {
    /// Its end has reached somebody.
    Done,
    /// The outbox sees to it: the targets that it goes to.
    UnderWay(String),
    /// Nobody has it, and nobody brings it.
    Due,
}

/// Whether an ended label's last word is still to be told. Only what tells of this very end counts: a correction is told
/// although the failure before it was. Pure.
pub fn telling(label: &str, entry: &Entry) -> Telling {
    let is_done = entry.status() == Status::Done;
    let own = format!("{label}/{}/{}/", entry.generation(), entry.attempt());
    let tells = |d: &Delivery| {
        let kind = match d.kind {
            DeliveryKind::Result | DeliveryKind::Correction => is_done,
            DeliveryKind::Failure => !is_done && !d.key.ends_with("#retry"),
            _ => false,
        };
        // Who asked is woken beside the others.
        kind && d.key.starts_with(&own) && !d.target.starts_with(&format!("{WAKE}:"))
    };
    let mut records = entry.deliveries();
    records.retain(tells);
    if records.iter().any(|d| d.target == STDOUT && d.is_open()) {
        return Telling::Due;
    }
    let under_way: Vec<&str> = records
        .iter()
        .filter(|d| d.is_to_be_sent())
        .map(|d| d.target.as_str())
        .collect();
    if !under_way.is_empty() {
        return Telling::UnderWay(under_way.join(", "));
    }
    let is_delivered = records.iter().any(|d| d.state == DeliveryState::Delivered);
    let end = entry.time("endedAt").max(entry.time("spawnedAt"));
    let is_marked = entry.time(TOLD_AT).is_some_and(|at| Some(at) >= end);
    match is_delivered || is_marked {
        true => Telling::Done,
        false => Telling::Due,
    }
}

/// Marks that the label's end was printed, as other tools that print it mark it.
pub fn mark_told(label: &str, entry: &mut Entry, now_ms: i64) {
    settle_stdout(label, entry);
    entry.set_time(TOLD_AT, now_ms);
    entry.set("completionDeliverySource", "watcher");
}
#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
