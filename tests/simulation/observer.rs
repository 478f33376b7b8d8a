//! Who sees everything and judges: what was delivered, which runs live, how the ledger changes. Nothing of the code under
//! test is asked for its opinion.

use std::collections::BTreeMap;
use std::fmt;

use dispatch::delivery::STDOUT;
use dispatch::record::{
    Delivery, DeliveryKind, Entry, Failure, FailureKind, Generation, Phase, Status,
};

use super::gateway::{News, Run, RunState};
use super::process::Pid;

/// What must hold in every history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invariant {
    /// A session that produced a settled terminal reply gets it delivered. See [`Observer::judge_replies`], and
    /// [`Observer::wrote`] for every end's own record.
    Delivered,
    /// One key per generation, attempt, kind, target and note number, and one text per key.
    OneKey,
    /// Never two live runs for one generation, and no run begins twice.
    OneRun,
    /// No more runs than the first and one for each retry that is counted; no count above its budget.
    Budget,
    /// `done` and `cancelled` stay; a failure becomes `done` or stays; nothing that has ended runs again.
    NoDowngrade,
    /// Generations rise; what one says, owes or stops is its own.
    NoMixing,
    /// Once faults stop, every label ends, no record is pending and no process is left.
    Settles,
    /// What may be seen twice says so the second time.
    RepeatSays,
    /// A try is in the ledger before it is made.
    RecordedFirst,
    /// A record that is open stays in the ledger until it is delivered.
    NothingDropped,
    /// One watcher at a time is at the post of a label and generation.
    OnePost,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

/// The budgets of a generation, and how often each may be spent.
const BUDGETS: [(&str, u64); 3] = [
    ("retryCount", 3),
    ("gwRestartRetryCount", 2),
    ("takeoverRetryCount", 1),
];

/// The scan has taken a label up again that had failed of an overload before its budget was spent.
fn is_reopened(after: &Entry) -> bool {
    let failure = after.failure().map(|failure| failure.kind);
    after.phase() == Some(Phase::RetryWait)
        && matches!(
            failure,
            Some(FailureKind::Overload | FailureKind::RateLimit)
        )
}

/// How a generation ended first.
#[derive(Debug, Clone)]
struct End {
    label: &'static str,
    generation: Generation,
    status: Status,
    /// By the agent's own signal.
    is_signalled: bool,
    failure: Option<Failure>,
    /// A result counts once a verify command has accepted it.
    is_checked: bool,
    /// What its end was decided over was true then.
    evidence_at: i64,
    is_announced: bool,
}

/// What people saw.
#[derive(Debug)]
struct Shown {
    key: String,
    text: String,
    attempts: u32,
}

/// The one who sees everything.
#[derive(Debug, Default)]
pub struct Observer {
    pub broken: Option<(Invariant, String)>,
    ends: Vec<End>,
    /// Per label: what the next end is decided over was true then.
    deciding: BTreeMap<&'static str, i64>,
    texts: BTreeMap<String, String>,
    /// How many tries of a record the ledger has counted.
    tries: BTreeMap<String, u32>,
    shown: Vec<Shown>,
    at_post: Vec<(&'static str, Generation, Pid)>,
    begun: Vec<(String, (usize, Generation))>,
    /// Runs that began in a session which works for a newer generation by then.
    strays: Vec<String>,
}

impl Observer {
    fn is_wrong(&mut self, invariant: Invariant, what: String) {
        self.broken.get_or_insert((invariant, what));
    }

    /// A process is about to record an end that it decided over evidence of that time.
    pub fn decides(&mut self, label: &'static str, evidence_at: i64) {
        self.deciding.insert(label, evidence_at);
    }

    /// The ledger has changed: `NoDowngrade`, `NoMixing`, `NothingDropped`, `OneKey`, `Budget`, and of `Delivered` that the
    /// end of a label whose targets are to hear of it is one write with what it owes them. `cancelled` owes nothing, nor
    /// does an `enqueue` that was refused to its caller's face.
    pub fn wrote(&mut self, label: &'static str, before: Option<&Entry>, after: &Entry, now: i64) {
        let Some(before) = before else {
            self.check_records(label, &[], after);
            return;
        };
        let (old, new) = (before.generation(), after.generation());
        let (from, to) = (before.status(), after.status());
        if new < old {
            self.is_wrong(Invariant::NoMixing, format!("{label}: {new} follows {old}"));
        }
        if new > old && !from.is_ended() {
            let what = format!("{label}: {new} takes the place of {old}, which runs");
            self.is_wrong(Invariant::NoMixing, what);
        }
        let is_fair = match (&from, &to) {
            (Status::Done | Status::Cancelled, to) => *to == from,
            (Status::Error | Status::Interrupted, Status::Running) => is_reopened(after),
            (Status::Error | Status::Interrupted, to) => {
                matches!(to, Status::Error | Status::Interrupted | Status::Done)
            }
            _ => true,
        };
        if new == old && !is_fair {
            let what = format!("{label} {new}: {from} becomes {to}");
            self.is_wrong(Invariant::NoDowngrade, what);
        }
        let records = match before.value("deliveries") == after.value("deliveries") {
            true => None,
            false => Some(before.deliveries()),
        };
        if let Some(records) = &records {
            self.check_records(label, records, after);
        }
        if new == old {
            self.check_budgets(label, before, after);
        }
        if new == old && from == Status::Running && to.is_ended() {
            self.ended(label, after, now);
        }
    }

    /// Each attempt after the first is counted in one budget and has a run id of its own.
    fn check_budgets(&mut self, label: &str, before: &Entry, after: &Entry) {
        let generation = after.generation();
        if after.attempt() != before.attempt() {
            let same = before.text("runId") == after.text("runId");
            if same || after.attempt() != before.attempt() + 1 {
                let what = format!("{label} {generation}: an attempt without a key of its own");
                self.is_wrong(Invariant::OneKey, what);
            }
        } else if after.text("runId") != before.text("runId") {
            let what = format!("{label} {generation}: another key for the same attempt");
            self.is_wrong(Invariant::OneKey, what);
        }
        let mut made = 0;
        for (field, at_most) in BUDGETS {
            let count = after.number(field).unwrap_or(0);
            made += count;
            if count > at_most {
                let what = format!("{label} {generation}: {field} is {count}");
                self.is_wrong(Invariant::Budget, what);
            }
        }
        // The one attempt with the fallback spends no budget.
        made += u64::from(after.fallback_use().is_some());
        if u64::from(after.attempt()) != made + 1 {
            let attempt = after.attempt();
            let what = format!("{label} {generation}: attempt {attempt}, {made} retries counted");
            self.is_wrong(Invariant::Budget, what);
        }
    }

    fn ended(&mut self, label: &'static str, after: &Entry, now: i64) {
        let is_signalled = after.value("completion").is_some_and(|c| c.is_object());
        let failure = after.failure();
        let is_announced = after.text("deliverTo").is_some()
            && after.text("deliveryMode").is_none_or(|mode| mode != "none");
        let is_refusal = after.value("refused").is_some();
        let mut end = End {
            label,
            generation: after.generation(),
            status: after.status(),
            is_signalled,
            failure,
            is_checked: after.text("verifyCmd").is_some(),
            evidence_at: self.deciding.remove(label).unwrap_or(now),
            is_announced,
        };
        let kind = match end.status {
            Status::Done => DeliveryKind::Result,
            _ => DeliveryKind::Failure,
        };
        let mut is_for_stdout = false;
        let owes = after.deliveries().iter().any(|record| {
            let key = Delivery::key_of(
                label,
                after.generation(),
                after.attempt(),
                kind,
                &record.target,
            );
            is_for_stdout |= record.key == key && record.target == STDOUT;
            record.key == key
        });
        // Whoever watches in the foreground is the run's only sink.
        end.is_announced &= !is_for_stdout;
        if end.is_announced && !is_refusal && end.status != Status::Cancelled && !owes {
            let what = format!("{label} {} ended and owes nobody its end", end.generation);
            self.is_wrong(Invariant::Delivered, what);
        }
        self.ends.push(end);
    }

    fn check_records(&mut self, label: &str, before: &[Delivery], after: &Entry) {
        let records = after.deliveries();
        for old in before.iter().filter(|d| d.is_open()) {
            let same = |d: &&Delivery| d.kind == old.kind && d.content.text == old.content.text;
            if !records.iter().any(|d| d.key == old.key) && !records.iter().any(|d| same(&d)) {
                let what = format!("{} left the ledger as {:?}", old.key, old.state);
                self.is_wrong(Invariant::NothingDropped, what);
            }
        }
        for (index, record) in records.iter().enumerate() {
            let known = self.texts.get(&record.key);
            if known.is_some_and(|text| *text != record.content.text) {
                let what = format!("{} says something else by now", record.key);
                self.is_wrong(Invariant::OneKey, what);
            }
            let tries = self.tries.entry(record.key.clone()).or_default();
            *tries = record.attempts.max(*tries);
            if before.iter().any(|old| old.key == record.key) {
                continue;
            }
            // What a stdout did not take keeps the generation and attempt that it tells of.
            let head = record.key.strip_suffix(&record.target).unwrap_or_default();
            let unprinted = format!("{head}{STDOUT}");
            if before.iter().all(|old| old.key != unprinted) {
                self.check_new(label, record, after);
            }
            if records.iter().skip(index + 1).any(|d| d.key == record.key) {
                self.is_wrong(Invariant::OneKey, format!("{} is there twice", record.key));
            }
            self.texts
                .insert(record.key.clone(), record.content.text.clone());
        }
    }

    /// A record that was not there before has the key of its entry's generation and attempt, its kind and target, and says
    /// nothing of another generation, but for what a request says that was under way for so long that its session had been
    /// given to a newer generation: a gateway's session does not tell one from the other.
    fn check_new(&mut self, label: &str, record: &Delivery, after: &Entry) {
        if self.texts.contains_key(&record.key) && record.kind != DeliveryKind::Note {
            let what = format!("{} is owed anew", record.key);
            self.is_wrong(Invariant::OneKey, what);
        }
        let generation = after.generation();
        let (kind, target) = (record.kind, record.target.as_str());
        let key = Delivery::key_of(label, generation, after.attempt(), kind, target);
        let expected = match kind {
            DeliveryKind::Note => format!("{key}#{}", after.number("noteCount").unwrap_or(0)),
            DeliveryKind::Failure if after.phase() == Some(Phase::RetryWait) => {
                format!("{key}#retry")
            }
            _ => key,
        };
        if record.key != expected {
            let what = format!("a new record has the key {} and not {expected}", record.key);
            self.is_wrong(Invariant::OneKey, what);
        }
        let own = format!("of {label}.{generation}");
        for said in record.content.text.split("of ").skip(1) {
            let words = format!("of {said}");
            let is_tagged = said.starts_with("a.") || said.starts_with("b.");
            let is_stray = self.strays.iter().any(|id| said.starts_with(id.as_str()));
            if is_tagged && !words.starts_with(&own) && !is_stray {
                let what = format!("{} tells of another: {words}", record.key);
                self.is_wrong(Invariant::NoMixing, what);
            }
        }
    }

    /// A try goes out: `RecordedFirst`.
    pub fn sent(&mut self, label: &str, record: &Delivery) {
        let counted = self.tries.get(&record.key).copied().unwrap_or(0);
        let is_there = counted >= record.attempts;
        if !is_there {
            let what = format!("{label}: {} goes out unrecorded", record.key);
            self.is_wrong(Invariant::RecordedFirst, what);
        }
    }

    /// A message is shown to people: `RepeatSays`. A try that its sender had recorded before the other one, and made later
    /// because it hung in between, cannot know.
    pub fn received(&mut self, label: &str, record: &Delivery) {
        let mut others = self.shown.iter().filter(|shown| shown.key == record.key);
        let is_repeat = others.any(|shown| shown.attempts <= record.attempts);
        if is_repeat && !record.may_be_repeat {
            let what = format!("{label}: {} is shown twice without a word", record.key);
            self.is_wrong(Invariant::RepeatSays, what);
        }
        self.shown.push(Shown {
            key: record.key.clone(),
            text: record.content.text.clone(),
            attempts: record.attempts,
        });
    }

    pub fn took_post(&mut self, label: &'static str, generation: Generation, pid: Pid) {
        let is_taken = self
            .at_post
            .iter()
            .any(|(l, g, _)| *l == label && *g == generation);
        if is_taken {
            let what = format!("{label} {generation} has two watchers");
            self.is_wrong(Invariant::OnePost, what);
        }
        self.at_post.push((label, generation, pid));
    }

    pub fn left_post(&mut self, label: &'static str, generation: Generation, pid: Pid) {
        self.at_post
            .retain(|held| *held != (label, generation, pid));
    }

    pub fn died(&mut self, pid: Pid) {
        self.at_post.retain(|(_, _, held)| *held != pid);
    }

    /// Something happened at the gateway while the ledger had `entry`: `OneRun`, `Budget`, and of `NoMixing` that no
    /// older generation's stop hits a newer one's run.
    pub fn news(&mut self, news: News, runs: &[Run], entry: Option<&Entry>) {
        match news {
            News::Began(index) => self.began(&runs[index], runs, entry),
            News::Ended(_) => {}
            News::Stopped { by, run } => {
                let run = &runs[run];
                // A session that is reused is stopped by its key, whoever works in it.
                if run.generation > by && !run.is_reused {
                    let what = format!("{by} stops the run {}", run.id);
                    self.is_wrong(Invariant::NoMixing, what);
                }
            }
        }
    }

    fn began(&mut self, run: &Run, runs: &[Run], entry: Option<&Entry>) {
        if self.begun.iter().any(|(id, _)| *id == run.id) && !run.is_steer {
            let what = format!("the run {} begins a second time", run.id);
            self.is_wrong(Invariant::OneRun, what);
        }
        if run.is_stray {
            self.strays.push(run.id.clone());
        }
        let place = (run.label, run.generation);
        if !run.is_steer {
            self.begun.push((run.id.clone(), place));
        }
        let begun = self.begun.iter().filter(|(_, of)| *of == place).count();
        let attempt = entry
            .filter(|entry| entry.generation() == run.generation)
            .map(Entry::attempt);
        if let Some(attempt) = attempt.filter(|attempt| begun > *attempt as usize) {
            let what = format!("{}: {begun} runs have begun in {attempt} attempts", run.id);
            self.is_wrong(Invariant::Budget, what);
        }
        let ours = runs
            .iter()
            .filter(|other| other.label == run.label && other.generation == run.generation);
        let live = ours.filter(|other| other.state == RunState::Live).count();
        if live > 1 {
            let what = format!("{} lives beside another of its generation", run.id);
            self.is_wrong(Invariant::OneRun, what);
        }
    }

    /// At the end of a history: `Delivered`. A reply counts as settled when its run ended with it as the session's last
    /// word, and the label's end was decided over evidence that is not older. It is told in a result or a correction,
    /// unless the label asks for nothing, the receiver refused it, or one of these says more: the agent's own signal, the
    /// verify command, a cancel that came before that had accepted it, a message that the session went on with.
    pub fn judge_replies(&mut self, runs: &[Run], is_refused: bool) {
        for (index, run) in runs.iter().enumerate() {
            if run.state != RunState::Replied {
                continue;
            }
            let went_on = runs
                .iter()
                .skip(index + 1)
                .any(|later| later.label == run.label && later.generation == run.generation);
            let label = super::world::LABELS[run.label];
            let end = self
                .ends
                .iter()
                .find(|end| end.label == label && end.generation == run.generation);
            let Some(end) = end.filter(|_| !went_on) else {
                continue;
            };
            let is_verified = end
                .failure
                .as_ref()
                .is_some_and(|failure| failure.kind == FailureKind::Verify);
            let is_excused = end.is_signalled
                || is_verified
                || (end.is_checked && end.status == Status::Cancelled)
                || end.evidence_at <= run.ended_at
                || !end.is_announced
                || is_refused;
            if is_excused {
                continue;
            }
            let tells = |shown: &Shown| {
                let is_end = shown.key.contains("/result/") || shown.key.contains("/correction/");
                is_end && shown.text.contains(&run.text)
            };
            let is_shown = self.shown.iter().any(tells);
            if !is_shown {
                let what = format!("the reply of {} was told to nobody", run.id);
                self.is_wrong(Invariant::Delivered, what);
                return;
            }
        }
    }

    /// What the end of a history finds undone.
    pub fn unsettled(&mut self, what: String) {
        self.is_wrong(Invariant::Settles, what);
    }
}
