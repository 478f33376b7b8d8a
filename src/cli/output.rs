//! What goes to stdout: JSON for programs, tables and plain text for people.

use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};
use serde_json::Value;

use super::args::OutputChoice;
use super::terminal::escape_untrusted;
use crate::record::Status;

/// The most characters of a label in a table on a terminal.
const MAX_LABEL_CHARS: usize = 40;

/// How this run prints.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    json: bool,
    terminal: bool,
    color: bool,
}

impl Output {
    /// Works out the form from the flags and from what stdout is.
    pub fn new(choice: OutputChoice, json: bool, no_color: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let json = match (json, choice) {
            (true, _) | (false, OutputChoice::Json) => true,
            (false, OutputChoice::Table) => false,
            (false, OutputChoice::Auto) => !terminal,
        };
        Self {
            json,
            terminal,
            color: terminal && !no_color,
        }
    }

    /// JSON is wanted.
    pub fn is_json(self) -> bool {
        self.json
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
        let mut text = serde_json::to_string_pretty(value)?;
        text.push('\n');
        write_stdout(text.as_bytes())
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

    /// The width that tables have to keep to. A terminal that nobody has told its size says 0 columns.
    fn columns(self) -> Option<u16> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        (self.terminal && size.ws_col > 0).then_some(size.ws_col)
    }

    /// A label for a table: on a terminal a long one is cut, so that the others are not pushed aside.
    pub fn label_cell(self, label: &str) -> Cell {
        let text = self.cell_text(label);
        let is_long = self.terminal && text.chars().count() > MAX_LABEL_CHARS;
        Cell::new(match is_long {
            true => text
                .chars()
                .take(MAX_LABEL_CHARS - 1)
                .chain(['…'])
                .collect(),
            false => text,
        })
    }

    /// A status in its colour.
    pub fn status_cell(self, status: &Status, text: &str) -> Cell {
        let cell = Cell::new(self.cell_text(text));
        if !self.color {
            return cell;
        }
        cell.fg(match status {
            Status::Done => Color::Green,
            Status::Running => Color::Cyan,
            Status::Error => Color::Red,
            Status::Interrupted | Status::Cancelled => Color::Yellow,
            Status::Other(_) => Color::Magenta,
        })
    }

    /// Prints a table.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn print_table(self, table: &Table) -> io::Result<()> {
        let mut table = table.clone();
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        let mut text: String = table
            .to_string()
            .lines()
            .map(|line| format!("{}\n", line.trim_end()))
            .collect();
        if text.is_empty() {
            text.push('\n');
        }
        write_stdout(text.as_bytes())
    }

    /// Prints `name  value` lines, each whole: keys and paths are there to be copied.
    ///
    /// # Errors
    /// When stdout does not take it.
    pub fn facts(self, facts: &[(&str, String)]) -> io::Result<()> {
        let mut table = self.table(&[]);
        table.set_content_arrangement(ContentArrangement::Disabled);
        for (name, value) in facts {
            let name = Cell::new(name);
            let name = if self.color {
                name.add_attribute(Attribute::Dim)
            } else {
                name
            };
            table.add_row(vec![name, Cell::new(self.cell_text(value))]);
        }
        self.print_table(&table)
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
