//! Tests of cutting files into lines.
#![allow(clippy::unwrap_used)]

use std::io::Write;

use proptest::prelude::*;

use super::*;

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

fn forward(content: &[u8]) -> Vec<RawLine> {
    ForwardLines::new(file(content))
        .map(Result::unwrap)
        .collect()
}

fn reverse(content: &[u8], floor: u64) -> Vec<RawLine> {
    let lines = ReverseLines::new(file(content), floor).unwrap();
    let mut lines: Vec<RawLine> = lines.map(Result::unwrap).collect();
    lines.reverse();
    lines
}

fn raw(offset: u64, bytes: &[u8]) -> RawLine {
    RawLine {
        offset,
        bytes: bytes.to_vec(),
    }
}

#[test]
fn a_half_written_last_line_is_not_given_out() {
    for content in [&b"one\n\ntwo\nhal"[..], b"one\n\ntwo\n"] {
        let expected = [raw(0, b"one"), raw(4, b""), raw(5, b"two")];
        assert_eq!(forward(content), expected);
        assert_eq!(reverse(content, 0), expected);
    }
    for content in [&b""[..], b"half", b"{\"complete\":\"json\"}"] {
        assert_eq!(forward(content), []);
        assert_eq!(reverse(content, 0), []);
    }
}

#[test]
fn reverse_reading_stops_at_the_floor() {
    let content = b"one\ntwo\nthree\n";
    assert_eq!(reverse(content, 4), [raw(4, b"two"), raw(8, b"three")]);
    assert_eq!(reverse(content, 14), []);
    assert_eq!(reverse(content, 99), []);
}

#[test]
fn reverse_reading_knows_the_end_of_the_last_line() {
    let mut lines = ReverseLines::new(file(b"one\ntwo\nha"), 0).unwrap();
    lines.next();
    assert_eq!(lines.end(), Some(8));
    let mut lines = ReverseLines::new(file(b"ha"), 0).unwrap();
    assert!(lines.next().is_none());
    assert_eq!(lines.end(), None);
}

#[test]
fn lines_around_the_size_of_a_block_are_whole() {
    for len in [
        BLOCK_BYTES - 1,
        BLOCK_BYTES,
        BLOCK_BYTES + 1,
        3 * BLOCK_BYTES + 7,
    ] {
        let mut content = vec![b'a'; len];
        content.push(b'\n');
        content.extend(vec![b'b'; len]);
        content.push(b'\n');
        let expected = [
            raw(0, &vec![b'a'; len]),
            raw(len as u64 + 1, &vec![b'b'; len]),
        ];
        assert!(forward(&content) == expected);
        assert!(reverse(&content, 0) == expected);
    }
}

#[test]
fn a_line_over_the_bound_is_skipped_and_counted() {
    for long in [11, BLOCK_BYTES, 2 * BLOCK_BYTES + 3] {
        let mut content = b"one\n".to_vec();
        content.extend(vec![b'x'; long]);
        content.extend(b"\ntwo\n");
        let expected = [raw(0, b"one"), raw(long as u64 + 5, b"two")];

        let mut lines = ReverseLines::bounded(file(&content), 0, 10).unwrap();
        let mut found: Vec<RawLine> = lines.by_ref().map(Result::unwrap).collect();
        found.reverse();
        assert_eq!((found.as_slice(), lines.skipped()), (&expected[..], 1));

        let mut lines = ForwardLines::new(file(&content));
        lines.cutter.max_line = 10;
        let found: Vec<RawLine> = lines.by_ref().map(Result::unwrap).collect();
        assert_eq!((found.as_slice(), lines.skipped()), (&expected[..], 1));
    }
}

#[test]
fn a_file_that_shrinks_under_the_reader_is_an_error_once() {
    let file = file(&vec![b'x'; 3 * BLOCK_BYTES]);
    let mut lines = ReverseLines::new(file.try_clone().unwrap(), 0).unwrap();
    file.set_len(10).unwrap();
    let error = lines.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(lines.next().is_none());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reverse_reading_equals_forward_reading(
        pieces in proptest::collection::vec(
            prop_oneof![
                Just(b"\n".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..20),
                (0_usize..70_000).prop_map(|len| vec![b'x'; len]),
            ],
            0..12,
        ),
        floor_line in any::<proptest::sample::Index>(),
    ) {
        let content = pieces.concat();
        let lines = forward(&content);
        prop_assert!(reverse(&content, 0) == lines);
        if !lines.is_empty() {
            let from = floor_line.index(lines.len());
            prop_assert!(reverse(&content, lines[from].offset) == lines[from..]);
        }
    }
}
