//! What somebody may have meant by a name that does not exist.

/// How many names are offered.
const MOST: usize = 3;

/// No name that differs in more places is offered, however long it is; this also bounds the work for long labels.
const DISTANCE_MAX: usize = 8;

/// A prefix shorter than this says too little.
const PREFIX_MIN_CHARS: usize = 3;

/// Up to three of `candidates` that `wanted` may be a slip of, the nearest first, equally near ones in order of name.
///
/// Near is a third of the longer name's characters in insertions, deletions, changes and swaps of neighbours, letter
/// case aside; after those come names that `wanted` is the beginning of. `wanted` itself is not offered.
pub fn nearest<'a>(wanted: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let folded = fold(wanted);
    let mut found: Vec<(usize, &str)> = candidates
        .into_iter()
        .filter(|&candidate| candidate != wanted)
        .filter_map(|candidate| Some((rank(&folded, &fold(candidate))?, candidate)))
        .collect();
    found.sort_unstable();
    found.dedup();
    found
        .into_iter()
        .take(MOST)
        .map(|(_, candidate)| candidate.to_owned())
        .collect()
}

fn fold(text: &str) -> Vec<char> {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// The distance, or a number above every distance for a beginning of the name, or `None` for a stranger.
fn rank(wanted: &[char], candidate: &[char]) -> Option<usize> {
    let longer = wanted.len().max(candidate.len());
    let most = (longer.saturating_add(1) / 3).min(DISTANCE_MAX);
    let begins = wanted.len() >= PREFIX_MIN_CHARS && candidate.starts_with(wanted);
    distance_within(wanted, candidate, most).or_else(|| begins.then_some(DISTANCE_MAX + 1))
}

/// The number of single-character edits from `a` to `b`, swaps of neighbours included, if it is at most `most`.
///
/// The usual table, of which three rows are kept; a row that is all above `most` ends the search.
fn distance_within(a: &[char], b: &[char], most: usize) -> Option<usize> {
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut swap_from = None;
    for (i, &from) in a.iter().enumerate() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i + 1);
        let mut swap_to = None;
        for (j, &to) in b.iter().enumerate() {
            let changed = last[j] + usize::from(from != to);
            let mut cost = changed.min(last[j + 1] + 1).min(row[j] + 1);
            if from != to && swap_from == Some(to) && swap_to == Some(from) {
                cost = cost.min(before_last[j - 1] + 1);
            }
            row.push(cost);
            swap_to = Some(to);
        }
        if row.iter().min().is_some_and(|&least| least > most) {
            return None;
        }
        before_last = std::mem::replace(&mut last, row);
        swap_from = Some(from);
    }
    last.last().copied().filter(|&distance| distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn distance(a: &str, b: &str) -> Option<usize> {
        let of = |text: &str| text.chars().collect::<Vec<_>>();
        distance_within(&of(a), &of(b), usize::MAX - 1)
    }

    #[rstest]
    #[case("", "", 0)]
    #[case("abc", "", 3)]
    #[case("kitten", "sitting", 3)]
    #[case("deploy", "depoly", 1)]
    #[case("ab", "ba", 1)]
    #[case("aa", "aa", 0)]
    #[case("über", "uber", 1)]
    fn edits_are_counted(#[case] a: &str, #[case] b: &str, #[case] expected: usize) {
        assert_eq!(distance(a, b), Some(expected));
        assert_eq!(distance(b, a), Some(expected));
    }

    #[test]
    fn the_nearest_come_first_and_strangers_not_at_all() {
        let labels = [
            "nightly-biuld",
            "deploy",
            "nightly-builds-2",
            "Nightly-Build",
            "nightly-build2",
        ];
        assert_eq!(
            nearest("nightly-build", labels),
            ["Nightly-Build", "nightly-biuld", "nightly-build2"]
        );
        assert!(nearest("zzz", labels).is_empty());
        assert!(nearest("x", ["y", "z"]).is_empty());
    }

    #[test]
    fn a_beginning_counts_after_the_slips() {
        assert_eq!(
            nearest("ticket", ["ticket-42-in-the-backlog", "tickte", "other"]),
            ["tickte", "ticket-42-in-the-backlog"]
        );
        assert!(nearest("ti", ["ticket-42"]).is_empty());
    }

    #[test]
    fn the_name_itself_and_repeats_are_not_offered() {
        assert_eq!(nearest("abcd", ["abcd", "abce", "abce"]), ["abce"]);
    }

    proptest! {
        #[test]
        fn a_bound_changes_only_whether_there_is_an_answer(a in "[ab]{0,9}", b in "[ab]{0,9}", most in 0..9_usize) {
            let whole = distance(&a, &b).filter(|&d| d <= most);
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(distance_within(&chars(&a), &chars(&b), most), whole);
        }
    }
}
