//! Values that flags of several commands take.

pub(super) fn parse_count(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("\"{text}\" is no count; give a whole number from 1, or --all"))
}

/// A generation's number.
///
/// # Errors
/// A sentence that says where the number is found.
pub fn parse_generation(text: &str) -> Result<u64, String> {
    let number = text.parse();
    number.map_err(|_| {
        format!("\"{text}\" is no generation; give the number that 'dispatch status' shows")
    })
}
