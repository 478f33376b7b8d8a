//! How the programs are linked on Linux, for the time that each of their many starts takes.
//!
//! The unwinder is linked statically where the C compiler has it as an archive: the standard library asks for the shared
//! libgcc_s alone for it, and finding and relocating that library costs every start more time than the program itself.
//! Where there is no archive nothing changes.
//!
//! The programs are linked to a fixed address. At any other one the loader would have to write each of some thousand
//! pointers anew before the first line runs, on pages that every process then has for itself: a quarter of the time of a
//! small command, and a quarter of a megabyte of each watcher. Stack, heap and libraries stay where chance puts them.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = std::env::var("TARGET").unwrap_or_default();
    let host = std::env::var("HOST").unwrap_or_default();
    if !target.ends_with("linux-gnu") || target != host {
        return;
    }
    // A program without a loader is moved by itself, if at all.
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if !features.split(',').any(|feature| feature == "crt-static") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
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
