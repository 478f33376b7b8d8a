//! Lengths of time as people write and read them.
//!
//! [`parse`] promises whole seconds between one second and ten years, or a sentence that says what is accepted.

use std::time::Duration;

/// The longest duration that is accepted: ten years of 365.25 days.
pub const LONGEST: Duration = Duration::from_secs(315_576_000);

/// What a bare number means; the flag's name says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Most flags.
    Seconds,
    /// Flags such as `--threshold-min`.
    Minutes,
}

impl Unit {
    fn seconds(self) -> u64 {
        match self {
            Self::Seconds => 1,
            Self::Minutes => 60,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Minutes => "minutes",
        }
    }
}

/// A text that is no usable duration; prints as a sentence that names the text, the reason and what is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} {problem}; give whole {} (90) or a text with units such as 90s, 20m, 1h30m or \"2h 5m\"",
    unit.word()
)]
pub struct DurationError {
    text: String,
    problem: Problem,
    unit: Unit,
}

impl DurationError {
    /// What is wrong with the text.
    pub fn problem(&self) -> Problem {
        self.problem
    }
}

/// What can be wrong with a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Problem {
    /// Nothing but white space.
    #[error("is empty")]
    Empty,
    /// No time at all.
    #[error("is zero")]
    Zero,
    /// A minus sign.
    #[error("is negative")]
    Negative,
    /// A decimal point.
    #[error("has a fraction")]
    Fractional,
    /// Units below a second that do not add up to whole seconds.
    #[error("is not a whole number of seconds")]
    SubSecond,
    /// `M`, `y` or their long forms: too easily mistaken for minutes, and of no fixed length.
    #[error(
        "uses months or years, which have no fixed length (m is minutes, d is days, w is weeks)"
    )]
    CalendarUnit,
    /// Above [`LONGEST`].
    #[error("is more than ten years")]
    TooLong,
    /// Anything else.
    #[error("is no duration")]
    Unreadable,
}

/// Reads a duration flag: a bare whole number in `unit`, or a text such as `20m`, `1h30m`, `90s`, `2h 5m`.
///
/// # Errors
/// A sentence; see [`Problem`] for the reasons.
pub fn parse(text: &str, unit: Unit) -> Result<Duration, DurationError> {
    measure(text.trim(), unit).map_err(|problem| DurationError {
        text: text.to_owned(),
        problem,
        unit,
    })
}

/// [`parse`] for a flag in seconds, in the shape that clap takes.
///
/// # Errors
/// As [`parse`].
pub fn parse_seconds(text: &str) -> Result<Duration, DurationError> {
    parse(text, Unit::Seconds)
}

/// [`parse`] for a flag in minutes, in the shape that clap takes.
///
/// # Errors
/// As [`parse`].
pub fn parse_minutes(text: &str) -> Result<Duration, DurationError> {
    parse(text, Unit::Minutes)
}

fn measure(text: &str, unit: Unit) -> Result<Duration, Problem> {
    if text.is_empty() {
        return Err(Problem::Empty);
    }
    if text.starts_with('-') {
        return Err(Problem::Negative);
    }
    let duration = if text.bytes().all(|b| b.is_ascii_digit()) {
        // Only digits, so the one way to fail is a number too large.
        let number: u64 = text.parse().map_err(|_| Problem::TooLong)?;
        let seconds = number.checked_mul(unit.seconds());
        Duration::from_secs(seconds.ok_or(Problem::TooLong)?)
    } else {
        with_units(text)?
    };
    if duration.is_zero() {
        return Err(Problem::Zero);
    }
    if duration.subsec_nanos() != 0 {
        return Err(Problem::SubSecond);
    }
    if duration > LONGEST {
        return Err(Problem::TooLong);
    }
    Ok(duration)
}

fn with_units(text: &str) -> Result<Duration, Problem> {
    let mut words = text.split(|c: char| !c.is_alphabetic());
    let calendar = |word: &str| {
        word == "M"
            || ["month", "months", "y", "yr", "yrs", "year", "years"]
                .iter()
                .any(|unit| word.eq_ignore_ascii_case(unit))
    };
    if words.any(calendar) {
        return Err(Problem::CalendarUnit);
    }
    if is_decimal(text) {
        return Err(Problem::Fractional);
    }
    if has_spaced_digits(text) {
        return Err(Problem::Unreadable);
    }
    humantime::parse_duration(text).map_err(|e| match e {
        humantime::DurationError::NumberOverflow => Problem::TooLong,
        _ => Problem::Unreadable,
    })
}

/// A digit with a decimal point or comma beside it (`1.5h`, `.5h`, `1,5h`).
fn is_decimal(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit = |at: Option<&u8>| at.is_some_and(u8::is_ascii_digit);
    bytes.iter().enumerate().any(|(i, byte)| {
        matches!(byte, b'.' | b',') && (digit(bytes.get(i + 1)) || i > 0 && digit(bytes.get(i - 1)))
    })
}

/// Digits with a space between (`2 5m`): humantime would join them to one number.
fn has_spaced_digits(text: &str) -> bool {
    let mut words = text.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let ends = word.ends_with(|c: char| c.is_ascii_digit());
        let starts = words
            .peek()
            .is_some_and(|next| next.starts_with(|c: char| c.is_ascii_digit()));
        if ends && starts {
            return true;
        }
    }
    false
}

/// Units from large to small, in ms.
const STEPS: [(i64, &str); 4] = [
    (86_400_000, "d"),
    (3_600_000, "h"),
    (60_000, "m"),
    (1_000, "s"),
];

/// A length of time in ms for people: the two largest units (`3m 20s`, `2h 5m`, `4d`), `850ms` below a second.
///
/// A negative one, which a clock that was set back can yield, counts as none.
pub fn format_duration(ms: i64) -> String {
    let ms = ms.max(0);
    let Some(first) = STEPS.iter().position(|(step, _)| ms >= *step) else {
        return if ms == 0 {
            "0s".to_owned()
        } else {
            format!("{ms}ms")
        };
    };
    let (step, unit) = STEPS[first];
    let large = format!("{}{unit}", ms / step);
    match STEPS.get(first + 1) {
        Some((next, next_unit)) if ms % step / next > 0 => {
            format!("{large} {}{next_unit}", ms % step / next)
        }
        _ => large,
    }
}

/// How long ago something was, `ms` being its age: the largest unit (`2h ago`), `just now` below a second or when a
/// clock that was set back puts it into the future.
pub fn format_ago(ms: i64) -> String {
    STEPS.iter().find(|(step, _)| ms >= *step).map_or_else(
        || "just now".to_owned(),
        |(step, unit)| format!("{}{unit} ago", ms / step),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("90", 90)]
    #[case(" 90 ", 90)]
    #[case("007", 7)]
    #[case("90s", 90)]
    #[case("20m", 1200)]
    #[case("1h30m", 5400)]
    #[case("2h 5m", 7500)]
    #[case("2 h 5 min", 7500)]
    #[case("1d", 86_400)]
    #[case("2w", 1_209_600)]
    #[case("1000ms", 1)]
    #[case("315576000", 315_576_000)]
    fn durations_are_read(#[case] text: &str, #[case] seconds: u64) {
        assert_eq!(parse_seconds(text), Ok(Duration::from_secs(seconds)));
    }

    #[test]
    fn a_bare_number_is_in_the_flags_unit_and_a_text_in_its_own() {
        assert_eq!(parse_minutes("15"), Ok(Duration::from_secs(900)));
        assert_eq!(parse_minutes("90s"), Ok(Duration::from_secs(90)));
    }

    #[rstest]
    #[case("", Problem::Empty)]
    #[case("  ", Problem::Empty)]
    #[case("0", Problem::Zero)]
    #[case("0s", Problem::Zero)]
    #[case("0h 0m", Problem::Zero)]
    #[case("-5", Problem::Negative)]
    #[case("-5m", Problem::Negative)]
    #[case("1.5", Problem::Fractional)]
    #[case("1.5h", Problem::Fractional)]
    #[case("1,5h", Problem::Fractional)]
    #[case("500ms", Problem::SubSecond)]
    #[case("20M", Problem::CalendarUnit)]
    #[case("1month", Problem::CalendarUnit)]
    #[case("2 months", Problem::CalendarUnit)]
    #[case("1y", Problem::CalendarUnit)]
    #[case("1h 1year", Problem::CalendarUnit)]
    #[case("2Years", Problem::CalendarUnit)]
    #[case("3yrs", Problem::CalendarUnit)]
    #[case("315576001", Problem::TooLong)]
    #[case("3653d", Problem::TooLong)]
    #[case("99999999999999999999999", Problem::TooLong)]
    #[case("99999999999999999999999h", Problem::TooLong)]
    #[case("soon", Problem::Unreadable)]
    #[case("1h30", Problem::Unreadable)]
    #[case("2 5m", Problem::Unreadable)]
    #[case("+5", Problem::Unreadable)]
    #[case("5 m5", Problem::Unreadable)]
    #[case("٣m", Problem::Unreadable)]
    fn others_are_refused(#[case] text: &str, #[case] problem: Problem) {
        assert_eq!(
            parse_seconds(text).map_err(|e| e.problem()),
            Err(problem),
            "{text}"
        );
    }

    #[test]
    fn minutes_that_overflow_are_refused() {
        let most = u64::MAX.to_string();
        assert_eq!(
            parse_minutes(&most).map_err(|e| e.problem()),
            Err(Problem::TooLong)
        );
    }

    #[test]
    fn a_refusal_says_what_is_accepted() {
        assert_eq!(
            parse_seconds("20M").expect_err("refused").to_string(),
            "\"20M\" uses months or years, which have no fixed length (m is minutes, d is days, w is weeks); \
             give whole seconds (90) or a text with units such as 90s, 20m, 1h30m or \"2h 5m\""
        );
        assert_eq!(
            parse_minutes("1.5").expect_err("refused").to_string(),
            "\"1.5\" has a fraction; give whole minutes (90) or a text with units such as 90s, 20m, 1h30m or \"2h 5m\""
        );
        assert_eq!(
            parse_minutes("0").expect_err("refused").to_string(),
            "\"0\" is zero; give whole minutes (90) or a text with units such as 90s, 20m, 1h30m or \"2h 5m\""
        );
    }

    #[rstest]
    #[case(-5, "0s")]
    #[case(0, "0s")]
    #[case(850, "850ms")]
    #[case(59_999, "59s")]
    #[case(60_000, "1m")]
    #[case(200_000, "3m 20s")]
    #[case(7_500_000, "2h 5m")]
    #[case(7_200_000 + 5_000, "2h")]
    #[case(4 * 86_400_000 + 3_600_000, "4d 1h")]
    #[case(i64::MAX, "106751991167d 7h")]
    fn lengths_are_short(#[case] ms: i64, #[case] expected: &str) {
        assert_eq!(format_duration(ms), expected);
    }

    #[rstest]
    #[case(-5_000, "just now")]
    #[case(999, "just now")]
    #[case(42_000, "42s ago")]
    #[case(7_500_000, "2h ago")]
    #[case(3 * 86_400_000, "3d ago")]
    fn ages_are_shorter(#[case] ms: i64, #[case] expected: &str) {
        assert_eq!(format_ago(ms), expected);
    }

    proptest! {
        #[test]
        fn any_text_is_a_usable_duration_or_refused(text in "[0-9a-zA-Z .,+-]{0,12}", minutes: bool) {
            let unit = if minutes { Unit::Minutes } else { Unit::Seconds };
            if let Ok(duration) = parse(&text, unit) {
                prop_assert!(duration >= Duration::from_secs(1) && duration <= LONGEST);
                prop_assert_eq!(duration.subsec_nanos(), 0);
            }
        }

        #[test]
        fn what_humantime_prints_is_read_back(seconds in 1..86_400_u64 * 30) {
            let duration = Duration::from_secs(seconds);
            let text = humantime::format_duration(duration).to_string();
            prop_assert_eq!(parse_seconds(&text), Ok(duration));
        }
    }
}
