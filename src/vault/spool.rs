//! Where uploads lie until they are whole: a file each, whose length says how far it is.

use std::{
    collections::HashMap,
    io::{ErrorKind, SeekFrom},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rustix::fs::FlockOperation;
use sigilo_wire::FileId;
use tokio::{
    fs::{File, OpenOptions},
    io::{AsyncSeekExt as _, AsyncWriteExt as _},
    sync::{OwnedMutexGuard, watch},
};

use crate::{Error, Result};

/// How much of what is written waits in memory.
const BUFFER: usize = 128 * 1024;

/// How long whoever comes next waits for the turn.
const PATIENCE: Duration = Duration::from_secs(40);
/// How often is looked whether another server has left.
const LOOK: Duration = Duration::from_millis(100);

/// The folder of uploads that are not whole yet.
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    slots: Arc<Mutex<HashMap<FileId, Arc<Slot>>>>,
}

/// Where those who write to one upload take turns.
#[derive(Debug)]
struct Slot {
    free: Arc<tokio::sync::Mutex<()>>,
    /// Counts those who do not want to wait.
    hurried: watch::Sender<u64>,
}

/// How whoever comes next gets the turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When the one before is done.
    Waits,
    /// The one before is asked to leave: its line is dead, or else the device would not have come again.
    Hurries,
}

/// A part in a slot: of the one whose turn it is, and of whoever waits. The last one takes the slot away.
#[derive(Debug)]
struct Share {
    file: FileId,
    slot: Arc<Slot>,
    slots: Arc<Mutex<HashMap<FileId, Arc<Slot>>>>,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // INVARIANT: shares are made under this lock, so nobody but this one and the map has the slot now.
        if Arc::strong_count(&self.slot) == 2 {
            slots.remove(&self.file);
        }
    }
}

/// The one who writes to an upload here, until it is dropped.
#[derive(Debug)]
pub struct Turn {
    hurried: watch::Receiver<u64>,
    /// Against other servers that share the folder: the upload's file, locked.
    _locked: File,
    // Before the share: whoever waits has a share of their own.
    _held: OwnedMutexGuard<()>,
    share: Share,
}

impl Turn {
    /// Resolves when somebody else wants it.
    pub async fn wanted(&mut self) {
        if self.hurried.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
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
        Self { folder, slots: Arc::default() }
    }

    /// Where an upload lies.
    #[must_use]
    pub fn path(&self, file: FileId) -> PathBuf {
        self.folder.join(format!("{file}.part"))
    }

    /// The right to write to an upload.
    ///
    /// # Errors
    /// `unavailable` when somebody else keeps it for too long.
    pub async fn turn(&self, file: FileId, next: Next) -> Result<Turn> {
        let share = {
            let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
            let new = || Arc::new(Slot { free: Arc::default(), hurried: watch::Sender::new(0) });
            let slot = Arc::clone(slots.entry(file).or_insert_with(new));
            Share { file, slot, slots: Arc::clone(&self.slots) }
        };
        if next == Next::Hurries {
            share.slot.hurried.send_modify(|count| *count += 1);
        }
        let held = tokio::time::timeout(PATIENCE, Arc::clone(&share.slot.free).lock_owned()).await;
        let held = held.map_err(|_| busy())?;
        let hurried = share.slot.hurried.subscribe();
        let locked = tokio::time::timeout(PATIENCE, self.lock(file)).await.map_err(|_| busy())??;
        Ok(Turn { hurried, _locked: locked, _held: held, share })
    }

    /// Keeps other servers that share the folder from an upload. Nobody tells them that somebody waits: one that reads from
    /// a dead line leaves when it has been silent for too long.
    async fn lock(&self, file: FileId) -> Result<File> {
        let locked = options().open(self.path(file)).await.map_err(away)?;
        loop {
            match rustix::fs::flock(&locked, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(locked),
                Err(rustix::io::Errno::WOULDBLOCK) => tokio::time::sleep(LOOK).await,
                Err(error) => return Err(away(error.into())),
            }
        }
    }

    /// The uploads that lie here.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub async fn list(&self) -> Result<Vec<FileId>> {
        let mut found = Vec::new();
        let mut entries = tokio::fs::read_dir(&self.folder).await.map_err(away)?;
        while let Some(entry) = entries.next_entry().await.map_err(away)? {
            let name = entry.file_name();
            let id: Option<FileId> = name.to_str().and_then(|name| name.strip_suffix(".part")?.parse().ok());
            found.extend(id);
        }
        Ok(found)
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
        // What is told is what a crash leaves: what is written meanwhile is not told.
        let length = file.metadata().await.map_err(away)?.len();
        file.sync_all().await.map_err(away)?;
        Ok(length)
    }

    /// Goes on with an upload at `start`, which is its length or less: what is behind is dropped.
    ///
    /// # Errors
    /// When the disk does not answer.
    pub async fn write(&self, turn: &Turn, start: u64) -> Result<Writing> {
        let mut file = options().open(self.path(turn.share.file)).await.map_err(away)?;
        file.set_max_buf_size(BUFFER);
        file.set_len(start).await.map_err(away)?;
        file.seek(SeekFrom::Start(start)).await.map_err(away)?;
        if start == 0 {
            // Its name, too, is to be there after a crash.
            File::open(&self.folder).await.map_err(away)?.sync_all().await.map_err(away)?;
        }
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

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options
}

fn busy() -> Error {
    Error::Unavailable("upload: another request writes to it".to_owned())
}

fn away(error: std::io::Error) -> Error {
    Error::Unavailable(format!("spool: {error}"))
}
