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
    let why = format!(
        "the command exited with code 7 (its output could not be kept, or not whole, because the disk takes no more: {}: No space left on device (os error 28))",
        house.state().join("sessions/runs").display()
    );
    let (before, after) = why.split_once("sessions/runs").expect("the path");
    let told = entry["error"].as_str().expect("a text");
    assert!(told.starts_with(before), "{told}");
    assert!(told.contains(&format!("/stdout{after}")), "{told}");
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
    assert!(text.starts_with("y\ny\n"), "{text}");
    let (_, words) = text.rsplit_once("\n\n").expect("a paragraph of its own");
    assert!(
        words.starts_with("[its output could not be kept"),
        "{words}"
    );
    assert!(
        words.ends_with("/stdout: No space left on device (os error 28)]"),
        "{words}"
    );
}
