//! On a terminal: tables, colours, and nothing that an agent wrote may act. Off it: JSON, and texts as they are.

use std::io::Read;
use std::process::Stdio;

use crate::support::{House, eventually, run};

/// Red, a title, a bidirectional override; raw and as a terminal gets to see it.
const RAW: &str = "\u{1b}[31mred\u{1b}[0m \u{202e}abc";
const ESCAPED: &str = r"\x1b[31mred\x1b[0m \u{202e}abc";
const SCRIPT: &str = r"printf '\033[31mred\033[0m \342\200\256abc\n'";

fn house() -> House {
    let house = House::new();
    house.enqueue("odd", SCRIPT);
    house.ended("odd");
    house
}

#[test]
fn a_terminal_gets_a_coloured_table() {
    let house = house();
    let Some(ran) = house.dispatch_on_terminal(&["list"], &[]) else {
        return;
    };
    let ran = ran.exits(0);
    let lines: Vec<&str> = ran.stdout.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].contains("\u{1b}[1mLABEL"),
        "{ran:?}"
    );
    assert!(
        lines[1].starts_with("odd") && lines[1].contains("done"),
        "{ran:?}"
    );
    assert!(
        lines[1].contains("\u{1b}[38;5;10m"),
        "done is green: {ran:?}"
    );
}

#[test]
fn no_color_is_honoured_and_changes_nothing_else() {
    let house = house();
    let (Some(plain), Some(coloured)) = (
        house.dispatch_on_terminal(&["status", "--label", "odd"], &[("NO_COLOR", "1")]),
        house.dispatch_on_terminal(&["status", "--label", "odd"], &[("NO_COLOR", "")]),
    ) else {
        return;
    };
    let stripped = coloured
        .stdout
        .replace("\u{1b}[2m", "")
        .replace("\u{1b}[0m", "");
    assert!(!plain.stdout.contains('\u{1b}'), "{plain:?}");
    assert!(
        coloured.stdout.contains('\u{1b}'),
        "an empty NO_COLOR is none: {coloured:?}"
    );
    let names = |text: &str| -> Vec<String> {
        let words = text
            .lines()
            .filter_map(|line| line.split_whitespace().next());
        words.map(str::to_owned).collect()
    };
    assert_eq!(names(&plain.stdout), names(&stripped));
}

#[test]
fn a_terminal_of_unknown_size_gets_whole_lines() {
    let house = house();
    let Some(ran) = house.dispatch_on_terminal(&["list"], &[("TERMINAL_COLUMNS", "0")]) else {
        return;
    };
    assert_eq!(ran.exits(0).stdout.lines().count(), 2);
}

#[test]
fn a_narrow_terminal_breaks_the_summary_alone() {
    let house = House::new();
    house.enqueue("wordy", "echo one two three four five six seven");
    house.ended("wordy");
    let narrow = [("TERMINAL_COLUMNS", "48"), ("NO_COLOR", "1")];
    let Some(list) = house.dispatch_on_terminal(&["list"], &narrow) else {
        return;
    };
    let list = list.exits(0).stdout;
    let mut lines = list.lines().map(str::trim_end);
    assert!(lines.clone().all(|line| line.len() <= 48), "{list}");
    assert!(lines.clone().count() > 2, "{list}");
    assert!(
        lines
            .nth(1)
            .is_some_and(|line| line.starts_with("wordy  done")),
        "{list}"
    );
    let status = house.dispatch_on_terminal(&["status", "--label", "wordy"], &narrow);
    let key = house.entry("wordy")["sessionKey"]
        .as_str()
        .expect("a key")
        .to_owned();
    let status = status.expect("as before").exits(0).stdout;
    assert!(status.contains(&key), "a key can be copied: {status}");
}

#[test]
fn a_dumb_terminal_gets_no_colours() {
    let house = house();
    let Some(ran) = house.dispatch_on_terminal(&["list"], &[("TERM", "dumb")]) else {
        return;
    };
    assert!(!ran.exits(0).stdout.contains('\u{1b}'));
}

#[test]
fn wide_characters_count_twice_and_columns_stay_below_columns() {
    let house = House::new();
    for label in ["日本語のラベル", "plain"] {
        house.enqueue(label, "true");
        house.ended(label);
    }
    let terminal = [("NO_COLOR", "1"), ("TERMINAL_COLUMNS", "100")];
    let Some(ran) = house.dispatch_on_terminal(&["list"], &terminal) else {
        return;
    };
    let list = ran.exits(0).stdout;
    let lines: Vec<&str> = list.lines().collect();
    assert!(lines[0].starts_with("LABEL           STATUS"), "{list}");
    assert!(lines[1].starts_with("plain           done"), "{list}");
    assert!(lines[2].starts_with("日本語のラベル  done"), "{list}");
}

#[test]
fn a_wait_shows_who_still_runs_and_takes_it_away_at_the_end() {
    let house = House::new();
    let gate = house.gate("gate");
    house.enqueue("slow", &gate.pass());
    eventually("the phase moves on", || {
        (house.entry("slow")["phase"] == "running").then_some(())
    });
    let Some(mut script) = house.on_terminal(&["wait", "slow"], &[]) else {
        return;
    };
    let mut child = script.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut screen = child.stdout.take().expect("piped");
    let mut shown = String::new();
    let mut block = [0; 4096];
    // The first picture has been drawn whole once its line has ended.
    while !(shown.contains("slow") && shown.contains('\n')) {
        let read = screen.read(&mut block).expect("readable");
        assert!(read > 0, "it ended early: {shown:?}");
        shown.push_str(&String::from_utf8_lossy(&block[..read]));
    }
    gate.open();
    screen.read_to_string(&mut shown).expect("text");
    assert!(child.wait().expect("it ends").success(), "{shown:?}");
    let (progress, table) = shown
        .rsplit_once("\r\u{1b}[1A\u{1b}[J")
        .expect("it is taken away");
    assert!(progress.starts_with("slow  running  "), "{shown:?}");
    assert!(
        table.contains("LABEL") && table.contains("done"),
        "{shown:?}"
    );
    let quiet = house.dispatch(&["wait", "slow"]).exits(0);
    assert_eq!(quiet.stderr, "");
}

#[test]
fn agent_text_is_escaped_on_a_terminal_and_raw_off_it() {
    let house = house();
    for words in [
        &["result", "--label", "odd"] as &[&str],
        &["result", "--label", "odd", "--full"],
        &["logs", "--label", "odd"],
        &["list"],
        &["status", "--label", "odd"],
        &["wait", "odd"],
    ] {
        let off = house
            .dispatch(&[words, &["--output", "table"]].concat())
            .exits(0);
        assert!(off.stdout.contains(RAW), "{words:?}: {off:?}");
        let Some(on) = house.dispatch_on_terminal(words, &[]) else {
            continue;
        };
        let on = on.exits(0);
        assert!(on.stdout.contains(ESCAPED), "{words:?}: {on:?}");
        assert!(
            !on.stdout.contains("\u{1b}[31m") && !on.stdout.contains('\u{202e}'),
            "{words:?}: {on:?}"
        );
    }
}

#[test]
fn a_sentence_on_a_terminal_does_not_act_either() {
    let house = House::new();
    let Some(ran) = house.dispatch_on_terminal(&["wait", "a\u{202e}b"], &[]) else {
        return;
    };
    assert_eq!(
        ran.exits(1).stdout.trim_end(),
        r#"[dispatch] no session found for label "a\u{202e}b"; 'dispatch list' shows what there is"#
    );
}

#[test]
fn flags_and_variable_choose_the_form() {
    let house = house();
    let form = |variable: &str, flags: &[&str]| {
        let mut command = house.command("dispatch");
        command
            .env("DISPATCH_OUTPUT", variable)
            .arg("list")
            .args(flags);
        match run(command, b"").exits(0).stdout.starts_with('{') {
            true => "json",
            false => "table",
        }
    };
    assert_eq!(form("", &[]), "json");
    assert_eq!(form("auto", &[]), "json");
    assert_eq!(form("table", &[]), "table");
    assert_eq!(form("", &["--output", "table"]), "table");
    assert_eq!(form("", &["--output=auto"]), "json");
    assert_eq!(form("table", &["--output", "json"]), "json");
    assert_eq!(form("table", &["--json"]), "json");
    let Some(ran) = house.dispatch_on_terminal(&["--json", "list"], &[]) else {
        return;
    };
    assert_eq!(ran.exits(0).json()["count"], 1);
}

#[test]
fn bare_text_stays_bare_until_json_is_asked_for() {
    let house = house();
    let path = house
        .dispatch(&["result", "--label", "odd", "--path"])
        .exits(0)
        .stdout;
    let asked = house
        .dispatch(&["result", "--label", "odd", "--path", "--json"])
        .exits(0)
        .json();
    assert_eq!(asked["path"], path.trim_end());
    let raw = house
        .dispatch(&["logs", "--label", "odd", "--raw"])
        .exits(0)
        .stdout;
    for flags in [&["--json"] as &[&str], &["--output", "json"]] {
        let words = [&["logs", "--label", "odd"], flags].concat();
        assert_eq!(house.dispatch(&words).exits(0).stdout, raw);
    }
}

#[test]
fn no_label_and_no_status_of_another_tool_makes_a_table_wider_than_the_terminal() {
    let house = House::new();
    let (label, status) = ("w".repeat(300), "waiting-for-".repeat(20));
    let ledger = serde_json::json!({
        label.as_str(): {"status": "done", "summary": "all of it"},
        "theirs": {"status": status, "summary": "all of it"},
    });
    house.write_ledger(ledger.to_string());
    for columns in [30, 80, 200] {
        let width = columns.to_string();
        let terminal = [("TERMINAL_COLUMNS", width.as_str()), ("NO_COLOR", "1")];
        let Some(ran) = house.dispatch_on_terminal(&["list"], &terminal) else {
            return;
        };
        let list = ran.exits(0).stdout;
        let mut lines = list.lines().map(|line| line.trim_end().chars().count());
        assert!(lines.all(|wide| wide <= columns), "{list}");
    }
}

#[test]
fn a_long_label_is_cut_on_a_terminal_and_whole_off_it() {
    let house = House::new();
    let long = format!("ticket-{}-end", "x".repeat(80));
    house.enqueue(&long, "true");
    house.ended(&long);
    let Some(ran) = house.dispatch_on_terminal(&["list"], &[("NO_COLOR", "1")]) else {
        return;
    };
    let line = ran.stdout.lines().nth(1).expect("a line").to_owned();
    let cut = format!("ticket-{}…{}-end  done", "x".repeat(13), "x".repeat(15));
    assert!(line.starts_with(&cut), "{ran:?}");
    let json = house.dispatch(&["list"]).json();
    assert_eq!(json["labels"][0]["label"], long.as_str());
    let piped = house.dispatch(&["list", "--output", "table"]);
    assert!(piped.stdout.contains(&long), "{piped:?}");
}
