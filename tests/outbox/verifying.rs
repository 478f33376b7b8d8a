//! The operator's verify command stands between a result and its delivery.

use serde_json::json;

use super::receiver::{Answer, Receiver, url};
use super::{enqueue_to, house_with, quiet, record_in, signal_done};
use crate::support::{House, eventually, is_alive, kill_hard, run};

/// A pid that a script wrote.
fn pid_in(house: &House, name: &str) -> u32 {
    eventually(&format!("a pid in {name}"), || {
        house.text(name).strip_suffix('\n')?.parse().ok()
    })
}

#[test]
fn a_result_is_done_once_its_verify_command_has_passed() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    std::fs::create_dir(house.path("work")).expect("creatable");
    let work = house.path("work").display().to_string();
    let check = format!(
        "cat > text; pwd > cwd; echo \"$DISPATCH_LABEL\" > label; {}",
        gate.pass()
    );
    let flags = ["--verify-cmd", &check, "--cwd", &work];
    enqueue_to(&house, "webhook:ops", "w", &flags, "echo '$(id) result'");
    house.wrote("work/label", "w");
    assert_eq!(house.text("work/text"), "$(id) result\n");
    assert_eq!(house.text("work/cwd"), format!("{work}\n"));
    let status = house.dispatch(&["status", "--label", "w"]).json();
    assert_eq!(status["status"], "running");
    assert_eq!(status["phase"], "verifying");
    assert!(receiver.requests().is_empty());
    gate.open();
    record_in(&house, "w", "result", "delivered");
    let entry = house.entry("w");
    assert_eq!(entry["status"], "done");
    assert_eq!(entry["phase"], json!(null));
}

#[test]
fn a_verify_command_finds_the_callers_programs_whoever_started_the_watcher() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new();
    let bin = house.path("bin");
    std::fs::create_dir(&bin).expect("creatable");
    let check = bin.join("only-the-callers-check");
    std::fs::write(&check, "#!/bin/sh\nexec grep -q result\n").expect("writable");
    std::fs::set_permissions(&check, std::fs::Permissions::from_mode(0o700)).expect("ours");
    let gate = house.gate("gate");
    let mut command = house.command("dispatch");
    let path = std::env::var("PATH").expect("it is set");
    command.env("PATH", format!("{}:{path}", bin.display()));
    command.args(["enqueue", "--label", "w", "--verify-cmd"]);
    command.args(["only-the-callers-check", "--", "sh", "-c"]);
    command.arg(format!("{}; echo result", gate.pass()));
    run(command, b"").exits(0);
    kill_hard(house.watcher_pid("w"));
    house.recover();
    gate.open();
    assert_eq!(house.ended("w")["status"], "done");
}

#[test]
fn a_rejected_result_is_a_failure_that_names_the_command_and_keeps_the_text() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let check = "echo '3 tests fail'; exit 7";
    enqueue_to(
        &house,
        "webhook:ops",
        "w",
        &["--verify-cmd", check],
        "echo all green",
    );
    record_in(&house, "w", "failure", "delivered");
    let entry = house.entry("w");
    assert_eq!(entry["status"], "error");
    assert_eq!(entry["failure"]["kind"], "verify");
    let told = receiver.requests().remove(0).text("text");
    assert!(told.contains(&format!("`{check}`")), "{told}");
    assert!(told.contains("exited with code 7: 3 tests fail"), "{told}");
    assert!(told.contains("all green\n"), "{told}");
    assert!(house.full_text("w").contains("all green\n"));
}

#[test]
fn a_rejected_result_stays_rejected_however_late_its_notice_goes_out() {
    let port = Receiver::free_port();
    let house = House::new();
    house.configure(&json!({"webhooks": {"ops": {"url": url(port)}}}));
    let flags = ["--verify-cmd", "exit 1"];
    enqueue_to(&house, "webhook:ops", "w", &flags, "echo all green");
    record_in(&house, "w", "failure", "retrying");
    kill_hard(house.watcher_pid("w"));
    let receiver = Receiver::at(port, &[]);
    house.recover();
    record_in(&house, "w", "failure", "delivered");
    quiet(&house);
    assert_eq!(house.entry("w")["status"], "error");
    assert_eq!(house.entry("w")["failure"]["kind"], "verify");
    assert_eq!(receiver.requests().len(), 1);
    let ran = signal_done(&house, "w", "All green, I say.").exits(1);
    assert!(ran.stderr.contains("REJECTED:"), "{ran:?}");
    assert_eq!(house.entry("w")["status"], "error");
}

#[test]
fn a_signal_with_a_verify_command_stays_running_until_that_has_passed() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let (run, check) = (house.gate("run"), house.gate("check"));
    let verify = format!("cat > text; {}", check.pass());
    let flags = ["--verify-cmd", &verify];
    enqueue_to(&house, "webhook:ops", "w", &flags, &run.pass());
    house.runner_pid("w");
    let answer = signal_done(&house, "w", "The parser is fixed.")
        .exits(0)
        .json();
    assert_eq!(answer["status"], "running");
    assert_eq!(answer["phase"], "verifying");
    eventually("the verify command has the summary", || {
        (house.text("text") == "The parser is fixed.").then_some(())
    });
    assert_eq!(house.entry("w")["status"], "running");
    check.open();
    assert_eq!(house.ended("w")["status"], "done");
    record_in(&house, "w", "result", "delivered");
    run.open();
    quiet(&house);
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn a_signal_that_is_rejected_keeps_its_own_text() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let (run, check) = (house.gate("run"), house.gate("check"));
    let verify = format!("cat > text; {}; exit 1", check.pass());
    let flags = ["--verify-cmd", &verify];
    let script = format!("{}; echo goodbye", run.pass());
    enqueue_to(&house, "webhook:ops", "w", &flags, &script);
    let runner = house.runner_pid("w");
    signal_done(&house, "w", "The parser is fixed.").exits(0);
    run.open();
    eventually("the run's end", || (!is_alive(runner)).then_some(()));
    check.open();
    record_in(&house, "w", "failure", "delivered");
    let told = receiver.requests().remove(0).text("text");
    assert!(told.contains("The parser is fixed."), "{told}");
    assert!(house.full_text("w").contains("The parser is fixed."));
    quiet(&house);
    assert_eq!(
        house.recover().stdout,
        "",
        "what it said is kept with its failure"
    );
}

#[test]
fn a_watcher_killed_while_verifying_leaves_no_command_behind_and_the_scan_finishes() {
    let receiver = Receiver::answering(&[Answer::Status(200)]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    let check = format!(
        "echo $$ >> checks; sh -c 'echo $$ > child; sleep 1000' & {}",
        gate.pass()
    );
    enqueue_to(
        &house,
        "webhook:ops",
        "w",
        &["--verify-cmd", &check],
        "echo hi",
    );
    let (first, child) = (pid_in(&house, "checks"), pid_in(&house, "child"));
    kill_hard(house.watcher_pid("w"));
    assert_eq!(house.entry("w")["phase"], "verifying");
    let scan = house.recover();
    assert_eq!(
        scan.stdout,
        "started a watcher for \"w\": it is running without a watcher\n"
    );
    eventually("the second verify command", || {
        (house.text("checks").lines().count() == 2).then_some(())
    });
    assert!(!is_alive(first), "two verify commands at once");
    assert!(
        !is_alive(child),
        "what the first one started is left behind"
    );
    gate.open();
    record_in(&house, "w", "result", "delivered");
    assert_eq!(house.entry("w")["status"], "done");
    assert_eq!(receiver.requests().len(), 1);
}

#[test]
fn a_watcher_asked_to_stop_while_verifying_takes_the_command_with_it() {
    let house = House::new();
    let check = "echo $$ > check; exec sleep 1000";
    let words = ["enqueue", "--label", "w", "--verify-cmd", check];
    house
        .dispatch(&[&words[..], &["--", "echo", "hi"]].concat())
        .exits(0);
    let check = pid_in(&house, "check");
    let watcher = house.watcher_pid("w");
    crate::support::kill(watcher, "TERM");
    eventually("the watcher leaves", || (!is_alive(watcher)).then_some(()));
    assert!(!is_alive(check));
    assert_eq!(house.entry("w")["status"], "running");
}

#[test]
fn a_signal_that_comes_while_a_reply_is_verified_is_verified_itself() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    // It would let the reply pass, and only that.
    let check = format!("cat > text; {}; grep -q reply text", gate.pass());
    let flags = ["--verify-cmd", &check];
    enqueue_to(&house, "webhook:ops", "w", &flags, "echo reply");
    eventually("the reply is at the verify command", || {
        (house.text("text") == "reply\n").then_some(())
    });
    signal_done(&house, "w", "signal").exits(0);
    eventually("the signal is at the verify command", || {
        gate.open_if_anybody_waits();
        (house.text("text") == "signal").then_some(())
    });
    told_with(&gate, &house);
    let entry = house.entry("w");
    assert_eq!(entry["status"], "error", "{entry}");
    assert_eq!(entry["failure"]["kind"], "verify");
    assert!(house.full_text("w").contains("signal"));
}

/// Opens the gate to whoever comes until the failure has been told.
fn told_with(gate: &crate::support::Gate, house: &House) {
    eventually("the failure is told", || {
        gate.open_if_anybody_waits();
        let mut records = super::records(house, "w").into_iter();
        records.find(|r| r["kind"] == "failure" && r["state"] == "delivered")
    });
}

#[test]
fn of_two_signals_the_later_one_is_verified_and_recorded() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let (run, check) = (house.gate("run"), house.gate("check"));
    let verify = format!("cat > text; {}; grep -q second text", check.pass());
    let flags = ["--verify-cmd", &verify];
    enqueue_to(&house, "webhook:ops", "w", &flags, &run.pass());
    house.runner_pid("w");
    signal_done(&house, "w", "the first words").exits(0);
    eventually("the first are at the verify command", || {
        (house.text("text") == "the first words").then_some(())
    });
    signal_done(&house, "w", "the second words").exits(0);
    eventually("the second are at the verify command", || {
        (house.text("text") == "the second words").then_some(())
    });
    check.open();
    assert_eq!(house.ended("w")["status"], "done");
    assert_eq!(house.full_text("w"), "the second words");
    record_in(&house, "w", "result", "delivered");
    run.open();
    quiet(&house);
    assert_eq!(receiver.requests().len(), 1);
}

/// A label with a verify command that has failed for another reason, and a signal that comes after that.
fn signalled_late(house: &House, verify: &str) {
    let flags = ["--verify-cmd", verify];
    enqueue_to(house, "webhook:ops", "w", &flags, "echo half; exit 9");
    record_in(house, "w", "failure", "delivered");
    assert_eq!(house.entry("w")["failure"]["kind"], "command");
    quiet(house);
    let answer = signal_done(house, "w", "It works after all.")
        .exits(0)
        .json();
    assert_eq!(answer["status"], "error", "{answer}");
    let message = answer["message"].as_str().expect("a message");
    assert!(
        message.contains("when its verify command passes"),
        "{message}"
    );
}

#[test]
fn a_late_signal_is_a_correction_once_its_verify_command_has_passed() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    let gate = house.gate("gate");
    signalled_late(
        &house,
        &format!("echo >> checks; cat > text; {}", gate.pass()),
    );
    eventually("it is at the verify command", || {
        (house.text("text") == "It works after all.").then_some(())
    });
    kill_hard(house.watcher_pid("w"));
    let scan = house.recover().stdout;
    assert!(
        scan.contains("its late result waits for the verify command"),
        "{scan}"
    );
    eventually("it is verified again", || {
        (house.text("checks").lines().count() == 2).then_some(())
    });
    gate.open();
    record_in(&house, "w", "correction", "delivered");
    let entry = house.entry("w");
    assert_eq!(entry["status"], "done", "{entry}");
    assert_eq!(entry["phase"], json!(null));
    assert_eq!(house.full_text("w"), "It works after all.");
    assert_eq!(receiver.requests().len(), 2);
}

#[test]
fn a_late_signal_that_is_rejected_leaves_the_label_failed_and_tells_nothing_new() {
    let receiver = Receiver::answering(&[]);
    let house = house_with(&receiver);
    signalled_late(&house, "echo 'tests fail' >&2; exit 1");
    eventually("the verdict", || {
        (house.entry("w")["failure"]["kind"] == "verify").then_some(())
    });
    quiet(&house);
    let entry = house.entry("w");
    assert_eq!(entry["status"], "error", "{entry}");
    assert_eq!(entry["phase"], json!(null));
    assert!(house.full_text("w").contains("It works after all."));
    assert_eq!(receiver.requests().len(), 1);
    assert_eq!(house.recover().stdout, "");
}
