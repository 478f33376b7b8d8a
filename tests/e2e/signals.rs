//! `dispatch done` as an agent calls it, from within its own turn.

use rstest::rstest;
use serde_json::{Value, json};

use super::gateways::{GatewayHouse, Version, in_a_runs_time};

/// A shell command that signals done for the label, with more words, and says so where it is turned away.
fn signal(house: &GatewayHouse, label: &str, more: &str) -> String {
    format!(
        "env HOME={home} DISPATCH_HOME={state} {dispatch} done --label {label} --checklist '{{\"work_complete\":true}}' {more}",
        home = house.root().join("user").display(),
        state = house.state().display(),
        dispatch = env!("CARGO_BIN_EXE_dispatch"),
    )
}

/// Has an agent run a shell command so many times, and answer.
fn ask(house: &GatewayHouse, label: &str, command: &str, rounds: u8) {
    let args = json!({"command": command});
    let prompt = format!(
        "Signal {label}. @fake tool=exec rounds={rounds} args={args} reply=\"Last words.\""
    );
    house.ask(label, &prompt, &[]);
}

/// Moves the start of a label's run, between two of its writes, to what the shell makes of this.
fn began(house: &GatewayHouse, time: &str) -> String {
    let ledger = house.ledger_path().display().to_string();
    let moved = format!("s/\\\"spawnedAt\\\": \\\"[^\\\"]*\\\"/\\\"spawnedAt\\\": \\\"{time}\\\"/");
    format!("flock {ledger}.lock sed -i \"{moved}\" {ledger}")
}

fn began_long_ago(house: &GatewayHouse) -> String {
    began(house, "2026-01-01T00:00:00.000Z")
}

fn began_just_now(house: &GatewayHouse) -> String {
    began(house, "$(date -u +%Y-%m-%dT%H:%M:%S.000Z)")
}

fn is_signalled(entry: &Value) -> bool {
    entry["completion"].is_object()
}

#[rstest]
fn a_signal_after_a_moment_is_turned_away_unless_it_is_forced(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let plain = signal(&house, "quick", "--summary Told-by-itself");
    ask(
        &house,
        "quick",
        &format!(
            "{}; {plain} 2> {}",
            began_just_now(&house),
            house.path("why").display()
        ),
        1,
    );
    let entry = house.settled("quick");
    // Its reply is the result.
    assert!(!is_signalled(&entry), "{entry:#}");
    assert_eq!(entry["summary"], "Last words.");
    let why = house.text("why");
    assert!(
        why.contains("REJECTED: Session ran for only ") && why.contains("suspiciously short"),
        "{why}"
    );

    let forced = signal(
        &house,
        "forced",
        "--summary Told-by-itself --force-done --reason tiny",
    );
    ask(&house, "forced", &forced, 1);
    let entry = house.settled("forced");
    assert_eq!(
        entry["status"],
        "done",
        "{entry:#}\n{}",
        house.watcher_log("forced")
    );
    assert_eq!(entry["summary"], "Told-by-itself", "{entry:#}");
    assert_eq!(entry["completion"]["forced"]["reason"], "tiny", "{entry:#}");
    // The run is followed to its end, for the agent's last words.
    house.with_last_words("forced");
    let words = ["result", "--label", "forced", "--full"];
    let result = house.dispatch(&words).exits(0).json();
    assert_eq!(result["lastReply"], "Told-by-itself");
    assert_eq!(result["lastWords"], "Last words.");
}

#[rstest]
fn an_agent_that_did_nothing_is_turned_away_and_one_that_worked_is_not(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    // The very first thing that it does is the signal, twice. A gateway with much else to do may not tell within seconds
    // what it did, and then the signal is let through.
    let mut tries = 0;
    let (entry, told) = in_a_runs_time("the gateway answers in time", || {
        tries += 1;
        let (label, name) = (format!("idle{tries}"), format!("why{tries}"));
        let idle = signal(&house, &label, "--summary Told-by-itself");
        let why = house.path(&name).display().to_string();
        let command = format!("{}; {idle} 2>&1 | tee -a {why}", began_long_ago(&house));
        ask(&house, &label, &command, 2);
        let entry = house.settled(&label);
        let told = house.text(&name);
        let is_answered = !told.contains("session activity check unavailable");
        is_answered.then_some((entry, told))
    });
    assert!(!is_signalled(&entry), "{entry:#}\n{told}");
    let refusals = told
        .matches("REJECTED: Session has only 2 messages")
        .count();
    assert_eq!(refusals, 2, "{told}");

    // The first call works, the second one signals.
    let why = house.path("why").display().to_string();
    let busy = signal(&house, "busy", "--summary Told-by-itself");
    let mark = house.path("mark").display().to_string();
    let command = format!(
        "if [ -e {mark} ]; then {}; {busy} 2>&1 | tee -a {why}; else touch {mark}; fi",
        began_long_ago(&house)
    );
    ask(&house, "busy", &command, 2);
    let entry = house.settled("busy");
    assert!(is_signalled(&entry), "{entry:#}\n{}", house.text("why"));
    assert_eq!(entry["summary"], "Told-by-itself");
}
