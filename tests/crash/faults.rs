//! One fault in one program, and the loop over every call that it can strike.

use std::any::Any;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::{House, Ran, run};

/// So many scenarios of one loop run at once: they mostly wait.
const AT_ONCE: usize = 12;

/// No program makes so many storage calls in a scenario; a loop that gets here does not end.
const MAX_CALLS: u64 = 2_000;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Kill,
    Power,
    Enospc,
    Eio,
    Eintr,
    Short,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Power => "power",
            Kind::Enospc => "enospc",
            Kind::Eio => "eio",
            Kind::Eintr => "eintr",
            Kind::Short => "short",
        }
    }

    /// The process dies of it.
    pub fn is_death(self) -> bool {
        matches!(self, Kind::Kill | Kind::Power)
    }

    /// The calls that it is tried at: the first, and the distance from one to the next.
    fn calls(self, program: &str) -> (u64, u64) {
        if is_long() {
            return (1, 1);
        }
        match self {
            Kind::Kill => (1, 1),
            // What is not synced is often at stake for one call alone; only the program with the most calls is spared.
            Kind::Power if program == "detached watcher" => (2, 2),
            Kind::Power => (1, 1),
            Kind::Enospc => (1, 6),
            Kind::Eio => (3, 6),
            Kind::Eintr => (4, 6),
            Kind::Short => (6, 6),
        }
    }
}

/// Deaths, which are tried in every gap.
pub const DEATHS: [Kind; 2] = [Kind::Kill, Kind::Power];

/// Calls that fail.
pub const FAILURES: [Kind; 4] = [Kind::Enospc, Kind::Eio, Kind::Eintr, Kind::Short];

/// Somebody has time.
pub fn is_long() -> bool {
    std::env::var_os("DISPATCH_TEST_LONG").is_some_and(|value| value == "1")
}

/// One fault, for the n-th call of one program.
pub struct Fault {
    pub kind: Kind,
    variable: String,
    mark: PathBuf,
}

impl Fault {
    fn new(house: &House, program: &str, kind: Kind, n: u64) -> Self {
        let mark = house.path("struck");
        let variable = format!("{program}:{}:{n}:{}", kind.name(), mark.display());
        Self {
            kind,
            variable,
            mark,
        }
    }

    /// It has happened.
    pub fn has_struck(&self) -> bool {
        self.mark.exists()
    }

    /// Puts it into a program's environment, and so into that of everything the program starts.
    pub fn put_into(&self, command: &mut Command) {
        command.env("DISPATCH_FAULT", &self.variable);
    }

    /// Runs `dispatch` with the fault. A death must be one; a failure must be told in one sentence.
    #[track_caller]
    pub fn strike(&self, house: &House, words: &[&str]) -> Struck {
        self.strike_program(house, "dispatch", words)
    }

    /// As [`Fault::strike`], for another program.
    #[track_caller]
    pub fn strike_program(&self, house: &House, program: &str, words: &[&str]) -> Struck {
        let mut command = house.command(program);
        command.args(words);
        self.put_into(&mut command);
        let ran = run(command, b"");
        match ran.code {
            Some(0) => {}
            None => assert!(self.kind.is_death() && self.has_struck(), "{ran:?}"),
            Some(_) => {
                assert!(!self.kind.is_death() && self.has_struck(), "{ran:?}");
                let last = ran.stderr.lines().last().unwrap_or_default();
                // Two programs answer with a list in which what went wrong is named.
                let listed = ["\"ok\": false", "could not help"];
                let listed = listed.iter().any(|words| ran.stdout.contains(words));
                assert!(
                    listed || last.starts_with("[dispatch] "),
                    "no sentence: {ran:?}"
                );
            }
        }
        Struck { ran }
    }
}

/// A program that ran with a fault.
pub struct Struck {
    pub ran: Ran,
}

impl Struck {
    /// It said that what was asked is safe.
    pub fn acknowledged(&self) -> bool {
        self.ran.code == Some(0)
    }
}

/// Runs `scenario` with each of `kinds` in call 1, 2, 3, ... of `program`, until the program gets through without
/// reaching it. Fails with all the calls that went wrong, and when fewer than `at_least` could be struck at all.
#[track_caller]
pub fn at_every_call(
    program: &str,
    kinds: &[Kind],
    at_least: u64,
    scenario: impl Fn(&House, &Fault) + Sync,
) {
    let mut wrong = Vec::new();
    for kind in kinds {
        let (first, distance) = kind.calls(program);
        let next = AtomicU64::new(first);
        let reached = AtomicU64::new(0);
        let beyond = AtomicU64::new(MAX_CALLS);
        let complaints = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(|| {
                    loop {
                        let n = next.fetch_add(distance, Ordering::SeqCst);
                        if n >= beyond.load(Ordering::SeqCst) {
                            return;
                        }
                        match one(program, *kind, n, &scenario) {
                            Ok(true) => reached.fetch_max(n, Ordering::SeqCst),
                            Ok(false) => beyond.fetch_min(n, Ordering::SeqCst),
                            Err(complaint) => {
                                let mut all = complaints.lock().expect("nobody panics with it");
                                all.push(complaint);
                                // One more of the same kind tells nothing new.
                                if all.len() >= 3 {
                                    beyond.store(0, Ordering::SeqCst);
                                }
                                0
                            }
                        };
                    }
                });
            }
        });
        let complaints = complaints.into_inner().expect("nobody panics with it");
        let (reached, beyond) = (reached.into_inner(), beyond.into_inner());
        println!("{program}: {} up to call {reached}", kind.name());
        if complaints.is_empty() {
            assert!(beyond < MAX_CALLS, "{program} makes calls without end");
            assert!(
                reached + distance > at_least,
                "{program}: only {reached} calls could be struck by {}",
                kind.name()
            );
        }
        wrong.extend(complaints);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// One scenario with one fault: whether it struck, or what went wrong and how the house looked.
fn one(
    program: &str,
    kind: Kind,
    n: u64,
    scenario: &(impl Fn(&House, &Fault) + Sync),
) -> Result<bool, String> {
    let house = House::new();
    let fault = Fault::new(&house, program, kind, n);
    match catch_unwind(AssertUnwindSafe(|| scenario(&house, &fault))) {
        Ok(()) => Ok(fault.has_struck()),
        Err(panic) => Err(format!(
            "{program}: {} at call {n}: {}\n{}",
            kind.name(),
            words_of(panic.as_ref()),
            scene(&house)
        )),
    }
}

fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

/// What somebody who looks for the cause wants to see.
pub fn scene(house: &House) -> String {
    let mut text = String::new();
    for (path, content) in house.state_files() {
        let name = path.strip_prefix(house.state()).unwrap_or(&path);
        text.push_str(&format!("  {}\n", name.display()));
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        let told = ["labels.json", "sessions.json", "started.json"];
        if extension == "log"
            || told.contains(&name.to_string_lossy().rsplit('/').next().unwrap_or(""))
        {
            text.push_str(&String::from_utf8_lossy(&content));
        }
    }
    let sink = fs::read_to_string(house.path("sink")).unwrap_or_default();
    text.push_str(&format!("  sink:\n{sink}"));
    text
}
