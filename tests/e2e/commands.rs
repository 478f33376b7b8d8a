//! The commands on a gateway's sessions answer as on local ones, and the token never shows.

use std::fs;

use rstest::rstest;

use super::gateways::Version;
use crate::support::{finish_soon, kill_hard};

#[rstest]
fn the_commands_tell_of_a_running_label_and_of_its_end(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let prompt = "Tell me. @fake gate=tell drip=100 reply=\"one two three four five six seven eight nine ten\"";
    house.ask("tell", prompt, &[]);
    house.model_is_asked("Tell me.");
    let follower = house.start("dispatch", &["logs", "--label", "tell", "-f"]);
    let status = house
        .dispatch(&["status", "--label", "tell"])
        .exits(0)
        .json();
    assert_eq!(status["status"], "running", "{status:#}");
    assert_eq!(status["liveness"]["alive"], true, "{status:#}");
    assert_eq!(status["watcher"]["alive"], true, "{status:#}");
    let result = house
        .dispatch(&["result", "--label", "tell"])
        .exits(1)
        .json();
    assert_eq!(result["ok"], false, "{result:#}");
    let list = house.dispatch(&["list"]).exits(0).json();
    assert_eq!(list["labels"][0]["label"], "tell", "{list:#}");
    version.gateway().expect("it runs").open_gate("tell");
    assert_eq!(house.settled("tell")["status"], "done");
    let result = house
        .dispatch(&["result", "--label", "tell"])
        .exits(0)
        .json();
    let text = "one two three four five six seven eight nine ten";
    assert_eq!(result["lastReply"], text);
    let status = house
        .dispatch(&["status", "--label", "tell"])
        .exits(0)
        .json();
    assert_eq!(status["status"], "done", "{status:#}");
    let key = house.entry("tell")["sessionKey"].clone();
    let key = key.as_str().expect("a text");
    for words in [["--label", "tell"], ["--session-key", key]] {
        let beat = house.dispatch(&[&["heartbeat"], &words[..]].concat());
        let beat = beat.exits(0).json();
        assert_eq!((&beat["ok"], &beat["alive"]), (&true.into(), &true.into()));
        assert_eq!(beat["sessionKey"], key, "{beat:#}");
        assert!(beat["ageMs"].as_i64() < Some(600_000), "{beat:#}");
    }
    let nobody = "agent:main:subagent:nobody";
    let beat = house.dispatch(&["heartbeat", "--session-key", nobody]);
    assert_eq!(beat.exits(0).json()["ok"], false);
    let followed = finish_soon(follower);
    assert_eq!(followed.code, Some(0), "{followed:?}");
    assert!(followed.stdout.contains("user"), "{followed:?}");
    assert!(followed.stdout.contains(text), "{followed:?}");
    let told = house.dispatch(&["logs", "--label", "tell"]).exits(0);
    assert_eq!(told.stdout, followed.stdout);
}

#[rstest]
fn a_killed_watcher_is_replaced_and_the_result_comes_once(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    house.ask(
        "watch",
        "Take time. @fake gate=watch reply=\"Time is up.\"",
        &[],
    );
    house.model_is_asked("Take time.");
    kill_hard(house.watcher_pid("watch"));
    house.recover();
    version.gateway().expect("it runs").open_gate("watch");
    assert_eq!(house.reply("watch"), "Time is up.");
    let entry = house.entry("watch");
    assert_eq!(entry["attempt"], 1);
    assert_eq!(house.model_requests("Take time.").len(), 1);
    let kept =
        fs::read_dir(house.state().join("artifacts/dispatch-completions")).expect("readable");
    assert_eq!(kept.count(), 1);
}

#[rstest]
fn the_token_never_shows(#[values(Version::Old, Version::New)] version: Version) {
    let Some(house) = version.house() else { return };
    let token = version.gateway().expect("it runs").token();
    house.ask(
        "quiet",
        "Be quiet. @fake delay=2 reply=\"Quiet.\"",
        &["--deliver-to", "12345"],
    );
    let status = house.dispatch(&["status", "--label", "quiet"]).exits(0);
    for pid in house.processes() {
        let argv = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(
            !String::from_utf8_lossy(&argv).contains(&token),
            "in the command line of {pid}"
        );
    }
    let text = house.reply("quiet");
    house.ask("bad", "Be bad. @fake error=400", &["--thinking", "off"]);
    let entry = house.settled("bad");
    let doctor = house.dispatch(&["doctor"]);
    for said in [
        status.stdout,
        status.stderr,
        text,
        entry.to_string(),
        doctor.stdout,
        doctor.stderr,
    ] {
        assert!(!said.contains(&token), "{said}");
    }
    for (path, content) in house.state_files() {
        assert!(
            !String::from_utf8_lossy(&content).contains(&token),
            "in {}",
            path.display()
        );
    }
}

#[rstest]
fn a_retry_asks_for_the_whole_prompt_once_more_in_a_session_of_its_own(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(house) = version.house() else { return };
    let long = format!(
        "Say it again. {} @fake reply=\"Said.\"",
        "word ".repeat(600)
    );
    let asked = house.ask("again", &long, &["--thinking", "off"]);
    assert_eq!(
        asked.stderr,
        "[dispatch] no --timeout: 300 s are assumed; give one, such as --timeout 20m\n"
    );
    assert_eq!(house.reply("again"), "Said.");
    let first = house.entry("again");
    let words = [
        "enqueue",
        "--label",
        "x",
        "--message",
        "x",
        "--runtime",
        "auto",
    ];
    let ran = house.dispatch(&words).exits(2);
    assert_eq!(
        ran.stderr,
        "[dispatch] --runtime is for local sessions; a gateway chooses for itself what runs its agents: leave it out, or add --backend local\n"
    );
    let ran = house.dispatch(&["retry", "--label", "again"]).exits(0);
    assert_eq!(ran.stderr, "");
    assert_eq!(ran.json()["retryOf"], first["generation"]);
    assert_eq!(house.reply("again"), "Said.");
    let second = house.entry("again");
    assert_ne!(second["sessionKey"], first["sessionKey"]);
    for field in [
        "thinking",
        "timeoutSeconds",
        "noMonitor",
        "taskPrompt",
        "agent",
    ] {
        assert_eq!(second[field], first[field], "{field}");
    }
    // What the model is to say stands at the prompt's end.
    assert_eq!(house.model_requests("Say it again.").len(), 2);
}
