//! What a prompt asks for, as far as the completion signal has to prove it.

use std::sync::LazyLock;

use regex::Regex;

use super::git_order::{mentions, ordered_command};

/// What the signal of a task has to speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Asked {
    /// A git command that makes or moves commits.
    pub git: bool,
    /// Tests that pass.
    pub tests: bool,
    /// Something pushed.
    pub push: bool,
}

/// What this prompt asks for.
pub(super) fn of(prompt: &str) -> Asked {
    Asked {
        git: ordered_command(prompt).is_some(),
        tests: mentions(prompt, "test") && asks_for(prompt, &TESTS),
        push: mentions(prompt, "push") && asks_for(prompt, &PUSH),
    }
}

// ASCII alone: a prompt may have megabytes, and Unicode's word boundaries cost seconds over them.
static TESTS: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i-u)\btests?\b"));
static PUSH: LazyLock<Regex> = LazyLock::new(|| pattern(r"(?i-u)\bpush(?:ed)?\b"));

/// What forbids, or spares, something that is named later in the same sentence.
static FORBIDDING: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?i)\b(?:do not|don['’]?t|never|no|not|without|skip|avoid)\b[^.!?;:\n]{0,40}$")
});

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("the pattern is checked by the tests")
}

/// The prompt names it somewhere where nothing forbids it.
fn asks_for(prompt: &str, what: &Regex) -> bool {
    what.find_iter(prompt).any(|found| {
        let before = prompt.get(..found.start()).unwrap_or_default();
        // Enough for any of the words that forbid.
        let near = before.char_indices().rev().nth(80).map_or(0, |(at, _)| at);
        !FORBIDDING.is_match(before.get(near..).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::nothing("Sum up notes.txt", "")]
    #[case::a_push("Commit it and push the branch.", "push")]
    #[case::a_command("Then git push origin main", "git push")]
    #[case::a_forbidden_command("Do not use `git push`.", "")]
    #[case::never("Never run git push; git  rebase the branch instead.", "git")]
    #[case::a_reminder("Do not forget to git push.", "git")]
    #[case::forced("Use --force-with-lease where you must.", "git")]
    #[case::tests("Make the tests pass", "tests")]
    #[case::no_tests("Change the text, no tests needed.", "")]
    #[case::spared("Don't run the tests.\nRun the linter.", "")]
    #[case::both(
        "RUN THE TEST SUITE. Never push broken code.\nWhen green, push.",
        "tests push"
    )]
    #[case::other_words("Describe the contest, untested and pushy as it is.", "")]
    fn a_prompt_asks_for(#[case] prompt: &str, #[case] expected: &str) {
        let asked = of(prompt);
        let words = [
            (asked.git, "git"),
            (asked.tests, "tests"),
            (asked.push, "push"),
        ];
        let said: Vec<&str> = words
            .iter()
            .filter(|(is, _)| *is)
            .map(|(_, word)| *word)
            .collect();
        assert_eq!(said.join(" "), expected);
    }
}
