//! What clamd, and the processor and the disk, can do at best with the same files, without the server between them.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use sha2::{Digest as _, Sha256};
use sigilo_seal::{
    FileHead, FileKey, FileOpener, FileSealer,
    file::{HEAD_LENGTH, SEALED_SEGMENT_LENGTH, SEGMENT_LENGTH},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    task::JoinSet,
    time::timeout,
};

use super::load::PATIENCE;
use crate::{
    Error, Result,
    config::ClamdAddress,
    rng::{EntropyRng, SystemEntropy},
};

/// What is sent to clamd under one length, as the scan worker does.
const PIECE: usize = 64 * 1024;
/// What is written to the disk at once.
const WRITTEN: usize = 1024 * 1024;

/// A file as a whole INSTREAM conversation.
pub(super) fn instream(file: &[u8]) -> Vec<u8> {
    let mut spoken = Vec::with_capacity(file.len() + 4 * file.len().div_ceil(PIECE) + 16);
    spoken.extend_from_slice(b"zINSTREAM\0");
    for piece in file.chunks(PIECE) {
        // A piece is far shorter than 4 GiB.
        spoken.extend_from_slice(&u32::try_from(piece.len()).unwrap_or(0).to_be_bytes());
        spoken.extend_from_slice(piece);
    }
    spoken.extend_from_slice(&0u32.to_be_bytes());
    spoken
}

/// How long clamd takes for files that were made with [`instream`]: in each lane one after the other, the lanes at once.
///
/// # Errors
/// When it does not call one clean.
pub(super) async fn clamd(address: &ClamdAddress, lanes: Vec<Vec<Vec<u8>>>) -> Result<Duration> {
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for lane in lanes {
        let address = address.clone();
        tasks.spawn(async move {
            for spoken in &lane {
                match &address {
                    ClamdAddress::Unix(path) => say(UnixStream::connect(path).await, spoken).await?,
                    ClamdAddress::Tcp(address) => say(TcpStream::connect(address).await, spoken).await?,
                }
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.map_err(Error::internal)??;
    }
    Ok(start.elapsed())
}

async fn say(stream: std::io::Result<impl AsyncRead + AsyncWrite + Unpin>, spoken: &[u8]) -> Result<()> {
    let saying = async {
        let mut stream = stream?;
        stream.write_all(spoken).await?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await?;
        Ok::<_, std::io::Error>(reply)
    };
    let said = timeout(PATIENCE, saying).await.map_err(|_| Error::internal("clamd does not answer"))?;
    let reply = said.map_err(|error| Error::internal(format!("clamd: {error}")))?;
    if reply == b"stream: OK\0" {
        return Ok(());
    }
    Err(Error::internal(format!("clamd does not call noise clean: {}", String::from_utf8_lossy(&reply))))
}

/// How long it takes to hash, open and seal these blobs and to write each to a durable file: one step after the other, one
/// blob after the other, in one thread. It does not return to the runtime meanwhile.
///
/// # Errors
/// When one does not open, or the disk does not take it.
pub(super) fn sequence(folder: &Path, blobs: &[(FileKey, Bytes)]) -> Result<Duration> {
    let start = Instant::now();
    let mut left = Vec::new();
    for (number, (key, blob)) in blobs.iter().enumerate() {
        let hash = Sha256::digest(blob);
        open(key, blob)?;
        let path = folder.join(format!("sequence-{number}"));
        write(&path, &FileKey::from_bytes(hash.into()), blob)?;
        left.push(path);
    }
    let time = start.elapsed();
    left.iter().try_for_each(std::fs::remove_file).map_err(Error::internal)?;
    Ok(time)
}

fn open(key: &FileKey, blob: &[u8]) -> Result<()> {
    let head = FileHead::parse(blob).map_err(Error::internal)?;
    let mut opener = FileOpener::new(key, &head, u64::MAX).map_err(Error::internal)?;
    let segments = blob.get(HEAD_LENGTH..).unwrap_or_default();
    let count = segments.len().div_ceil(SEALED_SEGMENT_LENGTH);
    let mut buffer = Vec::with_capacity(SEALED_SEGMENT_LENGTH);
    for (number, segment) in segments.chunks(SEALED_SEGMENT_LENGTH).enumerate() {
        buffer.clear();
        buffer.extend_from_slice(segment);
        opener.segment_in_place(&mut buffer, number + 1 == count).map_err(Error::internal)?;
    }
    opener.finish().map(drop).map_err(Error::internal)
}

/// The blob, sealed once more as it is at rest.
fn write(path: &Path, key: &FileKey, blob: &[u8]) -> Result<()> {
    let mut sealer = FileSealer::new(key, u64::MAX, &mut EntropyRng(&SystemEntropy));
    let mut file = File::create(path).map_err(Error::internal)?;
    let mut ready = Vec::with_capacity(WRITTEN + SEALED_SEGMENT_LENGTH + HEAD_LENGTH);
    ready.extend_from_slice(&sealer.head().to_bytes());
    let count = blob.len().div_ceil(SEGMENT_LENGTH);
    for (number, segment) in blob.chunks(SEGMENT_LENGTH).enumerate() {
        let begins = ready.len();
        ready.extend_from_slice(segment);
        let segment = ready.get_mut(begins..).unwrap_or_default();
        let tag = sealer.segment_in_place(segment, number + 1 == count).map_err(Error::internal)?;
        ready.extend_from_slice(&tag);
        if ready.len() >= WRITTEN {
            file.write_all(&ready).map_err(Error::internal)?;
            ready.clear();
        }
    }
    file.write_all(&ready).and_then(|()| file.sync_all()).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::vault::files::{Noise, Sealed};

    #[test]
    fn a_stream_has_each_byte_under_a_length_and_an_end() {
        let file = vec![7; PIECE + 1];
        let spoken = instream(&file);
        let lengths = [10..14, 10 + 4 + PIECE..10 + 8 + PIECE].map(|at| spoken.get(at).unwrap());
        assert_eq!(lengths, [[0, 1, 0, 0], [0, 0, 0, 1]]);
        assert!(spoken.starts_with(b"zINSTREAM\0") && spoken.ends_with(&[7, 0, 0, 0, 0]));
        assert_eq!(spoken.len(), 10 + 4 + PIECE + 4 + 1 + 4);
    }

    #[test]
    fn the_sequence_opens_what_it_is_given_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut noise = Noise::new(1, 200_000);
        let Sealed { key, blob, .. } = noise.sealed().unwrap();
        let wrong = FileKey::from_bytes([1; 32]);
        assert!(
            sequence(folder.path(), &[(wrong, blob.clone())]).is_err(),
            "with a key that does not open it"
        );
        assert!(sequence(folder.path(), &[(key, blob)]).unwrap() > Duration::ZERO);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
