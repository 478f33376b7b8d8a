//! Crash safety: every program is ended, or made to fail, at each of its storage calls, and at random moments.
//!
//! A scenario runs in a state directory of its own, with one fault in one program. Then comes what a user's system runs
//! next, without the fault, until nothing is left to do; and then nothing that was acknowledged may be lost, nothing
//! done twice, nothing locked and nothing left running. The loop over N ends with the first N that a program does not
//! reach. Deaths are tried in every gap (power cuts of the watcher in every second), failing calls in every sixth, each kind
//! in others.
//!
//! All of it, each fault at every call and 3,000 random kills: `DISPATCH_TEST_LONG=1 cargo test --locked crash::`

mod commands;
mod damage;
mod faults;
mod outcome;
mod random;
mod sessions;
mod signals;
