//! The programs that cron, systemd and schedulers start: `watcher`, `529-recovery`, `stuck-detector`.

use super::{FOUND, left, refuses, tells};
use crate::support::{House, eventually, kill_hard};

fn house() -> House {
    let house = House::new();
    house.write_ledger(FOUND);
    house
}

#[test]
fn a_watcher_prints_what_has_ended() {
    tells(
        &house(),
        r#"
$ watcher --label built
🌶️ *dispatch* [built] completed:

built
and tested
$ watcher --label broken
🌶️ *dispatch* [broken] failed (command):

the command exited with code 3: boo
=> 1
$ watcher --label theirs --once
2> [dispatch] label "theirs" names no session of dispatch; one that another tool started is taken over by: dispatch watcher-handoff --label theirs
=> 1
$ watcher --label theirs
2> [dispatch] label "theirs" names no session of dispatch; one that another tool started is taken over by: dispatch watcher-handoff --label theirs
=> 1
$ watcher --label biult
2> [dispatch] no session found for label "biult"; did you mean "built"?
=> 1
"#,
    );
}

#[test]
fn a_scheduler_looks_once_and_is_told_later() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("slow", &gate.pass());
    house.watcher_pid("slow");
    tells(
        &house,
        r#"
$ watcher --label slow --once
2> [dispatch] WATCHER_PENDING label=slow reason=watched by detached watcher (pid PID)
"#,
    );
    gate.open();
    house.ended("slow");
    left(&house, "slow");
    tells(
        &house,
        r#"
$ watcher --label slow --once
🌶️ *dispatch* [slow] completed:

The command exited with code 0 and printed nothing.
$ watcher --label slow --once
2> [dispatch] WATCHER_ALREADY_DELIVERED label=slow
$ watcher --label slow
🌶️ *dispatch* [slow] completed:

The command exited with code 0 and printed nothing.
"#,
    );
}

#[test]
fn a_look_leaves_to_others_what_is_theirs() {
    let house = House::new();
    house.configure(&serde_json::json!({"commands": {"mail": ["true"]}}));
    let owed = r#"{"key": "owing/5/1/result/command:mail", "kind": "result", "state": "retrying", "target": "command:mail", "attempts": 1,
        "nextAt": 32472144000000, "at": 1, "content": {"header": "h", "text": "t", "bytes": 1}}"#;
    house.write_ledger(format!(
        r#"{{"owing": {{"status": "done", "generation": 5, "attempt": 1, "summary": "made", "deliverTo": "mail", "deliverChannel": "command", "deliveries": [{owed}]}}}}"#
    ));
    tells(
        &house,
        r#"
$ watcher --label owing --once
2> [dispatch] WATCHER_PENDING label=owing reason=its last word is on its way to command:mail
$ watcher --label owing --generation 4
2> [dispatch] watcher [owing] generation 4 is over; leaving
"#,
    );
}

#[test]
fn the_recovery_scan_tells_of_what_it_leaves_alone_where_it_is_asked() {
    tells(
        &house(),
        r#"
$ 529-recovery
$ 529-recovery --json
{
  "ok": true,
  "dryRun": false,
  "retried": [],
  "givenUp": [],
  "revived": [],
  "closed": [],
  "wedged": [],
  "failed": [],
  "skipped": [
    {
      "label": "theirs",
      "reason": "another tool started it and watches it"
    }
  ]
}
$ 529-recovery --dry-run
left alone "theirs": another tool started it and watches it
$ 529-recovery --label theirs
left alone "theirs": another tool started it and watches it
$ 529-recovery --label built --dry-run
$ 529-recovery --label biult
2> [dispatch] no session found for label "biult"; did you mean "built"?
=> 1
"#,
    );
}

#[test]
fn work_that_nobody_watches_is_taken_up() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("slow", &gate.pass());
    eventually("the run is seen", || {
        (house.entry("slow")["phase"] == "running").then_some(())
    });
    kill_hard(house.watcher_pid("slow"));
    tells(
        &house,
        r#"
$ 529-recovery --dry-run
would start a watcher for "slow": it is running without a watcher
$ 529-recovery --dry-run --json
{
  "ok": true,
  "dryRun": true,
  "retried": [],
  "givenUp": [],
  "revived": [
    {
      "label": "slow",
      "reason": "it is running without a watcher"
    }
  ],
  "closed": [],
  "wedged": [],
  "failed": [],
  "skipped": []
}
$ dispatch status --label slow --output table
label    slow
status   running
started  AGO
updated  AGO
backend  local
runtime  command
session  agent:main:subagent:UUID-1
watcher  dead; '529-recovery' starts a new one
$ dispatch sync --dry-run --output table
LABEL  WHAT     NOW  WHY
slow   watched       it goes on and gets a watcher
2> [dispatch] 0 would be changed
$ 529-recovery
started a watcher for "slow": it is running without a watcher
"#,
    );
    house.watcher_pid("slow");
    tells(
        &house,
        r#"
$ 529-recovery
"#,
    );
    kill_hard(house.watcher_pid("slow"));
    gate.open();
    eventually("the end is seen", || {
        let told = house.dispatch(&["sync", "--dry-run"]).exits(0).json();
        (told["changes"] == 1).then_some(())
    });
    tells(
        &house,
        r#"
$ dispatch sync --dry-run
{
  "ok": true,
  "dryRun": true,
  "changes": 1,
  "details": [
    {
      "label": "slow",
      "sessionKey": "agent:main:subagent:UUID-1",
      "action": "resolved",
      "from": "running",
      "to": "done",
      "reason": "the session has its reply"
    }
  ]
}
$ dispatch sync --dry-run --output table
LABEL  WHAT      NOW   WHY
slow   resolved  done  the session has its reply
2> [dispatch] 1 would be changed
$ dispatch sync --output table
LABEL  WHAT      NOW   WHY
slow   resolved  done  the session has its reply
2> [dispatch] 1 changed
$ dispatch sync
{
  "ok": true,
  "dryRun": false,
  "changes": 0,
  "details": []
}
"#,
    );
}

#[test]
fn the_detector_tells_when_all_is_quiet() {
    tells(
        &house(),
        r#"
$ stuck-detector
nothing is stuck: 0 running, 1 not judged ('dispatch sync --dry-run' says why)
$ stuck-detector --quiet
$ stuck-detector --dry-run --json
{
  "ok": true,
  "dryRun": true,
  "threshold_min": 45,
  "stuck_count": 0,
  "stuck_sessions": [],
  "auto_resolved_count": 0,
  "auto_resolved": [],
  "watcher_skipped": [
    {
      "label": "theirs",
      "reason": "another tool started it and watches it"
    }
  ],
  "nudged": [],
  "wedged_watchers": [],
  "parked_deliveries": [],
  "gateway_error": null,
  "memory_error": null,
  "labels": []
}
"#,
    );
}

#[test]
fn a_command_line_that_cannot_be_used_is_refused() {
    refuses(
        &house(),
        r#"
$ watcher
2> [watcher] --label is missing; give it, or --all; see 'watcher --help'
=> 2
$ watcher --label
2> [watcher] --label needs a value; see 'watcher --help'
=> 2
$ watcher --label a --all
2> [watcher] --label and --all exclude each other; leave one of them out
=> 2
$ watcher --all --once
2> [watcher] --all and --once exclude each other; leave one of them out
=> 2
$ watcher --label a --timeout 0
2> [watcher] --timeout: "0" is zero; give whole seconds (90) or a text with units such as 90s, 20m, 1h30m or "2h 5m"
=> 2
$ watcher --label a --timeout 5M
2> [watcher] --timeout: "5M" uses months or years, which have no fixed length (m is minutes, d is days, w is weeks); give whole seconds (90) or a text with units such as 90s, 20m, 1h30m or "2h 5m"
=> 2
$ watcher --label a --idle-threshold soon
2> [watcher] --idle-threshold: "soon" is no duration; give whole seconds (90) or a text with units such as 90s, 20m, 1h30m or "2h 5m"
=> 2
$ watcher --label a --poll-interval -1
2> [watcher] --poll-interval: "-1" is negative; give whole seconds (90) or a text with units such as 90s, 20m, 1h30m or "2h 5m"
=> 2
$ watcher --label a --generation x
2> [watcher] --generation: "x" is no generation; give the number that 'dispatch status' shows
=> 2
$ watcher --label a --generation -1
2> [watcher] --generation: "-1" is no generation; give the number that 'dispatch status' shows
=> 2
$ watcher --frob
2> [watcher] there is no flag --frob; see 'watcher --help'
=> 2
$ watcher extra
2> [watcher] the word "extra" belongs to nothing; quote a text that has spaces; see 'watcher --help'
=> 2
$ 529-recovery --lable x
2> [529-recovery] there is no flag --lable; did you mean --label? Or see '529-recovery --help'
=> 2
$ 529-recovery extra
2> [529-recovery] the word "extra" belongs to nothing; quote a text that has spaces; see '529-recovery --help'
=> 2
$ 529-recovery --max-age 0
2> [529-recovery] --max-age: "0" is zero; give whole seconds (90) or a text with units such as 90s, 20m, 1h30m or "2h 5m"
=> 2
$ 529-recovery --max-retries x
2> [529-recovery] --max-retries: "x" is no count; give a whole number, 0 for no retry
=> 2
$ 529-recovery --max-retries -1
2> [529-recovery] --max-retries: "-1" is no count; give a whole number, 0 for no retry
=> 2
$ 529-recovery --json=1
2> [529-recovery] --json takes no value, and "1" is one; see '529-recovery --help'
=> 2
$ stuck-detector --limit 0
2> [stuck-detector] --limit: "0" is no count; give a whole number from 1
=> 2
$ stuck-detector --threshold-min soon
2> [stuck-detector] --threshold-min: "soon" is no duration; give whole minutes (90) or a text with units such as 90s, 20m, 1h30m or "2h 5m"
=> 2
$ stuck-detector --treshold-min 5
2> [stuck-detector] there is no flag --treshold-min; did you mean --threshold-min? Or see 'stuck-detector --help'
=> 2
$ stuck-detector extra
2> [stuck-detector] the word "extra" belongs to nothing; quote a text that has spaces; see 'stuck-detector --help'
=> 2
$ dispatch local-runner
2> [dispatch] DIR is missing; see 'dispatch local-runner --help'
=> 2
$ dispatch local-runner nowhere
2> [dispatch] cannot carry the run in nowhere: No such file or directory (os error 2)
=> 1
$ dispatch local-waiter nowhere
2> [dispatch] there is no nowhere/run.json
=> 1
$ dispatch send-events extra
2> [dispatch] the word "extra" belongs to nothing; quote a text that has spaces; see 'dispatch send-events --help'
=> 2
"#,
    );
}

#[test]
fn each_program_says_its_version() {
    let house = House::new();
    for program in ["dispatch", "watcher", "529-recovery", "stuck-detector"] {
        let version = env!("CARGO_PKG_VERSION");
        tells(
            &house,
            &format!("$ {program} --version\n{program} {version}\n"),
        );
    }
}
