//! Gateways that are started once per test run and version and end with the test process, and houses that use them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use dispatch::gateway::{Client, Endpoint, Secret};
use serde_json::Value;

use super::listener::Listener;
use crate::support::{House, Ran, is_alive, kill_hard};

/// The node that runs both.
const NODE: &str = "24.21.0";

/// How long one run on a gateway may take on the slowest machine.
pub const RUN_PATIENCE: Duration = Duration::from_secs(900);

/// The gateways that are supported: one of each generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// Sessions in files.
    Old,
    /// Sessions in SQLite.
    New,
}

impl Version {
    /// Both.
    pub const ALL: [Version; 2] = [Version::Old, Version::New];

    /// As npm names it.
    pub fn name(self) -> &'static str {
        match self {
            Version::Old => "2026.5.18",
            Version::New => "2026.9.6",
        }
    }

    /// The gateway that all tests of this version share; `None`, with a line, where none is to be.
    pub fn gateway(self) -> Option<&'static Gateway> {
        static OLD: Shared = Shared::new();
        static NEW: Shared = Shared::new();
        let shared = match self {
            Version::Old => &OLD,
            Version::New => &NEW,
        };
        shared.get(|| Gateway::try_start(self, "shared", &[]))
    }

    /// How many tests work with gateways of this version now.
    fn seats(self) -> &'static Seats {
        static OLD: Seats = Seats::new();
        static NEW: Seats = Seats::new();
        match self {
            Version::Old => &OLD,
            Version::New => &NEW,
        }
    }

    /// A house at the shared gateway.
    pub fn house(self) -> Option<GatewayHouse> {
        self.gateway().map(Gateway::house)
    }
}

/// A gateway that several tests share. A start that failed is not tried again: it takes minutes, and fails each of them.
pub struct Shared(OnceLock<Result<Gateway, String>>);

impl Shared {
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// The gateway, started by whoever asks first; `None`, with a line, where none is to be.
    pub fn get(&self, start: impl FnOnce() -> Result<Gateway, String>) -> Option<&Gateway> {
        let started = is_wanted().then(|| self.0.get_or_init(start))?;
        Some(started.as_ref().unwrap_or_else(|why| panic!("{why}")))
    }
}

/// A gateway does everything in one thread: more tests at once only wait longer for each other. Whoever needs both versions
/// takes the older one's seat first.
const SEATS: usize = 3;

struct Seats {
    taken: Mutex<Vec<ThreadId>>,
    left: Condvar,
}

impl Seats {
    const fn new() -> Self {
        Self {
            taken: Mutex::new(Vec::new()),
            left: Condvar::new(),
        }
    }

    /// Waits for a seat. A test that has one, and is a thread, may take more at once.
    fn take(&'static self) -> Seat {
        let me = thread::current().id();
        let is_full = |taken: &mut Vec<ThreadId>| taken.len() >= SEATS && !taken.contains(&me);
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mut taken = self
            .left
            .wait_while(taken, is_full)
            .unwrap_or_else(PoisonError::into_inner);
        taken.push(me);
        Seat { of: self, test: me }
    }
}

/// A test's place at the gateways of a version.
struct Seat {
    of: &'static Seats,
    test: ThreadId,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = taken.iter().position(|test| *test == self.test);
        mine.map(|at| taken.swap_remove(at));
        drop(taken);
        self.of.left.notify_all();
    }
}

/// A running gateway. It ends when this is dropped or the test process dies, whatever kills it.
pub struct Gateway {
    version: Version,
    dir: PathBuf,
    keeper: Mutex<Keeper>,
}

/// The process that ends the gateway when our end of its stdin closes.
struct Keeper {
    process: Child,
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/gateway")
}

/// Whether tests against real gateways are to run here; says why if not.
///
/// # Panics
/// When they are demanded and npm is not here.
fn is_wanted() -> bool {
    let wish = std::env::var_os("DISPATCH_E2E").unwrap_or_default();
    if wish == "0" {
        println!("skipped: DISPATCH_E2E=0 leaves the tests against real gateways out");
        return false;
    }
    let npm = Command::new("npm").arg("--version").output();
    let is_here = npm.is_ok_and(|version| version.status.success());
    if !is_here {
        let missing = "npm, which brings the OpenClaw gateways, is not here";
        assert!(wish != "1", "DISPATCH_E2E=1 demands it, and {missing}");
        println!("skipped: {missing}");
    }
    is_here
}

/// Where packages stay between runs.
fn packages_dir() -> PathBuf {
    match std::env::var_os("DISPATCH_E2E_DIR") {
        Some(dir) => PathBuf::from(dir),
        None => {
            let target = Path::new(env!("CARGO_BIN_EXE_dispatch")).ancestors().nth(2);
            target
                .expect("programs are built below the target directory")
                .join("e2e")
        }
    }
}

/// The directory with the version's packages. What the first try came to holds: npm has tried more than once by itself.
fn packages(version: Version) -> Result<&'static Path, String> {
    static OLD: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    static NEW: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let tried = match version {
        Version::Old => &OLD,
        Version::New => &NEW,
    };
    let came_to = tried.get_or_init(|| install(version)).as_ref();
    came_to.map(PathBuf::as_path).map_err(String::clone)
}

/// Makes sure that the version's packages are there; other test processes wait for them.
fn install(version: Version) -> Result<PathBuf, String> {
    let dir = packages_dir().join(version.name());
    fs::create_dir_all(&dir).expect("creatable");
    let lock = packages_dir().join(format!("{}.lock", version.name()));
    let lock = fs::File::create(lock).expect("creatable");
    fs2::FileExt::lock_exclusive(&lock).expect("lockable");
    if dir.join("pkg/.installed").exists() {
        return Ok(dir);
    }
    // What an interrupted installation left is of no use.
    fs::remove_dir_all(&dir).expect("removable");
    fs::create_dir_all(&dir).expect("creatable");
    let installed = Command::new(scripts().join("start-gateway.sh"))
        .arg(&dir)
        .args(["--openclaw", version.name(), "--node", NODE])
        .arg("--install-only")
        .stdin(Stdio::null())
        .output()
        .expect("the script starts");
    match installed.status.success() {
        true => Ok(dir),
        false => Err(format!(
            "npm could not install openclaw {}: {}",
            version.name(),
            String::from_utf8_lossy(&installed.stderr).trim()
        )),
    }
}

/// Directories of test processes that are gone; the newest logs were there to be read until now.
fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name
            .strip_prefix("run-")
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|pid| !is_alive(pid)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

impl Gateway {
    /// A gateway of its own for whoever asks, which may kill it; `None`, with a line, where none is to be.
    pub fn start(version: Version, name: &str) -> Option<Self> {
        Self::start_with(version, name, &[])
    }

    /// As [`Gateway::start`], with more words for the start script.
    pub fn start_with(version: Version, name: &str, more: &[&str]) -> Option<Self> {
        let start = || Self::try_start(version, name, more);
        is_wanted().then(|| start().unwrap_or_else(|why| panic!("{why}")))
    }

    /// Starts a gateway, with more words for the start script.
    pub fn try_start(version: Version, name: &str, more: &[&str]) -> Result<Self, String> {
        let home = packages(version)?;
        sweep(home);
        let dir = home.join(format!("run-{}-{name}", std::process::id()));
        fs::create_dir(&dir).expect("creatable");
        std::os::unix::fs::symlink(home.join("pkg"), dir.join("pkg")).expect("creatable");
        let log = fs::File::create(dir.join("start.log")).expect("creatable");
        let mut process = Command::new(scripts().join("hold-gateway.sh"))
            .arg(&dir)
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // An interrupt of the tests is not for it: it has to clean up.
            .process_group(0)
            .spawn()
            .expect("the script starts");
        let asks = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        let gateway = Self {
            version,
            dir,
            keeper: Mutex::new(Keeper {
                process,
                asks,
                answers,
            }),
        };
        gateway.try_to_bring_up()?;
        Ok(gateway)
    }

    /// Starts the gateway again after it was killed, and waits until it is ready.
    pub fn bring_up(&self) {
        self.try_to_bring_up().unwrap_or_else(|why| panic!("{why}"));
    }

    fn try_to_bring_up(&self) -> Result<(), String> {
        let mut keeper = self.keeper.lock().unwrap_or_else(PoisonError::into_inner);
        let mut asks = keeper.asks.as_ref().expect("open until the end");
        asks.write_all(b"start\n").expect("the keeper reads");
        let mut answer = String::new();
        keeper
            .answers
            .read_line(&mut answer)
            .expect("the keeper answers");
        let log = fs::read_to_string(self.dir.join("start.log")).unwrap_or_default();
        match answer.starts_with('{') {
            true => Ok(()),
            false => Err(format!("the gateway did not start: {log}")),
        }
    }

    /// What the start script says of it.
    fn facts(&self) -> Value {
        let text = fs::read(self.dir.join("run/gateway.json")).expect("it was started");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// The secret that must not show.
    pub fn token(&self) -> String {
        self.facts()["token"].as_str().expect("a text").to_owned()
    }

    /// A connection that hears what it tells everybody.
    pub fn listener(&self) -> Listener {
        Listener::connect(&self.url(), &self.token())
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        self.facts()["url"].as_str().expect("a text").to_owned()
    }

    /// What npm installed for it.
    #[allow(dead_code, reason = "for benches/gateway.rs")]
    pub fn packages(&self) -> PathBuf {
        self.dir.join("pkg")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        u32::try_from(self.facts()["pid"].as_u64().expect("a number")).expect("a pid")
    }

    /// Lets the model answer the prompts that say `@fake gate=NAME`.
    pub fn open_gate(&self, name: &str) {
        let url = format!("http://127.0.0.1:{}/__fake/open", self.facts()["modelPort"]);
        let asked = ureq::post(&url).send(serde_json::json!({"gate": name}).to_string());
        asked.expect("the model listens");
    }

    /// Makes the model's next answers behave as if their prompts had these directives.
    pub fn force(&self, directives: &str, count: u32) {
        let url = format!(
            "http://127.0.0.1:{}/__fake/force",
            self.facts()["modelPort"]
        );
        let asked = serde_json::json!({"directives": directives, "count": count});
        let answer = ureq::post(&url).send(asked.to_string());
        answer.expect("the model listens");
    }

    /// Ends it as a power cut would.
    pub fn kill(&self) {
        kill_hard(self.pid());
    }

    /// Where the stand-in for a chat channel listens, of a gateway that was started with one.
    pub fn chat_port(&self) -> u16 {
        let port = self.facts()["telegramPort"].as_u64().expect("a number");
        u16::try_from(port).expect("a port")
    }

    /// A connection as the product makes it.
    pub fn connect(&self) -> Client {
        let endpoint = Endpoint::at(self.url(), Secret::Token(self.token()));
        Client::connect(&endpoint, RUN_PATIENCE).expect("it answers")
    }

    /// Calls one of its methods.
    #[track_caller]
    pub fn call(&self, method: &str, params: &Value) -> Value {
        let answer = self.connect().call(method, params, RUN_PATIENCE);
        answer.unwrap_or_else(|e| panic!("{e}"))
    }

    /// The configuration that it was started with.
    pub fn config(&self) -> Value {
        let text = fs::read(self.dir.join("openclaw.json")).expect("it was started");
        serde_json::from_slice(&text).expect("JSON")
    }

    /// A state directory of its own at this gateway.
    pub fn house(&self) -> GatewayHouse {
        let house = GatewayHouse {
            house: House::new(),
            model_log: self.dir.join("log/model-requests.jsonl"),
            _seat: self.version.seats().take(),
        };
        house.use_config(&self.config());
        house
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Ok(keeper) = self.keeper.get_mut() {
            drop(keeper.asks.take());
            let _ = keeper.process.wait();
        }
    }
}

/// A house whose user has an OpenClaw configuration.
pub struct GatewayHouse {
    house: House,
    model_log: PathBuf,
    /// Left last, when nothing of the house works any more.
    _seat: Seat,
}

impl Deref for GatewayHouse {
    type Target = House;

    fn deref(&self) -> &House {
        &self.house
    }
}

impl GatewayHouse {
    /// Puts OpenClaw's configuration where the user has it.
    pub fn use_config(&self, config: &Value) {
        let dir = self.root().join("user/.openclaw");
        fs::create_dir_all(&dir).expect("creatable");
        fs::write(dir.join("openclaw.json"), config.to_string()).expect("writable");
    }

    /// Hands a prompt to a session of the gateway; nobody is told of the result.
    #[track_caller]
    pub fn ask(&self, label: &str, message: &str, more: &[&str]) -> Ran {
        self.try_to_ask(label, message, more).exits(0)
    }

    /// As [`GatewayHouse::ask`], where a refusal may come.
    pub fn try_to_ask(&self, label: &str, message: &str, more: &[&str]) -> Ran {
        let words = [
            "enqueue",
            "--label",
            label,
            "--message",
            message,
            "--no-monitor",
        ];
        self.dispatch(&[&words, more].concat())
    }

    /// Waits until an attempt of the label has failed and its retry is waited for.
    #[track_caller]
    pub fn waits_for_its_retry(&self, label: &str) -> Value {
        in_a_runs_time(&format!("{label} waits for its retry"), || {
            let entry = self.entry(label);
            (entry["phase"] == "retry-wait").then_some(entry)
        })
    }

    /// Waits for the label's end and returns its entry.
    #[track_caller]
    pub fn settled(&self, label: &str) -> Value {
        let patience = RUN_PATIENCE.as_secs().to_string();
        let waited = self.dispatch(&["wait", label, "--timeout", &patience]);
        assert!(
            matches!(waited.code, Some(0 | 1)),
            "{waited:?}\n{}",
            self.watcher_log(label)
        );
        self.entry(label)
    }

    /// As [`GatewayHouse::settled`], for a run that must end well. Returns its whole text.
    #[track_caller]
    pub fn reply(&self, label: &str) -> String {
        let entry = self.settled(label);
        let log = self.watcher_log(label);
        assert_eq!(entry["status"], "done", "{entry:#}\n{log}");
        self.full_text(label)
    }

    /// Cancels the label and waits for that end: a gateway with much else to do may take longer than the command waits for it,
    /// and then the watcher sees to it.
    #[track_caller]
    pub fn cancelled(&self, label: &str) -> Value {
        let ran = self.dispatch(&["cancel", "--label", label]);
        let told = ran.json()["message"].to_string();
        let is_recorded = told.starts_with("\"cancellation is recorded; ");
        assert!(ran.code == Some(0) || is_recorded, "{ran:?}");
        let entry = self.settled(label);
        assert_eq!(entry["status"], "cancelled", "{entry:#}");
        entry
    }

    /// What the label's watcher has said.
    pub fn watcher_log(&self, label: &str) -> String {
        let name = format!("{label}.{}.log", self.entry(label)["generation"]);
        fs::read_to_string(self.state().join("watchers").join(name)).unwrap_or_default()
    }

    /// The entry once its watcher has left it: it stays for the last words of a run that goes on after its label's end.
    #[track_caller]
    pub fn with_last_words(&self, label: &str) -> Value {
        let post = fs::File::open(self.post_lock(label)).expect("it was watched");
        in_a_runs_time("the watcher leaves", || {
            fs2::FileExt::try_lock_shared(&post).ok()
        });
        let entry = self.entry(label);
        let log = self.watcher_log(label);
        assert!(entry["lastWords"].is_object(), "{entry:#}\n{log}");
        entry
    }

    /// The model's requests whose prompt holds this text.
    pub fn model_requests(&self, text: &str) -> Vec<Value> {
        let log = fs::read_to_string(&self.model_log).unwrap_or_default();
        log.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .filter(|request| {
                request["prompt"]
                    .as_str()
                    .is_some_and(|prompt| prompt.contains(text))
            })
            .collect()
    }

    /// Waits until a model was shown all of these words in one request, wherever in it.
    #[track_caller]
    pub fn model_is_shown(&self, words: &[&str]) {
        in_a_runs_time(&format!("the model is shown: {words:?}"), || {
            let log = fs::read_to_string(&self.model_log).unwrap_or_default();
            let mut lines = log.lines();
            let shown = lines.any(|line| words.iter().all(|word| line.contains(word)));
            shown.then_some(())
        });
    }

    /// When the model had sent its whole answer to a request, ms since the epoch.
    #[allow(dead_code, reason = "for benches/gateway.rs")]
    #[track_caller]
    pub fn model_answer_ended(&self, request: &Value) -> u64 {
        crate::support::eventually("the model's answer ends", || {
            let log = fs::read_to_string(&self.model_log).ok()?;
            let mut lines = log
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let end = lines.find(|line| line["ended"] == request["id"])?;
            end["atMs"].as_u64()
        })
    }

    /// Waits until the model is asked, which is when the run is at work.
    #[track_caller]
    pub fn model_is_asked(&self, text: &str) {
        in_a_runs_time(&format!("the model is asked: {text}"), || {
            (!self.model_requests(text).is_empty()).then_some(())
        });
    }
}

/// Waits until `look` gives something that comes with a run.
#[track_caller]
pub fn in_a_runs_time<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + RUN_PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
