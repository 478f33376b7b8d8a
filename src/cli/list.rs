//! `dispatch list`: the labels, newest first.

mod watching;

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};

use anyhow::Result;
use comfy_table::{Cell, Table};
use serde_json::{Value, json};

use super::args::ListArgs;
use super::exit::{OK, usage};
use super::output::Output;
use super::views;
use crate::duration::{format_ago, format_duration};
use crate::home::Home;
use crate::ledger::{Archive, Archived, Book, Ledger};
use crate::nearest::nearest;
use crate::record::{Entry, Status};
use crate::shell;
use crate::watch::recorded_summary;

/// Runs the command.
///
/// # Errors
/// When the ledger cannot be read or the status is no status.
pub fn run(home: &Home, output: Output, args: &ListArgs) -> Result<u8> {
    if args.archived {
        return archived(home, output, args);
    }
    if let Some(label) = &args.label {
        return Err(usage(format!(
            "--label goes with --archived; one label of the ledger is shown by: dispatch status {}",
            shell::label(label)
        )));
    }
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
        output.json(&listed.value(home))?;
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

    fn value(&self, home: &Home) -> Value {
        let row = |(label, entry): &(&str, Entry)| row(home, label, entry);
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

/// What is in the archive alone, read from its end and no further than is shown.
fn archived(home: &Home, output: Output, args: &ListArgs) -> Result<u8> {
    let book = Ledger::new(home).read()?;
    let mut shown: Vec<(String, Entry)> = Vec::new();
    let mut seen = HashSet::new();
    let mut more = false;
    for archived in Archive::new(home).newest_first()? {
        let Archived { label, entry } = archived?;
        let status = entry.status();
        let is_meant = args.label.as_ref().is_none_or(|wanted| *wanted == label)
            && args.status.as_ref().is_none_or(|s| s == status.as_str());
        // A killed call leaves a line twice, or the entry in the ledger.
        let is_in_ledger = || {
            book.get(&label)
                .is_some_and(|e| e.generation() == entry.generation())
        };
        if !is_meant || is_in_ledger() || !seen.insert((label.clone(), entry.generation())) {
            continue;
        }
        if !args.all && shown.len() == args.limit {
            more = true;
            break;
        }
        shown.push((label, entry));
    }
    if let Some(wanted) = args.status.as_ref().filter(|_| shown.is_empty()) {
        check_status(wanted, &book)?;
    }
    if output.is_json() {
        let labels: Vec<Value> = shown.iter().map(|(l, e)| row(home, l, e)).collect();
        output.json(&json!({"ok": true, "count": labels.len(), "more": more, "labels": labels}))?;
        return Ok(OK);
    }
    let rows: Vec<(&str, Entry)> = shown.iter().map(|(l, e)| (l.as_str(), e.clone())).collect();
    let nothing = match args.label.is_some() || args.status.is_some() {
        true => "nothing of that is in the archive",
        false => "nothing is in the archive",
    };
    let lines = match rows.is_empty() {
        true => vec![nothing.to_owned()],
        false => output.table_lines(&table(home, output, &rows)),
    };
    output.lines(&lines)?;
    if more {
        home.say("there are more; --all shows them");
    }
    Ok(OK)
}

/// Statuses that other versions of such a ledger's tools write: asked for, they are no slip.
const FOREIGN: [&str; 2] = ["spawn-warning", "awaiting-spawn"];

/// A status that dispatch writes, or one that another tool writes or wrote into this ledger.
fn check_status(wanted: &str, book: &Book) -> Result<()> {
    let is_written = !matches!(Status::from_text(wanted), Status::Other(_));
    if is_written || FOREIGN.contains(&wanted) {
        return Ok(());
    }
    let found = book.entries().map(|(_, entry)| entry.status());
    let others: BTreeSet<String> = found
        .filter(|status| matches!(status, Status::Other(_)))
        .map(|status| status.to_string())
        .collect();
    if others.contains(wanted) {
        return Ok(());
    }
    let written = Status::WRITTEN.map(|status| status.to_string());
    let names = written.iter().chain(&others).map(String::as_str);
    let hint = nearest(wanted, names)
        .first()
        .map_or_else(String::new, |near| format!("; did you mean {near}?"));
    let mut known = written.join(", ");
    if !others.is_empty() {
        let others: Vec<String> = others.into_iter().collect();
        known += &format!("; in this ledger also {}", others.join(", "));
    }
    Err(usage(format!(
        "--status: \"{wanted}\" is no status ({known}){hint}"
    )))
}

fn row(home: &Home, label: &str, entry: &Entry) -> Value {
    let mut fields = serde_json::Map::new();
    fields.insert("label".to_owned(), json!(label));
    fields.extend(entry.fields().clone());
    if entry.value("summary").is_some() || entry.value("completion").is_some() {
        fields.insert("summary".to_owned(), views::summary(entry));
    }
    fields.entry("summary").or_insert(Value::Null);
    fields.insert("delivery".to_owned(), views::delivery_surface(entry));
    views::add_survivors(home, label, entry, &mut fields);
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
        let summary = recorded_summary(entry).unwrap_or_default();
        let said = entry.text("error").unwrap_or(&summary);
        let open = views::open_deliveries(entry).len();
        let owed = if open > 0 {
            format!("[{open} undelivered] ")
        } else {
            String::new()
        };
        let lives_on = match (
            views::survivor(home, label, entry),
            views::older_survivors(home, label, entry),
        ) {
            (Value::Null, Value::Null) => "",
            (Value::Null, _) => "[an older command lives on] ",
            _ => "[its command lives on] ",
        };
        table.add_row(vec![
            output.label_cell(label),
            output.status_cell(&status, &views::status_text(entry)),
            Cell::new(updated),
            Cell::new(took),
            output.sentence_cell(&format!("{owed}{lives_on}{said}")),
        ]);
    }
    table
}
