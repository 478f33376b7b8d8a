//! What a gateway's agent is told around its task: who it works for, how to report, how to signal the end. Pure.
//!
//! The task itself stands in it byte for byte. Every line that the agent's shell is to run is quoted for a shell, and needs
//! nothing of this process's environment; no secret is in it. What a person sends into a running session gets no brief.

mod asks;
pub mod git_order;

use std::path::Path;

use serde_json::{Map, Value};

use crate::record::{Entry, FailureKind, Generation};
use crate::session::exec_event::without_time;
use crate::shell;

/// How every brief begins. No line may begin with one word in brackets: the newer generation of gateways looks behind such a
/// line for a tool's call, in every line that follows, and over a prompt of megabytes that takes it many minutes.
const OPENING: &str = "[Sub-agent context]";

/// What stands before the chat's id in a prompt that came from a chat.
const CHAT_MARK: &str = "ORIGIN_CHAT_ID:";

/// A run that is shorter did nothing, as a rule.
const LEAST_RUN_S: i64 = 60;

/// The same for a run that was given more time than [`LONG_LIMIT_S`].
const LEAST_LONG_RUN_S: i64 = 120;

/// Time limits above this promise work that takes a while.
const LONG_LIMIT_S: u64 = 600;

/// How a shell that knows nothing of this process's environment calls `dispatch` on the same ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The program's absolute path.
    pub program: String,
    /// The variables without which it would look elsewhere.
    pub variables: Vec<(&'static str, String)>,
}

impl Reach {
    /// The program at `program`, with the variables that name its files.
    pub fn new(program: &Path, variables: Vec<(&'static str, &Path)>) -> Self {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let variables = variables.into_iter();
        Self {
            program: text(program),
            variables: variables.map(|(name, path)| (name, text(path))).collect(),
        }
    }

    /// The line that calls it with these words, quoted for a shell.
    pub fn line<'a>(&self, words: impl IntoIterator<Item = &'a str>) -> String {
        let variables = self.variables.iter();
        let mut line: Vec<String> = variables
            .map(|(name, value)| format!("{name}={}", shell::word(value)))
            .collect();
        line.push(shell::word(&self.program).into_owned());
        line.extend(words.into_iter().map(|word| shell::word(word).into_owned()));
        line.join(" ")
    }
}

/// Who waits for the work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audience {
    /// The chat that the result goes to.
    pub chat: Option<String>,
    /// Where the request came from, or where the result goes.
    pub origin: Option<String>,
    /// The result is sent to somebody, rather than kept to be read.
    pub is_told: bool,
    /// So are notes.
    pub hears_notes: bool,
}

impl Audience {
    /// The audience of an entry.
    pub fn of_entry(entry: &Entry) -> Self {
        let to = entry.text("deliverTo").map(one_line);
        let channel = entry.text("deliverChannel").unwrap_or("telegram");
        let is_chat = !matches!(channel, "webhook" | "command");
        let announces = entry.text("deliveryMode") != Some("none");
        let origin = entry.text("origin").or_else(|| entry.text("requester"));
        let hears_notes = announces && to.is_some();
        Self {
            origin: origin
                .map(one_line)
                .or_else(|| Some(format!("{channel}:{}", to.as_ref()?))),
            is_told: hears_notes || (announces && entry.text("requester").is_some()),
            hears_notes,
            chat: to.filter(|_| is_chat),
        }
    }
}

/// Text from outside inside a sentence of ours: it begins no line of its own.
fn one_line(text: &str) -> String {
    text.split(char::is_control).collect::<Vec<_>>().join(" ")
}

/// A message that was sent into an earlier attempt: whoever begins anew has not heard it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The whole message.
    pub text: String,
    /// It stopped what the agent was doing then.
    pub interrupts: bool,
}

/// Everything that a brief is made of.
#[derive(Debug, Clone)]
pub struct Brief<'a> {
    /// The label.
    pub label: &'a str,
    /// Its generation.
    pub generation: Generation,
    /// How to call `dispatch`.
    pub reach: &'a Reach,
    /// Who waits for the work.
    pub audience: &'a Audience,
    /// The user's own prompt.
    pub task: &'a str,
    /// The run's time limit in seconds.
    pub timeout_s: Option<u64>,
    /// The directory whose repository holds the work's commits.
    pub cwd: Option<&'a str>,
    /// Which attempt it is, from 1.
    pub attempt: u32,
    /// How the attempt before it failed.
    pub retry_of: Option<FailureKind>,
    /// What was sent into the attempts before, oldest first.
    pub told: &'a [Told],
}

impl Brief<'_> {
    /// The whole text, as it is sent.
    pub fn compose(&self) -> String {
        let mut text = self.context();
        if self.attempt > 1 {
            text.push_str(&self.retry());
        }
        if self.audience.hears_notes {
            text.push_str(&self.progress());
        }
        text.push_str(&self.task());
        text.push_str(&self.signal());
        text.push_str(&self.delivery());
        text
    }

    fn context(&self) -> String {
        format!(
            "{OPENING} You work as a sub-agent on one task, unattended: nobody reads along and nobody answers questions. Decide yourself what the task leaves open, and see it through. Your label is \"{}\", generation {}.\n",
            self.label, self.generation
        )
    }

    fn retry(&self) -> String {
        let why = match self.retry_of {
            Some(FailureKind::GatewayRestart) => "the gateway was restarted",
            Some(FailureKind::RateLimit) => "the model's provider had too many requests",
            Some(FailureKind::SessionTakeover) => "something else wrote to the session",
            Some(FailureKind::Overload) | None => "the model's provider was overloaded",
            Some(_) => "it failed",
        };
        format!(
            "\nThis is a retry (attempt {}): the attempt before it ended early because {why}. Go on with what is already done, if anything is; the task is the same.\n",
            self.attempt
        )
    }

    fn progress(&self) -> String {
        let line = self.line("note", &["What is done, and what comes next"]);
        format!(
            "\n--- Progress ---\nWhoever asked can be told how it goes. At a milestone of a long task run this line, with your own words at its end:\n\n{line}\n"
        )
    }

    fn task(&self) -> String {
        let mut text = "\n--- Task ---\n".to_owned();
        let is_marked = |text: &str| text.contains(CHAT_MARK);
        let is_named = is_marked(self.task) || self.told.iter().any(|told| is_marked(&told.text));
        if let Some(chat) = self.audience.chat.as_ref().filter(|_| !is_named) {
            text.push_str(&format!("{CHAT_MARK} {chat}\n\n"));
        }
        text.push_str(self.task);
        for told in self.told {
            let how = match told.interrupts {
                true => ", in place of what it was doing until then",
                false => "",
            };
            text.push_str(&format!(
                "\n\n[This was sent while an earlier attempt was at work{how}:]\n\n{}",
                told.text
            ));
        }
        text.push_str("\n--- End of the task ---\n");
        text
    }

    fn signal(&self) -> String {
        let asked = asks::of(self.task);
        let mut checklist = Map::new();
        let mut ready = vec![
            "Everything that the task asks for is done, and nothing that you started for it is still running.",
            "You have looked at the outcome yourself, and what was wrong with it is mended.",
        ];
        checklist.insert("work_complete".to_owned(), Value::Bool(true));
        if asked.tests {
            ready.push("The tests that the task asks for were run, and they pass.");
            checklist.insert("tests_passed".to_owned(), Value::Bool(true));
        }
        if asked.push {
            ready.push("What the task wants pushed is pushed.");
            checklist.insert("pushed".to_owned(), Value::Bool(true));
        }
        ready.push(
            "You can say in a few sentences what came of it, to somebody who reads nothing else.",
        );
        let generation = self.generation.to_string();
        let checklist = Value::Object(checklist).to_string();
        let mut line = self.line(
            "done",
            &[
                "--generation",
                &generation,
                "--summary",
                "What came of it",
                "--checklist",
                &checklist,
            ],
        );
        if asked.git {
            line.push_str(" --sha \"$(git rev-parse HEAD)\"");
        }
        let mut text =
            "\n--- Completion signal ---\nSignal the end once, and only when all of this is true:\n"
                .to_owned();
        for (number, sentence) in (1..).zip(ready) {
            text.push_str(&format!("{number}. {sentence}\n"));
        }
        text.push_str(&format!(
            "\nThen run this line, with your own summary:\n\n{line}\n\n{}",
            self.rules(asked.git)
        ));
        text
    }

    /// What `done` insists on.
    fn rules(&self, needs_sha: bool) -> String {
        let least_s = least_run_s(self.timeout_s);
        let mut rules = vec![
            "The checklist is a JSON object with \"work_complete\": true. \"tests_passed\" and \"pushed\" belong into it where there were tests or a push, and neither may be false; further keys are yours. Put down only what is so.".to_owned(),
        ];
        if needs_sha {
            let whose = self.cwd.map_or_else(
                || "the task's repository".to_owned(),
                |cwd| format!("the repository at {}", one_line(cwd)),
            );
            rules.push(format!(
                "--sha names the commit that holds the work: 7 to 40 hex digits, a commit of {whose}."
            ));
        }
        rules.extend([
            format!(
                "A signal within {least_s} seconds of the start is taken for a mistake. Where the task really took no longer, add: --force-done --reason 'why it was so quick'"
            ),
            "The line is for a POSIX shell: a single quote inside a quoted text is written '\\''.".to_owned(),
            "An answer that begins with REJECTED says what is missing, and nothing was recorded: put it right and run the line again.".to_owned(),
            "If the task cannot be finished, send no signal: say in your last reply what is missing and why.".to_owned(),
            "If the line cannot be run where you are, your last reply counts as the result.".to_owned(),
        ]);
        rules.iter().map(|rule| format!("- {rule}\n")).collect()
    }

    fn delivery(&self) -> String {
        let (who, where_from) = match (self.audience.is_told, &self.audience.origin) {
            (true, Some(origin)) => ("is delivered by dispatch", format!(" to {origin}")),
            (true, None) => ("is delivered by dispatch", String::new()),
            (false, Some(origin)) => (
                "is kept by dispatch",
                format!("; it was asked for by {origin}"),
            ),
            (false, None) => ("is kept by dispatch", " for whoever asked".to_owned()),
        };
        format!(
            "\n--- Delivery ---\nYour result, which is the summary of the signal or else your last reply, {who}{where_from}. Do not send it yourself: the message tool is not for results, and they would arrive twice.\n"
        )
    }

    /// A line that speaks for this label. A label that looks like a flag stays in one word with its own.
    fn line(&self, command: &str, words: &[&str]) -> String {
        let joined = format!("--label={}", self.label);
        let label: &[&str] = match self.label.starts_with('-') {
            true => &[&joined],
            false => &["--label", self.label],
        };
        let all = [&[command], label, words].concat();
        self.reach.line(all)
    }
}

/// In how many seconds nobody believes that the work is done, for a run with this time limit.
pub fn least_run_s(timeout_s: Option<u64>) -> i64 {
    match timeout_s {
        Some(limit_s) if limit_s > LONG_LIMIT_S => LEAST_LONG_RUN_S,
        _ => LEAST_RUN_S,
    }
}

/// The text of a user line is a brief, whatever time the gateway has put before it.
pub fn is_brief(text: &str) -> bool {
    without_time(text.trim_start())
        .trim_start()
        .starts_with(OPENING)
}

#[cfg(test)]
mod tests;
