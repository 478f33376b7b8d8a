//! The stuck detector: which sessions that should be at work are silent, who was nudged, who is to be told.
//!
//! Three phases. A session that shows any sign of work, or is somebody's at this moment, is let be. One that was silent
//! for longer than it may is nudged once and given one cycle. One that stays silent is told of, and then only when two
//! witnesses that do not know of each other agree. [`rules`] decides and is pure; [`memory`] keeps from run to run who was
//! nudged when.

pub mod memory;
pub mod rules;
