//! A webhook's address and secret, and a command's arguments, stand in the configuration and nowhere else.

use std::fs;

use serde_json::json;

use super::receiver::{Answer, Receiver};
use super::{enqueue_to, quiet, record_in};
use crate::support::House;

const URL_TOKEN: &str = "in-the-url";
const SECRET: &str = "whsec-0123456789";
const PASSWORD: &str = "hunter2";

/// The texts in which a secret stands that should not.
fn leaks(house: &House, said: &str) -> Vec<String> {
    let secrets = [URL_TOKEN, SECRET, PASSWORD];
    let mut found = Vec::new();
    for (path, content) in house.state_files() {
        let text = String::from_utf8_lossy(&content).into_owned();
        if path.ends_with("config.json") {
            continue;
        }
        if secrets.iter().any(|secret| text.contains(secret)) {
            found.push(format!("{}: {text}", path.display()));
        }
    }
    if secrets.iter().any(|secret| said.contains(secret)) {
        found.push(said.to_owned());
    }
    found
}

/// Everything that the commands of an operator say.
fn said(house: &House) -> String {
    let commands: [&[&str]; 7] = [
        &["status", "--label", "w"],
        &["status", "--label", "w", "--output", "table"],
        &["list"],
        &["list", "--output", "table"],
        &["doctor"],
        &["redeliver", "--all"],
        &["result", "--label", "w", "--full"],
    ];
    let mut said = String::new();
    for words in commands {
        let ran = house.dispatch(words);
        said.push_str(&ran.stdout);
        said.push_str(&ran.stderr);
    }
    said
}

#[test]
fn no_secret_reaches_ledger_logs_answers_or_command_lines() {
    let receiver = Receiver::answering(&[Answer::Status(404), Answer::Hold]);
    let house = House::new();
    house.configure(&json!({
        "webhooks": {"ops": {"url": receiver.url(), "secret": SECRET}},
        "commands": {"mail": ["/nowhere/mailer", "--password", PASSWORD]},
        // The first failure is the last one.
        "deliver_watcher_ttl_hours": 0.0000001,
    }));
    enqueue_to(&house, "command:mail", "m", &[], "echo hi");
    record_in(&house, "m", "result", "parked");
    enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
    record_in(&house, "w", "result", "parked");
    let redelivering = house.start("dispatch", &["redeliver", "--label", "w"]);
    receiver.received(2);
    for pid in house.processes() {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).into_owned();
        assert!(
            !words.contains(SECRET) && !words.contains(URL_TOKEN),
            "{words}"
        );
    }
    receiver.release();
    let ran = crate::support::finish_soon(redelivering).exits(0);
    let all = format!("{}{}{}", ran.stdout, ran.stderr, said(&house));
    quiet(&house);
    assert_eq!(leaks(&house, &all), Vec::<String>::new());
}

#[test]
fn an_address_that_is_none_is_refused_without_being_repeated() {
    for url in [
        format!("not a url {URL_TOKEN}"),
        format!("ftp://127.0.0.1/{URL_TOKEN}"),
        format!("http://127.0.0.1:1/{URL_TOKEN}"),
        format!("http://no-such-host.invalid/{URL_TOKEN}"),
    ] {
        let house = House::new();
        house.configure(&json!({"webhooks": {"ops": {"url": url, "secret": SECRET}}}));
        enqueue_to(&house, "webhook:ops", "w", &[], "echo hi");
        crate::support::eventually("a try has ended", || {
            let records = super::records(&house, "w");
            records.first()?["lastError"].is_string().then_some(())
        });
        let all = said(&house);
        assert_eq!(leaks(&house, &all), Vec::<String>::new());
    }
}

#[test]
fn a_configuration_of_the_wrong_type_is_refused_without_its_secrets() {
    let house = House::new();
    house.configure(&json!({
        "webhooks": {"ops": {"url": format!("http://127.0.0.1:1/{URL_TOKEN}"), "secret": SECRET, "x": 1}},
        "commands": {"mail": format!("mailer --password {PASSWORD}")},
    }));
    let ran = house.dispatch(&["list"]);
    assert_ne!(ran.code, Some(0));
    assert!(
        ran.stderr
            .contains("\"commands.mail\" must be a list of texts"),
        "{ran:?}"
    );
    // The scan and `done` go on with a warning.
    let scan = house.run("529-recovery", &[]).exits(0);
    let done = super::signal_done(&house, "w", "Done.").exits(0);
    let all = format!(
        "{}{}{}{}",
        ran.stderr, scan.stderr, done.stderr, done.stdout
    );
    assert_eq!(leaks(&house, &all), Vec::<String>::new());
}
