//! How long a provider asks to wait: in a header, a field, or its words. Pure.

use std::sync::LazyLock;

use chrono::{DateTime, NaiveDateTime};
use regex::Regex;
use serde_json::{Map, Value};

/// Nobody is waited for longer than this: one day, in ms.
pub const MAX_MS: u64 = 24 * 3600 * 1000;

/// Reads the value of a `Retry-After` header, in ms from `now_ms` (since the epoch): seconds, a duration with units (`1500ms`,
/// `1m30s`), or an HTTP date, of which one that has passed is 0. `None` for anything else.
pub fn of_header(value: &str, now_ms: i64) -> Option<u64> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<f64>() {
        return of_seconds(seconds);
    }
    if let Some((ms, rest)) = leading_duration(value)
        && rest.is_empty()
    {
        return Some(ms);
    }
    let at_ms = http_date_ms(value)?;
    let ahead = u64::try_from(at_ms.saturating_sub(now_ms)).unwrap_or(0);
    Some(ahead.min(MAX_MS))
}

/// Finds the time to wait in a provider's sentence, in ms: `try again in 20s`, `retry after 2 minutes`, `retry-after: 30`,
/// `"retryDelay": "34s"`. A bare number is seconds. `None` when it names none.
pub fn in_text(text: &str, now_ms: i64) -> Option<u64> {
    static ASKS: LazyLock<Regex> = LazyLock::new(|| {
        words(
            r#"(?i)\b(?:try again (?:in|after)|retry (?:in|after)|retrying in|wait|available (?:again )?in|retry[-_]?(?P<ms>after[-_]?ms)|retry[-_]?after|retry[-_]?delay)["']?\s*[:=]?\s*(?:about\s+)?["']?(?P<what>[0-9A-Z][^"'}\]\n]*)"#,
        )
    });
    ASKS.captures_iter(text).find_map(|asks| {
        let what = asks.name("what")?.as_str();
        if asks.name("ms").is_some() {
            let digits: String = what.chars().take_while(char::is_ascii_digit).collect();
            return Some(digits.parse::<u64>().ok()?.min(MAX_MS));
        }
        leading_duration(what)
            .map(|(ms, _)| ms)
            .or_else(|| of_header(what.trim_end_matches(['.', ',', ';', ')']), now_ms))
    })
}

/// Reads the fields that name a wait: `retryAfterMs` and its spellings in ms, `retryAfter` in seconds or as text, `retryDelay`.
pub(super) fn of_fields(fields: &Map<String, Value>) -> Option<u64> {
    let get = |names: &[&str]| names.iter().find_map(|name| fields.get(*name)).cloned();
    if let Some(ms) = get(&["retryAfterMs", "retry_after_ms", "retry-after-ms"]) {
        let ms = ms.as_f64().filter(|ms| *ms >= 0.0)?;
        return Some((ms as u64).min(MAX_MS));
    }
    let seconds = get(&[
        "retryAfter",
        "retry_after",
        "retry-after",
        "retryAfterSeconds",
        "retry_after_seconds",
        "retryDelay",
    ])?;
    match &seconds {
        Value::Number(number) => of_seconds(number.as_f64()?),
        // A date in a field has no `now` to be counted from.
        Value::String(text) => text
            .parse()
            .ok()
            .and_then(of_seconds)
            .or_else(|| leading_duration(text).map(|(ms, _)| ms)),
        _ => None,
    }
}

fn of_seconds(seconds: f64) -> Option<u64> {
    let usable = seconds.is_finite() && seconds >= 0.0;
    usable.then(|| ((seconds * 1000.0) as u64).min(MAX_MS))
}

/// The duration that a text begins with, in ms, and what follows: `20s`, `1m30.5s`, `2 minutes`, `20`. A bare number is seconds.
fn leading_duration(text: &str) -> Option<(u64, &str)> {
    static PART: LazyLock<Regex> = LazyLock::new(|| {
        words(
            r"(?i)^(?P<n>[0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(?P<unit>ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)\b(?:\s+and)?[\s,]*",
        )
    });
    static GLUED: LazyLock<Regex> =
        LazyLock::new(|| words(r"(?i)^(?P<n>[0-9]{1,9}(?:\.[0-9]{1,9})?)(?P<unit>ms|s|m|h|d)"));
    let mut rest = text;
    let mut total = None;
    while let Some(part) = PART.captures(rest).or_else(|| GLUED.captures(rest)) {
        let number: f64 = part.name("n")?.as_str().parse().ok()?;
        let unit = part.name("unit")?.as_str().to_ascii_lowercase();
        let factor = match unit.as_str() {
            "ms" => 0.001,
            unit if unit.starts_with("milli") => 0.001,
            unit if unit.starts_with('s') => 1.0,
            unit if unit.starts_with('m') => 60.0,
            unit if unit.starts_with('h') => 3600.0,
            _ => 86_400.0,
        };
        total = Some(total.unwrap_or(0) + of_seconds(number * factor)?);
        rest = rest.get(part.get(0)?.end()..)?;
    }
    if let Some(total) = total {
        return Some((total.min(MAX_MS), rest));
    }
    static BARE: LazyLock<Regex> =
        LazyLock::new(|| words(r"^(?P<n>[0-9]{1,9}(?:\.[0-9]+)?)(?:[\s.,;)]|$)"));
    let bare = BARE.captures(text)?;
    let number = bare.name("n")?;
    let ms = of_seconds(number.as_str().parse().ok()?)?;
    Some((ms, text.get(number.end()..)?))
}

/// The three forms of an HTTP date, in ms since the epoch.
fn http_date_ms(text: &str) -> Option<i64> {
    if let Ok(at) = DateTime::parse_from_rfc2822(text) {
        return Some(at.timestamp_millis());
    }
    let forms = ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    let at = forms
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?;
    Some(at.and_utc().timestamp_millis())
}

fn words(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is a constant that the tests compile")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// 2026-10-21 07:28:00 UTC.
    const NOW: i64 = 1_792_567_680_000;

    #[rstest]
    #[case("20", Some(20_000))]
    #[case(" 1.5 ", Some(1_500))]
    #[case("0", Some(0))]
    #[case("1500ms", Some(1_500))]
    #[case("1m30s", Some(90_000))]
    #[case("Wed, 21 Oct 2026 07:28:30 GMT", Some(30_000))]
    #[case("Wednesday, 21-Oct-26 07:28:30 GMT", Some(30_000))]
    #[case("Wed Oct 21 07:28:30 2026", Some(30_000))]
    #[case("Wed, 21 Oct 2026 07:27:00 GMT", Some(0))]
    #[case("Wed, 21 Oct 2099 07:27:00 GMT", Some(MAX_MS))]
    #[case("999999999", Some(MAX_MS))]
    #[case("-3", None)]
    #[case("NaN", None)]
    #[case("soon", None)]
    #[case("", None)]
    #[case("20 apples", None)]
    fn a_header_is_read(#[case] value: &str, #[case] ms: Option<u64>) {
        assert_eq!(of_header(value, NOW), ms);
    }

    #[rstest]
    #[case("Please try again in 20s. Visit the page.", Some(20_000))]
    #[case("Please try again in 6m0s.", Some(360_000))]
    #[case("Please try again in 1h2m3s", Some(3_723_000))]
    #[case("Please try again in 898ms. Visit", Some(898))]
    #[case("Please try again in 1.5s", Some(1_500))]
    #[case("Please retry in 25.763812s.", Some(25_763))]
    #[case("try again in 2 minutes", Some(120_000))]
    #[case("try again in 3 days 4 hours 5 minutes.", Some(MAX_MS))]
    #[case("Retry after 30 seconds", Some(30_000))]
    #[case("retry-after: 12", Some(12_000))]
    #[case("Retry-After: Wed, 21 Oct 2026 07:28:30 GMT", Some(30_000))]
    #[case("retry-after-ms: 1500", Some(1_500))]
    #[case(r#"{"retryDelay": "34s"}"#, Some(34_000))]
    #[case(r#"{"retry_after": 7}"#, Some(7_000))]
    #[case("retry after 5.", Some(5_000))]
    #[case("Please try again in a moment.", None)]
    #[case("Please try again later.", None)]
    #[case("try again in 2026-10-21", None)]
    #[case("20s", None)]
    #[case("", None)]
    fn a_sentence_is_read(#[case] text: &str, #[case] ms: Option<u64>) {
        assert_eq!(in_text(text, NOW), ms);
    }

    #[test]
    fn fields_are_read_with_their_units() {
        let cases = [
            (json!({"retryAfterMs": 1500.0}), Some(1_500)),
            (json!({"retry_after": 2}), Some(2_000)),
            (json!({"retry-after": "2"}), Some(2_000)),
            (json!({"retryDelay": "34.5s"}), Some(34_500)),
            (json!({"retryAfterMs": -1}), None),
            (json!({"retryAfter": null}), None),
            (json!({"retryAfter": "soon"}), None),
            (json!({}), None),
        ];
        for (fields, ms) in cases {
            let map = fields.as_object().expect("an object");
            assert_eq!(of_fields(map), ms, "{fields}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics_and_no_wait_is_longer_than_a_day(text in "(try again in |retry-after: |[0-9]{1,12}|\\.|ms|s|m|h|d| |é|Wed, 21 Oct 2026){0,10}", now in any::<i64>()) {
            for found in [of_header(&text, now), in_text(&text, now)].into_iter().flatten() {
                prop_assert!(found <= MAX_MS);
            }
        }
    }
}
