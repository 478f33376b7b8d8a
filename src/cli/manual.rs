//! `dispatch man`: a page for each of the four programs, from its command line's definition and what [`pages`] adds.

mod pages;

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, Result};
use clap::Command;
use clap_mangen::Man;
use serde_json::json;

use self::pages::{PAGES, Page};
use super::args::ManArgs;
use super::exit::{OK, usage};
use super::output::{print_generated, print_json, write_stdout};

/// The command lines of the four programs.
pub fn command_lines() -> [Command; 4] {
    PAGES.each_ref().map(|page| (page.definition)())
}

/// Prints a page, or writes all of them and prints their paths; as JSON where that is asked for.
///
/// # Errors
/// When stdout or the directory does not take them.
pub fn run(args: &ManArgs, is_json: bool) -> Result<u8> {
    if let Some(dir) = &args.dir {
        write_all(dir, is_json)?;
        return Ok(OK);
    }
    let page = PAGES.iter().find(|page| page.program == args.program);
    let page = page.ok_or_else(|| usage(format!("there is no program {}", args.program)))?;
    print_generated(&roff(page)?, is_json)?;
    Ok(OK)
}

fn write_all(dir: &Path, is_json: bool) -> Result<()> {
    let mut written = Vec::new();
    fs::create_dir_all(dir)
        .with_context(|| format!("cannot make the directory {}", dir.display()))?;
    for page in &PAGES {
        let path = dir.join(format!("{}.1", page.program));
        fs::write(&path, roff(page)?)
            .with_context(|| format!("cannot write {}", path.display()))?;
        match is_json {
            true => written.push(path),
            false => write_stdout(format!("{}\n", path.display()).as_bytes())?,
        }
    }
    if is_json {
        print_json(&json!({"ok": true, "paths": written}))?;
    }
    Ok(())
}

/// The page in roff.
fn roff(page: &Page) -> io::Result<String> {
    let root = (page.definition)();
    let version = root.get_version().unwrap_or_default().to_owned();
    let whole = Man::new(root.clone());
    let mut body = Vec::new();
    whole.render_name_section(&mut body)?;
    whole.render_synopsis_section(&mut body)?;
    writeln!(body, ".SH DESCRIPTION\n{}", plain(page.description))?;
    whole.render_options_section(&mut body)?;
    if root.has_subcommands() {
        commands(&mut body, &root)?;
    }
    for (head, items) in [
        ("EXIT STATUS", page.exit_status),
        ("FILES", page.files),
        ("ENVIRONMENT", page.environment),
    ] {
        writeln!(body, ".SH \"{head}\"")?;
        for (name, meaning) in items {
            writeln!(body, ".TP\n\\fB{}\\fR\n{}", plain(name), plain(meaning))?;
        }
    }
    whole.render_extra_section(&mut body)?;
    let others = PAGES.iter().filter(|other| other.program != page.program);
    let others: Vec<String> = others
        .map(|other| format!("\\fB{}\\fR(1)", plain(other.program)))
        .collect();
    writeln!(body, ".SH \"SEE ALSO\"\n{}", others.join(", "))?;
    let mut roff = format!(
        ".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n.TH \"{}\" 1 \"\" \"dispatch {version}\"\n",
        page.program.to_uppercase()
    );
    let body = String::from_utf8_lossy(&body).replace(".SH EXTRA\n", ".SH EXAMPLES\n");
    roff.push_str(&tidy(&body));
    Ok(roff)
}

fn commands(body: &mut Vec<u8>, root: &Command) -> io::Result<()> {
    writeln!(body, ".SH COMMANDS")?;
    for command in root.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let about = command.get_about().map(ToString::to_string);
        writeln!(body, ".SS {} {}", root.get_name(), command.get_name())?;
        writeln!(body, "{}", plain(&about.unwrap_or_default()))?;
        for alias in command.get_visible_aliases() {
            writeln!(body, "({alias} is another name for it)")?;
        }
        // What every command has is said once, at the top.
        let globals = root.get_arguments().filter(|arg| arg.is_global_set());
        let own = globals.fold(command.clone(), |own, arg| {
            own.mut_arg(arg.get_id().as_str(), |arg| arg.hide(true))
        });
        let part = Man::new(own.disable_help_flag(true));
        let mut sections = Vec::new();
        part.render_options_section(&mut sections)?;
        part.render_extra_section(&mut sections)?;
        body.write_all(&without_heads(&sections))?;
    }
    Ok(())
}

/// The sections of a command run on below its own head; headings within it stay, as paragraphs.
fn without_heads(sections: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(sections);
    let mut own = String::new();
    for line in text.lines() {
        match line.strip_prefix(".SH ") {
            Some("OPTIONS" | "EXTRA") => own.push_str(".PP\n"),
            Some(head) => own.push_str(&format!(
                ".PP\n\\fI{}\\fR\n",
                head.trim_matches('"').to_lowercase()
            )),
            None => {
                own.push_str(line);
                own.push('\n');
            }
        }
    }
    own.into_bytes()
}

/// Text in which nothing is a request of roff's.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

/// The page without what its sections repeat: the definition of an apostrophe, breaks around nothing.
fn tidy(body: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in body.lines() {
        let is_repeated = line == ".ie \\n(.g .ds Aq \\(aq" || line == ".el .ds Aq '";
        let after = lines.last().copied().unwrap_or_default();
        let is_empty_paragraph = after == ".PP" && (line == ".PP" || line == ".TP");
        if is_repeated || line == ".br" || line.is_empty() {
            // A break or an empty line between two texts parts them, once.
            if !is_repeated && !after.starts_with(".sp") {
                lines.push(".sp");
            }
            continue;
        }
        if is_empty_paragraph || (line.starts_with(".S") && after == ".sp") {
            lines.pop();
        }
        lines.push(line);
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}
