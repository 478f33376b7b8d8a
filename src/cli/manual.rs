//! The manual: one page with every command and its flags.

use std::io::{self, Write};

use clap::Command;
use clap_mangen::Man;

/// The page in roff.
///
/// # Errors
/// None in practice: it is written to memory.
pub fn page(root: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let whole = Man::new(root.clone());
    whole.render_title(&mut page)?;
    whole.render_name_section(&mut page)?;
    whole.render_synopsis_section(&mut page)?;
    whole.render_options_section(&mut page)?;
    writeln!(page, ".SH COMMANDS")?;
    for command in root.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        let about = command.get_about().map(ToString::to_string);
        writeln!(page, ".SS {} {}", root.get_name(), command.get_name())?;
        writeln!(page, "{}", about.unwrap_or_default())?;
        let part = Man::new(command.clone().disable_help_flag(true));
        let mut sections = Vec::new();
        part.render_options_section(&mut sections)?;
        part.render_extra_section(&mut sections)?;
        page.write_all(&without_heads(&sections))?;
    }
    whole.render_extra_section(&mut page)?;
    whole.render_version_section(&mut page)?;
    Ok(page)
}

/// The sections of a command run on below its own head.
fn without_heads(sections: &[u8]) -> Vec<u8> {
    let lines = sections.split_inclusive(|byte| *byte == b'\n');
    let lines = lines.map(|line| match line.starts_with(b".SH ") {
        true => b".PP\n".as_slice(),
        false => line,
    });
    lines.collect::<Vec<_>>().concat()
}
