use super::*;
use crate::storage::{DurableFile, FileFacts, RealStorage};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const ENDED_MS: i64 = 1_795_267_805_000;

fn name() -> ArtifactName {
    ArtifactName::new(ENDED_MS, "build 7", "0f3c9a1e-77aa-4c1f-9d55-000000000000")
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn names_in(dir: &Path) -> Vec<String> {
    RealStorage.list(dir).expect("a readable directory")
}

fn mode_of(path: &Path) -> u32 {
    let metadata = fs::metadata(path).expect("an existing path");
    metadata.permissions().mode() & 0o7777
}

#[test]
fn the_name_says_when_what_and_which_run() {
    assert_eq!(
        name().to_string(),
        "20261121T133005Z-build%207-0f3c9a1e.txt"
    );
    assert_eq!(
        ArtifactName::new(0, "../..", "a/b").to_string(),
        "19700101T000000Z-%2E.%2F..-a_b.txt"
    );
    assert_eq!(
        ArtifactName::new(i64::MIN, "", "").to_string(),
        "19700101T000000Z-%%empty-run.txt"
    );
    assert_eq!(
        ArtifactName::new(i64::MAX, "l", "r").to_string(),
        "99991231T235959Z-l-r.txt"
    );
}

#[test]
fn the_longest_name_and_its_temporary_fit_a_directory_entry() {
    let longest = ArtifactName::new(ENDED_MS, &"ö".repeat(256), &"ö".repeat(99));
    let file = longest.numbered(MAX_SAME_NAME);
    let temporary = storage::temporary_beside(Path::new(&file));
    assert!(temporary.as_os_str().len() + "9999999999".len() <= 255);
}

#[test]
fn the_text_is_written_whole_and_private() {
    let scratch = scratch();
    let dir = scratch.path().join("artifacts/dispatch-completions");
    let path = write_artifact(&RealStorage, &dir, &name(), "héllo\n").expect("written");
    assert_eq!(path, dir.join("20261121T133005Z-build%207-0f3c9a1e.txt"));
    assert_eq!(fs::read_to_string(&path).expect("readable"), "héllo\n");
    assert_eq!(mode_of(&path), 0o600);
    assert_eq!(mode_of(&dir), 0o700);
    assert_eq!(mode_of(&scratch.path().join("artifacts")), 0o700);
    assert_eq!(names_in(&dir).len(), 1, "no temporary is left");
}

#[test]
fn doing_the_step_again_finds_the_file() {
    let scratch = scratch();
    let write =
        |text| write_artifact(&RealStorage, scratch.path(), &name(), text).expect("written");
    let first = write("one");
    assert_eq!(write("one"), first);
    let second = write("two");
    assert!(second.to_string_lossy().ends_with("-0f3c9a1e-2.txt"));
    assert!(write("xyz").to_string_lossy().ends_with("-0f3c9a1e-3.txt"));
    assert_eq!(write("two"), second);
    assert_eq!(write("one"), first);
    assert_eq!(names_in(scratch.path()).len(), 3);
}

#[test]
fn a_planted_link_is_neither_followed_nor_taken_for_the_file() {
    let scratch = scratch();
    let victim = scratch.path().join("victim");
    fs::write(&victim, "text").expect("written");
    let dir = scratch.path().join("d");
    fs::create_dir(&dir).expect("created");
    std::os::unix::fs::symlink(&victim, dir.join(name().to_string())).expect("linked");
    let path = write_artifact(&RealStorage, &dir, &name(), "text").expect("written");
    assert!(path.to_string_lossy().ends_with("-2.txt"));
    assert_eq!(fs::read_to_string(&victim).expect("readable"), "text");
}

#[test]
fn a_name_that_is_taken_too_often_is_an_error_that_says_so() {
    let scratch = scratch();
    for n in 1..=MAX_SAME_NAME {
        fs::write(scratch.path().join(name().numbered(n)), "other").expect("written");
    }
    let e = write_artifact(&RealStorage, scratch.path(), &name(), "mine").expect_err("no place");
    assert_eq!(e.kind(), io::ErrorKind::AlreadyExists);
    assert!(e.to_string().contains("99 different texts"), "{e}");
}

#[test]
fn a_directory_that_cannot_be_made_is_named_with_the_reason() {
    let scratch = scratch();
    let file = scratch.path().join("file");
    fs::write(&file, "").expect("written");
    let dir = file.join("below");
    let result = write_artifact(&RealStorage, &dir, &name(), "text");
    let ArtifactOutcome::Failed(why) = ArtifactOutcome::from(&result) else {
        panic!("a directory below a file");
    };
    assert!(
        why.starts_with(&format!("cannot create {}: ", dir.display())),
        "{why}"
    );
    assert!(why.contains("os error"), "{why}");
    assert_eq!(
        result.expect_err("failed").kind(),
        io::ErrorKind::NotADirectory
    );
}

#[test]
fn a_read_is_bounded() {
    let scratch = scratch();
    let path = write_artifact(&RealStorage, scratch.path(), &name(), "12345").expect("written");
    assert_eq!(read_artifact(&path, 5).expect("fits"), "12345");
    let e = read_artifact(&path, 4).expect_err("too large");
    assert_eq!(e.kind(), io::ErrorKind::FileTooLarge);
    assert_eq!(
        e.to_string(),
        format!("cannot read {}: it is larger than 4 bytes", path.display())
    );
    assert_eq!(
        read_artifact(scratch.path(), 4)
            .expect_err("a directory")
            .kind(),
        io::ErrorKind::InvalidInput
    );
    fs::write(&path, b"a\xffb").expect("written");
    assert_eq!(read_artifact(&path, 9).expect("lossy"), "a\u{fffd}b");
}

/// Storage whose N-th call (from 1; files' calls count too) fails with ENOSPC.
#[derive(Clone)]
struct NthFails {
    left: Arc<AtomicUsize>,
}

impl NthFails {
    fn new(n: usize) -> Self {
        let left = Arc::new(AtomicUsize::new(n));
        Self { left }
    }

    fn hit(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }

    fn count(&self) -> io::Result<()> {
        match self.left.load(Ordering::SeqCst) {
            0 => Ok(()),
            left => {
                self.left.store(left - 1, Ordering::SeqCst);
                if left == 1 {
                    return Err(io::Error::from_raw_os_error(28));
                }
                Ok(())
            }
        }
    }
}

struct CountedFile(Box<dyn DurableFile>, NthFails);

impl DurableFile for CountedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.count()?;
        // A short write, so that a text takes several calls.
        self.0.write(bytes.get(..3).unwrap_or(bytes))
    }
    fn sync(&mut self) -> io::Result<()> {
        self.1.count()?;
        self.0.sync()
    }
    fn set_owner_and_mode(&mut self, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
        self.1.count()?;
        self.0.set_owner_and_mode(uid, gid, mode)
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.1.count()?;
        self.0.truncate(len)
    }
}

impl Storage for NthFails {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.count()?;
        RealStorage.read(path)
    }
    fn read_at(&self, path: &Path, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.count()?;
        RealStorage.read_at(path, offset, len)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn io::Read>> {
        self.count()?;
        RealStorage.open(path)
    }
    fn facts(&self, path: &Path) -> io::Result<Option<FileFacts>> {
        self.count()?;
        RealStorage.facts(path)
    }
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        self.count()?;
        let file = RealStorage.create_new(path)?;
        Ok(Box::new(CountedFile(file, self.clone())))
    }
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        self.count()?;
        RealStorage.open_append(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.count()?;
        RealStorage.rename(from, to)
    }
    fn hard_link(&self, original: &Path, link: &Path) -> io::Result<()> {
        self.count()?;
        RealStorage.hard_link(original, link)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.count()?;
        RealStorage.remove(path)
    }
    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.count()?;
        RealStorage.remove_dir(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.count()?;
        RealStorage.sync_dir(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.count()?;
        RealStorage.create_dir_all(dir)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.count()?;
        RealStorage.list(dir)
    }
}

#[test]
fn whichever_call_fails_the_text_is_there_or_the_step_says_so_and_can_be_redone() {
    for n in 1.. {
        let scratch = scratch();
        let dir = scratch.path().join("a/b");
        let faulty = NthFails::new(n);
        let result = write_artifact(&faulty, &dir, &name(), "0123456789");
        if !faulty.hit() {
            assert!(n > 10, "the loop met every call");
            result.expect("no call failed");
            return;
        }
        // A failure while clearing up behind a text that is safe is none.
        match result {
            Ok(path) => assert_eq!(read_artifact(&path, 10).expect("readable"), "0123456789"),
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::StorageFull, "call {n}: {e}"),
        }
        let path = write_artifact(&RealStorage, &dir, &name(), "0123456789").expect("redone");
        assert_eq!(path, dir.join(name().to_string()), "call {n}");
        assert_eq!(read_artifact(&path, 10).expect("readable"), "0123456789");
        let files = names_in(&dir).into_iter().filter(|n| n.ends_with(".txt"));
        assert_eq!(files.count(), 1, "call {n}: one file");
    }
}

#[test]
fn whichever_call_of_a_redo_fails_the_text_stays() {
    for n in 1.. {
        let scratch = scratch();
        let dir = scratch.path();
        let first = write_artifact(&RealStorage, dir, &name(), "text").expect("written");
        let faulty = NthFails::new(n);
        let result = write_artifact(&faulty, dir, &name(), "text");
        assert_eq!(read_artifact(&first, 10).expect("readable"), "text");
        if let Ok(path) = result {
            assert_eq!(read_artifact(&path, 10).expect("readable"), "text");
        }
        if !faulty.hit() {
            return;
        }
    }
}

#[test]
fn a_text_in_a_file_is_copied_with_its_bad_bytes_replaced_and_a_redo_finds_it() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let source = home.path().join("raw");
    // A character across a block's end, bad bytes, and an unfinished character at the end.
    let mut bytes = "x".repeat(COPY_BLOCK_BYTES - 1).into_bytes();
    bytes.extend_from_slice("😀 \u{e9}".as_bytes());
    bytes.extend_from_slice(b"\xff\xfe tail \xe2\x82");
    fs::write(&source, &bytes).expect("writable");
    let dir = home.path().join("artifacts");
    let name = ArtifactName::new(0, "l", "run");
    let path = copy_artifact(&RealStorage, &dir, &name, "", &source).expect("copied");
    let text = fs::read_to_string(&path).expect("UTF-8");
    assert_eq!(text, String::from_utf8_lossy(&bytes));
    assert_eq!(
        copy_artifact(&RealStorage, &dir, &name, "", &source).expect("found"),
        path
    );
    fs::write(&source, "another").expect("writable");
    let second = copy_artifact(&RealStorage, &dir, &name, "", &source).expect("copied");
    assert_ne!(second, path);
    let left: Vec<_> = fs::read_dir(&dir).expect("readable").flatten().collect();
    assert_eq!(left.len(), 2, "no temporary is left");
}
