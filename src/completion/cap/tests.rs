use super::*;
use proptest::prelude::*;
use rstest::rstest;
use unicode_segmentation::UnicodeSegmentation;

const FAMILY: &str = "👨‍👩‍👧‍👦";

fn written() -> ArtifactOutcome {
    ArtifactOutcome::Written(PathBuf::from("/a/t.txt"))
}

fn kept(body: &str, budget: usize) -> &str {
    &body[..cut_end(body, budget)]
}

#[test]
fn the_headers_are_exact() {
    assert_eq!(
        header("dispatch", "build-7"),
        "🌶️ *dispatch* [build-7] completed:"
    );
    assert_eq!(
        failure_header("dispatch", "build-7", "overload"),
        "🌶️ *dispatch* [build-7] failed (overload):"
    );
    assert_eq!(header("d", "a\nb"), "🌶️ *d* [a b] completed:");
    assert_eq!(message("H:", "body"), "H:\n\nbody");
    assert_eq!(message("H:", ""), "H:");
}

#[test]
fn a_body_at_the_limit_is_whole_and_unchanged() {
    let body = "x".repeat(98) + " \n";
    let capped = cap(&body, 100, &written());
    assert_eq!((capped.text, capped.cut, capped.note), (body, false, None));
}

#[test]
fn one_byte_above_the_limit_is_cut_and_fills_it_exactly() {
    let body = "x".repeat(201);
    let capped = cap(&body, 200, &written());
    let note = "[Cut to the inline limit of 200 bytes. Full text (201 bytes): /a/t.txt]";
    assert_eq!(capped.note.as_deref(), Some(note));
    assert_eq!(
        capped.text,
        format!("{}\n\n{note}", "x".repeat(200 - 2 - note.len()))
    );
    assert_eq!(capped.text.len(), 200);
    assert!(capped.cut);
}

#[test]
fn a_failed_artifact_says_why_and_how_large_the_text_was() {
    let failed = ArtifactOutcome::Failed("No space left on device (os error 28)".into());
    let capped = cap(&"x".repeat(1000), 300, &failed);
    assert_eq!(
        capped.note.as_deref(),
        Some(
            "[Cut to the inline limit of 300 bytes. The full text (1000 bytes) could not be saved: \
             No space left on device (os error 28)]"
        )
    );
    assert_eq!(capped.text.len(), 300);
}

#[rstest]
#[case(0)]
#[case(10)]
#[case(70)]
fn a_note_that_fills_the_limit_stands_alone_and_whole(#[case] limit: usize) {
    let capped = cap(&"x".repeat(200), limit, &written());
    assert_eq!(Some(capped.text), capped.note);
}

#[test]
fn trailing_white_space_before_the_note_is_trimmed() {
    assert_eq!(kept("one two \r\n\u{3000} three", 13), "one two");
    assert_eq!(kept("   \n", 3), "");
}

#[rstest]
#[case("aé", 2, "a")]
#[case("ae\u{301}", 2, "a")]
#[case("a\r\nb", 2, "a")]
#[case("🇩🇪🇫🇷🇮🇹", 12, "🇩🇪")]
#[case("🇩🇪🇫🇷🇮🇹", 16, "🇩🇪🇫🇷")]
#[case("x🇩🇪🇫🇷", 12, "x🇩🇪")]
#[case("क्षि", 6, "")]
// U+0600 joins with what follows: trimming the space alone would cut that pair.
#[case("a\u{600} b", 4, "a")]
fn a_cut_never_splits_a_cluster(#[case] body: &str, #[case] budget: usize, #[case] expected: &str) {
    assert_eq!(kept(body, budget), expected);
}

#[test]
fn a_family_stays_whole_at_every_budget() {
    let body = format!("a{FAMILY}b{FAMILY}");
    for budget in 0..body.len() {
        let expected = match budget {
            0 => 0,
            b if b < 1 + FAMILY.len() => 1,
            b if b < 2 + FAMILY.len() => 1 + FAMILY.len(),
            _ => 2 + FAMILY.len(),
        };
        assert_eq!(kept(&body, budget).len(), expected, "budget {budget}");
    }
}

#[test]
fn clusters_up_to_64_bytes_hold_together_and_larger_ones_are_cut_at_a_character() {
    let of = |marks: usize| format!("ab{}c", "\u{301}".repeat(marks));
    let small = of(31);
    let large = of(32);
    assert_eq!(kept(&small, 10), "a", "63 bytes");
    assert_eq!(kept(&large, 10).len(), 10, "65 bytes");
    let exact = format!("aé{}c", "\u{301}".repeat(31));
    assert_eq!(kept(&exact, 10), "a", "64 bytes");
    assert_eq!(kept(&exact, 64), "a", "64 bytes, at its last mark");
    assert_eq!(kept(&exact, 65).len(), 65, "right after it");
}

#[test]
fn a_long_row_of_flags_keeps_its_pairs() {
    let flags = "🇩🇪".repeat(10_000);
    for budget in 61_000..61_016 {
        assert_eq!(kept(&flags, budget).len(), budget / 8 * 8);
    }
    let odd = format!("\u{1F1E9}a{flags}");
    assert_eq!(kept(&odd, 61_000).len(), 5 + (61_000 - 5) / 8 * 8);
}

#[test]
fn the_cut_of_a_large_body_depends_only_on_the_text_around_it() {
    let body = format!("{FAMILY} नमस्ते 🇩🇪 text\r\n").repeat(200_000);
    for budget in 61_300..61_440 {
        let mut near = budget + 2 * CLUSTER_MAX_BYTES;
        while !body.is_char_boundary(near) {
            near += 1;
        }
        assert_eq!(cut_end(&body, budget), cut_end(&body[..near], budget));
    }
    assert!(cap(&body, DEFAULT_INLINE_LIMIT_BYTES, &written()).cut);
}

#[rstest]
#[case(None, 61_440)]
#[case(Some("100"), 100)]
#[case(Some(" 100 "), 100)]
#[case(Some(""), 61_440)]
#[case(Some("0"), 61_440)]
#[case(Some("-5"), 61_440)]
#[case(Some("60k"), 61_440)]
#[case(Some("1.5"), 61_440)]
#[case(Some("99999999999999999999999"), 61_440)]
fn a_bad_limit_means_the_default(#[case] value: Option<&str>, #[case] expected: usize) {
    assert_eq!(inline_limit_from(value), expected);
}

/// Text that is rich in what clusters are made of.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        any::<char>().prop_map(String::from),
        proptest::sample::select(vec![
            "a",
            " ",
            "\t",
            "\n",
            "\r\n",
            "\r",
            "\u{301}",
            "\u{200d}",
            "\u{fe0f}",
            "🏽",
            "👨",
            FAMILY,
            "❤️‍🔥",
            "\u{1F1E9}",
            "🇩🇪",
            "\u{600}",
            "क",
            "\u{94d}",
            "ि",
            "ᄀ",
            "ᅡ",
            "ᆨ",
            "각",
            "\u{3000}",
            "\u{2028}",
            "🏴\u{e0067}\u{e007f}",
        ])
        .prop_map(String::from),
        (
            proptest::sample::select(vec!["\u{301}", "\u{1F1E9}", "\u{94d}", "\u{600}", " "]),
            1..40_usize
        )
            .prop_map(|(s, n)| s.repeat(n)),
    ];
    proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

/// Whether `end` lies inside a cluster of at most [`CLUSTER_MAX_BYTES`], by segmenting the whole text.
fn splits_a_cluster(body: &str, end: usize) -> bool {
    body.grapheme_indices(true)
        .any(|(start, g)| g.len() <= CLUSTER_MAX_BYTES && start < end && end < start + g.len())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn a_capped_text_keeps_every_promise(body in text(), limit in 0..700_usize, ok: bool) {
        let artifact = if ok { written() } else { ArtifactOutcome::Failed("disk full".into()) };
        let capped = cap(&body, limit, &artifact);
        if body.len() <= limit {
            prop_assert_eq!(&capped.text, &body);
            prop_assert!(!capped.cut && capped.note.is_none());
            return Ok(());
        }
        prop_assert!(capped.cut);
        let note = capped.note.expect("a cut text has a note");
        prop_assert!(capped.text.len() <= limit || capped.text == note);
        prop_assert!(note.contains(&body.len().to_string()) && note.contains(&limit.to_string()));
        let kept = capped.text.strip_suffix(note.as_str()).expect("the note ends the text");
        let kept = kept.strip_suffix(SEPARATOR).unwrap_or(kept);
        prop_assert!(body.starts_with(kept));
        prop_assert_eq!(kept, kept.trim_end());
        prop_assert!(!splits_a_cluster(&body, kept.len()));
    }

    #[test]
    fn a_cut_at_any_budget_is_a_clean_prefix_and_wastes_at_most_a_cluster(body in text(), budget in 0..400_usize) {
        let end = floor(&body, budget);
        prop_assert!(end <= budget && body.is_char_boundary(end));
        prop_assert!(!splits_a_cluster(&body, end));
        prop_assert!(budget.min(body.len()) - end < CLUSTER_MAX_BYTES);
        let trimmed = cut_end(&body, budget);
        prop_assert!(trimmed <= end && !splits_a_cluster(&body, trimmed));
        prop_assert_eq!(body[..trimmed].trim_end().len(), trimmed);
    }
}
