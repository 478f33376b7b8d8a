//! The `completion` object of an entry: what `done` records, and what one says, whichever tool wrote it.
//!
//! Promises that a text of the agent's own beats one that is put together from its checklist, and that fields which this
//! program does not know are left alone. It does not decide between the object and the session's reply.

use serde_json::{Map, Value, json};

use super::choice::{is_generic_summary, is_internal_noise};
use crate::record::{MAX_TEXT_BYTES, clip_text, time};

/// The most bytes of a text that is there for whoever looks for a mistake.
const MAX_DEBUG_BYTES: usize = 200;

/// How many further points of a checklist are named in a sentence about it.
const NAMED_POINTS: usize = 3;

/// Digits of a commit's name that people read.
const SHORT_SHA: usize = 7;

/// Fields that not every completion has, and that tell of one alone.
const OWN_FIELDS: [&str; 3] = ["forced", "summaryHuman", "technicalDetails"];

/// What an agent reports when it signals its completion.
#[derive(Debug, Clone, Copy)]
pub struct Report<'a> {
    /// What it was given as a summary, or the stock phrase that stands for none.
    pub raw_summary: &'a str,
    /// Its checklist.
    pub checklist: &'a Map<String, Value>,
    /// The commit that holds the work.
    pub sha: Option<&'a str>,
    /// It named no generation.
    pub unfenced: bool,
    /// Who forced it past the guards, and why.
    pub forced: Option<&'a Forced>,
}

/// A signal that was forced past the guards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forced {
    /// Who did so.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
}

impl Report<'_> {
    /// The text that people are told: the summary, or a sentence about checklist and commit where that is a stock phrase.
    pub fn told(&self) -> String {
        match is_generic_summary(self.raw_summary) {
            true => self
                .synthesis()
                .unwrap_or_else(|| self.raw_summary.to_owned()),
            false => self.raw_summary.to_owned(),
        }
    }

    fn synthesis(&self) -> Option<String> {
        synthesis(Some(self.checklist), self.sha)
    }

    /// The object for the ledger, texts cut to what that takes. Of the one that was there `before`, fields which this program
    /// does not know survive.
    pub fn record(&self, now_ms: i64, before: Option<&Value>) -> Value {
        let prose = (!is_generic_summary(self.raw_summary))
            .then(|| clip_text(self.raw_summary, MAX_TEXT_BYTES));
        let synthesized = match prose {
            Some(_) => None,
            None => self.synthesis(),
        };
        let human = prose.clone().or_else(|| synthesized.clone());
        let source = match (&prose, &synthesized) {
            (Some(_), _) => "summary_human",
            (None, Some(_)) => "technical-synthesis",
            (None, None) => "none",
        };
        let mut details = Map::new();
        details.insert("checklist".to_owned(), json!(self.checklist));
        if let Some(sha) = self.sha {
            let short: String = sha.chars().take(SHORT_SHA).collect();
            details.insert("sha".to_owned(), json!(sha));
            details.insert("sha_short".to_owned(), json!(short));
        }
        if prose.is_none() {
            details.insert("raw_summary".to_owned(), json!(self.raw_summary));
        }
        let mut record = json!({
            "version": 2,
            "recordedAt": time::iso(now_ms),
            "summary_human": human,
            "summary": clip_text(&self.told(), MAX_TEXT_BYTES),
            "details_technical": details,
            "deliveryText": human,
            "prose": prose,
            "checklist": self.checklist,
            "sha": self.sha,
            "debug": {
                "rawSummary": clip_text(self.raw_summary, MAX_DEBUG_BYTES),
                "normalizedSummary": prose.as_deref().map(|text| clip_text(text, MAX_DEBUG_BYTES)),
                "synthesizedReply": synthesized,
                "deliverySource": source,
            },
            "unfenced": self.unfenced,
        });
        if let (Some(forced), Value::Object(fields)) = (self.forced, &mut record) {
            let reason = forced.reason.as_deref();
            let reason = reason.map(|text| clip_text(text, MAX_TEXT_BYTES));
            let forced = json!({"by": clip_text(&forced.by, MAX_DEBUG_BYTES), "reason": reason});
            fields.insert("forced".to_owned(), forced);
        }
        if let (Some(Value::Object(before)), Value::Object(fields)) = (before, &mut record) {
            for (name, value) in before {
                if !fields.contains_key(name) && !OWN_FIELDS.contains(&name.as_str()) {
                    fields.insert(name.clone(), value.clone());
                }
            }
        }
        record
    }
}

/// A sentence about checklist and commit; `None` where they say no more than that the work is complete.
fn synthesis(checklist: Option<&Map<String, Value>>, sha: Option<&str>) -> Option<String> {
    let is_true = |name: &str| checklist.and_then(|c| c.get(name)) == Some(&Value::Bool(true));
    let short: Option<String> = sha.map(|sha| sha.chars().take(SHORT_SHA).collect());
    let mut points = Vec::new();
    if is_true("tests_passed") {
        points.push("tests passed".to_owned());
    }
    match (is_true("pushed"), short) {
        (true, Some(short)) => points.push(format!("pushed as {short}")),
        (true, None) => points.push("changes pushed".to_owned()),
        (false, Some(short)) => points.push(format!("committed as {short}")),
        (false, None) => {}
    }
    let further = checklist.into_iter().flatten().filter(|(name, value)| {
        **value == Value::Bool(true)
            && !matches!(name.as_str(), "work_complete" | "tests_passed" | "pushed")
    });
    points.extend(
        further
            .take(NAMED_POINTS)
            .map(|(name, _)| clip_text(&name.replace('_', " "), MAX_DEBUG_BYTES)),
    );
    (!points.is_empty()).then(|| format!("The work is complete: {}.", points.join(", ")))
}

/// What a completion says, untouched; `None` where it says nothing at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A text that the agent wrote.
    Own(String),
    /// A stock phrase, or a sentence that was put together from the checklist: the session's reply says more.
    Generic(String),
}

impl Said {
    /// The text.
    pub fn text(&self) -> &str {
        match self {
            Said::Own(text) | Said::Generic(text) => text,
        }
    }
}

/// Reads a completion as this program or the reference wrote it, in any of its versions.
pub fn said(completion: &Value) -> Option<Said> {
    let fields = match completion {
        Value::String(text) => return usable(text).map(judged),
        Value::Object(fields) => fields,
        _ => return None,
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).and_then(usable);
    let details = fields
        .get("details_technical")
        .filter(|details| !details.is_null())
        .or_else(|| fields.get("technicalDetails"));
    let raw = details
        .and_then(|d| d.get("raw_summary")?.as_str())
        .and_then(usable);
    let known = [
        "summary_human",
        "summaryHuman",
        "prose",
        "summary",
        "deliveryText",
    ];
    let texts: Vec<&str> = known.into_iter().filter_map(text).chain(raw).collect();
    let is_synthesized = matches!(
        fields
            .get("debug")
            .and_then(|d| d.get("deliverySource")?.as_str()),
        Some("technical-synthesis" | "synthesized")
    );
    if is_synthesized && let Some(text) = texts.first() {
        return Some(Said::Generic((*text).to_owned()));
    }
    if let Some(own) = texts.iter().find(|text| !is_generic_summary(text)) {
        return Some(Said::Own((*own).to_owned()));
    }
    if let Some(text) = details.and_then(Value::as_str).and_then(usable) {
        return Some(judged(text));
    }
    let within = |name: &str| fields.get(name).or_else(|| details?.get(name));
    let checklist = within("checklist").and_then(Value::as_object);
    let sha = within("sha")
        .and_then(Value::as_str)
        .filter(|sha| !sha.is_empty());
    synthesis(checklist, sha)
        .or_else(|| texts.first().map(|text| (*text).to_owned()))
        .map(Said::Generic)
}

fn usable(text: &str) -> Option<&str> {
    (!text.trim().is_empty() && !is_internal_noise(text)).then_some(text)
}

fn judged(text: &str) -> Said {
    match is_generic_summary(text) {
        true => Said::Generic(text.to_owned()),
        false => Said::Own(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn checklist(value: Value) -> Map<String, Value> {
        serde_json::from_value(value).expect("an object")
    }

    fn report<'a>(summary: &'a str, checklist: &'a Map<String, Value>) -> Report<'a> {
        Report {
            raw_summary: summary,
            checklist,
            sha: None,
            unfenced: false,
            forced: None,
        }
    }

    #[test]
    fn a_summary_of_the_agents_own_is_recorded_in_every_field_that_scripts_read() {
        let list = checklist(json!({"work_complete": true, "tests_passed": true}));
        let report = Report {
            sha: Some("0123456789abcdef"),
            ..report("Fixed the parser.", &list)
        };
        assert_eq!(
            report.record(0, None),
            json!({
                "version": 2,
                "recordedAt": "1970-01-01T00:00:00.000Z",
                "summary_human": "Fixed the parser.",
                "summary": "Fixed the parser.",
                "details_technical": {
                    "checklist": {"work_complete": true, "tests_passed": true},
                    "sha": "0123456789abcdef",
                    "sha_short": "0123456",
                },
                "deliveryText": "Fixed the parser.",
                "prose": "Fixed the parser.",
                "checklist": {"work_complete": true, "tests_passed": true},
                "sha": "0123456789abcdef",
                "debug": {
                    "rawSummary": "Fixed the parser.",
                    "normalizedSummary": "Fixed the parser.",
                    "synthesizedReply": null,
                    "deliverySource": "summary_human",
                },
                "unfenced": false,
            })
        );
        assert_eq!(
            said(&report.record(0, None)),
            Some(Said::Own("Fixed the parser.".to_owned()))
        );
    }

    #[rstest]
    #[case(json!({"work_complete": true}), None, "completed (agent signal)")]
    #[case(json!({"work_complete": true, "tests_passed": true}), None, "The work is complete: tests passed.")]
    #[case(json!({"pushed": true}), Some("abcdef0123"), "The work is complete: pushed as abcdef0.")]
    #[case(json!({"pushed": true, "docs_updated": true}), None, "The work is complete: changes pushed, docs updated.")]
    #[case(json!({"pushed": "yes", "note": "x"}), Some("abcdef0123"), "The work is complete: committed as abcdef0.")]
    #[case(json!({"a": true, "b": true, "c": true, "d": true}), None, "The work is complete: a, b, c.")]
    fn a_stock_phrase_gives_way_to_what_the_checklist_says(
        #[case] list: Value,
        #[case] sha: Option<&str>,
        #[case] told: &str,
    ) {
        let list = checklist(list);
        let report = Report {
            sha,
            ..report("completed (agent signal)", &list)
        };
        assert_eq!(report.told(), told);
        assert_eq!(
            said(&report.record(0, None)),
            Some(Said::Generic(told.to_owned()))
        );
        let details = &report.record(0, None)["details_technical"];
        assert_eq!(details["raw_summary"], "completed (agent signal)");
    }

    #[test]
    fn who_forced_it_is_recorded_and_no_text_is_longer_than_the_ledger_takes() {
        let long = "ä".repeat(5_000);
        let list = checklist(json!({"work_complete": true}));
        let forced = Forced {
            by: long.clone(),
            reason: Some(long.clone()),
        };
        let report = Report {
            forced: Some(&forced),
            ..report(&long, &list)
        };
        let record = report.record(0, None);
        assert!(
            record["forced"]["reason"]
                .as_str()
                .is_some_and(|r| r.starts_with('ä'))
        );
        fn check(value: &Value) {
            match value {
                Value::String(text) => assert!(text.len() <= MAX_TEXT_BYTES),
                Value::Array(items) => items.iter().for_each(check),
                Value::Object(fields) => fields.values().for_each(check),
                _ => {}
            }
        }
        check(&record);
        assert_eq!(report.told(), long);
    }

    #[test]
    fn fields_of_others_survive_and_nothing_else_of_an_earlier_signal_does() {
        let list = checklist(json!({"work_complete": true}));
        let before = json!({"summary": "Old.", "summaryHuman": "Old.", "forced": {"by": "x"}, "vendor": {"n": 1}});
        let record = report("New.", &list).record(0, Some(&before));
        assert_eq!(record["vendor"], json!({"n": 1}));
        assert_eq!(said(&record), Some(Said::Own("New.".to_owned())));
        assert!(record.get("forced").is_none() && record.get("summaryHuman").is_none());
    }

    #[rstest]
    #[case::human(json!({"summary_human": "Own.", "summary": "Other."}), "Own.")]
    #[case::camel(json!({"summaryHuman": "Own.", "summary": "Other."}), "Own.")]
    #[case::version_1(json!({"version": 1, "summary": "Own.", "deliveryText": "Own.", "debug": {"deliverySource": "summary"}}), "Own.")]
    #[case::generic_human(json!({"summary_human": "Done.", "summary": "Own."}), "Own.")]
    #[case::only_delivery_text(json!({"summary": null, "deliveryText": "Own."}), "Own.")]
    #[case::raw(json!({"summary_human": null, "summary": "", "details_technical": {"raw_summary": "Own."}}), "Own.")]
    #[case::other_name(json!({"technicalDetails": {"raw_summary": "Own."}}), "Own.")]
    #[case::details_as_text(json!({"summary": "done", "details_technical": "Own."}), "Own.")]
    #[case::noise(json!({"summary_human": "{\"status\":\"done\"}", "summary": "Own."}), "Own.")]
    #[case::odd_types(json!({"summary_human": 4, "summary": ["x"], "prose": "Own.", "debug": 3}), "Own.")]
    #[case::text(json!("Own."), "Own.")]
    fn a_text_of_the_agents_own_is_found_in_every_version(
        #[case] completion: Value,
        #[case] own: &str,
    ) {
        assert_eq!(said(&completion), Some(Said::Own(own.to_owned())));
    }

    #[rstest]
    #[case::generic(json!({"version": 2, "summary": "completed (agent signal)", "details_technical": {"checklist": {"work_complete": true}, "raw_summary": "completed (agent signal)"}}), "completed (agent signal)")]
    #[case::synthesized(json!({"summary_human": "Pushed it.", "debug": {"deliverySource": "technical-synthesis"}}), "Pushed it.")]
    #[case::version_1(json!({"version": 1, "summary": "All is pushed.", "debug": {"deliverySource": "synthesized"}}), "All is pushed.")]
    #[case::nothing_but_facts(json!({"checklist": {"tests_passed": true}, "sha": "abcdef0123"}), "The work is complete: tests passed, committed as abcdef0.")]
    #[case::facts_in_details(json!({"technicalDetails": {"checklist": {"pushed": true}}}), "The work is complete: changes pushed.")]
    #[case::text(json!("done"), "done")]
    fn what_is_put_together_is_known_as_such(#[case] completion: Value, #[case] text: &str) {
        assert_eq!(said(&completion), Some(Said::Generic(text.to_owned())));
    }

    #[rstest]
    #[case(json!(null))]
    #[case(json!([]))]
    #[case(json!({}))]
    #[case(json!({"summary": "  ", "checklist": "x", "sha": ""}))]
    #[case(json!(""))]
    fn nothing_says_nothing(#[case] completion: Value) {
        assert_eq!(said(&completion), None);
    }
}
