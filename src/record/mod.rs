//! The nouns: pure data, no I/O.

mod baseline;

pub use baseline::Baseline;
