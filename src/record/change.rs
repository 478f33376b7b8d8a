//! What one write of the ledger did to a label.

use super::Entry;

/// A label's entry before and after one write.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The label.
    pub label: String,
    /// As it was; `None` where there was none.
    pub before: Option<Entry>,
    /// As it is; `None` where it was taken out.
    pub after: Option<Entry>,
}
