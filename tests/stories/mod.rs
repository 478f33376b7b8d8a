//! What somebody types and what comes back, to the letter: stdout, stderr and exit code, in both output forms.
//!
//! A story is written as a terminal shows it. A line behind `$ ` is typed into a shell that has the programs on its PATH.
//! Below it stands what it prints: stdout as it is, each line of stderr behind `2> `, and `=> N` where the exit code N is
//! not 0. What is another each time (pids, times, ids) stands under a name: see [`named`].

mod shell;

use self::shell::named;
pub use self::shell::typed;
use crate::support::House;

/// Types the lines of a story and asserts that everything comes back as it is told there.
#[track_caller]
fn tells(house: &House, story: &str) {
    let story = story.trim_start_matches('\n');
    let mut told = String::new();
    for line in story.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let ran = typed(house, line);
        told += &format!("$ {line}\n{}", whole_lines(&ran.stdout));
        for line in ran.stderr.lines() {
            told += &format!("2> {line}\n");
        }
        match ran.code {
            Some(0) => {}
            Some(code) => told += &format!("=> {code}\n"),
            None => told += "=> a signal\n",
        }
    }
    let told = named(house, &told, story);
    assert!(
        told == story,
        "this was told:\n{told}\ninstead of:\n{story}"
    );
}

/// As [`tells`], where nothing may be written.
#[track_caller]
fn refuses(house: &House, story: &str) {
    let before = house.state_files();
    tells(house, story);
    assert!(
        house.state_files() == before,
        "the state directory is another: {story}"
    );
}

/// A text that does not end its last line would hide what comes next.
fn whole_lines(text: &str) -> String {
    match text.is_empty() || text.ends_with('\n') {
        true => text.to_owned(),
        false => format!("{text}(no newline)\n"),
    }
}
