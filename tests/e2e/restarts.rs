//! A gateway that is killed in the middle of a run and started again.

use rstest::rstest;

use super::gateways::{Gateway, Version};
use crate::support::{eventually, kill_hard};

#[rstest]
fn a_restarted_gateway_leaves_no_label_hanging(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = Gateway::start(version, "restart") else {
        return;
    };
    let house = gateway.house();
    house.ask("cut", "Cut me. @fake hang", &[]);
    house.ask("late", "Nearly there. @fake reply=\"Just in time.\"", &[]);
    house.model_is_asked("Cut me.");
    assert_eq!(house.reply("late"), "Just in time.");
    gateway.kill();
    gateway.bring_up();
    let entry = house.settled("cut");
    assert_eq!(
        entry["status"],
        "error",
        "{entry:#}\n{}",
        house.watcher_log("cut")
    );
    assert_eq!(entry["failure"]["kind"], "gateway-restart", "{entry:#}");
    println!("{entry:#}\n{}", house.watcher_log("cut"));
    assert_eq!(house.model_requests("Cut me.").len(), 1);
}

/// The run ends while nobody watches, then the gateway forgets it.
#[rstest]
fn a_reply_that_was_complete_before_the_restart_counts(
    #[values(Version::Old, Version::New)] version: Version,
) {
    let Some(gateway) = Gateway::start(version, "complete") else {
        return;
    };
    let house = gateway.house();
    house.ask("kept", "Keep this. @fake delay=3 long=400", &[]);
    house.model_is_asked("Keep this.");
    kill_hard(house.watcher_pid("kept"));
    eventually("the reply is written", || {
        let logs = house.dispatch(&["logs", "--label", "kept"]);
        logs.stdout.contains("and no play").then_some(())
    });
    gateway.kill();
    gateway.bring_up();
    house.recover();
    let reply = house.reply("kept");
    assert!(reply.starts_with("1: All work"), "{reply}");
}
