//! Input that cannot be used: one line says what, where and what to do; nothing is written.

use super::{house_with_one_label, refused};
use crate::support::run;

/// Words apart by spaces; what is refused; its line.
const COMMAND_LINES: [(&str, &str); 38] = [
    (
        "frob",
        "there is no command \"frob\"; see 'dispatch --help'",
    ),
    (
        "help frob",
        "there is no command \"frob\"; see 'dispatch --help'",
    ),
    (
        "enqueue --label x --env DISPATCH_LABEL=y -- true",
        "--env: DISPATCH_LABEL is set by dispatch itself, for each run; leave it out, or use another name",
    ),
    (
        "enqueue --label x --model m --env DISPATCH_MODEL=y -- true",
        "--env: DISPATCH_MODEL is set by --model; give one of the two",
    ),
    (
        "enqueue --label x --monitor-timeout 1.5 -- true",
        "--monitor-timeout: \"1.5\" has a fraction; give whole minutes (90) or a text with units such as 90s, 20m, 1h30m or \"2h 5m\"",
    ),
    (
        "lst",
        "there is no command \"lst\"; did you mean list? Or see 'dispatch --help'",
    ),
    ("--frob", "there is no flag --frob; see 'dispatch --help'"),
    (
        "list --frob",
        "there is no flag --frob; see 'dispatch list --help'",
    ),
    (
        "status --lable x",
        "there is no flag --lable; did you mean --label? Or see 'dispatch status --help'",
    ),
    (
        "wait -dash",
        "there is no flag -d; a label that starts with - goes after --; see 'dispatch wait --help'",
    ),
    ("status", "--label is missing; see 'dispatch status --help'"),
    (
        "wait",
        "LABEL is missing; give it, or --all; see 'dispatch wait --help'",
    ),
    (
        "enqueue -- true",
        "--label is missing; see 'dispatch enqueue --help'",
    ),
    (
        "enqueue --label x true",
        "the word \"true\" belongs to nothing; quote a text that has spaces, and put a command to run after --; see 'dispatch enqueue --help'",
    ),
    (
        "list extra",
        "the word \"extra\" belongs to nothing; quote a text that has spaces; see 'dispatch list --help'",
    ),
    (
        "list --status",
        "--status needs a value; see 'dispatch list --help'",
    ),
    (
        "list --status runing",
        "--status: \"runing\" is no status (running, done, error, interrupted, cancelled); did you mean running?",
    ),
    (
        "list --status zzz",
        "--status: \"zzz\" is no status (running, done, error, interrupted, cancelled)",
    ),
    (
        "list --limit -1",
        "--limit: \"-1\" is no count; give a whole number from 1, or --all",
    ),
    (
        "list --limit 0",
        "--limit: \"0\" is no count; give a whole number from 1, or --all",
    ),
    (
        "list --output xml",
        "--output: \"xml\" is not one of auto, table, json",
    ),
    (
        "result --label x --generation -3",
        "--generation: \"-3\" is no generation; give the number that 'dispatch status' shows",
    ),
    (
        "result --label x --full --path",
        "--full and --path exclude each other; leave one of them out",
    ),
    (
        "wait --all x",
        "--all and LABEL exclude each other; leave one of them out",
    ),
    (
        "status --label a --label b",
        "--label is given twice; give it once",
    ),
    (
        "completions ksh",
        "SHELL: \"ksh\" is not one of bash, elvish, fish, powershell, zsh; did you mean zsh?",
    ),
    (
        "enqueue --label --message y -- true",
        "--label needs a value, but --message follows, which is a flag of its own; if --message is meant as the value, write --label=--message",
    ),
    (
        "logs --label -f",
        "--label needs a value, but -f follows, which is a flag of its own; if -f is meant as the value, write --label=-f",
    ),
    (
        "enqueue --label x --backend loc",
        "--backend: \"loc\" is not one of local, openclaw; did you mean local?",
    ),
    (
        "enqueue --label x --backend openclaw -- true",
        "--backend openclaw takes no COMMAND: a gateway runs its own agents; leave one of the two out",
    ),
    (
        "enqueue --label x --monitor-interval 15 -- true",
        "--monitor-interval: \"15\" is no cron expression: it has 1 field; give five fields such as \"*/15 * * * *\"",
    ),
    (
        "enqueue --label x --monitor-timeout 1M -- true",
        "--monitor-timeout: \"1M\" uses months or years, which have no fixed length (m is minutes, d is days, w is weeks); give whole minutes (90) or a text with units such as 90s, 20m, 1h30m or \"2h 5m\"",
    ),
    ("retry", "--label is missing; see 'dispatch retry --help'"),
    (
        "list --label x",
        "--label goes with --archived; one label of the ledger is shown by: dispatch status --label x",
    ),
    (
        "list --archived --status dnoe",
        "--status: \"dnoe\" is no status (running, done, error, interrupted, cancelled); did you mean done?",
    ),
    (
        "prune --status running",
        "--status: what is running is never pruned; give done, error, interrupted or cancelled",
    ),
    (
        "prune --status eror",
        "--status: \"eror\" is no end (done, error, interrupted, cancelled); did you mean error?",
    ),
    (
        "prune --older-than 0",
        "--older-than: \"0\" is zero; give whole seconds (90) or a text with units such as 90s, 20m, 1h30m or \"2h 5m\"",
    ),
];

#[test]
fn an_unusable_command_line_is_refused_in_one_sentence() {
    let house = house_with_one_label();
    for (line, sentence) in COMMAND_LINES {
        let words: Vec<&str> = line.split(' ').collect();
        refused(&house, &words, 2, sentence);
    }
}

#[test]
fn a_duration_without_meaning_is_refused() {
    let house = house_with_one_label();
    let months =
        "uses months or years, which have no fixed length (m is minutes, d is days, w is weeks)";
    for (text, problem) in [
        ("0", "is zero"),
        ("-1", "is negative"),
        ("1.5", "has a fraction"),
        ("5M", months),
        ("2y", months),
        ("", "is empty"),
        ("text", "is no duration"),
    ] {
        let sentence = format!(
            "--timeout: \"{text}\" {problem}; give whole seconds (90) or a text with units such as 90s, 20m, 1h30m or \"2h 5m\""
        );
        let enqueue = ["enqueue", "--label", "x", "--timeout", text, "--", "true"];
        refused(&house, &enqueue, 2, &sentence);
        refused(
            &house,
            &["wait", "nightly-build", "--timeout", text],
            2,
            &sentence,
        );
    }
}

#[test]
fn an_unknown_label_is_refused_with_the_nearest() {
    let house = house_with_one_label();
    let near = "no session found for label \"nightly-biuld\"; did you mean \"nightly-build\"?";
    let far = "no session found for label \"zzz\"; 'dispatch list' shows what there is";
    for (label, sentence) in [("nightly-biuld", near), ("zzz", far)] {
        for command in [
            "logs",
            "cancel",
            "heartbeat",
            "redeliver",
            "watcher-handoff",
            "retry",
            "prune",
        ] {
            refused(&house, &[command, "--label", label], 1, sentence);
        }
        refused(&house, &["note", "--label", label, "half way"], 1, sentence);
        let send = ["send", "--label", label, "--message", "stop"];
        refused(&house, &send, 1, sentence);
        let status = house.dispatch(&["status", "--label", label]).exits(0);
        assert_eq!(status.json()["found"], false);
        assert_eq!(status.json()["message"], sentence);
        refused(&house, &["wait", label], 1, sentence);
        refused(&house, &["wait", "nightly-build", label], 1, sentence);
        refused(&house, &["result", "--label", label, "--path"], 1, sentence);
        refused(
            &house,
            &["result", "--label", label, "--output", "table"],
            1,
            sentence,
        );
        for program in ["watcher", "529-recovery"] {
            let ran = house.run(program, &["--label", label]).exits(1);
            assert_eq!(ran.stderr, format!("[dispatch] {sentence}\n"));
        }
    }
}

#[test]
fn a_checklist_that_does_not_say_complete_is_rejected() {
    let house = house_with_one_label();
    refused(
        &house,
        &["done", "--label", "x"],
        1,
        "REJECTED: --checklist is required; give --checklist '{\"work_complete\":true}'",
    );
    for (checklist, why) in [
        (
            "{\"a",
            "--checklist must be valid JSON: EOF while parsing a string at line 1 column 3",
        ),
        (
            "",
            "--checklist must be valid JSON: EOF while parsing a value at line 1 column 0",
        ),
        (
            "[1]",
            "--checklist must be a JSON object such as {\"work_complete\":true}",
        ),
        ("{}", "checklist.work_complete must be true"),
        (
            "{\"work_complete\":\"true\"}",
            "checklist.work_complete must be true",
        ),
        (
            "{\"work_complete\":true,\"tests_passed\":false}",
            "checklist.tests_passed is false",
        ),
        (
            "{\"work_complete\":true,\"pushed\":false}",
            "checklist.pushed is false",
        ),
    ] {
        let words = ["done", "--label", "x", "--checklist", checklist];
        refused(&house, &words, 1, &format!("REJECTED: {why}"));
    }
}

#[test]
fn an_unusable_variable_is_named_and_an_empty_one_is_none() {
    let house = house_with_one_label();
    for (value, code, stderr) in [
        (
            "xml",
            2,
            "[dispatch] DISPATCH_OUTPUT: \"xml\" is not one of auto, table, json\n",
        ),
        ("", 0, ""),
    ] {
        let mut command = house.command("dispatch");
        command.env("DISPATCH_OUTPUT", value).arg("list");
        assert_eq!(run(command, b"").exits(code).stderr, stderr);
    }
    let mut command = house.command("dispatch");
    command.env("DISPATCH_GENERATION", "soon").args([
        "done",
        "--label",
        "x",
        "--checklist",
        "{\"work_complete\":true}",
    ]);
    assert_eq!(
        run(command, b"").exits(2).stderr,
        "[dispatch] DISPATCH_GENERATION must be a number, not \"soon\"\n"
    );
    let mut command = house.command("dispatch");
    command.env("DISPATCH_LOCK_TIMEOUT", "soon").arg("list");
    assert_eq!(
        run(command, b"").exits(2).stderr,
        "[dispatch] DISPATCH_LOCK_TIMEOUT must be a duration such as 30 or 2m, not \"soon\"\n"
    );
}
