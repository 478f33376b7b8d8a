//! Work that is told of, stopped and put away: `note`, `cancel`, `prune`, and what is left then.

use super::{left, tells};
use crate::support::{House, eventually};

#[test]
fn a_running_label_is_left_alone_told_of_and_stopped() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("slow", &gate.pass());
    eventually("the watcher watches", || {
        let status = house.dispatch(&["status", "--label", "slow"]).json();
        (status["watcher"]["state"] == "watching" && status["phase"] == "running").then_some(())
    });
    tells(
        &house,
        r#"
$ dispatch enqueue --label slow -- true
2> [dispatch] label "slow" is running (generation MS); wait for it, cancel it, or use --replace
=> 1
$ dispatch status --label slow --output table
label    slow
status   running
started  AGO
updated  AGO
backend  local
runtime  command
session  agent:main:subagent:UUID-1
watcher  alive: watching: the run is at work; goes on at CLOCK (in LEFT)
$ dispatch result --label slow --output table
2> [dispatch] label "slow" has no result yet: it is running; wait for its end by: dispatch wait slow
=> 1
$ dispatch retry --label slow
2> [dispatch] label "slow" is running (generation MS); wait for it, or cancel it first
=> 1
$ dispatch note --label slow 'half way'
{
  "ok": true,
  "label": "slow",
  "note": 1,
  "delivery": {
    "status": "missing",
    "mode": "announce",
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "message": "Note counted; the label has no delivery target, so nobody is told."
}
$ dispatch note --label slow 'half way' --output table
slow: Note counted; the label has no delivery target, so nobody is told.
$ dispatch send --label slow --message hi
2> [dispatch] label "slow" runs on the local backend, whose commands take no further messages; wait for it, or cancel it
=> 1
$ dispatch prune --label slow
{
  "ok": false,
  "dryRun": false,
  "count": 0,
  "labels": [],
  "kept": [
    {
      "label": "slow",
      "reason": "it is running, which is no end"
    }
  ],
  "archivedBefore": [],
  "files": {
    "count": 0,
    "bytes": 0
  },
  "errors": []
}
=> 1
$ dispatch prune --label slow --output table
slow: kept, because it is running, which is no end
0 labels archived, 0 files of 0 bytes removed
=> 1
$ dispatch stuck
{
  "ok": true,
  "dryRun": false,
  "threshold_min": 15,
  "stuck_count": 0,
  "stuck_sessions": [],
  "auto_resolved_count": 0,
  "auto_resolved": [],
  "watcher_skipped": [],
  "nudged": [],
  "wedged_watchers": [],
  "parked_deliveries": [],
  "gateway_error": null,
  "memory_error": null,
  "labels": [
    {
      "label": "slow",
      "verdict": "alive",
      "reason": "a command without a time limit may be silent",
      "since": null
    }
  ]
}
$ dispatch stuck --output table
nothing is stuck: 1 running
$ dispatch list --watch --output table
2> [dispatch] --watch draws over a terminal, and stdout is none; --json prints a line for every change
=> 2
$ dispatch cancel --label slow --reason enough
{
  "ok": true,
  "label": "slow",
  "status": "cancelled",
  "generation": MS,
  "delivery": {
    "status": "missing",
    "mode": "announce",
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "message": "cancelled"
}
$ dispatch cancel --label slow
2> [dispatch] label "slow" is not running: it is cancelled
=> 1
$ dispatch note --label slow 'too late'
2> [dispatch] label "slow" is not running: it is cancelled; nobody waits for a note
=> 1
"#,
    );
}

#[test]
fn a_cancelled_label_is_told_of_in_a_line() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("slow", &gate.pass());
    tells(
        &house,
        r#"
$ dispatch cancel --label slow --output table
slow: cancelled
$ dispatch result --label slow --output table
🌶️ *dispatch* [slow] failed (aborted):

cancelled on request
$ dispatch wait slow --output table
LABEL  STATUS     SUMMARY
slow   cancelled  cancelled on request
=> 1
$ dispatch retry --label slow --output table
label    slow
status   accepted
session  agent:main:subagent:UUID-1
run      UUID-2
         Session spawned. Its result is read with 'dispatch result' and waited for with 'dispatch wait'.
$ dispatch cancel --label slow --output table
slow: cancelled
"#,
    );
}

#[test]
fn an_ended_label_leaves_the_ledger_and_can_still_be_read() {
    let house = House::new();
    house.enqueue("old", "echo words");
    house.ended("old");
    house.enqueue("older", "echo words");
    house.ended("older");
    left(&house, "old");
    left(&house, "older");
    tells(
        &house,
        r#"
$ dispatch prune
{
  "ok": true,
  "dryRun": false,
  "count": 0,
  "labels": [],
  "kept": [],
  "archivedBefore": [],
  "files": {
    "count": 0,
    "bytes": 0
  },
  "errors": []
}
$ dispatch prune --output table
0 labels archived, 0 files of 0 bytes removed
$ dispatch prune --label old --dry-run
{
  "ok": true,
  "dryRun": true,
  "count": 1,
  "labels": [
    {
      "label": "old",
      "generation": MS,
      "status": "done",
      "endedAt": "TIME"
    }
  ],
  "kept": [],
  "archivedBefore": [],
  "files": {
    "count": 0,
    "bytes": 0
  },
  "errors": []
}
$ dispatch prune --label old --dry-run --output table
old: would be archived (done)
1 label would be archived, 0 files of 0 bytes would be removed
$ dispatch prune --label old
{
  "ok": true,
  "dryRun": false,
  "count": 1,
  "labels": [
    {
      "label": "old",
      "generation": MS,
      "status": "done",
      "endedAt": "TIME"
    }
  ],
  "kept": [],
  "archivedBefore": [],
  "files": {
    "count": 0,
    "bytes": 0
  },
  "errors": []
}
$ dispatch prune --label older --output table
older: archived (done)
1 label archived, 0 files of 0 bytes removed
$ dispatch prune --label older
{
  "ok": true,
  "dryRun": false,
  "count": 0,
  "labels": [],
  "kept": [],
  "archivedBefore": [
    "older"
  ],
  "files": {
    "count": 0,
    "bytes": 0
  },
  "errors": []
}
$ dispatch prune --label older --output table
older: was archived before
0 labels archived, 0 files of 0 bytes removed
$ dispatch result --label old --output table
🌶️ *dispatch* [old] completed:

words
"#,
    );
}

#[test]
fn a_text_whose_file_is_gone_is_said_to_be_cut() {
    let house = House::new();
    house.enqueue("lost", "echo words");
    house.ended("lost");
    left(&house, "lost");
    std::fs::remove_dir_all(house.state().join("artifacts")).expect("it is there");
    std::fs::remove_dir_all(house.state().join("sessions")).expect("it is there");
    tells(
        &house,
        r#"
$ dispatch result --label lost
{
  "ok": true,
  "label": "lost",
  "sessionKey": "agent:main:subagent:UUID-1",
  "status": "done",
  "spawnedAt": "TIME",
  "endedAt": "TIME",
  "summary": "words",
  "completion": null,
  "error": null,
  "failure": null,
  "generation": MS,
  "delivery": {
    "status": "missing",
    "mode": "announce",
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "recovery": {
    "source": "jsonl-terminal",
    "sessionId": "UUID-1"
  },
  "diagnosticReply": null,
  "artifactEvidence": null,
  "lastReply": "words",
  "artifactPath": "ROOT/state/artifacts/dispatch-completions/FILE",
  "message": "label \"lost\" has no file with its whole text any more (ROOT/state/artifacts/dispatch-completions/FILE is gone); what the ledger kept of it is left"
}
$ dispatch result --label lost --output table
🌶️ *dispatch* [lost] completed:

words
2> [dispatch] label "lost" has no file with its whole text any more (ROOT/state/artifacts/dispatch-completions/FILE is gone); what the ledger kept of it is left
$ dispatch result --label lost --path
2> [dispatch] label "lost" has no file with its whole text any more (ROOT/state/artifacts/dispatch-completions/FILE is gone); what the ledger kept of it is left
=> 1
$ dispatch logs --label lost
2> [dispatch] label "lost" has no transcript: ROOT/state/sessions/UUID-1.jsonl is not there
=> 1
$ dispatch logs --label lost --raw
2> [dispatch] label "lost" has no transcript: ROOT/state/sessions/UUID-1.jsonl is not there
=> 1
$ dispatch logs --label lost --stderr
2> [dispatch] label "lost" has no stderr: ROOT/state/sessions/runs/UUID-2/stderr is not there
=> 1
$ dispatch retry --label lost
2> [dispatch] label "lost" cannot be retried: its command is not stored any more (ROOT/state/sessions/runs/UUID-2 is gone)
=> 1
$ dispatch status --label lost | grep -A 2 liveness
  "liveness": {
    "error": "nothing of the run is stored any more"
  },
$ dispatch heartbeat --label lost --output table
there is no session agent:main:subagent:UUID-1
"#,
    );
}
