//! A gateway that is killed in the middle of its runs and started again.

use rstest::rstest;
use serde_json::json;

use super::gateways::{Gateway, Version, in_a_runs_time};
use crate::support::{eventually, kill_hard};

#[rstest]
fn a_restarted_gateway_leaves_no_label_hanging_and_no_reply_lost(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = Gateway::start(version, "restarted") else {
        return;
    };
    let house = gateway.house();
    house.configure(&json!({"retry": {"restartSeconds": 0.1}}));
    house.ask("cut", "Cut me. @fake gate=cut reply=\"Grown again.\"", &[]);
    house.ask("kept", "Keep this. @fake gate=kept long=400", &[]);
    house.ask("done", "Nearly there. @fake reply=\"Just in time.\"", &[]);
    house.ask("stop", "Stop me. @fake hang", &[]);
    house.model_is_asked("Cut me.");
    house.model_is_asked("Stop me.");
    house.model_is_asked("Keep this.");
    assert_eq!(house.reply("done"), "Just in time.");
    let sent = ["send", "--label", "cut", "--message", "Also trim it."];
    house.dispatch(&sent).exits(0);
    // This run ends while nobody watches, then the gateway forgets it.
    kill_hard(house.watcher_pid("kept"));
    gateway.open_gate("kept");
    in_a_runs_time("the reply is written", || {
        let logs = house.dispatch(&["logs", "--label", "kept"]);
        logs.stdout.contains("All work and no play").then_some(())
    });
    gateway.kill();
    let stop = house.dispatch(&["cancel", "--label", "stop"]).exits(1);
    let message = stop.json()["message"].clone();
    let told = "and the watcher cancels the session once it does";
    assert!(
        message.as_str().is_some_and(|m| m.ends_with(told)),
        "{stop:?}"
    );
    gateway.bring_up();
    house.recover();
    let reply = house.reply("kept");
    assert!(reply.starts_with("1: All work"), "{reply}");
    let entry = house.settled("stop");
    assert_eq!(entry["status"], "cancelled", "{entry:#}");
    in_a_runs_time("it is asked again", || {
        (house.model_requests("Cut me.").len() == 2).then_some(())
    });
    // The message that was sent into the first attempt is told to the second.
    let again = house.model_requests("This is a retry");
    let prompt = again[0]["prompt"].to_string();
    assert!(prompt.contains("Also trim it."), "{prompt}");
    gateway.open_gate("cut");
    assert_eq!(house.reply("cut"), "Grown again.");
    let entry = house.entry("cut");
    let counts = ["attempt", "gwRestartRetryCount", "retryCount"].map(|name| entry[name].clone());
    assert_eq!(counts, [json!(2), json!(1), json!(null)], "{entry:#}");
    assert_eq!(house.model_requests("Cut me.").len(), 2);
    assert_eq!(house.reply("done"), "Just in time.");
    eventually("the watchers leave", || {
        house.processes().is_empty().then_some(())
    });
}
