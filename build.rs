//! Links the unwinder statically where the C compiler has it as an archive.
//!
//! The standard library asks for the shared libgcc_s alone for it, and finding and relocating that library costs every
//! start of every program more time than the program itself. Where there is no archive nothing changes.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    let host = std::env::var("HOST").unwrap_or_default();
    if !target.ends_with("linux-gnu") || target != host {
        return;
    }
    let Ok(asked) = Command::new("cc")
        .arg("-print-file-name=libgcc_eh.a")
        .output()
    else {
        return;
    };
    let answer = String::from_utf8_lossy(&asked.stdout);
    let archive = Path::new(answer.trim());
    // A compiler that does not have it answers with the bare name.
    if let (true, Some(dir)) = (archive.is_absolute() && archive.is_file(), archive.parent()) {
        println!("cargo:rustc-link-search=native={}", dir.display());
        println!("cargo:rustc-link-lib=static:-bundle=gcc_eh");
    }
}
