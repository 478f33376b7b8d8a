//! Taking the text of a failure apart: wrappers off, compounds into their causes, each cause read by itself.

use std::sync::LazyLock;

use regex::Regex;

use super::{Certainty, Facts, Speaker, facts, retry_after, words};
use crate::record::{FailureKind, json};

/// A text is read up to here, in bytes.
const MAX_BYTES: usize = 32 * 1024;

/// How many wrappers are taken off one text.
const MAX_DEPTH: usize = 8;

/// What a text says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Said {
    /// The kind, if it names one.
    pub(super) verdict: Option<(FailureKind, Certainty)>,
    /// The cause that decided, where there were several.
    pub(super) decided_by: Option<String>,
    /// The provider of that cause.
    pub(super) provider: Option<String>,
    /// The model of that cause.
    pub(super) model: Option<String>,
    /// The time to wait, in ms.
    pub(super) retry_after_ms: Option<u64>,
    /// Of a time-out: the model did not answer in time.
    pub(super) model_silent: bool,
}

/// Where a part of a text stands.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Who wrote it.
    speaker: Speaker,
    /// In ms since the epoch.
    now_ms: i64,
    /// How many wrappers were taken off.
    depth: usize,
}

impl Place {
    /// Behind one more wrapper.
    fn inside(self) -> Self {
        let depth = self.depth + 1;
        Self { depth, ..self }
    }

    /// Behind words that only a provider's error has in front.
    fn quoted(self) -> Self {
        let speaker = Speaker::Provider;
        Self { speaker, ..self }
    }
}

/// Reads a text that `speaker` wrote. `now_ms` since the epoch.
pub(super) fn read(text: &str, speaker: Speaker, now_ms: i64) -> Said {
    let mut end = text.len().min(MAX_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let depth = 0;
    let place = Place {
        speaker,
        now_ms,
        depth,
    };
    read_part(text.get(..end).unwrap_or_default(), place)
}

fn read_part(text: &str, place: Place) -> Said {
    let text = unwrapped(text);
    if place.depth == MAX_DEPTH {
        return Said::default();
    }
    if let Some(inner) = log_line(text) {
        return read_part(&inner, place.quoted().inside());
    }
    if let Some((name, rest)) = words::class(text)
        && matches!(name, "FallbackSummaryError" | "FailoverError" | "Error")
        && attempts(rest).is_some()
    {
        return read_part(rest, place.inside());
    }
    if let Some(attempts) = attempts(text) {
        let place = match of_models(text) {
            true => place.quoted(),
            false => place,
        };
        let read = attempts.iter().map(|attempt| {
            let mut said = read_attempt(attempt, place.inside());
            said.decided_by = Some((*attempt).to_owned());
            said
        });
        return decisive(read.collect());
    }
    // A text that is one attempt, as it is named when it decided.
    if let Some(said) = lone_attempt(text, place) {
        return said;
    }
    let chain: Vec<&str> = text
        .split(" | ")
        .flat_map(|part| part.split(" <- "))
        .collect();
    if chain.len() > 1 && !text.starts_with('{') {
        let read = chain.iter().map(|cause| {
            let mut said = read_part(cause, place.inside());
            let named = said.decided_by.take();
            said.decided_by = named.or_else(|| Some(unwrapped(cause).to_owned()));
            said
        });
        let mut said = decisive(read.collect());
        if said.verdict.is_none() {
            said.decided_by = None;
        }
        return said;
    }
    read_cause(text, place)
}

/// White space and warning signs off both ends.
fn unwrapped(text: &str) -> &str {
    text.trim()
        .trim_start_matches(['⚠', '\u{fe0f}', '❌', '✗', '✖', '✕'])
        .trim_start()
}

/// The error in a gateway's log line: `lane task error: lane=main durationMs=3 error="..."`.
fn log_line(text: &str) -> Option<String> {
    static LINE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r#"(?s)^[^"]{0,200}?\blane task error:? lane=\S+ (?:durationMs=[0-9]+ )?error="(.*)"\s*$"#,
        )
        .expect("the pattern is a constant that the tests compile")
    });
    let error = LINE.captures(text)?.get(1)?.as_str();
    Some(error.replace("\\\"", "\""))
}

/// A compound that is about models; a program's may be about its tests.
fn of_models(text: &str) -> bool {
    let header = text.split(':').next().unwrap_or_default();
    header.to_ascii_lowercase().contains("model")
}

/// The attempts of `All models failed (3): a/b: x | c/d: y | ...`. A bar inside an attempt does not part it.
fn attempts(text: &str) -> Option<Vec<&str>> {
    static HEADER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)^all [^:\n]{1,60} failed \([0-9]{1,4}\): *")
            .expect("the pattern is a constant that the tests compile")
    });
    let body = text.get(HEADER.find(text)?.end()..)?;
    let mut attempts: Vec<&str> = Vec::new();
    let mut start = 0;
    for (at, bar) in body.match_indices(" | ") {
        let next = at + bar.len();
        let begins = body.get(next..).is_some_and(|rest| named(rest).is_some());
        let whole = body.get(start..).is_some_and(|rest| named(rest).is_none());
        if begins || whole {
            attempts.extend(body.get(start..at));
            start = next;
        }
    }
    attempts.extend(body.get(start..));
    Some(attempts)
}

/// `provider/model: words`.
fn named(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once(": ")?;
    let (provider, model) = name.split_once('/')?;
    let part = |part: &str| !part.is_empty() && !part.contains([' ', '\n', '"', '{', '(']);
    let plain = part(provider) && part(model) && !name.contains("://") && !name.starts_with('/');
    plain.then_some((provider, model, rest))
}

/// The gateway's failover reason at the end: `... (rate_limit)`.
fn reason(text: &str) -> Option<(&str, FailureKind)> {
    let inside = text.strip_suffix(')')?;
    let (words, reason) = inside.rsplit_once(" (")?;
    Some((words, facts::of_failover_reason(reason)?))
}

fn read_attempt(attempt: &str, place: Place) -> Said {
    let (owner, rest) = match named(attempt) {
        Some((provider, model, rest)) => (Some((provider, model)), rest),
        None => (None, attempt),
    };
    let speaks_provider = place.speaker == Speaker::Provider;
    let (rest, typed) = match owner.and_then(|_| reason(rest).filter(|_| speaks_provider)) {
        Some((words, kind)) => (words, Some((kind, Certainty::Says))),
        None => (rest, None),
    };
    let mut said = read_part(rest, place);
    if typed.is_some() {
        // The attempt as a whole decides, not what is quoted in it.
        said.verdict = typed;
        said.decided_by = None;
    }
    if let Some((provider, model)) = owner {
        said.provider = Some(provider.to_owned());
        said.model = Some(model.to_owned());
    }
    said
}

/// One attempt by itself; the provider's name alone is too weak a form, so it must tell of a failure.
fn lone_attempt(text: &str, place: Place) -> Option<Said> {
    named(text)?;
    let said = read_attempt(text, place.inside());
    said.verdict.is_some().then_some(said)
}

/// Which of several causes decides: what a later try may mend, then what the model's side said first, then what happened
/// around it.
fn decisive(all: Vec<Said>) -> Said {
    let rank = |said: &Said| match said.verdict {
        Some((FailureKind::GatewayRestart, _)) => 0,
        Some((FailureKind::Overload | FailureKind::RateLimit, _)) => 1,
        Some((
            FailureKind::Auth
            | FailureKind::Billing
            | FailureKind::ContextLength
            | FailureKind::Timeout,
            _,
        )) => 2,
        Some((FailureKind::Model, Certainty::Says)) => 2,
        Some((FailureKind::Model, Certainty::Suggests)) => 3,
        Some((FailureKind::Aborted, _)) => 4,
        Some((FailureKind::SessionTakeover, _)) => 5,
        Some(_) => 6,
        None => 7,
    };
    all.into_iter().min_by_key(rank).unwrap_or_default()
}

/// One cause: what its fields, its class, its status and its first words say.
fn read_cause(text: &str, mut place: Place) -> Said {
    let now_ms = place.now_ms;
    let mut rest = unwrapped(text);
    let mut suggested = None;
    let mut by_failover = false;
    let mut by_provider = false;
    for _ in 0..MAX_DEPTH {
        if let Some((name, after)) = words::class(rest) {
            let known = words::of_class(name).filter(|known| {
                // Any program may find something not to be there.
                place.speaker == Speaker::Provider
                    || *known != (FailureKind::Model, Certainty::Suggests)
            });
            match known {
                Some((kind, Certainty::Says)) => return said(kind, Certainty::Says, text, now_ms),
                weaker => suggested = suggested.or(weaker),
            }
            by_failover |= name == "FailoverError";
            if known.is_some() || by_failover {
                place = place.quoted();
            }
            rest = after;
            continue;
        }
        match words::framed(rest) {
            Some((after, is_agents)) => {
                rest = unwrapped(after);
                by_provider |= is_agents;
                place = place.quoted();
            }
            None => break,
        }
    }
    if let Some((provider, model, status)) = words::failed_request(rest) {
        let (kind, how) = facts::of_status(status).unwrap_or((FailureKind::Model, Certainty::Says));
        let mut said = said(kind, how, text, now_ms);
        said.provider = Some(provider.to_owned());
        said.model = Some(model.to_owned());
        return said;
    }
    if let Some((status, after)) = words::status(rest, place.speaker) {
        match facts::of_status(status) {
            Some((kind, Certainty::Says)) => return said(kind, Certainty::Says, text, now_ms),
            weaker => suggested = weaker.or(suggested),
        }
        rest = unwrapped(after);
        by_provider = true;
    }
    if let Some(mut told) = body(rest, place) {
        told.verdict = stronger(told.verdict, suggested);
        told.model_silent |= by_provider && times_out(told.verdict);
        return told;
    }
    let wait = retry_after::in_text(text, now_ms);
    let beginning = words::of_beginning(rest, wait.is_some());
    let verdict = match stronger(beginning, suggested) {
        // A failover that names no cause is for want of capacity.
        None | Some((FailureKind::Model, Certainty::Suggests)) if by_failover => match suggested {
            Some(verdict) => Some(verdict),
            None => Some((FailureKind::Overload, Certainty::Suggests)),
        },
        verdict => verdict,
    };
    Said {
        verdict,
        model_silent: times_out(verdict) && (by_provider || words::names_silence(rest)),
        retry_after_ms: wait,
        ..Said::default()
    }
}

fn times_out(verdict: Option<(FailureKind, Certainty)>) -> bool {
    matches!(verdict, Some((FailureKind::Timeout, _)))
}

/// What a provider's class or status says.
fn said(kind: FailureKind, how: Certainty, text: &str, now_ms: i64) -> Said {
    Said {
        verdict: Some((kind, how)),
        model_silent: kind == FailureKind::Timeout,
        retry_after_ms: retry_after::in_text(text, now_ms),
        ..Said::default()
    }
}

/// The better of two pieces of evidence about one cause.
fn stronger(
    one: Option<(FailureKind, Certainty)>,
    other: Option<(FailureKind, Certainty)>,
) -> Option<(FailureKind, Certainty)> {
    match (one, other) {
        (Some((kind, Certainty::Says)), _) => Some((kind, Certainty::Says)),
        (Some((FailureKind::Model, _)), Some(other)) => Some(other),
        (one, other) => one.or(other),
    }
}

/// A provider's JSON answer: its typed fields, and the words in it.
fn body(text: &str, place: Place) -> Option<Said> {
    let whole = text.starts_with(['{', '[']).then_some(text)?;
    let value = json::parse_value(whole).ok()?;
    let value = match value {
        serde_json::Value::Array(mut items) if !items.is_empty() => items.swap_remove(0),
        value => value,
    };
    let facts = Facts::from_value(&value);
    // What an agent's command line was told instead of an answer.
    let is_error = value.get("is_error") == Some(&serde_json::Value::Bool(true));
    let result = is_error.then_some("/result");
    let paths = ["/error/message", "/message", "/error", "/detail"];
    let mut told = paths
        .into_iter()
        .chain(result)
        .filter_map(|path| value.pointer(path)?.as_str())
        .map(|inner| read_part(inner, place.inside()));
    let first = told.next().unwrap_or_default();
    let mut said = match first.verdict {
        Some(_) => first,
        None => told.find(|said| said.verdict.is_some()).unwrap_or(first),
    };
    said.decided_by = None;
    // An array of bodies, or a code that only suggests, is told better by its words.
    said.verdict = stronger(facts.verdict(), said.verdict);
    said.model_silent |= facts.tell_of_silence() && times_out(said.verdict);
    said.retry_after_ms = facts.retry_after_ms.or(said.retry_after_ms);
    said.provider = said.provider.or(facts.provider);
    said.model = said.model.or(facts.model);
    Some(said)
}
