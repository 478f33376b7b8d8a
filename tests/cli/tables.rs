//! What people read, to the letter. Times lie in the future, so that "ago" is always "just now".

use crate::support::{House, run};

const LEDGER: &str = r#"{
  "nightly-build": {
    "status": "done",
    "generation": 5,
    "backend": "local",
    "sessionKey": "agent:main:subagent:11111111-2222-4333-8444-555555555555",
    "spawnedAt": "2999-01-02T03:04:05.000Z",
    "endedAt": "2999-01-02T03:07:25.000Z",
    "updatedAt": "2999-01-02T03:07:25.000Z",
    "summary": "built\nand tested",
    "deliveries": [
      {"key": "a", "kind": "result", "state": "parked", "target": "telegram:1", "attempts": 3, "lastError": "no such chat"}
    ]
  },
  "review": {
    "status": "error",
    "generation": 6,
    "backend": "local",
    "sessionKey": "agent:main:subagent:21111111-2222-4333-8444-555555555555",
    "spawnedAt": "2999-01-02T03:04:05.000Z",
    "endedAt": "2999-01-02T05:04:05.000Z",
    "updatedAt": "2999-01-02T05:04:05.000Z",
    "error": "the command exited with code 3: boo",
    "failure": {"kind": "command", "message": "the command exited with code 3: boo", "at": 32472144000000}
  },
  "of another tool": {
    "status": "spawn-warning",
    "updatedAt": "2999-01-01T00:00:00.000Z"
  }
}
"#;

fn house() -> House {
    let house = House::new();
    house.write_ledger(LEDGER);
    house
}

/// Stdout as a table, with the house's own directory named ROOT.
fn table(house: &House, words: &[&str], code: i32) -> String {
    let words = [words, &["--output", "table"]].concat();
    let stdout = house.dispatch(&words).exits(code).stdout;
    stdout.replace(&house.root().display().to_string(), "ROOT")
}

#[test]
fn list_shows_a_line_a_label() {
    assert_eq!(
        table(&house(), &["list"], 0),
        "\
LABEL            STATUS         UPDATED   TOOK    SUMMARY
review           error          just now  2h      the command exited with code 3: boo
nightly-build    done           just now  3m 20s  [1 undelivered] built and tested
of another tool  spawn-warning  just now
"
    );
}

#[test]
fn list_says_that_there_is_nothing_and_that_there_is_more() {
    assert_eq!(
        table(&House::new(), &["list"], 0),
        "there are no labels yet; 'dispatch enqueue --help' shows how to make one\n"
    );
    assert_eq!(
        table(&house(), &["list", "--status", "interrupted"], 0),
        "no label has the status interrupted\n"
    );
    assert_eq!(
        table(&House::new(), &["wait", "--all"], 0),
        "nothing is running\n"
    );
    let house = house();
    let ran = house
        .dispatch(&["list", "--limit", "1", "--output", "table"])
        .exits(0);
    assert_eq!(ran.stderr, "[dispatch] 2 more; --all shows them\n");
    assert_eq!(ran.stdout.lines().count(), 2);
}

#[test]
fn status_shows_a_line_a_fact() {
    let house = house();
    assert_eq!(
        table(&house, &["status", "--label", "nightly-build"], 0),
        "\
label     nightly-build
status    done
started   just now
took      3m 20s
backend   local
session   agent:main:subagent:11111111-2222-4333-8444-555555555555
delivery  1 parked
          result to telegram:1: parked after 3 tries: no such chat
summary   built and tested
"
    );
    assert_eq!(
        table(&house, &["status", "--label", "review"], 0),
        "\
label    review
status   error
failure  command: the command exited with code 3: boo
started  just now
took     2h
backend  local
session  agent:main:subagent:21111111-2222-4333-8444-555555555555
"
    );
    assert_eq!(
        table(&house, &["status", "--label", "reveiw"], 0),
        "no session found for label \"reveiw\"; did you mean \"review\"?\n"
    );
}

#[test]
fn doctor_says_what_is_fine_what_is_wrong_and_what_to_do() {
    use std::os::unix::fs::PermissionsExt;
    let house = House::new();
    // Nothing was written in the future.
    house.write_ledger(LEDGER.replace("2999-", "2020-"));
    let mode = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("ours");
    };
    mode(&house.ledger_path(), 0o644);
    mode(&house.state(), 0o755);
    assert_eq!(
        table(&house, &["doctor"], 1),
        "\
WRONG  delivery: label \"nightly-build\": to telegram:1 parked: no such chat
       -> mend that, then run: dispatch redeliver --label nightly-build
WRONG  permissions: ROOT/state/labels.json is open to others (mode 644)
       -> run: chmod 600 ROOT/state/labels.json
warn   permissions: the state directory ROOT/state is open to others (mode 755): they can read the names of labels
       -> run: chmod 700 ROOT/state
ok     ledger, backup, watchers, runs, timers, limits, clock, leftovers, disk, locks, events (--verbose tells more)
"
    );
    assert_eq!(
        table(&house, &["doctor", "--repair"], 1),
        "\
MENDED repair: closed to others: ROOT/state ROOT/state/labels.json
WRONG  delivery: label \"nightly-build\": to telegram:1 parked: no such chat
       -> mend that, then run: dispatch redeliver --label nightly-build
ok     repair, ledger, backup, watchers, runs, timers, limits, clock, leftovers, disk, locks, permissions, events (--verbose tells more)
"
    );
    let sound = House::new();
    assert_eq!(
        table(&sound, &["doctor"], 0),
        "ok     ledger, backup, watchers, runs, delivery, timers, limits, leftovers, disk, locks, permissions, events (--verbose tells more)\n"
    );
}

#[test]
fn wait_shows_what_became_of_each() {
    let house = house();
    assert_eq!(
        table(&house, &["wait", "nightly-build", "review"], 1),
        "\
LABEL          STATUS  SUMMARY
nightly-build  done    built and tested
review         error   the command exited with code 3: boo
"
    );
}

#[test]
fn a_width_that_was_asked_for_is_kept_to() {
    let house = house();
    let narrow = |columns: &str| {
        let mut command = house.command("dispatch");
        command.env("COLUMNS", columns);
        command.args(["list", "--output", "table"]);
        run(command, b"").exits(0).stdout
    };
    assert_eq!(
        narrow("72"),
        "\
LABEL            STATUS         UPDATED   TOOK    SUMMARY
review           error          just now  2h      the command exited
                                                  with code 3: boo
nightly-build    done           just now  3m 20s  [1 undelivered] built
                                                  and tested
of another tool  spawn-warning  just now
"
    );
    assert_eq!(
        narrow("60"),
        "\
LABEL            STATUS         UPDATED   SUMMARY
review           error          just now  the command exited
                                          with code 3: boo
nightly-build    done           just now  [1 undelivered]
                                          built and tested
of another tool  spawn-warning  just now
"
    );
    assert_eq!(
        narrow("30"),
        "\
LABEL       STATUS
review      error
night…uild  done
of an…tool  spawn-warning
"
    );
    for nonsense in ["", "0", "wide"] {
        assert_eq!(
            narrow(nonsense),
            table(&house, &["list"], 0),
            "{nonsense:?}"
        );
    }
}
