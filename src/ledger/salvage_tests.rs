use proptest::prelude::*;

use super::*;

fn labels(salvage: &Salvage) -> Vec<&str> {
    salvage
        .entries
        .iter()
        .map(|(label, _)| label.as_str())
        .collect()
}

const THREE: &str = "{\n  \"a\": {\n    \"n\": 1\n  },\n  \"b\": {\n    \"baseline\": {\n      \"x\": {}\n    }\n  },\n  \"c\": {\n    \"n\": 3\n  }\n}\n";

#[test]
fn whatever_place_it_is_cut_at_whole_entries_are_saved_and_nothing_is_invented() {
    for end in 0..THREE.len() {
        let found = salvage(THREE.as_bytes().get(..end).expect("ASCII"));
        for label in labels(&found)
            .iter()
            .chain(&found.broken.iter().map(String::as_str).collect::<Vec<_>>())
        {
            assert!(["a", "b", "c"].contains(label), "{label} at {end}");
        }
    }
    assert_eq!(labels(&salvage(THREE.as_bytes())), ["a", "b", "c"]);
}

#[test]
fn a_broken_middle_costs_only_itself() {
    let text = THREE.replace("\"x\": {}", "\"x\": {]");
    let found = salvage(text.as_bytes());
    assert_eq!(labels(&found), ["a", "c"]);
    assert_eq!(found.broken, ["b"]);
}

#[test]
fn a_value_that_is_no_entry_costs_only_itself_however_the_text_is_laid_out() {
    for value in ["5", "null", "\"a text\"", "[1, {\"x\": 2}]", "true"] {
        for text in [
            format!("{{\"a\":{{\"n\":1}},\"b\":{value},\"c\":{{\"n\":3}}}}"),
            format!("{{\n  \"a\": {{\"n\": 1}},\n  \"b\": {value} ,\n  \"c\": {{\"n\": 3}}\n}}\n"),
        ] {
            let found = salvage(text.as_bytes());
            assert_eq!(labels(&found), ["a", "c"], "{text}");
            assert_eq!(found.broken, ["b"], "{text}");
        }
    }
}

#[test]
fn noise_holds_nothing() {
    for noise in [
        &b""[..],
        b"\0\0\0\0",
        b"\"",
        b"not json \"at all",
        b"\"a\" \"b\" : {",
    ] {
        assert_eq!(labels(&salvage(noise)), Vec::<&str>::new());
    }
}

/// An entry as there may be one: with objects inside that have some of an entry's fields.
fn entry_of(n: usize, kind: usize) -> Value {
    let time = "2026-11-20T09:12:05.000Z";
    let mut entry = serde_json::json!({
        "sessionKey": format!("agent:main:subagent:{n}"),
        "spawnedAt": time,
        "taskPrompt": "say \"b\": {\"status\": \"done\", \"updatedAt\": 5}, {then} stop\n  \"c\": {}\\",
        "baseline": {"sessionId": "s", "offset": 7, "status": "done"},
        "status": "error",
        "failure": {"kind": "model", "message": "a } and a {", "at": n},
        "updatedAt": time,
    });
    match kind % 4 {
        0 => {}
        1 => {
            entry["completion"] = serde_json::json!({
                "summary": "all \u{e9}", "checklist": {"work_complete": true, "status": "ok", "updatedAt": time},
                "debug": {},
            });
        }
        2 => {
            entry["deliveries"] = serde_json::json!([
                {"key": "k", "state": "parked", "content": {"header": "", "text": "{}"}, "extra": [[], [{}]]},
            ]);
        }
        _ => {
            entry["lastObject"] = serde_json::json!({"inner": {"innermost": {"n": [1, {}]}}});
        }
    }
    entry
}

/// The ledger's text in one of the layouts that tools write, and where each entry stands in it.
fn laid_out(kinds: &[usize], layout: usize) -> (String, Vec<std::ops::Range<usize>>) {
    let (before, between, colon, after) = match layout {
        0 => ("{", ",", ":", "}"),
        1 => ("{", ", ", ": ", "}\n"),
        2 => ("{\n", ",\n", ": ", "\n}\n"),
        3 => ("{\n\t", ",\n\t", ": ", "\n}\n"),
        4 => ("{\n    ", ",\n    ", ": ", "\n}\n"),
        _ => ("{\n  ", ",\n  ", ": ", "\n}\n"),
    };
    let mut text = before.to_owned();
    let mut places = Vec::new();
    for (n, kind) in kinds.iter().enumerate() {
        if n > 0 {
            text += between;
        }
        let entry = entry_of(n, *kind);
        let one_line = || serde_json::to_string(&entry).expect("JSON");
        let entry = match layout {
            // `\n` in a text is an escape: each of these is one of the layout.
            1 => indented(&entry, b"").replace('\n', " "),
            3 => indented(&entry, b"\t").replace('\n', "\n\t"),
            4 => indented(&entry, b"    ").replace('\n', "\n    "),
            5 => indented(&entry, b"  ").replace('\n', "\n  "),
            _ => one_line(),
        };
        text += &format!("\"{}\"{colon}", label_of(n));
        places.push(text.len()..text.len() + entry.len());
        text += &entry;
    }
    text += after;
    (text, places)
}

fn indented(value: &Value, by: &[u8]) -> String {
    let mut out = Vec::new();
    let form = serde_json::ser::PrettyFormatter::with_indent(by);
    let mut to = serde_json::Serializer::with_formatter(&mut out, form);
    serde::Serialize::serialize(value, &mut to).expect("JSON");
    String::from_utf8(out).expect("JSON is UTF-8")
}

fn label_of(n: usize) -> String {
    format!("label {n}")
}

/// The others are saved as they are, and nothing is there that was not.
fn others_are_saved(text: &[u8], kinds: &[usize], hit: usize) -> Result<(), TestCaseError> {
    let found = salvage(text);
    let shown = || format!("{found:#?}\nof\n{}", String::from_utf8_lossy(text));
    for (n, kind) in kinds.iter().enumerate().filter(|(n, _)| *n != hit) {
        let saved = found
            .entries
            .iter()
            .find(|(label, _)| *label == label_of(n));
        let saved = saved.and_then(|(_, entry)| serde_json::from_str(entry).ok());
        prop_assert_eq!(saved, Some(entry_of(n, *kind)), "{} {}", n, shown());
    }
    for (label, _) in &found.entries {
        let is_known = (0..kinds.len()).any(|n| *label == label_of(n));
        prop_assert!(is_known, "{} of {}", label, shown());
    }
    Ok(())
}

/// Bytes that may stand where others stood.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let structural = proptest::sample::select(b"{}[]\",:\\ \n\0x5".to_vec());
    proptest::collection::vec(prop_oneof![4 => structural, 1 => any::<u8>()], 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn whatever_happens_inside_one_entry_the_others_are_saved(
        kinds in proptest::collection::vec(0..4_usize, 1..6),
        layout in 0..6_usize,
        hit in any::<proptest::sample::Index>(),
        from in any::<proptest::sample::Index>(),
        cut in prop_oneof![Just(0_usize), 1..12_usize, 1..400_usize],
        noise in noise(),
    ) {
        let (text, places) = laid_out(&kinds, layout);
        let hit = hit.index(kinds.len());
        let place = places[hit].clone();
        let from = place.start + from.index(place.len());
        let to = (from + cut).min(place.end);
        let mut bytes = text.as_bytes()[..from].to_vec();
        bytes.extend(&noise);
        bytes.extend(&text.as_bytes()[to..]);
        others_are_saved(&bytes, &kinds, hit)?;
    }

    #[test]
    fn wherever_it_is_cut_off_what_is_whole_before_is_saved(
        kinds in proptest::collection::vec(0..4_usize, 1..5),
        layout in 0..6_usize,
        end in any::<proptest::sample::Index>(),
    ) {
        let (text, places) = laid_out(&kinds, layout);
        let end = end.index(text.len());
        let found = salvage(&text.as_bytes()[..end]);
        let whole = places.iter().take_while(|place| place.end <= end).count();
        let expected: Vec<String> = (0..whole).map(label_of).collect();
        prop_assert_eq!(labels(&found), expected);
    }
}

#[test]
fn each_byte_of_an_entry_may_be_another_and_costs_that_entry_alone() {
    for layout in [0, 2, 5] {
        let kinds = [3, 1, 2];
        let (text, places) = laid_out(&kinds, layout);
        for at in places[1].clone() {
            for byte in b"{}\",x" {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = *byte;
                let saved = others_are_saved(&bytes, &kinds, 1);
                saved.unwrap_or_else(|e| panic!("{at} is {byte}: {e}"));
            }
        }
    }
}

#[test]
fn what_stands_behind_a_torn_entry_in_one_line_is_saved_and_the_torn_one_named() {
    let entry = r#"{"status":"done","updatedAt":"2026-11-20T09:12:05.000Z"}"#;
    let torn = r#"{"status":"do,"failure":{"status":"x","updatedAt":5}}"#;
    let found =
        salvage(format!(r#"{{"a":{entry},"b":{torn},"c":{entry},"d":{entry}}}"#).as_bytes());
    assert_eq!(labels(&found), ["a", "c", "d"]);
    assert_eq!(found.broken, ["b"]);
    // Two are torn, and nothing tells the second one's label from a name inside of the first.
    let text = format!(r#"{{"a":{torn},"b":{torn},"c":{entry},"d":{{"n":1}},"e":{torn}"#);
    let found = salvage(text.as_bytes());
    assert_eq!(labels(&found), ["c", "d"]);
    assert_eq!(found.broken, ["a", "e"]);
}

#[test]
fn a_line_break_that_is_lost_costs_no_entry_behind_it() {
    let (text, _) = laid_out(&[0, 1, 2], 5);
    for between in ["x}, ", "\0\0\0\0"] {
        let torn = text.replacen("\n  },\n  \"label 1", &format!("{between}\"label 1"), 1);
        let found = salvage(torn.as_bytes());
        assert_eq!(labels(&found), ["label 1", "label 2"], "{torn}");
        assert_eq!(found.broken, ["label 0"]);
    }
}

#[test]
fn what_an_older_and_longer_text_left_behind_the_ledger_is_saved_too() {
    let entry = r#"{"status":"done","updatedAt":"2026-11-20T09:12:05.000Z"}"#;
    let text = format!(r#"{{"a":{entry}}}tatus":"done"}},"z":{entry}}}"#);
    assert_eq!(labels(&salvage(text.as_bytes())), ["a", "z"]);
}

#[test]
fn a_text_that_is_not_indented_has_no_place_for_labels() {
    let text = "{\n\"a\": {\n\"status\": \"do,\n\"failure\": {\n\"kind\": 1\n},\n\"updatedAt\": 5\n},\n\"b\": {\n\"status\": \"done\",\n\"updatedAt\": 5\n}\n}\n";
    let found = salvage(text.as_bytes());
    assert_eq!(labels(&found), ["b"]);
    assert_eq!(found.broken, ["a"]);
}
