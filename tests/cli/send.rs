//! `send` and `steer`: what they refuse without a gateway.

use super::{house_with_one_label, refused};
use crate::support::House;

#[test]
fn both_names_refuse_a_label_that_has_ended_and_say_how_to_go_on() {
    let house = house_with_one_label();
    let sentence = "label \"nightly-build\" is not running: it is done; go on with its session by: dispatch enqueue --label nightly-build --mode reuse";
    for name in ["send", "steer"] {
        let words = [name, "--label", "nightly-build", "--message", "x"];
        refused(&house, &words, 1, sentence);
    }
}

#[test]
fn a_local_command_takes_no_messages() {
    let house = House::new();
    house.enqueue("local", "exec sleep 1000");
    let key = house.entry("local")["sessionKey"].clone();
    let key = key.as_str().expect("a text");
    for target in [["--label", "local"], ["--session-key", key]] {
        let words = ["steer", target[0], target[1], "--message", "x"];
        let refused = house.dispatch(&words).exits(1);
        assert_eq!(
            refused.stderr,
            "[dispatch] label \"local\" runs on the local backend, whose commands take no further messages; wait for it, or cancel it\n"
        );
    }
    assert!(house.entry("local")["steers"].is_null());
}

#[test]
fn a_message_has_one_source_and_one_receiver() {
    let house = house_with_one_label();
    let both = [
        "send",
        "--session-key",
        "agent:main:main",
        "--message",
        "x",
        "--message-stdin",
    ];
    refused(
        &house,
        &both,
        2,
        "--message and --message-stdin are both given; choose one source for the prompt",
    );
    let none = ["send", "--session-key", "agent:main:main"];
    refused(
        &house,
        &none,
        2,
        "a message is needed: give --message, --message-file, --message-env, --message-stdin, or pipe it in",
    );
    let key = ["send", "--session-key", "main", "--message", "x"];
    refused(
        &house,
        &key,
        2,
        "--session-key: \"main\" is no session key: expected agent:<agentId>:<rest>",
    );
    let ran = house.dispatch(&["send", "--message", "x"]).exits(2);
    assert!(ran.stderr.contains("--label"), "{ran:?}");
}
