//! Real failing writes: a full disk, a size limit, a directory that takes nothing.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{COMPLETE, done, strays};
use crate::support::{House, Ran, program, run};

/// A ledger of at least so many bytes.
fn ledger_of(bytes: usize) -> String {
    format!(
        "{{\n  \"big\": {{\n    \"status\": \"done\",\n    \"summary\": \"{}\"\n  }}\n}}\n",
        "x".repeat(bytes)
    )
}

/// A small file system of its own under the state directory, gone with this value.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with a line that says why, where mounting is not permitted.
    pub fn under(house: &House, kib: usize) -> Option<Self> {
        let dir = house.state();
        fs::create_dir_all(&dir).expect("creatable");
        let size = format!("size={kib}k,mode=0700");
        match mount(&["-t", "tmpfs", "-o", &size, "tmpfs"], &dir) {
            Ok(()) => Some(Self(dir)),
            Err(why) => {
                println!("skipped: a small file system cannot be mounted here: {why}");
                None
            }
        }
    }

    /// Changes an option of it.
    pub fn remount(&self, how: &str) {
        mount(&["-o", &format!("remount,{how}")], &self.0)
            .expect("what was mounted can be remounted");
    }

    /// Fills what is left but for so many bytes.
    pub fn fill(&self, but_bytes: usize) -> PathBuf {
        let filler = self.0.join("filler");
        let mut file = fs::File::create(&filler).expect("creatable");
        let mut length = 0;
        while let Ok(taken @ 1..) = file.write(&[b'x'; 4096]) {
            length += taken;
        }
        let left = u64::try_from(length.saturating_sub(but_bytes)).expect("a length");
        file.set_len(left).expect("it fitted before");
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(words: &[&str], dir: &Path) -> Result<(), String> {
    let output = Command::new("mount")
        .args(words)
        .arg(dir)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| e.to_string())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// The write failed with this error, and nothing of it is left.
#[track_caller]
fn assert_refused(house: &House, ran: &Ran, before: &str, errno: &str) {
    let line = ran.stderr.lines().last().unwrap_or_default();
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""), "{ran:?}");
    let start = format!(
        "[dispatch] cannot write the ledger's new version {}",
        house.state().display()
    );
    assert!(line.starts_with(&start), "{ran:?}");
    assert!(line.ends_with(errno), "{ran:?}");
    assert_eq!(
        fs::read_to_string(house.ledger_path()).expect("UTF-8"),
        before
    );
    assert_eq!(strays(&house.state()), Vec::<String>::new());
}

#[test]
fn a_full_disk_leaves_the_old_ledger_and_no_temporary() {
    let house = House::new();
    let Some(disk) = SmallDisk::under(&house, 256) else {
        return;
    };
    let before = ledger_of(60_000);
    house.write_ledger(&before);
    for room in [0, 8 * 1024, 40 * 1024] {
        let filler = disk.fill(room);
        let ran = done(&house, "new");
        assert_refused(
            &house,
            &ran,
            &before,
            "No space left on device (os error 28)",
        );
        fs::remove_file(filler).expect("removable");
    }
    done(&house, "new").exits(0);
    assert_eq!(house.entry("new")["status"], "done");
    assert_eq!(house.entry("big")["status"], "done");
}

#[test]
fn readers_do_their_work_on_a_full_disk() {
    let house = House::new();
    let Some(disk) = SmallDisk::under(&house, 128) else {
        return;
    };
    house.write_ledger(ledger_of(20_000));
    disk.fill(0);
    for words in [
        &["list"][..],
        &["status", "--label", "big"],
        &["result", "--label", "big"],
        &["doctor"],
    ] {
        let ran = house.dispatch(words);
        assert!(ran.stdout.starts_with('{'), "{ran:?}");
    }
}

#[test]
fn a_repair_on_a_full_disk_leaves_the_broken_ledger() {
    let house = House::new();
    let Some(disk) = SmallDisk::under(&house, 256) else {
        return;
    };
    let before = format!(
        "{},\n  \"cut\": {{",
        ledger_of(60_000).trim_end_matches("\n}\n")
    );
    house.write_ledger(&before);
    for room in [0, 40 * 1024, 80 * 1024] {
        let filler = disk.fill(room);
        let ran = house.dispatch(&["doctor", "--repair"]).exits(1);
        assert!(
            ran.stderr
                .ends_with("No space left on device (os error 28)\n"),
            "{ran:?}"
        );
        assert_eq!(
            fs::read_to_string(house.ledger_path()).expect("UTF-8"),
            before
        );
        assert_eq!(strays(&house.state()), Vec::<String>::new());
        fs::remove_file(filler).expect("removable");
    }
    house.dispatch(&["doctor", "--repair"]);
    assert_eq!(house.entry("big")["status"], "done");
}

#[test]
fn a_directory_that_takes_no_writes_is_named_and_the_next_command_works() {
    let house = House::new();
    let Some(disk) = SmallDisk::under(&house, 256) else {
        return;
    };
    let before = ledger_of(10);
    house.write_ledger(&before);
    disk.remount("ro");
    let ran = done(&house, "new").exits(1);
    let lock = house.state().join("labels.json.lock");
    assert_eq!(
        ran.stderr.lines().last(),
        Some(
            format!(
                "[dispatch] cannot lock {}: Read-only file system (os error 30)",
                lock.display()
            )
            .as_str()
        )
    );
    house.dispatch(&["list"]).exits(0);
    disk.remount("rw");
    done(&house, "lock and all").exits(0);
    let before = fs::read_to_string(house.ledger_path()).expect("UTF-8");
    disk.remount("ro");
    done(&house, "new").exits(1);
    assert_eq!(
        fs::read_to_string(house.ledger_path()).expect("UTF-8"),
        before
    );
    disk.remount("rw");
    done(&house, "new").exits(0);
    assert_eq!(house.entry("new")["status"], "done");
    assert_eq!(strays(&house.state()), Vec::<String>::new());
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_not_a_death() {
    let house = House::new();
    let before = ledger_of(60_000);
    house.write_ledger(&before);
    // Blocks of 512 or 1024 bytes, whichever the shell counts in: less than the ledger, more than anything else.
    let script = "ulimit -f 16 && exec \"$0\" \"$@\"";
    let mut command = house.command("dispatch");
    let environment: Vec<_> = command
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())))
        .collect();
    command = Command::new("sh");
    command.args(["-c", script]).arg(program("dispatch"));
    command.args(["done", "--label", "new", "--checklist", COMPLETE]);
    command
        .env_clear()
        .envs(environment)
        .current_dir(house.root())
        .stdin(Stdio::null());
    let ran = run(command, b"");
    assert_refused(&house, &ran, &before, "File too large (os error 27)");
    done(&house, "new").exits(0);
    assert_eq!(house.entry("new")["status"], "done");
}
