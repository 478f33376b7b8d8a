//! What a command printed, as its result: odd bytes, nothing at all, very much.

use std::fs;

use crate::ledger::full_disk::SmallDisk;
use crate::support::{House, eventually, is_alive};

/// The default of the inline limit.
const INLINE_LIMIT: usize = 61_440;

#[test]
fn output_that_is_no_utf8_is_replaced_and_kept_raw() {
    let house = House::new();
    house.enqueue("raw", r"printf 'caf\351 \360\237\214 end'");
    house.ended("raw");
    assert_eq!(house.full_text("raw"), "caf\u{fffd} \u{fffd} end");
    let raw = fs::read(house.run_dir("raw").join("stdout")).expect("kept");
    assert_eq!(raw, b"caf\xe9 \xf0\x9f\x8c end");
}

#[test]
fn a_command_that_prints_nothing_is_done_and_says_so() {
    let house = House::new();
    for (label, script) in [("nothing", "exit 0"), ("blank", "echo; echo ' '")] {
        house.enqueue(label, script);
        let entry = house.ended(label);
        assert_eq!(entry["status"], "done");
        assert_eq!(
            entry["summary"],
            "The command exited with code 0 and printed nothing."
        );
    }
}

#[test]
fn a_command_that_prints_only_a_status_line_still_ends() {
    let house = House::new();
    let scripts = [
        ("silent", "echo NO_REPLY"),
        ("heartbeat", "echo HEARTBEAT_OK"),
        ("status", r#"echo '{"status":"done"}'"#),
    ];
    for (label, script) in scripts {
        house.enqueue(label, script);
        let entry = house.ended(label);
        assert_eq!(entry["status"], "done", "{label}");
        let message = house.run("watcher", &["--label", label]).exits(0).stdout;
        assert!(message.contains("without a message"), "{message}");
        assert!(
            !message.contains("NO_REPLY") && !message.contains("{\""),
            "{message}"
        );
    }
}

#[test]
fn a_long_text_is_whole_in_its_artifact_and_cut_at_a_character_elsewhere() {
    let house = House::new();
    let text = "\u{1f336}äß\n".repeat(7_800);
    assert!(text.len() > 70_000 && text.len() < 80_000);
    fs::write(house.path("text"), &text).expect("writable");
    house.enqueue("long", "cat text");
    let entry = house.ended("long");
    assert_eq!(entry["artifact"]["bytes"], text.len());
    assert!(entry["summary"].as_str().is_some_and(|s| s.len() <= 2048));
    assert!(
        house.artifact("long") == text.as_bytes(),
        "the artifact differs"
    );
    assert!(house.full_text("long") == text, "the full text differs");

    let inline = house
        .dispatch(&["result", "--label", "long"])
        .exits(0)
        .json();
    let inline = inline["lastReply"].as_str().expect("a text");
    assert!(
        inline.len() <= INLINE_LIMIT && inline.len() > INLINE_LIMIT - 1024,
        "{}",
        inline.len()
    );
    let path = entry["artifact"]["path"].as_str().expect("a path");
    assert!(inline.contains(path), "the note names the artifact");
    let body = inline.chars().filter(|c| *c == '\u{1f336}').count();
    assert!(text.starts_with(&"\u{1f336}äß\n".repeat(body - 1)));

    let printed = house.run("watcher", &["--label", "long"]).exits(0).stdout;
    let (header, rest) = printed.split_once("\n\n").expect("a header and a body");
    assert_eq!(header, "\u{1f336}\u{fe0f} *dispatch* [long] completed:");
    assert_eq!(rest.trim_end(), inline.trim_end());
}

#[test]
fn output_above_the_bound_of_a_line_is_its_artifact() {
    let house = House::new();
    // Characters of three bytes, so that no block of any copy ends where a character does.
    let printed = format!("x{}", "\u{20ac}".repeat(1_500_000));
    fs::write(house.path("printed"), &printed).expect("writable");
    house.enqueue("big", "cat printed");
    let entry = house.ended("big");
    assert_eq!(entry["status"], "done");
    assert_eq!(entry["artifact"]["bytes"], printed.len());
    assert!(
        house.artifact("big") == printed.as_bytes(),
        "the artifact differs"
    );
    let lines = house.transcript("big");
    let end = &lines[lines.len() - 1];
    assert_eq!(end["dispatch"]["raw"], true);
    let raw = house.run_dir("big").join("stdout");
    let named = format!("[{} bytes of output: {}]", printed.len(), raw.display());
    assert_eq!(end["message"]["content"][0]["text"], named);
    let message = house.run("watcher", &["--label", "big"]).exits(0).stdout;
    assert!(message.len() < INLINE_LIMIT + 100 && message.contains("completed:"));
}

#[test]
fn output_above_the_bound_of_a_line_that_is_no_utf8_is_replaced_and_kept_raw() {
    let house = House::new();
    let printed: Vec<u8> = (0..4_400_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    fs::write(house.path("printed"), &printed).expect("writable");
    house.enqueue("big", "cat printed");
    assert_eq!(house.ended("big")["status"], "done");
    assert!(
        house.artifact("big") == String::from_utf8_lossy(&printed).as_bytes(),
        "the artifact differs"
    );
    let raw = fs::read(house.run_dir("big").join("stdout")).expect("kept");
    assert!(raw == printed, "the raw file differs");
}

#[test]
fn output_above_the_bound_of_a_command_that_failed_is_kept_whole() {
    let house = House::new();
    house.enqueue(
        "big",
        "head -c 4400000 /dev/zero | tr '\\0' x; echo oh no >&2; exit 3",
    );
    let entry = house.ended("big");
    assert_eq!(entry["status"], "error");
    assert!(
        house.artifact("big") == "x".repeat(4_400_000).as_bytes(),
        "the artifact differs"
    );
    assert!(
        entry["error"].as_str().is_some_and(|e| e.contains("oh no")),
        "{}",
        entry["error"]
    );
    let message = house.run("watcher", &["--label", "big"]).exits(1).stdout;
    assert!(
        message.contains("oh no"),
        "the notice says why: {}",
        &message[..200]
    );
}

/// What becomes of a command that fills the disk, once there is room again.
fn on_a_full_disk(script: &str) -> Option<(House, serde_json::Value, SmallDisk)> {
    let house = House::new();
    let disk = SmallDisk::under(&house, 4096)?;
    // What makes room later, for the transcript and the artifact too.
    let ballast = disk.fill(160 * 1024);
    let script = format!(
        "echo $$ > {}; yes | head -c 3000000; {script}",
        house.path("pid").display()
    );
    house.enqueue("full", &script);
    let command = eventually("the command starts", || {
        house.text("pid").trim().parse::<u32>().ok()
    });
    let waiter = house.waiter_pid("full");
    // It has reaped the command and found no room for the exit status: it sleeps before it tries again.
    eventually("the waiter waits for room", || {
        let state = fs::read_to_string(format!("/proc/{waiter}/stat")).ok()?;
        (!is_alive(command) && state.contains(") S ")).then_some(())
    });
    fs::remove_file(ballast).expect("removable");
    let entry = house.ended("full");
    Some((house, entry, disk))
}

#[test]
fn a_command_that_fails_of_a_full_disk_is_not_blamed_alone() {
    let Some((house, entry, _disk)) = on_a_full_disk("exit 7") else {
        return;
    };
    let told = entry["error"].as_str().expect("a text");
    let before = format!(
        "the command exited with code 7 (its output may not be whole: {} took no more at 20",
        house.run_dir("full").display()
    );
    assert!(told.starts_with(&before), "{told}");
    assert!(
        told.contains("Z: No space left on device (os error 28))"),
        "{told}"
    );
    assert_eq!(entry["status"], "error");
    assert_eq!(entry["failure"]["kind"], "command");
}

#[test]
fn a_command_that_does_not_notice_a_full_disk_is_done_with_a_word_about_it() {
    let Some((house, entry, _disk)) = on_a_full_disk("exit 0") else {
        return;
    };
    assert_eq!(entry["status"], "done", "{entry:#}");
    let text = house.full_text("full");
    let (words, output) = text
        .split_once("\n\n")
        .unwrap_or_else(|| panic!("no paragraph of its own: {text}"));
    assert!(output.starts_with("y\ny\n"), "{output}");
    is_told_of_no_room(&house, "full", words);
    let summary = entry["summary"].as_str().expect("a text");
    assert!(summary.starts_with(words), "{summary}");
}

/// The remark of a run whose disk had no room.
#[track_caller]
fn is_told_of_no_room(house: &House, label: &str, words: &str) {
    let before = format!(
        "[its output may not be whole: {} took no more at 20",
        house.run_dir(label).display()
    );
    assert!(words.starts_with(&before), "{words}");
    assert!(
        words.ends_with("Z: No space left on device (os error 28)]"),
        "{words}"
    );
}

/// The waiter still looks for a disk without room; it has seen one when it does not any more.
fn looks_for_room(waiter: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{waiter}/task"));
    let mut names = tasks
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.any(|name| name == "room\n")
}

/// A run that prints `script` and then waits while its disk is full for a moment; then it prints a last line and ends.
fn past_a_full_disk(kib: usize, script: &str, bytes: usize) -> Option<(House, SmallDisk)> {
    let house = House::new();
    let disk = SmallDisk::under(&house, kib)?;
    let gate = house.gate("gate");
    house.enqueue("full", &format!("{script}; {}; echo after", gate.pass()));
    eventually("its output is in the transcript", || {
        let lines = house.transcript("full");
        let mut notes = lines.iter().map(|line| &line["dispatch"]["offset"]);
        notes.any(|offset| offset == bytes).then_some(())
    });
    let waiter = house.waiter_pid("full");
    assert!(looks_for_room(waiter));
    let filler = disk.fill(0);
    eventually("the full disk is seen", || {
        (!looks_for_room(waiter)).then_some(())
    });
    fs::remove_file(filler).expect("removable");
    gate.open();
    assert_eq!(house.ended("full")["status"], "done");
    Some((house, disk))
}

#[test]
fn a_disk_that_was_full_for_a_moment_is_told_of() {
    let Some((house, _disk)) = past_a_full_disk(4096, "echo before", 7) else {
        return;
    };
    let text = house.full_text("full");
    let (words, output) = text.split_once("\n\n").expect("a paragraph of its own");
    assert_eq!(output, "before\nafter\n");
    is_told_of_no_room(&house, "full", words);
    let printed = house.run("watcher", &["--label", "full"]).exits(0).stdout;
    assert!(printed.contains(words), "{printed}");
    let status = house
        .dispatch(&["status", "--label", "full"])
        .exits(0)
        .json();
    let summary = status["summary"].as_str().expect("a text");
    assert!(summary.starts_with(words), "{summary}");
}

#[test]
fn of_output_above_the_bound_it_is_told_as_well() {
    let script = "head -c 4400000 /dev/zero | tr '\\0' x";
    let Some((house, _disk)) = past_a_full_disk(32 * 1024, script, 4_400_000) else {
        return;
    };
    let kept = String::from_utf8(house.artifact("full")).expect("UTF-8");
    let (words, output) = kept.split_once("\n\n").expect("a paragraph of its own");
    is_told_of_no_room(&house, "full", words);
    assert!(
        output == format!("{}after\n", "x".repeat(4_400_000)),
        "the output differs"
    );
    assert_eq!(house.entry("full")["artifact"]["bytes"], kept.len());
    let printed = house.run("watcher", &["--label", "full"]).exits(0).stdout;
    assert!(printed.contains(words), "the remark is missing");
}
