//! What a gateway's answers say about a run. Pure.
//!
//! A run is settled by the gateway's own word (`agent.wait` with an end, a task's or a session's final status), never by
//! silence. The text comes from the session's messages. Both generations come out the same.

use serde_json::Value;

use super::steers::{Followed, is_arriving, is_at_work, latest};
use crate::backend::{Evidence, Liveness, RunRef, Settled, Text};
use crate::failure::{self, Facts, Reading, policy};
use crate::record::{Failure, FailureKind};
use crate::session::line::{Message, Role, StopReason};
use crate::session::store::{SessionRow, SessionStatus};
use crate::session::terminal::{self, FailedStop, Pending, Turn};

/// The dialect that the older generation notes on a reply which it puts into the transcript itself.
const GATEWAY_API: &str = "cli";

/// The answer of `agent.wait`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WaitAnswer {
    /// `ok`, `error`, `timeout`.
    pub status: String,
    /// When the run ended, ms since the epoch; without it the answer proves nothing.
    pub ended_at: Option<i64>,
    /// The gateway's words about a failure.
    pub error: Option<String>,
    /// `rpc` when somebody stopped it; the older generation says so of a time limit too.
    pub stop_reason: Option<String>,
    /// `blocked` when the older generation's run came to a time limit.
    pub liveness: Option<String>,
    /// The gateway cut the run because it was about to restart.
    pub restarted: bool,
}

impl WaitAnswer {
    /// Reads an answer.
    pub fn from_value(value: &Value) -> Self {
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let says = |name: &str, word: &str| value.get(name).and_then(Value::as_str) == Some(word);
        Self {
            status: text("status").unwrap_or_default(),
            ended_at: value.get("endedAt").and_then(crate::record::time::parse),
            error: text("error").or_else(|| {
                let message = value.pointer("/error/message")?.as_str()?;
                Some(message.to_owned())
            }),
            stop_reason: text("stopReason"),
            liveness: text("livenessState"),
            restarted: says("stopReason", "restart") || says("timeoutPhase", "gateway_draining"),
        }
    }
}

/// A final row of the gateway's task list, which outlives a restart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Task {
    /// `completed`, `failed`, `cancelled`, `timed_out`.
    pub status: String,
    /// The gateway's words about it.
    pub error: Option<String>,
}

/// The run that the session's row tells of has ended: by its status, or by a task of the session that ended since it began,
/// which is told a little earlier.
pub fn is_over(row: &SessionRow, tasks: &[Value]) -> bool {
    match &row.status {
        Some(SessionStatus::Running) => {}
        Some(SessionStatus::Other(_)) | None => return false,
        Some(_) => return true,
    }
    let ended = tasks
        .iter()
        .filter_map(|task| crate::record::time::parse(task.get("endedAt")?));
    row.started_at_ms
        .is_some_and(|begun| ended.max().is_some_and(|ended| ended >= begun))
}

impl Task {
    fn is_completed(&self) -> bool {
        self.status == "completed"
    }
}

/// Everything that was asked about a run at one moment.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The answer of `agent.wait`.
    pub wait: WaitAnswer,
    /// The session's row; `None` when the gateway has no such session.
    pub row: Option<SessionRow>,
    /// Whether the row is being worked on; `None` where the gateway does not say.
    pub is_active: Option<bool>,
    /// The run's task, once it is final; asked for only when nothing else tells.
    pub task: Option<Task>,
    /// The turn as the messages tell it; [`Turn::Nothing`] when they were not asked for.
    pub turn: Turn,
    /// What the gateway's events told of the run's last error in fields of their own.
    pub observed: Facts,
    /// What the run was saying last, as its events told.
    pub heard: String,
    /// The reply was put in by the gateway itself: whole, or what there was of one.
    pub is_copy: bool,
    /// When the gateway itself ends the run, in ms after its start.
    pub limit_ms: Option<i64>,
    /// Wall time, ms since the epoch.
    pub now_ms: i64,
    /// The session was there before the run was asked for.
    pub reused: bool,
    /// When the session's last run before ours began, ms since the epoch.
    pub baseline_started_ms: Option<i64>,
    /// When the run was asked for, ms since the epoch.
    pub since_ms: i64,
    /// What was sent into the session beside the run.
    pub followed: Vec<Followed>,
    /// A message that was sent stands at the end of the session, and nobody has answered it.
    pub is_unanswered: bool,
}

impl Seen {
    /// What the first answers about a run show; of all else nothing is known yet. What was sent beside the run is in
    /// `followed`.
    pub fn of_run(
        run: &RunRef,
        leading: WaitAnswer,
        followed: Vec<Followed>,
        (row, is_active): (Option<SessionRow>, Option<bool>),
        now_ms: i64,
    ) -> Self {
        // What the row tells of the turn that we stopped is not about ours.
        let stopped = run
            .interruption()
            .filter(|steer| is_arriving(steer, now_ms));
        Self {
            wait: latest(leading, &followed),
            row,
            is_active,
            task: None,
            turn: Turn::Nothing,
            observed: Facts::default(),
            heard: String::new(),
            is_copy: false,
            limit_ms: None,
            now_ms,
            reused: stopped.is_some() || run.baseline.session_id.is_some(),
            baseline_started_ms: match stopped {
                Some(steer) => steer.found_started_at,
                None => run.baseline.started_at,
            },
            since_ms: stopped.map_or(run.since_ms, |steer| steer.at),
            followed,
            is_unanswered: false,
        }
    }

    /// The row, if it tells of our run: in a session that was there before, one that began after the baseline's.
    fn current_row(&self) -> Option<&SessionRow> {
        let row = self.row.as_ref()?;
        let is_ours = match (self.reused, self.baseline_started_ms, row.started_at_ms) {
            (false, _, _) => true,
            (true, Some(before), Some(begun)) => begun > before,
            (true, None, Some(begun)) => begun >= self.since_ms,
            (true, _, None) => false,
        };
        is_ours.then_some(row)
    }

    fn row_status(&self) -> Option<&SessionStatus> {
        self.current_row()?.status.as_ref()
    }

    /// The run has ended by somebody's word.
    pub fn is_ended(&self) -> bool {
        let row_ended = self.row_status().is_some_and(|status| {
            !matches!(status, SessionStatus::Running | SessionStatus::Other(_))
        });
        let task_ended = self.task.as_ref().is_some_and(Task::is_completed);
        let is_told = self.wait.ended_at.is_some() || row_ended || task_ended;
        is_told && !is_at_work(self)
    }

    /// The gateway says that the run ended well, and its messages do not show how: the older generation says so too early
    /// of a run that came to its time limit, and the row or the messages tell better soon.
    pub fn is_unproven(&self) -> bool {
        let is_shown = match &self.turn {
            Turn::Reply(_) => true,
            Turn::MidTurn { why } => matches!(why, Pending::EmptyReply | Pending::SilentReply),
            Turn::Nothing | Turn::Failed(_) => false,
        };
        let row_agrees = self.row_status() == Some(&SessionStatus::Done);
        // What was put in may be less than the run had to say; the row tells once the run is filed.
        let is_early_copy = self.is_copy && matches!(self.turn, Turn::Reply(_)) && !self.is_filed();
        if self.is_unanswered || is_early_copy {
            return true;
        }
        self.wait.status == "ok" && !is_shown && !(row_agrees && self.is_active == Some(false))
    }

    /// Nothing works on the session any more.
    fn is_filed(&self) -> bool {
        self.is_active == Some(false)
    }

    /// The reply is what there was of one when the run was stopped: the older generation files it as a finished one, and the
    /// run as done.
    fn is_cut(&self) -> bool {
        let is_stopped = |row: &SessionRow| row.aborted_last_run == Some(true);
        self.is_copy && self.is_filed() && self.current_row().is_some_and(is_stopped)
    }

    /// What the older generation makes of a prompt that is too long for the model: it tells nobody, keeps no message, and calls
    /// the run done.
    fn was_kept_from_model(&self) -> bool {
        let is_done = self.row_status() == Some(&SessionStatus::Done);
        self.wait.status == "ok" && self.wait.liveness.as_deref() == Some("blocked") && is_done
    }

    /// It was stopped at its time limit, whoever the gateway says has stopped it.
    fn is_past_limit(&self) -> bool {
        let was_stopped = self.wait.status == "timeout" || self.is_cut();
        let ended = self
            .wait
            .ended_at
            .or_else(|| self.current_row()?.ended_at_ms);
        let lasted = ended.map(|ended| ended.saturating_sub(self.since_ms));
        was_stopped && self.limit_ms.is_some_and(|limit| lasted >= Some(limit))
    }

    /// It is over, and how it went may still be told: the session's row can be ahead of the gateway's own word.
    pub fn is_unexplained(&self) -> bool {
        let model_said = matches!(&self.turn, Turn::Failed(failed) if failed.message.is_some());
        self.wait.ended_at.is_none() && !model_said && said(self).is_none()
    }

    /// The session was there before, nothing works on it, and nothing tells of our run.
    pub fn is_not_there_yet(&self) -> bool {
        let has_no_run = |row: &SessionRow| row.status.is_none() && row.started_at_ms.is_none();
        let is_older = match self.reused {
            true => self.current_row().is_none(),
            false => self.row.as_ref().is_some_and(has_no_run),
        };
        is_older
            && self.followed.is_empty()
            && self.is_active == Some(false)
            && self.task.is_none()
            && self.wait.ended_at.is_none()
            && self.wait.status == "timeout"
    }

    /// The row says that it runs, but nothing works on it: what a crash of the gateway leaves. Its task, if it has failed,
    /// was failed by the restart: a failure of the run itself is told by `agent.wait`, or by the row soon after.
    pub fn is_left_behind(&self) -> bool {
        let says_running = self.row_status() == Some(&SessionStatus::Running);
        // What a deleted session's run writes once more while it is stopped has no status at all.
        let was_cut = self
            .current_row()
            .is_some_and(|row| row.status.is_none() && row.aborted_last_run == Some(true));
        !self.is_ended() && (says_running || was_cut) && self.is_active == Some(false)
    }
}

/// The evidence as the watcher takes it.
pub fn evidence(seen: &Seen) -> Evidence {
    let liveness = match (&seen.row, seen.is_left_behind()) {
        (None, _) => Liveness::Absent,
        (Some(_), _) if seen.is_not_there_yet() => Liveness::Absent,
        (Some(_), true) => Liveness::Gone,
        (Some(_), false) => Liveness::Alive,
    };
    let row = seen.row.as_ref();
    Evidence {
        settled: seen.is_ended().then(|| settled(seen)),
        liveness,
        last_activity_ms: row.and_then(|row| row.updated_at_ms),
        position: row.and_then(|row| row.total_tokens).unwrap_or(0),
        mid_turn: false,
        open_tool: false,
        is_known: true,
    }
}

/// How an ended run ended.
fn settled(seen: &Seen) -> Settled {
    let at_ms = seen
        .wait
        .ended_at
        .or_else(|| seen.current_row()?.ended_at_ms)
        .unwrap_or(seen.now_ms);
    let is_well = seen.wait.status == "ok"
        || seen.row_status() == Some(&SessionStatus::Done)
        || seen.task.as_ref().is_some_and(Task::is_completed);
    let ended_well = is_well && !seen.is_cut();
    match &seen.turn {
        // A retried model error ends the call in an error while the session holds the good reply and is done.
        Turn::Reply(reply) if ended_well => Settled::Reply {
            text: Text::Inline(reply.text.clone()),
            truncated: reply.truncated,
            at_ms,
        },
        Turn::Failed(failed) => {
            let reading = reading(seen, Some(failed));
            let message = failed.message.clone().or_else(|| said(seen));
            let mut failure = told(reading, message, at_ms);
            failure.provider = failure.provider.or_else(|| failed.provider.clone());
            failure.model = failure.model.or_else(|| failed.model.clone());
            let partial = partial(seen, failure.kind, &failed.partial);
            failed_with(failure, partial)
        }
        Turn::Nothing if seen.was_kept_from_model() => {
            let kind = FailureKind::ContextLength;
            failed_with(Failure::new(kind, sentence(kind), at_ms), "")
        }
        _ if seen.wait.status == "ok" && !row_failed(seen) && !seen.is_cut() => Settled::Reply {
            text: Text::Inline(String::new()),
            truncated: false,
            at_ms,
        },
        _ => {
            let failure = told(reading(seen, None), said(seen), at_ms);
            let written = match (&seen.turn, failure.kind) {
                (Turn::Reply(cut), FailureKind::Aborted | FailureKind::Timeout) => &cut.text,
                _ => "",
            };
            let partial = partial(seen, failure.kind, written);
            failed_with(failure, partial)
        }
    }
}

/// What there is of a reply: as it is written in the session, else as it was heard, because the older generation does not
/// always write down what it stopped.
fn partial<'a>(seen: &'a Seen, kind: FailureKind, written: &'a str) -> &'a str {
    let was_stopped = matches!(kind, FailureKind::Aborted | FailureKind::Timeout);
    match written.trim().is_empty() && was_stopped {
        true => &seen.heard,
        false => written,
    }
}

/// The session's row tells of a failure.
fn row_failed(seen: &Seen) -> bool {
    use SessionStatus::{Failed, Killed, Timeout};
    matches!(seen.row_status(), Some(Failed | Killed | Timeout))
}

/// The gateway's words about the failure.
fn said(seen: &Seen) -> Option<String> {
    let from_row = || {
        let words = seen.current_row()?.extra.get("lastRunError")?.as_str()?;
        Some(words.to_owned())
    };
    // The word for a stop says less than our own sentence.
    let from_wait = seen.wait.error.clone().filter(|words| words != "aborted");
    from_wait.or_else(from_row)
}

/// The failure with the words that are of use to people: how the parts of a gateway tell each other about a stop is of none.
fn told(reading: Reading, words: Option<String>, at_ms: i64) -> Failure {
    let words = words.filter(|_| reading.kind != FailureKind::Aborted);
    let message = words.unwrap_or_else(|| sentence(reading.kind));
    reading.into_failure(message, at_ms)
}

fn failed_with(failure: Failure, partial: &str) -> Settled {
    let cancelled = failure.kind == FailureKind::Aborted;
    Settled::Failed {
        failure,
        partial: Text::Inline(partial.to_owned()),
        cancelled,
    }
}

/// Why the run failed. The gateway's typed word about a restart first, then what the model's last error says, then what the
/// gateway says of the run; words for a stop or for a session that changed come last, because a retry or a time limit leads
/// to both.
fn reading(seen: &Seen, failed: Option<&terminal::Failure>) -> Reading {
    let now_ms = seen.now_ms;
    if seen.wait.restarted {
        return FailureKind::GatewayRestart.into();
    }
    let models = failed.map_or_else(
        || FailureKind::Unknown.into(),
        |failed| {
            let words = failed.message.as_deref().unwrap_or_default();
            failure::read(&failed.facts, words, now_ms)
        },
    );
    if tells_of_model(models.kind) || models.kind == FailureKind::GatewayRestart {
        return models;
    }
    let said = said(seen).unwrap_or_default();
    let gateways = failure::read(&seen.observed, &said, now_ms);
    if tells_of_model(gateways.kind) || gateways.kind == FailureKind::GatewayRestart {
        return gateways;
    }
    // Without an end a time-out of the wait is only the wait's own.
    let out_of_time = seen.wait.liveness.as_deref() == Some("blocked") || seen.is_past_limit();
    let stopped = seen.wait.stop_reason.as_deref() == Some("rpc")
        || seen.row_status() == Some(&SessionStatus::Killed)
        || seen.is_cut();
    if stopped && !out_of_time {
        return FailureKind::Aborted.into();
    }
    if out_of_time || seen.wait.ended_at.is_some() && seen.wait.status == "timeout" {
        return FailureKind::Timeout.into();
    }
    let takeover = FailureKind::SessionTakeover;
    let model_stopped = failed.is_some_and(|failed| failed.stop == FailedStop::Aborted);
    if models.kind != takeover && model_stopped {
        return FailureKind::Aborted.into();
    }
    let last = match models.kind {
        FailureKind::Unknown => gateways,
        _ => models,
    };
    if last.kind != takeover {
        return last;
    }
    // The gateway's own next try changes the session too: what made it try again is the cause.
    let earlier = failed.map_or(&[][..], |failed| &failed.earlier_errors);
    let mut causes = earlier
        .iter()
        .map(|error| failure::read(&error.facts, &error.message, now_ms));
    causes
        .find(|cause| tells_of_model(cause.kind))
        .unwrap_or(last)
}

/// The kinds that only the model's side brings about.
fn tells_of_model(kind: FailureKind) -> bool {
    policy::of(kind).model_side || kind == FailureKind::Timeout
}

/// Messages, oldest first, without the older generation's echoes, which look like finished replies: what a stopped run had
/// said, written once more; and a reply written again behind whatever came after it, even the next run's prompt or reply.
pub fn without_echoes(messages: Vec<Message>) -> Vec<Message> {
    let mut kept: Vec<Message> = Vec::with_capacity(messages.len());
    for message in messages {
        let finished = message.role == Role::Assistant
            && matches!(
                message.stop_reason,
                Some(StopReason::Stop | StopReason::Length)
            );
        let same = |other: &Message| other.text.trim() == message.text.trim();
        let echoes_a_stop = kept.last().is_some_and(|last| {
            let broken = matches!(
                last.stop_reason,
                Some(StopReason::Aborted | StopReason::Error)
            );
            broken && !last.text.is_empty() && same(last)
        });
        if !(finished && (echoes_a_stop || echoes_a_reply(&kept, &message))) {
            kept.push(message);
        }
    }
    kept
}

/// The last thing that the agent said was put in by the gateway.
pub fn ends_in_a_copy(messages: &[Message]) -> bool {
    let said = |message: &&Message| message.role == Role::Assistant;
    messages.iter().rev().find(said).is_some_and(is_put_in)
}

fn is_put_in(message: &Message) -> bool {
    message.api.as_deref() == Some(GATEWAY_API)
}

/// The gateway put this reply in, and one of the two replies before it, the model's own, says the same.
fn echoes_a_reply(before: &[Message], message: &Message) -> bool {
    let replies = before.iter().rev().filter(|other| {
        other.role == Role::Assistant && other.stop_reason == Some(StopReason::Stop)
    });
    let mut originals = replies.take(2).filter(|other| !is_put_in(other));
    is_put_in(message) && originals.any(|other| other.text.trim() == message.text.trim())
}

fn sentence(kind: FailureKind) -> String {
    match kind {
        FailureKind::Aborted => "the run was stopped".to_owned(),
        FailureKind::GatewayRestart => "the gateway was restarted and cut the run".to_owned(),
        FailureKind::Timeout => "the run reached its time limit".to_owned(),
        FailureKind::ContextLength => {
            "the gateway did not give the prompt to the model, for which it is too long".to_owned()
        }
        _ => "the run failed and the gateway did not say why".to_owned(),
    }
}

#[cfg(test)]
#[path = "evidence_tests.rs"]
mod tests;
