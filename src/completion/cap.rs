//! How much of a result is sent inline, and the words around it.
//!
//! [`cap`] promises that a body within the limit is untouched, and that a longer one is cut between characters, outside
//! any grapheme cluster of at most [`CLUSTER_MAX_BYTES`], with a note that says where the whole is; body and note
//! together stay within the limit unless the note alone is longer. The header is outside the limit.
//!
//! Its cost follows the limit, never the body: only the bytes around the cut are looked at, and of the text before it
//! no more than the run of flags or joined marks that ends at the cut.

use std::path::PathBuf;

use unicode_segmentation::GraphemeCursor;

/// The inline limit when none is set: 60 KiB.
pub const DEFAULT_INLINE_LIMIT_BYTES: usize = 61_440;

/// A grapheme cluster above this size is cut at a character: no writing system needs one, and it must not swallow the
/// text before it.
pub const CLUSTER_MAX_BYTES: usize = 64;

/// Stands between body and note, and counts against the limit.
const SEPARATOR: &str = "\n\n";

/// What became of the file that holds the full text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactOutcome {
    /// The full text is on disk at this path.
    Written(PathBuf),
    /// It could not be written; the reason as a sentence part ("No space left on device (os error 28)").
    Failed(String),
}

/// A text ready to be sent under a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capped {
    /// Body and, when it was cut, note.
    pub text: String,
    /// The body was cut.
    pub cut: bool,
    /// The note at the end of `text`, present exactly when the body was cut.
    pub note: Option<String>,
}

/// The first line of a result: `🌶️ *<brand>* [<label>] completed:`.
///
/// Control characters, which a foreign ledger's label may hold, become spaces: the header is one line.
pub fn header(brand: &str, label: &str) -> String {
    one_line(&format!("🌶️ *{brand}* [{label}] completed:"))
}

/// The first line of a failure notice: `🌶️ *<brand>* [<label>] failed (<kind>):`, `kind` being the taxonomy's word.
pub fn failure_header(brand: &str, label: &str, kind: &str) -> String {
    one_line(&format!("🌶️ *{brand}* [{label}] failed ({kind}):"))
}

/// Header, blank line, text; the header alone when there is no text.
pub fn message(header: &str, text: &str) -> String {
    if text.is_empty() {
        return header.to_owned();
    }
    format!("{header}\n\n{text}")
}

/// The inline limit in bytes from the value of `DISPATCH_COMPLETION_INLINE_LIMIT_BYTES`.
///
/// Anything but a positive whole number means [`DEFAULT_INLINE_LIMIT_BYTES`].
pub fn inline_limit_from(value: Option<&str>) -> usize {
    value
        .and_then(|v| v.trim().parse().ok())
        .filter(|&bytes| bytes > 0)
        .unwrap_or(DEFAULT_INLINE_LIMIT_BYTES)
}

/// Fits `body` into `limit_bytes`, with a note that says where the full text is when it had to be cut.
pub fn cap(body: &str, limit_bytes: usize, artifact: &ArtifactOutcome) -> Capped {
    cap_head(body, body.len() as u64, limit_bytes, artifact)
}

/// As [`cap`], for a body of `full_bytes` of which only the start is at hand. `head` must be the whole body, or longer
/// than the limit by at least [`CLUSTER_MAX_BYTES`].
pub fn cap_head(
    head: &str,
    full_bytes: u64,
    limit_bytes: usize,
    artifact: &ArtifactOutcome,
) -> Capped {
    if full_bytes <= limit_bytes as u64 {
        return Capped {
            text: head.to_owned(),
            cut: false,
            note: None,
        };
    }
    let note = note(full_bytes, limit_bytes, artifact);
    let budget = limit_bytes.saturating_sub(note.len() + SEPARATOR.len());
    let kept = head.get(..cut_end(head, budget)).unwrap_or_default();
    let text = if kept.is_empty() {
        note.clone()
    } else {
        format!("{kept}{SEPARATOR}{note}")
    };
    Capped {
        text,
        cut: true,
        note: Some(note),
    }
}

fn note(full_bytes: u64, limit_bytes: usize, artifact: &ArtifactOutcome) -> String {
    match artifact {
        ArtifactOutcome::Written(path) => format!(
            "[Cut to the inline limit of {limit_bytes} bytes. Full text ({full_bytes} bytes): {}]",
            path.display()
        ),
        ArtifactOutcome::Failed(why) => format!(
            "[Cut to the inline limit of {limit_bytes} bytes. The full text ({full_bytes} bytes) could not be saved: \
             {why}]"
        ),
    }
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

/// Where to end a body that may take at most `budget` bytes.
///
/// Trimming white space can step into a cluster (a prepended sign joins with the space after it), so cutting and
/// trimming alternate until neither moves; both only go back, and each pass looks at a few characters.
fn cut_end(body: &str, budget: usize) -> usize {
    let mut end = budget;
    loop {
        let at = floor(body, end);
        let trimmed = body.get(..at).unwrap_or_default().trim_end().len();
        if trimmed == at {
            return at;
        }
        end = trimmed;
    }
}

/// The greatest place at or before `limit` where `body` may be cut.
///
/// That is `limit` itself, or the character boundary below it, unless it lies inside a cluster of at most
/// [`CLUSTER_MAX_BYTES`]: then the start of that cluster. A cluster's start further back than that, or its end further
/// on, proves the cluster too large, so neither search leaves that window.
fn floor(body: &str, limit: usize) -> usize {
    let mut at = limit.min(body.len());
    while !body.is_char_boundary(at) {
        at -= 1;
    }
    if is_cluster_boundary(body, at) {
        return at;
    }
    let (before, after) = body.split_at(at);
    let start = before
        .char_indices()
        .rev()
        .map(|(i, _)| i)
        .take_while(|&i| at - i < CLUSTER_MAX_BYTES)
        .find(|&i| is_cluster_boundary(body, i));
    let Some(start) = start else {
        return at;
    };
    let ends_in_window = after
        .char_indices()
        .map(|(i, c)| at + i + c.len_utf8())
        .take_while(|&i| i - start <= CLUSTER_MAX_BYTES)
        .any(|i| is_cluster_boundary(body, i));
    if ends_in_window { start } else { at }
}

/// Whether a grapheme cluster of `body` ends at the character boundary `at`.
///
/// The cursor reads one character on each side. Three rules make it look back further: flags (the parity of the run of
/// regional indicators decides), emoji joined by ZWJ, and Indic conjuncts (both skip a run of extending marks). It
/// stops at the first character outside the run and at the body's start, so its reach is bounded by `at`, which never
/// exceeds the limit; a fixed bound would get the parity of a long row of flags wrong. Each search above meets at most
/// three places that look back through one run, so a cut stays linear in the limit even for a body of nothing else.
fn is_cluster_boundary(body: &str, at: usize) -> bool {
    // The cursor asks for more context only when it is given a part; it has the whole.
    GraphemeCursor::new(at, body.len(), true)
        .is_boundary(body, 0)
        .unwrap_or(true)
}

#[cfg(test)]
mod tests;
