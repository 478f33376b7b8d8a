//! `list`, of the ledger and of the archive.

use std::fs;

use super::{FOUND, refuses, tells};
use crate::support::House;

#[test]
fn list_in_both_forms() {
    let house = House::new();
    house.write_ledger(FOUND);
    tells(
        &house,
        r#"
$ dispatch list --status error
{
  "ok": true,
  "count": 1,
  "total": 1,
  "labels": [
    {
      "label": "broken",
      "status": "error",
      "generation": 6,
      "backend": "local",
      "sessionKey": "agent:main:subagent:21111111-2222-4333-8444-555555555555",
      "spawnedAt": "2999-01-02T03:04:05.000Z",
      "endedAt": "2999-01-02T05:04:05.000Z",
      "updatedAt": "2999-01-02T05:04:05.000Z",
      "error": "the command exited with code 3: boo",
      "failure": {
        "kind": "command",
        "message": "the command exited with code 3: boo",
        "at": 32472144000000
      },
      "summary": null,
      "delivery": {
        "status": "missing",
        "mode": null,
        "channel": null,
        "target": null,
        "reason": "delivery target missing or not recorded"
      }
    }
  ]
}
$ dispatch list --status error --output table
LABEL   STATUS  UPDATED   TOOK  SUMMARY
broken  error   just now  2h    the command exited with code 3: boo
$ dispatch list --output table
LABEL            STATUS         UPDATED   TOOK    SUMMARY
broken           error          just now  2h      the command exited with code 3: boo
built            done           just now  3m 20s  built and tested
theirs           running        just now  0s
of another tool  spawn-warning
signalled        done
$ dispatch list --archived
{
  "ok": true,
  "count": 0,
  "more": false,
  "labels": []
}
$ dispatch list --archived --output table
nothing is in the archive
$ dispatch list --archived --label built --output table
nothing of that is in the archive
$ dispatch list --archived --status done --output table
nothing of that is in the archive
"#,
    );
}

#[test]
fn what_cannot_be_read_is_not_listed_and_taken_for_nothing_else() {
    let house = House::new();
    house.write_ledger("{\"good\": {\"status\": \"done\"}, \"bad\": {\"status\": 1e999}}");
    tells(
        &house,
        r#"
$ dispatch list --output table
LABEL  STATUS  UPDATED  TOOK  SUMMARY
good   done
2> [dispatch] warn: 1 of the ledger's entries cannot be read and are not listed; 'dispatch doctor' names them
"#,
    );
    fs::write(
        house.state().join("archive.jsonl"),
        "\n{\"label\": \"bad\", \"entry\": {\"status\": \"done\", \"generation\": 1}}\n",
    )
    .expect("writable");
    refuses(
        &house,
        r#"
$ dispatch status --label bad
2> [dispatch] the entry of label "bad" cannot be read: number out of range at line 1 column 52; see what can be saved by: dispatch doctor
=> 3
$ dispatch result --label bad
2> [dispatch] the entry of label "bad" cannot be read: number out of range at line 1 column 52; see what can be saved by: dispatch doctor
=> 3
$ dispatch result --label bad --path --output table
2> [dispatch] the entry of label "bad" cannot be read: number out of range at line 1 column 52; see what can be saved by: dispatch doctor
=> 3
$ dispatch retry --label bad
2> [dispatch] the entry of label "bad" cannot be read: number out of range at line 1 column 52; see what can be saved by: dispatch doctor
=> 3
$ dispatch prune --label bad
2> [dispatch] the entry of label "bad" cannot be read: number out of range at line 1 column 52; see what can be saved by: dispatch doctor
=> 3
$ dispatch cancel --label bad
2> [dispatch] the entry of label "bad" cannot be read: number out of range at line 1 column 52; see what can be saved by: dispatch doctor
=> 3
$ dispatch logs --label bad --output table
2> [dispatch] the entry of label "bad" cannot be read: number out of range at line 1 column 52; see what can be saved by: dispatch doctor
=> 3
$ dispatch wait bad
2> [dispatch] the entry of label "bad" cannot be read: number out of range at line 1 column 52; see what can be saved by: dispatch doctor
=> 3
$ dispatch note --label bad hi
2> [dispatch] the entry of label "bad" cannot be read: number out of range at line 1 column 52; see what can be saved by: dispatch doctor
=> 3
$ dispatch redeliver --label bad
2> [dispatch] the entry of label "bad" cannot be read: number out of range at line 1 column 52; see what can be saved by: dispatch doctor
=> 3
"#,
    );
    // The words of a signal are kept before the ledger is asked.
    tells(
        &house,
        r#"
$ dispatch done --label bad --checklist '{"work_complete":true}'
2> [dispatch] the ledger ROOT/state/labels.json is damaged: the entry of label "bad" cannot be read: number out of range at line 1 column 52; nothing was changed; run 'dispatch doctor' to see what can be saved
=> 3
$ dispatch enqueue --label bad -- true
2> [dispatch] the ledger ROOT/state/labels.json is damaged: the entry of label "bad" cannot be read: number out of range at line 1 column 52; nothing was changed; run 'dispatch doctor' to see what can be saved
=> 3
"#,
    );
}
