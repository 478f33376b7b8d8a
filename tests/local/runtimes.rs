//! Registered runtimes: an agent's command line that stands in `config.json` instead of behind `--`.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{House, Ran, eventually};

/// Says its arguments and what it was given.
const TELLING: &str = r#"#!/bin/sh
for arg; do printf '<%s>' "$arg"; done
echo "|$(cat)|$DISPATCH_MESSAGE|$DISPATCH_MODEL|$FOO"
"#;

/// Notes its arguments, and fails as overloaded unless `b/2` is among them or it has failed `fails` times.
fn overloaded(fails: u32) -> String {
    format!(
        r#"#!/bin/sh
cat > /dev/null
n=$(wc -l < starts 2>/dev/null || echo 0)
echo "$*" >> starts
case "$*" in *b/2*) echo "answered: $*"; exit 0;; esac
if [ "$n" -lt {fails} ]; then echo 'API Error: 529 overloaded' >&2; exit 1; fi
echo "answered: $*"
"#
    )
}

/// A program in the house's root.
fn program(house: &House, name: &str, script: &str) {
    let path = house.path(name);
    fs::write(&path, script).expect("writable");
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&path, mode).expect("ours");
}

/// A house with the agents `teller` (which claims `told/*`) and `other`, in its root.
fn house() -> House {
    let house = House::new();
    program(&house, "teller", TELLING);
    program(&house, "other-agent", "#!/bin/sh\necho other: $(cat)\n");
    configure(&house, &json!({}));
    house
}

/// Registers the agents, and sets these keys beside.
fn configure(house: &House, more: &Value) {
    let mut config = json!({
        "runtimes": {
            "teller": {
                "command": ["./teller", "a b"],
                "models": ["told/*"],
                "modelArgs": ["--model", "{model}"],
            },
            "other": {"command": ["./other-agent"], "models": ["*"]},
        },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    house.configure(&config);
}

fn ask(house: &House, flags: &[&str]) -> Ran {
    let mut words = vec!["enqueue", "--label", "l", "--message", "the task"];
    words.extend(flags);
    house.dispatch(&words)
}

/// As [`ask`], with a variable of the environment.
fn ask_with(house: &House, variable: (&str, &str), flags: &[&str]) -> Ran {
    let mut command = house.command("dispatch");
    command
        .args(["enqueue", "--label", "l", "--message", "the task"])
        .args(flags)
        .env(variable.0, variable.1);
    crate::support::run(command, b"")
}

/// The runtime and the text of the label, once it has ended.
#[track_caller]
fn ended(house: &House) -> (String, String) {
    let entry = house.ended("l");
    assert_eq!(entry["status"], "done", "{entry:#}");
    let runtime = entry["runtime"].as_str().expect("a runtime").to_owned();
    // The row is closed last.
    eventually("the session's row is closed", || {
        (house.session_row("l")["status"] == "done").then_some(())
    });
    assert_eq!(house.session_row("l")["agentHarnessId"], runtime.as_str());
    (runtime, house.full_text("l"))
}

/// Asserts that the call is refused with this line, and that nothing is begun.
#[track_caller]
fn refused(house: &House, ran: Ran, line: &str) {
    let ran = ran.exits(2);
    let root = house.root().display().to_string();
    assert_eq!(
        ran.stderr.replace(&root, "ROOT"),
        format!("[dispatch] {line}\n")
    );
    assert_eq!(ran.stdout, "");
}

fn of(runtime: &str, text: &str) -> (String, String) {
    (runtime.to_owned(), text.to_owned())
}

#[test]
fn the_runtime_that_claims_the_model_gets_prompt_and_model_without_a_command() {
    let house = house();
    let flags = ["--model", "told/me $(no shell)", "--env", "FOO=bar"];
    let answer = ask(&house, &flags).exits(0).json();
    assert_eq!(
        (&answer["backend"], &answer["runtime"]),
        (&json!("local"), &json!("teller"))
    );
    let told = "<a b><--model><told/me $(no shell)>|the task|the task|told/me $(no shell)|bar\n";
    assert_eq!(ended(&house), of("teller", told));
    let status = house.dispatch(&["status", "--label", "l"]).exits(0).json();
    assert_eq!(status["runtime"], "teller");
    // The next in the file claims what the first does not; without a model nothing is appended.
    ask(&house, &["--model", "x"]).exits(0);
    assert_eq!(ended(&house), of("other", "other: the task\n"));
    ask(&house, &["--runtime", "teller"]).exits(0);
    assert_eq!(ended(&house), of("teller", "<a b>|the task|the task||\n"));
}

#[test]
fn the_nearest_choice_counts_and_a_command_is_the_nearest() {
    let house = house();
    configure(
        &house,
        &json!({"agents": {"main": {"runtime": {"id": "other"}}}}),
    );
    let variable = ("OPENCLAW_AGENT_RUNTIME", "teller");
    let model = ["--model", "told/x"];
    ask(&house, &model).exits(0);
    assert_eq!(ended(&house).0, "other");
    ask_with(&house, variable, &["--model", "x"]).exits(0);
    assert_eq!(ended(&house).0, "teller");
    ask_with(&house, variable, &["--runtime", "other"]).exits(0);
    assert_eq!(ended(&house).0, "other");
    ask(&house, &["--runtime", "auto", "--model", "told/x"]).exits(0);
    assert_eq!(ended(&house).0, "teller");
    let ran = ask_with(&house, variable, &["--", "echo", "mine"]).exits(0);
    assert_eq!(ran.stderr, "");
    assert_eq!(ended(&house), of("command", "mine\n"));
    ask(&house, &["--runtime", "command", "--", "echo", "mine"]).exits(0);
    assert_eq!(ended(&house), of("command", "mine\n"));
}

#[test]
fn an_overloaded_runtime_is_tried_again() {
    let house = house();
    program(&house, "teller", &overloaded(2));
    configure(&house, &json!({"retry": crate::retries::quick()}));
    ask(&house, &["--model", "told/x"]).exits(0);
    assert_eq!(
        ended(&house),
        of("teller", "answered: a b --model told/x\n")
    );
    assert_eq!(house.entry("l")["retryCount"], 2);
    assert_eq!(house.text("starts"), "a b --model told/x\n".repeat(3));
}

#[test]
fn each_attempt_is_told_of_its_own_model() {
    let house = house();
    program(&house, "teller", &overloaded(9));
    configure(&house, &json!({"retry": {"overloadSeconds": 3600}}));
    ask(&house, &["--model", "told/x", "--fallback-model", "b/2"]).exits(0);
    assert_eq!(ended(&house), of("teller", "answered: a b --model b/2\n"));
    assert_eq!(
        house.text("starts"),
        "a b --model told/x\na b --model b/2\n"
    );
    // The repetition begins with the first choice again.
    house.dispatch(&["retry", "--label", "l"]).exits(0);
    assert_eq!(ended(&house), of("teller", "answered: a b --model b/2\n"));
    assert_eq!(
        house.text("starts"),
        "a b --model told/x\na b --model b/2\n".repeat(2)
    );
}

#[test]
fn what_was_enqueued_stays_what_it_was_when_the_configuration_changes() {
    let house = house();
    let gate = house.gate("gate");
    let waiting = overloaded(1).replace("cat >", "[ -s starts ] || read go < gate; cat >");
    program(&house, "teller", &waiting);
    configure(&house, &json!({"retry": crate::retries::quick()}));
    ask(&house, &["--model", "told/x"]).exits(0);
    // Each of them has read the configuration by then.
    house.watcher_pid("l");
    house.waiter_pid("l");
    house.configure(&json!({
        "retry": crate::retries::quick(),
        "runtimes": {"new": {"command": ["./other-agent"], "models": ["*"]}},
    }));
    gate.open();
    let told = of("teller", "answered: a b --model told/x\n");
    assert_eq!(ended(&house), told);
    assert_eq!(house.entry("l")["attempt"], 2);
    let mut command = house.command("dispatch");
    command
        .args(["retry", "--label", "l"])
        .env("OPENCLAW_AGENT_RUNTIME", "new")
        .env("OPENCLAW_AGENT_HARNESS_FALLBACK", "new");
    crate::support::run(command, b"").exits(0);
    assert_eq!(ended(&house), told);
    ask(&house, &["--model", "told/x"]).exits(0);
    assert_eq!(ended(&house), of("new", "other: the task\n"));
}

#[test]
fn a_session_goes_on_with_its_runtime() {
    let house = house();
    let told = |model: &str| format!("<a b><--model><{model}>|the task|the task|{model}|\n");
    ask(&house, &["--runtime", "teller", "--model", "m/1"]).exits(0);
    assert_eq!(ended(&house).1, told("m/1"));
    let key = house.entry("l")["sessionKey"].clone();
    let key = key.as_str().expect("a key");
    let id = house.entry("l")["sessionId"].clone();
    configure(&house, &json!({"agents": {"main": {"runtime": "other"}}}));
    let reuse = ["--mode", "reuse"];
    ask_with(&house, ("OPENCLAW_AGENT_RUNTIME", "other"), &reuse).exits(0);
    assert_eq!(ended(&house), of("teller", &told("m/1")));
    assert_eq!(house.entry("l")["sessionId"], id);
    let named = ["--runtime", "teller", "--model", "m/2"];
    ask(&house, &[&reuse[..], &named].concat()).exits(0);
    assert_eq!(ended(&house), of("teller", &told("m/2")));
    let pinned = format!("the session {key} is pinned to the runtime \"teller\"");
    let other = format!("{pinned}; leave it out, or start a fresh session");
    refused(
        &house,
        ask(&house, &["--mode", "reuse", "--runtime", "other"]),
        &format!("--runtime other: {other}"),
    );
    let command = format!("the command after --: {other}");
    refused(
        &house,
        ask(&house, &["--mode", "reuse", "--", "cat"]),
        &command,
    );
    refused(
        &house,
        ask(&house, &["--session-key", key, "--", "cat"]),
        &command,
    );
    // As the ledger knows it, where the store has no row yet.
    let store = house.state().join("sessions/sessions.json");
    fs::write(&store, "{}").expect("writable");
    refused(
        &house,
        ask(&house, &["--mode", "reuse", "--", "cat"]),
        &command,
    );
    house.configure(&json!({"runtimes": {"tell": {"command": ["./teller"]}}}));
    let gone = format!(
        "{pinned}, which is not registered under \"runtimes\" in ROOT/state/config.json any more; add it, or start a fresh session"
    );
    refused(&house, ask(&house, &reuse), &gone);
}

#[test]
fn a_session_from_before_there_were_runtimes_runs_commands() {
    let house = house();
    house.enqueue("l", "echo first");
    ended(&house);
    let store = house.state().join("sessions/sessions.json");
    let rows = fs::read_to_string(&store).expect("readable");
    let pin = "\"agentHarnessId\": \"command\"";
    assert!(rows.contains(pin), "{rows}");
    let rows = rows.replace(pin, "\"agentHarness\": null");
    fs::write(&store, rows).expect("writable");
    let key = house.entry("l")["sessionKey"].clone();
    let key = key.as_str().expect("a key");
    refused(
        &house,
        ask(&house, &["--mode", "reuse", "--runtime", "teller"]),
        &format!(
            "--runtime teller: the session {key} is pinned to the runtime \"command\"; leave it out, or start a fresh session"
        ),
    );
    refused(
        &house,
        ask(&house, &["--mode", "reuse", "--model", "told/x"]),
        &format!(
            "the session {key} is pinned to the runtime \"command\", which runs what stands after --: add -- COMMAND [ARG...], or start a fresh session"
        ),
    );
    ask(&house, &["--mode", "reuse", "--", "cat"]).exits(0);
    assert_eq!(ended(&house), of("command", "the task"));
}

#[test]
fn the_runtime_is_content_and_its_command_line_is_not() {
    let house = house();
    let flags = ["--idempotency-key", "k", "--model", "told/x"];
    let first = ask(&house, &flags).exits(0).json();
    ended(&house);
    configure(
        &house,
        &json!({"runtimes": {
            "teller": {"command": ["./teller", "c"], "models": ["told/*"]},
            "other": {"command": ["./teller", "c"]},
        }}),
    );
    let again = ask(&house, &flags).exits(0).json();
    assert_eq!(again["repeated"], true);
    assert_eq!(again["generation"], first["generation"]);
    let other = [&flags[..], &["--runtime", "other"]].concat();
    let ran = ask(&house, &other).exits(1);
    assert!(ran.stderr.contains("belongs to other work"), "{ran:?}");
}

#[test]
fn a_call_that_was_answered_is_answered_again_whatever_is_registered() {
    let house = house();
    let asking = ["--idempotency-key", "k", "--model", "told/x"];
    let first = ask(&house, &asking).exits(0).json();
    ended(&house);
    let other = json!({"command": ["./other-agent"], "models": ["*"]});
    let gone = json!({"command": ["./gone"], "models": ["told/*"]});
    for runtimes in [
        json!({"first": other, "teller": {"command": ["./teller"], "models": ["told/*"]}}),
        json!({"other": {"command": ["./other-agent"]}}),
        json!({"teller": gone}),
        json!({}),
    ] {
        configure(&house, &json!({"runtimes": runtimes}));
        let again = ask(&house, &asking).exits(0);
        assert_eq!(again.stderr, "");
        let again = again.json();
        assert_eq!(
            (&again["repeated"], &again["runtime"]),
            (&json!(true), &json!("teller"))
        );
        assert_eq!(again["generation"], first["generation"]);
        let changed = ["--idempotency-key", "k", "--model", "told/y"];
        let line = "[dispatch] the idempotency key k belongs to other work (label \"l\"); use a key of its own\n";
        assert_eq!(ask(&house, &changed).exits(1).stderr, line);
    }
    // A new call has nothing that runs it.
    let ran = ask(&house, &["--idempotency-key", "k-2", "--model", "told/x"]).exits(2);
    assert_eq!(ran.stdout, "");
    assert_eq!(house.entry("l")["generation"], first["generation"]);
}

#[test]
fn a_fallback_is_refused_where_a_runtime_is_chosen_and_no_command_is_held_up() {
    let house = house();
    let variable = ("OPENCLAW_AGENT_HARNESS_FALLBACK", "pi");
    let line = "OPENCLAW_AGENT_HARNESS_FALLBACK is set, but a runtime never falls back to another; unset it, and name the runtime that you want with --runtime";
    for flags in [
        &["--model", "told/x"] as &[&str],
        &["--runtime", "teller"],
        &["--runtime", "command", "--", "true"],
    ] {
        refused(&house, ask_with(&house, variable, flags), line);
    }
    assert!(house.entry("l").is_null());
    let unset = ("OPENCLAW_AGENT_HARNESS_FALLBACK", "");
    ask_with(&house, unset, &["--model", "told/x"]).exits(0);
    assert_eq!(ended(&house).0, "teller");
    ask_with(&house, variable, &["--", "cat"]).exits(0);
    assert_eq!(ended(&house), of("command", "the task"));
}

#[test]
fn the_program_is_found_from_the_works_directory_and_has_to_be_there() {
    let house = house();
    let dir = house.path("elsewhere");
    fs::create_dir(&dir).expect("creatable");
    let cwd = ["--runtime", "teller", "--cwd", "elsewhere"];
    refused(
        &house,
        ask(&house, &cwd),
        "the runtime \"teller\": its program \"./teller\" does not exist or is not executable; check \"runtimes.teller.command\" in ROOT/state/config.json and your PATH",
    );
    program(&house, "elsewhere/teller", "#!/bin/sh\necho from there\n");
    ask(&house, &cwd).exits(0);
    assert_eq!(ended(&house).1, "from there\n");
    // It has to be there still when it is run once more.
    fs::remove_file(dir.join("teller")).expect("it is there");
    let ran = house.dispatch(&["retry", "--label", "l"]).exits(1);
    let told = ran
        .stderr
        .replace(&house.root().display().to_string(), "ROOT");
    assert_eq!(
        told,
        "[dispatch] label \"l\" cannot be retried: the runtime \"teller\": its program \"ROOT/elsewhere/./teller\" does not exist or is not executable; put it back, or enqueue the work anew\n"
    );
}

#[test]
fn a_gateway_takes_no_runtime_and_local_is_said_to_take_one() {
    let house = house();
    let gateway = ("OPENCLAW_GATEWAY_URL", "ws://127.0.0.1:1");
    let line = "--runtime is for local sessions; a gateway chooses for itself what runs its agents: leave it out, or add --backend local";
    refused(
        &house,
        ask_with(&house, gateway, &["--runtime", "teller"]),
        line,
    );
    refused(
        &house,
        ask(&house, &["--runtime", "auto", "--backend", "openclaw"]),
        line,
    );
    let local = ["--runtime", "teller", "--backend", "local"];
    ask_with(&house, gateway, &local).exits(0);
    assert_eq!(ended(&house).0, "teller");
}
