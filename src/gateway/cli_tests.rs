//! Calls through a stand-in for the `openclaw` program.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::gateway::{Client, Transport};

const LIMIT: Duration = Duration::from_secs(7);

/// A stand-in that notes the token and the arguments that it was given, and goes on as the script says.
fn endpoint(dir: &Path, script: &str) -> Endpoint {
    let program = dir.join("openclaw");
    let noted = dir.join("noted");
    let text = format!(
        "#!/bin/sh\necho \"$OPENCLAW_GATEWAY_TOKEN: $*\" >> '{}'\n{script}\n",
        noted.display()
    );
    // Another test's child may hold a file that is written here open for a moment; one that is renamed into place is not.
    let draft = dir.join("draft");
    fs::write(&draft, text).expect("writable");
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).expect("settable");
    fs::rename(&draft, &program).expect("movable");
    Endpoint {
        url: "ws://127.0.0.1:1/".to_owned(),
        secret: Secret::Token("s3cret".to_owned()),
        transport: Transport::Cli(Cli {
            program,
            paired_mark: dir.join("mark"),
        }),
        session: json!({"scope": "global"}),
    }
}

fn noted(dir: &Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join("noted")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_call_is_a_process_with_the_token_in_its_environment() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("mark"), "").expect("writable");
    let answer = r#"echo '[plugins] loaded'; echo '{"sessions":{"path":"/s/agent.sqlite"}}'"#;
    let endpoint = endpoint(dir.path(), answer);
    let mut client = Client::connect(&endpoint, LIMIT).expect("it answers");
    assert_eq!(client.generation(), Generation::Database);
    assert!(client.is_costly());
    client
        .call("sessions.get", &json!({"key": "a b"}), LIMIT)
        .expect("it answers");
    assert_eq!(
        noted(dir.path()),
        [
            "s3cret: gateway call health --json --params {} --timeout 7000",
            "s3cret: gateway call sessions.get --json --params {\"key\":\"a b\"} --timeout 7000",
        ]
    );
    assert_eq!(client.routing().route("agent:x:main").queue, "global");
}

#[test]
fn the_first_call_of_all_asks_for_the_widest_scope() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let script = "case $3 in\nhealth) echo '{}' ;;\n*) echo 'Gateway call failed: GatewayClientRequestError: invalid params: s3cret' >&2; exit 1 ;;\nesac";
    let endpoint = endpoint(dir.path(), script);
    let mut client = Client::connect(&endpoint, LIMIT).expect("it answers");
    let lines = noted(dir.path());
    let methods: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split(' ').nth(3))
        .collect();
    assert_eq!(methods, ["cron.remove", "health"]);
    let error = client.call("agent", &json!({}), LIMIT);
    assert_eq!(
        error.expect_err("refused").to_string(),
        "the gateway refused agent: invalid params: ***"
    );
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut endpoint = endpoint(dir.path(), "");
    if let Transport::Cli(cli) = &mut endpoint.transport {
        cli.program = dir.path().join("gone");
    }
    let error = Client::connect(&endpoint, LIMIT)
        .err()
        .expect("no program")
        .to_string();
    assert!(
        error.contains("gone") && error.contains("gateway.cli"),
        "{error}"
    );
}

#[test]
fn a_prompt_that_no_argument_can_carry_is_refused_before_anything_starts() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    fs::write(dir.path().join("mark"), "").expect("writable");
    let endpoint = endpoint(dir.path(), "echo '{}'");
    let mut client = Client::connect(&endpoint, LIMIT).expect("it answers");
    let params = json!({"message": "x".repeat(MAX_PARAMS_BYTES)});
    let error = client.call("agent", &params, LIMIT).expect_err("too large");
    assert!(error.refusal().is_some(), "{error}");
    assert_eq!(noted(dir.path()).len(), 1);
}
