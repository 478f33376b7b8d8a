//! One label's entry in the ledger.
//!
//! An entry is kept as the JSON object it was read from: known fields are read and written through typed methods, and
//! whatever another tool wrote beside them survives every rewrite, in its place. A known field with a value of an
//! unexpected type reads as absent and is left alone.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    Baseline, Claim, Delivery, Failure, FallbackUse, Generation, OlderRun, Phase, Selection,
    Status, Steer, time,
};

/// The most bytes of any one text in the ledger; the whole is in the artifact or the prompt file.
pub const MAX_TEXT_BYTES: usize = 2048;

/// A label's entry.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    fields: Map<String, Value>,
}

/// Cuts a text to at most `limit` bytes at a character boundary, with an ellipsis where something was cut.
pub fn clip_text(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut cut = text.get(..end).unwrap_or_default().to_owned();
    cut.push('…');
    cut
}

impl Entry {
    /// An entry with no fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// An entry from the object in the ledger.
    pub fn from_fields(fields: Map<String, Value>) -> Self {
        Self { fields }
    }

    /// The object as it goes into the ledger.
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// Any field as a text; an empty one counts as absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields
            .get(name)?
            .as_str()
            .filter(|text| !text.is_empty())
    }

    /// Any field as a whole number.
    pub fn number(&self, name: &str) -> Option<u64> {
        let value = self.fields.get(name)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    }

    /// Any field as a time, in ms since the epoch.
    pub fn time(&self, name: &str) -> Option<i64> {
        time::parse(self.fields.get(name)?)
    }

    /// Any field as it stands.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// A typed object field; absent when it does not have that shape.
    fn object<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        T::deserialize(self.fields.get(name)?).ok()
    }

    /// Sets a field, keeping its place when it exists.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), value.into());
    }

    /// Sets a text field, cut to [`MAX_TEXT_BYTES`].
    pub fn set_text(&mut self, name: &str, text: &str) {
        self.set(name, clip_text(text, MAX_TEXT_BYTES));
    }

    /// Sets a time field as ISO 8601 text.
    pub fn set_time(&mut self, name: &str, ms: i64) {
        self.set(name, time::iso(ms));
    }

    /// Removes a field.
    pub fn clear(&mut self, name: &str) {
        self.fields.shift_remove(name);
    }

    fn set_object(&mut self, name: &str, value: &impl Serialize) {
        if let Ok(value) = serde_json::to_value(value) {
            self.set(name, value);
        }
    }

    /// The status; an entry without one is foreign and shown as `unknown`.
    pub fn status(&self) -> Status {
        Status::from_text(self.text("status").unwrap_or("unknown"))
    }

    /// Sets the status; leaving `running` ends the phase.
    pub fn set_status(&mut self, status: &Status) {
        self.set("status", status.as_str());
        if *status != Status::Running {
            self.clear("phase");
            self.clear("retryAt");
        }
    }

    /// The phase of a running entry.
    pub fn phase(&self) -> Option<Phase> {
        Phase::from_text(self.text("phase")?)
    }

    /// Sets the phase.
    pub fn set_phase(&mut self, phase: Phase) {
        self.set("phase", phase.as_str());
    }

    /// The agent has signalled done, and the operator's verify command has not let that pass yet: of a running label, or
    /// of one that had failed before the signal came.
    pub fn is_signalled(&self) -> bool {
        matches!(
            self.status(),
            Status::Running | Status::Error | Status::Interrupted
        ) && self.phase() == Some(Phase::Verifying)
            && self.value("completion").is_some_and(Value::is_object)
    }

    /// The generation; entries of other tools have none and count as generation 0.
    pub fn generation(&self) -> Generation {
        Generation::new(self.number("generation").unwrap_or(0))
    }

    /// Sets the generation.
    pub fn set_generation(&mut self, generation: Generation) {
        self.set("generation", generation.get());
    }

    /// The attempt within the generation, from 1.
    pub fn attempt(&self) -> u32 {
        self.number("attempt")
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(1)
            .max(1)
    }

    /// How often the entry was written.
    pub fn rev(&self) -> u64 {
        self.number("rev").unwrap_or(0)
    }

    /// Why it failed.
    pub fn failure(&self) -> Option<Failure> {
        self.object("failure")
    }

    /// Records a failure and its message under `error`, where other tools look for it.
    pub fn set_failure(&mut self, failure: &Failure) {
        let mut failure = failure.clone();
        failure.message = clip_text(&failure.message, MAX_TEXT_BYTES);
        self.set_object("failure", &failure);
        self.set("error", failure.message);
    }

    /// Records why an attempt failed that is not the last one: the label has no `error` yet.
    pub fn set_passing_failure(&mut self, failure: &Failure) {
        let mut failure = failure.clone();
        failure.message = clip_text(&failure.message, MAX_TEXT_BYTES);
        self.set_object("failure", &failure);
    }

    /// The claim to the current attempt, where it is not the first.
    pub fn claim(&self) -> Option<Claim> {
        self.object("claim")
    }

    /// Records the claim; its run becomes the entry's.
    pub fn set_claim(&mut self, claim: &Claim) {
        self.set_object("claim", claim);
        self.set("attempt", claim.attempt);
        self.set("runId", claim.key.as_str());
        self.join_run(&claim.key);
    }

    /// The attempt that was made with the fallback, if one was.
    pub fn fallback_use(&self) -> Option<FallbackUse> {
        self.object("fallbackUse")
    }

    /// Records the attempt with the fallback.
    pub fn set_fallback_use(&mut self, used: &FallbackUse) {
        self.set_object("fallbackUse", used);
    }

    /// What the label was enqueued with.
    pub fn primary_selection(&self) -> Selection {
        Selection {
            model: self.text("model").map(str::to_owned),
            auth_profile: self.text("authProfile").map(str::to_owned),
        }
    }

    /// What the current attempt uses.
    pub fn selection(&self) -> Selection {
        match self.fallback_use() {
            Some(used) if used.attempt == self.attempt() => used.selection,
            _ => self.primary_selection(),
        }
    }

    fn join_run(&mut self, run_id: &str) {
        let mut runs: Vec<Value> = self.object("runIds").unwrap_or_default();
        runs.push(Value::from(run_id));
        self.set("runIds", runs);
    }

    /// What the session looked like before the run.
    pub fn baseline(&self) -> Baseline {
        self.object("baseline").unwrap_or_default()
    }

    /// Records the baseline.
    pub fn set_baseline(&mut self, baseline: &Baseline) {
        self.set_object("baseline", baseline);
    }

    /// Runs of older generations whose commands lived on when this one began, oldest first.
    pub fn older_runs(&self) -> Vec<OlderRun> {
        self.object("olderRuns").unwrap_or_default()
    }

    /// Records the runs of older generations whose commands live on.
    pub fn set_older_runs(&mut self, runs: &[OlderRun]) {
        match runs.is_empty() {
            true => self.clear("olderRuns"),
            false => self.set_object("olderRuns", &runs),
        }
    }

    /// The messages that were sent into the running session, oldest first.
    pub fn steers(&self) -> Vec<Steer> {
        self.object("steers").unwrap_or_default()
    }

    /// Records a message that is about to be sent; its run joins the entry's `runIds`.
    pub fn put_steer(&mut self, steer: &Steer) {
        let mut steers = self.steers();
        steers.push(steer.clone());
        self.set_object("steers", &steers);
        self.join_run(&steer.run_id);
    }

    /// The messages that people sent into earlier attempts, oldest first.
    pub fn earlier_steers(&self) -> Vec<Steer> {
        self.object("earlierSteers").unwrap_or_default()
    }

    /// Makes what was sent into this attempt something that the next one is to be told.
    pub fn keep_steers(&mut self) {
        let mut earlier = self.earlier_steers();
        let sent = self.steers().into_iter();
        earlier.extend(sent.filter(|steer| steer.request.is_none() && !steer.nudge));
        if !earlier.is_empty() {
            self.set_object("earlierSteers", &earlier);
        }
        self.clear("steers");
    }

    /// The watcher's order to stop the run, and why, where there is one.
    pub fn stop_order(&self) -> Option<Failure> {
        self.object("stopRequested")
    }

    /// Records that the run is to be stopped.
    pub fn set_stop_order(&mut self, why: &Failure) {
        self.set_object("stopRequested", why);
    }

    /// Takes back a message that was refused.
    pub fn remove_steer(&mut self, run_id: &str) {
        let mut steers = self.steers();
        steers.retain(|steer| steer.run_id != run_id);
        self.set_object("steers", &steers);
        if let Some(Value::Array(runs)) = self.fields.get_mut("runIds") {
            runs.retain(|run| run.as_str() != Some(run_id));
        }
    }

    /// The outbox records; elements of another shape are kept in the ledger but not listed.
    pub fn deliveries(&self) -> Vec<Delivery> {
        let Some(Value::Array(records)) = self.fields.get("deliveries") else {
            return Vec::new();
        };
        records
            .iter()
            .filter_map(|record| serde::Deserialize::deserialize(record).ok())
            .collect()
    }

    /// Adds an outbox record, or replaces the one with the same key.
    pub fn put_delivery(&mut self, delivery: &Delivery) {
        let Ok(value) = serde_json::to_value(delivery) else {
            return;
        };
        let list = self
            .fields
            .entry("deliveries")
            .or_insert_with(|| Value::Array(Vec::new()));
        if !list.is_array() {
            *list = Value::Array(Vec::new());
        }
        let Value::Array(records) = list else {
            return;
        };
        let key = Value::String(delivery.key.clone());
        match records.iter_mut().find(|r| r.get("key") == Some(&key)) {
            Some(record) => *record = value,
            None => records.push(value),
        }
    }

    /// What a lost ledger knew of the deliveries is lost with it: whatever the entry owes, now or later, may have been told
    /// before.
    pub fn doubt_deliveries(&mut self) {
        self.set("adopted", true);
        for mut record in self.deliveries() {
            if record.is_open() {
                record.may_be_repeat = true;
                self.put_delivery(&record);
            }
        }
    }

    /// Nobody knows what was told of it before.
    pub fn is_in_doubt(&self) -> bool {
        self.value("adopted") == Some(&Value::Bool(true))
    }

    /// Takes an outbox record out.
    pub fn remove_delivery(&mut self, key: &str) {
        if let Some(Value::Array(records)) = self.fields.get_mut("deliveries") {
            records.retain(|record| record.get("key").and_then(Value::as_str) != Some(key));
        }
    }

    /// Cancellation was asked for and is not settled yet.
    pub fn cancel_requested(&self) -> bool {
        match self.fields.get("cancelRequested") {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(_) => true,
        }
    }

    /// Moves `updatedAt` and `rev`: the entry is about to be written.
    pub fn touch(&mut self, now_ms: i64) {
        self.set_time("updatedAt", now_ms);
        let rev = self.rev().saturating_add(1);
        self.set("rev", rev);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Content, DeliveryKind};
    use serde_json::json;

    fn entry(value: Value) -> Entry {
        match value {
            Value::Object(fields) => Entry::from_fields(fields),
            other => panic!("no object: {other}"),
        }
    }

    #[test]
    fn unknown_fields_and_their_order_survive_typed_changes() {
        let mut e = entry(
            json!({"zeta": {"a": [1, null]}, "status": "running", "timeoutSeconds": "odd", "x": 1.5}),
        );
        e.set_status(&Status::Done);
        e.touch(0);
        let keys: Vec<_> = e.fields().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            ["zeta", "status", "timeoutSeconds", "x", "updatedAt", "rev"]
        );
        assert_eq!(e.value("zeta"), Some(&json!({"a": [1, null]})));
        assert_eq!(e.number("timeoutSeconds"), None);
        assert_eq!(e.value("timeoutSeconds"), Some(&json!("odd")));
    }

    #[test]
    fn a_delivery_is_replaced_by_key_and_foreign_records_stay() {
        let mut e = entry(json!({"deliveries": ["odd", {"key": "k"}]}));
        let key = Delivery::key_of("l", Generation::new(7), 1, DeliveryKind::Result, "t:1");
        assert_eq!(key, "l/7/1/result/t:1");
        let mut d = Delivery::new(key, DeliveryKind::Result, "t:1", Content::default(), 0);
        e.put_delivery(&d);
        d.attempts = 2;
        e.put_delivery(&d);
        assert_eq!(e.deliveries(), vec![d]);
        assert_eq!(
            e.value("deliveries")
                .and_then(Value::as_array)
                .map(Vec::len),
            Some(3)
        );
    }

    #[test]
    fn a_steer_joins_the_runs_and_leaves_them_when_it_was_refused() {
        let mut e = entry(json!({"runIds": ["r"]}));
        e.put_steer(&Steer::new("s", "  go on ", false, 5));
        e.put_steer(&Steer::new("t", "stop", true, 6));
        assert_eq!(e.value("runIds"), Some(&json!(["r", "s", "t"])));
        let known: Vec<(String, bool)> = e
            .steers()
            .into_iter()
            .map(|s| (s.head, s.interrupts))
            .collect();
        assert_eq!(
            known,
            [("go on".to_owned(), false), ("stop".to_owned(), true)]
        );
        e.remove_steer("s");
        assert_eq!(e.value("runIds"), Some(&json!(["r", "t"])));
        assert_eq!(e.steers().len(), 1);
    }

    #[test]
    fn the_next_attempt_is_told_what_people_sent_and_no_more() {
        let mut e = Entry::new();
        let nudge = Steer {
            nudge: true,
            ..Steer::new("n", "are you there?", false, 6)
        };
        let request = Steer {
            request: Some(1),
            ..Steer::new("r", "finish", false, 7)
        };
        for steer in [Steer::new("s", "go on", false, 5), nudge, request] {
            e.put_steer(&steer);
        }
        e.keep_steers();
        let kept: Vec<String> = e.earlier_steers().into_iter().map(|s| s.run_id).collect();
        assert_eq!(kept, ["s"]);
        assert!(e.steers().is_empty());
    }

    #[test]
    fn texts_are_cut_at_a_character_and_say_so() {
        let long = "ä".repeat(2000);
        let cut = clip_text(&long, MAX_TEXT_BYTES);
        assert!(cut.len() <= MAX_TEXT_BYTES);
        assert!(cut.ends_with('…'));
        assert_eq!(clip_text("short", MAX_TEXT_BYTES), "short");
    }

    #[test]
    fn unknown_fields_inside_objects_survive() {
        let mut e = entry(
            json!({"failure": {"kind": "future-kind", "message": "m", "at": 1, "more": {"x": 1}}}),
        );
        let failure = e.failure().expect("it has the shape of a failure");
        assert_eq!(failure.kind, crate::record::FailureKind::Unknown);
        e.set_failure(&failure);
        assert_eq!(
            e.value("failure").and_then(|f| f.get("more")),
            Some(&json!({"x": 1}))
        );
    }
}
