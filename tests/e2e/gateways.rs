//! Gateways that are started once per test run and version and end with the test process, and houses that use them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use dispatch::gateway::{Client, Endpoint, Secret};
use serde_json::Value;

use crate::support::{House, Ran, is_alive, kill_hard};

/// The node that runs both.
const NODE: &str = "24.21.0";

/// How long one run on a gateway may take on the slowest machine.
pub const RUN_PATIENCE: Duration = Duration::from_secs(240);

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

    /// The gateway that all tests of this version share; `None`, with a line, where there is no npm.
    pub fn gateway(self) -> Option<&'static Gateway> {
        static OLD: OnceLock<Option<Gateway>> = OnceLock::new();
        static NEW: OnceLock<Option<Gateway>> = OnceLock::new();
        let shared = match self {
            Version::Old => &OLD,
            Version::New => &NEW,
        };
        let gateway = shared.get_or_init(|| Gateway::start(self, "shared"));
        if gateway.is_none() {
            println!(
                "skipped: {}",
                why_not().unwrap_or("no gateway could be started")
            );
        }
        gateway.as_ref()
    }

    /// A house at the shared gateway.
    pub fn house(self) -> Option<GatewayHouse> {
        self.gateway().map(Gateway::house)
    }
}

/// A running gateway. It ends when this is dropped or the test process dies, whatever kills it.
pub struct Gateway {
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

/// Why no gateway is started here, if none is.
fn why_not() -> Option<&'static str> {
    if std::env::var_os("DISPATCH_E2E").is_none_or(|value| value != "1") {
        return Some("DISPATCH_E2E=1 runs this against real gateways, 1.4 GB of packages from npm");
    }
    let npm = Command::new("npm").arg("--version").output();
    match npm.is_ok_and(|version| version.status.success()) {
        true => None,
        false => Some("npm, which brings the OpenClaw gateway, is not here"),
    }
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

/// Makes sure that the version's packages are there; other test processes wait for them.
fn install(version: Version) -> PathBuf {
    let dir = packages_dir().join(version.name());
    fs::create_dir_all(&dir).expect("creatable");
    let lock = packages_dir().join(format!("{}.lock", version.name()));
    let lock = fs::File::create(lock).expect("creatable");
    fs2::FileExt::lock_exclusive(&lock).expect("lockable");
    if !dir.join("pkg/.installed").exists() {
        // What an interrupted installation left is of no use.
        fs::remove_dir_all(&dir).expect("removable");
        fs::create_dir_all(&dir).expect("creatable");
        let installed = Command::new(scripts().join("start-gateway.sh"))
            .arg(&dir)
            .args([
                "--openclaw",
                version.name(),
                "--node",
                NODE,
                "--install-only",
            ])
            .stdin(Stdio::null())
            .output()
            .expect("the script starts");
        let said = String::from_utf8_lossy(&installed.stderr);
        assert!(installed.status.success(), "no gateway from npm: {said}");
    }
    dir
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
    /// Starts a gateway of its own for whoever asks; `None` where there is no npm.
    pub fn start(version: Version, name: &str) -> Option<Self> {
        Self::start_with(version, name, &[])
    }

    /// As [`Gateway::start`], with more words for the start script.
    pub fn start_with(version: Version, name: &str, more: &[&str]) -> Option<Self> {
        if why_not().is_some() {
            return None;
        }
        let home = install(version);
        sweep(&home);
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
            dir,
            keeper: Mutex::new(Keeper {
                process,
                asks,
                answers,
            }),
        };
        gateway.bring_up();
        Some(gateway)
    }

    /// Starts the gateway, or starts it again after it was killed, and waits until it is ready.
    pub fn bring_up(&self) {
        let mut keeper = self
            .keeper
            .lock()
            .expect("a gateway that failed to start fails its tests");
        let mut asks = keeper.asks.as_ref().expect("open until the end");
        asks.write_all(b"start\n").expect("the keeper reads");
        let mut answer = String::new();
        keeper
            .answers
            .read_line(&mut answer)
            .expect("the keeper answers");
        let log = fs::read_to_string(self.dir.join("start.log")).unwrap_or_default();
        assert!(answer.starts_with('{'), "the gateway did not start: {log}");
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

    /// The packages that it is made of.
    pub fn packages(&self) -> PathBuf {
        self.dir.join("pkg/node_modules")
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        u32::try_from(self.facts()["pid"].as_u64().expect("a number")).expect("a pid")
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

    /// Calls one of its methods.
    #[track_caller]
    pub fn call(&self, method: &str, params: &Value) -> Value {
        let facts = self.facts();
        let endpoint = Endpoint::at(
            facts["url"].as_str().expect("a text").to_owned(),
            Secret::Token(self.token()),
        );
        let mut client = Client::connect(&endpoint, RUN_PATIENCE).expect("it answers");
        let answer = client.call(method, params, RUN_PATIENCE);
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

    /// Hands a prompt to a session of the gateway.
    #[track_caller]
    pub fn ask(&self, label: &str, message: &str, more: &[&str]) -> Ran {
        self.try_to_ask(label, message, more).exits(0)
    }

    /// As [`GatewayHouse::ask`], where a refusal may come.
    pub fn try_to_ask(&self, label: &str, message: &str, more: &[&str]) -> Ran {
        let words = ["enqueue", "--label", label, "--message", message];
        self.dispatch(&[&words, more].concat())
    }

    /// As [`GatewayHouse::ask`], in a session that has just been used. The older generation sometimes stumbles over its
    /// own lock of the session file before it asks the model; it is asked again then. Returns what enqueue printed.
    #[track_caller]
    pub fn ask_on(&self, label: &str, message: &str, more: &[&str]) -> Value {
        for _ in 0..3 {
            let asked = self.ask(label, message, more).json();
            let entry = self.settled(label);
            if entry["failure"]["kind"] != "session-takeover" {
                return asked;
            }
            println!("asked again: {}", entry["error"]);
        }
        panic!("the gateway stumbled three times: {}", self.entry(label));
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

    /// What the label's watcher has said.
    pub fn watcher_log(&self, label: &str) -> String {
        let name = format!("{label}.{}.log", self.entry(label)["generation"]);
        fs::read_to_string(self.state().join("watchers").join(name)).unwrap_or_default()
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
        let end = Instant::now() + RUN_PATIENCE;
        loop {
            let log = fs::read_to_string(&self.model_log).unwrap_or_default();
            if log
                .lines()
                .any(|line| words.iter().all(|word| line.contains(word)))
            {
                return;
            }
            assert!(Instant::now() < end, "the model was not shown: {words:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the model is asked, which is when the run is at work.
    #[track_caller]
    pub fn model_is_asked(&self, text: &str) {
        let end = Instant::now() + RUN_PATIENCE;
        while self.model_requests(text).is_empty() {
            assert!(Instant::now() < end, "the model was not asked: {text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
