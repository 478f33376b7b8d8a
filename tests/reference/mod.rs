//! What scripts, ledgers and settings written for openclaw-scheduler's dispatch find here.

mod answers;
mod ledgers;
mod scheduler;
mod settings;
