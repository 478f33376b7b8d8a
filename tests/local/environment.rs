//! What a command finds around it: its prompt, its variables, its directory, its descriptors.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::support::{House, eventually, finish_soon, is_alive, run};

const MAX_ENVIRONMENT_PROMPT: usize = 96 * 1024;

/// Saves stdin, `DISPATCH_MESSAGE` and the file of `DISPATCH_MESSAGE_FILE`.
const SAVE_PROMPT: &str = r#"cat > stdin
cat "$DISPATCH_MESSAGE_FILE" > file
if [ -n "${DISPATCH_MESSAGE+set}" ]; then printf %s "$DISPATCH_MESSAGE" > variable; fi"#;

fn enqueue_with_prompt(house: &House, prompt: &[u8]) {
    let words = [
        "enqueue",
        "--label",
        "p",
        "--message-stdin",
        "--",
        "sh",
        "-c",
        SAVE_PROMPT,
    ];
    house.dispatch_with_stdin(&words, prompt).exits(0);
    assert_eq!(house.ended("p")["status"], "done");
    assert!(
        fs::read(house.path("stdin")).expect("saved") == prompt,
        "stdin differs"
    );
    assert!(
        fs::read(house.path("file")).expect("saved") == prompt,
        "the file differs"
    );
}

#[test]
fn a_prompt_reaches_the_command_byte_for_byte() {
    let prompt = "it's \"quoted\" $(touch hit) `touch hit` $HOME \\n %s\r\n\n  --label x\ttab\n\u{1f336}\n\n";
    let house = House::new();
    enqueue_with_prompt(&house, prompt.as_bytes());
    assert_eq!(house.text("variable"), prompt);
    assert!(!house.path("hit").exists());
    assert_eq!(house.entry("p")["taskPrompt"], prompt);
}

#[test]
fn a_prompt_with_a_nul_byte_and_invalid_utf8_is_whole_on_stdin_and_no_variable() {
    let house = House::new();
    enqueue_with_prompt(&house, b"a\0b\xff\xfec\n");
    assert!(!house.path("variable").exists());
}

#[test]
fn a_prompt_of_five_megabytes_is_whole_on_stdin_and_no_variable() {
    let prompt: Vec<u8> = (0..5_000_000u32).map(|n| (n % 251) as u8).collect();
    let house = House::new();
    enqueue_with_prompt(&house, &prompt);
    assert!(!house.path("variable").exists());
}

#[test]
fn the_variable_carries_prompts_up_to_its_limit_and_not_a_byte_more() {
    let house = House::new();
    enqueue_with_prompt(&house, "x".repeat(MAX_ENVIRONMENT_PROMPT).as_bytes());
    assert_eq!(house.text("variable").len(), MAX_ENVIRONMENT_PROMPT);
    let house = House::new();
    enqueue_with_prompt(&house, "x".repeat(MAX_ENVIRONMENT_PROMPT + 1).as_bytes());
    assert!(!house.path("variable").exists());
}

#[test]
fn a_command_without_a_prompt_reads_dev_null_and_has_no_message() {
    let house = House::new();
    let mut command = house.command("dispatch");
    // What the caller itself was given as a run is not handed down.
    command
        .args(["enqueue", "--label", "n", "--", "sh", "-c"])
        .arg(
            "readlink /proc/self/fd/0; echo ${DISPATCH_MESSAGE-none} ${DISPATCH_MESSAGE_FILE-none}",
        )
        .env("DISPATCH_MESSAGE", "the caller's")
        .env("DISPATCH_MESSAGE_FILE", "/the/callers");
    run(command, b"").exits(0);
    house.ended("n");
    assert_eq!(house.full_text("n"), "/dev/null\nnone none\n");
}

#[test]
fn a_command_knows_its_run_and_what_it_was_given() {
    let house = House::new();
    fs::create_dir(house.path("elsewhere")).expect("creatable");
    let script = "pwd; printf '%s\\n' \"$DISPATCH_LABEL\" \"$DISPATCH_SESSION_KEY\" \
        \"$DISPATCH_GENERATION\" \"$DISPATCH_MODEL\" \"$DISPATCH_THINKING\" \"$GIVEN\" \"$1\"";
    let words = [
        "enqueue",
        "--label",
        "my label/ä",
        "--cwd",
        "elsewhere",
        "--env",
        "GIVEN=a=b $c 'd'",
        "--model",
        "opus",
        "--thinking",
        "high",
        "--",
        "sh",
        "-c",
        script,
        "sh",
        "an argument $(x)",
    ];
    let answer = house.dispatch(&words).exits(0).json();
    let entry = house.ended("my label/ä");
    assert_eq!(answer["sessionKey"], entry["sessionKey"]);
    let elsewhere = fs::canonicalize(house.path("elsewhere")).expect("it exists");
    let expected = format!(
        "{}\nmy label/ä\n{}\n{}\nopus\nhigh\na=b $c 'd'\nan argument $(x)\n",
        elsewhere.display(),
        entry["sessionKey"].as_str().expect("a key"),
        entry["generation"],
    );
    assert_eq!(house.full_text("my label/ä"), expected);
}

#[test]
fn a_command_has_a_session_of_its_own_and_outlives_whoever_enqueued_it() {
    let house = House::new();
    let gate = house.gate("gate");
    // The caller's whole process group is killed once enqueue has answered.
    let mut caller = Command::new("sh");
    caller
        .args(["-c", "\"$0\" \"$@\" && kill -KILL 0"])
        .arg(crate::support::program("dispatch"))
        .args(["enqueue", "--label", "d", "--", "sh", "-c"])
        .arg("ps -o sid= -p $$ > sid; read go < gate; echo survived")
        .envs(
            house
                .command("dispatch")
                .get_envs()
                .filter_map(|(k, v)| Some((k, v?))),
        )
        .current_dir(house.root())
        .process_group(0);
    let caller = caller.spawn().expect("sh starts");
    let group = caller.id();
    finish_soon(caller);
    gate.open();
    assert_eq!(house.ended("d")["status"], "done");
    assert_eq!(house.full_text("d"), "survived\n");
    let session = house.text("sid").trim().parse::<u32>().expect("a number");
    assert_ne!(session, group);
    let own = Command::new("ps")
        .args(["-o", "sid=", "-p", &std::process::id().to_string()])
        .output()
        .expect("ps runs");
    assert_ne!(
        String::from_utf8_lossy(&own.stdout).trim(),
        session.to_string()
    );
}

#[test]
fn nothing_that_enqueue_leaves_behind_holds_a_descriptor_of_its_caller() {
    let house = House::new();
    let gate = house.gate("gate");
    // Fd 9 is open in the calling shell, as `exec 9>lock; flock 9` leaves it.
    let mut caller = Command::new("sh");
    caller
        .args(["-c", "exec 9> held; \"$0\" \"$@\""])
        .arg(crate::support::program("dispatch"))
        .args(["enqueue", "--label", "f", "--", "sh", "-c"])
        .arg("ls /proc/self/fd > fds; read go < gate")
        .envs(
            house
                .command("dispatch")
                .get_envs()
                .filter_map(|(k, v)| Some((k, v?))),
        )
        .current_dir(house.root());
    // That this returns at all shows that no pipe of ours is held either.
    run(caller, b"").exits(0);
    house.wrote("fds", "2");
    assert!(
        !house.text("fds").lines().any(|fd| fd == "9"),
        "{}",
        house.text("fds")
    );
    let held = fs::canonicalize(house.path("held")).expect("it exists");
    let carriers = [
        house.watcher_pid("f"),
        house.runner_pid("f"),
        house.waiter_pid("f"),
    ];
    for pid in carriers {
        assert!(is_alive(pid));
        for fd in fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("readable")
            .flatten()
        {
            assert_ne!(
                fs::read_link(fd.path()).unwrap_or_default(),
                held,
                "pid {pid}"
            );
        }
    }
    gate.open();
    house.ended("f");
}

#[test]
fn a_command_that_cannot_be_started_is_refused_before_anything_is_written() {
    let house = House::new();
    let ran = house
        .dispatch(&["enqueue", "--label", "x", "--", "no-such-program"])
        .exits(2);
    assert!(
        ran.stderr
            .contains("\"no-such-program\" does not exist or is not executable"),
        "{ran:?}"
    );
    assert!(!house.ledger_path().exists());
}

#[test]
fn a_command_whose_program_is_gone_when_its_turn_comes_is_a_spawn_failure() {
    let house = House::new();
    fs::write(house.path("odd"), "#!/no/such/interpreter\n").expect("writable");
    Command::new("chmod")
        .args(["+x", "odd"])
        .current_dir(house.root())
        .status()
        .expect("chmod runs");
    house
        .dispatch(&["enqueue", "--label", "x", "--", "./odd"])
        .exits(0);
    let entry = house.ended("x");
    assert_eq!(entry["status"], "error");
    assert_eq!(entry["failure"]["kind"], "spawn");
    eventually("the row is closed", || {
        (house.session_row("x")["status"] == "failed").then_some(())
    });
}
