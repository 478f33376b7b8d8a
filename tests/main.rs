//! The integration tests: one binary, a module per command or capability.

mod session;
