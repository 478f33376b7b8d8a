//! What text of an ended session is delivered: which text, how much of it inline, and where the whole is kept.
//!
//! [`choice`], [`structured`] and [`cap`] are pure; [`artifact`] alone touches files, and it must have run before anything is delivered.

pub mod artifact;
pub mod cap;
pub mod choice;
pub mod structured;
