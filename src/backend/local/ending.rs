//! How a local run ended, as a decision on what is known. Pure.

use crate::backend::local::run_files::{Exit, ExitRecord, StopReason, StopRecord};
use crate::failure::policy::OWN_LIMIT;
use crate::failure::{self, Reading};
use crate::record::FailureKind;

/// The most bytes of what a command said that go into an error message.
pub const QUOTED_BYTES: usize = 1024;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Exit code 0, and nobody stopped it before.
    Reply,
    /// Any other way.
    Failed {
        /// What kind of failure it is, and what more is known of it.
        reading: Reading,
        /// One sentence for people.
        message: String,
        /// It was cancelled on request.
        cancelled: bool,
    },
}

/// What is known when nothing of the run is alive any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains<'a> {
    /// What the waiter wrote, if it lived to write it.
    pub exit: Option<&'a ExitRecord>,
    /// The request to stop, if there was one.
    pub stop: Option<&'a StopRecord>,
    /// The time limit, in ms.
    pub timeout_ms: Option<u64>,
    /// The end of stderr.
    pub stderr_tail: &'a str,
    /// What an agent said last, on stderr and on stdout; `None` for a command without a prompt, whose words are no
    /// provider's, whatever they look like.
    pub last_words: Option<[&'a str; 2]>,
    /// Now, ms since the epoch.
    pub now_ms: i64,
}

/// The command ended before it was asked to stop: by itself, whatever came later.
pub fn ended_by_itself(exit: Option<&ExitRecord>, stop: Option<&StopRecord>) -> bool {
    match (exit, stop) {
        (Some(exit), Some(stop)) => exit.at_ms <= stop.at_ms,
        (exit, None) => exit.is_some(),
        (None, Some(_)) => false,
    }
}

/// Decides.
pub fn ending(remains: &Remains<'_>) -> Ending {
    let by_itself = ended_by_itself(remains.exit, remains.stop);
    if let Some(stop) = remains.stop.filter(|_| !by_itself) {
        return stopped_ending(stop, remains);
    }
    let Some(exit) = remains.exit else {
        return failed(
            FailureKind::RunnerLost,
            "the command and its runner are gone without an exit status (killed, or the machine restarted)",
        );
    };
    match &exit.exit {
        Exit::Code(0) => Ending::Reply,
        Exit::Code(code) => agents_failure(*code, exit, remains),
        Exit::Signal(signal) => {
            let what = format!("the command was ended by {}", signal_name(*signal));
            failed(
                FailureKind::Command,
                &with_tail(&with_unkept(what, exit), remains.stderr_tail),
            )
        }
        Exit::NotStarted(why) => failed(FailureKind::Spawn, why),
    }
}

/// What the disk has to do with it is said first: what the command says about it may be cut by the same.
fn with_unkept(what: String, exit: &ExitRecord) -> String {
    match exit.unkept.as_deref() {
        Some(why) => format!("{what} ({})", unkept_words(why)),
        None => what,
    }
}

/// That the disk did not take all of the command's output, or may not have; `why` names place, time and error.
pub fn unkept_words(why: &str) -> String {
    format!("its output may not be whole: {why}")
}

/// An agent that gives up after an error of its model's side says so in its last line.
fn agents_failure(code: i32, exit: &ExitRecord, remains: &Remains<'_>) -> Ending {
    let exited = with_unkept(format!("the command exited with code {code}"), exit);
    models_failure(&exited, remains).unwrap_or_else(|| {
        failed(
            FailureKind::Command,
            &with_tail(&exited, remains.stderr_tail),
        )
    })
}

/// What the agent's last line says of its model's side.
fn models_failure(what: &str, remains: &Remains<'_>) -> Option<Ending> {
    let said = remains.last_words.iter().flatten();
    let (line, reading) = said
        .filter_map(|words| last_line(words))
        .map(plain)
        .map(|line| {
            let reading = failure::read_last_words(&line, remains.now_ms);
            (line, reading)
        })
        .find(|(_, reading)| reading.is_models())?;
    Some(Ending::Failed {
        message: format!("{what}: {}", quoted(&line)),
        reading,
        cancelled: false,
    })
}

fn last_line(words: &str) -> Option<&str> {
    words.lines().map(str::trim).rfind(|line| !line.is_empty())
}

/// The beginning of a line, short enough for a message.
fn quoted(line: &str) -> String {
    let mut end = line.len().min(QUOTED_BYTES);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let beginning = line.get(..end).unwrap_or_default();
    let cut = if end < line.len() { "…" } else { "" };
    format!("{beginning}{cut}")
}

/// A line without the colours that an agent gives it on a terminal.
fn plain(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, escape)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        let sequence = escape.strip_prefix('[').unwrap_or(escape);
        let end = sequence.find(|c: char| c.is_ascii_alphabetic());
        rest = end.map_or("", |end| sequence.get(end + 1..).unwrap_or_default());
    }
    plain.push_str(rest);
    plain.trim().to_owned()
}

fn stopped_ending(stop: &StopRecord, remains: &Remains<'_>) -> Ending {
    match stop.reason {
        StopReason::Cancel => Ending::Failed {
            reading: FailureKind::Aborted.into(),
            message: "cancelled on request".to_owned(),
            cancelled: true,
        },
        StopReason::Timeout => {
            let limit = remains.timeout_ms.map_or_else(String::new, |ms| {
                format!(
                    " of {}",
                    humantime::format_duration(std::time::Duration::from_millis(ms))
                )
            });
            failed(
                FailureKind::Timeout,
                &with_tail(&format!("{OWN_LIMIT}{limit}"), remains.stderr_tail),
            )
        }
        StopReason::Takeover => {
            let seen = stop.seen.as_deref();
            let seen = seen.unwrap_or("another program wrote to the session's transcript");
            let what = format!("{seen}; the command was stopped");
            // An agent whose provider failed may write to its session on the way to its next try.
            models_failure(&what, remains)
                .unwrap_or_else(|| failed(FailureKind::SessionTakeover, &what))
        }
    }
}

fn failed(kind: FailureKind, message: &str) -> Ending {
    Ending::Failed {
        reading: kind.into(),
        message: message.to_owned(),
        cancelled: false,
    }
}

fn with_tail(what: &str, stderr_tail: &str) -> String {
    match stderr_tail.trim() {
        "" => what.to_owned(),
        tail => format!("{what}: {tail}"),
    }
}

/// `SIGTERM (15)`; numbers of real-time signals have no name.
fn signal_name(signal: i32) -> String {
    match signal_hook::low_level::signal_name(signal) {
        Some(name) => format!("{name} ({signal})"),
        None => format!("signal {signal}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(exit: Exit, at_ms: i64) -> ExitRecord {
        ExitRecord {
            exit,
            unkept: None,
            at_ms,
        }
    }

    fn stop(reason: StopReason, at_ms: i64) -> StopRecord {
        StopRecord {
            reason,
            at_ms,
            seen: None,
        }
    }

    fn decide(
        exit: Option<ExitRecord>,
        stop: Option<StopRecord>,
        stderr_tail: &str,
    ) -> (Option<FailureKind>, bool, String) {
        let ending = ending(&Remains {
            exit: exit.as_ref(),
            stop: stop.as_ref(),
            timeout_ms: Some(90_000),
            stderr_tail,
            last_words: None,
            now_ms: 0,
        });
        match ending {
            Ending::Reply => (None, false, String::new()),
            Ending::Failed {
                reading,
                message,
                cancelled,
            } => (Some(reading.kind), cancelled, message),
        }
    }

    #[test]
    fn each_end_has_its_kind_and_sentence() {
        use FailureKind::*;
        let cases = [
            (Some(exit(Exit::Code(0), 5)), None, None, ""),
            (
                Some(exit(Exit::Code(3), 5)),
                None,
                Some(Command),
                "the command exited with code 3: boom",
            ),
            (
                Some(exit(Exit::Signal(9), 5)),
                None,
                Some(Command),
                "the command was ended by SIGKILL (9): boom",
            ),
            (
                Some(exit(Exit::NotStarted("no".into()), 5)),
                None,
                Some(Spawn),
                "no",
            ),
            (
                None,
                Some(stop(StopReason::Timeout, 5)),
                Some(Timeout),
                "stopped at its time limit of 1m 30s: boom",
            ),
            (
                Some(exit(Exit::Code(0), 9)),
                Some(stop(StopReason::Timeout, 5)),
                Some(Timeout),
                "stopped at its time limit of 1m 30s: boom",
            ),
        ];
        for (exit, stop, kind, message) in cases {
            let found = decide(exit.clone(), stop.clone(), " boom\n");
            assert_eq!(
                found,
                (kind, false, message.to_owned()),
                "{exit:?} {stop:?}"
            );
        }
        assert_eq!(decide(None, None, "").0, Some(RunnerLost));
    }

    #[test]
    fn a_full_disk_is_told_beside_the_exit_code() {
        let mut full = exit(Exit::Code(1), 5);
        full.unkept =
            Some("/run took no more at noon: No space left on device (os error 28)".to_owned());
        let (_, _, message) = decide(Some(full.clone()), None, " boom\n");
        assert_eq!(
            message,
            "the command exited with code 1 (its output may not be whole: /run took no more at noon: No space left on device (os error 28)): boom"
        );
        // The request to stop explains the end.
        let (_, _, message) = decide(Some(full), Some(stop(StopReason::Cancel, 4)), "");
        assert_eq!(message, "cancelled on request");
    }

    #[test]
    fn a_reply_that_was_complete_before_the_stop_wins() {
        let done = Some(exit(Exit::Code(0), 5));
        assert_eq!(
            decide(done.clone(), Some(stop(StopReason::Cancel, 5)), "").0,
            None
        );
        assert_eq!(
            decide(done, Some(stop(StopReason::Cancel, 4)), ""),
            (
                Some(FailureKind::Aborted),
                true,
                "cancelled on request".to_owned()
            )
        );
    }

    #[test]
    fn an_agents_last_line_names_the_models_failure_and_a_commands_words_do_not() {
        let overload = "API Error: 529 {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}";
        let limit = "error: 429 Too Many Requests: try again in 20s";
        let harmless = "see issue 529 for what is overloaded";
        let counted = "529 passed, 1 failed";
        let cases = [
            (Some([overload, ""]), Some(FailureKind::Overload)),
            (
                Some(["", "working\n\nAPI Error: 529 Overloaded\n\n"]),
                Some(FailureKind::Overload),
            ),
            (Some([limit, "fine"]), Some(FailureKind::RateLimit)),
            (
                Some(["\u{1b}[31mAPI Error: 529 Overloaded\u{1b}[0m\n", ""]),
                Some(FailureKind::Overload),
            ),
            (Some([harmless, harmless]), Some(FailureKind::Command)),
            (Some(["", counted]), Some(FailureKind::Command)),
            (
                Some(["LLM request timed out.", ""]),
                Some(FailureKind::Timeout),
            ),
            (Some(["Request timed out.", ""]), Some(FailureKind::Command)),
            (
                Some(["529 Overloaded\nbut that is long ago", ""]),
                Some(FailureKind::Command),
            ),
            (None, Some(FailureKind::Command)),
        ];
        let exit = exit(Exit::Code(1), 5);
        for (last_words, expected) in cases {
            let ending = ending(&Remains {
                exit: Some(&exit),
                stop: None,
                timeout_ms: None,
                stderr_tail: last_words.map_or(overload, |[stderr, _]| stderr),
                last_words,
                now_ms: 0,
            });
            let Ending::Failed { reading, .. } = ending else {
                panic!("{last_words:?}");
            };
            let kind = reading.kind;
            assert_eq!(Some(kind), expected, "{last_words:?}");
            assert_eq!(
                reading.retry_after_ms.is_some(),
                kind == FailureKind::RateLimit
            );
        }
    }

    #[test]
    fn a_takeover_says_what_was_seen_unless_a_provider_failed_before() {
        let stop = StopRecord {
            reason: StopReason::Takeover,
            at_ms: 5,
            seen: Some("another program added 7 bytes".to_owned()),
        };
        let decide = |exit: Option<ExitRecord>, last_words| {
            let ending = ending(&Remains {
                exit: exit.as_ref(),
                stop: Some(&stop),
                timeout_ms: None,
                stderr_tail: "",
                last_words,
                now_ms: 0,
            });
            match ending {
                Ending::Reply => None,
                Ending::Failed {
                    reading, message, ..
                } => Some((reading.kind, message)),
            }
        };
        let stopped = "another program added 7 bytes; the command was stopped";
        let takeover = Some((FailureKind::SessionTakeover, stopped.to_owned()));
        let late = |code| Some(exit(Exit::Code(code), 6));
        assert_eq!(decide(Some(exit(Exit::Signal(15), 6)), None), takeover);
        assert_eq!(decide(late(0), None), takeover);
        assert_eq!(decide(None, Some(["", "working"])), takeover);
        // The agent's own next try changed the session: what made it try again is the cause.
        assert_eq!(
            decide(late(1), Some(["API Error: 529 Overloaded", ""])),
            Some((
                FailureKind::Overload,
                format!("{stopped}: API Error: 529 Overloaded")
            ))
        );
        // It had ended by itself before anything was seen.
        assert_eq!(decide(Some(exit(Exit::Code(0), 5)), None), None);
        let failed = decide(Some(exit(Exit::Code(2), 4)), None).expect("it failed");
        assert_eq!(failed.0, FailureKind::Command);
    }
}
