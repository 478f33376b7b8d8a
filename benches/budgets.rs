//! The budgets of the design, measured in one run on the machine at hand: `cargo bench`.
//!
//! Every figure is printed beside its yardstick (a `/bin/true`, an fsync, a plain read), because a figure alone says
//! more about the machine than about the program.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The checklist of a plain completion signal.
const DONE: &str = "{\"work_complete\":true}";

/// A state directory with the programs that work in it.
struct House {
    dir: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn command(&self, name: &str, words: &[&str]) -> Command {
        let program = Path::new(env!("CARGO_BIN_EXE_dispatch")).with_file_name(name);
        let mut command = Command::new(program);
        command
            .args(words)
            .env("HOME", self.dir.path())
            .env("DISPATCH_HOME", self.state())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    fn fill(&self, labels: usize) -> u64 {
        let mut text = String::from("{");
        for n in 0..labels {
            let comma = if n == 0 { "" } else { "," };
            text.push_str(&format!(
                "{comma}\n  \"label-{n:05}\": {{\n    \"sessionKey\": \"agent:main:subagent:00000000-0000-4000-8000-{n:012}\",\n    \"status\": \"done\",\n    \"spawnedAt\": \"2026-11-21T10:00:00.000Z\",\n    \"updatedAt\": \"2026-11-21T10:01:00.000Z\",\n    \"taskPrompt\": \"{}\",\n    \"summary\": \"{}\",\n    \"generation\": {n},\n    \"rev\": 3\n  }}",
                "Read the report and say what is in it. ".repeat(16),
                "It says \\\"all is well\\\". ".repeat(9),
            ));
        }
        text.push_str("\n}\n");
        fs::create_dir_all(self.state()).expect("creatable");
        fs::write(self.state().join("labels.json"), &text).expect("writable");
        text.len() as u64
    }
}

/// Median and best of `runs` timings.
fn timed(runs: usize, mut work: impl FnMut()) -> (Duration, Duration) {
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let begun = Instant::now();
            work();
            begun.elapsed()
        })
        .collect();
    times.sort();
    (times[runs / 2], times[0])
}

fn spawn(mut command: Command) {
    command.status().expect("the program starts");
}

fn line(what: &str, (median, best): (Duration, Duration), yardstick: &str, of: Duration) {
    let ratio = median.as_secs_f64() / of.as_secs_f64();
    println!("{what:<58} median {median:>10.3?}  best {best:>10.3?}  {ratio:>7.2} x {yardstick}");
}

fn main() {
    let empty = House::new();
    empty.fill(10);
    let yes = || {
        let mut command = Command::new("/bin/true");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    // Warm caches before the yardstick.
    timed(50, || spawn(yes()));
    timed(50, || {
        spawn(empty.command("dispatch", &["status", "--label", "label-00003"]))
    });
    let truth = timed(500, || spawn(yes()));
    line("/bin/true", truth, "itself", truth.0);
    line(
        "status, 10 labels, whole process",
        timed(500, || {
            spawn(empty.command("dispatch", &["status", "--label", "label-00003"]))
        }),
        "/bin/true",
        truth.0,
    );

    let large = House::new();
    let bytes = large.fill(10_000);
    let path = large.state().join("labels.json");
    let read = timed(20, || drop(fs::read(&path).expect("readable")));
    line(
        &format!("plain read of the ledger ({bytes} bytes)"),
        read,
        "/bin/true",
        truth.0,
    );
    line(
        "status, 10,000 labels, whole process",
        timed(40, || {
            spawn(large.command("dispatch", &["status", "--label", "label-09000"]))
        }),
        "plain read",
        read.0,
    );
    let mut fresh: Vec<String> = Vec::new();
    let copy = timed(10, || {
        write_synced(
            &large.state().join("copy"),
            &fs::read(&path).expect("readable"),
        )
    });
    line(
        "plain read, write and fsync of the ledger",
        copy,
        "/bin/true",
        truth.0,
    );
    line(
        "done, 10,000 labels, whole process",
        timed(20, || {
            let label = format!("fresh-{}", fresh.len());
            fresh.push(label.clone());
            spawn(large.command(
                "dispatch",
                &["done", "--label", &label, "--checklist", DONE],
            ));
        }),
        "plain copy",
        copy.0,
    );

    let reply = House::new();
    line(
        "enqueue to result, command 'true', local",
        timed(40, || {
            spawn(reply.command(
                "dispatch",
                &["enqueue", "--label", "job", "--wait", "--", "true"],
            ));
        }),
        "/bin/true",
        truth.0,
    );
    line(
        "local end line written -> on a foreground watcher's stdout",
        (latency(&reply), Duration::ZERO),
        "/bin/true",
        truth.0,
    );
    println!("idle watcher, RssAnon: {} kB", idle_rss(&reply));
    for count in [1, 100, 500] {
        many(count);
    }
    transcript();
}

fn write_synced(path: &Path, bytes: &[u8]) {
    let mut file = fs::File::create(path).expect("creatable");
    file.write_all(bytes).expect("writable");
    file.sync_all().expect("syncable");
}

/// Median time from the end line in the transcript to the result on a foreground watcher's stdout.
fn latency(house: &House) -> Duration {
    let mut times = Vec::new();
    for n in 0..40 {
        let label = format!("latency-{n}");
        spawn(house.command(
            "dispatch",
            &["enqueue", "--label", &label, "--", "sleep", "0.3"],
        ));
        let mut watcher = house.command("watcher", &["--label", &label]);
        let mut child = watcher
            .stdout(Stdio::piped())
            .spawn()
            .expect("the watcher starts");
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut first)
            .expect("readable");
        let seen = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after the epoch");
        child.wait().expect("it ends");
        let ended = ended_at_ms(house, &label);
        times.push(seen.saturating_sub(Duration::from_millis(ended)));
    }
    times.sort();
    times[times.len() / 2]
}

/// When the label's end line was written, ms since the epoch: the ledger keeps its time.
fn ended_at_ms(house: &House, label: &str) -> u64 {
    let text = fs::read_to_string(house.state().join("labels.json")).expect("readable");
    let ledger: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let ended = ledger[label]["endedAt"].as_str().expect("it has ended");
    dispatch::record::time::parse(&ended.into())
        .and_then(|ms| u64::try_from(ms).ok())
        .expect("a time")
}

fn idle_rss(house: &House) -> u64 {
    spawn(house.command(
        "dispatch",
        &["enqueue", "--label", "idle", "--", "sleep", "3"],
    ));
    std::thread::sleep(Duration::from_millis(700));
    let mut found = 0;
    for entry in fs::read_dir("/proc").expect("readable").flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&line).into_owned();
        if text.contains("--label=idle") && text.contains("--detached") {
            found = field(&entry.path().join("status"), "RssAnon").unwrap_or(0);
        }
    }
    spawn(house.command("dispatch", &["cancel", "--label", "idle"]));
    found
}

/// How long idle watchers are looked at.
const IDLE: Duration = Duration::from_secs(20);

/// So many watchers at once: what they cost while nothing happens, one by one and in one process, and the signals to all.
///
/// Half of the system's sources of file events goes to the runners; `unshare --user --map-root-user` with a number of its
/// own in `/proc/sys/user/max_inotify_instances` shows what becomes of the others.
fn many(count: usize) {
    let house = House::new();
    let gate = house.dir.path().join("gate");
    let made = Command::new("mkfifo").arg(&gate).status();
    assert!(made.expect("mkfifo is on every system").success());
    let labels: Vec<String> = (0..count).map(|n| format!("many-{n:03}")).collect();
    let script = format!("read -r _ < '{}'", gate.display());
    let begun = Instant::now();
    for label in &labels {
        let words = ["enqueue", "--label", label, "--", "sh", "-c", &script];
        spawn(house.command("dispatch", &words));
    }
    println!("{count} times enqueue: {:.3?}", begun.elapsed());
    let singles = keepers(&house, |pids| pids.len() == count);
    println!("{count} idle watchers: {}", cost(&singles));
    let mut all = house
        .command("watcher", &["--all"])
        .spawn()
        .expect("it starts");
    for pid in singles {
        spawn(signal(pid));
    }
    let pid = all.id();
    let every = keepers(&house, |pids| {
        pids.len() == count && pids.iter().all(|p| *p == pid)
    });
    println!("{count} labels of one watcher: {}", cost(&every[..1]));
    let begun = Instant::now();
    for label in &labels {
        let words = ["done", "--label", label, "--checklist", DONE];
        spawn(house.command("dispatch", &words));
    }
    println!("{count} times done: {:.3?}", begun.elapsed());
    // Whoever waits at the gate goes on when it is opened.
    drop(fs::OpenOptions::new().write(true).open(&gate));
    spawn(signal(pid));
    all.wait().expect("our own child");
}

fn signal(pid: u32) -> Command {
    let mut command = Command::new("kill");
    command.arg(pid.to_string());
    command
}

/// The watchers at the posts of a house, once they are as `wanted`.
fn keepers(house: &House, wanted: impl Fn(&[u32]) -> bool) -> Vec<u32> {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let posts = fs::read_dir(house.state().join("watchers"));
        let posts = posts
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        let locks = posts.filter(|path| path.extension().is_some_and(|end| end == "lock"));
        let pids: Vec<u32> = locks
            .filter_map(|path| {
                let holder: serde_json::Value =
                    serde_json::from_slice(&fs::read(path).ok()?).ok()?;
                let pid = u32::try_from(holder["pid"].as_u64()?).ok()?;
                Path::new("/proc")
                    .join(pid.to_string())
                    .exists()
                    .then_some(pid)
            })
            .collect();
        if wanted(&pids) {
            return pids;
        }
        assert!(Instant::now() < end, "the watchers are not all there");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Wake-ups a second and memory of these processes while nothing happens.
fn cost(pids: &[u32]) -> String {
    // What they begin with is over by then.
    std::thread::sleep(Duration::from_secs(10));
    let before: u64 = pids.iter().map(|pid| wake_ups(*pid)).sum();
    std::thread::sleep(IDLE);
    let after: u64 = pids.iter().map(|pid| wake_ups(*pid)).sum();
    let each = (after - before) as f64 / IDLE.as_secs_f64() / pids.len() as f64;
    let mut memory: Vec<u64> = pids.iter().map(|pid| rss_anon(*pid)).collect();
    memory.sort_unstable();
    format!(
        "{each:.2} wake-ups a second each; RssAnon median {} kB, largest {} kB",
        memory[memory.len() / 2],
        memory[memory.len() - 1]
    )
}

/// How often the threads of a process went to sleep by themselves.
fn wake_ups(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let threads = threads.into_iter().flatten().flatten();
    let counts = threads.filter_map(|thread| field(&thread.path().join("status"), "voluntary_"));
    counts.sum()
}

fn rss_anon(pid: u32) -> u64 {
    field(&PathBuf::from(format!("/proc/{pid}/status")), "RssAnon").unwrap_or(0)
}

/// The first number of a line of a status file.
fn field(path: &Path, name: &str) -> Option<u64> {
    let status = fs::read_to_string(path).ok()?;
    let line = status.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The last reply of a transcript of 50 MB.
fn transcript() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("big.jsonl");
    let mut file = std::io::BufWriter::new(fs::File::create(&path).expect("creatable"));
    let filler = format!(
        "{{\"type\":\"message\",\"id\":\"a\",\"message\":{{\"role\":\"user\",\"content\":\"{}\"}}}}\n",
        "x".repeat(1000)
    );
    for _ in 0..50_000 {
        file.write_all(filler.as_bytes()).expect("writable");
    }
    file.write_all(b"{\"type\":\"message\",\"id\":\"z\",\"message\":{\"role\":\"assistant\",\"content\":\"the end\",\"stopReason\":\"stop\"}}\n")
        .expect("writable");
    drop(file.into_inner().expect("flushable"));
    let whole = timed(5, || drop(fs::read(&path).expect("readable")));
    let baseline = dispatch::record::Baseline::default();
    let last = timed(200, || {
        let reading = dispatch::session::reader::read_turn(&path, &baseline).expect("readable");
        assert!(matches!(
            reading.turn,
            dispatch::session::terminal::Turn::Reply(_)
        ));
    });
    line(
        "last reply of a 50 MB transcript",
        last,
        "reading it whole",
        whole.0,
    );
}
