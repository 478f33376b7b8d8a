//! `dispatch` beside `openclaw gateway call`, at the same real gateways, in one run: `cargo bench --bench gateway`.
//!
//! Every figure stands beside its yardstick: the same call made by OpenClaw's own command line, or the gateway's own time
//! for the same call on a connection that is there already. The gateways are those of `tests/e2e` (`DISPATCH_E2E_DIR`);
//! `-- 2026.9.6` takes one of them alone, `-- enqueue` one part (`reading`, `enqueue`, `result`).

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dispatch::backend::RunRef;
use dispatch::backend::openclaw::{Spawn, spawn};
use dispatch::config::Strictness;
use dispatch::gateway::Client;
use dispatch::home::Home;
use dispatch::record::Entry;
use gateways::{Gateway, GatewayHouse, Version};
use serde_json::{Value, json};

#[path = "../tests/e2e/gateways.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod gateways;
#[path = "../tests/e2e/listener.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod listener;
#[path = "../tests/support/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod support;

const PATIENCE: Duration = Duration::from_secs(60);

/// How often each of our own calls is made.
const RUNS: usize = 15;

/// A gateway that does nothing for so long is at rest.
const IDLE: Duration = Duration::from_millis(300);

/// How often a run is asked for: the gateway's own time varies by half.
const ENQUEUE_RUNS: usize = 31;

/// How often each of OpenClaw's is made: one takes a second or two.
const THEIR_RUNS: usize = 5;

type Part = (&'static str, fn(&Bench));

/// The parts, each by the word that takes it alone.
const PARTS: [Part; 3] = [
    ("reading", Bench::reading),
    ("enqueue", Bench::enqueueing),
    ("result", Bench::to_the_result),
];

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str, of: &[&str]| {
        let mut named = words
            .iter()
            .filter(|word| of.contains(&word.as_str()))
            .peekable();
        named.peek().is_none() || named.any(|word| word == name)
    };
    let versions = Version::ALL.map(Version::name);
    let parts = PARTS.map(|(name, _)| name);
    for version in Version::ALL {
        if !is_wanted(version.name(), &versions) {
            continue;
        }
        let Some(gateway) = version.gateway() else {
            return;
        };
        println!("== OpenClaw {}", version.name());
        let bench = Bench::new(gateway);
        bench.warm_up();
        for (name, part) in PARTS {
            if is_wanted(name, &parts) {
                part(&bench);
            }
        }
    }
}

struct Bench {
    gateway: &'static Gateway,
    house: GatewayHouse,
    /// Where OpenClaw's command line keeps its own things.
    theirs: tempfile::TempDir,
}

impl Bench {
    fn new(gateway: &'static Gateway) -> Self {
        Self {
            gateway,
            house: gateway.house(),
            theirs: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    /// The first run of a gateway takes seconds; OpenClaw's command line on the older generation is held to the scope of
    /// its very first call.
    fn warm_up(&self) {
        for n in 0..2 {
            let label = format!("warm-{n}");
            self.house
                .ask(&label, "Warm up. @fake reply=\"Warm.\"", &[]);
            self.house.reply(&label);
        }
        let patch = json!({"key": "agent:main:subagent:warm", "label": "warm"});
        let _ = run(self.their_call("sessions.patch", &patch));
    }

    /// `status` of a session at work and `result` of one that has ended.
    fn reading(&self) {
        self.house.ask("hangs", "Hang on. @fake hang", &[]);
        self.house.model_is_asked("Hang on.");
        let watcher = self.house.watcher_pid("hangs");
        println!(
            "watcher of a session at work: RssAnon {} kB",
            field(watcher, "RssAnon")
        );
        let key = self.house.entry("hangs")["sessionKey"].clone();
        self.compare(
            "status",
            &["status", "--label", "hangs"],
            "sessions.describe",
            &json!({"key": key}),
        );
        self.house
            .dispatch(&["cancel", "--label", "hangs"])
            .exits(0);
        let key = self.house.entry("warm-0")["sessionKey"].clone();
        self.compare(
            "result",
            &["result", "--label", "warm-0"],
            "sessions.get",
            &json!({"key": key}),
        );
    }

    fn enqueueing(&self) {
        let mut theirs = Vec::new();
        let mut their_peak = 0;
        for n in 0..=THEIR_RUNS {
            let run_id = format!("theirs-{n}-{}", std::process::id());
            let params = json!({
                "sessionKey": format!("agent:main:subagent:{run_id}"),
                "message": "Theirs. @fake reply=\"Theirs.\"",
                "idempotencyKey": run_id,
                "deliver": false,
                "lane": "subagent",
            });
            let call = self.their_call("agent", &params);
            match n {
                0 => their_peak = peak(call),
                _ => theirs.push(run(call)),
            }
            self.rests(&run_id);
        }
        let (mut hands, mut accepts, mut ours) = (Vec::new(), Vec::new(), Vec::new());
        let mut our_peak = 0;
        let like = self.asked("warm-0");
        for n in 0..=ENQUEUE_RUNS {
            let run_id = format!("direct-{n}-{}", std::process::id());
            let asked = Spawn {
                session_key: format!("agent:main:subagent:{run_id}"),
                run_id: run_id.clone(),
                label: run_id.clone(),
                ..like.clone()
            };
            let begun = Instant::now();
            let mut client = self.connect();
            let hand = begun.elapsed();
            let begun = Instant::now();
            spawn(&mut client, &asked).expect("accepted");
            let accept = begun.elapsed();
            drop(client);
            self.rests(&run_id);

            let label = format!("ours-{n}");
            let mut command = self.house.command("dispatch");
            command.args(["enqueue", "--label", &label, "--no-monitor"]);
            command.args(["--message", "Ours. @fake reply=\"Ours.\""]);
            match n {
                0 => our_peak = peak(command),
                _ => {
                    hands.push(hand);
                    accepts.push(accept);
                    ours.push(run(command));
                }
            }
            self.house.reply(&label);
            let run_id = self.house.entry(&label)["runId"].clone();
            self.rests(run_id.as_str().expect("a text"));
        }
        let (hand, accept, our) = (median(&hands), median(&accepts), median(&ours));
        beside(
            "enqueue",
            (our, our_peak),
            "agent",
            (median(&theirs), their_peak),
        );
        let over = our.saturating_sub(hand + accept);
        println!(
            "enqueue, whole process {our:.1?} = the gateway's own handshake {hand:.1?} + accept {accept:.1?} + ours {over:.1?} ({:.2} of the gateway's own time)",
            ratio(over, hand + accept)
        );
    }

    /// From the model's last byte to the end in the ledger and on the stdout of `enqueue --wait`.
    fn to_the_result(&self) {
        let (mut gateways, mut ledgers, mut outs) = (Vec::new(), Vec::new(), Vec::new());
        for n in 0..RUNS {
            let label = format!("last-{n}");
            let prompt = format!("Last {n}. @fake delay=1 reply=\"The last of {n}.\"");
            let words = ["enqueue", "--label", &label, "--no-monitor", "--wait"];
            let child = self
                .house
                .start("dispatch", &[&words[..], &["--message", &prompt]].concat());
            self.house.model_is_asked(&format!("Last {n}."));
            let run_id = self.house.entry(&label)["runId"].clone();
            let mut client = self.connect();
            let waiter = std::thread::spawn(move || {
                let params = json!({"runId": run_id, "timeoutMs": 60_000});
                client
                    .call("agent.wait", &params, PATIENCE)
                    .expect("an answer");
                now()
            });
            let out = std::thread::spawn(move || {
                support::finish(child).exits(0);
                now()
            });
            support::eventually("the end is in the ledger", || {
                (self.house.entry(&label)["status"] == "done").then_some(())
            });
            let in_ledger = now();
            let last_byte = self.last_byte(&format!("Last {n}."));
            gateways.push(waiter.join().expect("it ran").saturating_sub(last_byte));
            ledgers.push(in_ledger.saturating_sub(last_byte));
            outs.push(out.join().expect("it ran").saturating_sub(last_byte));
        }
        let gateway = median(&gateways);
        println!("the model's last byte -> the gateway says that the run has ended {gateway:.1?}");
        for (what, times) in [
            ("the ledger", &ledgers),
            ("stdout of 'enqueue --wait'", &outs),
        ] {
            let ours = median(times);
            println!(
                "the model's last byte -> {what} {ours:.1?} ({:.2} of the gateway's own time)",
                ratio(ours, gateway)
            );
        }
    }

    /// Compares a command of ours with the same call by OpenClaw's command line.
    fn compare(&self, what: &str, words: &[&str], method: &str, params: &Value) {
        let ours = repeated(RUNS, || {
            let mut command = self.house.command("dispatch");
            command.args(words);
            command
        });
        let theirs = repeated(THEIR_RUNS, || self.their_call(method, params));
        beside(what, ours, method, theirs);
        let mut client = self.connect();
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let begun = Instant::now();
            client.call(method, params, PATIENCE).expect("an answer");
            times.push(begun.elapsed());
        }
        println!(
            "  the gateway's own time for {method}: {:.1?}",
            median(&times)
        );
    }

    fn connect(&self) -> Client {
        self.gateway.connect()
    }

    /// `openclaw gateway call`, as somebody on this machine would run it.
    fn their_call(&self, method: &str, params: &Value) -> Command {
        let modules: PathBuf = self.gateway.packages().join("node_modules");
        let mut command = Command::new(modules.join(".bin/node"));
        command
            .arg(modules.join("openclaw/openclaw.mjs"))
            .args([
                "gateway",
                "call",
                method,
                "--json",
                "--params",
                &params.to_string(),
            ])
            .args([
                "--url",
                &self.gateway.url(),
                "--token",
                &self.gateway.token(),
            ])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.theirs.path())
            .env("OPENCLAW_STATE_DIR", self.theirs.path())
            .env("OPENCLAW_NO_RESPAWN", "1")
            .env("OPENCLAW_NO_AUTO_UPDATE", "1")
            .stdin(Stdio::null());
        command
    }

    /// Waits until the gateway has done with a run, so that the next figure is not of this one.
    fn rests(&self, run_id: &str) {
        let mut client = self.connect();
        let params = json!({"runId": run_id, "timeoutMs": 60_000});
        let ended = client.call("agent.wait", &params, PATIENCE * 2);
        assert!(
            ended.expect("an answer")["endedAt"].is_i64(),
            "{run_id} goes on"
        );
        support::eventually("no session is at work", || {
            let params = json!({"limit": 100});
            let listed = client.call("sessions.list", &params, PATIENCE).ok()?;
            let rows = listed["sessions"].as_array()?;
            let busy = |row: &&Value| row["hasActiveRun"] == true;
            rows.iter().find(busy).is_none().then_some(())
        });
        drop(client);
        // It writes and tidies for a while after a run's end.
        let mut used = self.gateway_ticks();
        support::eventually("the gateway is idle", || {
            std::thread::sleep(IDLE);
            let before = std::mem::replace(&mut used, self.gateway_ticks());
            (used <= before + 1).then_some(())
        });
    }

    /// The processor time that the gateway has used, in ticks of 10 ms.
    fn gateway_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.gateway.pid()));
        let stat = stat.expect("it is there");
        // The name before may hold blanks: 'utime' and 'stime' are the 12th and 13th field behind it.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        ticks
            .map(|field| field.parse::<u64>().expect("a number"))
            .sum()
    }

    /// What the gateway was asked for a label.
    fn asked(&self, label: &str) -> Spawn {
        let state = self.house.state();
        let entry = self.house.entry(label);
        let entry = Entry::from_fields(entry.as_object().expect("an entry").clone());
        let run = RunRef::of_entry(label, &entry).expect("it names its run");
        let env = |name: &str| (name == "DISPATCH_HOME").then(|| state.clone().into_os_string());
        let home = Home::open(&env, "bench", Strictness::Refuse).expect("a state directory");
        Spawn::of_run(&home, &run).expect("its prompt is there")
    }

    /// When the model had sent the whole answer to a prompt, since the epoch.
    fn last_byte(&self, prompt: &str) -> Duration {
        let request = self
            .house
            .model_requests(prompt)
            .pop()
            .expect("it was asked");
        let ended = self.house.model_answer_ended(&request);
        Duration::from_millis(ended)
    }
}

fn now() -> Duration {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("after the epoch")
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times[times.len() / 2]
}

fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64()
}

/// The time of so many runs, and the peak memory of one more: to look at a process slows it down.
fn repeated(runs: usize, command: impl Fn() -> Command) -> (Duration, u64) {
    let times: Vec<Duration> = (0..runs).map(|_| run(command())).collect();
    (median(&times), peak(command()))
}

fn start(command: &mut Command) -> Child {
    let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
    quiet.spawn().expect("the program starts")
}

/// Runs a command to its end: how long it took.
fn run(mut command: Command) -> Duration {
    let begun = Instant::now();
    let status = start(&mut command).wait().expect("our own child");
    let took = begun.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    took
}

/// Runs a command to its end: its peak memory in kB as it was last seen.
fn peak(mut command: Command) -> u64 {
    let mut child = start(&mut command);
    let mut peak = 0;
    loop {
        peak = peak.max(field(child.id(), "VmHWM"));
        if let Some(status) = child.try_wait().expect("our own child") {
            assert!(status.success(), "{command:?}: {status}");
            return peak;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// A field of a process's status, in kB; 0 where there is none.
fn field(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok())
        .unwrap_or(0)
}

fn beside(what: &str, ours: (Duration, u64), method: &str, theirs: (Duration, u64)) {
    println!(
        "{what:<8} {:>9.1?} {:>6} kB   gateway call {method:<18} {:>9.1?} {:>7} kB   {:>6.1} x the time, {:>5.1} x the memory",
        ours.0,
        ours.1,
        theirs.0,
        theirs.1,
        ratio(theirs.0, ours.0),
        theirs.1 as f64 / ours.1.max(1) as f64
    );
}
