//! The local backend: commands run by the real programs, from their environment to every way they can end.

mod crashes;
mod enqueue_rules;
mod environment;
mod moved;
mod output;
mod own_words;
mod prune;
mod retry;
mod runtimes;
mod sessions;
mod stopping;
mod survivors;
pub mod takeovers;
mod undescribed;
