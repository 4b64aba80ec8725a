//! Files of the vault: sealed in segments, opened in order or one segment at a time, bound to one key.
//!
//! ```text
//! key || prefix7 || kc  HKDF-SHA256(FK, salt, "sigilo/v1/file", 71 bytes): 32, 7 and 32 bytes
//! head                  salt || kc: 64 bytes
//! segment i             AES-256-GCM(key, nonce prefix7 || u32be(i) || u8(last), 64 KiB of the file, no associated data)
//! blob                  head || segment 0 || segment 1 || ...
//! ```
//! FK and salt are 32 random bytes each. Every segment but the last holds 65,536 bytes of the file, the last 1 to 65,536;
//! an empty file is one empty last segment. So a file's length and its blob's decide each other: see [`FileLayout`].
//!
//! Source: STREAM (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse
//! Misuse-Resistance, CRYPTO 2015). The place of a segment and whether it is the last are part of its nonce, so
//! segments that are missing, added, exchanged or repeated do not open. `kc` is there because AES-GCM does not commit
//! to its key: without it one blob could show the scanner and the patient two different files.
//!
//! # What it does not protect from
//! Whoever opens single segments ([`RangeOpener`]) does not see that others are missing or changed: only the whole
//! file, opened to its last segment, is known to be whole. FK alone does not say who made a file: the message that
//! carries it does, together with the blob's SHA-256.

use aes_gcm::{Aes256Gcm, KeyInit as _, aead::AeadInOut as _};
use subtle::ConstantTimeEq as _;

use crate::{
    bytes::FileCommitment,
    primitives::hkdf_salted,
    secret::{FileKey, opaque_debug},
};

pub mod io;
mod layout;
mod open;
mod seal;

pub use layout::{Covering, FileLayout, SegmentPlace, plain_len, sealed_len};
pub use open::{FileOpener, RangeOpener};
pub use seal::FileSealer;

const LABEL: &[u8] = b"sigilo/v1/file";
const PREFIX_LENGTH: usize = 7;

/// The bytes of a file that one segment holds.
pub const SEGMENT_LENGTH: usize = 65_536;
/// The bytes of a segment's authentication tag.
pub const TAG_LENGTH: usize = 16;
/// The bytes of a full segment in the blob.
pub const SEALED_SEGMENT_LENGTH: usize = SEGMENT_LENGTH + TAG_LENGTH;
/// The bytes of a blob before its first segment.
pub const HEAD_LENGTH: usize = 64;
/// The longest file in bytes: as many segments as the counter has values. What a server takes is far less.
pub const MAX_PLAIN_LENGTH: u64 = (1 << 32) * SEGMENT_LENGTH as u64;

/// Why a file is not sealed or opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The blob is bound to another key. Nothing was decrypted.
    #[error("the blob is bound to another key")]
    WrongKey,
    /// The segment was changed, belongs elsewhere, or the file does not end where it should.
    #[error("segment {0} does not open")]
    Segment(u64),
    /// Only a last segment may be shorter than a full one, only that of an empty file may be empty, and none is longer.
    #[error("a segment of {0} bytes cannot stand here")]
    SegmentLength(usize),
    /// There is no such segment.
    #[error("the file has no segment {0}")]
    NoSegment(u64),
    /// A segment came after the last one.
    #[error("bytes follow the last segment")]
    Ended,
    /// The last segment did not come.
    #[error("the file ends before its last segment")]
    Truncated,
    /// No file has a blob of this length.
    #[error("no file is sealed into {0} bytes")]
    Length(u64),
    /// The file is longer than the caller, or the protocol, allows.
    #[error("the file is longer than {0} bytes")]
    TooLong(u64),
}

/// What a blob begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHead {
    /// Makes the stream key of this blob: 32 random bytes.
    pub salt: [u8; 32],
    /// `kc`.
    pub commitment: FileCommitment,
}

impl FileHead {
    /// The head of a blob of which at least the first 64 bytes are given.
    ///
    /// # Errors
    /// [`FileError::Truncated`] when there are fewer.
    pub fn parse(blob: &[u8]) -> Result<Self, FileError> {
        let (salt, rest) = blob.split_first_chunk().ok_or(FileError::Truncated)?;
        let (commitment, _) = rest.split_first_chunk().ok_or(FileError::Truncated)?;
        Ok(Self { salt: *salt, commitment: FileCommitment(*commitment) })
    }

    /// The 64 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEAD_LENGTH] {
        let mut bytes = [0; HEAD_LENGTH];
        let (salt, commitment) = bytes.split_at_mut(32);
        salt.copy_from_slice(&self.salt);
        commitment.copy_from_slice(self.commitment.as_bytes());
        bytes
    }
}

/// The key of one blob; wiped when dropped.
struct Stream {
    cipher: Aes256Gcm,
    prefix: [u8; PREFIX_LENGTH],
}

opaque_debug!(Stream);

impl Stream {
    /// The stream of a blob with this salt, and `kc`.
    fn derive(key: &FileKey, salt: &[u8; 32]) -> (Self, FileCommitment) {
        let derived = hkdf_salted::<{ 32 + PREFIX_LENGTH + 32 }>(key.as_bytes(), salt, LABEL);
        let (stream_key, rest) = derived.split_at(32);
        let (prefix, commitment) = rest.split_at(PREFIX_LENGTH);
        let (mut of_nonces, mut kc) = ([0; PREFIX_LENGTH], [0; 32]);
        of_nonces.copy_from_slice(prefix);
        kc.copy_from_slice(commitment);
        let mut cipher_key = zeroize::Zeroizing::new([0; 32]);
        cipher_key.copy_from_slice(stream_key);
        let cipher = Aes256Gcm::new((&*cipher_key).into());
        (Self { cipher, prefix: of_nonces }, FileCommitment(kc))
    }

    /// The stream of a blob with this head, if the blob is bound to this key.
    fn admitted(key: &FileKey, head: &FileHead) -> Result<Self, FileError> {
        let (stream, commitment) = Self::derive(key, &head.salt);
        if commitment.ct_eq(&head.commitment).into() { Ok(stream) } else { Err(FileError::WrongKey) }
    }

    fn nonce(&self, counter: u32, last: bool) -> [u8; 12] {
        let mut nonce = [0; 12];
        let (prefix, rest) = nonce.split_at_mut(PREFIX_LENGTH);
        let (of_counter, of_last) = rest.split_at_mut(4);
        prefix.copy_from_slice(&self.prefix);
        of_counter.copy_from_slice(&counter.to_be_bytes());
        of_last.copy_from_slice(&[u8::from(last)]);
        nonce
    }

    /// Encrypts in place and gives the tag.
    #[expect(clippy::expect_used, reason = "AES-GCM fails above 64 GiB only; a segment has 64 KiB")]
    fn seal(&self, counter: u32, last: bool, segment: &mut [u8]) -> [u8; TAG_LENGTH] {
        let nonce = self.nonce(counter, last).into();
        self.cipher.encrypt_inout_detached(&nonce, b"", segment.into()).expect("a short segment").into()
    }

    /// Decrypts in place, if key, place and bytes are those the tag was made for; otherwise changes nothing.
    fn open(&self, counter: u32, last: bool, segment: &mut [u8], tag: [u8; TAG_LENGTH]) -> Option<()> {
        let nonce = self.nonce(counter, last).into();
        self.cipher.decrypt_inout_detached(&nonce, b"", segment.into(), &tag.into()).ok()
    }
}

/// Which segment comes next in a file that is sealed or opened from its beginning.
#[derive(Clone, Copy, Debug)]
struct Course {
    next: u64,
    plain: u64,
    limit: u64,
    ended: bool,
}

impl Course {
    fn new(limit: u64) -> Self {
        Self { next: 0, plain: 0, limit: limit.min(MAX_PLAIN_LENGTH), ended: false }
    }

    /// The number of the next segment, if it may hold this many bytes of the file.
    fn place(&self, length: usize, last: bool) -> Result<u32, FileError> {
        if self.ended {
            return Err(FileError::Ended);
        }
        let fits = if last {
            length <= SEGMENT_LENGTH && (length > 0 || self.next == 0)
        } else {
            length == SEGMENT_LENGTH
        };
        if !fits {
            return Err(FileError::SegmentLength(length));
        }
        let within = self.plain.checked_add(length as u64).is_some_and(|plain| plain <= self.limit);
        // INVARIANT: the counter never begins anew under one key.
        let counter = u32::try_from(self.next).ok().filter(|_| within);
        counter.ok_or(FileError::TooLong(self.limit))
    }

    /// The segment at that place is done.
    fn advance(&mut self, length: usize, last: bool) {
        self.next += 1;
        self.plain += length as u64;
        self.ended = last;
    }

    const fn finish(&self) -> Result<u64, FileError> {
        if self.ended { Ok(self.plain) } else { Err(FileError::Truncated) }
    }
}

/// Splits the tag off a sealed segment.
fn split_tag(sealed: &mut [u8]) -> Result<(&mut [u8], [u8; TAG_LENGTH]), FileError> {
    let length = sealed.len();
    let (segment, tag) = sealed.split_last_chunk_mut().ok_or(FileError::SegmentLength(length))?;
    Ok((segment, *tag))
}

#[cfg(test)]
mod tests;
