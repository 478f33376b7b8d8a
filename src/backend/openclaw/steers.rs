//! Messages that were sent into a session while its run was at work. Pure.
//!
//! What becomes of one differs: the newer generation lets it wait for the turn's end and answers it in a run of its own
//! whose id nobody is told, or loses it at the very end of a turn; the older one puts it into the running turn and calls
//! its run ended at once, or runs it afterwards. So the session has settled when nothing of it is at work any more and no
//! message of ours stands there unanswered.

use super::evidence::{Seen, WaitAnswer};
use crate::brief::is_brief;
use crate::record::Steer;
use crate::session::line::{Message, Role};
use crate::session::store::SessionStatus;

/// A message whose run no gateway knows is waited for this long: whoever recorded it may be about to send it.
const ARRIVAL_MS: u64 = 30_000;

/// The message was recorded so lately that it may be on its way. A time far in the future is what a clock that was put
/// back leaves, and not lately.
pub fn is_arriving(steer: &Steer, now_ms: i64) -> bool {
    now_ms.abs_diff(steer.at) < ARRIVAL_MS
}

/// One message and what the gateway says of its run.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// The message.
    pub steer: Steer,
    /// The answer of `agent.wait` for its run.
    pub wait: WaitAnswer,
    /// Its line is among the session's messages.
    pub is_seen: bool,
}

impl Followed {
    /// Its run ended in an error and the session does not have it: the agent never saw it.
    pub fn is_lost(&self) -> bool {
        let failed = self.wait.ended_at.is_some() && self.wait.status == "error";
        failed && !self.is_seen
    }

    /// It is still to be worked on, as far as its own run tells.
    fn is_open(&self, now_ms: i64, is_session_idle: bool) -> bool {
        if self.wait.ended_at.is_some() {
            return false;
        }
        let is_young = is_arriving(&self.steer, now_ms);
        self.wait.status == "pending" || is_young || !is_session_idle
    }
}

/// Something that was sent is still being worked on, or is to be.
pub fn is_at_work(seen: &Seen) -> bool {
    if seen.followed.is_empty() {
        return false;
    }
    let is_running =
        seen.row.as_ref().and_then(|row| row.status.as_ref()) == Some(&SessionStatus::Running);
    // A crashed gateway's row says for ever that it runs.
    let is_idle = seen.is_active == Some(false) || !is_running;
    !is_idle
        || seen
            .followed
            .iter()
            .any(|followed| followed.is_open(seen.now_ms, is_idle))
}

/// The answer about the run that ended last; what was lost does not count.
pub fn latest(leading: WaitAnswer, followed: &[Followed]) -> WaitAnswer {
    let mut latest = leading;
    // What is not over tells of itself.
    if latest.ended_at.is_none() {
        return latest;
    }
    for followed in followed.iter().filter(|followed| !followed.is_lost()) {
        if followed.wait.ended_at > latest.ended_at {
            latest = followed.wait.clone();
        }
    }
    latest
}

/// Whether this is the message's own line: by its run where the line names one, else by its words.
pub fn is_line_of(message: &Message, steer: &Steer) -> bool {
    if message.role != Role::User {
        return false;
    }
    match &message.run_id {
        Some(run) => *run == steer.run_id,
        None => {
            let is_later = message
                .timestamp_ms
                // The gateway's clock may be another machine's.
                .is_none_or(|at| at.saturating_add(60_000) >= steer.at);
            let is_like = !steer.head.is_empty() && message.text.contains(&steer.head);
            // A brief has many words, and short messages are among them.
            is_later && is_like && !is_brief(&message.text)
        }
    }
}

/// Messages, oldest first, without what a lost one's run left: its error is not the session's.
pub fn without_lost(messages: Vec<Message>, followed: &[Followed]) -> Vec<Message> {
    let lost: Vec<&str> = followed
        .iter()
        .filter(|followed| followed.is_lost())
        .map(|followed| followed.steer.run_id.as_str())
        .collect();
    let is_lost = |message: &Message| {
        let run = message.run_id.as_deref();
        run.is_some_and(|run| lost.contains(&run.trim_end_matches(":terminal-error")))
    };
    messages
        .into_iter()
        .filter(|message| lost.is_empty() || !is_lost(message))
        .collect()
}

/// Messages, oldest first, up to the last thing that the agent said: what nobody has answered is left out. Says whether
/// there was any.
pub fn without_unanswered(mut messages: Vec<Message>, steers: &[Steer]) -> (Vec<Message>, bool) {
    let before = messages.len();
    while let Some(last) = messages.last()
        && steers.iter().any(|steer| is_line_of(last, steer))
    {
        messages.pop();
    }
    let has_some = messages.len() < before;
    (messages, has_some)
}

/// What the gateway did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stopped the turn, and the agent works on it now.
    Interrupted,
    /// It joined the running turn.
    Injected,
    /// It waits for the turn's end.
    Queued,
    /// Nothing was running: it began a turn.
    Started,
    /// The gateway has it, and the session does not show it yet.
    Pending,
}

impl Fate {
    /// The word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Fate::Interrupted => "interrupted",
            Fate::Injected => "injected",
            Fate::Queued => "queued",
            Fate::Started => "started",
            Fate::Pending => "pending",
        }
    }
}

/// Decides it from what the gateway shows a moment later. `was_active`: the session was being worked on before.
pub fn fate(was_active: bool, interrupted: bool, wait: &WaitAnswer, is_seen: bool) -> Fate {
    match (interrupted, was_active, is_seen) {
        (true, _, _) => Fate::Interrupted,
        (false, false, true) => Fate::Started,
        (false, true, true) => Fate::Injected,
        (false, true, false) if wait.status == "pending" => Fate::Queued,
        (false, _, false) => Fate::Pending,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::session::line::Line;

    fn message(value: Value) -> Message {
        match Line::from_value(value) {
            Ok(Line::Message(message)) => *message,
            other => panic!("no message: {other:?}"),
        }
    }

    fn wait(status: &str, ended_at: Option<i64>) -> WaitAnswer {
        WaitAnswer {
            status: status.to_owned(),
            ended_at,
            ..WaitAnswer::default()
        }
    }

    fn followed(status: &str, ended_at: Option<i64>, is_seen: bool) -> Followed {
        Followed {
            steer: Steer::new("s", "Also this.", false, 1_000),
            wait: wait(status, ended_at),
            is_seen,
        }
    }

    #[test]
    fn a_message_is_waited_for_no_longer_when_the_clock_is_put_back() {
        let steer = Steer::new("s", "Also this.", false, 1_000_000);
        assert!(is_arriving(&steer, 1_029_999) && is_arriving(&steer, 999_000));
        assert!(!is_arriving(&steer, 1_030_000) && !is_arriving(&steer, 900_000));
    }

    #[test]
    fn a_line_is_known_by_its_run_or_by_its_words_after_the_message() {
        let steer = Steer::new("s", "Also this.", false, 1_795_279_700_000);
        let old = |text: &str, at: i64| {
            message(
                json!({"role": "user", "content": [{"type": "text", "text": text}], "timestamp": at}),
            )
        };
        let new = |key: &str| {
            message(json!({"role": "user", "content": "Also this.", "idempotencyKey": key}))
        };
        let later = 1_795_279_700_500;
        assert!(is_line_of(
            &old("[Sat 16:49 UTC] Also this.", later),
            &steer
        ));
        assert!(!is_line_of(&old("Something else", later), &steer));
        assert!(!is_line_of(&old("Also this.", 1_795_279_000_000), &steer));
        assert!(is_line_of(&new("s:user"), &steer));
        assert!(!is_line_of(&new("r:user"), &steer));
        let reply = message(json!({"role": "assistant", "content": "Also this."}));
        assert!(!is_line_of(&reply, &steer));
        // What was said into an attempt is repeated to the next one, and short words are in every brief.
        let brief = "[Sat 2026-11-21 16:49 UTC] [Sub-agent context] You work ... Also this.";
        assert!(!is_line_of(&old(brief, later), &steer));
    }

    #[test]
    fn the_run_that_ended_last_tells_and_a_lost_one_does_not() {
        let leading = || wait("ok", Some(50));
        let injected = followed("ok", Some(20), true);
        assert_eq!(latest(leading(), &[injected]).ended_at, Some(50));
        let queued = followed("error", Some(70), true);
        assert_eq!(latest(leading(), &[queued]).status, "error");
        let lost = followed("error", Some(70), false);
        assert!(lost.is_lost());
        assert_eq!(latest(leading(), &[lost]).status, "ok");
        let open = wait("timeout", None);
        assert_eq!(
            latest(open, &[followed("ok", Some(20), true)]).ended_at,
            None
        );
    }

    #[test]
    fn a_message_is_open_until_its_run_ends_or_nothing_knows_it_for_long() {
        assert!(followed("pending", None, false).is_open(900_000, true));
        assert!(followed("timeout", None, false).is_open(1_000, true));
        assert!(!followed("timeout", None, false).is_open(1_000 + 30_000, true));
        assert!(followed("timeout", None, false).is_open(900_000, false));
        assert!(!followed("ok", Some(3), false).is_open(1_000, false));
    }

    #[test]
    fn what_a_lost_message_left_is_no_end_of_the_session() {
        let all = vec![
            message(
                json!({"role": "assistant", "content": "Fine.", "stopReason": "stop", "__openclaw": {"runId": "r"}}),
            ),
            message(
                json!({"role": "assistant", "content": "", "stopReason": "error", "__openclaw": {"runId": "s"}}),
            ),
        ];
        assert_eq!(
            without_lost(all.clone(), &[followed("error", Some(7), false)]).len(),
            1
        );
        assert_eq!(
            without_lost(all.clone(), &[followed("error", Some(7), true)]).len(),
            2
        );
        assert_eq!(without_lost(all, &[]).len(), 2);
    }

    #[test]
    fn an_unanswered_message_is_taken_off_the_end_alone() {
        let user = |key: &str| {
            message(
                json!({"role": "user", "content": "x", "idempotencyKey": format!("{key}:user")}),
            )
        };
        let reply = message(json!({"role": "assistant", "content": "Fine.", "stopReason": "stop"}));
        let steers = [Steer::new("s", "x", false, 0)];
        let (kept, some) = without_unanswered(vec![user("r"), reply.clone(), user("s")], &steers);
        assert_eq!((kept.len(), some), (2, true));
        let (kept, some) = without_unanswered(vec![user("r"), user("s"), reply], &steers);
        assert_eq!((kept.len(), some), (3, false));
        let (kept, some) = without_unanswered(vec![user("r")], &steers);
        assert_eq!((kept.len(), some), (1, false));
    }

    #[test]
    fn the_answer_says_what_became_of_a_message() {
        let none = wait("timeout", None);
        assert_eq!(fate(true, true, &none, false), Fate::Interrupted);
        assert_eq!(fate(true, false, &none, true), Fate::Injected);
        assert_eq!(
            fate(true, false, &wait("pending", None), false),
            Fate::Queued
        );
        assert_eq!(
            fate(true, false, &wait("ok", Some(1)), false),
            Fate::Pending
        );
        assert_eq!(fate(false, false, &none, true), Fate::Started);
        assert_eq!(fate(false, false, &none, false), Fate::Pending);
    }
}
