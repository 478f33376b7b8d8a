//! Callers that race for one label: one wins, and every one of them is told what the ledger says.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Gate, House, Ran, eventually, finish_soon, is_alive};

const CHECKLIST: &str = r#"{"work_complete":true}"#;

fn finish_all(children: Vec<std::process::Child>) -> Vec<Ran> {
    children.into_iter().map(finish_soon).collect()
}

/// Nothing but a refused or changed label is behind a failure: no panic, no damaged ledger, no usage error.
#[track_caller]
fn is_orderly(ran: &Ran) {
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
}

#[test]
fn cancel_done_and_a_natural_end_at_once_have_one_winner_and_everybody_knows_it() {
    let house = House::new();
    let mut gates = Vec::new();
    for round in 0..30 {
        let label = format!("w{round}");
        let gate = house.gate(&format!("gate{round}"));
        house.enqueue(&label, &format!("{}; echo natural", gate.pass()));
        house.runner_pid(&label);
        let done = ["done", "--label", &label, "--summary", "signalled"];
        let done = [&done[..], &["--checklist", CHECKLIST]].concat();
        let cancel = ["cancel", "--label", &label];
        // Who comes first differs from round to round.
        let (cancel, done) = match round % 3 {
            0 => {
                let cancel = house.start("dispatch", &cancel);
                (cancel, house.start("dispatch", &done))
            }
            1 => {
                let done = house.start("dispatch", &done);
                (house.start("dispatch", &cancel), done)
            }
            _ => {
                gate.open();
                let cancel = house.start("dispatch", &cancel);
                (cancel, house.start("dispatch", &done))
            }
        };
        if round % 3 != 2 {
            gate.open_if_anybody_waits();
        }
        let (cancel, done) = (finish_soon(cancel), finish_soon(done));
        is_orderly(&cancel);
        is_orderly(&done);
        let entry = house.ended(&label);
        let status = entry["status"].as_str().expect("a status").to_owned();
        match status.as_str() {
            "cancelled" => {
                assert_eq!(cancel.code, Some(0), "{cancel:?}");
                assert_eq!(done.code, Some(1), "{done:?}");
                assert!(done.stderr.contains("was cancelled"), "{done:?}");
            }
            "done" => {
                // One that comes after the signal stops the command, which lives on.
                let stops_command = cancel.stdout.contains("\"it stays done; its command, ");
                assert_eq!(cancel.code == Some(0), stops_command, "{cancel:?}");
                assert_eq!(done.code, Some(0), "{done:?}");
                let told = done.json()["message"].as_str().expect("a text").to_owned();
                match house.full_text(&label).as_str() {
                    "signalled" => assert!(told.contains("via agent signal"), "{told}"),
                    "natural\n" => assert!(told.contains("done already"), "{told}"),
                    other => panic!("{other}"),
                }
            }
            other => panic!("{other}: {cancel:?} {done:?}"),
        }
        gates.push(gate);
    }
    eventually("everything leaves", || {
        // A run that was signalled done goes on to its own end.
        gates.iter().for_each(Gate::open_if_anybody_waits);
        house.processes().is_empty().then_some(())
    });
}

#[test]
fn of_ten_calls_that_enqueue_one_label_at_once_one_is_accepted() {
    let house = House::new();
    for round in 0..5 {
        let label = format!("w{round}");
        let gate = house.gate(&format!("gate{round}"));
        let script = format!("echo ran >> runs{round}; {}", gate.pass());
        let words = ["enqueue", "--label", &label, "--message", "a task"];
        let words = [&words[..], &["--", "sh", "-c", &script]].concat();
        let children = (0..10).map(|_| house.start("dispatch", &words)).collect();
        let answers: Vec<Ran> = finish_all(children);
        answers.iter().for_each(is_orderly);
        let (accepted, refused): (Vec<&Ran>, Vec<&Ran>) =
            answers.iter().partition(|ran| ran.code == Some(0));
        assert_eq!(accepted.len(), 1, "{answers:?}");
        let generation = house.entry(&label)["generation"].to_string();
        for ran in refused {
            let expected = format!("label \"{label}\" is running (generation {generation})");
            assert!(ran.stderr.contains(&expected), "{ran:?}");
        }
        assert_eq!(accepted[0].json()["runId"], house.entry(&label)["runId"]);
        // The prompts of the refused calls, which lay beside it, are gone.
        let prompts = fs::read_dir(house.state().join("prompts").join(&label)).expect("there");
        let prompts: Vec<_> = prompts.flatten().map(|entry| entry.path()).collect();
        assert_eq!(json!(prompts), json!([house.entry(&label)["promptPath"]]));
        gate.open();
        assert_eq!(house.ended(&label)["status"], "done");
        assert_eq!(house.text(&format!("runs{round}")), "ran\n");
    }
}

#[test]
fn replacing_calls_that_race_are_all_accepted_in_turn_and_one_run_is_left() {
    let house = House::new();
    let script = |name: &str| format!("echo $$ > {name}; exec sleep 1000");
    house.enqueue("w", &script("first"));
    let scripts: Vec<String> = (0..5).map(|n| script(&format!("next{n}"))).collect();
    let children = scripts
        .iter()
        .map(|script| {
            let words = ["enqueue", "--label", "w", "--replace", "--", "sh", "-c"];
            house.start("dispatch", &[&words[..], &[script]].concat())
        })
        .collect();
    let answers = finish_all(children);
    let mut accepted: Vec<u64> = answers
        .iter()
        .map(|ran| {
            assert_eq!(ran.code, Some(0), "{ran:?}");
            ran.json()["generation"].as_u64().expect("a generation")
        })
        .collect();
    accepted.sort_unstable();
    accepted.dedup();
    assert_eq!(accepted.len(), 5, "each has a generation of its own");
    let entry = house.entry("w");
    assert_eq!(entry["status"], "running");
    assert_eq!(entry["generation"].as_u64(), accepted.last().copied());
    let archive = std::fs::read_to_string(house.state().join("archive.jsonl")).expect("readable");
    let archived: Vec<Value> = archive
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(archived.len(), 5, "{archive}");
    for line in archived {
        assert_eq!(line["entry"]["status"], "cancelled", "{line}");
    }
    let pids = || {
        let names = ["first", "next0", "next1", "next2", "next3", "next4"];
        let pids = names
            .iter()
            .filter_map(|name| house.text(name).trim().parse().ok());
        pids.filter(|pid| is_alive(*pid)).collect::<Vec<u32>>()
    };
    eventually("one command is left", || (pids().len() == 1).then_some(()));
    house.dispatch(&["cancel", "--label", "w"]).exits(0);
    assert_eq!(pids(), Vec::<u32>::new());
}

#[test]
fn a_label_that_is_cancelled_and_enqueued_anew_at_once_tells_each_caller_of_its_own_run() {
    let house = House::new();
    for round in 0..8 {
        house.enqueue("w", "exec sleep 1000");
        let first = house.entry("w")["generation"].clone();
        house.runner_pid("w");
        let cancel = house.start("dispatch", &["cancel", "--label", "w"]);
        let words = [
            "enqueue",
            "--label",
            "w",
            "--",
            "sh",
            "-c",
            "exec sleep 1000",
        ];
        eventually(&format!("round {round} is enqueued"), || {
            let ran = house.dispatch(&words);
            is_orderly(&ran);
            (ran.code == Some(0)).then_some(())
        });
        let cancel = finish_soon(cancel).exits(0).json();
        assert_eq!(cancel["status"], "cancelled");
        assert_eq!(cancel["generation"], first);
        house.dispatch(&["cancel", "--label", "w"]).exits(0);
    }
}

#[test]
fn a_cancel_that_meets_the_start_of_the_command_reaches_it() {
    let house = House::new();
    // Nothing but the command's own end on TERM settles the run.
    house.configure(&json!({"termGraceSeconds": 3600}));
    for round in 0..15 {
        let label = format!("w{round}");
        house.enqueue(&label, "exec sleep 1000");
        let cancel = ["cancel", "--label", &label];
        if round % 2 == 0 {
            house.waiter_pid(&label);
        }
        let cancel = finish_soon(house.start("dispatch", &cancel)).exits(0);
        assert_eq!(cancel.json()["status"], "cancelled");
    }
}
