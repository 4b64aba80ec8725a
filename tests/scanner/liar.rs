//! Something that listens where clamd should, and says what it likes.

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

/// How it behaves when a file comes.
#[derive(Clone, Copy, Debug)]
pub enum Lie {
    /// It takes all of the file and says this.
    Says(&'static [u8]),
    /// It says this at once, takes nothing and hangs up.
    Blurts(&'static [u8]),
    /// It takes all of it and says nothing.
    Silent,
    /// It takes nothing and says nothing.
    Deaf,
}

pub struct Liar {
    folder: TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Liar {
    /// It answers for its version as clamd does.
    pub fn start(lie: Lie) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("liar.sock")).unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, lie));
            }
        });
        Self { folder, task }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("liar.sock")
    }
}

async fn answer(mut stream: UnixStream, lie: Lie) -> Option<()> {
    let mut command = Vec::new();
    while stream.read_buf(&mut command).await.ok()? > 0 && !command.contains(&0) {}
    if command.starts_with(b"zVERSION") {
        return stream.write_all(b"ClamAV 9.9.9\0").await.ok();
    }
    match lie {
        Lie::Blurts(words) => stream.write_all(words).await.ok(),
        Lie::Says(words) => {
            take_all(&mut stream, command).await?;
            stream.write_all(words).await.ok()
        }
        Lie::Silent => {
            take_all(&mut stream, command).await?;
            std::future::pending().await
        }
        Lie::Deaf => std::future::pending().await,
    }
}

/// Reads to the four zeros of the stream's end.
async fn take_all(stream: &mut UnixStream, mut taken: Vec<u8>) -> Option<()> {
    while !taken.ends_with(&[0, 0, 0, 0]) {
        if stream.read_buf(&mut taken).await.ok()? == 0 {
            return None;
        }
    }
    Some(())
}
