//! Many at once: recovery beside living watchers, racing callers, and a model of what was acknowledged.

mod mixed;
mod races;
pub mod recovery;
