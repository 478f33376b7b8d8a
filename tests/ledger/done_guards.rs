//! What `done` turns away, and what it does a second time.

use std::fs;

use rstest::rstest;
use serde_json::{Value, json};

use super::{COMPLETE, done, files_below};
use crate::support::{House, Ran, program, run};

/// A ledger with one entry, `work`, of generation 7.
fn house_with(entry: Value) -> House {
    let house = House::new();
    house.write_ledger(serde_json::to_vec_pretty(&json!({"work": entry})).expect("serialisable"));
    house
}

/// Without a target: nothing is owed, so that no watcher starts and writes too.
fn running() -> Value {
    json!({"generation": 7, "rev": 2, "status": "running"})
}

#[rstest]
#[case::missing(
    None,
    "--checklist is required; give --checklist '{\"work_complete\":true}'"
)]
#[case::not_json(
    Some("yes"),
    "--checklist must be valid JSON: expected value at line 1 column 1"
)]
#[case::cut(
    Some("{\"work_complete\":tr"),
    "--checklist must be valid JSON: EOF while parsing a value at line 1 column 19"
)]
#[case::array(
    Some("[true]"),
    "--checklist must be a JSON object such as {\"work_complete\":true}"
)]
#[case::not_said(Some("{}"), "checklist.work_complete must be true")]
#[case::not_complete(
    Some("{\"work_complete\":false}"),
    "checklist.work_complete must be true"
)]
#[case::text(
    Some("{\"work_complete\":\"true\"}"),
    "checklist.work_complete must be true"
)]
#[case::tests(
    Some("{\"work_complete\":true,\"tests_passed\":false}"),
    "checklist.tests_passed is false"
)]
#[case::pushed(
    Some("{\"work_complete\":true,\"pushed\":false}"),
    "checklist.pushed is false"
)]
fn a_checklist_that_does_not_say_so_is_rejected_and_nothing_is_written(
    #[case] checklist: Option<&str>,
    #[case] why: &str,
) {
    let house = house_with(running());
    let before = files_below(house.root());
    let mut words = vec!["done", "--label", "work", "--summary", "all of it"];
    words.extend(
        checklist
            .map(|text| ["--checklist", text])
            .into_iter()
            .flatten(),
    );
    let ran = house.dispatch(&words);
    assert_eq!(ran.stderr, format!("[dispatch] REJECTED: {why}\n"));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(
        files_below(house.root()) == before,
        "{:?}",
        files_below(house.root()).keys()
    );
}

#[rstest]
#[case::older("6")]
#[case::newer("8")]
fn a_signal_of_another_generation_is_rejected_and_nothing_is_written(#[case] generation: &str) {
    let house = house_with(running());
    let before = files_below(house.root());
    let words = ["done", "--label", "work", "--checklist", COMPLETE];
    let mut by_flag = house.command("dispatch");
    by_flag.args(words).args(["--generation", generation]);
    let mut by_variable = house.command("dispatch");
    by_variable
        .args(words)
        .env("DISPATCH_GENERATION", generation);
    for command in [by_flag, by_variable] {
        let ran = run(command, b"").exits(1);
        assert_eq!(
            ran.stderr,
            format!(
                "[dispatch] REJECTED: label \"work\" has no generation {generation}, neither in the ledger nor in the archive; the current one is 7\n"
            )
        );
        let mut after = files_below(house.root());
        after.remove(&house.state().join("labels.json.lock"));
        assert!(after == before, "{:?}", after.keys());
    }
}

#[test]
fn the_current_generation_is_taken_and_one_that_names_none_is_recorded_as_unfenced() {
    for (flag, unfenced) in [(Some("7"), false), (None, true)] {
        let house = house_with(running());
        let mut command = house.command("dispatch");
        command.args(["done", "--label", "work", "--checklist", COMPLETE]);
        command.args(flag.map(|n| ["--generation", n]).into_iter().flatten());
        // An empty variable counts as unset.
        command.env("DISPATCH_GENERATION", "");
        run(command, b"").exits(0);
        let entry = house.entry("work");
        assert_eq!(
            (&entry["status"], &entry["rev"]),
            (&json!("done"), &json!(3))
        );
        assert_eq!(entry["completion"]["unfenced"], unfenced);
    }
}

#[test]
fn a_signal_of_a_running_label_owes_its_result_to_the_target() {
    let house = house_with(json!({
        "generation": 7, "status": "running", "deliverTo": "5", "deliverChannel": "telegram",
    }));
    done(&house, "work").exits(0);
    let owed = &house.entry("work")["deliveries"][0];
    assert_eq!(owed["key"], "work/7/1/result/telegram:5");
    assert_eq!(owed["kind"], "result");
}

#[test]
fn a_second_signal_changes_nothing() {
    let house = house_with(running());
    house
        .dispatch(&[
            "done",
            "--label",
            "work",
            "--checklist",
            COMPLETE,
            "--summary",
            "first",
        ])
        .exits(0);
    let before = files_below(&house.state());
    let again = house
        .dispatch(&[
            "done",
            "--label",
            "work",
            "--checklist",
            COMPLETE,
            "--summary",
            "second",
        ])
        .exits(0);
    assert_eq!(
        again.stderr,
        "[dispatch] warn: label \"work\" was done already: its first summary stands, and these words were not recorded\n"
    );
    let again = again.json();
    assert_eq!(
        again["message"],
        "Label was done already; its first summary stands, and these words were not recorded."
    );
    assert_eq!(again["summary"], "first");
    assert!(
        files_below(&house.state()) == before,
        "{:?}",
        files_below(&house.state()).keys()
    );
}

#[rstest]
#[case::the_same(&["--summary", " first\n"])]
#[case::a_stock_phrase(&["--summary", "done."])]
#[case::none(&[])]
fn a_second_signal_without_other_words_is_no_matter(#[case] words: &[&str]) {
    let house = House::new();
    let signal = |words: &[&str]| {
        let call = ["done", "--label", "work", "--checklist", COMPLETE];
        house.dispatch(&[&call[..], words].concat()).exits(0)
    };
    signal(&["--summary", "first"]);
    let again = signal(words);
    assert_eq!(again.stderr, "");
    assert_eq!(
        again.json()["message"],
        "Label was done already; nothing changed."
    );
}

#[test]
fn of_two_long_summaries_that_begin_alike_the_second_is_told_apart() {
    let house = House::new();
    let long = "x".repeat(3000);
    crate::outbox::signal_done(&house, "work", &format!("{long}1")).exits(0);
    let again = crate::outbox::signal_done(&house, "work", &format!("{long}1")).exits(0);
    assert_eq!(again.stderr, "");
    let other = crate::outbox::signal_done(&house, "work", &format!("{long}2")).exits(0);
    assert!(other.stderr.contains("was done already"), "{other:?}");
}

#[rstest]
#[case::error("error")]
#[case::interrupted("interrupted")]
fn a_completion_after_a_failure_becomes_done_and_owes_a_correction(#[case] status: &str) {
    let house = house_with(json!({
        "generation": 7, "rev": 2, "status": status, "error": "the session is gone",
        "failure": {"kind": "gone", "message": "the session is gone"},
        "deliverTo": "5", "deliverChannel": "telegram",
    }));
    done(&house, "work").exits(0);
    let entry = house.entry("work");
    assert_eq!(
        (&entry["status"], &entry["error"]),
        (&json!("done"), &Value::Null)
    );
    assert_eq!(entry["deliveries"][0]["kind"], "correction");
    assert_eq!(
        entry["deliveries"][0]["key"],
        "work/7/1/correction/telegram:5"
    );
    assert!(entry.get("failure").is_none());
}

#[test]
fn without_a_target_nothing_is_owed() {
    let house = house_with(json!({"generation": 7, "status": "error"}));
    done(&house, "work").exits(0);
    assert!(house.entry("work").get("deliveries").is_none());
}

#[test]
fn cancelled_stays_cancelled() {
    let house = house_with(json!({"generation": 7, "rev": 2, "status": "cancelled"}));
    let before = fs::read(house.ledger_path()).expect("readable");
    let ran = done(&house, "work").exits(1);
    assert_eq!(
        ran.stderr,
        "[dispatch] REJECTED: label \"work\" was cancelled\n"
    );
    assert_eq!(fs::read(house.ledger_path()).expect("readable"), before);
    assert!(!house.state().join("artifacts").exists());
}

#[test]
fn a_label_that_nobody_enqueued_is_registered_as_done_and_owed_to_the_configured_target() {
    let house = House::new();
    fs::create_dir_all(house.state()).expect("creatable");
    fs::write(
        house.state().join("config.json"),
        r#"{"deliverTo": "-100"}"#,
    )
    .expect("writable");
    let answer = done(&house, "unheard of").exits(0);
    assert!(
        answer
            .stderr
            .contains("no session found for label \"unheard of\" -- registering as done")
    );
    assert_eq!(
        answer.json()["message"],
        "Label not previously registered; marked done."
    );
    let entry = house.entry("unheard of");
    assert_eq!(entry["status"], "done");
    assert_eq!(entry["deliveries"][0]["target"], "telegram:-100");
}

#[test]
fn a_command_signals_its_own_completion_and_is_fenced_by_its_environment() {
    let house = House::new();
    let signal = format!(
        "'{}' done --label work --summary 'all of it' --checklist '{COMPLETE}'",
        program("dispatch").display()
    );
    house.enqueue("work", &signal);
    let entry = house.ended("work");
    assert_eq!(entry["status"], "done");
    assert_eq!(entry["summary"], "all of it");
    assert_eq!(entry["completion"]["unfenced"], false);
}

#[test]
fn a_generation_that_is_no_number_is_a_usage_error() {
    let house = house_with(running());
    let mut command = house.command("dispatch");
    command.args(["done", "--label", "work", "--checklist", COMPLETE]);
    command.env("DISPATCH_GENERATION", "latest");
    let ran = run(command, b"").exits(2);
    assert_eq!(
        ran.stderr,
        "[dispatch] DISPATCH_GENERATION must be a number, not \"latest\"\n"
    );
}

/// `dispatch done` for `work` with more words, from the house's root.
fn done_with(house: &House, more: &[&str]) -> Ran {
    let words = ["done", "--label", "work", "--checklist", COMPLETE];
    house.dispatch(&[&words[..], more].concat())
}

/// Rejected in these words, and nothing but the lock's file came.
#[track_caller]
fn rejects(house: &House, more: &[&str], why: &str) {
    let before = files_below(house.root());
    let ran = done_with(house, more);
    assert_eq!(ran.stderr, format!("[dispatch] REJECTED: {why}\n"));
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    let after = files_below(house.root());
    assert!(after == before, "{:?}", after.keys());
}

/// An entry of a gateway's label that began long ago.
fn at_a_gateway(more: Value) -> Value {
    let mut entry = json!({
        "generation": 7, "rev": 2, "status": "running", "backend": "openclaw",
        "spawnedAt": "2026-11-20T09:00:00.000Z", "timeoutSeconds": 300, "taskPrompt": "Fix it.",
    });
    for (name, value) in more.as_object().expect("an object") {
        entry[name] = value.clone();
    }
    entry
}

fn just_now() -> String {
    let now = std::time::SystemTime::now();
    let ms = now.duration_since(std::time::UNIX_EPOCH).expect("after it");
    dispatch::record::time::iso(i64::try_from(ms.as_millis()).expect("small"))
}

#[test]
fn a_run_of_a_moment_is_rejected_unless_it_is_forced_with_a_reason() {
    let entry = at_a_gateway(json!({"spawnedAt": just_now(), "timeoutSeconds": 86_400}));
    let house = house_with(entry);
    let short = done_with(&house, &[]).exits(1);
    assert!(short.stdout.is_empty(), "{short:?}");
    assert!(
        short
            .stderr
            .starts_with("[dispatch] REJECTED: Session ran for only ")
            && short
                .stderr
                .contains("s -- suspiciously short (less than 2m)"),
        "{short:?}"
    );
    for more in [&["--force-done"][..], &["--force-done", "--reason", "  "]] {
        let unexplained = done_with(&house, more).exits(1);
        assert!(
            unexplained
                .stderr
                .starts_with("[dispatch] REJECTED: --force-done requires --reason"),
            "{unexplained:?}"
        );
    }
    let reason_alone = done_with(&house, &["--reason", "tiny"]).exits(1);
    assert!(
        reason_alone.stderr.contains("suspiciously short"),
        "{reason_alone:?}"
    );
    assert_eq!(house.entry("work")["rev"], 2);
    let mut command = house.command("dispatch");
    command.args([
        "done",
        "--label",
        "work",
        "--checklist",
        COMPLETE,
        "--output",
        "table",
    ]);
    command
        .args(["--force-done", "--reason", "one line"])
        .env("USER", "ada");
    let forced = run(command, b"").exits(0);
    assert_eq!(forced.stdout, "work: Label marked done via agent signal.\n");
    assert_eq!(
        forced.stderr,
        "[dispatch] warn: force-done used for label \"work\": one line\n"
    );
    let completion = &house.entry("work")["completion"];
    assert_eq!(
        completion["forced"],
        json!({"by": "user ada", "reason": "one line"})
    );
}

#[test]
fn a_plain_command_may_be_quick() {
    let house = house_with(json!({
        "generation": 7, "status": "running", "backend": "local", "spawnedAt": just_now(),
        "sessionKey": "agent:main:subagent:x",
    }));
    let ran = done_with(&house, &[]).exits(0);
    assert_eq!(ran.stderr, "");
    assert!(house.entry("work")["completion"].get("forced").is_none());
}

#[test]
fn a_task_that_orders_a_git_command_needs_its_commit() {
    let prompt = "Fix it. Do not use git rebase.\n\nThen:\n```\ngit push\n```";
    let house = house_with(at_a_gateway(json!({"taskPrompt": prompt})));
    let why = "Task involves git commits (\"git push\") but --sha was not provided; give the commit that holds the work";
    rejects(&house, &[], why);
    rejects(&house, &["--force-done", "--reason", "x"], why);
    let house = house_with(at_a_gateway(json!({"taskPrompt": "Never run git push."})));
    assert_eq!(done_with(&house, &[]).exits(0).stderr, "");
}

#[test]
fn the_whole_prompt_is_read_where_its_file_is_there() {
    let house = House::new();
    let path = house.path("prompt.txt");
    fs::write(&path, format!("{}\ngit push it.", "x".repeat(5_000))).expect("writable");
    let entry = at_a_gateway(json!({"promptPath": path, "taskPrompt": "xxx"}));
    house.write_ledger(json!({"work": entry}).to_string());
    assert!(
        done_with(&house, &[])
            .exits(1)
            .stderr
            .contains("--sha was not provided")
    );
    fs::remove_file(&path).expect("removable");
    done_with(&house, &[]).exits(0);
}

#[test]
fn a_prompt_that_is_not_stored_is_said_and_no_more() {
    let house = house_with(at_a_gateway(json!({"taskPrompt": null})));
    let ran = done_with(&house, &[]).exits(0);
    assert_eq!(
        ran.stderr,
        "[dispatch] warn: no prompt is stored for label \"work\": not checked whether it orders a git command\n"
    );
}

/// A repository with one commit below the house's root; `None`, with a line, where git is not here.
fn repository(house: &House, name: &str) -> Option<String> {
    let dir = house.path(name);
    fs::create_dir_all(&dir).expect("creatable");
    let git = |words: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.arg("-C").arg(&dir).args(words);
        command.envs([
            ("GIT_AUTHOR_NAME", "a"),
            ("GIT_AUTHOR_EMAIL", "a@host.example"),
        ]);
        command.envs([
            ("GIT_COMMITTER_NAME", "a"),
            ("GIT_COMMITTER_EMAIL", "a@host.example"),
        ]);
        command.output()
    };
    if git(&["init", "-q"]).is_err() {
        println!("skipped: git is not here");
        return None;
    }
    git(&["commit", "-q", "--allow-empty", "-m", name]).expect("it commits");
    let head = git(&["rev-parse", "HEAD"]).expect("it tells");
    let sha = String::from_utf8_lossy(&head.stdout).trim().to_owned();
    assert_eq!(sha.len(), 40, "{head:?}");
    Some(sha)
}

#[test]
fn a_commit_is_looked_up_where_the_work_was_done() {
    let house = House::new();
    let Some(sha) = repository(&house, "work tree") else {
        return;
    };
    let Some(other) = repository(&house, "other") else {
        return;
    };
    let cwd = house.path("work tree").join("below");
    fs::create_dir(&cwd).expect("creatable");
    let entry = at_a_gateway(json!({"cwd": cwd}));
    house.write_ledger(json!({"work": entry}).to_string());
    for (bad, shown) in [
        ("abcdef", "abcdef"),
        ("HEAD~1234", "HEAD~1234"),
        ("--upload-pack=x", "--upload-pack=x"),
        ("", ""),
    ] {
        let flag = format!("--sha={bad}");
        let why = format!("--sha \"{shown}\" is not a valid git SHA: it takes 7 to 40 hex digits");
        rejects(&house, &[&flag], &why);
    }
    let place = cwd.display();
    let why = |sha: &str| {
        format!("SHA {sha} not found: it is no commit of the git repository in {place}")
    };
    rejects(&house, &["--sha", "abcdef0123"], &why("abcdef0123"));
    rejects(&house, &["--sha", &other], &why(&other));
    // Neither force nor what the caller's own git work says changes that.
    rejects(
        &house,
        &["--sha", &other, "--force-done", "--reason", "x"],
        &why(&other),
    );
    let mut misled = house.command("dispatch");
    misled
        .args([
            "done",
            "--label",
            "work",
            "--checklist",
            COMPLETE,
            "--sha",
            &other,
        ])
        .env("GIT_DIR", house.path("other/.git"))
        .current_dir(house.path("other"));
    assert!(run(misled, b"").exits(1).stderr.contains("not found"));
    let mut misled = house.command("dispatch");
    misled
        .args([
            "done",
            "--label",
            "work",
            "--checklist",
            COMPLETE,
            "--sha",
            &sha[..7],
        ])
        .env("GIT_DIR", house.path("other/.git"))
        .env("GIT_OBJECT_DIRECTORY", house.path("nowhere"));
    let ran = run(misled, b"").exits(0);
    assert_eq!(ran.stderr, "");
    let entry = house.entry("work");
    assert_eq!(entry["sha"], sha[..7]);
    assert_eq!(
        entry["completion"]["details_technical"]["sha_short"],
        sha[..7]
    );
    assert_eq!(
        entry["completion"]["summary_human"],
        format!("The work is complete: committed as {}.", &sha[..7])
    );
}

#[test]
fn a_commit_that_nobody_can_look_up_is_taken_with_a_warning() {
    let house = House::new();
    for cwd in [house.path("nowhere"), house.root().to_owned()] {
        let entry = at_a_gateway(json!({"cwd": cwd}));
        house.write_ledger(json!({"work": entry}).to_string());
        let ran = done_with(&house, &["--sha", "abcdef0"]).exits(0);
        let warning = format!(
            "[dispatch] warn: SHA abcdef0 could not be looked up in {}: ",
            cwd.display()
        );
        assert!(ran.stderr.starts_with(&warning), "{ran:?}");
    }
    let entry = at_a_gateway(json!({"cwd": house.root()}));
    house.write_ledger(json!({"work": entry}).to_string());
    let mut without_git = house.command("dispatch");
    without_git.args([
        "done",
        "--label",
        "work",
        "--checklist",
        COMPLETE,
        "--sha",
        "abcdef0",
    ]);
    without_git.env("PATH", house.path("no programs"));
    let ran = run(without_git, b"").exits(0);
    assert!(ran.stderr.ends_with(": git is not installed\n"), "{ran:?}");
}

/// The files of a session as the older generation of gateways keeps them.
fn keep_session(house: &House, messages: &[Value]) {
    let dir = house.root().join("user/.openclaw/agents/main/sessions");
    fs::create_dir_all(&dir).expect("creatable");
    let store = json!({"agent:main:subagent:x": {"sessionId": "s1", "updatedAt": 1}});
    fs::write(dir.join("sessions.json"), store.to_string()).expect("writable");
    let lines: Vec<String> = messages
        .iter()
        .enumerate()
        .map(|(n, m)| json!({"type": "message", "id": format!("{n}"), "message": m}).to_string())
        .collect();
    fs::write(dir.join("s1.jsonl"), lines.join("\n") + "\n").expect("writable");
}

#[test]
fn a_session_of_another_tool_in_which_nothing_was_done_is_rejected() {
    let house = House::new();
    let call = |id: &str| {
        json!({"role": "assistant", "stopReason": "toolUse",
            "content": [{"type": "toolCall", "id": id, "name": "exec"}]})
    };
    let prompt = json!({"role": "user", "content": "Fix it."});
    keep_session(&house, &[prompt.clone(), call("a")]);
    let entry = json!({
        "status": "running", "sessionKey": "agent:main:subagent:x", "taskPrompt": "ORIGIN_CHAT_ID: 5\n\nFix it.",
        "spawnedAt": "2026-11-20T09:00:00.000Z", "timeoutSeconds": 300,
    });
    let fill = |house: &House| house.write_ledger(json!({"work": entry}).to_string());
    fill(&house);
    let why = "Session has only 2 messages: its prompt and this signal, as it seems; do the work first, or give --skip-activity-check if it was done elsewhere";
    rejects(&house, &[], why);
    // To signal again is no work.
    let no = json!({"role": "toolResult", "toolCallId": "a", "content": format!("[dispatch] REJECTED: {why}")});
    keep_session(&house, &[prompt.clone(), call("a"), no, call("b")]);
    rejects(&house, &[], why);
    for flag in ["--skip-activity-check", "--force-done"] {
        fill(&house);
        done_with(&house, &[flag]).exits(0);
    }
    fill(&house);
    let files = json!({"role": "toolResult", "toolCallId": "a", "content": "12 files"});
    keep_session(&house, &[prompt, call("a"), files, call("b")]);
    assert_eq!(done_with(&house, &[]).exits(0).stderr, "");
    assert_eq!(house.entry("work")["status"], "done");
}

#[test]
fn a_gateway_that_does_not_answer_is_said_and_no_more() {
    let house = house_with(at_a_gateway(json!({"sessionKey": "agent:main:subagent:x"})));
    let mut command = house.command("dispatch");
    command.args(["done", "--label", "work", "--checklist", COMPLETE]);
    command.env("OPENCLAW_GATEWAY_URL", "ws://127.0.0.1:9");
    let ran = run(command, b"").exits(0);
    assert!(
        ran.stderr.starts_with("[dispatch] warn: session activity check unavailable: no gateway answers at ws://127.0.0.1:9"),
        "{ran:?}"
    );
}

#[rstest]
#[case::first(
    json!({"spawnedAt": "now", "taskPrompt": "git push"}), &["--sha", "x"][..], "ran for only"
)]
#[case::second(json!({"taskPrompt": "git push"}), &[], "--sha was not provided")]
#[case::third(json!({"sessionKey": "agent:main:subagent:x"}), &["--sha", "x"], "not a valid git SHA")]
fn the_guards_are_asked_in_their_order(
    #[case] entry: Value,
    #[case] more: &[&str],
    #[case] why: &str,
) {
    let mut entry = at_a_gateway(entry);
    if entry["spawnedAt"] == "now" {
        entry["spawnedAt"] = json!(just_now());
    }
    let house = house_with(entry);
    let ran = done_with(&house, more).exits(1);
    assert!(
        ran.stderr.contains(why) && ran.stderr.lines().count() == 1,
        "{ran:?}"
    );
}

#[test]
fn forty_signals_at_once_on_one_label_have_one_winner_whose_words_stand() {
    let house = house_with(running());
    let children: Vec<_> = (0..40)
        .map(|n| {
            let summary = format!("words of {n}");
            house.start(
                "dispatch",
                &[
                    "done",
                    "--label",
                    "work",
                    "--checklist",
                    COMPLETE,
                    "--summary",
                    &summary,
                ],
            )
        })
        .collect();
    let answers: Vec<Value> = children
        .into_iter()
        .map(|child| crate::support::finish(child).exits(0).json())
        .collect();
    let won = |answer: &&Value| answer["message"] == "Label marked done via agent signal.";
    assert_eq!(answers.iter().filter(won).count(), 1, "{answers:#?}");
    let entry = house.entry("work");
    assert_eq!(entry["rev"], 3);
    for answer in &answers {
        assert_eq!(answer["summary"], entry["summary"]);
    }
    let path = entry["artifact"]["path"].as_str().expect("a path");
    let kept = fs::read_to_string(path).expect("it is there");
    assert_eq!(entry["summary"], kept);
}
