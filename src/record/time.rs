//! Times as OpenClaw and other tools write them, and as dispatch does: ISO 8601 text in UTC with milliseconds.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

/// `2026-11-21T13:30:05.123Z` for milliseconds since the epoch.
pub fn iso(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// For people, as short as it can be understood at `now_ms`: `14:03 UTC`, or `2026-11-20 14:03 UTC` of another day.
pub fn clock(ms: i64, now_ms: i64) -> String {
    let text = |ms: i64, format: &str| {
        let time = DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default();
        time.format(format).to_string()
    };
    let day = "%Y-%m-%d";
    match text(ms, day) == text(now_ms, day) {
        true => text(ms, "%H:%M UTC"),
        false => text(ms, "%Y-%m-%d %H:%M UTC"),
    }
}

/// Below this a number is taken for seconds: as milliseconds it would lie before September 2001.
const FIRST_MILLISECONDS: f64 = 1e12;

/// Milliseconds since the Unix epoch; `None` for what is no time.
pub fn parse(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number_ms(number.as_f64()?),
        Value::String(text) => text_ms(text.trim()),
        _ => None,
    }
}

fn text_ms(text: &str) -> Option<i64> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_millis());
    }
    text.parse().ok().and_then(number_ms)
}

fn number_ms(number: f64) -> Option<i64> {
    if !number.is_finite() {
        return None;
    }
    let ms = if number.abs() < FIRST_MILLISECONDS {
        number * 1000.0
    } else {
        number
    };
    // Exact for every time until the year 287,396; a larger number saturates.
    Some(ms.round() as i64)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[test]
    fn people_read_the_day_only_of_another_one() {
        let at = 1_795_263_478_153;
        assert_eq!(clock(at, at + 3_600_000), "12:17 UTC");
        assert_eq!(clock(at, at + 12 * 3_600_000), "2026-11-21 12:17 UTC");
    }

    #[rstest]
    #[case::milliseconds(json!(1_795_263_478_153_i64), Some(1_795_263_478_153))]
    #[case::seconds(json!(1_795_263_478), Some(1_795_263_478_000))]
    #[case::seconds_with_fraction(json!(1_795_263_478.5), Some(1_795_263_478_500))]
    #[case::the_border(json!(1_000_000_000_000_i64), Some(1_000_000_000_000))]
    #[case::iso(json!("2026-11-21T12:17:58.153Z"), Some(1_795_263_478_153))]
    #[case::iso_with_offset(json!("2026-11-21T13:17:58.153+01:00"), Some(1_795_263_478_153))]
    #[case::number_as_text(json!("1795263478153"), Some(1_795_263_478_153))]
    #[case::no_time(json!("soon"), None)]
    #[case::not_a_number(json!("NaN"), None)]
    #[case::null(json!(null), None)]
    #[case::object(json!({}), None)]
    fn times_are_read_in_every_form(#[case] value: Value, #[case] expected: Option<i64>) {
        assert_eq!(parse(&value), expected);
    }
}
