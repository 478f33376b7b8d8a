//! `dispatch list`: the labels, newest first.

mod watching;

use std::cmp::Reverse;

use anyhow::Result;
use comfy_table::{Cell, Table};
use serde_json::{Value, json};

use super::args::ListArgs;
use super::exit::{OK, usage};
use super::output::Output;
use super::views;
use crate::duration::{format_ago, format_duration};
use crate::home::Home;
use crate::ledger::{Book, Ledger};
use crate::nearest::nearest;
use crate::record::{Entry, Status};

/// Runs the command.
///
/// # Errors
/// When the ledger cannot be read or the status is no status.
pub fn run(home: &Home, output: Output, args: &ListArgs) -> Result<u8> {
    let book = Ledger::new(home).read()?;
    if let Some(wanted) = &args.status {
        check_status(wanted, &book)?;
    }
    if args.watch {
        return watching::run(home, output, args);
    }
    let listed = listed(&book, args);
    listed.warn(home);
    if output.is_json() {
        output.json(&listed.value())?;
        return Ok(OK);
    }
    output.lines(&listed.lines(home, output))?;
    if listed.left_out() > 0 {
        home.say(&format!("{} more; --all shows them", listed.left_out()));
    }
    Ok(OK)
}

/// The labels that were asked for.
struct Listed<'a> {
    rows: Vec<(&'a str, Entry)>,
    /// How many there are, beyond the limit too.
    total: usize,
    /// Entries of the ledger that are no entries.
    unread: usize,
    /// Said when there is none.
    nothing: String,
}

fn listed<'a>(book: &'a Book, args: &ListArgs) -> Listed<'a> {
    let mut rows: Vec<(&str, Entry)> = book.entries().collect();
    let unread = book.labels().count() - rows.len();
    let mut nothing =
        "there are no labels yet; 'dispatch enqueue --help' shows how to make one".to_owned();
    if let Some(wanted) = &args.status {
        if !rows.is_empty() {
            nothing = format!("no label has the status {wanted}");
        }
        rows.retain(|(_, entry)| entry.status().as_str() == wanted);
    }
    rows.sort_by_key(|(_, entry)| Reverse(entry.time("updatedAt").unwrap_or(0)));
    let total = rows.len();
    if !args.all {
        rows.truncate(args.limit);
    }
    Listed {
        rows,
        total,
        unread,
        nothing,
    }
}

impl Listed<'_> {
    fn warn(&self, home: &Home) {
        let unread = self.unread;
        if unread > 0 {
            home.say(&format!(
                "warn: {unread} of the ledger's entries cannot be read and are not listed; 'dispatch doctor' names them"
            ));
        }
    }

    fn left_out(&self) -> usize {
        self.total - self.rows.len()
    }

    fn value(&self) -> Value {
        let row = |(label, entry): &(&str, Entry)| row(label, entry);
        let labels: Vec<Value> = self.rows.iter().map(row).collect();
        json!({"ok": true, "count": labels.len(), "total": self.total, "labels": labels})
    }

    fn lines(&self, home: &Home, output: Output) -> Vec<String> {
        match self.rows.is_empty() {
            true => vec![self.nothing.clone()],
            false => output.table_lines(&table(home, output, &self.rows)),
        }
    }
}

/// A status that dispatch writes, or one that another tool wrote into this ledger.
fn check_status(wanted: &str, book: &Book) -> Result<()> {
    let is_known = matches!(Status::from_text(wanted), Status::Other(_)).then(|| {
        book.entries()
            .any(|(_, entry)| entry.status().as_str() == wanted)
    });
    if is_known.unwrap_or(true) {
        return Ok(());
    }
    let names = Status::WRITTEN.map(|status| status.as_str().to_owned());
    let hint = nearest(wanted, names.iter().map(String::as_str))
        .first()
        .map_or_else(String::new, |near| format!("; did you mean {near}?"));
    Err(usage(format!(
        "--status: \"{wanted}\" is no status (running, done, error, interrupted, cancelled){hint}"
    )))
}

fn row(label: &str, entry: &Entry) -> Value {
    let mut fields = serde_json::Map::new();
    fields.insert("label".to_owned(), json!(label));
    fields.extend(entry.fields().clone());
    fields.insert("delivery".to_owned(), views::delivery_surface(entry));
    Value::Object(fields)
}

fn table(home: &Home, output: Output, rows: &[(&str, Entry)]) -> Table {
    let now = home.now_ms();
    let mut table = output.table(&["LABEL", "STATUS", "UPDATED", "TOOK", "SUMMARY"]);
    for (label, entry) in rows {
        let status = entry.status();
        let start = entry.time("spawnedAt");
        let end = entry
            .time("endedAt")
            .or((status == Status::Running).then_some(now));
        let took = match (start, end) {
            (Some(start), Some(end)) => format_duration((end - start).max(0)),
            _ => String::new(),
        };
        let updated = entry
            .time("updatedAt")
            .map_or_else(String::new, |at| format_ago(now - at));
        let said = entry
            .text("error")
            .or(entry.text("summary"))
            .unwrap_or_default();
        let open = views::open_deliveries(entry).len();
        let owed = if open > 0 {
            format!("[{open} undelivered] ")
        } else {
            String::new()
        };
        table.add_row(vec![
            output.label_cell(label),
            output.status_cell(&status, &views::status_text(entry)),
            Cell::new(updated),
            Cell::new(took),
            output.sentence_cell(&format!("{owed}{said}")),
        ]);
    }
    table
}
