//! Where uploads lie until they are whole: a file each, whose length says how far it is.

use std::{
    collections::HashSet,
    io::{ErrorKind, SeekFrom},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use sigilo_wire::FileId;
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncSeekExt as _, AsyncWriteExt as _},
};

use crate::{Error, Result};

/// How much of what is written waits in memory.
const BUFFER: usize = 128 * 1024;

/// The folder of uploads that are not whole yet.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    busy: Arc<Mutex<HashSet<FileId>>>,
}

/// The one who writes to an upload here, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    file: FileId,
    busy: Arc<Mutex<HashSet<FileId>>>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.file);
    }
}

/// An upload that is being written to.
#[derive(Debug)]
pub struct Writing {
    file: File,
    start: u64,
    length: u64,
}

impl Spool {
    /// The spool in this folder, which is there.
    #[must_use]
    pub fn open(folder: PathBuf) -> Self {
        Self { folder, busy: Arc::default() }
    }

    /// Where an upload lies.
    #[must_use]
    pub fn path(&self, file: FileId) -> PathBuf {
        self.folder.join(format!("{file}.part"))
    }

    /// The right to write to an upload; `None` while somebody else has it.
    #[must_use]
    pub fn turn(&self, file: FileId) -> Option<Turn> {
        let free = self.busy.lock().unwrap_or_else(PoisonError::into_inner).insert(file);
        free.then(|| Turn { file, busy: Arc::clone(&self.busy) })
    }

    /// How many bytes of an upload are on the disk.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub async fn length(&self, file: FileId) -> Result<u64> {
        let file = match File::open(self.path(file)).await {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(away(error)),
        };
        // What is told is what a crash leaves.
        file.sync_all().await.map_err(away)?;
        Ok(file.metadata().await.map_err(away)?.len())
    }

    /// Goes on with an upload at `start`, which is its length or less: what is behind is dropped.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub async fn write(&self, turn: &Turn, start: u64) -> Result<Writing> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(self.path(turn.file)).await.map_err(away)?;
        file.set_max_buf_size(BUFFER);
        file.set_len(start).await.map_err(away)?;
        file.seek(SeekFrom::Start(start)).await.map_err(away)?;
        Ok(Writing { file, start, length: start })
    }

    /// Drops an upload.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub async fn remove(&self, file: FileId) -> Result<()> {
        match tokio::fs::remove_file(self.path(file)).await {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(away(error)),
        }
    }
}

impl Writing {
    /// How long the upload is with what was written.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// When the disk does not answer, or is full.
    pub async fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).await.map_err(away)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Makes it durable; gives the upload's length.
    ///
    /// # Errors
    /// When the disk does not answer, or is full.
    pub async fn finish(mut self) -> Result<u64> {
        self.file.flush().await.map_err(away)?;
        self.file.sync_all().await.map_err(away)?;
        Ok(self.length)
    }

    /// Takes back what was added.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub async fn undo(mut self) -> Result<()> {
        self.file.flush().await.map_err(away)?;
        self.file.set_len(self.start).await.map_err(away)?;
        self.file.sync_all().await.map_err(away)
    }
}

fn away(error: std::io::Error) -> Error {
    Error::Unavailable(format!("spool: {error}"))
}
