//! Files over `std::io::Read`: a file goes in and its blob comes out, or the other way round, in the memory of one
//! segment. Both need to see one byte further than a segment to know whether it is the last.

use std::{
    io::{self, Read},
    ops::Range,
};

use rand_core::CryptoRng;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{
    FileError, FileHead, FileOpener, FileSealer, HEAD_LENGTH, SEALED_SEGMENT_LENGTH, SEGMENT_LENGTH,
    TAG_LENGTH, layout::sealed_len,
};
use crate::{bytes::FileCommitment, secret::FileKey};

/// What is known of a file when all of it went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSummary {
    /// The length of the file in bytes.
    pub plain_len: u64,
    /// The length of its blob in bytes.
    pub sealed_len: u64,
    /// SHA-256 of the blob: its name in messages, hand-overs and verdicts.
    pub blob_sha256: [u8; 32],
    /// `kc`.
    pub commitment: FileCommitment,
}

/// Gives the blob of the file that it reads from its source.
pub struct SealReader<R> {
    segments: Segments<R>,
    sealer: FileSealer,
    hash: Sha256,
}

/// Gives the file whose blob it reads from its source. Each segment is authentic when its bytes are given; that the
/// file is whole is known only when its end was read: a source that ends too early gives an error, never an end.
pub struct OpenReader<R> {
    segments: Segments<R>,
    opener: FileOpener,
    commitment: FileCommitment,
    hash: Sha256,
}

impl<R> std::fmt::Debug for SealReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealReader")
    }
}

impl<R> std::fmt::Debug for OpenReader<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OpenReader")
    }
}

impl<R: Read> SealReader<R> {
    /// Seals the file that `source` gives, of at most `limit` bytes.
    pub fn new<G: CryptoRng + ?Sized>(source: R, key: &FileKey, limit: u64, rng: &mut G) -> Self {
        let sealer = FileSealer::new(key, limit, rng);
        let head = sealer.head().to_bytes();
        let hash = Sha256::new().chain_update(head);
        Self { segments: Segments::new(source, SEGMENT_LENGTH, &head), sealer, hash }
    }

    /// What is known of the file, all of whose blob was read.
    ///
    /// # Errors
    /// [`FileError::Truncated`] when it was not.
    pub fn finish(self) -> Result<FileSummary, FileError> {
        let commitment = self.sealer.head().commitment;
        self.segments.summary(self.sealer.finish()?, self.hash, commitment)
    }
}

impl<R: Read> OpenReader<R> {
    /// Opens the blob that `source` gives, of a file of at most `limit` bytes. Reads its head.
    ///
    /// # Errors
    /// Those of `source`; of the kind `InvalidData`, [`FileError::WrongKey`] when the blob is bound to another key and
    /// [`FileError::Truncated`] when it ends within its head.
    pub fn new(mut source: R, key: &FileKey, limit: u64) -> io::Result<Self> {
        let mut bytes = [0; HEAD_LENGTH];
        source.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => refused(FileError::Truncated),
            _ => error,
        })?;
        let head = FileHead::parse(&bytes).map_err(refused)?;
        let opener = FileOpener::new(key, &head, limit).map_err(refused)?;
        let hash = Sha256::new().chain_update(bytes);
        let segments = Segments::new(source, SEALED_SEGMENT_LENGTH, &[]);
        Ok(Self { segments, opener, commitment: head.commitment, hash })
    }

    /// What is known of the file, all of which was read. Whoever was promised a hash compares it.
    ///
    /// # Errors
    /// [`FileError::Truncated`] when it was not.
    pub fn finish(self) -> Result<FileSummary, FileError> {
        self.segments.summary(self.opener.finish()?, self.hash, self.commitment)
    }
}

impl<R: Read> Read for SealReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.segments.are_given_out(into) && self.sealer.finish().is_err() {
            let (sealer, hash) = (&mut self.sealer, &mut self.hash);
            self.segments.take(|buffer, length, last| {
                let (segment, rest) = buffer.split_at_mut(length);
                let tag = sealer.segment_in_place(segment, last)?;
                hash.update(&*segment);
                hash.update(tag);
                if let Some(room) = rest.first_chunk_mut() {
                    *room = tag;
                }
                Ok(length + TAG_LENGTH)
            })?;
        }
        Ok(self.segments.give(into))
    }
}

impl<R: Read> Read for OpenReader<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.segments.are_given_out(into) && self.opener.finish().is_err() {
            let (opener, hash) = (&mut self.opener, &mut self.hash);
            self.segments.take(|buffer, length, last| {
                let (sealed, _) = buffer.split_at_mut(length);
                let hashed = hash.clone().chain_update(&*sealed);
                let opened = opener.segment_in_place(sealed, last)?;
                *hash = hashed;
                Ok(opened)
            })?;
        }
        Ok(self.segments.give(into))
    }
}

fn refused(error: FileError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

/// The segments of a source, of which one and the byte after it are in memory.
struct Segments<R> {
    source: R,
    /// The bytes of a segment that is not the last.
    length: usize,
    /// Room for a sealed segment and one byte; what is made of a segment stands here in its place.
    buffer: Zeroizing<Vec<u8>>,
    /// How many bytes of the next segment are at the start of the buffer.
    filled: usize,
    /// The first byte of the next segment, while the buffer holds what was made of the one before.
    next: Option<u8>,
    /// What of the buffer is still to be given out.
    ready: Range<usize>,
}

impl<R: Read> Segments<R> {
    fn new(source: R, length: usize, first: &[u8]) -> Self {
        let mut buffer = Zeroizing::new(vec![0; SEALED_SEGMENT_LENGTH + 1]);
        let ready = 0..first.len().min(buffer.len());
        buffer.iter_mut().zip(first).for_each(|(to, from)| *to = *from);
        Self { source, length, buffer, filled: 0, next: None, ready }
    }

    /// Whether bytes are asked for and none is left.
    fn are_given_out(&self, into: &[u8]) -> bool {
        !into.is_empty() && self.ready.is_empty()
    }

    /// Reads a segment and puts in its place what `work` makes of it in the buffer, given the segment's length and
    /// whether it is the last. After an error, of the source too, the same segment is still to come.
    fn take(
        &mut self,
        work: impl FnOnce(&mut [u8], usize, bool) -> Result<usize, FileError>,
    ) -> io::Result<()> {
        if let (Some(byte), Some(first)) = (self.next.take(), self.buffer.first_mut()) {
            (*first, self.filled) = (byte, 1);
        }
        while let Some(room) = self.buffer.get_mut(self.filled..=self.length).filter(|r| !r.is_empty()) {
            match self.source.read(room) {
                Ok(0) => break,
                Ok(read) => self.filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let next = self.buffer.get(self.length).copied().filter(|_| self.filled > self.length);
        let made = work(&mut self.buffer, self.filled.min(self.length), next.is_none()).map_err(refused)?;
        (self.next, self.filled, self.ready) = (next, 0, 0..made);
        Ok(())
    }

    fn give(&mut self, into: &mut [u8]) -> usize {
        let ready = self.buffer.get(self.ready.clone()).unwrap_or_default();
        let given = ready.len().min(into.len());
        into.iter_mut().zip(ready).for_each(|(to, from)| *to = *from);
        self.ready.start += given;
        given
    }

    fn summary(
        &self,
        plain_len: u64,
        hash: Sha256,
        commitment: FileCommitment,
    ) -> Result<FileSummary, FileError> {
        if !self.ready.is_empty() {
            return Err(FileError::Truncated);
        }
        let blob_sha256 = hash.finalize().into();
        Ok(FileSummary { plain_len, sealed_len: sealed_len(plain_len)?, blob_sha256, commitment })
    }
}
