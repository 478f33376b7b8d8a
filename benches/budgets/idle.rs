//! What watchers cost while nothing happens: one by one, and all in one process.
//!
//! Half of the system's sources of file events goes to the runners; `unshare --user --map-root-user` with a number of
//! its own in `/proc/sys/user/max_inotify_instances` shows what becomes of the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::house::{DONE, House, quiet, run};
use crate::table::{Budget, Figure, Limit, row};

/// What they begin with is over by then.
const SETTLED: Duration = Duration::from_secs(10);

/// How long they are looked at.
const SPAN: Duration = Duration::from_secs(10);

/// What so many watchers cost, and with `in_one` so many labels of one.
pub fn idle(count: usize, in_one: bool) {
    let house = House::new();
    let gate = house.dir.path().join("gate");
    let made = Command::new("mkfifo").arg(&gate).status();
    assert!(made.expect("mkfifo is on every system").success());
    let labels: Vec<String> = (0..count).map(|n| format!("idle-{n:03}")).collect();
    let script = format!("read -r _ < '{}'", gate.display());
    for label in &labels {
        let words = ["enqueue", "--label", label, "--", "sh", "-c", &script];
        run(house.command("dispatch", &words));
    }
    let singles = keepers(&house, |pids| pids.len() == count);
    cost(&format!("{count} idle watchers"), &singles);
    let all = in_one.then(|| house.command("watcher", &["--all"]).spawn());
    let mut all = all.map(|started| started.expect("it starts"));
    if let Some(all) = &all {
        let pid = all.id();
        singles.iter().for_each(|pid| run(terminate(*pid)));
        let every = keepers(&house, |pids| {
            pids.len() == count && pids.iter().all(|p| *p == pid)
        });
        cost(
            &format!("one 'watcher --all' of {count} labels"),
            &every[..1],
        );
    }
    for label in &labels {
        let words = ["done", "--label", label, "--checklist", DONE];
        run(house.command("dispatch", &words));
    }
    // Whoever waits at the gate goes on when it is opened.
    drop(fs::OpenOptions::new().write(true).open(&gate));
    if let Some(all) = &mut all {
        run(terminate(all.id()));
        all.wait().expect("our own child");
    }
    keepers(&house, |pids| pids.is_empty());
}

fn terminate(pid: u32) -> Command {
    let mut command = quiet("kill");
    command.arg(pid.to_string());
    command
}

/// The watchers at the posts of a house, once they are as `wanted`.
fn keepers(house: &House, wanted: impl Fn(&[u32]) -> bool) -> Vec<u32> {
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        let posts = fs::read_dir(house.state().join("watchers"));
        let posts = posts.into_iter().flatten().flatten();
        let locks = posts
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "lock"));
        let pids: Vec<u32> = locks.filter_map(|path| holder(&path)).collect();
        if wanted(&pids) {
            return pids;
        }
        assert!(Instant::now() < end, "the watchers are not as they should");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The living process that a lock names.
fn holder(lock: &Path) -> Option<u32> {
    let holder: serde_json::Value = serde_json::from_slice(&fs::read(lock).ok()?).ok()?;
    let pid = u32::try_from(holder["pid"].as_u64()?).ok()?;
    let is_there = Path::new("/proc").join(pid.to_string()).exists();
    is_there.then_some(pid)
}

/// Wake-ups a second and memory of these processes while nothing happens, beside a program that only sleeps.
fn cost(what: &str, pids: &[u32]) {
    let mut sleeper = quiet("sleep");
    let mut sleeper = sleeper.arg("600").spawn().expect("it starts");
    std::thread::sleep(SETTLED);
    let before: u64 = pids.iter().map(|pid| wake_ups(*pid)).sum();
    std::thread::sleep(SPAN);
    let after: u64 = pids.iter().map(|pid| wake_ups(*pid)).sum();
    let each = after.saturating_sub(before) as f64 / SPAN.as_secs_f64() / pids.len() as f64;
    let mut memory: Vec<u64> = pids.iter().map(|pid| rss_anon(*pid)).collect();
    memory.sort_unstable();
    let limit = Limit {
        what: "sleep(1)",
        figure: Figure::Kilobytes(rss_anon(sleeper.id())),
    };
    sleeper.kill().expect("our own child");
    sleeper.wait().expect("our own child");
    // The budget is a single watcher's.
    let budget = |most| (pids.len() > 1 || !what.contains("--all")).then_some(Budget::AtMost(most));
    row(
        &format!("{what}: memory of its own"),
        Figure::Kilobytes(memory[memory.len() / 2]),
        Some(limit),
        budget(Figure::Kilobytes(4096)),
    );
    row(
        &format!("{what}: wake-ups of each"),
        Figure::PerSecond(each),
        None,
        budget(Figure::PerSecond(1.0)),
    );
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
