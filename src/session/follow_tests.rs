//! Tests of following a growing transcript.
#![allow(clippy::unwrap_used)]

use std::fs::OpenOptions;
use std::io::Write;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

struct Growing {
    dir: TempDir,
    path: PathBuf,
}

impl Growing {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.jsonl");
        Self { dir, path }
    }

    fn append(&self, bytes: &[u8]) {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).append(true).open(&self.path).unwrap();
        file.write_all(bytes).unwrap();
    }

    fn replace(&self, bytes: &[u8]) {
        let new = self.dir.path().join("new");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, &self.path).unwrap();
    }
}

fn entry(id: &str) -> String {
    format!("{{\"type\":\"x\",\"id\":\"{id}\"}}\n")
}

fn ids(batch: &Batch) -> Vec<&str> {
    batch.lines.iter().filter_map(|l| l.line.id()).collect()
}

#[test]
fn a_missing_file_is_an_empty_batch_until_it_appears() {
    let growing = Growing::new();
    let mut follower = Follower::new(&growing.path);
    assert_eq!(follower.poll().unwrap(), Batch::default());
    growing.append(entry("a").as_bytes());
    let batch = follower.poll().unwrap();
    assert_eq!((ids(&batch), batch.restarted), (vec!["a"], false));
    assert_eq!(follower.poll().unwrap(), Batch::default());
}

#[test]
fn a_half_written_line_waits_for_its_newline() {
    let growing = Growing::new();
    let mut follower = Follower::new(&growing.path);
    let (a, b) = (entry("a"), entry("b"));
    growing.append(format!("{a}{}", b.trim_end()).as_bytes());
    let batch = follower.poll().unwrap();
    assert_eq!(ids(&batch), ["a"]);
    assert_eq!(follower.offset(), a.len() as u64);
    assert_eq!(follower.poll().unwrap(), Batch::default());
    growing.append(b"\n");
    let batch = follower.poll().unwrap();
    assert_eq!(ids(&batch), ["b"]);
    assert_eq!(
        (batch.lines[0].offset, batch.lines[0].end),
        (a.len() as u64, follower.offset())
    );
}

#[test]
fn lines_that_cannot_be_read_are_skipped_and_counted() {
    let growing = Growing::new();
    let mut follower = Follower::new(&growing.path);
    growing.append(format!("{{broken\n\n7\n{}", entry("a")).as_bytes());
    let batch = follower.poll().unwrap();
    assert_eq!((ids(&batch), batch.skipped), (vec!["a"], 2));
}

#[test]
fn a_replaced_file_starts_over() {
    let growing = Growing::new();
    let mut follower = Follower::new(&growing.path);
    growing.append(entry("a").as_bytes());
    follower.poll().unwrap();
    growing.replace(format!("{}{}", entry("a"), entry("b")).as_bytes());
    let batch = follower.poll().unwrap();
    assert_eq!((ids(&batch), batch.restarted), (vec!["a", "b"], true));
}

#[test]
fn a_deleted_file_that_comes_back_starts_over() {
    let growing = Growing::new();
    let mut follower = Follower::new(&growing.path);
    growing.append(entry("a").as_bytes());
    follower.poll().unwrap();
    fs::remove_file(&growing.path).unwrap();
    assert_eq!(follower.poll().unwrap(), Batch::default());
    growing.append(entry("b").as_bytes());
    let batch = follower.poll().unwrap();
    assert_eq!((ids(&batch), batch.restarted), (vec!["b"], true));
}

#[test]
fn a_file_that_is_cut_or_written_anew_starts_over() {
    let growing = Growing::new();
    let mut follower = Follower::new(&growing.path);
    growing.append(format!("{}{}", entry("a"), entry("b")).as_bytes());
    follower.poll().unwrap();
    fs::write(&growing.path, entry("c")).unwrap();
    let batch = follower.poll().unwrap();
    assert_eq!((ids(&batch), batch.restarted), (vec!["c"], true));
    fs::write(&growing.path, format!("{}{}", entry("d"), entry("e"))).unwrap();
    let batch = follower.poll().unwrap();
    assert_eq!((ids(&batch), batch.restarted), (vec!["d", "e"], true));
    fs::write(&growing.path, "").unwrap();
    let batch = follower.poll().unwrap();
    assert_eq!((ids(&batch), batch.restarted), (vec![], true));
}

#[test]
fn following_may_start_at_a_baseline() {
    let growing = Growing::new();
    growing.append(format!("{}{}", entry("a"), entry("b")).as_bytes());
    let mut follower = Follower::starting_at(&growing.path, entry("a").len() as u64);
    let batch = follower.poll().unwrap();
    assert_eq!((ids(&batch), batch.restarted), (vec!["b"], false));
    for offset in [3, 1000] {
        let mut follower = Follower::starting_at(&growing.path, offset);
        let batch = follower.poll().unwrap();
        assert_eq!((ids(&batch), batch.restarted), (vec!["a", "b"], true));
    }
}

#[test]
fn a_batch_is_bounded_and_says_that_there_is_more() {
    let growing = Growing::new();
    let line = format!(
        "{{\"type\":\"x\",\"id\":\"a\",\"pad\":\"{}\"}}\n",
        "p".repeat(1_000_000)
    );
    growing.append(line.repeat(10).as_bytes());
    let mut follower = Follower::new(&growing.path);
    let mut sizes = Vec::new();
    loop {
        let batch = follower.poll().unwrap();
        sizes.push(batch.lines.len());
        if !batch.more {
            break;
        }
    }
    assert_eq!(sizes, [5, 5, 0]);
    assert_eq!(follower.offset(), line.len() as u64 * 10);
}

#[cfg(target_os = "linux")]
#[test]
fn polling_opens_the_file_once() {
    let growing = Growing::new();
    let mut follower = Follower::new(&growing.path);
    growing.append(entry("a").as_bytes());
    follower.poll().unwrap();
    let fd = |follower: &Follower| {
        use std::os::fd::AsRawFd;
        follower.open.as_ref().unwrap().file.as_raw_fd()
    };
    let before = fd(&follower);
    // Were it opened again, the number would be taken by the second file.
    let _other = File::open(&growing.path).unwrap();
    growing.append(entry("b").as_bytes());
    assert_eq!(ids(&follower.poll().unwrap()), ["b"]);
    assert_eq!(fd(&follower), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_split_gives_the_same_lines(
        lines in proptest::collection::vec("[a-zé\\r]{0,8}|\\{\"id\":\"[a-z🦞]{1,4}\"\\}", 0..12),
        cuts in proptest::collection::vec(1_usize..9, 1..20),
    ) {
        let content = lines.join("\n").into_bytes();
        let at_once = Growing::new();
        at_once.append(&content);
        let expected = Follower::new(&at_once.path).poll().unwrap();

        let growing = Growing::new();
        let mut follower = Follower::new(&growing.path);
        let mut found = Batch::default();
        let mut rest = content.as_slice();
        for cut in cuts.iter().cycle() {
            let (piece, left) = rest.split_at((*cut).min(rest.len()));
            growing.append(piece);
            let batch = follower.poll().unwrap();
            prop_assert!(!batch.restarted);
            found.lines.extend(batch.lines);
            found.skipped += batch.skipped;
            rest = left;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(found, expected);
    }
}
