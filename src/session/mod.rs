//! Sessions and their evidence: is it alive, what did it last say, has it ended and how.
//!
//! [`mod@line`] and [`terminal`] are pure: transcript lines in, a decision out. [`reader`] finds that decision from the end
//! of a file of any size (cut by [`lines`]), [`follow`] hands out lines as they are appended, [`store`] reads the session store, [`key`]
//! knows session keys, [`routing`] where an event for one goes, [`active`] the chat in which somebody is at work. Nothing here
//! writes to, or locks, another program's file.

pub mod active;
pub mod activity;
pub mod content;
pub mod exec_event;
pub mod follow;
pub mod key;
pub mod line;
pub mod lines;
pub mod reader;
pub mod routing;
pub mod store;
pub mod terminal;
