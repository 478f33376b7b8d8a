//! Work that `enqueue` cannot start: no prompt, no command, no place; nothing is written. And how it gets its prompt.

use std::fs;

use super::{house_with_one_label, refused};
use crate::support::{House, run};

#[test]
fn a_prompt_that_cannot_be_had_is_refused() {
    let house = house_with_one_label();
    let dir = house.root().join("folder");
    fs::create_dir(&dir).expect("creatable");
    fs::write(house.root().join("blank.txt"), " \n").expect("writable");
    let a_folder = format!(
        "--message-file: {} is a directory; give a file, or - for stdin",
        dir.display()
    );
    let dir = dir.to_str().expect("UTF-8");
    let table: [(&[&str], &str); 8] = [
        (
            &["--message", "a", "--message-file", "b"],
            "--message and --message-file are both given; choose one source for the prompt",
        ),
        (
            &["--message", "a", "--message-env", "B", "--message-stdin"],
            "--message and --message-env and --message-stdin are all given; choose one source for the prompt",
        ),
        (
            &["--message-file", "nowhere.txt"],
            "--message-file: cannot read nowhere.txt: No such file or directory (os error 2); give a file that can be read, or - for stdin",
        ),
        (&["--message-file", dir], &a_folder),
        (
            &["--message-env", "NOT_SET"],
            "--message-env: the environment variable NOT_SET is not set; export it, or give another prompt source",
        ),
        (
            &["--message", ""],
            "the prompt is empty: --message has no text; give some, or leave it out where none is needed",
        ),
        (
            &["--message-file", "blank.txt"],
            "the prompt is empty: the prompt file blank.txt has no text; give some, or leave it out where none is needed",
        ),
        (
            &["--message-stdin"],
            "the prompt is empty: stdin has no text; give some, or leave it out where none is needed",
        ),
    ];
    for (source, sentence) in table {
        let words = [&["enqueue", "--label", "x"], source, &["--", "true"]].concat();
        refused(&house, &words, 2, sentence);
    }
}

#[test]
fn a_prompt_file_without_permission_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let house = house_with_one_label();
    let path = house.root().join("secret.txt");
    fs::write(&path, "text").expect("writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("ours");
    if fs::read(&path).is_ok() {
        println!("skipped: this user reads everything");
        return;
    }
    let words = [
        "enqueue",
        "--label",
        "x",
        "--message-file",
        "secret.txt",
        "--",
        "true",
    ];
    let sentence = "--message-file: cannot read secret.txt: Permission denied (os error 13); give a file that can be read, or - for stdin";
    refused(&house, &words, 2, sentence);
}

#[test]
fn work_that_cannot_be_started_is_refused() {
    let house = house_with_one_label();
    fs::write(house.root().join("plain.txt"), "text").expect("writable");
    let no_command = |name: &str| {
        format!(
            "the command \"{name}\" does not exist or is not executable; check its name and your PATH"
        )
    };
    let no_alias = format!(
        "--deliver-to: the configuration {} has no alias @bob; add it under \"aliases\"",
        house.state().join("config.json").display()
    );
    let to_run = format!(
        "needs a command to run: add -- COMMAND [ARG...], or register a runtime under \"runtimes\" in {}",
        house.state().join("config.json").display()
    );
    let table: [(&[&str], &str); 14] = [
        (&["--", "no-such-command"], &no_command("no-such-command")),
        (&["--", "./nowhere"], &no_command("./nowhere")),
        (&["--", "./plain.txt"], &no_command("./plain.txt")),
        (
            &["--", ""],
            "the command after -- is empty; give a program and its arguments",
        ),
        (
            &["--cwd", "nowhere", "--", "true"],
            &format!(
                "--cwd: {} is not a directory; give one that exists",
                house.root().join("nowhere").display()
            ),
        ),
        (
            &["--cwd=", "--", "true"],
            "--cwd needs a value; see 'dispatch enqueue --help'",
        ),
        (
            &["--env", "NAME", "--", "true"],
            "--env: \"NAME\" is not NAME=VALUE, for example LANG=C",
        ),
        (
            &["--env", "=1", "--", "true"],
            "--env: \"=1\" is not NAME=VALUE, for example LANG=C",
        ),
        (
            &["--deliver-to", "", "--", "true"],
            "--deliver-to: the target is empty; give a chat id, or leave the flag out",
        ),
        (&["--deliver-to", "@bob", "--", "true"], &no_alias),
        (
            &["--agent", "a/b", "--", "true"],
            "--agent: \"a/b\" is no agent id; use letters, digits, '.', '_' and '-'",
        ),
        (
            &["--session-key", "x y", "--", "true"],
            "--session-key: \"x y\" is no session key: expected agent:<agentId>:<rest>",
        ),
        (
            &["--backend", "local"],
            &format!("the local backend {to_run}"),
        ),
        (
            &[],
            &format!("no gateway is configured, so the local backend is chosen, and it {to_run}"),
        ),
    ];
    for (flags, sentence) in table {
        let words = [&["enqueue", "--label", "x"], flags].concat();
        refused(&house, &words, 2, sentence);
    }
}

#[test]
fn a_session_that_never_was_cannot_go_on() {
    let house = house_with_one_label();
    let words = ["enqueue", "--label", "new", "--mode", "reuse", "--", "true"];
    let sentence = "--mode reuse: label \"new\" has no session to go on with; use --mode fresh";
    refused(&house, &words, 1, sentence);
    let words = [
        "enqueue",
        "--label",
        "nightly-build",
        "--mode",
        "reuse",
        "--",
        "true",
    ];
    let sentence = "--mode reuse: there is no session agent:main:subagent:11111111-2222-4333-8444-555555555555; use --mode fresh";
    refused(&house, &words, 1, sentence);
}

#[test]
fn a_configured_gateway_that_is_not_there_is_told_and_nothing_is_written() {
    let house = house_with_one_label();
    let openclaw = house.root().join("openclaw");
    fs::create_dir(&openclaw).expect("creatable");
    // Only a server of the system could listen there.
    let config = "{gateway: {port: 1, auth: {token: 's3cret'}}}";
    fs::write(openclaw.join("openclaw.json"), config).expect("writable");
    let mut command = house.command("dispatch");
    command.env("OPENCLAW_STATE_DIR", &openclaw).args([
        "enqueue",
        "--label",
        "two words",
        "--message",
        "hi",
    ]);
    let before = house.state_files();
    let ran = run(command, b"").exits(1);
    let told = "[dispatch] no gateway answers at ws://127.0.0.1:1/: Connection refused";
    assert!(ran.stderr.starts_with(told), "{ran:?}");
    let remedy = "; start it with 'openclaw gateway run', or set OPENCLAW_GATEWAY_URL\n";
    assert!(ran.stderr.ends_with(remedy), "{ran:?}");
    assert!(!ran.stderr.contains("s3cret"), "{ran:?}");
    assert!(house.state_files() == before);
}

#[test]
fn every_prompt_source_reaches_the_command_byte_for_byte() {
    let house = House::new();
    let prompt = "two\nlines  \u{1F336} ";
    fs::write(house.root().join("prompt.txt"), prompt).expect("writable");
    let sources: [(&str, &[&str], &str); 6] = [
        ("text", &["--message", prompt], ""),
        ("file", &["--message-file", "prompt.txt"], ""),
        ("dash", &["--message-file", "-"], prompt),
        ("stdin", &["--message-stdin"], prompt),
        ("piped", &[], prompt),
        ("nothing", &[], ""),
    ];
    for (label, source, stdin) in sources {
        let words = [&["enqueue", "--label", label], source, &["--", "cat"]].concat();
        house.dispatch_with_stdin(&words, stdin.as_bytes()).exits(0);
    }
    let mut command = house.command("dispatch");
    command.env("PROMPT", prompt);
    command.args([
        "enqueue",
        "--label",
        "variable",
        "--message-env",
        "PROMPT",
        "--",
        "cat",
    ]);
    run(command, b"").exits(0);
    let reply = |label| {
        house.ended(label);
        let result = house.dispatch(&["result", "--label", label]).exits(0);
        result.json()["lastReply"].clone()
    };
    for label in ["text", "file", "dash", "stdin", "piped", "variable"] {
        assert_eq!(reply(label), prompt, "{label}");
    }
    assert_eq!(
        reply("nothing"),
        "The command exited with code 0 and printed nothing."
    );
}
