//! Random moments.
