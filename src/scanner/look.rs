//! Looking into one file: its key is taken, the blob is opened segment by segment, and each goes to the engine and past
//! the [`Sniffer`]. Of the file's content no more than a few segments are in memory, each wiped when it is done with, and
//! nothing is ever on a disk.

use std::{io, time::Duration};

use axum::body::Bytes;
use sha2::{Digest as _, Sha256};
use sigilo_seal::{
    FileError, FileHead, FileKey, FileLayout, FileOpener, Refusal, ScanResult, SignedVerdict, Verdict,
    file::{HEAD_LENGTH, MAX_PLAIN_LENGTH, SEALED_SEGMENT_LENGTH},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::mpsc,
    time::timeout,
};
use zeroize::Zeroizing;

use super::{
    desk::{Blob, Desk, EngineState, Job, Outcome},
    engine::{Engine, Found},
    keys::Keys,
    sniff::{Look, Sniffer},
};
use crate::clock::Clock;

/// What looks into files.
#[derive(Clone, Copy)]
pub struct Looker<'a> {
    /// Where the blobs are.
    pub desk: &'a dyn Desk,
    /// The keys that files' keys are handed over to.
    pub keys: &'a Keys,
    /// What finds.
    pub engine: &'a Engine,
    /// The time.
    pub clock: &'a dyn Clock,
    /// How long one file may take in all.
    pub total: Duration,
}

/// Why there is no word on a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    /// The blob is bound to another key.
    WrongKey,
    /// It does not open to its end with the key it is bound to.
    Unreadable,
    /// The bytes that were read are not the file's, or not all of them: nothing is known of it.
    NotTheFile,
    /// The engine takes nothing.
    Engine,
}

impl Looker<'_> {
    /// Looks into the file.
    pub async fn look(&self, job: &Job) -> Outcome {
        let subject = job.subject();
        let taken = self.keys.with(subject.tenant, job.handed.key_id, self.clock.now(), |secret| {
            subject.take(&job.handed, secret)
        });
        let Some(Ok(key)) = taken else { return Outcome::KeyLost };
        let looked = timeout(self.total, self.look_with(job, &key)).await;
        looked.unwrap_or_else(|_| {
            tracing::warn!(file = %job.file.file_id, "a file waits: the scan took too long");
            Outcome::Unavailable
        })
    }

    async fn look_with(&self, job: &Job, key: &FileKey) -> Outcome {
        // Before the file: an engine that got new signatures meanwhile is said to have had fewer, never more.
        let Ok(state) = self.engine.state().await else { return Outcome::Unavailable };
        let blob = match self.desk.blob(job).await {
            Ok(blob) => blob,
            Err(error) => {
                tracing::warn!(%error, file = %job.file.file_id, "a file waits: its blob is not given out");
                return Outcome::Unavailable;
            }
        };
        let mut sniffer = Sniffer::default();
        let result = match self.open(blob, key, job, &mut sniffer).await {
            Ok(found) => decide(found, sniffer.look(&job.mime_type)),
            Err(Stopped::Unreadable) => ScanResult::Refused(Refusal::Unreadable),
            Err(Stopped::WrongKey) => return Outcome::WrongKey,
            Err(stopped) => {
                tracing::warn!(?stopped, file = %job.file.file_id, "a file waits");
                return Outcome::Unavailable;
            }
        };
        let (file, scanned_at) = (job.file, self.clock.now());
        let EngineState { engine, database, .. } = state;
        let verdict = Verdict { file, engine, database, scanned_at, result };
        self.sign(&verdict).map_or(Outcome::Unavailable, Outcome::Verdict)
    }

    fn sign(&self, verdict: &Verdict) -> Option<SignedVerdict> {
        let signed = self.keys.sign(verdict.file.tenant, |scanner| verdict.sign(scanner))?;
        signed.inspect_err(|error| tracing::error!(%error, "a verdict that nobody would accept")).ok()
    }

    /// Opens the blob to its end and gives what the engine says of it.
    async fn open(
        &self,
        blob: Blob,
        key: &FileKey,
        job: &Job,
        sniffer: &mut Sniffer,
    ) -> Result<Found, Stopped> {
        // One piece is on its way, one is ready, one is made.
        let (pieces, taken) = mpsc::channel(1);
        // Its sender goes with it: the engine learns that this was all only when all was opened, or is not heard any more.
        let opening = self.pump(blob, key, job, sniffer, pieces);
        let scanning = self.engine.scan(taken);
        tokio::pin!(opening, scanning);
        let early = tokio::select! {
            opened = &mut opening => {
                opened?;
                None
            }
            said = &mut scanning => Some(said.map_err(|_| Stopped::Engine)?),
        };
        if let Some(found) = early {
            return opening.await.map(|()| found);
        }
        let said = timeout(self.engine.verdict_timeout(), scanning).await;
        said.map_err(|_| Stopped::Engine)?.map_err(|_| Stopped::Engine)
    }

    /// Reads the blob to its end: opens each segment, shows it to the sniffer and hands it to the engine.
    async fn pump(
        &self,
        blob: Blob,
        key: &FileKey,
        job: &Job,
        sniffer: &mut Sniffer,
        pieces: mpsc::Sender<Bytes>,
    ) -> Result<(), Stopped> {
        let mut source = Source { blob, hash: Sha256::new(), next: None };
        let opened = self.segments(&mut source, key, job, sniffer, &pieces).await;
        if !matches!(opened, Ok(()) | Err(Stopped::Unreadable)) {
            return opened;
        }
        // What opens, or does not, is the file only when it has the file's hash.
        if source.ends_as(&job.file.blob_sha256).await { opened } else { Err(Stopped::NotTheFile) }
    }

    async fn segments(
        &self,
        source: &mut Source,
        key: &FileKey,
        job: &Job,
        sniffer: &mut Sniffer,
        pieces: &mpsc::Sender<Bytes>,
    ) -> Result<(), Stopped> {
        let bytes = source.head().await?;
        let head = FileHead::parse(&bytes).map_err(|_| Stopped::Unreadable)?;
        if head.commitment != job.file.commitment {
            return Err(Stopped::NotTheFile);
        }
        let limit = FileLayout::of_sealed(job.length).map_or(MAX_PLAIN_LENGTH, |layout| layout.plain_len());
        let mut opener = FileOpener::new(key, &head, limit).map_err(|error| match error {
            FileError::WrongKey => Stopped::WrongKey,
            _ => Stopped::Unreadable,
        })?;
        loop {
            let (mut segment, last) = source.segment().await?;
            let length = opener.segment_in_place(&mut segment, last).map_err(|_| Stopped::Unreadable)?;
            segment.truncate(length);
            sniffer.take(&segment);
            // An empty piece would be the end.
            let handing = async {
                if length > 0 {
                    // Nobody takes it when the engine has answered: the rest is opened all the same.
                    let _ = pieces.send(Bytes::from_owner(segment)).await;
                }
            };
            if timeout(self.engine.write_timeout(), handing).await.is_err() {
                return Err(Stopped::Engine);
            }
            if last {
                return opener.finish().map(|_| ()).map_err(|_| Stopped::Unreadable);
            }
        }
    }
}

/// What is said of a file that is whole.
fn decide(found: Found, look: Look) -> ScanResult {
    match (found, look) {
        (Found::Infected(name), _) => ScanResult::Infected(name),
        (Found::Encrypted, _) | (_, Look::Encrypted) => ScanResult::Refused(Refusal::EncryptedArchive),
        (Found::Limits, _) | (_, Look::TooLarge) => ScanResult::Refused(Refusal::Limits),
        (Found::Nothing, Look::Differs) => ScanResult::Refused(Refusal::Type),
        (Found::Nothing, Look::Agrees) => ScanResult::Clean,
    }
}

/// A blob as it is read. Everything that is read is hashed.
struct Source {
    blob: Blob,
    hash: Sha256,
    /// The first byte of the next segment: whether one is the last is known by what follows it.
    next: Option<u8>,
}

impl Source {
    async fn head(&mut self) -> Result<Vec<u8>, Stopped> {
        let mut head = Vec::with_capacity(HEAD_LENGTH);
        fill(&mut self.blob, &mut head, HEAD_LENGTH).await?;
        self.hash.update(&head);
        Ok(head)
    }

    /// The next segment, and whether nothing follows it.
    async fn segment(&mut self) -> Result<(Zeroizing<Vec<u8>>, bool), Stopped> {
        // Never grown: it will hold what the file says.
        let mut segment = Zeroizing::new(Vec::with_capacity(SEALED_SEGMENT_LENGTH + 1));
        segment.extend(self.next.take());
        fill(&mut self.blob, &mut segment, SEALED_SEGMENT_LENGTH + 1).await?;
        if segment.len() > SEALED_SEGMENT_LENGTH {
            self.next = segment.pop();
        }
        self.hash.update(&*segment);
        Ok((segment, self.next.is_none()))
    }

    /// Whether the whole blob, of which the rest is read now, has this hash.
    async fn ends_as(&mut self, sha256: &[u8; 32]) -> bool {
        loop {
            match self.segment().await {
                Err(_) => return false,
                Ok((_, last)) if last => break,
                Ok(_) => {}
            }
        }
        self.hash.clone().finalize().as_slice() == sha256
    }
}

/// Reads until there are `length` bytes, or the source ends.
async fn fill<R: AsyncRead + Unpin>(from: &mut R, into: &mut Vec<u8>, length: usize) -> Result<(), Stopped> {
    let missing = length.saturating_sub(into.len());
    let mut from = from.take(missing as u64);
    while into.len() < length {
        match from.read_buf(into).await {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                tracing::warn!(%error, "a blob is not read to its end");
                return Err(Stopped::NotTheFile);
            }
        }
    }
    Ok(())
}
