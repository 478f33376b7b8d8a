//! What could not be brought to whom it was for: `redeliver`, and who else tells of it.

use super::tells;
use crate::support::{House, eventually};

/// Somebody was to be told and could not be.
const PARKED: &str = r#"{
  "the report": {
    "status": "done",
    "generation": 5,
    "backend": "local",
    "deliverTo": "1",
    "deliverChannel": "telegram",
    "sessionKey": "agent:main:subagent:11111111-2222-4333-8444-555555555555",
    "spawnedAt": "2999-01-02T03:04:05.000Z",
    "endedAt": "2999-01-02T03:07:25.000Z",
    "updatedAt": "2999-01-02T03:07:25.000Z",
    "summary": "written",
    "deliveries": [
      {"key": "k", "kind": "result", "state": "parked", "target": "telegram:1", "attempts": 3, "lastError": "no such chat"}
    ]
  }
}
"#;

#[test]
fn redeliver_says_what_became_of_each() {
    let house = House::new();
    let mended = house.path("mended");
    let script = format!(
        "test -e {} || {{ echo nobody home; exit 64; }}",
        mended.display()
    );
    house.configure(&serde_json::json!({"commands": {"mail": ["sh", "-c", script]}}));
    house
        .dispatch(&[
            "enqueue",
            "--label",
            "told",
            "--deliver-to",
            "command:mail",
            "--",
            "echo",
            "hi",
        ])
        .exits(0);
    eventually("the delivery is given up", || {
        (house.entry("told")["deliveries"][0]["state"] == "parked").then_some(())
    });
    tells(
        &house,
        r#"
$ dispatch redeliver --label told
{
  "ok": false,
  "count": 1,
  "delivered": 0,
  "deliveries": [
    {
      "label": "told",
      "key": "told/MS/1/result/command:mail",
      "target": "command:mail",
      "was": "parked",
      "state": "parked",
      "lastError": "the command exited with code 64: nobody home"
    }
  ]
}
=> 1
$ dispatch redeliver --all --output table
told: was parked, is parked, not delivered to command:mail: the command exited with code 64: nobody home
=> 1
$ touch mended
$ dispatch redeliver --label told --output table
told: was parked, is delivered to command:mail
$ dispatch redeliver --all
{
  "ok": true,
  "count": 0,
  "delivered": 0,
  "deliveries": []
}
$ dispatch redeliver --all --output table
nothing is parked, and nothing waits for its next try
"#,
    );
}

#[test]
fn a_delivery_that_was_given_up_is_told_of_until_somebody_sees_to_it() {
    let house = House::new();
    house.write_ledger(PARKED);
    tells(
        &house,
        r#"
$ dispatch status --label 'the report' --output table
label     the report
status    done
started   just now
took      3m 20s
backend   local
session   agent:main:subagent:11111111-2222-4333-8444-555555555555
delivery  1 parked
          result to telegram:1: parked after 3 tries: no such chat
summary   written
$ dispatch list --output table
LABEL       STATUS  UPDATED   TOOK    SUMMARY
the report  done    just now  3m 20s  [1 undelivered] written
$ dispatch prune --label 'the report'
{
  "ok": false,
  "dryRun": false,
  "count": 0,
  "labels": [],
  "kept": [
    {
      "label": "the report",
      "reason": "a delivery of it is not delivered"
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
$ dispatch prune --label 'the report' --output table
the report: kept, because a delivery of it is not delivered
0 labels archived, 0 files of 0 bytes removed
=> 1
$ dispatch stuck
parked: "the report": result to telegram:1: parked after 3 tries: no such chat; send it again by: dispatch redeliver --label 'the report'
=> 1
$ dispatch stuck --output table
parked: "the report": result to telegram:1: parked after 3 tries: no such chat; send it again by: dispatch redeliver --label 'the report'
=> 1
$ dispatch stuck --json
{
  "ok": false,
  "dryRun": false,
  "threshold_min": 15,
  "stuck_count": 0,
  "stuck_sessions": [],
  "auto_resolved_count": 0,
  "auto_resolved": [],
  "watcher_skipped": [],
  "nudged": [],
  "wedged_watchers": [],
  "parked_deliveries": [
    {
      "label": "the report",
      "key": "k",
      "reason": "result to telegram:1: parked after 3 tries: no such chat"
    }
  ],
  "gateway_error": null,
  "memory_error": null,
  "labels": []
}
=> 1
$ dispatch stuck --quiet
parked: "the report": result to telegram:1: parked after 3 tries: no such chat; send it again by: dispatch redeliver --label 'the report'
=> 1
$ stuck-detector --dry-run
parked: "the report": result to telegram:1: parked after 3 tries: no such chat; send it again by: dispatch redeliver --label 'the report'
=> 1
$ 529-recovery --dry-run
"#,
    );
    house.write_ledger(PARKED.replace(
        "    ]",
        r#", {"key": "l", "kind": "note", "state": "parked", "target": "telegram:2", "attempts": 1, "lastError": "no chat"}]"#,
    ));
    tells(
        &house,
        r#"
$ dispatch prune --label 'the report' --output table
the report: kept, because 2 deliveries of it are not delivered
0 labels archived, 0 files of 0 bytes removed
=> 1
$ dispatch redeliver --label 'the report' --output table
the report: was parked, is parked, not delivered to telegram:1: the environment of its watcher names no OpenClaw gateway, through which telegram is reached; set OPENCLAW_GATEWAY_URL and OPENCLAW_GATEWAY_TOKEN where you send it again
the report: was parked, is parked, not delivered to telegram:2: the environment of its watcher names no OpenClaw gateway, through which telegram is reached; set OPENCLAW_GATEWAY_URL and OPENCLAW_GATEWAY_TOKEN where you send it again
=> 1
$ dispatch redeliver --label 'the report'
{
  "ok": false,
  "count": 2,
  "delivered": 0,
  "deliveries": [
    {
      "label": "the report",
      "key": "k",
      "target": "telegram:1",
      "was": "parked",
      "state": "parked",
      "lastError": "the environment of its watcher names no OpenClaw gateway, through which telegram is reached; set OPENCLAW_GATEWAY_URL and OPENCLAW_GATEWAY_TOKEN where you send it again"
    },
    {
      "label": "the report",
      "key": "l",
      "target": "telegram:2",
      "was": "parked",
      "state": "parked",
      "lastError": "the environment of its watcher names no OpenClaw gateway, through which telegram is reached; set OPENCLAW_GATEWAY_URL and OPENCLAW_GATEWAY_TOKEN where you send it again"
    }
  ]
}
=> 1
"#,
    );
}
