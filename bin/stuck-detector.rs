//! The `stuck-detector` program: a thin main over the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    dispatch::cli::stuck_detector()
}
