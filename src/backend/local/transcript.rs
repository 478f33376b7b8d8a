//! Writing a local session's transcript, in the enveloped shape that OpenClaw up to 2026.7 writes.
//!
//! Only the runner that holds the session's lock writes. A half-written last line of a killed runner is cut off before
//! the next line is added; followers have not consumed it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::home::Home;
use crate::record::time;
use crate::session::reader::take_baseline;
use crate::storage::{DurableFile, Storage, create_dir_synced, parent_of, write_all};

/// The longest text that one line carries; a longer reply is named by its raw file.
pub const MAX_LINE_TEXT_BYTES: u64 = 4 * 1024 * 1024;

/// A transcript open for writing.
pub struct TranscriptWriter {
    path: PathBuf,
    file: Box<dyn DurableFile>,
    storage: Arc<dyn Storage>,
    last_id: Option<String>,
}

impl TranscriptWriter {
    /// Opens the session's transcript, writing its header when it is new.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn open(home: &Home, path: &Path, session_id: &str, cwd: &Path) -> io::Result<Self> {
        let storage = Arc::clone(&home.storage);
        create_dir_synced(storage.as_ref(), parent_of(path))?;
        let before = take_baseline(path, Some(session_id))?;
        let mut writer = Self {
            file: storage.open_append(path)?,
            path: path.to_owned(),
            storage,
            last_id: before.last_entry_id,
        };
        writer.file.truncate(before.offset)?;
        if before.offset == 0 {
            writer.line(&json!({
                "type": "session",
                "version": 3,
                "id": session_id,
                "timestamp": time::iso(home.now_ms()),
                "cwd": cwd,
            }))?;
        }
        Ok(writer)
    }

    /// Adds a message; `dispatch` is our own note beside it.
    ///
    /// # Errors
    /// When it cannot be written; the transcript may then end in half a line, which the next open cuts off.
    pub fn message(&mut self, now_ms: i64, message: Value, dispatch: Value) -> io::Result<()> {
        let uuid = uuid::Uuid::new_v4().simple().to_string();
        let id = uuid.get(..8).unwrap_or_default().to_owned();
        let line = json!({
            "type": "message",
            "id": id,
            "parentId": self.last_id,
            "timestamp": time::iso(now_ms),
            "message": message,
            "dispatch": dispatch,
        });
        self.line(&line)?;
        self.last_id = Some(id);
        Ok(())
    }

    /// Brings everything to the disk.
    ///
    /// # Errors
    /// When the system cannot; the file must then be opened anew.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.storage.sync_dir(parent_of(&self.path))
    }

    fn line(&mut self, line: &Value) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        write_all(self.file.as_mut(), &text)
    }
}
