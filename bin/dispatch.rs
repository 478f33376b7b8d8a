//! The `dispatch` program: a thin main over the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    dispatch::cli::dispatch()
}
