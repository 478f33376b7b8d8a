//! Timers, the clock, and those who are told of events.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::{dispatch, fake_program, findings, heed, is_sound, look, only, sound_house, troubles};
use crate::concurrency::recovery::{MINUTE_MS, now_ms};
use crate::outbox::quiet;
use crate::outbox::receiver::{Answer, Receiver};
use crate::support::{Gate, House, eventually, finish_soon, run};

/// A house in which a label runs, on a system without any timer.
fn running_house() -> (House, Gate) {
    let house = House::new();
    fake_program(&house, "crontab", "cat crontab 2>/dev/null");
    fake_program(&house, "systemctl", "exit 1");
    let gate = house.gate("gate");
    house.enqueue("w", &format!("{}; echo hi", gate.pass()));
    house.watcher_pid("w");
    house.runner_pid("w");
    (house, gate)
}

#[track_caller]
fn doctor(house: &House) -> crate::support::Ran {
    dispatch(house, &["doctor"])
}

#[test]
fn what_runs_without_a_scan_by_the_clock_is_told_until_somebody_has_it_run() {
    let (house, gate) = running_house();
    let told = only(doctor(&house), "timers", "warn");
    let never = "the recovery scan has never run here, and the stuck detector has never run here, while 1 label runs";
    assert!(told.message.starts_with(never), "{told:#?}");
    assert!(told.todo.contains("dispatch install-timers"), "{told:#?}");
    // Neither a dry run nor one for a single label is a scan.
    house.run("529-recovery", &["--dry-run"]).exits(0);
    house.run("529-recovery", &["--label", "w"]).exits(0);
    only(doctor(&house), "timers", "warn");
    heed(&house, &told);
    assert_eq!(troubles(doctor(&house), 0), []);
    let scanned = house.state().join("recovery.json");
    let text = fs::read_to_string(&scanned).expect("recorded");
    let run: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(run["outcome"], "ok");
    let late = json!({"lastRunAt": now_ms() - 11 * MINUTE_MS, "outcome": "ok"});
    fs::write(&scanned, late.to_string()).expect("writable");
    let told = only(doctor(&house), "timers", "warn");
    // A while later the seconds are told, too.
    let said = told.message.strip_prefix("the recovery scan ran 11m");
    assert!(
        said.is_some_and(|said| said.contains(" ago, while 1 label runs")),
        "{told:#?}"
    );
    fs::write(house.path("crontab"), "#* * * * * 529-recovery\n").expect("writable");
    let told = only(doctor(&house), "timers", "warn");
    assert!(told.todo.contains("dispatch install-timers"), "{told:#?}");
    let line = format!(
        "DISPATCH_HOME=\"{}\"\n* * * * * X=1 /opt/529-recovery\n",
        house.state().display()
    );
    fs::write(house.path("crontab"), line).expect("writable");
    let told = only(doctor(&house), "timers", "warn");
    assert!(
        told.todo.starts_with("look why the timers do not do it"),
        "{told:#?}"
    );
    heed(&house, &told);
    let fine = findings(&doctor(&house).exits(0));
    let timers = fine
        .iter()
        .find(|told| told.name == "timers")
        .expect("told");
    let said = "529-recovery is installed with cron, stuck-detector is not installed (dispatch install-timers); the recovery scan ran ";
    assert!(timers.message.starts_with(said), "{timers:#?}");
    gate.open();
    house.ended("w");
    quiet(&house);
    // Where nothing runs nobody has to be there.
    fs::write(&scanned, late.to_string()).expect("writable");
    assert_eq!(troubles(doctor(&house), 0), []);
}

#[test]
fn timers_that_are_installed_and_do_not_run_are_told_with_how_to_start_them() {
    let house = sound_house();
    let units = house.root().join("user/.config/systemd/user");
    fs::create_dir_all(&units).expect("creatable");
    for unit in ["dispatch-recovery.timer", "dispatch-stuck.timer"] {
        fs::write(units.join(unit), "").expect("writable");
    }
    let script = "case \"$2\" in \
        enable) echo \"$*\" > asked ;; \
        is-enabled) [ -e asked ] && echo enabled || echo disabled; echo enabled ;; \
        is-active) [ -e asked ] && echo active || echo inactive; echo active ;; \
        esac";
    fake_program(&house, "systemctl", script);
    let told = only(doctor(&house), "timers", "warn");
    assert_eq!(
        told.message,
        "installed, and not started: dispatch-recovery.timer; run: systemctl --user enable --now dispatch-recovery.timer"
    );
    heed(&house, &told);
    assert_eq!(
        house.text("asked"),
        "--user enable --now dispatch-recovery.timer\n"
    );
    let fine = findings(&doctor(&house).exits(0));
    let timers = fine
        .iter()
        .find(|told| told.name == "timers")
        .expect("told");
    assert!(
        timers.message.starts_with("installed with systemd"),
        "{timers:#?}"
    );
}

#[test]
fn timers_that_look_after_something_else_are_no_timers_of_ours() {
    let (house, gate) = running_house();
    let state = house.state().display().to_string();
    // The detector ran a moment ago, the scan long ago.
    house.run("stuck-detector", &["--quiet"]).exits(0);
    house.recover();
    let scanned = |age_ms: i64| {
        let ran = json!({"lastRunAt": now_ms() - age_ms, "outcome": "ok"});
        fs::write(house.state().join("recovery.json"), ran.to_string()).expect("writable");
    };
    let told = |installed: &str, todo: &str| {
        scanned(0);
        let fine = findings(&doctor(&house).exits(0));
        let timers = fine.iter().find(|told| told.name == "timers");
        let message = &timers.expect("told").message;
        let start = format!("{installed}; the recovery scan ran ");
        assert!(message.starts_with(&start), "{message}");
        scanned(11 * MINUTE_MS);
        let late = only(doctor(&house), "timers", "warn");
        assert_eq!(late.todo, format!("{todo}; once: 529-recovery"));
    };
    let install = "have it done by the clock (dispatch install-timers)";
    let look = "look why the timers do not do it";
    let crontab = |lines: &str| fs::write(house.path("crontab"), lines).expect("writable");
    told("none are installed (dispatch install-timers)", install);
    let both = "* * * * * DISPATCH_HOME=HOME 529-recovery\n*/5 * * * * DISPATCH_HOME=HOME stuck-detector --quiet\n";
    crontab(&both.replace("HOME=HOME", &format!("HOME={state}")));
    told("installed with cron", look);
    crontab(&both.replace("HOME=HOME", "HOME='/else where'"));
    told(
        "529-recovery is installed with cron for /else where, stuck-detector is installed with cron for /else where (dispatch install-timers)",
        install,
    );
    // What else a line does cannot be told.
    crontab("* * * * * . ~/env; 529-recovery\n");
    told(
        "529-recovery is installed with cron, stuck-detector is not installed (dispatch install-timers)",
        look,
    );
    crontab("");
    let mut install_for_another = house.command("dispatch");
    install_for_another
        .args(["install-timers", "--yes"])
        .env("DISPATCH_HOME", house.path("another"))
        .env("PATH", super::path_of(&house));
    fake_program(&house, "systemctl", "exit 0");
    run(install_for_another, b"").exits(0);
    let another = house.path("another").display().to_string();
    told(
        &format!(
            "529-recovery is installed with systemd for {another}, stuck-detector is installed with systemd for {another} (dispatch install-timers)"
        ),
        install,
    );
    dispatch(&house, &["install-timers", "--yes"]).exits(0);
    told("installed with systemd", look);
    fs::remove_file(house.path("user/.config/systemd/user/dispatch-recovery.timer"))
        .expect("there");
    told(
        "529-recovery is not installed, stuck-detector is installed with systemd (dispatch install-timers)",
        install,
    );
    gate.open();
    house.ended("w");
    quiet(&house);
}

#[test]
fn a_service_manager_that_hangs_holds_nobody_up() {
    let house = sound_house();
    let units = house.root().join("user/.config/systemd/user");
    fs::create_dir_all(&units).expect("creatable");
    fs::write(units.join("dispatch-recovery.timer"), "").expect("writable");
    fake_program(&house, "systemctl", "sleep 1000 & sleep 1000");
    let mut command = house.command("dispatch");
    command
        .arg("doctor")
        .env("PATH", super::path_of(&house))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    let ran = finish_soon(command.spawn().expect("it starts"));
    assert_eq!(troubles(ran, 0), []);
    eventually("what it started is gone, too", || {
        house.processes().is_empty().then_some(())
    });
}

#[test]
fn a_clock_that_is_behind_the_ledger_is_wrong() {
    let house = sound_house();
    let written = |ahead_ms: i64| {
        house.change_ledger(|ledger| ledger["a"]["updatedAt"] = json!(now_ms() + ahead_ms));
    };
    written(MINUTE_MS / 2);
    is_sound(&house);
    written(60 * MINUTE_MS);
    let told = only(look(&house), "clock", "wrong");
    assert!(
        told.message
            .contains("behind the time at which label \"a\" was written")
    );
    // As if the clock had been set.
    written(-MINUTE_MS);
    is_sound(&house);
}

#[test]
fn receivers_that_do_not_hear_are_told_until_they_do() {
    let receiver = Receiver::answering(&[Answer::Status(500), Answer::Status(500)]);
    let house = House::new();
    house.configure(&json!({"events": {"webhook": {"url": receiver.url()}}}));
    fs::set_permissions(house.state(), fs::Permissions::from_mode(0o700)).expect("ours");
    house.enqueue("a", "echo hi");
    house.ended("a");
    quiet(&house);
    let told = only(look(&house), "events", "warn");
    assert!(
        told.message.starts_with("the webhook did not hear of "),
        "{told:#?}"
    );
    assert!(
        told.message
            .contains(" event(s): it answered 500; mend the receiver"),
        "{told:#?}"
    );
    house.enqueue("b", "echo hi");
    house.ended("b");
    quiet(&house);
    is_sound(&house);
}

#[test]
fn a_receiver_whose_program_is_not_there_is_told_before_it_is_needed() {
    let house = sound_house();
    let teller = house.path("teller");
    let words = [teller.to_str().expect("UTF-8"), "--to", "me"];
    house.configure(&json!({
        "commands": {"mail": ["sh", "-c", "cat >/dev/null"], "phone": words},
        "events": {"command": words},
    }));
    let told: Vec<_> = findings(&look(&house));
    let told: Vec<_> = told
        .iter()
        .filter(|told| told.name == "receivers")
        .collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[0]
            .message
            .starts_with("the receiver \"command:phone\" cannot be run"),
        "{told:#?}"
    );
    assert!(told[0].todo.contains("\"commands.phone\""), "{told:#?}");
    assert!(told[1].todo.contains("\"events.command\""), "{told:#?}");
    fs::write(&teller, "#!/bin/sh\nexit 0\n").expect("writable");
    fs::set_permissions(&teller, fs::Permissions::from_mode(0o755)).expect("ours");
    is_sound(&house);
}
