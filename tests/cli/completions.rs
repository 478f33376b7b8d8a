//! Completions in the real shells: what somebody types, TAB, and the label that the program then gets.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rstest::rstest;

use crate::support::{House, eventually, makes_terminals, program, run};

/// Labels with everything in them that shells take for something else.
const LABELS: [&str; 16] = [
    "two words",
    "quo'te",
    "dou\"ble",
    "mon$ey",
    "back`tick",
    "a:b:c one",
    "a:b:d",
    "rev\\slash",
    "semi;colon&",
    "日本 語",
    "-dash",
    "=eq=x",
    "exclaim!x",
    "par(en)",
    "~tilde",
    "#hash",
];

fn house() -> House {
    let house = House::new();
    let entry = serde_json::json!({"status": "done", "generation": 1, "updatedAt": "2026-01-02T03:04:05.000Z"});
    let ledger: serde_json::Map<_, _> = LABELS
        .iter()
        .map(|label| ((*label).to_owned(), entry.clone()))
        .collect();
    house.write_ledger(serde_json::to_vec(&ledger).expect("writable"));
    house
}

/// A shell that is here. One that is not fails the test where they all have to be (`DISPATCH_TOOLS=1`).
fn is_here(shell: &str) -> bool {
    let found = Command::new(shell).args(["-c", "exit 0"]).status();
    let is_here = found.is_ok_and(|status| status.success()) && makes_terminals();
    let must_be = std::env::var_os("DISPATCH_TOOLS").is_some_and(|value| value == "1");
    assert!(is_here || !must_be, "{shell}, or script, is not here");
    if !is_here {
        println!("skipped: {shell}, or script, is not here");
    }
    is_here
}

/// A shell with the programs of this build on its PATH.
fn in_house(house: &House, mut command: Command) -> Command {
    let programs = program("dispatch");
    let programs = programs.parent().expect("it is in a directory");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::iter::once(programs.to_owned()).chain(std::env::split_paths(&path));
    for (name, value) in house.command("dispatch").get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command
        .env("PATH", std::env::join_paths(dirs).expect("no colon in it"))
        .env("LANG", "C.UTF-8")
        .env("TERM", "xterm")
        .env("SHELL", "/bin/sh")
        .env("PS1", "READY> ")
        .env("PROMPT", "READY> ")
        .current_dir(house.root());
    command
}

/// What is typed into an interactive shell after its completions are there; the last of it makes the file `out`, whose
/// text is the answer.
#[track_caller]
fn typed(house: &House, shell: &str, line: &str) -> String {
    let (start, init) = match shell {
        "bash" => (
            "bash --norc --noprofile -i",
            "source <(dispatch completions bash)",
        ),
        "zsh" => (
            "zsh -f -i",
            "dispatch completions zsh > _dispatch; fpath=($PWD $fpath); autoload -U compinit; compinit -u -D",
        ),
        _ => ("fish --no-config -i", "dispatch completions fish | source"),
    };
    let out = house.path("out");
    let _ = fs::remove_file(&out);
    let mut command = Command::new("script");
    command.args(["-qec", start, "/dev/null"]).env_clear();
    let mut command = in_house(house, command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("script is here");
    let mut keys = child.stdin.take().expect("piped");
    let mut screen = child.stdout.take().expect("piped");
    let shown = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&shown);
    let reader = std::thread::spawn(move || {
        let mut block = [0; 4096];
        while let Ok(n @ 1..) = screen.read(&mut block) {
            let text = String::from_utf8_lossy(&block[..n]).into_owned();
            seen.lock().expect("nobody panics").push_str(&text);
        }
    });
    let waits = |what: &str| {
        eventually(what, || {
            shown
                .lock()
                .expect("nobody panics")
                .contains(what)
                .then_some(())
        });
    };
    // The words are not on the screen before the shell has run them, but for their echo, which has the quotes.
    let say = "echo int''erned";
    writeln!(keys, "{init}; {say}").expect("it reads");
    waits("interned");
    write!(keys, "{line}\t").expect("it reads");
    writeln!(keys, " > out").expect("it reads");
    writeln!(keys, "exit").expect("it reads");
    drop(keys);
    child.wait().expect("it ends");
    reader.join().expect("it does not panic");
    let shown = shown.lock().expect("nobody panics");
    fs::read_to_string(&out).unwrap_or_else(|e| panic!("{shell}: {line}: {e}: {shown}"))
}

/// Types the beginning of a label and asks which one the program got.
#[track_caller]
fn completes(house: &House, shell: &str, line: &str, label: &str) {
    let line = format!("dispatch --json status --label{line}");
    let answer = typed(house, shell, &line);
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(
        (answer["label"].as_str(), answer["found"].as_bool()),
        (Some(label), Some(true)),
        "{shell}: {line}"
    );
}

#[rstest]
#[case(" two", "two words")]
#[case("=two", "two words")]
#[case(" two\\ w", "two words")]
#[case(" \"two w", "two words")]
#[case(" 'two", "two words")]
#[case(" quo", "quo'te")]
#[case(" 'quo", "quo'te")]
#[case(" \"dou", "dou\"ble")]
#[case(" mon", "mon$ey")]
#[case(" \"mon", "mon$ey")]
#[case(" \"back", "back`tick")]
#[case(" a:b:c", "a:b:c one")]
#[case("=a:b:c", "a:b:c one")]
#[case(" \"a:b:c", "a:b:c one")]
#[case(" rev", "rev\\slash")]
#[case(" semi", "semi;colon&")]
#[case(" 日", "日本 語")]
#[case("=-d", "-dash")]
#[case(" \"excl", "exclaim!x")]
#[case(" par", "par(en)")]
#[case(" =eq=", "=eq=x")]
fn bash_completes_labels_as_they_are_typed(#[case] line: &str, #[case] label: &str) {
    if is_here("bash") {
        completes(&house(), "bash", line, label);
    }
}

#[rstest]
#[case(" two", "two words")]
#[case("=two", "two words")]
#[case(" 'quo", "quo'te")]
#[case(" mon", "mon$ey")]
#[case(" \"back", "back`tick")]
#[case(" a:b:c", "a:b:c one")]
#[case(" 日", "日本 語")]
#[case(" excl", "exclaim!x")]
fn zsh_completes_labels_as_they_are_typed(#[case] line: &str, #[case] label: &str) {
    if is_here("zsh") {
        completes(&house(), "zsh", line, label);
    }
}

/// What fish offers after this line.
fn fish_offers(house: &House, line: &str) -> Vec<String> {
    let mut fish = Command::new("fish");
    let script = "dispatch completions fish | source; complete -C $argv[1]";
    fish.args(["--no-config", "-c", script, line]);
    let ran = run(in_house(house, fish), b"").exits(0);
    assert_eq!(ran.stderr, "");
    let words = ran.stdout.lines();
    words
        .map(|word| word.split('\t').next().unwrap_or_default().to_owned())
        .collect()
}

#[test]
fn fish_offers_labels_as_they_are() {
    if !is_here("fish") {
        return;
    }
    let house = house();
    let mut offered = fish_offers(&house, "dispatch status --label ");
    let mut labels = LABELS.map(str::to_owned).to_vec();
    offered.sort();
    labels.sort();
    assert_eq!(offered, labels);
    assert_eq!(
        fish_offers(&house, "dispatch logs --label a:b:c"),
        ["a:b:c one"]
    );
    assert_eq!(
        fish_offers(&house, "dispatch wait "),
        [""; 0],
        "nothing runs"
    );
    let statuses = ["cancelled", "done", "error", "interrupted", "running"];
    assert_eq!(fish_offers(&house, "dispatch list --status "), statuses);
}

#[test]
fn bash_completes_flags_commands_and_statuses_beside_labels() {
    if !is_here("bash") {
        return;
    }
    let house = house();
    let answer = typed(&house, "bash", "dispatch --json lis");
    assert!(answer.contains("\"count\": 16"), "{answer}");
    let answer = typed(&house, "bash", "dispatch --json list --status err");
    assert!(answer.contains("\"count\": 0"), "{answer}");
    let answer = typed(&house, "bash", "dispatch list --jso");
    assert!(answer.contains("\"count\": 16"), "{answer}");
}

/// The labels that a script is told for this command.
fn told(house: &House, words: &[&str]) -> Vec<String> {
    let ran = house
        .dispatch(&[&["complete-labels"], words].concat())
        .exits(0);
    assert_eq!(ran.stderr, "", "{words:?}");
    ran.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn each_command_is_told_the_labels_it_can_do_something_with() {
    let house = House::new();
    house.write_ledger(
        r#"{
  "at-work": {"status": "running", "generation": 1},
  "ended": {"status": "done", "generation": 1},
  "owed": {"status": "error", "generation": 1, "deliveries": [
    {"key": "a", "kind": "result", "state": "parked", "target": "telegram:1", "attempts": 3}
  ]},
  "odd\nname": {"status": "running", "generation": 1}
}
"#,
    );
    for command in ["send", "steer", "cancel", "wait", "note", "done"] {
        assert_eq!(told(&house, &[command]), ["at-work"], "{command}");
    }
    for command in ["status", "result", "logs", "heartbeat", "enqueue"] {
        assert_eq!(
            told(&house, &[command]),
            ["at-work", "ended", "owed"],
            "{command}"
        );
    }
    assert_eq!(told(&house, &["redeliver"]), ["owed"]);
    assert_eq!(told(&house, &["watcher-handoff"]), ["at-work", "owed"]);
    assert_eq!(told(&house, &["status", "--", "en"]), ["ended"]);
    assert_eq!(told(&house, &["status", "--", "--json"]), [""; 0]);
}

#[test]
fn a_ledger_that_cannot_be_read_offers_nothing_without_a_word() {
    let house = House::new();
    assert_eq!(told(&house, &["status"]), [""; 0]);
    house.write_ledger("{\"torn");
    assert_eq!(told(&house, &["status"]), [""; 0]);
    let mut homeless = house.command("dispatch");
    homeless.env_remove("HOME").env_remove("DISPATCH_HOME");
    homeless.args(["complete-labels", "status"]);
    let ran = run(homeless, b"").exits(0);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert!(!Path::new(&house.path("state/labels.json.lock")).exists());
}
