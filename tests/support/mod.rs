//! A state directory of its own for each test, the real programs, and waiting on conditions.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How long any condition may take on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A state directory with the programs that work in it. Everything that still runs in it is killed at the end.
pub struct House {
    dir: tempfile::TempDir,
}

/// What a program did.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Stdout as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// The path of one of the four programs.
pub fn program(name: &str) -> PathBuf {
    let dispatch = PathBuf::from(env!("CARGO_BIN_EXE_dispatch"));
    dispatch.with_file_name(name)
}

impl House {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Self { dir }
    }

    /// The directory that holds everything of this test: `state` is the state directory, `user` the user's home.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.root().join("state")
    }

    /// The ledger.
    pub fn ledger_path(&self) -> PathBuf {
        self.state().join("labels.json")
    }

    /// The ledger's content.
    pub fn ledger(&self) -> Value {
        let bytes = fs::read(self.ledger_path()).expect("the ledger is there");
        serde_json::from_slice(&bytes).expect("the ledger is JSON")
    }

    /// One label's entry, `null` when there is none.
    pub fn entry(&self, label: &str) -> Value {
        match fs::read(self.ledger_path()) {
            Ok(bytes) => {
                serde_json::from_slice::<Value>(&bytes).expect("the ledger is JSON")[label].clone()
            }
            Err(_) => Value::Null,
        }
    }

    /// Puts a ledger in place.
    pub fn write_ledger(&self, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.state()).expect("creatable");
        fs::write(self.ledger_path(), text).expect("writable");
    }

    /// A program, ready to be run in this house: nothing of the caller's environment but PATH reaches it.
    pub fn command(&self, name: &str) -> Command {
        let user = self.root().join("user");
        fs::create_dir_all(&user).expect("creatable");
        let mut command = Command::new(program(name));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", user)
            .env("DISPATCH_HOME", self.state())
            .current_dir(self.root())
            .stdin(Stdio::null());
        command
    }

    /// Runs `dispatch` with these words.
    pub fn dispatch(&self, words: &[&str]) -> Ran {
        let mut command = self.command("dispatch");
        command.args(words);
        run(command, b"")
    }

    /// Runs another program with these words.
    pub fn run(&self, name: &str, words: &[&str]) -> Ran {
        let mut command = self.command(name);
        command.args(words);
        run(command, b"")
    }

    /// Runs `dispatch` with stdin.
    pub fn dispatch_with_stdin(&self, words: &[&str], stdin: &[u8]) -> Ran {
        let mut command = self.command("dispatch");
        command.args(words).stdin(Stdio::piped());
        run(command, stdin)
    }

    /// Enqueues a shell script under a label.
    #[track_caller]
    pub fn enqueue(&self, label: &str, script: &str) -> Ran {
        self.dispatch(&["enqueue", "--label", label, "--", "sh", "-c", script])
            .exits(0)
    }

    /// Waits until the label's status is anything but running, and returns its entry.
    #[track_caller]
    pub fn ended(&self, label: &str) -> Value {
        eventually(&format!("label {label} ends"), || {
            let entry = self.entry(label);
            (entry["status"].is_string() && entry["status"] != "running").then_some(entry)
        })
    }

    /// The pids of all processes that work in this house.
    pub fn processes(&self) -> Vec<u32> {
        let marker = self.root().as_os_str().as_encoded_bytes().to_vec();
        let me = std::process::id();
        let mut pids = Vec::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|n| n.parse::<u32>().ok())
            else {
                continue;
            };
            let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
            let is_ours = environ.windows(marker.len()).any(|window| window == marker);
            if pid != me && is_ours {
                pids.push(pid);
            }
        }
        pids
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for _ in 0..100 {
            let pids = self.processes();
            if pids.is_empty() {
                break;
            }
            for pid in pids {
                kill(pid, "KILL");
            }
        }
    }
}

/// Runs a command to its end with this stdin.
pub fn run(mut command: Command, stdin: &[u8]) -> Ran {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    if let Some(mut pipe) = child.stdin.take() {
        // A program that does not read its stdin is no failure of the test.
        let _ = pipe.write_all(stdin);
    }
    finish(child)
}

/// Waits for a child that was started with pipes.
pub fn finish(child: Child) -> Ran {
    let output = child
        .wait_with_output()
        .expect("the program can be waited for");
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits until `look` gives something.
#[track_caller]
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sends a signal by name.
pub fn kill(pid: u32, signal: &str) {
    let _ = Command::new("kill")
        .args([format!("-{signal}"), pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

impl House {
    /// Every path in the state directory with what it holds (directories: nothing).
    pub fn state_files(&self) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
        let mut found = std::collections::BTreeMap::new();
        let mut dirs = vec![self.state()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
                let path = entry.path();
                let content = match path.is_dir() {
                    true => Vec::new(),
                    false => fs::read(&path).expect("readable"),
                };
                if path.is_dir() {
                    dirs.push(path.clone());
                }
                found.insert(path, content);
            }
        }
        found
    }

    /// Puts a `config.json` in place.
    pub fn write_config(&self, text: &str) {
        fs::create_dir_all(self.state()).expect("creatable");
        fs::write(self.state().join("config.json"), text).expect("writable");
    }

    /// Runs `dispatch` with these words on a terminal of 200 columns (or `TERMINAL_COLUMNS` of `variables`), stdout and stderr in one; `None`, with a line,
    /// where util-linux's `script` is missing.
    pub fn dispatch_on_terminal(&self, words: &[&str], variables: &[(&str, &str)]) -> Option<Ran> {
        let is_there = Command::new("script")
            .arg("--version")
            .output()
            .is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains("util-linux"));
        if !is_there {
            println!("skipped: util-linux's script, which makes a terminal, is not here");
            return None;
        }
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let line = format!(
            "stty cols ${{TERMINAL_COLUMNS:-200}}; '{}' {}",
            program("dispatch").display(),
            quoted.join(" ")
        );
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).env_clear();
        for (name, value) in self.command("dispatch").get_envs() {
            script.env(name, value.unwrap_or_default());
        }
        script
            .env("SHELL", "/bin/sh")
            .env("TERM", "xterm-256color")
            .envs(variables.iter().copied())
            .current_dir(self.root())
            .stdin(Stdio::null());
        Some(run(script, b""))
    }
}

/// Holds a command back until the test lets it go on: a named pipe that the command reads a line from.
pub struct Gate {
    path: PathBuf,
    pipe: fs::File,
}

impl Gate {
    /// A closed gate in this house.
    pub fn new(house: &House, name: &str) -> Self {
        let path = house.root().join(name);
        let made = Command::new("mkfifo")
            .arg(&path)
            .status()
            .expect("mkfifo runs");
        assert!(made.success(), "{}", path.display());
        // Open for both, so that opening waits for nobody and what is written stays until it is read.
        let mut open = fs::File::options();
        let pipe = open.read(true).write(true).open(&path).expect("ours");
        Self { path, pipe }
    }

    /// The words with which a shell script waits at the gate.
    pub fn pass(&self) -> String {
        format!("read -r _ < '{}'", self.path.display())
    }

    /// Lets one reader go on.
    pub fn open(&mut self) {
        self.pipe.write_all(b"\n").expect("it takes a line");
    }
}

/// Waits until a program listens for file events, which is the last thing it does before it waits.
#[track_caller]
pub fn listens(pid: u32) {
    eventually(&format!("process {pid} listens"), || {
        let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let targets = open
            .flatten()
            .filter_map(|fd| fs::read_link(fd.path()).ok());
        let mut listening = targets.filter(|to| to.to_string_lossy().contains("inotify"));
        listening.next()
    });
}

/// SIGINT is ignored by this process and so by the programs that it starts, as in the background of some shells.
pub fn ignores_interrupts() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 0b10 != 0)
}
