//! The last reply of a long transcript, beside a bare search for newlines from the file's end over the same bytes.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use dispatch::record::Baseline;
use dispatch::session::reader::read_turn;
use dispatch::session::terminal::Turn;

use crate::starts::timed;
use crate::table::{Budget, Figure, Limit, row};

const REPLY: &[u8] = b"{\"type\":\"message\",\"id\":\"z\",\"message\":{\"role\":\"assistant\",\"content\":\"the end\",\"stopReason\":\"stop\"}}\n";

/// The bytes that are read at once.
const BLOCK: u64 = 64 * 1024;

pub fn tail(megabytes: u64, runs: usize) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("long.jsonl");
    let (user, note) = (
        line(
            "message",
            "\"message\":{\"role\":\"user\",\"content\":\"X\"}",
        ),
        line("custom", "\"data\":\"X\""),
    );
    write(&path, megabytes, &user, true);
    let budget =
        (megabytes == 50).then_some(Budget::AtMost(Figure::Time(Duration::from_millis(5))));
    let limit = timed(runs, || assert_eq!(newlines(&path, 2), 2));
    row(
        &format!("last reply of a transcript of {megabytes} MB"),
        Figure::Time(timed(runs, || reply(&path))),
        Limit::time("the last two newlines", limit),
        budget,
    );
    if megabytes > 100 {
        return;
    }
    write(&path, megabytes, &note, false);
    let whole = timed(5, || assert!(newlines(&path, usize::MAX) > 1));
    row(
        &format!("a reply before {megabytes} MB of bookkeeping"),
        Figure::Time(timed(5, || reply(&path))),
        Limit::time("every newline from the end on", whole),
        None,
    );
}

fn line(kind: &str, rest: &str) -> Vec<u8> {
    let rest = rest.replace('X', &"x".repeat(1000));
    format!("{{\"type\":\"{kind}\",\"id\":\"a\",{rest}}}\n").into_bytes()
}

/// So many megabytes of one line over and over, with the reply at the end or at the start.
fn write(path: &Path, megabytes: u64, filler: &[u8], reply_last: bool) {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).expect("creatable"));
    let mut put = |bytes: &[u8]| file.write_all(bytes).expect("writable");
    if !reply_last {
        put(REPLY);
    }
    for _ in 0..megabytes * 1_000_000 / filler.len() as u64 {
        put(filler);
    }
    if reply_last {
        put(REPLY);
    }
    file.flush().expect("writable");
}

fn reply(path: &Path) {
    let reading = read_turn(path, &Baseline::default()).expect("readable");
    assert!(matches!(reading.turn, Turn::Reply(_)));
}

/// Looks for so many newlines, from the end on, and says how many it found.
fn newlines(path: &Path, most: usize) -> usize {
    let file = File::open(path).expect("readable");
    let mut at = file.metadata().expect("readable").len();
    let mut found = 0;
    let mut block = vec![0; BLOCK as usize];
    while at > 0 && found < most {
        let size = at.min(BLOCK);
        at -= size;
        let block = &mut block[..size as usize];
        file.read_exact_at(block, at).expect("readable");
        let newlines = block.iter().rev().filter(|byte| **byte == b'\n');
        found += newlines.take(most - found).count();
    }
    found
}
