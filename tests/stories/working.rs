//! Work from its start to its result: `enqueue`, `wait`, `status`, `result`, `logs`, `heartbeat`, `retry`.

use super::{left, tells};
use crate::support::House;

#[test]
fn work_is_handed_over_and_its_result_read() {
    let house = House::new();
    tells(
        &house,
        r#"
$ dispatch enqueue --label hello --message 'Say hi' -- cat
{
  "ok": true,
  "label": "hello",
  "sessionKey": "agent:main:subagent:UUID-1",
  "runId": "UUID-2",
  "mode": "fresh",
  "agent": "main",
  "status": "accepted",
  "delivery": {
    "status": "missing",
    "mode": "announce",
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "watchdog": {
    "enabled": true,
    "jobId": null,
    "interval": "*/15 * * * *",
    "timeout": 60
  },
  "backend": "local",
  "runtime": "command",
  "generation": MS,
  "message": "Session spawned. Its result is read with 'dispatch result' and waited for with 'dispatch wait'."
}
$ dispatch wait hello
{
  "ok": true,
  "timedOut": false,
  "count": 1,
  "labels": [
    {
      "ok": true,
      "label": "hello",
      "sessionKey": "agent:main:subagent:UUID-1",
      "status": "done",
      "spawnedAt": "TIME",
      "endedAt": "TIME",
      "summary": "Say hi",
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
      "lastReply": "Say hi",
      "artifactPath": "ROOT/state/artifacts/dispatch-completions/FILE"
    }
  ]
}
$ dispatch wait hello --output table
LABEL  STATUS  SUMMARY
hello  done    Say hi
"#,
    );
    left(&house, "hello");
    tells(
        &house,
        r#"
$ dispatch status --label hello
{
  "ok": true,
  "label": "hello",
  "found": true,
  "sessionKey": "agent:main:subagent:UUID-1",
  "runId": "UUID-2",
  "agent": "main",
  "mode": "fresh",
  "status": "done",
  "spawnedAt": "TIME",
  "updatedAt": "TIME",
  "summary": "Say hi",
  "completion": null,
  "error": null,
  "generation": MS,
  "attempt": 1,
  "backend": "local",
  "runtime": "command",
  "endedAt": "TIME",
  "runIds": [
    "UUID-2"
  ],
  "gatewayTimeoutSeconds": null,
  "delivery": {
    "status": "missing",
    "mode": "announce",
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "artifactPath": "ROOT/state/artifacts/dispatch-completions/FILE",
  "liveness": {
    "updatedAt": MS,
    "ageMs": N,
    "sessionId": "UUID-1",
    "status": "done",
    "alive": false,
    "settled": true,
    "model": null,
    "tokens": null
  },
  "lastPing": "TIME",
  "watcher": {
    "pid": PID,
    "startTime": N,
    "at": MS,
    "state": "concluding",
    "reason": "the result is complete",
    "nextAt": null,
    "position": N,
    "alive": false,
    "nextInMs": null
  },
  "syncAction": null
}
$ dispatch status --label hello --output table
label      hello
status     done
started    AGO
took       TOOK
backend    local
runtime    command
session    agent:main:subagent:UUID-1
summary    Say hi
full text  ROOT/state/artifacts/dispatch-completions/FILE
$ dispatch result --label hello
{
  "ok": true,
  "label": "hello",
  "sessionKey": "agent:main:subagent:UUID-1",
  "status": "done",
  "spawnedAt": "TIME",
  "endedAt": "TIME",
  "summary": "Say hi",
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
  "lastReply": "Say hi",
  "artifactPath": "ROOT/state/artifacts/dispatch-completions/FILE"
}
$ dispatch result --label hello --output table
🌶️ *dispatch* [hello] completed:

Say hi
$ dispatch result --label hello --path
ROOT/state/artifacts/dispatch-completions/FILE
$ dispatch result --label hello --path --json
{
  "ok": true,
  "label": "hello",
  "path": "ROOT/state/artifacts/dispatch-completions/FILE"
}
$ dispatch logs --label hello
[CLOCK] user
Say hi
[CLOCK] assistant
Say hi
[CLOCK] ended
$ dispatch heartbeat --label hello
{
  "ok": true,
  "label": "hello",
  "sessionKey": "agent:main:subagent:UUID-1",
  "backend": "local",
  "alive": false,
  "ageMs": N,
  "updatedAt": "TIME",
  "status": "done",
  "sessionId": "UUID-1",
  "model": null,
  "tokens": null,
  "carried": false
}
$ dispatch heartbeat --label hello --output table
label    hello
session  agent:main:subagent:UUID-1
alive    no
updated  AGO
"#,
    );
}

#[test]
fn enqueue_tells_a_person_as_much_and_waits_if_told_to() {
    let house = House::new();
    tells(
        &house,
        r#"
$ dispatch enqueue --label one --output table -- true
label    one
status   accepted
session  agent:main:subagent:UUID-1
run      UUID-2
         Session spawned. Its result is read with 'dispatch result' and waited for with 'dispatch wait'.
$ dispatch enqueue --label two --wait --output table -- sh -c 'echo two words'
🌶️ *dispatch* [two] completed:

two words
$ dispatch enqueue --label three --message 'Try it' --wait --output table -- sh -c 'echo almost; echo boo >&2; exit 3'
🌶️ *dispatch* [three] failed (command):

the command exited with code 3: boo

What it had said until then:

almost
=> 1
$ dispatch enqueue --label four --wait -- sh -c 'echo almost; exit 3'
{
  "ok": false,
  "label": "four",
  "sessionKey": "agent:main:subagent:UUID-3",
  "runId": "UUID-4",
  "mode": "fresh",
  "agent": "main",
  "status": "error",
  "delivery": {
    "status": "missing",
    "mode": "announce",
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "watchdog": {
    "enabled": true,
    "jobId": null,
    "interval": "*/15 * * * *",
    "timeout": 60
  },
  "backend": "local",
  "runtime": "command",
  "generation": MS,
  "message": "The session has ended: error.",
  "spawnedAt": "TIME",
  "endedAt": "TIME",
  "summary": "the command exited with code 3\n\nWhat it had said until then:\n\nalmost",
  "completion": null,
  "error": "the command exited with code 3",
  "failure": {
    "kind": "command",
    "message": "the command exited with code 3",
    "at": MS
  },
  "recovery": {
    "source": "jsonl-diagnostic",
    "sessionId": "UUID-3"
  },
  "diagnosticReply": "almost\n",
  "artifactEvidence": null,
  "lastReply": "almost\n",
  "artifactPath": "ROOT/state/artifacts/dispatch-completions/FILE"
}
=> 1
$ dispatch enqueue --label five --verify-cmd 'echo no >&2; exit 4' --wait --output table -- echo done
🌶️ *dispatch* [five] failed (verify):

the verify command `echo no >&2; exit 4` exited with code 4: no

What it had said until then:

done
=> 1
$ dispatch enqueue --label six --payload-kind systemEvent --wait --output table -- echo hi
🌶️ *dispatch* [six] completed:

hi
2> [dispatch] --payload-kind systemEvent: a session gets the prompt whatever its kind; only the delivery target depends on it
$ dispatch enqueue --label seven --auth-profile inherit --wait --output table -- sh -c 'echo $DISPATCH_AUTH_PROFILE'
🌶️ *dispatch* [seven] completed:

inherit
2> [dispatch] --auth-profile inherit: no main session of agent main that was at work in the last two hours names a profile; passing it on as it is
$ dispatch logs --label three
[CLOCK] user
Try it
[CLOCK] assistant
almost
[CLOCK] ended: the command exited with code 3: boo
$ dispatch logs --label three --stderr
boo
"#,
    );
}

#[test]
fn a_key_is_answered_again_and_belongs_to_its_work() {
    let house = House::new();
    tells(
        &house,
        r#"
$ dispatch enqueue --label once --idempotency-key k1 --wait --output table -- echo once
🌶️ *dispatch* [once] completed:

once
$ dispatch enqueue --label once --idempotency-key k1 -- echo once
{
  "ok": true,
  "label": "once",
  "sessionKey": "agent:main:subagent:UUID-1",
  "runId": "k1",
  "mode": "fresh",
  "agent": "main",
  "status": "accepted",
  "delivery": {
    "status": "missing",
    "mode": "announce",
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "watchdog": {
    "enabled": true,
    "jobId": null,
    "interval": "*/15 * * * *",
    "timeout": 60
  },
  "backend": "local",
  "runtime": "command",
  "generation": MS,
  "repeated": true,
  "message": "This call was answered before; nothing was started."
}
$ dispatch enqueue --label once --idempotency-key k1 --output table -- echo once
label    once
status   accepted
session  agent:main:subagent:UUID-1
run      k1
         This call was answered before; nothing was started.
$ dispatch enqueue --label once --idempotency-key k1 -- echo twice
2> [dispatch] the idempotency key k1 belongs to other work (label "once"); use a key of its own
=> 1
$ dispatch enqueue --label other --idempotency-key k1 -- echo once
2> [dispatch] the idempotency key k1 belongs to other work (label "once"); use a key of its own
=> 1
"#,
    );
}

#[test]
fn work_is_done_once_more() {
    let house = House::new();
    house.enqueue("again", "echo once more");
    house.ended("again");
    tells(
        &house,
        r#"
$ dispatch retry --label again
{
  "ok": true,
  "label": "again",
  "sessionKey": "agent:main:subagent:UUID-1",
  "runId": "UUID-2",
  "mode": "fresh",
  "agent": "main",
  "status": "accepted",
  "delivery": {
    "status": "missing",
    "mode": "announce",
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "watchdog": {
    "enabled": true,
    "jobId": null,
    "interval": "*/15 * * * *",
    "timeout": 60
  },
  "backend": "local",
  "runtime": "command",
  "generation": MS,
  "retryOf": MS,
  "message": "Session spawned. Its result is read with 'dispatch result' and waited for with 'dispatch wait'."
}
$ dispatch wait again --output table
LABEL  STATUS  SUMMARY
again  done    once more
$ dispatch retry --label again --wait --output table
🌶️ *dispatch* [again] completed:

once more
"#,
    );
}
