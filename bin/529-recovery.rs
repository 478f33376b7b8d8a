//! The `529-recovery` program: a thin main over the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    dispatch::cli::recovery()
}
