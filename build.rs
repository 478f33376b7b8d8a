//! How the programs are linked on Linux, for the time that each of their many starts takes.
//!
//! The unwinder is linked statically where the C compiler has it as an archive: the standard library asks for the shared
//! libgcc_s alone for it, and finding and relocating that library costs every start more time than the program itself.
//! Where there is no archive nothing changes.
//!
//! The programs are linked to a fixed address. At any other one the loader would have to write each of some thousand
//! pointers anew before the first line runs, on pages that every process then has for itself: a quarter of the time of a
//! small command, and a quarter of a megabyte of each watcher. Stack, heap and libraries stay where chance puts them.
//!
//! The functions that the common commands call stand together in a released program. Strewn over six megabytes, each few
//! of them would be a page fault of their own. `link/start.names` has their names, as `link/record-start.sh` found them.
//! A linker that does not take the script links without it.

use std::path::{Path, PathBuf};
use std::process::Command;

const NAMES: &str = "link/start.names";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={NAMES}");
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
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
        let names = std::fs::read_to_string(NAMES).expect("the list of names is beside build.rs");
        let script = out.join("start.ld");
        std::fs::write(&script, together(&names)).expect("cargo's own directory is writable");
        // In one word with commas a path with a comma would be two.
        let flags = ["-T".to_owned(), script.display().to_string()];
        if links(&out, &flags) {
            for flag in flags {
                println!("cargo:rustc-link-arg-bins={flag}");
            }
        }
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

/// Whether the linker that will link the programs takes these flags: some do not know such scripts.
fn links(out: &Path, flags: &[String]) -> bool {
    let source = out.join("trial.rs");
    std::fs::write(&source, "fn main() {}").expect("cargo's own directory is writable");
    let mut rustc = Command::new(std::env::var_os("RUSTC").expect("cargo sets it"));
    rustc.arg(source).arg("-o").arg(out.join("trial"));
    let chosen = std::env::var("CARGO_ENCODED_RUSTFLAGS").unwrap_or_default();
    rustc.args(chosen.split('\u{1f}').filter(|flag| !flag.is_empty()));
    if let Ok(linker) = std::env::var("RUSTC_LINKER") {
        rustc.arg(format!("-Clinker={linker}"));
    }
    rustc.args(flags.iter().map(|flag| format!("-Clink-arg={flag}")));
    rustc.output().is_ok_and(|tried| tried.status.success())
}

/// A script that adds one section to the linker's own: the functions of these names, whatever their hashes are.
fn together(names: &str) -> String {
    let mut script = String::from("SECTIONS { .text.start : {\n");
    for name in names.lines() {
        // A dollar sign would need quotes, within which a star would not be a pattern.
        let name = name.replace('$', "?");
        script += &format!("*(.text.{name}* .text.unlikely.{name}*)\n");
    }
    script + "} } INSERT BEFORE .text;\n"
}
