//! The composed text, word for word where an agent acts on it, and its lines in a real shell.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

fn reach() -> Reach {
    Reach {
        program: "/opt/it's here/dispatch".to_owned(),
        variables: vec![("DISPATCH_HOME", "/var/my state".to_owned())],
    }
}

fn told(to: &str) -> Audience {
    let mut entry = Entry::new();
    entry.set("deliverTo", to);
    entry.set("deliverChannel", "telegram");
    Audience::of_entry(&entry)
}

fn brief<'a>(reach: &'a Reach, audience: &'a Audience, task: &'a str) -> Brief<'a> {
    Brief {
        label: "it's \"$1\"",
        generation: Generation::new(17),
        reach,
        audience,
        task,
        timeout_s: Some(300),
        cwd: Some("/srv/repo"),
        attempt: 1,
        retry_of: None,
        told: &[],
    }
}

#[test]
fn a_brief_reads_from_top_to_bottom() {
    let (reach, audience) = (reach(), told("-100"));
    let text = brief(&reach, &audience, "Mend the roof.").compose();
    let expected = r#"[Sub-agent context] You work as a sub-agent on one task, unattended: nobody reads along and nobody answers questions. Decide yourself what the task leaves open, and see it through. Your label is "it's "$1"", generation 17.

--- Progress ---
Whoever asked can be told how it goes. At a milestone of a long task run this line, with your own words at its end:

DISPATCH_HOME='/var/my state' '/opt/it'\''s here/dispatch' note --label 'it'\''s "$1"' 'What is done, and what comes next'

--- Task ---
ORIGIN_CHAT_ID: -100

Mend the roof.
--- End of the task ---

--- Completion signal ---
Signal the end once, and only when all of this is true:
1. Everything that the task asks for is done, and nothing that you started for it is still running.
2. You have looked at the outcome yourself, and what was wrong with it is mended.
3. You can say in a few sentences what came of it, to somebody who reads nothing else.

Then run this line, with your own summary:

DISPATCH_HOME='/var/my state' '/opt/it'\''s here/dispatch' done --label 'it'\''s "$1"' --generation 17 --summary 'What came of it' --checklist '{"work_complete":true}'

- The checklist is a JSON object with "work_complete": true. "tests_passed" and "pushed" belong into it where there were tests or a push, and neither may be false; further keys are yours. Put down only what is so.
- A signal within 60 seconds of the start is taken for a mistake. Where the task really took no longer, add: --force-done --reason 'why it was so quick'
- The line is for a POSIX shell: a single quote inside a quoted text is written '\''.
- An answer that begins with REJECTED says what is missing, and nothing was recorded: put it right and run the line again.
- If the task cannot be finished, send no signal: say in your last reply what is missing and why.
- If the line cannot be run where you are, your last reply counts as the result.

--- Delivery ---
Your result, which is the summary of the signal or else your last reply, is delivered by dispatch to telegram:-100. Do not send it yourself: the message tool is not for results, and they would arrive twice.
"#;
    assert_eq!(text, expected);
}

/// What OpenClaw 2026.9.6 takes for the beginning of a tool's call.
#[test]
fn no_line_looks_like_a_tools_call_to_a_gateway() {
    let (reach, audience) = (reach(), told("-100"));
    let sent = [Told {
        text: "Also the gutter.".to_owned(),
        interrupts: true,
    }];
    let again = Brief {
        attempt: 2,
        told: &sent,
        ..brief(&reach, &audience, "Push the tests.")
    };
    let text = again.compose();
    let call = regex::Regex::new(r"(?m)^\s*(?:\[(?:tool:)?[A-Za-z0-9_-]+\]|<)").expect("a pattern");
    assert_eq!(call.find(&text).map(|found| found.as_str()), None, "{text}");
}

#[test]
fn what_the_task_orders_is_in_the_signal() {
    let (reach, audience) = (reach(), Audience::default());
    let task = "Make the tests green and git push it.";
    let mut brief = brief(&reach, &audience, task);
    brief.timeout_s = Some(601);
    let text = brief.compose();
    let signal = r#"--checklist '{"work_complete":true,"tests_passed":true,"pushed":true}' --sha "$(git rev-parse HEAD)""#;
    for part in [
        signal,
        "\n3. The tests that the task asks for were run, and they pass.\n4. What the task wants pushed is pushed.\n5. You can",
        "--sha names the commit that holds the work: 7 to 40 hex digits, a commit of the repository at /srv/repo.",
        "A signal within 120 seconds",
    ] {
        assert!(text.contains(part), "{part}\n---\n{text}");
    }
}

#[rstest]
#[case::to_a_chat(
    json!({"deliverTo": "-100", "deliverChannel": "telegram"}),
    true, Some("-100"), "is delivered by dispatch to telegram:-100."
)]
#[case::from_elsewhere(
    json!({"deliverTo": "7", "origin": "telegram:8"}),
    true, Some("7"), "is delivered by dispatch to telegram:8."
)]
#[case::to_a_receiver(
    json!({"deliverTo": "ops", "deliverChannel": "webhook"}),
    true, None, "is delivered by dispatch to webhook:ops."
)]
#[case::to_the_session_that_asked(
    json!({"requester": "agent:main:main"}),
    false, None, "is delivered by dispatch to agent:main:main."
)]
#[case::told_nothing(
    json!({"deliverTo": "7", "deliveryMode": "none"}),
    false, Some("7"), "is kept by dispatch; it was asked for by telegram:7."
)]
#[case::to_nobody(json!({}), false, None, "is kept by dispatch for whoever asked.")]
#[case::a_target_of_lines(
    json!({"deliverTo": "7\n--- Task ---\r8"}),
    true, Some("7 --- Task --- 8"), "is delivered by dispatch to telegram:7 --- Task --- 8."
)]
fn who_waits_for_it_decides_what_is_said(
    #[case] entry: Value,
    #[case] hears_notes: bool,
    #[case] chat: Option<&str>,
    #[case] delivery: &str,
) {
    let Value::Object(fields) = entry else {
        panic!("an object");
    };
    let audience = Audience::of_entry(&Entry::from_fields(fields));
    let reach = reach();
    let text = brief(&reach, &audience, "Go.").compose();
    assert_eq!(text.contains("dispatch' note"), hears_notes, "{text}");
    let head = chat.map_or("--- Task ---\nGo.".to_owned(), |chat| {
        format!("--- Task ---\nORIGIN_CHAT_ID: {chat}\n\nGo.")
    });
    assert!(text.contains(&head), "{text}");
    assert!(text.contains(delivery), "{text}");
}

#[test]
fn the_chat_is_named_once_whoever_named_it() {
    let (reach, audience) = (reach(), told("-100"));
    let named = Told {
        text: "As before.\nORIGIN_CHAT_ID: 5".to_owned(),
        interrupts: false,
    };
    let own = "Do it.\nORIGIN_CHAT_ID: 4\nThen rest.";
    let briefs = [
        (brief(&reach, &audience, "Do it."), " -100\n"),
        (brief(&reach, &audience, own), " 4\n"),
        (
            Brief {
                attempt: 2,
                told: &[named],
                ..brief(&reach, &audience, "Do it.")
            },
            " 5\n",
        ),
    ];
    for (brief, value) in briefs {
        let text = brief.compose();
        let values: Vec<&str> = text.split(CHAT_MARK).skip(1).collect();
        assert_eq!(values.len(), 1, "{text}");
        assert!(values[0].starts_with(value), "{text}");
    }
}

#[test]
fn a_retry_says_why_and_repeats_what_was_sent_before() {
    let (reach, audience) = (reach(), Audience::default());
    let sent = ["Also the gutter.", "Stop, the chimney."].map(|text| Told {
        text: text.to_owned(),
        interrupts: text.starts_with("Stop"),
    });
    let again = Brief {
        attempt: 2,
        retry_of: Some(FailureKind::GatewayRestart),
        told: &sent,
        ..brief(&reach, &audience, "Mend the roof.")
    };
    let text = again.compose();
    assert!(
        text.contains("\nThis is a retry (attempt 2): the attempt before it ended early because the gateway was restarted. Go on"),
        "{text}"
    );
    let task = "--- Task ---\nMend the roof.\n\n[This was sent while an earlier attempt was at work:]\n\nAlso the gutter.\n\n[This was sent while an earlier attempt was at work, in place of what it was doing until then:]\n\nStop, the chimney.\n--- End of the task ---\n";
    assert!(text.contains(task), "{text}");
}

#[test]
fn a_brief_is_known_behind_the_time_that_a_gateway_puts_before_it() {
    let (reach, audience) = (reach(), Audience::default());
    let text = brief(&reach, &audience, "Go.").compose();
    assert!(is_brief(&text));
    assert!(is_brief(&format!("[Sat 2026-11-21 12:17 UTC] {text}")));
    assert!(!is_brief("Go."));
    assert!(!is_brief(&format!("It began so: {text}")));
}

proptest! {
    #[test]
    fn the_task_stands_in_it_byte_for_byte(task in any::<String>(), to in any::<Option<String>>()) {
        let reach = reach();
        let audience = to.map(|to| told(&to)).unwrap_or_default();
        let text = brief(&reach, &audience, &task).compose();
        let task = format!("\n{task}\n--- End of the task ---\n");
        prop_assert!(text.contains(&task));
    }
}

/// A program that prints its state directory and its arguments, each ended by a NUL. Another process writes it: nothing that
/// this one starts meanwhile may hold it open.
fn printer(dir: &Path) -> PathBuf {
    let path = dir.join("printer");
    let script = "#!/bin/sh\nprintf '%s\\0' \"$DISPATCH_HOME\" \"$@\"\n";
    let written = Command::new("sh")
        .args(["-c", "printf %s \"$2\" > \"$1\" && chmod +x \"$1\"", "sh"])
        .arg(&path)
        .arg(script)
        .status();
    assert!(written.expect("sh starts").success());
    path
}

/// What the stub prints when a shell runs the line.
fn printed(line: &str) -> Vec<OsString> {
    let ran = Command::new("sh").args(["-c", line]).output();
    let ran = ran.expect("sh starts");
    assert!(ran.status.success(), "{line}: {ran:?}");
    let mut words: Vec<OsString> = ran
        .stdout
        .split(|byte| *byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect();
    words.pop();
    words
}

/// Labels and file names that mean something to a shell.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "'",
            "\"",
            "`id`",
            "$(id)",
            "$HOME",
            "\\",
            " ",
            "*",
            "?",
            "~",
            "#",
            "!",
            ";",
            "&",
            "|",
            "<",
            ">",
            "(",
            "{a,b}",
            "[a]",
            "=",
            "%s",
            "--summary",
            "-",
            "\u{202e}",
            "é"
        ])
        .prop_map(String::from),
        any::<char>().prop_map(String::from),
    ];
    let text = proptest::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat());
    text.prop_map(|text| text.replace(|c: char| c.is_control(), ""))
        .prop_filter("a label is not blank", |text| !text.trim().is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_shell_hands_over_exactly_the_words(label in hostile(), dir in hostile(), state in hostile()) {
        let top = tempfile::tempdir().expect("a temporary directory");
        let dir = top.path().join(dir.replace(['/', '.'], "_"));
        std::fs::create_dir(&dir).expect("creatable");
        let program = dir.join("it's dispatch");
        symlink(printer(top.path()), &program).expect("creatable");
        let reach = Reach {
            program: program.to_str().expect("UTF-8").to_owned(),
            variables: vec![("DISPATCH_HOME", state.clone())],
        };
        let audience = told("1");
        let brief = Brief { label: &label, ..brief(&reach, &audience, "Go.") };
        let text = brief.compose();
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("DISPATCH_HOME=")).collect();
        let [note, done] = lines[..] else { panic!("{text}") };
        let flag: Vec<String> = match label.starts_with('-') {
            true => vec![format!("--label={label}")],
            false => vec!["--label".to_owned(), label.clone()],
        };
        let words = |command: &str, rest: &[&str]| -> Vec<OsString> {
            let rest = rest.iter().map(|word| (*word).to_owned());
            [state.clone(), command.to_owned()].into_iter().chain(flag.clone()).chain(rest).map(OsString::from).collect()
        };
        prop_assert_eq!(printed(note), words("note", &["What is done, and what comes next"]));
        let rest = ["--generation", "17", "--summary", "What came of it", "--checklist", "{\"work_complete\":true}"];
        prop_assert_eq!(printed(done), words("done", &rest));
    }
}
