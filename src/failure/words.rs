//! The words of one cause: which kind they name. Every pattern begins where the cause begins.

use std::sync::LazyLock;

use regex::Regex;

use super::Certainty::{self, Says, Suggests};
use super::{Speaker, facts, policy};
use crate::record::FailureKind;

/// An error class in front of a cause, with what is known of the class alone.
const CLASSES: [(&str, FailureKind, Certainty); 14] = [
    (
        "EmbeddedAttemptSessionTakeoverError",
        FailureKind::SessionTakeover,
        Says,
    ),
    (
        "SessionWriteLockTimeoutError",
        FailureKind::SessionTakeover,
        Says,
    ),
    ("OverloadedError", FailureKind::Overload, Says),
    ("RateLimitError", FailureKind::RateLimit, Suggests),
    ("AuthenticationError", FailureKind::Auth, Says),
    ("PermissionDeniedError", FailureKind::Auth, Says),
    ("APITimeoutError", FailureKind::Timeout, Says),
    ("APIConnectionTimeoutError", FailureKind::Timeout, Says),
    ("APIUserAbortError", FailureKind::Aborted, Says),
    ("AbortError", FailureKind::Aborted, Says),
    ("APIConnectionError", FailureKind::Model, Suggests),
    ("InternalServerError", FailureKind::Model, Suggests),
    ("BadRequestError", FailureKind::Model, Suggests),
    ("NotFoundError", FailureKind::Model, Suggests),
];

/// How causes of a kind begin, in lower case. Ends of words count: `overloaded` is no `overloaded with options`.
const BEGINNINGS: [(FailureKind, &[&str]); 10] = [
    (
        FailureKind::GatewayRestart,
        &[
            r"agent run aborted for restart\b",
            r"openclaw_restart_abort\b",
            r"(?:the )?gateway (?:is|was) (?:restarting|restarted|draining)\b",
            r"service restart$",
        ],
    ),
    (
        FailureKind::SessionTakeover,
        &[
            r"session file changed while embedded prompt lock was released\b",
            r"session file locked \(timeout\b",
            r"session write[- ]lock (?:timed out|timeout)\b",
            r"file lock (?:stale|timeout|timed out) for .*\bcode=file_lock_(?:stale|timeout)\b",
        ],
    ),
    (
        FailureKind::Overload,
        &[
            r"overloaded(?:[.!:]|$)",
            r"overloaded_error\b",
            r"repeated 529 overloaded errors\b",
            r"(?:the|that|this|selected) (?:ai service|model|engine|server|service)(?: \S+)? is (?:currently |temporarily )?(?:overloaded(?: with other requests)?|at capacity)(?:[.,;:!]|$)",
            r"all models are (?:temporarily )?overloaded\b",
        ],
    ),
    (
        FailureKind::Billing,
        &[
            r"(?:your )?credit balance is too low\b",
            r"insufficient (?:credits?|balance|funds|quota)\b",
            r"(?:the )?(?:api )?provider returned a billing error\b",
            r"payment required(?:[.:]|$)",
            r"billing hard limit has been reached\b",
        ],
    ),
    (
        FailureKind::ContextLength,
        &[
            r"prompt is too long\b",
            r"context overflow\b",
            r"context limit exceeded\b",
            r"context (?:length|window) (?:was )?exceed(?:ed|s)\b",
            r"this model's maximum context length is\b",
            r"your input exceeds the context window\b",
            r"input (?:length|token count)\b.* exceeds?\b",
            r"the input token count\b.* exceeds\b",
            r"request too large(?:[.:]|$)",
        ],
    ),
    (
        FailureKind::RateLimit,
        &[
            r"too many requests(?:[.,;:!]|$)",
            r"(?:api )?rate limit (?:is |was )?(?:reached|exceeded)\b",
            r"rate_limit_(?:error|exceeded)\b",
            r"rate[- ]limited(?:[.,;:!]|$)",
            r"llm request rate limited\b",
            r"(?:the ai service is|all models are) (?:temporarily )?rate-limited\b",
            r"number of request tokens has exceeded your\b",
            r"this request would exceed (?:your|the)\b.*\blimit\b",
            r"provider \S+ is in cooldown\b",
            r"no available auth profile for \S+ \(all in cooldown\b",
            r"resource (?:has been )?exhausted\b",
            r"(?:claude (?:ai )?)?usage limit reached\b",
            r"you've hit your (?:usage )?limit\b",
        ],
    ),
    (
        FailureKind::Auth,
        &[
            r"llm request unauthorized\b",
            r"(?:invalid|incorrect) (?:x-)?api[- ]key\b",
            r"authentication (?:failed|error|refresh|is missing)\b",
            r"authentication_error\b",
            r"unauthorized(?:[.,;:]|$)",
            r"forbidden(?:[.,;:]|$)",
            r"no api key found for provider\b",
            r"the selected auth profile is unavailable\b",
            r"inline api key for provider .* is temporarily disabled\b",
            r"oauth token (?:has expired|refresh failed|was revoked)\b",
            r"not logged in\b",
        ],
    ),
    (
        FailureKind::Timeout,
        &[
            r"llm idle timeout\b",
            r"llm request timed out\b",
            r"(?:the )?(?:request|operation|connection|model|run) timed out\b",
            r"timed out(?:[.:]|$)",
            r"stream idle timeout\b",
            r"deadline[ _]exceeded\b",
            r"gateway time-?out(?:[.:]|$)",
        ],
    ),
    (
        FailureKind::Model,
        &[
            r"llm request (?:failed|rejected)[: ] ?\S",
            r"the ai service returned an (?:internal )?error\b",
            r"internal server error(?:[.,:]|$)",
            r"(?:service unavailable|bad gateway)(?:[.,:]|$)",
            r"the model \S+ (?:does not exist|was not found)\b",
            r"unknown model\b",
            r"agent couldn't generate a response\b",
            r"thinking level \S+ is not supported for\b",
            r"model switch could not be completed\b",
        ],
    ),
    (
        FailureKind::Aborted,
        &[
            r"(?:agent )?run (?:was )?aborted\b",
            r"openclaw_direct_abort\b",
            r"(?:this|the) operation was aborted\b",
            r"request was aborted\b",
            r"(?:aborted|cancelled|canceled)\.?$",
        ],
    ),
];

/// Sentences that say that a model's call failed, and nothing about why.
const CAUSELESS: &str = r"(?i)^llm request failed(?:\.| with an unknown error\.?)?$";

/// A quota that is used up: with a time to wait it is a rate limit in other words.
const QUOTA: &str = r"(?i)^you exceeded your current quota\b";

/// What a gateway puts in front of an error, its own or a model's.
const GATEWAYS_FRAMES: [&str; 2] = ["Agent failed before reply:", "Gateway call failed:"];

/// What agents put in front of the error that their provider told them.
const AGENTS_FRAMES: [&str; 5] = [
    "stream error:",
    "stream disconnected before completion:",
    "Failed to authenticate.",
    "API Error:",
    "[API Error:",
];

/// How it is said that a model did not answer in time, in lower case.
pub(super) const SILENCES: [&str; 3] = [
    "llm idle timeout",
    "llm request timed out",
    "stream idle timeout",
];

/// It begins with the words for a model that did not answer in time.
pub(super) fn names_silence(text: &str) -> bool {
    SILENCES.iter().any(|form| {
        let beginning = text.get(..form.len());
        beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(form))
    })
}

/// Takes a frame off, and the bracket that may be around it all; `true` for an agent's.
pub(super) fn framed(text: &str) -> Option<(&str, bool)> {
    let starts = |frame: &&&str| text.starts_with(**frame);
    if let Some(frame) = GATEWAYS_FRAMES.iter().find(starts) {
        return Some((text.get(frame.len()..)?, false));
    }
    let frame = AGENTS_FRAMES.iter().find(starts)?;
    let inside = text.get(frame.len()..)?;
    let is_bracketed = frame.starts_with('[');
    let closed = inside.strip_suffix(']').filter(|_| is_bracketed);
    Some((closed.unwrap_or(inside), true))
}

/// Takes an error class off the front: `RateLimitError: too fast`, with the class's name. `ERROR:` has none.
pub(super) fn class(text: &str) -> Option<(&str, &str)> {
    static CLASS: LazyLock<Regex> =
        LazyLock::new(|| pattern(r"^(?:[A-Za-z_]+\.)*([A-Z][A-Za-z]*Error|(?i:error)): *"));
    let found = CLASS.captures(text)?;
    let name = found.get(1)?.as_str();
    Some((name, text.get(found.get(0)?.end()..)?))
}

/// What an error class says by itself.
pub(super) fn of_class(name: &str) -> Option<(FailureKind, Certainty)> {
    let known = CLASSES.iter().find(|(class, ..)| *class == name)?;
    Some((known.1, known.2))
}

/// How the statuses of a provider's errors are spelt out, in lower case.
const REASONS: [(u16, &str); 14] = [
    (400, r"bad request"),
    (401, r"unauthorized"),
    (402, r"payment required"),
    (403, r"forbidden"),
    (404, r"not found"),
    (408, r"request time-?out"),
    (413, r"(?:payload|content|request|request entity) too large"),
    (422, r"unprocessable (?:entity|content)"),
    (429, r"too many requests"),
    (500, r"internal server error"),
    (502, r"bad gateway"),
    (503, r"service (?:temporarily )?unavailable"),
    (504, r"gateway time-?out"),
    (529, r"(?:site is )?overloaded"),
];

/// Takes an HTTP status off the front: `529 Overloaded`, `HTTP 429: slow down`, `Error code: 401 - ...`, `unexpected status 503 ...`.
/// A longer number, a version, a date or a file's name is none; nor is, of a program, a number that nothing tells to be one.
pub(super) fn status(text: &str, speaker: Speaker) -> Option<(u16, &str)> {
    static STATUS: LazyLock<Regex> = LazyLock::new(|| {
        pattern(
            r"(?i)^(?P<name>(?:http(?:/[0-9.]+)?|error code|api error|error|status code|status|(?:got|unexpected) status(?: code)?|request rejected|exceeded retry limit, last status|request failed with status(?: code)?)\s*[:=]?\s*(?:status(?: code)?\s*[:=]?\s*)?)?[\[(]?(?P<status>[45][0-9]{2})(?P<between>(?:[\])]?[,;:]|[\])]|\.?$|\s)[\s\-–·:,.]*)",
        )
    });
    let found = STATUS.captures(text)?;
    let status = found.name("status")?.as_str().parse().ok()?;
    let rest = text.get(found.get(0)?.end()..)?;
    let name = found.name("name").map_or("", |name| name.as_str());
    let name = name.trim_end_matches([':', '=', ' ']);
    // `error` is what programs call anything.
    let is_named = !name.is_empty() && !name.eq_ignore_ascii_case("error");
    let is_status = speaker == Speaker::Provider
        || is_named
        || follows_status(status, found.name("between")?.as_str(), rest);
    is_status.then_some((status, rest))
}

/// What stands behind a number, `between` apart, tells that it is the status of a provider's error: its own words, a body, or
/// the words of another error.
fn follows_status(status: u16, between: &str, rest: &str) -> bool {
    static REASON: LazyLock<Vec<(u16, Regex)>> = LazyLock::new(|| {
        let reasons = REASONS.iter();
        // `403 forbidden words` counts words.
        let whole = |reason| format!(r"(?i)^{reason}\s*(?:$|[^\w\s]|\b(?:please|retry|try)\b)");
        reasons
            .map(|(status, reason)| (*status, pattern(&whole(reason))))
            .collect()
    });
    let mut reasons = REASON.iter();
    let is_parted = between.contains([':', '-', '–']);
    rest.starts_with('{')
        || reasons.any(|(of, reason)| *of == status && reason.is_match(rest))
        || of_beginning(rest, false)
            .is_some_and(|(kind, _)| is_parted || policy::of(kind).model_side)
}

/// A gateway's `⚠️ openai/gpt-5 request failed (authentication failed, HTTP 401).`: provider, model and status.
pub(super) fn failed_request(text: &str) -> Option<(&str, &str, u16)> {
    static FAILED: LazyLock<Regex> = LazyLock::new(|| {
        pattern(r"^([^\s/]+)/(\S+) request failed \((?:[^()]*, )?HTTP ([45][0-9]{2})\)")
    });
    let found = FAILED.captures(text)?;
    Some((
        found.get(1)?.as_str(),
        found.get(2)?.as_str(),
        found.get(3)?.as_str().parse().ok()?,
    ))
}

/// The kind that the beginning of a cause names. `can_wait`: it names a time to wait too.
pub(super) fn of_beginning(text: &str, can_wait: bool) -> Option<(FailureKind, Certainty)> {
    let text = &*text.replace('\u{2019}', "'");
    static KINDS: LazyLock<Vec<(FailureKind, Regex)>> = LazyLock::new(|| {
        let kinds = BEGINNINGS.iter();
        kinds
            .map(|(kind, forms)| (*kind, pattern(&format!(r"(?is)^(?:{})", forms.join("|")))))
            .collect()
    });
    static OTHERS: LazyLock<[Regex; 2]> = LazyLock::new(|| [pattern(CAUSELESS), pattern(QUOTA)]);
    let [causeless, quota] = &*OTHERS;
    if causeless.is_match(text) {
        return Some((FailureKind::Model, Suggests));
    }
    if quota.is_match(text) {
        let kind = match can_wait {
            true => FailureKind::RateLimit,
            false => FailureKind::Billing,
        };
        return Some((kind, Says));
    }
    let known = KINDS.iter().find(|(_, beginning)| beginning.is_match(text));
    if let Some((kind, _)) = known {
        return Some((*kind, Says));
    }
    // A bare code: `overloaded_error`, `insufficient_quota: ...`.
    let word_end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let (word, rest) = text.split_at(word_end.unwrap_or(text.len()));
    let is_code = word.contains('_') && (rest.is_empty() || rest.starts_with([':', '.']));
    facts::of_name(word).filter(|_| is_code)
}

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is a constant that the tests compile")
}
