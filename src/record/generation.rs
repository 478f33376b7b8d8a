//! The fencing token of a label.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Rises with every new enqueue of a label and is never used again, not even after the label left the ledger.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(u64);

impl Generation {
    /// A generation read from a record.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// max(previous + 1, now in ms).
    pub fn next(previous: Option<Generation>, now_ms: i64) -> Self {
        let floor = previous.map_or(1, |g| g.0.saturating_add(1));
        Self(floor.max(u64::try_from(now_ms).unwrap_or(0)))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Generation {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_even_when_the_clock_goes_back() {
        let first = Generation::next(None, 1_000);
        assert_eq!(first.get(), 1_000);
        assert_eq!(Generation::next(Some(first), 500).get(), 1_001);
        assert_eq!(Generation::next(Some(first), 2_000).get(), 2_000);
        assert_eq!(Generation::next(None, -5).get(), 1);
    }
}
