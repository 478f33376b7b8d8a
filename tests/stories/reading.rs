//! `status`, `result`, `logs`, `wait` on a ledger as it may be found.

use super::{FOUND, refuses, tells};
use crate::support::House;

fn house() -> House {
    let house = House::new();
    house.write_ledger(FOUND);
    house
}

#[test]
fn status_of_a_label_that_is_done() {
    tells(
        &house(),
        r#"
$ dispatch status --label built
{
  "ok": true,
  "label": "built",
  "found": true,
  "sessionKey": "agent:main:subagent:11111111-2222-4333-8444-555555555555",
  "runId": "12111111-2222-4333-8444-555555555555",
  "agent": "main",
  "mode": "fresh",
  "status": "done",
  "spawnedAt": "2999-01-02T03:04:05.000Z",
  "updatedAt": "2999-01-02T03:07:25.000Z",
  "summary": "built\nand tested",
  "completion": null,
  "error": null,
  "generation": 5,
  "backend": "local",
  "endedAt": "2999-01-02T03:07:25.000Z",
  "gatewayTimeoutSeconds": null,
  "delivery": {
    "status": "missing",
    "mode": null,
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "artifactPath": null,
  "liveness": {
    "error": "nothing of the run is stored any more"
  },
  "watcher": null,
  "syncAction": null
}
$ dispatch status --label built --output table
label    built
status   done
started  just now
took     3m 20s
backend  local
session  agent:main:subagent:11111111-2222-4333-8444-555555555555
summary  built and tested
"#,
    );
}

#[test]
fn status_of_a_label_that_another_tool_runs() {
    tells(
        &house(),
        r#"
$ dispatch status --label theirs
{
  "ok": true,
  "label": "theirs",
  "found": true,
  "sessionKey": "agent:main:subagent:31111111-2222-4333-8444-555555555555",
  "runId": "r1",
  "agent": null,
  "mode": "reuse",
  "status": "running",
  "spawnedAt": "2999-01-02T03:04:05.000Z",
  "updatedAt": "2999-01-02T03:04:05.000Z",
  "summary": null,
  "completion": null,
  "error": null,
  "gatewayTimeoutSeconds": null,
  "delivery": {
    "status": "missing",
    "mode": null,
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "artifactPath": null,
  "liveness": {
    "error": "another tool started this session"
  },
  "watcher": null,
  "syncAction": null
}
$ dispatch status --label theirs --output table
label    theirs
status   running
started  just now
updated  just now
backend  openclaw
session  agent:main:subagent:31111111-2222-4333-8444-555555555555
watcher  another tool's; take the label over by: dispatch watcher-handoff --label theirs
"#,
    );
}

#[test]
fn status_of_what_is_hardly_an_entry() {
    tells(
        &house(),
        r#"
$ dispatch status --label signalled --output table
label    signalled
status   done
backend  openclaw
$ dispatch status --label 'of another tool' --output table
label    of another tool
status   spawn-warning
backend  openclaw
"#,
    );
}

#[test]
fn status_of_a_label_that_waits_and_is_to_be_cancelled() {
    let house = House::new();
    house.write_ledger(
        r#"{"waiting": {"status": "running", "phase": "retry-wait", "generation": 5, "attempt": 2, "backend": "local",
        "sessionKey": "agent:main:subagent:1f", "runId": "r1", "retryAt": "2020-01-02T03:04:05.000Z",
        "failure": {"kind": "overload", "message": "529 overloaded", "at": 1577934245000},
        "cancelRequested": {"at": "2020-01-02T03:04:05.000Z", "reason": null}}}"#,
    );
    refuses(
        &house,
        r#"
$ dispatch status --label waiting --output table
label          waiting
status         running (to be cancelled)
failed before  overload: 529 overloaded
attempt        2
retry          due
backend        local
session        agent:main:subagent:1f
watcher        dead; '529-recovery' starts a new one
$ dispatch list --output table
LABEL    STATUS                     UPDATED  TOOK  SUMMARY
waiting  running (to be cancelled)
$ dispatch logs --label waiting --output table
2> [dispatch] label "waiting" names no run of its session, so there is no transcript
=> 1
"#,
    );
}

#[test]
fn result_of_a_label_that_is_done_or_failed() {
    tells(
        &house(),
        r#"
$ dispatch result --label built
{
  "ok": true,
  "label": "built",
  "sessionKey": "agent:main:subagent:11111111-2222-4333-8444-555555555555",
  "status": "done",
  "spawnedAt": "2999-01-02T03:04:05.000Z",
  "endedAt": "2999-01-02T03:07:25.000Z",
  "summary": "built\nand tested",
  "completion": null,
  "error": null,
  "failure": null,
  "generation": 5,
  "delivery": {
    "status": "missing",
    "mode": null,
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "recovery": {
    "source": "jsonl-terminal",
    "sessionId": "11111111-2222-4333-8444-555555555555"
  },
  "diagnosticReply": null,
  "artifactEvidence": null,
  "lastReply": "built\nand tested",
  "artifactPath": null
}
$ dispatch result --label built --output table
🌶️ *dispatch* [built] completed:

built
and tested
$ dispatch result --label built --full --output table
built
and tested
$ dispatch result --label broken
{
  "ok": true,
  "label": "broken",
  "sessionKey": "agent:main:subagent:21111111-2222-4333-8444-555555555555",
  "status": "error",
  "spawnedAt": "2999-01-02T03:04:05.000Z",
  "endedAt": "2999-01-02T05:04:05.000Z",
  "summary": null,
  "completion": null,
  "error": "the command exited with code 3: boo",
  "failure": {
    "kind": "command",
    "message": "the command exited with code 3: boo",
    "at": 32472144000000
  },
  "generation": 6,
  "delivery": {
    "status": "missing",
    "mode": null,
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "recovery": null,
  "diagnosticReply": null,
  "artifactEvidence": null,
  "lastReply": null,
  "artifactPath": null
}
$ dispatch result --label broken --output table
🌶️ *dispatch* [broken] failed (command):

the command exited with code 3: boo
$ dispatch result --label broken --full --output table
the command exited with code 3: boo
"#,
    );
}

#[test]
fn result_of_what_has_none() {
    refuses(
        &house(),
        r#"
$ dispatch result --label theirs
{
  "ok": false,
  "label": "theirs",
  "sessionKey": "agent:main:subagent:31111111-2222-4333-8444-555555555555",
  "status": "running",
  "spawnedAt": "2999-01-02T03:04:05.000Z",
  "endedAt": null,
  "summary": null,
  "completion": null,
  "error": null,
  "failure": null,
  "generation": 0,
  "delivery": {
    "status": "missing",
    "mode": null,
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "recovery": null,
  "diagnosticReply": null,
  "artifactEvidence": null,
  "lastReply": null,
  "artifactPath": null,
  "message": "the label is still running"
}
=> 1
$ dispatch result --label theirs --output table
2> [dispatch] label "theirs" has no result yet: it is running; wait for its end by: dispatch wait theirs
=> 1
$ dispatch result --label theirs --path
2> [dispatch] label "theirs" has no file with its text: it is running; wait for its end by: dispatch wait theirs
=> 1
$ dispatch result --label 'of another tool' --output table
2> [dispatch] label "of another tool" has no result yet: it is spawn-warning
=> 1
$ dispatch result --label 'of another tool' | grep message
  "message": "the label is spawn-warning, which is no end"
$ dispatch result --label built --path
2> [dispatch] label "built" has no file with its text; read what the ledger has by: dispatch result --label built
=> 1
$ dispatch result --label built --generation 4
{
  "ok": false,
  "label": "built",
  "message": "label \"built\" has no generation 4, neither in the ledger nor in the archive"
}
=> 1
$ dispatch result --label built --generation 4 --output table
2> [dispatch] label "built" has no generation 4, neither in the ledger nor in the archive
=> 1
$ dispatch result --label biult
{
  "ok": false,
  "label": "biult",
  "message": "no session found for label \"biult\"; did you mean \"built\"?"
}
=> 1
$ dispatch result --label biult --output table
2> [dispatch] no session found for label "biult"; did you mean "built"?
=> 1
"#,
    );
}

#[test]
fn logs_of_what_has_no_transcript() {
    refuses(
        &house(),
        r#"
$ dispatch logs --label built
2> [dispatch] label "built" has no transcript: ROOT/state/sessions/11111111-2222-4333-8444-555555555555.jsonl is not there
=> 1
$ dispatch logs --label built --raw
2> [dispatch] label "built" has no transcript: ROOT/state/sessions/11111111-2222-4333-8444-555555555555.jsonl is not there
=> 1
$ dispatch logs --label built --stderr --output table
2> [dispatch] label "built" has no stderr: ROOT/state/sessions/runs/12111111-2222-4333-8444-555555555555/stderr is not there
=> 1
$ dispatch logs --label broken
2> [dispatch] label "broken" names no run of its session, so there is no transcript
=> 1
$ dispatch logs --label theirs
2> [dispatch] label "theirs" was started by another tool, which has its transcript
=> 1
$ dispatch logs --label signalled
2> [dispatch] label "signalled" has no session: it was only signalled done
=> 1
$ dispatch logs --label 'of another tool'
2> [dispatch] label "of another tool" has no session
=> 1
"#,
    );
}

#[test]
fn wait_for_what_has_ended_and_for_what_does_not() {
    tells(
        &house(),
        r#"
$ dispatch wait built
{
  "ok": true,
  "timedOut": false,
  "count": 1,
  "labels": [
    {
      "ok": true,
      "label": "built",
      "sessionKey": "agent:main:subagent:11111111-2222-4333-8444-555555555555",
      "status": "done",
      "spawnedAt": "2999-01-02T03:04:05.000Z",
      "endedAt": "2999-01-02T03:07:25.000Z",
      "summary": "built\nand tested",
      "completion": null,
      "error": null,
      "failure": null,
      "generation": 5,
      "delivery": {
        "status": "missing",
        "mode": null,
        "channel": null,
        "target": null,
        "reason": "delivery target missing or not recorded"
      },
      "recovery": {
        "source": "jsonl-terminal",
        "sessionId": "11111111-2222-4333-8444-555555555555"
      },
      "diagnosticReply": null,
      "artifactEvidence": null,
      "lastReply": "built\nand tested",
      "artifactPath": null
    }
  ]
}
$ dispatch wait built broken --output table
LABEL   STATUS  SUMMARY
built   done    built and tested
broken  error   the command exited with code 3: boo
=> 1
$ dispatch wait theirs --timeout 1
{
  "ok": false,
  "timedOut": true,
  "count": 1,
  "labels": [
    {
      "label": "theirs",
      "status": "running"
    }
  ]
}
=> 4
$ dispatch wait theirs built --timeout 1 --output table
LABEL   STATUS   SUMMARY
built   done     built and tested
theirs  running
2> [dispatch] timed out: theirs still running
=> 4
$ dispatch wait built --any theirs --output table
LABEL   STATUS   SUMMARY
built   done     built and tested
theirs  running
$ dispatch wait 'of another tool' --output table
LABEL            STATUS         SUMMARY
of another tool  spawn-warning
=> 1
"#,
    );
}
