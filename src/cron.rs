//! Cron expressions of five fields, as far as they are checked before somebody relies on them.
//!
//! Promises that an expression that passes means some time to a cron daemon's usual reading. Says nothing about when; the
//! 30th of February passes.

/// A text that is no cron expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no cron expression: {problem}; give five fields such as \"*/15 * * * *\"")]
pub struct CronError {
    text: String,
    problem: String,
}

/// One of the five fields.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    /// Names of the values from `least` on.
    words: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field {
        name: "minute",
        least: 0,
        most: 59,
        words: &[],
    },
    Field {
        name: "hour",
        least: 0,
        most: 23,
        words: &[],
    },
    Field {
        name: "day of the month",
        least: 1,
        most: 31,
        words: &[],
    },
    Field {
        name: "month",
        least: 1,
        most: 12,
        words: &[
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ],
    },
    // Both 0 and 7 are Sunday.
    Field {
        name: "day of the week",
        least: 0,
        most: 7,
        words: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

/// Checks an expression and gives it back with single spaces, in the shape that clap takes.
///
/// # Errors
/// A sentence that names the field and what it takes.
pub fn parse(text: &str) -> Result<String, CronError> {
    let wrong = |problem: String| CronError {
        text: text.to_owned(),
        problem,
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(wrong(match fields.len() {
            1 => "it has 1 field".to_owned(),
            n => format!("it has {n} fields"),
        }));
    }
    for (field, given) in FIELDS.iter().zip(&fields) {
        if !given.split(',').all(|item| field.takes(item)) {
            return Err(wrong(format!(
                "its {} is \"{given}\", and goes from {} to {}",
                field.name, field.least, field.most
            )));
        }
    }
    Ok(fields.join(" "))
}

impl Field {
    /// `*`, a value or a range, each with `/step` or without.
    fn takes(&self, item: &str) -> bool {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let is_step = step.is_none_or(|step| number(step).is_some_and(|n| n > 0));
        let is_range = match range.split_once('-') {
            Some((from, to)) => match (self.value(from), self.value(to)) {
                (Some(from), Some(to)) => from <= to,
                _ => false,
            },
            None => range == "*" || self.value(range).is_some(),
        };
        is_step && is_range
    }

    fn value(&self, text: &str) -> Option<u32> {
        let mut names = self.least..;
        let named = self
            .words
            .iter()
            .find_map(|word| names.next().filter(|_| text.eq_ignore_ascii_case(word)));
        named
            .or_else(|| number(text))
            .filter(|value| (self.least..=self.most).contains(value))
    }
}

/// Digits alone: what else Rust reads as a number (`+5`) a cron daemon does not.
fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::every_quarter("*/15 * * * *")]
    #[case::lists_ranges_steps("0,30 8-18/2 1-7 * 1-5")]
    #[case::names("0 9 * jan-MAR mon,Fri")]
    #[case::both_sundays("59 23 31 12 0,7")]
    fn what_a_cron_daemon_takes(#[case] text: &str) {
        assert_eq!(parse(text), Ok(text.to_owned()));
    }

    #[test]
    fn white_space_is_made_plain() {
        assert_eq!(parse("  */5  *\t* * * "), Ok("*/5 * * * *".to_owned()));
    }

    #[rstest]
    #[case::empty("", "it has 0 fields")]
    #[case::a_number("15", "it has 1 field")]
    #[case::seconds("0 */5 * * * *", "it has 6 fields")]
    #[case::out_of_range("60 * * * *", "its minute is \"60\", and goes from 0 to 59")]
    #[case::no_zeroth("* * 0 * *", "its day of the month is \"0\", and goes from 1 to 31")]
    #[case::backwards("* 8-6 * * *", "its hour is \"8-6\", and goes from 0 to 23")]
    #[case::no_step("*/0 * * * *", "its minute is \"*/0\", and goes from 0 to 59")]
    #[case::a_word("* * * foo *", "its month is \"foo\", and goes from 1 to 12")]
    #[case::a_sign("+5 * * * *", "its minute is \"+5\", and goes from 0 to 59")]
    #[case::a_gap("1,,2 * * * *", "its minute is \"1,,2\", and goes from 0 to 59")]
    fn what_it_does_not_take_is_named(#[case] text: &str, #[case] problem: &str) {
        let sentence = format!(
            "\"{text}\" is no cron expression: {problem}; give five fields such as \"*/15 * * * *\""
        );
        assert_eq!(parse(text).map_err(|e| e.to_string()), Err(sentence));
    }
}
