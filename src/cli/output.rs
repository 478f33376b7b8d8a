//! What goes to stdout: JSON for programs, tables and plain text for people.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use serde_json::{Value, json};

use super::args::OutputChoice;
use super::terminal::{escape_untrusted, fit, fit_middle, wrapped};
use crate::paths::Environment;
use crate::record::Status;

/// The width of a terminal that does not tell it.
pub(super) const USUAL_COLUMNS: u16 = 80;

/// Nothing readable fits into less.
const LEAST_COLUMNS: u16 = 20;

/// The most columns of a label where there is a width to keep to; a third of a narrow terminal.
const LABEL_COLUMNS: std::ops::RangeInclusive<usize> = 8..=40;

/// The least columns of another tool's status; those of dispatch are shown whole.
const STATUS_COLUMNS: usize = 16;

/// The most columns of a sentence in a table.
const SENTENCE_COLUMNS: usize = 60;

/// The last column gets at least so many: columns in the middle are left out for it.
const LAST_COLUMNS: u16 = 16;

/// The width of a check's mark.
const CHECK_COLUMNS: usize = 6;

/// How this run prints.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    terminal: bool,
    color: bool,
    columns: Option<u16>,
}

/// What the environment says about the screen.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    /// Colours are unwanted (`NO_COLOR`), or the terminal has none (`TERM=dumb`).
    pub is_plain: bool,
    /// The width that was asked for (`COLUMNS`).
    pub columns: Option<u16>,
}

impl Screen {
    /// Reads `NO_COLOR`, `TERM` and `COLUMNS`; one that is set to nothing counts as unset.
    pub fn from_environment(env: Environment<'_>) -> Self {
        let set = |name: &str| env(name).filter(|value| !value.is_empty());
        let is_dumb = set("TERM").is_some_and(|term| term == "dumb");
        let columns = set("COLUMNS").and_then(|text| text.to_str()?.parse().ok());
        Self {
            is_plain: set("NO_COLOR").is_some() || is_dumb,
            columns: columns.filter(|columns| *columns > 0),
        }
    }
}

impl Output {
    /// Works out the form from the flags and from what stdout is.
    pub fn new(choice: OutputChoice, json: bool, screen: Screen) -> Self {
        let terminal = io::stdout().is_terminal();
        let json = match (json, choice) {
            (true, _) | (false, OutputChoice::Json) => true,
            (false, OutputChoice::Table) => false,
            (false, OutputChoice::Auto) => !terminal,
        };
        Self {
            json,
            terminal,
            color: terminal && !screen.is_plain,
            columns: screen.columns,
        }
    }

    /// JSON is wanted.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Stdout is a terminal.
    pub fn is_terminal(self) -> bool {
        self.terminal
    }

    /// Prints a JSON value on one line: one of a stream.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn json_line(self, value: &Value) -> io::Result<()> {
        let mut text = serde_json::to_string(value)?;
        text.push('\n');
        write_stdout(text.as_bytes())
    }

    /// Prints an answer where the caller's stdout is its reply to somebody else: on stderr, in a line.
    ///
    /// # Errors
    /// Never; a closed stderr is no error.
    pub fn aside(self, brand: &str, line: &str) -> io::Result<()> {
        let _ = writeln!(io::stderr(), "[{brand}] {line}");
        Ok(())
    }

    /// Prints a JSON value, indented, with a final newline.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn json(self, value: &Value) -> io::Result<()> {
        print_json(value)
    }

    /// Prints text that an agent or a command wrote, with a final newline; on a terminal its control characters show
    /// instead of acting.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn untrusted(self, text: &str) -> io::Result<()> {
        self.untrusted_piece(text)?;
        match text.ends_with('\n') {
            true => Ok(()),
            false => write_stdout(b"\n"),
        }
    }

    /// A line that begins with how a check went.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn check(self, mark: &str, color: u8, line: &str) -> io::Result<()> {
        let pad = " ".repeat(CHECK_COLUMNS.saturating_sub(mark.len()));
        let mark = match self.color {
            true => format!("\x1b[{color}m{mark}\x1b[0m"),
            false => mark.to_owned(),
        };
        write_stdout(format!("{mark}{pad} ").as_bytes())?;
        self.untrusted(line)
    }

    /// The line above what somebody said: when, and who; `is_bad` where something went wrong.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn heading(self, clock: &str, who: &str, is_bad: bool) -> io::Result<()> {
        if !self.color {
            return self.untrusted(&format!("[{clock}] {who}"));
        }
        let color = if is_bad { 31 } else { 1 };
        let who = escape_untrusted(who, false);
        write_stdout(format!("\x1b[2m[{clock}]\x1b[0m \x1b[{color}m{who}\x1b[0m\n").as_bytes())
    }

    /// A line that is not what somebody said but about it, cut where there is no room for it.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn remark(self, line: &str) -> io::Result<()> {
        let line = escape_untrusted(line, false);
        let columns = self.columns().map_or(SENTENCE_COLUMNS * 2, usize::from);
        let line = fit(&line, columns);
        match self.color {
            true => write_stdout(format!("\x1b[2m{line}\x1b[0m\n").as_bytes()),
            false => write_stdout(format!("{line}\n").as_bytes()),
        }
    }

    /// As [`Output::untrusted`], without the newline: pieces of a stream.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn untrusted_piece(self, text: &str) -> io::Result<()> {
        match self.terminal {
            true => write_stdout(escape_untrusted(text, true).as_bytes()),
            false => write_stdout(text.as_bytes()),
        }
    }

    /// A text from the ledger, fit for a table's cell.
    pub fn cell_text(self, text: &str) -> String {
        let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        match self.terminal {
            true => escape_untrusted(&one_line, false).into_owned(),
            false => one_line,
        }
    }

    /// An empty table with these column heads.
    pub fn table(self, heads: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        match self.columns() {
            Some(columns) => table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(columns),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if !heads.is_empty() {
            table.set_header(heads.iter().map(|head| {
                let cell = Cell::new(head);
                if self.color {
                    cell.add_attribute(Attribute::Bold)
                } else {
                    cell
                }
            }));
        }
        if !self.color {
            table.force_no_tty();
        }
        table
    }

    /// The width to keep to: what was asked for, else the terminal's. A pipe has none, so that its lines stay whole.
    fn columns(self) -> Option<u16> {
        let own = || {
            let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
            let columns = size.map(|size| size.ws_col).filter(|columns| *columns > 0);
            self.terminal.then(|| columns.unwrap_or(USUAL_COLUMNS))
        };
        let columns = self.columns.or_else(own)?;
        Some(columns.max(LEAST_COLUMNS))
    }

    /// A label for a table: where there is a width to keep to a long one loses its middle, so that the others are not
    /// pushed aside.
    pub fn label_cell(self, label: &str) -> Cell {
        Cell::new(self.name_text(label, *LABEL_COLUMNS.start()))
    }

    /// A name of any length, of which at least so many columns are shown.
    fn name_text(self, name: &str, least: usize) -> String {
        let text = self.cell_text(name);
        let Some(columns) = self.columns() else {
            return text;
        };
        let third = usize::from(columns / 3);
        let most = third.clamp(least, *LABEL_COLUMNS.end());
        fit_middle(&text, most).into_owned()
    }

    /// A sentence for a table's last column, a long one cut.
    pub fn sentence_cell(self, text: &str) -> Cell {
        Cell::new(fit(&self.cell_text(text), SENTENCE_COLUMNS))
    }

    /// A status in its colour. One that another tool wrote may be of any length, and is cut as a label is.
    pub fn status_cell(self, status: &Status, text: &str) -> Cell {
        let cell = Cell::new(match status {
            Status::Other(_) => self.name_text(text, STATUS_COLUMNS),
            _ => self.cell_text(text),
        });
        match self.color {
            true => cell.fg(color_of(status)),
            false => cell,
        }
    }

    /// Prints a table.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn print_table(self, table: &Table) -> io::Result<()> {
        self.lines(&self.table_lines(table))
    }

    /// Prints lines that are fit for what stdout is.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn lines(self, lines: &[String]) -> io::Result<()> {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        write_stdout(text.as_bytes())
    }

    /// A table's lines, none wider than there is room.
    ///
    /// The last column is broken into lines where its text is too long for the rest of the width. Where next to nothing is
    /// left of it, columns between the second and the last are left out, from the right, and then the last one, too.
    pub fn table_lines(self, table: &Table) -> Vec<String> {
        let mut table = table.clone();
        let last = table.column_count().saturating_sub(1);
        let widths = table.column_max_content_widths();
        let mut left_out = last..last;
        let mut is_room = true;
        if let Some(columns) = self.columns().map(usize::from) {
            let wanted = widths.last().map_or(0, |width| LAST_COLUMNS.min(*width));
            let width = |width: &u16| usize::from(*width) + usize::from(GAP);
            let before = |shown: usize| widths.iter().take(shown).map(width).sum::<usize>();
            while left_out.start > 2 && before(left_out.start) + usize::from(wanted) > columns {
                left_out.start -= 1;
            }
            let rest = columns.saturating_sub(before(left_out.start));
            is_room = rest > 0;
            if last >= 2 && rest < usize::from(wanted.min(LAST_COLUMNS / 2)) {
                left_out.end += 1;
            }
        }
        for (index, column) in table.column_iter_mut().enumerate() {
            let is_last = index == last;
            column.set_padding((0, if is_last { 0 } else { GAP }));
            if left_out.contains(&index) {
                column.set_constraint(ColumnConstraint::Hidden);
            } else if !is_last && is_room {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        let text = table.to_string();
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    /// Prints `name  value` lines. Sentences are broken between words; keys and paths stay whole, they are there to be
    /// copied. A status has its colour.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn facts(self, facts: &[(&str, String)]) -> io::Result<()> {
        let mut table = self.table(&[]);
        table.set_content_arrangement(ContentArrangement::Disabled);
        let names = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let room = self
            .columns()
            .map(|columns| usize::from(columns).saturating_sub(names + usize::from(GAP)));
        for (name, value) in facts {
            let text = self.cell_text(value);
            let text = room.map_or(text.clone(), |room| wrapped(&text, room).join("\n"));
            let (name_cell, mut cell) = (Cell::new(name), Cell::new(text));
            if *name == "status" && self.color {
                let word = value.split(' ').next().unwrap_or_default();
                cell = cell.fg(color_of(&Status::from_text(word)));
            }
            let name_cell = match self.color {
                true => name_cell.add_attribute(Attribute::Dim),
                false => name_cell,
            };
            table.add_row(vec![name_cell, cell]);
        }
        for column in table.column_iter_mut() {
            column.set_padding((0, GAP));
        }
        let text = table.to_string();
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.trim_end().to_owned())
            .collect();
        self.lines(&lines)
    }
}

/// Columns between two columns of a table.
const GAP: u16 = 2;

fn color_of(status: &Status) -> Color {
    match status {
        Status::Done => Color::Green,
        Status::Running => Color::Cyan,
        Status::Error => Color::Red,
        Status::Interrupted | Status::Cancelled => Color::Yellow,
        Status::Other(_) => Color::Magenta,
    }
}

/// Writes to stdout and flushes.
///
/// # Errors
/// When stdout does not take it.
pub fn write_stdout(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}

/// Prints a generated text as it is, or as JSON that holds it.
///
/// # Errors
/// When stdout does not take it.
pub fn print_generated(text: &str, is_json: bool) -> io::Result<()> {
    match is_json {
        true => print_json(&json!({"ok": true, "text": text})),
        false => write_stdout(text.as_bytes()),
    }
}

/// Prints a JSON value, indented, with a final newline.
///
/// # Errors
/// When stdout does not take it.
pub fn print_json(value: &Value) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    write_stdout(text.as_bytes())
}
