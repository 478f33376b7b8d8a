//! A state directory with the programs that work in it, and ledgers of any size.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The checklist of a plain completion signal.
pub const DONE: &str = "{\"work_complete\":true}";

pub struct House {
    pub dir: tempfile::TempDir,
}

impl House {
    pub fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    pub fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    pub fn ledger(&self) -> PathBuf {
        self.state().join("labels.json")
    }

    pub fn command(&self, name: &str, words: &[&str]) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_dispatch")).with_file_name(name);
        let mut command = quiet(program);
        command.args(words);
        command
            .env("HOME", self.dir.path())
            .env("DISPATCH_HOME", self.state());
        command
    }

    /// Writes a ledger of ended labels, about 1,100 bytes each. Returns its size.
    pub fn fill(&self, labels: usize) -> u64 {
        let mut text = String::from("{");
        for n in 0..labels {
            let comma = if n == 0 { "" } else { "," };
            write!(
                text,
                "{comma}\n  \"label-{n:06}\": {{\n    \"sessionKey\": \"agent:main:subagent:00000000-0000-4000-8000-{n:012}\",\n    \"status\": \"done\",\n    \"spawnedAt\": \"2026-11-21T10:00:00.000Z\",\n    \"updatedAt\": \"2026-11-21T10:01:00.000Z\",\n    \"taskPrompt\": \"{}\",\n    \"summary\": \"{}\",\n    \"generation\": {n},\n    \"rev\": 3\n  }}",
                "Read the report and say what is in it. ".repeat(16),
                "It says \\\"all is well\\\". ".repeat(9),
            )
            .expect("a text takes everything");
        }
        text.push_str("\n}\n");
        fs::create_dir_all(self.state()).expect("creatable");
        fs::write(self.ledger(), &text).expect("writable");
        text.len() as u64
    }
}

/// A command that reads and prints nothing.
pub fn quiet(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

pub fn run(mut command: Command) {
    let status = command.status().expect("the program starts");
    assert!(status.success(), "{command:?}: {status}");
}
