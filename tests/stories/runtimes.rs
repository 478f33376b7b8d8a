//! Runtimes: agents that are registered, what names one that is not there, and how a session's is shown.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{left, refuses, tells};
use crate::support::House;

/// A house with an agent on its PATH, registered under two ids.
fn house() -> House {
    let house = House::new();
    let bin = house.path("bin");
    fs::create_dir(&bin).expect("creatable");
    let agent = bin.join("agent");
    fs::write(&agent, "#!/bin/sh\necho \"$*: $(cat)\"\n").expect("writable");
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).expect("ours");
    house.write_config(
        r#"{
  "runtimes": {
    "claude": {"command": ["agent", "-p"], "models": ["anthropic/*", "claude-*"], "modelArgs": ["--model", "{model}"]},
    "codex": {"command": ["agent", "exec"], "models": ["openai/*"]}
  },
  "agents": {"ops": {"runtime": "codx"}, "shell": {"runtime": "command"}}
}"#,
    );
    house
}

#[test]
fn a_prompt_is_handed_to_the_runtime_that_claims_the_model() {
    let house = house();
    tells(
        &house,
        r#"
$ dispatch enqueue --label notes --message 'Sum up' --model anthropic/opus --wait --output table
🌶️ *dispatch* [notes] completed:

-p --model anthropic/opus: Sum up
"#,
    );
    left(&house, "notes");
    tells(
        &house,
        r#"
$ dispatch status --label notes --output table
label      notes
status     done
started    AGO
took       TOOK
backend    local
runtime    claude
session    agent:main:subagent:UUID-1
summary    -p --model anthropic/opus: Sum up
full text  ROOT/state/artifacts/dispatch-completions/FILE
$ dispatch enqueue --label notes --mode reuse --message More
{
  "ok": true,
  "label": "notes",
  "sessionKey": "agent:main:subagent:UUID-1",
  "runId": "UUID-2",
  "mode": "reuse",
  "agent": "main",
  "status": "accepted",
  "delivery": {
    "status": "missing",
    "mode": "announce",
    "channel": null,
    "target": null,
    "reason": "delivery target missing or not recorded"
  },
  "watchdog": {
    "enabled": true,
    "jobId": null,
    "interval": "*/15 * * * *",
    "timeout": 60
  },
  "backend": "local",
  "runtime": "claude",
  "generation": MS,
  "message": "Session spawned. Its result is read with 'dispatch result' and waited for with 'dispatch wait'."
}
"#,
    );
    house.ended("notes");
    left(&house, "notes");
    tells(
        &house,
        r#"
$ dispatch enqueue --label notes --mode reuse --message More --runtime codex
2> [dispatch] --runtime codex: the session agent:main:subagent:UUID-1 is pinned to the runtime "claude"; leave it out, or start a fresh session
=> 2
$ dispatch enqueue --label notes --mode reuse -- true
2> [dispatch] the command after --: the session agent:main:subagent:UUID-1 is pinned to the runtime "claude"; leave it out, or start a fresh session
=> 2
"#,
    );
}

#[test]
fn what_does_not_say_what_to_run_is_refused() {
    refuses(
        &house(),
        r#"
$ dispatch enqueue --label x --message hi
2> [dispatch] no gateway is configured, so the local backend is chosen, and it needs a command to run: add -- COMMAND [ARG...], or --runtime ID (registered: claude, codex)
=> 2
$ dispatch enqueue --label x --message hi --model google/gemini --backend local
2> [dispatch] the local backend needs a command to run, for no registered runtime's "models" match google/gemini: add -- COMMAND [ARG...], or --runtime ID (registered: claude, codex)
=> 2
$ dispatch enqueue --label x --message hi --runtime command
2> [dispatch] --runtime: the runtime "command" runs what stands after --, and nothing does: add -- COMMAND [ARG...]
=> 2
$ dispatch enqueue --label x --message hi --agent shell
2> [dispatch] "agents.shell.runtime": the runtime "command" runs what stands after --, and nothing does: add -- COMMAND [ARG...]
=> 2
$ dispatch enqueue --label x --runtime claude
2> [dispatch] a prompt is needed: give --message, --message-file, --message-env, --message-stdin, or pipe it in
=> 2
$ dispatch enqueue --label x --message hi --runtime claude -- true
2> [dispatch] --runtime claude brings its own command, and another stands after --; leave one of the two out
=> 2
"#,
    );
}

#[test]
fn a_runtime_that_is_not_there_is_refused_with_the_nearest() {
    let house = house();
    refuses(
        &house,
        r#"
$ dispatch enqueue --label x --message hi --runtime claud
2> [dispatch] --runtime: the configuration ROOT/state/config.json names no "claud" under "runtimes"; did you mean claude?
=> 2
$ dispatch enqueue --label x --runtime gemini -- true
2> [dispatch] --runtime: the configuration ROOT/state/config.json names no "gemini" under "runtimes"; add it
=> 2
$ OPENCLAW_AGENT_RUNTIME=pi dispatch enqueue --label x --message hi --model anthropic/opus
2> [dispatch] OPENCLAW_AGENT_RUNTIME: the configuration ROOT/state/config.json names no "pi" under "runtimes"; add it
=> 2
$ dispatch enqueue --label x --message hi --agent ops
2> [dispatch] "agents.ops.runtime": the configuration ROOT/state/config.json names no "codx" under "runtimes"; did you mean codex?
=> 2
$ OPENCLAW_AGENT_HARNESS_FALLBACK=pi dispatch enqueue --label x --message hi --runtime claude
2> [dispatch] OPENCLAW_AGENT_HARNESS_FALLBACK is set, but a runtime never falls back to another; unset it, and name the runtime that you want with --runtime
=> 2
"#,
    );
    fs::remove_file(house.path("bin/agent")).expect("it is there");
    refuses(
        &house,
        r#"
$ dispatch enqueue --label x --message hi --runtime claude
2> [dispatch] the runtime "claude": its program "agent" does not exist or is not executable; check "runtimes.claude.command" in ROOT/state/config.json and your PATH
=> 2
"#,
    );
}

#[test]
fn a_configuration_with_a_fallback_or_a_reserved_id_is_refused() {
    let house = house();
    for (config, story) in [
        (
            r#"{"agents": {"ops": {"runtime": "claude", "fallback": "pi"}}}"#,
            r#"
$ dispatch list
2> [dispatch] the configuration ROOT/state/config.json is not usable: "agents.ops.fallback": a runtime never falls back to another; take the key out, and name the runtime that you want
=> 2
"#,
        ),
        (
            r#"{"agents": {"ops": {"runtime": {"id": "claude", "fallback": "none"}}}}"#,
            r#"
$ dispatch list
2> [dispatch] the configuration ROOT/state/config.json is not usable: "agents.ops.runtime.fallback": a runtime never falls back to another; take the key out, and name the runtime that you want
=> 2
"#,
        ),
        (
            r#"{"runtimes": {"claude": {"command": ["agent"], "fallback": "codex"}}}"#,
            r#"
$ dispatch list
2> [dispatch] the configuration ROOT/state/config.json is not usable: "runtimes.claude.fallback": a runtime never falls back to another; take the key out, and name the runtime that you want
=> 2
"#,
        ),
        (
            r#"{"runtimes": {"auto": {"command": ["agent"]}}}"#,
            r#"
$ dispatch list
2> [dispatch] the configuration ROOT/state/config.json is not usable: "runtimes.auto": the id is taken: auto leaves the choice to the models; give the runtime another
=> 2
"#,
        ),
        (
            r#"{"runtimes": {"command": {"command": ["agent"]}}}"#,
            r#"
$ dispatch list
2> [dispatch] the configuration ROOT/state/config.json is not usable: "runtimes.command": the id is taken: command is the runtime that runs what stands after --; give the runtime another
=> 2
"#,
        ),
        (
            r#"{"runtimes": {"": {"command": ["agent"]}}}"#,
            r#"
$ dispatch list
2> [dispatch] the configuration ROOT/state/config.json is not usable: "runtimes.": the id is empty, and nothing could name the runtime; give it one
=> 2
"#,
        ),
        (
            r#"{"runtimes": {"claude": {"command": "agent -p"}}}"#,
            r#"
$ dispatch list
2> [dispatch] the configuration ROOT/state/config.json is not usable: "runtimes.claude.command" must be a list of texts such as ["claude", "-p"], not something else; mend it or take it out
=> 2
"#,
        ),
    ] {
        house.write_config(config);
        refuses(&house, story);
    }
    // What carries completions goes on.
    house.write_config(
        r#"{"runtimes": {"claude": {"command": ["agent"], "fallback": "codex", "model": ["*"]}}}"#,
    );
    tells(
        &house,
        r#"
$ 529-recovery
2> [dispatch] the configuration ROOT/state/config.json has an unknown key "runtimes.claude.model"; did you mean "runtimes.claude.models"?
2> [dispatch] the configuration ROOT/state/config.json is not usable: "runtimes.claude.fallback": a runtime never falls back to another; take the key out, and name the runtime that you want; going on with the default
"#,
    );
}

#[test]
fn doctor_names_the_runtimes_that_cannot_be_run() {
    let house = house();
    house.write_config(
        r#"{
  "runtimes": {
    "claude": {"command": ["agent"]},
    "codex": {"command": ["no-such-agent", "exec"]},
    "mine": {"command": ["./in-the-works-directory"]}
  },
  "agents": {"ops": {"runtime": "codx"}}
}"#,
    );
    let checks = |house: &House| -> Vec<String> {
        let told = super::typed(house, "dispatch doctor").json();
        let checks = told["checks"].as_array().into_iter().flatten();
        let ours = checks.filter(|check| {
            let message = check["message"].as_str().unwrap_or_default();
            check["name"] == "runtimes" || message.contains("agents.ops")
        });
        let line = |check: &serde_json::Value| {
            let message = check["message"].as_str().unwrap_or_default();
            let root = house.root().display().to_string();
            format!(
                "{} {}",
                check["state"].as_str().unwrap_or_default(),
                message.replace(&root, "ROOT")
            )
        };
        ours.map(line).collect()
    };
    assert_eq!(
        checks(&house),
        [
            "wrong the configuration ROOT/state/config.json: \"agents.ops.runtime\" is codx, and \"runtimes\" has no \"codx\"",
            "warn the runtime \"codex\" cannot be run: \"no-such-agent\" does not exist or is not executable; install it, or mend \"runtimes.codex.command\" in ROOT/state/config.json or your PATH",
        ]
    );
    house.write_config(r#"{"runtimes": {"claude": {"command": ["agent"]}}}"#);
    assert_eq!(checks(&house), ["ok 1 runtime is registered"]);
}
