//! The nouns: labels, generations, entries, statuses, failures, deliveries and steers.
//!
//! Pure data and serde: nothing here reads a file, a clock or the environment.

mod attempt;
mod baseline;
mod change;
mod delivery;
mod entry;
mod failure;
mod generation;
pub mod json;
mod label;
mod older_run;
mod status;
mod steer;
pub mod time;

pub use attempt::{Attempt, Claim, FallbackUse, Selection};
pub use baseline::Baseline;
pub use change::Change;
pub use delivery::{Content, Delivery, DeliveryKind, DeliveryState};
pub use entry::{Entry, MAX_TEXT_BYTES, clip_text};
pub use failure::{Failure, FailureKind};
pub use generation::Generation;
pub use label::{LABEL_MAX_BYTES, Label, LabelError, STEM_MAX_BYTES, file_stem_of};
pub use older_run::OlderRun;
pub use status::{Phase, Status};
pub use steer::Steer;
