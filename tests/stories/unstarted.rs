//! Work that does not start, or not yet: nothing to run, nowhere to run it, nothing left to do again.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use super::{FOUND, left, refuses, tells};
use crate::support::{House, finish};

#[test]
fn what_is_stored_and_cannot_be_read_is_not_done_once_more() {
    let house = House::new();
    house
        .dispatch(&[
            "enqueue",
            "--label",
            "asked",
            "--message",
            "hi",
            "--",
            "cat",
        ])
        .exits(0);
    house.ended("asked");
    left(&house, "asked");
    let prompt = house.entry("asked")["promptPath"].clone();
    let prompt = Path::new(prompt.as_str().expect("it has one"));
    fs::remove_file(prompt).expect("it is there");
    fs::create_dir(prompt).expect("creatable");
    tells(
        &house,
        r#"
$ dispatch retry --label asked
2> [dispatch] cannot read the prompt ROOT/state/prompts/asked/UUID-1.txt: Is a directory (os error 21)
=> 1
"#,
    );
    fs::remove_dir(prompt).expect("it is there");
    fs::write(prompt, "hi").expect("writable");
    fs::write(house.run_dir("asked").join("run.json"), "{").expect("writable");
    tells(
        &house,
        r#"
$ dispatch retry --label asked
2> [dispatch] cannot read the command of "asked": ROOT/state/sessions/runs/UUID-1/run.json is damaged: EOF while parsing an object at line 1 column 1
=> 1
"#,
    );
    let id = house.entry("asked")["sessionId"].clone();
    let id = id.as_str().expect("it has one");
    let transcript = house.state().join(format!("sessions/{id}.jsonl"));
    fs::remove_file(&transcript).expect("it is there");
    fs::create_dir(&transcript).expect("creatable");
    tells(
        &house,
        r#"
$ dispatch logs --label asked
2> [dispatch] cannot print ROOT/state/sessions/UUID-1.jsonl: Is a directory (os error 21)
=> 1
$ dispatch enqueue --label asked --mode reuse -- true
2> [dispatch] cannot read the session's transcript ROOT/state/sessions/UUID-1.jsonl: Is a directory (os error 21)
=> 1
"#,
    );
}

#[test]
fn work_without_a_place_or_a_receiver_is_refused() {
    let house = House::new();
    house.write_config(r#"{"aliases": {"ops": "-1001"}, "commands": {"mail": ["true"]}}"#);
    refuses(
        &house,
        r#"
$ mkdir gone && cd gone && rmdir ../gone && dispatch enqueue --label x -- true
2> [dispatch] the current directory cannot be told (No such file or directory (os error 2)); give --cwd
=> 2
$ dispatch enqueue --label x --deliver-to @opps -- true
2> [dispatch] --deliver-to: the configuration ROOT/state/config.json has no alias @opps; did you mean @ops?
=> 2
$ dispatch enqueue --label x --deliver-to command:mial -- true
2> [dispatch] --deliver-to: the configuration ROOT/state/config.json names no "mial" under "commands"; did you mean mail?
=> 2
$ dispatch enqueue --label x --message-file - --message-stdin -- true
2> [dispatch] --message-file and --message-stdin are both given; choose one source for the prompt
=> 2
$ dispatch enqueue --label x --timeout 999999999 -- true
2> [dispatch] --timeout: "999999999" is more than ten years; give whole seconds (90) or a text with units such as 90s, 20m, 1h30m or "2h 5m"
=> 2
"#,
    );
}

#[test]
fn a_pipe_that_stays_silent_is_told_of() {
    let house = House::new();
    let mut command = house.command("dispatch");
    command
        .args([
            "enqueue", "--label", "piped", "--wait", "--output", "table", "--", "cat",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let mut pipe = child.stdin.take().expect("piped");
    let mut line = String::new();
    let stderr = child.stderr.take().expect("piped");
    BufReader::new(stderr).read_line(&mut line).expect("a line");
    assert_eq!(
        line,
        "[dispatch] reading the prompt from stdin until its end (</dev/null means: no prompt)\n"
    );
    pipe.write_all(b"words").expect("it reads");
    drop(pipe);
    let ran = finish(child).exits(0);
    assert_eq!(ran.stdout, "🌶️ *dispatch* [piped] completed:\n\nwords\n");
}

#[test]
fn what_cannot_be_done_once_more_says_why() {
    let house = House::new();
    house.write_ledger(FOUND);
    refuses(
        &house,
        r#"
$ dispatch retry --label built
2> [dispatch] label "built" cannot be retried: its command is not stored any more (ROOT/state/sessions/runs/12111111-2222-4333-8444-555555555555 is gone)
=> 1
$ dispatch retry --label broken --output table
2> [dispatch] label "broken" cannot be retried: it names no run, so its command is not known
=> 1
$ dispatch retry --label signalled
2> [dispatch] label "signalled" cannot be retried: its prompt was never stored
=> 1
$ dispatch retry --label theirs
2> [dispatch] label "theirs" is running (generation 0); wait for it, or cancel it first
=> 1
$ dispatch retry --label biult
2> [dispatch] no session found for label "biult"; did you mean "built"?
=> 1
"#,
    );
}
