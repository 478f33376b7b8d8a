//! `sync` and what `status` resolves, on local labels.

use super::doctor::house_at;
use crate::support::{House, eventually, kill_hard};

#[test]
fn what_is_watched_is_left_alone_and_what_is_not_gets_a_watcher() {
    let house = House::new();
    house.enqueue("work", "exec sleep 1000");
    let first = house.watcher_pid("work");
    let told = house.dispatch(&["sync"]).exits(0).json();
    assert_eq!((&told["changes"], &told["ok"]), (&0.into(), &true.into()));
    assert_eq!(told["details"], serde_json::json!([]));
    kill_hard(first);
    let told = house.dispatch(&["sync", "--dry-run"]).exits(0).json();
    assert_eq!(told["details"][0]["action"], "watched", "{told:#}");
    let told = house.dispatch(&["sync"]).exits(0).json();
    assert_eq!(
        (&told["changes"], &told["dryRun"]),
        (&0.into(), &false.into())
    );
    assert_ne!(house.watcher_pid("work"), first);
    assert_eq!(house.entry("work")["status"], "running");
}

#[test]
fn an_end_that_nobody_recorded_is_told_and_then_recorded() {
    let house = House::new();
    let go = house.root().join("go");
    let script = format!(
        "until [ -e {} ]; do sleep 0.01; done; echo over",
        go.display()
    );
    for label in ["synced", "shown"] {
        house.enqueue(label, &script);
        eventually("the run is seen", || {
            (house.entry(label)["phase"] == "running").then_some(())
        });
        kill_hard(house.watcher_pid(label));
    }
    std::fs::write(&go, "").expect("writable");
    let told = eventually("the ends are seen", || {
        let told = house.dispatch(&["sync", "--dry-run"]).exits(0).json();
        (told["changes"] == 2).then_some(told)
    });
    assert_eq!(told["details"][0]["from"], "running", "{told:#}");
    assert_eq!(told["details"][0]["to"], "done", "{told:#}");
    assert_eq!(house.entry("synced")["status"], "running");
    let shown = house
        .dispatch(&["status", "--label", "shown"])
        .exits(0)
        .json();
    assert_eq!(shown["status"], "done", "{shown:#}");
    assert_eq!(
        shown["syncAction"],
        "running -> done: the session has its reply"
    );
    let told = house.dispatch(&["sync"]).exits(0).json();
    assert_eq!(told["changes"], 1, "{told:#}");
    assert_eq!(house.full_text("synced"), "over\n");
    let shown = house
        .dispatch(&["status", "--label", "shown"])
        .exits(0)
        .json();
    assert_eq!(shown["syncAction"], serde_json::json!(null));
}

#[test]
fn a_result_that_is_to_be_verified_is_left_to_a_watcher() {
    let house = House::new();
    let go = house.root().join("go");
    let script = format!(
        "until [ -e {} ]; do sleep 0.01; done; echo over",
        go.display()
    );
    let words = [
        "enqueue",
        "--label",
        "v",
        "--verify-cmd",
        "false",
        "--",
        "sh",
        "-c",
        &script,
    ];
    house.dispatch(&words).exits(0);
    eventually("the run is seen", || {
        (house.entry("v")["phase"] == "running").then_some(())
    });
    kill_hard(house.watcher_pid("v"));
    std::fs::write(&go, "").expect("writable");
    let entry = eventually("the label ends", || {
        house.dispatch(&["sync"]).exits(0);
        let entry = house.entry("v");
        (entry["status"] != "running").then_some(entry)
    });
    assert_eq!(entry["status"], "error", "{entry:#}");
    assert_eq!(entry["failure"]["kind"], "verify", "{entry:#}");
}

#[test]
fn a_gateway_that_does_not_answer_is_no_success() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    let house = house_at(port);
    let ran = house.dispatch(&["sync"]).exits(1);
    assert_eq!(ran.json()["ok"], false);
    let told = "[dispatch] the gateway's sessions were neither checked nor imported: no gateway answers at ";
    assert!(ran.stderr.starts_with(told), "{ran:?}");
    // The older generation's sessions are in its files.
    let agent = house.root().join("user/.openclaw/agents/main");
    std::fs::create_dir_all(agent.join("sessions")).expect("creatable");
    let rows = serde_json::json!({
        "agent:main:subagent:1f": {"sessionId": "s1", "updatedAt": 1_795_265_402_037_u64, "status": "done", "label": "theirs"},
        "agent:main:subagent:2a": {"sessionId": "s2", "updatedAt": 1_795_265_402_037_u64, "status": "running"},
        "agent:main:main": {"sessionId": "s3", "updatedAt": 1_795_265_402_037_u64, "status": "done"},
    });
    std::fs::write(agent.join("sessions/sessions.json"), rows.to_string()).expect("writable");
    let ran = house.dispatch(&["sync"]).exits(0);
    assert_eq!(ran.json()["ok"], true);
    let told = "[dispatch] the gateway's sessions are taken from its files, because it was not to be asked: no gateway answers at ";
    assert!(ran.stderr.starts_with(told), "{ran:?}");
    assert_eq!(ran.json()["changes"], 1, "{ran:?}");
    assert_eq!(
        house.entry("theirs")["sessionKey"],
        "agent:main:subagent:1f"
    );
    // What the newer generation has replaced is history.
    std::fs::create_dir_all(agent.join("agent")).expect("creatable");
    std::fs::write(agent.join("agent/openclaw-agent.sqlite"), "").expect("writable");
    assert_eq!(house.dispatch(&["sync"]).exits(1).json()["ok"], false);
}
