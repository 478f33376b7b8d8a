//! Whether a prompt orders a git command that leaves a commit behind. Pure.
//!
//! Promises that a command which is plainly ordered is found, and one that is plainly forbidden or only spoken of is not.
//! It reads English sentences by a few rules and does not understand them: between the two, it takes the command as ordered.

use std::sync::LazyLock;

use regex::Regex;

/// How much of a sentence is looked at before a command, in bytes.
const WINDOW_BYTES: usize = 400;

/// Words that forbid whatever follows in their sentence.
const FORBIDDING: &[&str] = &[
    "don't",
    "dont",
    "never",
    "mustn't",
    "shouldn't",
    "can't",
    "cannot",
    "refrain",
    "forbidden",
    "prohibited",
];

/// `not` forbids the rest of its sentence after one of these.
const AUXILIARIES: &[&str] = &[
    "do", "does", "must", "should", "may", "can", "shall", "will", "are", "is", "be", "need",
];

/// Words that take a command out of what is ordered when they stand right before it.
const SETTING_ASIDE: &[&str] = &[
    "avoid",
    "avoiding",
    "without",
    "not",
    "no",
    "of",
    "than",
    "against",
    "nor",
    "explain",
    "explains",
    "describe",
    "describes",
    "about",
    "means",
    "mention",
    "mentions",
    "word",
    "words",
    "phrase",
    "string",
    "text",
    "does",
    "is",
];

/// `of`, `than`, `does` and `is` set a command aside only after one of these.
const SETTING_ASIDE_PAIRS: &[(&str, &str)] = &[
    ("instead", "of"),
    ("rather", "than"),
    ("other", "than"),
    ("what", "does"),
    ("what", "is"),
    ("how", "does"),
];

/// Words that say nothing between one of those and the command.
const FILLING: &[&str] = &[
    "a",
    "an",
    "the",
    "any",
    "to",
    "ever",
    "use",
    "using",
    "run",
    "running",
    "call",
    "calling",
    "invoke",
    "invoking",
    "execute",
    "executing",
    "do",
    "doing",
    "command",
    "commands",
    "how",
    "what",
    "plain",
    "direct",
    "directly",
];

/// Words that turn a forbidding one round: "do not forget to git push".
const TURNING: &[&str] = &[
    "forget", "fail", "hesitate", "neglect", "omit", "miss", "skip", "before", "until", "till",
    "unless", "only",
];

/// Words behind which a forbidding one no longer reaches.
const ENDING: &[&str] = &["but", "then", "instead", "just", "afterwards", "always"];

/// A line that ends in one of these, or in `:` or `,`, goes on in the next one.
const DANGLING: &[&str] = &[
    "use", "using", "run", "running", "call", "calling", "invoke", "not", "never", "avoid",
    "without", "to", "or", "and", "a", "the", "any", "of", "don't", "dont", "than", "do", "before",
    "you",
];

/// The first command that the prompt orders, as it is written there.
pub fn ordered_command(prompt: &str) -> Option<&str> {
    static COMMAND: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r#"(?i)git["'`]*(?:\s+(?:-C\s+\S+|-c\s+\S+|--[a-z][a-z-]*(?:=\S+)?))*\s+["'`]*(?:push|rebase|cherry-pick)|--force-(?:with-lease|push)"#,
        )
        .expect("the pattern is a constant that the tests compile")
    });
    if !mentions(prompt, "git") && !mentions(prompt, "--force-") {
        return None;
    }
    COMMAND
        .find_iter(prompt)
        .filter(|found| is_a_command(prompt, found.start(), found.end()))
        .find(|found| !is_set_aside(prompt, found.start(), found.end()))
        .map(|found| found.as_str())
}

/// The prompt has these ASCII letters somewhere, in whatever case. To build a pattern takes longer than to look for it in
/// most prompts, which have none of it.
pub(super) fn mentions(prompt: &str, letters: &str) -> bool {
    let mut windows = prompt.as_bytes().windows(letters.len());
    windows.any(|window| window.eq_ignore_ascii_case(letters.as_bytes()))
}

/// What was found is a command, not a part of a path, an address or a longer word.
fn is_a_command(prompt: &str, start: usize, end: usize) -> bool {
    let (before, after) = (before(prompt, start), rest(prompt, end));
    let mut next = after.chars();
    let is_longer = match next.next() {
        Some('-' | '.' | '=' | '_') => next.next().is_some_and(char::is_alphanumeric),
        Some(c) => c.is_alphanumeric(),
        None => false,
    };
    // `--force-with-lease=main` is the option with its value.
    let is_option = rest(prompt, start).starts_with("--");
    if is_longer && !(is_option && after.starts_with('=')) {
        return false;
    }
    let word = before
        .rsplit(|c: char| c.is_whitespace() || "\"'`([{<>|;&".contains(c))
        .next()
        .unwrap_or_default();
    match word.chars().next_back() {
        None => true,
        // `/usr/bin/git push` is one; `docs/git push.md` and `https://host/git` are not.
        Some('/') => !is_option && word.starts_with('/') && word.ends_with("/bin/"),
        Some(c) => !(c.is_alphanumeric() || "-.@\\_%#?".contains(c)) || is_emphasis(word),
    }
}

/// `_git push_` is a word set in italics.
fn is_emphasis(word: &str) -> bool {
    word.chars().all(|c| c == '_' || c == '*')
}

/// The sentence forbids the command, or only speaks of it.
fn is_set_aside(prompt: &str, start: usize, end: usize) -> bool {
    let words = words(&sentence_before(prompt, start));
    let is_listed = is_followed_by_or(prompt, end);
    is_forbidden_after(prompt, end)
        || match aside_at(&words) {
            // "Do not finish without git push": two negations make an order.
            Some(aside) => {
                let outer = words.get(..aside).unwrap_or_default();
                let is_turned = words.get(aside).is_some_and(|word| word == "without")
                    && !outer.contains(&",".to_owned())
                    && forbids(outer, is_listed);
                !is_turned
            }
            None => forbids(&words, is_listed),
        }
}

/// Where the word stands that sets the command right behind `words` aside.
fn aside_at(words: &[String]) -> Option<usize> {
    let reach = words
        .iter()
        .rposition(|word| !FILLING.contains(&word.as_str()) && !is_of_a_list(word))?;
    let word = words.get(reach)?.as_str();
    let previous = reach.checked_sub(1).and_then(|at| words.get(at));
    let previous = previous.map_or("", String::as_str);
    let needs_a_pair = SETTING_ASIDE_PAIRS
        .iter()
        .any(|(_, second)| *second == word);
    let is_aside = match needs_a_pair {
        true => SETTING_ASIDE_PAIRS.contains(&(previous, word)),
        false => {
            SETTING_ASIDE.contains(&word) && !(word == "not" && AUXILIARIES.contains(&previous))
        }
    };
    // What stands between is a list of commands only when it holds one: "not tested, git push it" is none.
    let between = words.get(reach + 1..).unwrap_or_default();
    let is_list = !between.contains(&",".to_owned()) || between.iter().any(|word| is_git(word));
    (is_aside && is_list).then_some(reach)
}

/// A forbidding word of the sentence reaches what stands behind `words`.
fn forbids(words: &[String], is_listed: bool) -> bool {
    let is_forbidding = |at: usize, word: &str| {
        let previous = at.checked_sub(1).and_then(|at| words.get(at));
        FORBIDDING.contains(&word)
            || (word == "not" && previous.is_some_and(|p| AUXILIARIES.contains(&p.as_str())))
            || (word == "allowed" && previous.is_some_and(|p| p == "not"))
    };
    let cue = (0..words.len())
        .rev()
        .find(|at| words.get(*at).is_some_and(|word| is_forbidding(*at, word)));
    let Some(cue) = cue else {
        return false;
    };
    let reach = words.get(cue + 1..).unwrap_or_default();
    let holds = |list: &[&str]| reach.iter().any(|word| list.contains(&word.as_str()));
    if holds(TURNING) || holds(ENDING) {
        return false;
    }
    // "Do not wait, git push": behind a comma a new order begins, unless a list of what is forbidden goes on.
    let Some(comma) = reach.iter().rposition(|word| word == ",") else {
        return true;
    };
    let (listed, last) = reach.split_at(comma);
    let begins_anew = last.iter().skip(1).all(|word| {
        FILLING.contains(&word.as_str()) || matches!(word.as_str(), "please" | "and" | "also")
    });
    !begins_anew || comma == 0 || is_listed || listed.iter().any(|word| is_git(word))
}

fn is_git(word: &str) -> bool {
    word == "git"
}

/// A word of a list of commands: `git push, git rebase or`.
fn is_of_a_list(word: &str) -> bool {
    matches!(
        word,
        "git" | "push" | "rebase" | "cherry-pick" | "," | "or" | "and"
    ) || word.starts_with("--")
}

/// The list goes on behind the command: "git push, or tag".
fn is_followed_by_or(prompt: &str, end: usize) -> bool {
    let clause = first_sentence(rest(prompt, end));
    words(clause).iter().any(|word| word == "or")
}

/// "git push is not allowed."
fn is_forbidden_after(prompt: &str, end: usize) -> bool {
    const WORDS: &[&str] = &[
        "forbidden",
        "prohibited",
        "disabled",
        "off-limits",
        "unnecessary",
    ];
    const NEGATED: &[&str] = &[
        "allowed",
        "permitted",
        "needed",
        "required",
        "necessary",
        "wanted",
    ];
    let words = words(first_sentence(rest(prompt, end)));
    let verb = words.iter().position(|word| {
        !is_of_a_list(word) && !matches!(word.as_str(), "here" | "command" | "commands")
    });
    let Some(verb) = verb.filter(|at| words.get(*at).is_some_and(|w| w == "is" || w == "are"))
    else {
        return false;
    };
    let said = words.get(verb + 1..).unwrap_or_default();
    let said: Vec<&str> = said.iter().map(String::as_str).take(3).collect();
    said.iter().any(|word| WORDS.contains(word))
        || (said.first() == Some(&"not") && said.iter().any(|word| NEGATED.contains(word)))
}

/// The start of a text up to the end of its first sentence or line.
fn first_sentence(text: &str) -> &str {
    let text = clip(text, text.len().min(WINDOW_BYTES));
    let end = text.find([';', '!', '?', '\n']);
    let dot = text
        .find(". ")
        .or_else(|| text.strip_suffix('.').map(str::len));
    let end = end.into_iter().chain(dot).min().unwrap_or(text.len());
    before(text, end)
}

/// What of a command's sentence stands before it; before an item of a list, also the line that announces the list.
fn sentence_before(prompt: &str, start: usize) -> String {
    let before = before(prompt, start);
    let before = clip_start(before, WINDOW_BYTES);
    let mut lines = before.split('\n').rev();
    let mut sentence = lines.next().unwrap_or_default().to_owned();
    if let Some(own) = last_sentence(&sentence) {
        return own.to_owned();
    }
    let mut is_item = is_list_item(&sentence);
    let mut is_apart = false;
    for line in lines {
        let line = line.trim_end();
        if line.trim().is_empty() {
            is_apart = true;
            continue;
        }
        let announces = line.ends_with(':');
        if line.trim_start().starts_with("```") {
            continue;
        }
        // The neighbours in the list are not its heading.
        if is_item && is_list_item(line) && !announces {
            continue;
        }
        let continues = !is_apart && !is_item && goes_on(line, &sentence);
        if !announces && !continues {
            break;
        }
        sentence = format!("{} {sentence}", last_sentence(line).unwrap_or(line));
        if last_sentence(line).is_some() || announces {
            break;
        }
        is_item = is_list_item(line);
    }
    sentence
}

/// The sentence that begins in this line and goes on behind it; `None` where none begins.
fn last_sentence(line: &str) -> Option<&str> {
    let mut ends = line.char_indices().filter(|(at, c)| match c {
        ';' | '!' | '?' => true,
        '.' => {
            let is_last = rest(line, at + 1).starts_with(char::is_whitespace);
            let word = before(line, *at).rsplit(char::is_whitespace).next();
            let word = word
                .unwrap_or_default()
                .trim_start_matches('(')
                .to_lowercase();
            let is_number = word.chars().all(|c| c.is_ascii_digit());
            is_last && !is_number && !matches!(word.as_str(), "e.g" | "i.e" | "etc" | "vs" | "incl")
        }
        _ => false,
    });
    ends.next_back().map(|(at, _)| rest(line, at + 1))
}

/// The sentence of a line goes on in `next`.
fn goes_on(line: &str, next: &str) -> bool {
    let last = words(line).pop().unwrap_or_default();
    let is_dangling = last == "," || DANGLING.contains(&last.as_str());
    let next = next
        .trim_start()
        .trim_start_matches(['$', '`', '"', '>', ' ']);
    // An empty rest is the command itself at the start of its line.
    let begins_small = next.chars().next().is_some_and(char::is_lowercase);
    let is_closed = line.ends_with(['.', '!', '?', ';']);
    !is_closed && (is_dangling || begins_small)
}

fn is_list_item(line: &str) -> bool {
    let line = line.trim_start();
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with("- ")
        || line.starts_with("* ")
        || line.starts_with("• ")
        || (number.len() < line.len() && (number.starts_with(". ") || number.starts_with(") ")))
}

/// The words of a text in lower case, and its commas.
fn words(text: &str) -> Vec<String> {
    let text = text.replace('’', "'").to_lowercase();
    let mut words = Vec::new();
    for word in text.split(|c: char| !(c.is_alphanumeric() || "'-,".contains(c))) {
        let bare = word.trim_matches(|c| c == '\'' || c == ',');
        if word.starts_with(',') {
            words.push(",".to_owned());
        }
        if bare.chars().any(char::is_alphanumeric) {
            words.push(bare.to_owned());
        }
        if word.len() > 1 && word.ends_with(',') {
            words.push(",".to_owned());
        }
    }
    words
}

fn before(text: &str, end: usize) -> &str {
    text.get(..end).unwrap_or_default()
}

fn rest(text: &str, start: usize) -> &str {
    text.get(start..).unwrap_or_default()
}

fn clip(text: &str, mut end: usize) -> &str {
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    before(text, end)
}

fn clip_start(text: &str, most: usize) -> &str {
    let mut start = text.len().saturating_sub(most);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    rest(text, start)
}

#[cfg(test)]
#[path = "git_order_tests.rs"]
mod tests;
