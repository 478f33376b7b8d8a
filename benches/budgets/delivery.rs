//! From the end of a command to its result on somebody's stdout, beside what the kernel takes to wake a process that
//! waits for a change of a file.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::house::{House, run};
use crate::starts::{replace, timed};
use crate::table::{Budget, Figure, Limit, median, row};

pub fn delivery(runs: usize) {
    let house = House::new();
    fs::create_dir_all(house.state()).expect("creatable");
    let small = house.state().join("small");
    fs::write(&small, "It says \"all is well\".").expect("writable");
    let event = wake_up(house.dir.path(), runs * 5);
    let durable = timed(runs * 5, || replace(&small.with_extension("2"), &small));
    row(
        "(a file event wakes a thread that waits for it)",
        Figure::Time(event),
        None,
        None,
    );
    // The text and the ledger are safe on the disk before anybody is told.
    let least = event + durable * 2;
    let limit = || Limit::time("a file event + two durable writes", least);
    row(
        "reply written -> a foreground watcher's stdout",
        Figure::Time(latency(&house, runs)),
        limit(),
        Some(Budget::AtMost(Figure::Time(Duration::from_millis(10)))),
    );
    row(
        "the command may end -> stdout of 'enqueue --wait'",
        Figure::Time(awaited(&house, runs)),
        limit(),
        None,
    );
    let whole = timed(runs, || {
        run(house.command(
            "dispatch",
            &["enqueue", "--label", "job", "--wait", "--", "true"],
        ));
    });
    row(
        "enqueue --wait of the command 'true', whole",
        Figure::Time(whole),
        limit(),
        None,
    );
}

/// A command that lasts until its gate is opened.
struct Gate {
    path: PathBuf,
    script: String,
}

impl Gate {
    fn new(house: &House) -> Self {
        let path = house.dir.path().join("gate");
        if !path.exists() {
            let made = Command::new("mkfifo").arg(&path).status();
            assert!(made.expect("mkfifo is on every system").success());
        }
        let script = format!("read -r _ < '{}'", path.display());
        Self { path, script }
    }

    /// Waits for the command to stand at the gate.
    fn open(&self) {
        let opened = fs::OpenOptions::new().write(true).open(&self.path);
        writeln!(opened.expect("a fifo"), "go").expect("somebody reads");
    }
}

/// Median time from the end line in the transcript, whose time the ledger keeps, to the result on the watcher's stdout.
fn latency(house: &House, runs: usize) -> Duration {
    let gate = Gate::new(house);
    let times = (0..runs).map(|n| {
        let label = format!("latency-{n}");
        run(house.command(
            "dispatch",
            &["enqueue", "--label", &label, "--", "sh", "-c", &gate.script],
        ));
        let mut watcher = house.command("watcher", &["--label", &label]);
        let child = watcher.stdout(Stdio::piped()).spawn();
        let mut child = child.expect("the watcher starts");
        watches(house, &label, &child);
        gate.open();
        let mut first = String::new();
        BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut first)
            .expect("readable");
        let seen = SystemTime::now().duration_since(UNIX_EPOCH);
        child.wait().expect("our own child");
        let ended = Duration::from_millis(ended_at_ms(house, &label));
        seen.expect("after the epoch").saturating_sub(ended)
    });
    median(times.collect())
}

/// Waits until this process is the label's watcher and has looked for the first time.
fn watches(house: &House, label: &str, child: &Child) {
    let end = Instant::now() + Duration::from_secs(60);
    let pid = format!("\"pid\": {}", child.id());
    let is_at_work = || {
        let posts = fs::read_dir(house.state().join("watchers")).ok()?;
        posts.flatten().map(|post| post.path()).find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&format!("{label}."))
                && name.ends_with(".json")
                && fs::read_to_string(path).is_ok_and(|text| text.contains(&pid))
        })
    };
    while is_at_work().is_none() {
        assert!(Instant::now() < end, "{label} is not watched");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// When the label's end line was written, ms since the epoch: the ledger keeps its time.
fn ended_at_ms(house: &House, label: &str) -> u64 {
    let text = fs::read_to_string(house.ledger()).expect("readable");
    let ledger: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let ended = ledger[label]["endedAt"].as_str().expect("it has ended");
    dispatch::record::time::parse(&ended.into())
        .and_then(|ms| u64::try_from(ms).ok())
        .expect("a time")
}

/// Median time from the moment the command may end to the end of its answer.
fn awaited(house: &House, runs: usize) -> Duration {
    let gate = Gate::new(house);
    let times = (0..runs).map(|n| {
        let label = format!("awaited-{n}");
        let words = ["enqueue", "--label", &label, "--wait", "--", "sh", "-c"];
        let mut command = house.command("dispatch", &[&words[..], &[&gate.script]].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
        gate.open();
        let begun = Instant::now();
        let mut answer = String::new();
        let mut out = child.stdout.take().expect("piped");
        out.read_to_string(&mut answer).expect("readable");
        let time = begun.elapsed();
        child.wait().expect("our own child");
        time
    });
    median(times.collect())
}

/// Median time from a write to a file to the wake-up of a thread that waits for one.
#[cfg(target_os = "linux")]
fn wake_up(dir: &Path, runs: usize) -> Duration {
    use rustix::fs::inotify;
    use std::mem::MaybeUninit;
    use std::sync::mpsc;

    let path = dir.join("watched");
    let mut file = fs::File::create(&path).expect("creatable");
    let source = inotify::init(inotify::CreateFlags::CLOEXEC).expect("a source of events");
    inotify::add_watch(&source, &path, inotify::WatchFlags::MODIFY).expect("watchable");
    let (told, seen) = mpsc::channel();
    let waiter = std::thread::spawn(move || {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&source, &mut buffer);
        for _ in 0..runs {
            events.next().expect("an event");
            told.send(Instant::now()).expect("somebody listens");
        }
    });
    let times = (0..runs).map(|_| {
        // The other one is asleep again by then.
        std::thread::sleep(Duration::from_millis(2));
        let begun = Instant::now();
        file.write_all(b"a line\n").expect("writable");
        let woken: Instant = seen.recv().expect("it tells");
        woken.saturating_duration_since(begun)
    });
    let median = median(times.collect());
    waiter.join().expect("it ran");
    median
}

/// Elsewhere there is no such source of events: a pipe's wake-up stands in for it.
#[cfg(not(target_os = "linux"))]
fn wake_up(_: &Path, runs: usize) -> Duration {
    let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
    timed(runs, || {
        writer.write_all(b"x").expect("somebody reads");
        reader.read_exact(&mut [0]).expect("somebody writes");
    })
}
