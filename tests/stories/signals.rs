//! An agent signals that it is done: what is taken, what is rejected and why, and what is only warned about.

use super::{left, refuses, tells};
use crate::support::House;

/// A label that has just begun, on a gateway that is not there.
const BEGUN: &str = r#"{
  "begun": {
    "status": "running",
    "phase": "running",
    "generation": 5,
    "attempt": 1,
    "backend": "openclaw",
    "sessionKey": "agent:main:subagent:11111111-2222-4333-8444-555555555555",
    "runId": "r1",
    "spawnedAt": "2999-01-02T03:04:05.000Z",
    "timeoutSeconds": 900,
    "taskPrompt": "Mend the index and git push origin main"
  }
}
"#;

#[test]
fn an_agent_signals_that_it_is_done() {
    let house = House::new();
    tells(
        &house,
        r#"
$ dispatch done --label mine --summary 'Rebuilt the index and ran its tests' --checklist '{"work_complete":true}'
{
  "ok": true,
  "label": "mine",
  "status": "done",
  "phase": null,
  "summary": "Rebuilt the index and ran its tests",
  "completion": {
    "version": 2,
    "recordedAt": "TIME",
    "summary_human": "Rebuilt the index and ran its tests",
    "summary": "Rebuilt the index and ran its tests",
    "details_technical": {
      "checklist": {
        "work_complete": true
      }
    },
    "deliveryText": "Rebuilt the index and ran its tests",
    "prose": "Rebuilt the index and ran its tests",
    "checklist": {
      "work_complete": true
    },
    "sha": null,
    "debug": {
      "rawSummary": "Rebuilt the index and ran its tests",
      "normalizedSummary": "Rebuilt the index and ran its tests",
      "synthesizedReply": null,
      "deliverySource": "summary_human"
    },
    "unfenced": true
  },
  "generation": MS,
  "delivery": {
    "status": "missing",
    "mode": null,
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "message": "Label not previously registered; marked done."
}
2> [dispatch] warn: no session found for label "mine" -- registering as done
2> [dispatch] warn: no deliverTo in config -- completion not delivered for "mine"
$ dispatch done --label mine --summary 'Once more' --checklist '{"work_complete":true}' | grep message
  "message": "Label was done already; its first summary stands, and these words were not recorded."
2> [dispatch] warn: label "mine" was done already: its first summary stands, and these words were not recorded
$ dispatch done --label mine --summary 'Rebuilt the index and ran its tests' --checklist '{"work_complete":true}' --output table
mine: Label was done already; nothing changed.
$ dispatch done --label mine --checklist '{"work_complete":true}' --output table
mine: Label was done already; nothing changed.
$ dispatch done --label yours --checklist '{"work_complete":true,"tests_passed":true}' --output table
yours: Label not previously registered; marked done.
2> [dispatch] warn: no session found for label "yours" -- registering as done
2> [dispatch] warn: no deliverTo in config -- completion not delivered for "yours"
$ dispatch done --label mine --generation 5 --checklist '{"work_complete":true}'
2> [dispatch] REJECTED: label "mine" has no generation 5, neither in the ledger nor in the archive; the current one is MS
=> 1
$ dispatch done --label mine --generation 5 --checklist '{"work_complete":true}' --output table
2> [dispatch] REJECTED: label "mine" has no generation 5, neither in the ledger nor in the archive; the current one is MS
=> 1
$ dispatch result --label mine --output table
🌶️ *dispatch* [mine] completed:

Rebuilt the index and ran its tests
"#,
    );
}

#[test]
fn a_signal_that_comes_too_early_or_without_its_commit_is_rejected() {
    let house = House::new();
    house.write_ledger(BEGUN);
    refuses(
        &house,
        r#"
$ dispatch done --label begun
2> [dispatch] REJECTED: --checklist is required; give --checklist '{"work_complete":true}'
=> 1
$ dispatch done --label begun --checklist '{"work_complete":true}'
2> [dispatch] REJECTED: Session ran for only 0s -- suspiciously short (less than 2m); if the work is complete all the same, say why: --force-done --reason "..."
=> 1
$ dispatch done --label begun --checklist '{"work_complete":true}' --output table
2> [dispatch] REJECTED: Session ran for only 0s -- suspiciously short (less than 2m); if the work is complete all the same, say why: --force-done --reason "..."
=> 1
$ dispatch done --label begun --checklist '{"work_complete":true}' --force-done
2> [dispatch] REJECTED: --force-done requires --reason for a run of 0s, which is less than 120s
=> 1
$ dispatch done --label begun --checklist '{"work_complete":true}' --force-done --reason 'a small task'
2> [dispatch] REJECTED: Task involves git commits ("git push") but --sha was not provided; give the commit that holds the work
=> 1
$ dispatch done --label begun --checklist '{"work_complete":true}' --force-done --reason 'a small task' --sha HEAD --output table
2> [dispatch] REJECTED: --sha "HEAD" is not a valid git SHA: it takes 7 to 40 hex digits
=> 1
$ dispatch done --label begun --checklist "{\"work_complete\":true,\"words\":\"$(printf %0100000d 0)\"}"
2> [dispatch] REJECTED: --checklist is too long (100033 bytes; at most 8192, and 2048 for one text); put the words into --summary
=> 1
$ DISPATCH_GENERATION=soon dispatch done --label begun --checklist '{"work_complete":true}'
2> [dispatch] DISPATCH_GENERATION must be a number, not "soon"
=> 2
"#,
    );
}

#[test]
fn what_is_odd_about_a_signal_is_warned_about() {
    let house = House::new();
    house.write_config(r#"{"deliverTo": "@nobody"}"#);
    tells(
        &house,
        r#"
$ dispatch done --label mine --checklist '{"work_complete":true}' --reason 'no reason' --output table
mine: Label not previously registered; marked done.
2> [dispatch] warn: --reason means nothing without --force-done
2> [dispatch] warn: "deliverTo": the configuration ROOT/state/config.json has no alias @nobody; add it under "aliases"
2> [dispatch] warn: no session found for label "mine" -- registering as done
$ dispatch done --label yours --checklist '{"work_complete":true}' --force-done --output table
yours: Label not previously registered; marked done.
2> [dispatch] warn: force-done used for label "yours": no reason given
2> [dispatch] warn: "deliverTo": the configuration ROOT/state/config.json has no alias @nobody; add it under "aliases"
2> [dispatch] warn: no session found for label "yours" -- registering as done
"#,
    );
}

#[test]
fn a_signal_under_a_configuration_that_cannot_be_read_waits_for_whom_it_names() {
    let house = House::new();
    house.write_config("{");
    tells(
        &house,
        r#"
$ dispatch done --label mine --checklist '{"work_complete":true}' --output table
mine: Label not previously registered; marked done.
2> [dispatch] the configuration ROOT/state/config.json is not usable: EOF while parsing an object at line 1 column 1; mend it or move it away; going on with the default
2> [dispatch] warn: no session found for label "mine" -- registering as done
2> [dispatch] warn: deliverTo in config cannot be read -- completion of "mine" is delivered when it can be
$ dispatch redeliver --label mine
2> [dispatch] the configuration ROOT/state/config.json is not usable: EOF while parsing an object at line 1 column 1; mend it or move it away
=> 2
"#,
    );
}

#[test]
fn a_command_that_signals_its_own_end_keeps_its_last_words() {
    let house = House::new();
    tells(
        &house,
        r#"
$ dispatch enqueue --label self --wait --output table -- sh -c 'dispatch done --label self --summary "Mended all of the index" --checklist "{\"work_complete\":true}"; echo last words'
🌶️ *dispatch* [self] completed:

Mended all of the index
"#,
    );
    left(&house, "self");
    tells(
        &house,
        r#"
$ dispatch result --label self --output table
🌶️ *dispatch* [self] completed:

Mended all of the index
$ dispatch result --label self --full --output table
Mended all of the index

The agent's last words:

last words
$ dispatch result --label self --full | tail -n 3
  "artifactPath": "ROOT/state/artifacts/dispatch-completions/FILE",
  "lastWords": "last words\n"
}
$ dispatch logs --label self --stderr
[dispatch] self: Label marked done via agent signal.
"#,
    );
}
