//! `config.json`: a slip is warned about, a wrong type is refused, except where refusing would lose a completion.

use crate::support::{House, Ran};

const DONE: [&str; 5] = [
    "done",
    "--label",
    "x",
    "--checklist",
    "{\"work_complete\":true}",
];

fn configured(text: &str) -> (House, String) {
    let house = House::new();
    house.write_ledger(super::ONE_LABEL);
    house.write_config(text);
    let path = house.state().join("config.json").display().to_string();
    (house, path)
}

/// The lines on stderr.
fn lines(ran: &Ran) -> Vec<&str> {
    ran.stderr.lines().collect()
}

#[test]
fn an_unknown_key_is_warned_about_with_the_nearest() {
    let (house, path) = configured(r#"{"nmae": "x", "zebra": 1, "_comment": 5}"#);
    let ran = house.dispatch(&["list"]).exits(0);
    assert_eq!(
        lines(&ran),
        [
            format!(
                "[dispatch] the configuration {path} has an unknown key \"nmae\"; did you mean \"name\"?"
            ),
            format!("[dispatch] the configuration {path} has an unknown key \"zebra\""),
        ]
    );
}

#[test]
fn an_unknown_key_inside_an_object_is_named_and_costs_nothing_else() {
    let (house, path) = configured(r#"{"retry": {"atMots": 1}, "liveness": {"flatSecond": 3}}"#);
    let ran = house.dispatch(&["list"]).exits(0);
    assert_eq!(
        lines(&ran),
        [
            format!(
                "[dispatch] the configuration {path} has an unknown key \"retry.atMots\"; did you mean \"retry.atMost\"?"
            ),
            format!(
                "[dispatch] the configuration {path} has an unknown key \"liveness.flatSecond\"; did you mean \"liveness.flatSeconds\"?"
            ),
        ]
    );
}

#[test]
fn doctor_says_which_settings_lead_nowhere() {
    let (house, path) = configured(
        r#"{"aliases": {"ops": "webhook:taem"}, "webhooks": {"team": {"url": "example.org"}}, "deliverTo": "@nobody"}"#,
    );
    let told = house.dispatch(&["doctor"]).exits(1).json();
    let said: Vec<&str> = told["checks"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|check| check["name"] == "config")
        .filter_map(|check| check["message"].as_str())
        .collect();
    assert_eq!(
        said,
        [
            format!(
                "the configuration {path}: \"aliases.ops\" is webhook:taem, and \"webhooks\" has no \"taem\""
            ),
            format!(
                "the configuration {path}: \"webhooks.team.url\" is no address of the web; give one such as https://example.org/hook"
            ),
            format!(
                "the configuration {path}: \"deliverTo\" is @nobody, and \"aliases\" has no such name"
            ),
        ]
    );
}

#[test]
fn a_key_that_starts_with_an_underscore_is_a_comment() {
    let (house, _) = configured(r#"{"_": 1, "_name": {"a": 2}}"#);
    assert_eq!(house.dispatch(&["list"]).exits(0).stderr, "");
}

#[test]
fn every_line_on_stderr_carries_the_brand() {
    let (house, _) = configured(r#"{"name": "acme"}"#);
    let ran = house.dispatch(&["logs", "--label", "zzz"]).exits(1);
    assert_eq!(
        ran.stderr,
        "[acme] no session found for label \"zzz\"; 'dispatch list' shows what there is\n"
    );
    let ran = house.dispatch(&DONE);
    assert!(
        lines(&ran).iter().all(|line| line.starts_with("[acme] ")),
        "{ran:?}"
    );
}

#[test]
fn an_unusable_configuration_is_refused() {
    for (text, what) in [
        (
            r#"{"name": 5}"#,
            "\"name\" must be a text, not 5; mend it or take it out",
        ),
        (
            r#"{"aliases": {"a": 1}}"#,
            "\"aliases.a\" must be a text, not 1; mend it or take it out",
        ),
        (
            r#"{"retry": {"atMost": "3"}}"#,
            "\"retry.atMost\" must be a whole number that is not negative, not \"3\"; mend it or take it out",
        ),
        (
            r#"{"termGraceSeconds": -1}"#,
            "\"termGraceSeconds\" must be a number that is not negative, not -1; mend it or take it out",
        ),
        (
            r#"{"name":"#,
            "EOF while parsing a value at line 1 column 8; mend it or move it away",
        ),
        (
            "",
            "EOF while parsing a value at line 1 column 0; mend it or move it away",
        ),
        ("[]", "it is not a JSON object; mend it or move it away"),
    ] {
        let (house, path) = configured(text);
        let sentence = format!("the configuration {path} is not usable: {what}");
        for words in [
            &["list"] as &[&str],
            &["status", "--label", "nightly-build"],
            &["enqueue", "--label", "x", "--", "true"],
        ] {
            super::refused(&house, words, 2, &sentence);
        }
    }
}

#[test]
fn what_carries_completions_warns_and_goes_on() {
    for (text, what) in [
        (
            r#"{"name": 5}"#,
            "\"name\" must be a text, not 5; mend it or take it out",
        ),
        (
            r#"{"name":"#,
            "EOF while parsing a value at line 1 column 8; mend it or move it away",
        ),
    ] {
        let (house, path) = configured(text);
        let warning = format!(
            "[dispatch] the configuration {path} is not usable: {what}; going on with the default"
        );
        let done = house.dispatch(&DONE).exits(0);
        let watcher = house.run("watcher", &["--label", "nightly-build"]).exits(0);
        let recovery = house.run("529-recovery", &[]).exits(0);
        for ran in [&done, &watcher, &recovery] {
            assert_eq!(lines(ran).first(), Some(&warning.as_str()));
        }
        assert_eq!(house.entry("x")["status"], "done");
        assert_eq!(
            watcher.stdout,
            "🌶️ *dispatch* [nightly-build] completed:\n\nbuilt\n"
        );
    }
}

#[test]
fn what_is_generated_needs_no_usable_configuration() {
    let (house, _) = configured("broken");
    for words in [
        &["completions", "bash"] as &[&str],
        &["man"],
        &["--version"],
        &["list", "--help"],
    ] {
        assert_eq!(house.dispatch(words).exits(0).stderr, "", "{words:?}");
    }
}
