//! More watchers than the system has sources of file events.

use std::fs;
use std::process::Command;

use crate::outbox::{quiet, signal_done};
use crate::support::{Gate, House, eventually, is_alive, program, run};

/// As many as there are, and the sources of file events that they have to do with.
const WATCHERS: usize = 40;
const SOURCES: usize = 12;

/// Runs a shell script in which no more than [`SOURCES`] sources of file events are to be had, for it and all that it
/// starts; `false`, with a line, where the system does not offer that.
fn run_where_sources_are_few(house: &House, script: &str) -> bool {
    let limit = "/proc/sys/user/max_inotify_instances";
    let own_limits = ["--user", "--map-root-user", "sh", "-c"];
    let probe = Command::new("unshare")
        .args(own_limits)
        .arg(format!("echo {SOURCES} > {limit}"))
        .output();
    if !probe.is_ok_and(|ran| ran.status.success()) {
        println!("skipped: no user namespace with limits of its own is to be had here");
        return false;
    }
    let mut command = Command::new("unshare");
    command.env_clear().args(own_limits);
    for (name, value) in house.command("dispatch").get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
        .arg(format!("echo {SOURCES} > {limit} && {script}"))
        .arg(program("dispatch"))
        .current_dir(house.root());
    run(command, b"").exits(0);
    true
}

/// The process has a source of file events.
fn has_source(pid: u32) -> bool {
    let open = fs::read_dir(format!("/proc/{pid}/fd"));
    let targets = open.into_iter().flatten().flatten();
    let mut targets = targets.filter_map(|fd| fs::read_link(fd.path()).ok());
    targets.any(|to| to.to_string_lossy().contains("inotify"))
}

#[test]
fn more_watchers_than_there_are_sources_of_events_all_end_rightly() {
    let house = House::new();
    let labels: Vec<String> = (1..=WATCHERS).map(|n| format!("w{n}")).collect();
    let gates: Vec<Gate> = labels.iter().map(|label| house.gate(label)).collect();
    let script = format!(
        "for n in $(seq {WATCHERS}); do \
           \"$0\" enqueue --label w$n -- sh -c \"read -r _ < w$n; echo result\" > answer || exit 1; \
         done"
    );
    if !run_where_sources_are_few(&house, &script) {
        return;
    }
    let pids: Vec<u32> = labels
        .iter()
        .map(|label| house.watcher_pid(label))
        .collect();
    let without = pids.iter().filter(|pid| !has_source(**pid)).count();
    assert!(
        without >= WATCHERS - SOURCES,
        "{without} watchers have no source"
    );
    // The last ones began when no source was left.
    signal_done(&house, "w40", "said so").exits(0);
    signal_done(&house, "w39", "said so").exits(0);
    house.dispatch(&["cancel", "--label", "w38"]).exits(0);
    for (label, gate) in labels.iter().zip(&gates) {
        if label != "w38" {
            gate.open();
        }
    }
    for label in &labels {
        let status = if label == "w38" { "cancelled" } else { "done" };
        assert_eq!(house.ended(label)["status"], status, "{label}");
    }
    for (label, text) in [("w1", "result\n"), ("w37", "result\n"), ("w40", "said so")] {
        assert_eq!(house.full_text(label), text, "{label}");
    }
    for pid in pids {
        eventually("the watcher leaves", || (!is_alive(pid)).then_some(()));
    }
    quiet(&house);
}
