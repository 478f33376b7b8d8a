//! A gateway that is configured and not there, and one that is not configured at all.

use super::{FOUND, refuses, tells};
use crate::support::House;

/// The port belongs to the system, and nobody listens there.
fn house() -> House {
    let house = House::new();
    let running = serde_json::json!({
        "status": "running", "phase": "running", "generation": 5, "attempt": 1, "backend": "openclaw",
        "sessionKey": "agent:main:subagent:41111111-2222-4333-8444-555555555555", "runId": "r1",
        "spawnedAt": "2999-01-02T03:04:05.000Z", "updatedAt": "2999-01-02T03:04:05.000Z",
    });
    let mut ledger: serde_json::Value = serde_json::from_str(FOUND).expect("JSON");
    ledger["away"] = running;
    house.write_ledger(ledger.to_string());
    house
}

/// No gateway is configured.
fn plain() -> House {
    let house = House::new();
    house.write_ledger(FOUND);
    house
}

#[test]
fn what_needs_the_gateway_says_that_none_answers() {
    refuses(
        &house(),
        r#"
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch enqueue --label new --message hi
2> [dispatch] no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
=> 1
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch enqueue --label new --message hi --output table
2> [dispatch] no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
=> 1
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch send --label away --message hi
2> [dispatch] no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
=> 1
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch send --session-key agent:main:main --message hi --output table
2> [dispatch] no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
=> 1
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch heartbeat --label away
2> [dispatch] no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
=> 1
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch heartbeat --session-key agent:main:main --output table
2> [dispatch] no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
=> 1
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch logs --label away
2> [dispatch] no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
=> 1
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch logs --label away --raw
2> [dispatch] label "away" runs on an OpenClaw gateway, which keeps no such file; leave --raw and --stderr out
=> 1
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch sync --dry-run
{
  "ok": false,
  "dryRun": true,
  "changes": 0,
  "details": [
    {
      "label": "theirs",
      "sessionKey": "agent:main:subagent:31111111-2222-4333-8444-555555555555",
      "action": "skipped",
      "from": "running",
      "to": null,
      "reason": "another tool started it and watches it; take it over by: dispatch watcher-handoff --label theirs"
    },
    {
      "label": "away",
      "sessionKey": "agent:main:subagent:41111111-2222-4333-8444-555555555555",
      "action": "unknown",
      "from": "running",
      "to": null,
      "reason": "no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL"
    }
  ]
}
2> [dispatch] the gateway's sessions were neither checked nor imported: no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
=> 1
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch sync --dry-run --output table
LABEL   WHAT     NOW  WHY
theirs  skipped       another tool started it and watches it; take it over by: dispatch watcher-handoff --label theirs
away    unknown       no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
2> [dispatch] the gateway's sessions were neither checked nor imported: no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
2> [dispatch] 0 would be changed
=> 1
$ OPENCLAW_GATEWAY_URL=http://127.0.0.1:1 dispatch enqueue --label new --message hi
2> [dispatch] no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
=> 1
"#,
    );
}

#[test]
fn what_can_do_without_says_what_it_does_not_know() {
    tells(
        &house(),
        r#"
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch status --label away
{
  "ok": true,
  "label": "away",
  "found": true,
  "sessionKey": "agent:main:subagent:41111111-2222-4333-8444-555555555555",
  "runId": "r1",
  "agent": null,
  "mode": null,
  "status": "running",
  "spawnedAt": "2999-01-02T03:04:05.000Z",
  "updatedAt": "2999-01-02T03:04:05.000Z",
  "summary": null,
  "completion": null,
  "error": null,
  "phase": "running",
  "generation": 5,
  "attempt": 1,
  "backend": "openclaw",
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
    "error": "no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL"
  },
  "watcher": null,
  "syncAction": null
}
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch status --label away --output table
label    away
status   running
started  just now
updated  just now
backend  openclaw
session  agent:main:subagent:41111111-2222-4333-8444-555555555555
watcher  dead; '529-recovery' starts a new one
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch stuck
gateway: 1 session could not be judged: no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
=> 1
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch stuck --json
{
  "ok": false,
  "dryRun": false,
  "threshold_min": 15,
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
  "gateway_error": "no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL",
  "memory_error": null,
  "labels": [
    {
      "label": "away",
      "verdict": "unknown",
      "reason": "no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL",
      "since": null
    }
  ]
}
=> 1
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 stuck-detector --dry-run
gateway: 1 session could not be judged: no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
=> 1
$ OPENCLAW_GATEWAY_URL=ws://127.0.0.1:1 dispatch enqueue --label new --requester agent:main:main --wait --output table -- echo hi
🌶️ *dispatch* [new] completed:

hi
2> [dispatch] --requester agent:main:main is not checked, and the command starts all the same: no gateway answers at ws://127.0.0.1:1/: Connection refused (os error 111); start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL
"#,
    );
}

#[test]
fn heartbeat_of_a_session_that_is_not_there_is_an_answer() {
    refuses(
        &plain(),
        r#"
$ dispatch heartbeat --label built
{
  "ok": false,
  "label": "built",
  "sessionKey": "agent:main:subagent:11111111-2222-4333-8444-555555555555",
  "alive": false,
  "ageMs": null,
  "updatedAt": null,
  "sessionId": null,
  "model": null,
  "message": "there is no session agent:main:subagent:11111111-2222-4333-8444-555555555555"
}
$ dispatch heartbeat --label built --output table
there is no session agent:main:subagent:11111111-2222-4333-8444-555555555555
$ dispatch heartbeat --session-key agent:main:main
{
  "ok": false,
  "label": null,
  "sessionKey": "agent:main:main",
  "alive": false,
  "ageMs": null,
  "updatedAt": null,
  "sessionId": null,
  "model": null,
  "message": "there is no session agent:main:main"
}
$ dispatch heartbeat --session-key agent:main:main --output table
there is no session agent:main:main
$ dispatch heartbeat --label signalled
2> [dispatch] label "signalled" has no session
=> 1
$ dispatch heartbeat --session-key main
2> [dispatch] --session-key: "main" is no session key: expected agent:<agentId>:<rest>
=> 2
"#,
    );
}
