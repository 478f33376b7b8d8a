//! The waiter: leads the command's process group, waits for the command, and leaves its exit status on the disk.
//!
//! It promises that the command is started at most once per run, and that its status survives the death of every
//! runner. It does not survive a SIGKILL of its own group; the run is then lost unless somebody asked for it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::ATTEMPT_VARIABLE;
use super::room::{RoomWatch, once_there_is_room, pause};
use super::run_files::{Exit, ExitRecord, RunFiles, RunSpec, StartRecord};
use crate::home::Home;
use crate::process::{ProcessIdentity, Signal, signal_process};

/// A prompt up to this size is also passed in the environment.
const MAX_ENVIRONMENT_PROMPT_BYTES: u64 = 96 * 1024;

/// Runs the command of `files` to its end.
///
/// # Errors
/// When the run's description cannot be read or the start cannot be claimed; the command was then not started.
pub fn wait_for_command(home: &Home, files: &RunFiles) -> io::Result<()> {
    // The group is sent TERM to stop the command; its leader must outlive it. Handlers, unlike ignored signals, are
    // reset in the command.
    let asked_to_stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(SIGTERM, Arc::clone(&asked_to_stop))?;
    for signal in [SIGINT, SIGHUP, SIGQUIT] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let storage = home.storage.as_ref();
    let spec = files.spec_here(home)?;
    let waiter = ProcessIdentity::current();
    let patience = Patience {
        home,
        files,
        spec: &spec,
        asked_to_stop: &asked_to_stop,
    };
    let claimed = once_there_is_room(
        || {
            // The run's time counts from its start, not from a try that found no room.
            let claim = StartRecord {
                waiter: waiter.clone(),
                at_ms: home.now_ms(),
            };
            let is_ours = |start: StartRecord| start.waiter == waiter;
            match files.claim_start(storage, &claim) {
                // An earlier try of ours left it, and could not make it last.
                Err(e)
                    if e.kind() == io::ErrorKind::AlreadyExists
                        && files.start(storage)?.is_some_and(is_ours) =>
                {
                    storage.sync_dir(files.dir())
                }
                claimed => claimed,
            }
        },
        |e| patience.wait(e),
    );
    match claimed {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        claimed => claimed?,
    }
    let room = RoomWatch::begin(files, home.clock.clone());
    let exit = match files.stop(storage) {
        Ok(Some(_)) => Exit::NotStarted("stopped before it was started".to_owned()),
        // The start is claimed, so nobody else would begin it; a request that cannot be read the runner sees to.
        Ok(None) | Err(_) => run(&patience),
    };
    let record = ExitRecord {
        unkept: room.end(files, home.now_ms()),
        exit,
        at_ms: home.now_ms(),
    };
    // A full disk must not cost the status: while this process lives, the run is not over.
    while let Err(e) = files.write_exit(storage, &record) {
        if e.kind() == io::ErrorKind::NotFound && !files.dir().exists() {
            // Whoever took the run's directory away wants none.
            return Err(e);
        }
        home.say(&format!(
            "cannot write the exit status of run {} ({e}); trying again",
            spec.run_id
        ));
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok(())
}

/// What a waiter goes by that finds no room on the disk: it waits until there is some, or somebody stops the run.
struct Patience<'a> {
    home: &'a Home,
    files: &'a RunFiles,
    spec: &'a RunSpec,
    asked_to_stop: &'a AtomicBool,
}

impl Patience<'_> {
    /// Waits a while. False when the run is not to be started any more.
    fn wait(&self, why: &io::Error) -> bool {
        let stop = self.files.stop(self.home.storage.as_ref());
        let has_started = matches!(self.files.start(self.home.storage.as_ref()), Ok(Some(_)));
        // Until the start is claimed, a request to stop waits for room, too: its end could not be recorded.
        if self.asked_to_stop.load(Ordering::SeqCst) || (has_started && !matches!(stop, Ok(None))) {
            return false;
        }
        let run = &self.spec.run_id;
        self.home
            .say(&format!("cannot start run {run} yet ({why}); trying again"));
        pause();
        true
    }
}

fn run(waiter: &Patience<'_>) -> Exit {
    let spec = waiter.spec;
    let ended = start(waiter).and_then(|mut child| {
        // A TERM that came before the command was there went to nobody who would heed it.
        if waiter.asked_to_stop.load(Ordering::SeqCst)
            && let Some(command) = ProcessIdentity::of(child.id())
        {
            let _ = signal_process(&command, Signal::TERM);
        }
        child.wait()
    });
    match ended {
        Ok(status) => exit_of(status),
        Err(e) => {
            let program = spec.argv.first().map_or("", String::as_str);
            Exit::NotStarted(format!("cannot start {program}: {e}"))
        }
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Code(-1),
    }
}

fn start(waiter: &Patience<'_>) -> io::Result<std::process::Child> {
    let Patience {
        home, files, spec, ..
    } = waiter;
    let output = |path: &Path| once_there_is_room(|| output(path), |e| waiter.wait(e));
    let (program, arguments) = spec
        .argv
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the command is empty"))?;
    let stdin = match &spec.prompt_path {
        Some(path) => Stdio::from(File::open(path)?),
        None => Stdio::null(),
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&spec.cwd)
        .stdin(stdin)
        .stdout(output(&files.stdout())?)
        .stderr(output(&files.stderr())?)
        .env(ATTEMPT_VARIABLE, "1")
        .envs(spec.env.iter().map(|(name, value)| (name, value)))
        // Absolute, whatever the caller's variables were: the command runs in another directory.
        .env("DISPATCH_HOME", &home.paths.home)
        .env("DISPATCH_LABELS_PATH", &home.paths.labels)
        .env("DISPATCH_LABEL", &spec.label)
        .env("DISPATCH_SESSION_KEY", &spec.session_key)
        .env("DISPATCH_GENERATION", spec.generation.to_string())
        .env("DISPATCH_RUN_ID", &spec.run_id)
        .env_remove("DISPATCH_MESSAGE")
        .env_remove("DISPATCH_MESSAGE_FILE");
    if let Some(model) = &spec.model {
        command.env("DISPATCH_MODEL", model);
    }
    if let Some(profile) = &spec.auth_profile {
        command.env("DISPATCH_AUTH_PROFILE", profile);
    }
    if let Some(path) = &spec.prompt_path {
        command.env("DISPATCH_MESSAGE_FILE", path);
        if let Some(prompt) = environment_prompt(path)? {
            command.env("DISPATCH_MESSAGE", prompt);
        }
    }
    command.spawn()
}

/// The prompt as an environment value, unless it is too long or not fit for one.
fn environment_prompt(path: &Path) -> io::Result<Option<String>> {
    if std::fs::metadata(path)?.len() > MAX_ENVIRONMENT_PROMPT_BYTES {
        return Ok(None);
    }
    let prompt = std::fs::read(path)?;
    Ok(String::from_utf8(prompt)
        .ok()
        .filter(|text| !text.contains('\0')))
}

/// Appending, so that a command which truncates or seeks its own output cannot destroy what it wrote.
fn output(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|e| io::Error::new(e.kind(), format!("its output {}: {e}", path.display())))
}
