//! The main job, as the README has it.

use crate::support::House;

#[test]
fn work_is_handed_over_watched_and_its_result_read() {
    let house = House::new();
    let answer = house
        .dispatch(&[
            "enqueue",
            "--label",
            "hello",
            "--message",
            "Say hi",
            "--",
            "sh",
            "-c",
            "cat; echo; echo and hi",
        ])
        .exits(0)
        .json();
    assert_eq!(answer["status"], "accepted");
    house.dispatch(&["wait", "hello"]).exits(0);
    let result = house
        .dispatch(&["result", "--label", "hello"])
        .exits(0)
        .json();
    assert_eq!(result["lastReply"], "Say hi\nand hi\n");
    let path = house
        .dispatch(&["result", "--label", "hello", "--path"])
        .exits(0)
        .stdout;
    let text = std::fs::read_to_string(path.trim_end()).expect("the artifact is there");
    assert_eq!(text, "Say hi\nand hi\n");
}
