//! What the simulated gateway shows of a run, as a real [`Seen`].

use dispatch::backend::RunRef;
use dispatch::backend::openclaw::{Followed, Seen, WaitAnswer};
use dispatch::record::Steer;
use dispatch::session::store::{SessionRow, SessionStatus};
use dispatch::session::terminal::{FailedStop, Failure, Pending, Reply, Turn};

use super::{Gateway, Plan, RunState, START_MS, Said, Session};

impl Gateway {
    fn wait_for(&self, id: &str) -> WaitAnswer {
        let found = self.runs.iter().rev().find(|run| run.id == id);
        let Some(run) = found.filter(|run| !run.is_forgotten) else {
            return WaitAnswer {
                status: "timeout".to_owned(),
                ..WaitAnswer::default()
            };
        };
        let (status, error, stop) = match run.state {
            RunState::Waiting => ("pending", None, None),
            RunState::Live | RunState::Cut => ("timeout", None, None),
            RunState::Replied | RunState::Joined => ("ok", None, None),
            RunState::Stopped => ("error", None, Some("rpc".to_owned())),
            RunState::Failed => match run.plan {
                Plan::Fail(words) => ("error", Some(words.to_owned()), None),
                Plan::Reply | Plan::Hang => ("error", None, None),
            },
        };
        let is_over = !matches!(
            run.state,
            RunState::Waiting | RunState::Live | RunState::Cut
        );
        WaitAnswer {
            status: status.to_owned(),
            ended_at: is_over.then_some(START_MS + run.ended_at),
            error,
            stop_reason: stop,
            ..WaitAnswer::default()
        }
    }

    fn row(&self, session: &Session, now: i64) -> SessionRow {
        let Some(run) = session.told.map(|index| &self.runs[index]) else {
            return SessionRow::default();
        };
        let worked = now.min(run.works_until).max(run.began_at);
        let worked = match run.state {
            RunState::Live | RunState::Waiting => worked,
            _ => run.ended_at,
        };
        SessionRow {
            session_id: Some(session.key.clone()),
            updated_at_ms: Some(START_MS + worked),
            status: Some(match run.state {
                RunState::Waiting | RunState::Live | RunState::Cut => SessionStatus::Running,
                RunState::Replied | RunState::Joined => SessionStatus::Done,
                RunState::Failed => SessionStatus::Failed,
                RunState::Stopped => SessionStatus::Killed,
            }),
            started_at_ms: Some(START_MS + run.began_at),
            ended_at_ms: match run.state {
                RunState::Waiting | RunState::Live | RunState::Cut => None,
                _ => Some(START_MS + run.ended_at),
            },
            total_tokens: Some((worked / 2_000).unsigned_abs()),
            ..SessionRow::default()
        }
    }

    fn turn(&self, session: &Session, run: &RunRef) -> (Turn, bool) {
        let first: usize = match &run.baseline.last_entry_id {
            Some(id) => id.parse().unwrap_or(0),
            None => 0,
        };
        let mut after = session.messages.get(first..).unwrap_or_default();
        let mut is_unanswered = false;
        while let Some((Said::Asked(id), before)) = after.split_last()
            && run.followers().iter().any(|steer| steer.run_id == *id)
        {
            after = before;
            is_unanswered = true;
        }
        let turn = match after.last() {
            None => Turn::Nothing,
            Some(Said::Asked(_)) => Turn::MidTurn {
                why: Pending::UserMessage,
            },
            Some(Said::Reply(index)) => Turn::Reply(Reply {
                text: self.runs[*index].text.clone(),
                timestamp_ms: Some(START_MS + self.runs[*index].ended_at),
                ..Reply::default()
            }),
            Some(Said::Error(words)) => failed(FailedStop::Error, Some((*words).to_owned())),
            Some(Said::Aborted) => failed(FailedStop::Aborted, None),
        };
        (turn, is_unanswered)
    }

    /// Asks everything about a run once, as `look` of `backend/openclaw/mod.rs` does. `now` is the gateway's time, `now_ms`
    /// the asker's wall time.
    pub fn look(&self, run: &RunRef, now: i64, now_ms: i64) -> Seen {
        let session = self.find(&run.session_key).map(|s| &self.sessions[s]);
        let leading = self.wait_for(run.leading_run());
        let is_line_seen = |steer: &Steer| {
            session.is_some_and(|session| {
                session
                    .messages
                    .iter()
                    .any(|said| matches!(said, Said::Asked(id) if *id == steer.run_id))
            })
        };
        let followed: Vec<Followed> = run
            .followers()
            .iter()
            .map(|steer| Followed {
                steer: steer.clone(),
                wait: self.wait_for(&steer.run_id),
                is_seen: is_line_seen(steer),
            })
            .collect();
        let row = session.map(|session| self.row(session, now));
        let is_active = session.map(|session| session.live.is_some());
        let mut seen = Seen::of_run(run, leading, followed, (row, is_active), now_ms);
        if let Some(session) = session
            && (seen.is_ended() || seen.is_left_behind())
        {
            (seen.turn, seen.is_unanswered) = self.turn(session, run);
        }
        seen
    }
}

fn failed(stop: FailedStop, message: Option<String>) -> Turn {
    Turn::Failed(Failure {
        stop,
        message,
        facts: Box::default(),
        earlier_errors: Vec::new(),
        partial: String::new(),
        provider: None,
        model: None,
        run_id: None,
        timestamp_ms: None,
        dispatch: None,
        earlier_reply: None,
    })
}
