//! A state directory of its own for each test, the real programs, and waiting on conditions.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dispatch::process::FileLock;
use serde_json::Value;

/// How long any condition may take on the slowest machine.
pub const PATIENCE: Duration = Duration::from_secs(180);

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
            // As JavaScript wrote it, perhaps.
            Ok(bytes) => dispatch::record::json::parse_bytes(&bytes).expect("the ledger is JSON")
                [label]
                .clone(),
            Err(_) => Value::Null,
        }
    }

    /// Puts a ledger in place.
    pub fn write_ledger(&self, text: impl AsRef<[u8]>) {
        fs::create_dir_all(self.state()).expect("creatable");
        fs::write(self.ledger_path(), text).expect("writable");
    }

    /// Changes the ledger beside programs at work, as one of them would: under its lock, and at once for all who read.
    pub fn change_ledger(&self, change: impl FnOnce(&mut Value)) {
        let path = self.ledger_path();
        let lock = path.with_extension("json.lock");
        let _lock = FileLock::acquire(&lock, "a test", Some(PATIENCE), &|_| ()).expect("free");
        let mut ledger = self.ledger();
        change(&mut ledger);
        let beside = path.with_extension("changed");
        fs::write(&beside, format!("{ledger:#}\n")).expect("writable");
        let mode = fs::metadata(&path).expect("there").permissions();
        fs::set_permissions(&beside, mode).expect("ours");
        fs::rename(&beside, &path).expect("replaceable");
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
            // Of many at once on a slow disk the last one waits long; a test that is about giving up says when.
            .env("DISPATCH_LOCK_TIMEOUT", PATIENCE.as_secs().to_string())
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
        let found = self.processes_seen();
        match found.is_empty() {
            // One that was started by another while the list was read may have been passed by.
            true => self.processes_seen(),
            false => found,
        }
    }

    fn processes_seen(&self) -> Vec<u32> {
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
            let environ = environ_of(pid);
            let is_ours = environ.windows(marker.len()).any(|window| window == marker);
            if pid != me && is_ours {
                pids.push(pid);
            }
        }
        pids
    }
}

/// The environment of a process, as the kernel shows it; empty once the process is gone for good.
///
/// In the middle of an exec the kernel shows none for a moment, and neither does it of a process that is about to die but
/// still holds its locks. Both are waited for: they are over when they say so, not after a while.
fn environ_of(pid: u32) -> Vec<u8> {
    let end = Instant::now() + PATIENCE;
    loop {
        // What cannot be read at all is gone or somebody else's.
        let Ok(environ) = fs::read(format!("/proc/{pid}/environ")) else {
            return Vec::new();
        };
        if !environ.is_empty() || has_settled(pid) {
            return environ;
        }
        assert!(Instant::now() < end, "in vain: process {pid} settles");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A process without an environment that will not get one: it is gone, the kernel's own, or was started with none.
fn has_settled(pid: u32) -> bool {
    /// `PF_KTHREAD` of the kernel's `sched.h`.
    const KERNEL_THREAD: u64 = 0x0020_0000;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Counted from the state, which is the first field after the name.
    let fields: Vec<&str> = match stat.rsplit_once(')') {
        Some((_, rest)) => rest.split_whitespace().collect(),
        None => return true,
    };
    let number = |index: usize| {
        fields
            .get(index)
            .and_then(|field| field.parse::<u64>().ok())
    };
    let flags = number(6).unwrap_or_default();
    let environ_end = number(48).unwrap_or_default();
    flags & KERNEL_THREAD != 0 || environ_end != 0 || !is_alive(pid)
}

/// The signal has been sent to the process and not been taken yet.
pub fn is_pending(pid: u32, signal: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let masks = status.lines().filter_map(|line| {
        let mask = line
            .strip_prefix("ShdPnd:")
            .or(line.strip_prefix("SigPnd:"))?;
        u64::from_str_radix(mask.trim(), 16).ok()
    });
    masks.fold(0, |all, mask| all | mask) & (1 << (signal - 1)) != 0
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
        let mut script = self.on_terminal(words, variables)?;
        script.stdin(Stdio::null());
        Some(run(script, b""))
    }

    /// As [`House::dispatch_on_terminal`], ready to be started: what is written to its stdin is typed.
    pub fn on_terminal(&self, words: &[&str], variables: &[(&str, &str)]) -> Option<Command> {
        if !makes_terminals() {
            println!("skipped: util-linux's script, which makes a terminal, is not here");
            return None;
        }
        let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let line = format!(
            "stty cols ${{TERMINAL_COLUMNS:-200}}; exec '{}' {}",
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
            .stdin(Stdio::piped());
        Some(script)
    }
}

/// util-linux's `script`, which makes a terminal, is here.
pub fn makes_terminals() -> bool {
    Command::new("script")
        .arg("--version")
        .output()
        .is_ok_and(|version| String::from_utf8_lossy(&version.stdout).contains("util-linux"))
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

/// A named pipe at which a script waits: `read go < NAME` goes on once the test opens it.
pub struct Gate {
    path: PathBuf,
}

impl Gate {
    /// The words with which a shell script waits at the gate.
    pub fn pass(&self) -> String {
        format!("read -r _ < '{}'", self.path.display())
    }

    /// Waits until somebody waits at the gate, and lets them pass.
    #[track_caller]
    pub fn open(&self) {
        use std::os::unix::fs::OpenOptionsExt;
        // The flag is a small positive number on every supported system, so the conversion is exact.
        let without_waiting = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let mut pipe = eventually(&format!("somebody at {}", self.path.display()), || {
            fs::OpenOptions::new()
                .write(true)
                .custom_flags(without_waiting)
                .open(&self.path)
                .ok()
        });
        pipe.write_all(b"go\n").expect("somebody reads");
    }

    /// Lets whoever waits at the gate pass, now.
    pub fn open_if_anybody_waits(&self) {
        use std::os::unix::fs::OpenOptionsExt;
        let without_waiting = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let pipe = fs::OpenOptions::new()
            .write(true)
            .custom_flags(without_waiting)
            .open(&self.path);
        // Whoever was there may have been ended meanwhile.
        let _ = pipe.and_then(|mut pipe| pipe.write_all(b"go\n"));
    }
}

impl House {
    /// A gate that scripts know by this name: they run in the house's root.
    pub fn gate(&self, name: &str) -> Gate {
        let path = self.path(name);
        let made = Command::new("mkfifo").arg(&path).status();
        assert!(made.expect("mkfifo is on every system").success());
        Gate { path }
    }

    /// A file in the root, where scripts run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// The text of a file in the root, empty while there is none.
    pub fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Waits until a script has written this line into a file in the root.
    #[track_caller]
    pub fn wrote(&self, name: &str, line: &str) {
        eventually(&format!("{line:?} in {name}"), || {
            self.text(name).lines().any(|l| l == line).then_some(())
        });
    }

    /// Writes `config.json`.
    pub fn configure(&self, config: &Value) {
        fs::create_dir_all(self.state()).expect("creatable");
        fs::write(self.state().join("config.json"), config.to_string()).expect("writable");
    }

    /// Starts a program without waiting for it.
    pub fn start(&self, name: &str, words: &[&str]) -> Child {
        let mut command = self.command(name);
        command
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().expect("the program starts")
    }

    /// Tells the recovery scan to take up what was left undone.
    #[track_caller]
    pub fn recover(&self) -> Ran {
        self.run("529-recovery", &[]).exits(0)
    }

    /// Waits until the label's detached watcher has logged a line with these words.
    #[track_caller]
    pub fn wrote_in_log(&self, label: &str, words: &str) {
        let generation = &self.entry(label)["generation"];
        let log = self
            .state()
            .join(format!("watchers/{label}.{generation}.log"));
        eventually(&format!("{words:?} in {}", log.display()), || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            text.contains(words).then_some(())
        });
    }

    /// The directory of the label's current run.
    pub fn run_dir(&self, label: &str) -> PathBuf {
        let entry = self.entry(label);
        let run_id = entry["runId"].as_str().expect("the label has a run");
        self.state().join("sessions/runs").join(run_id)
    }

    /// The lines of the label's transcript that are complete.
    pub fn transcript(&self, label: &str) -> Vec<Value> {
        let entry = self.entry(label);
        let id = entry["sessionId"]
            .as_str()
            .expect("the label has a session");
        let path = self.state().join("sessions").join(format!("{id}.jsonl"));
        let bytes = fs::read(path).unwrap_or_default();
        bytes
            .split_inclusive(|byte| *byte == b'\n')
            // Whoever writes behind a half-written line begins a new one; the line may be whole a moment later.
            .filter(|line| line.ends_with(b"\n") && *line != b"\n")
            .map(|line| serde_json::from_slice(line).expect("each line is JSON"))
            .collect()
    }

    /// What the transcript shows as the assistant's words without a stop reason, put together.
    pub fn streamed(&self, label: &str) -> String {
        let run_id = self.entry(label)["runId"].clone();
        self.transcript(label)
            .iter()
            .filter(|line| line["dispatch"]["runId"] == run_id)
            .filter(|line| line["message"]["role"] == "assistant")
            .filter(|line| line["message"]["stopReason"].is_null())
            .map(|line| line["message"]["content"][0]["text"].as_str().unwrap_or(""))
            .collect()
    }

    /// The row of the label's session in the session store.
    pub fn session_row(&self, label: &str) -> Value {
        let key = self.entry(label)["sessionKey"].clone();
        let bytes = fs::read(self.state().join("sessions/sessions.json")).unwrap_or_default();
        let store: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        store[key.as_str().expect("the label has a session")].clone()
    }

    /// The lock that the watcher of the label's current generation holds.
    pub fn post_lock(&self, label: &str) -> PathBuf {
        let stem = dispatch::record::file_stem_of(label);
        let name = format!("{stem}.{}.lock", self.entry(label)["generation"]);
        self.state().join("watchers").join(name)
    }

    /// The watcher at the label's post, once one is there.
    #[track_caller]
    pub fn watcher_pid(&self, label: &str) -> u32 {
        let lock = self.post_lock(label);
        eventually("a watcher at its post", || holder_of(&lock))
    }

    /// Stops the label's watcher once the run is on record; it holds nobody up then: the ledger is not in its hands.
    #[track_caller]
    pub fn halt_watcher(&self, label: &str) -> u32 {
        let watcher = self.watcher_pid(label);
        eventually("the phase moves on", || {
            (self.entry(label)["phase"] == "running").then_some(())
        });
        let lock = fs::File::open(self.state().join("labels.json.lock")).expect("there");
        fs2::FileExt::lock_exclusive(&lock).expect("lockable");
        halt(watcher);
        watcher
    }

    /// The runner that carries the label's run, once one does.
    #[track_caller]
    pub fn runner_pid(&self, label: &str) -> u32 {
        let lock = self.run_dir(label).join("runner.lock");
        eventually("a runner at work", || holder_of(&lock))
    }

    /// The leader of the command's process group, once it has claimed the start.
    #[track_caller]
    pub fn waiter_pid(&self, label: &str) -> u32 {
        let claim = self.run_dir(label).join("started.json");
        eventually("a waiter", || {
            let claim: Value = serde_json::from_slice(&fs::read(&claim).ok()?).ok()?;
            u32::try_from(claim["waiter"]["pid"].as_u64()?).ok()
        })
    }

    /// What `dispatch result --full` says of the label's text.
    #[track_caller]
    pub fn full_text(&self, label: &str) -> String {
        let answer = self
            .dispatch(&["result", "--label", label, "--full"])
            .exits(0)
            .json();
        answer["lastReply"].as_str().expect("a text").to_owned()
    }

    /// The artifact's bytes.
    #[track_caller]
    pub fn artifact(&self, label: &str) -> Vec<u8> {
        let path = self
            .dispatch(&["result", "--label", label, "--path"])
            .exits(0)
            .stdout;
        fs::read(path.trim_end()).expect("the artifact is there")
    }
}

/// The living process that signed for a lock and holds it.
pub fn holder_of(lock: &Path) -> Option<u32> {
    let file = fs::File::open(lock).ok()?;
    fs2::FileExt::try_lock_shared(&file)
        .is_err()
        .then_some(())?;
    let holder: Value = serde_json::from_slice(&fs::read(lock).ok()?).ok()?;
    let pid = u32::try_from(holder["pid"].as_u64()?).ok()?;
    is_alive(pid).then_some(pid)
}

/// The process runs. A zombie does not, unless a thread of it is still about to die: until then its locks hold.
pub fn is_alive(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads.into_iter().flatten().flatten().any(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let after_name = stat.rsplit(')').next().unwrap_or_default();
        let state = after_name.trim().chars().next();
        state.is_some_and(|state| state != 'Z' && state != 'X')
    })
}

/// Stops a process and waits until all of it stands still: a signal that comes before may still be taken.
#[track_caller]
pub fn halt(pid: u32) {
    kill(pid, "STOP");
    eventually(&format!("process {pid} stands still"), || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let mut threads = threads.flatten();
        let is_halted = threads.all(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| rest.trim().starts_with('T'))
        });
        is_halted.then_some(())
    });
}

/// Kills with SIGKILL and waits until the process is gone.
#[track_caller]
pub fn kill_hard(pid: u32) {
    kill(pid, "KILL");
    eventually(&format!("process {pid} is gone"), || {
        (!is_alive(pid)).then_some(())
    });
}

/// As [`finish`], for a child that prints little and must end by itself: one that does not fails the test.
#[track_caller]
pub fn finish_soon(mut child: Child) -> Ran {
    eventually("the program ends", || {
        child.try_wait().expect("our own child can be waited for")
    });
    finish(child)
}
