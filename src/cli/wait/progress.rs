//! What a person at a terminal sees of a wait: a line for each label that still runs. Off a terminal there is nothing.

use std::io::{self, IsTerminal, Stderr};

use unicode_width::UnicodeWidthStr;

use crate::cli::redrawn::{Redrawn, size_of};
use crate::cli::terminal::{escape_untrusted, fit, fit_middle};
use crate::cli::views;
use crate::duration::format_duration;
use crate::home::Home;
use crate::record::Entry;
use crate::watchers::Post;

/// The most columns of a label.
const LABEL_COLUMNS: usize = 30;

/// The lines on stderr, drawn anew as time passes, gone at the end.
pub(super) struct Progress {
    picture: Option<Redrawn<Stderr>>,
}

impl Progress {
    /// Nothing is shown yet.
    pub(super) fn on_stderr() -> Self {
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let on = io::stderr().is_terminal() && !is_dumb;
        Self {
            picture: on.then(|| Redrawn::on(io::stderr())),
        }
    }

    /// Somebody may be looking.
    pub(super) fn is_on(&self) -> bool {
        self.picture.is_some()
    }

    /// Shows what runs now. A terminal that does not take it is no error.
    pub(super) fn show(&mut self, home: &Home, running: &[(String, Entry)]) {
        let Some(picture) = &mut self.picture else {
            return;
        };
        let (columns, rows) = size_of(io::stderr());
        // What is below the screen needs no look at its watcher.
        let shown: Vec<Seen> = running
            .iter()
            .take(rows)
            .map(|(label, entry)| Seen::of(home, label, entry))
            .collect();
        let mut lines = lines(&shown, columns);
        lines.extend(running.iter().skip(rows).map(|(label, _)| label.clone()));
        let _ = picture.draw(&lines, rows);
    }

    /// Takes it away.
    pub(super) fn clear(&mut self) {
        if let Some(picture) = &mut self.picture {
            let _ = picture.clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// One label as it stands.
struct Seen {
    label: String,
    status: String,
    elapsed: String,
    /// What its watcher says.
    watcher: String,
}

impl Seen {
    fn of(home: &Home, label: &str, entry: &Entry) -> Self {
        let post = Post::of(home, label, entry.generation());
        let beat = post.heartbeat(home).filter(|_| post.is_held());
        let started = entry.time("spawnedAt");
        let text = |text: &str| escape_untrusted(text, false).into_owned();
        Self {
            label: text(label),
            status: text(&views::status_text(entry)),
            elapsed: started.map_or_else(String::new, |at| format_duration(home.now_ms() - at)),
            watcher: beat.map_or_else(String::new, |beat| {
                text(&format!("{}: {}", beat.state, beat.reason))
            }),
        }
    }
}

/// One line each, columns below columns, none wider than the terminal.
fn lines(shown: &[Seen], columns: usize) -> Vec<String> {
    let labels: Vec<_> = shown
        .iter()
        .map(|seen| fit_middle(&seen.label, LABEL_COLUMNS))
        .collect();
    let width = |texts: &mut dyn Iterator<Item = &str>| texts.map(UnicodeWidthStr::width).max();
    let label = width(&mut labels.iter().map(AsRef::as_ref)).unwrap_or(0);
    let status = width(&mut shown.iter().map(|seen| seen.status.as_str())).unwrap_or(0);
    let elapsed = width(&mut shown.iter().map(|seen| seen.elapsed.as_str())).unwrap_or(0);
    let padded = |text: &str, to: usize| format!("{text}{}", " ".repeat(to - text.width().min(to)));
    let line = |(seen, name): (&Seen, &std::borrow::Cow<'_, str>)| {
        let line = format!(
            "{}  {}  {}  {}",
            padded(name, label),
            padded(&seen.status, status),
            padded(&seen.elapsed, elapsed),
            seen.watcher
        );
        fit(line.trim_end(), columns).into_owned()
    };
    shown.iter().zip(&labels).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(label: &str, status: &str, elapsed: &str, watcher: &str) -> Seen {
        Seen {
            label: label.to_owned(),
            status: status.to_owned(),
            elapsed: elapsed.to_owned(),
            watcher: watcher.to_owned(),
        }
    }

    #[test]
    fn columns_stand_below_columns_and_lines_fit() {
        let shown = [
            seen(
                "notes",
                "running",
                "1m 3s",
                "watching: the session is at work",
            ),
            seen("日本", "running (accepting)", "2s", ""),
        ];
        assert_eq!(
            lines(&shown, 80),
            [
                "notes  running              1m 3s  watching: the session is at work",
                "日本   running (accepting)  2s",
            ]
        );
        assert_eq!(
            lines(&shown, 40),
            [
                "notes  running              1m 3s  watc…",
                "日本   running (accepting)  2s",
            ]
        );
    }
}
