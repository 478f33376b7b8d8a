//! What a gateway does not take, and one that is not there.

use std::net::TcpListener;

use rstest::rstest;
use serde_json::json;

use super::gateways::Version;
use crate::support::eventually;

#[rstest]
fn a_wrong_token_is_told_before_anything_is_written(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let gateway = version.gateway().expect("it runs");
    let mut config = gateway.config();
    config["gateway"]["auth"]["token"] = json!("not-the-secret");
    house.use_config(&config);
    let ran = house.try_to_ask("door", "Let me in.", &[]).exits(1);
    assert!(!ran.stderr.contains("not-the-secret"), "{ran:?}");
    println!("{}", ran.stderr);
    assert!(ran.stderr.contains("token mismatch"), "{ran:?}");
    assert!(house.entry("door").is_null());
    assert!(house.model_requests("Let me in.").is_empty());
}

#[test]
fn a_gateway_that_is_not_running_is_told_before_anything_is_written() {
    let Some(house) = Version::New.house() else {
        return;
    };
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    house.use_config(&json!({"gateway": {"port": port, "auth": {"token": "t0ken-value"}}}));
    let ran = house.try_to_ask("none", "Anybody?", &[]).exits(1);
    println!("{}", ran.stderr);
    assert!(
        ran.stderr
            .contains(&format!("no gateway answers at ws://127.0.0.1:{port}/")),
        "{ran:?}"
    );
    assert!(!ran.stderr.contains("t0ken-value"), "{ran:?}");
    assert!(house.entry("none").is_null());
}

#[rstest]
fn a_thinking_level_that_the_model_lacks_ends_the_label(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let ran = house.try_to_ask("deep", "Think hard.", &["--thinking", "high"]);
    println!("{ran:?}");
    let entry = house.settled("deep");
    println!("{entry:#}");
    assert_eq!(entry["status"], "error");
    assert!(
        entry["error"].to_string().contains("not supported"),
        "{entry:#}"
    );
    eventually("the watcher leaves", || {
        house.processes().is_empty().then_some(())
    });
}

#[rstest]
fn an_agent_that_the_gateway_does_not_have_is_refused(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let ran = house
        .try_to_ask("who", "Who are you?", &["--agent", "nobody"])
        .exits(1);
    println!("{ran:?}");
    let entry = house.entry("who");
    println!("{entry:#}");
    assert_eq!(entry["status"], "error");
    assert_eq!(entry["failure"]["kind"], "spawn");
    eventually("the watcher leaves", || {
        house.processes().is_empty().then_some(())
    });
    assert_eq!(house.entry("who")["status"], "error");
}
