//! Sealing a file, segment by segment.

use rand_core::CryptoRng;

use super::{Course, FileError, FileHead, Stream, TAG_LENGTH};
use crate::secret::{FileKey, opaque_debug};

/// Seals one file: first [`Self::head`], then its segments in order. Holds no bytes of the file.
///
/// Every sealer draws a salt of its own, so one FK may seal more than one file. A blob is never sealed twice with one
/// salt, and this type offers no way to: whoever resumes an upload sends the bytes of the blob that was kept, for a
/// file that changed meanwhile would be encrypted with the nonces of the first.
pub struct FileSealer {
    stream: Stream,
    head: FileHead,
    course: Course,
}

opaque_debug!(FileSealer);

impl FileSealer {
    /// Begins a file of at most `limit` bytes.
    pub fn new<R: CryptoRng + ?Sized>(key: &FileKey, limit: u64, rng: &mut R) -> Self {
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        Self::with_salt(key, salt, limit)
    }

    /// As [`Self::new`], with a salt that was never used with this key for another file.
    pub(crate) fn with_salt(key: &FileKey, salt: [u8; 32], limit: u64) -> Self {
        let (stream, commitment) = Stream::derive(key, &salt);
        Self { stream, head: FileHead { salt, commitment }, course: Course::new(limit) }
    }

    /// What the blob begins with.
    #[must_use]
    pub const fn head(&self) -> &FileHead {
        &self.head
    }

    /// Seals the next 65,536 bytes of the file or, as the `last` segment, what is left: at least one byte, unless the
    /// file is empty. After an error the same segment is still to come.
    ///
    /// # Errors
    /// [`FileError::SegmentLength`], [`FileError::TooLong`], [`FileError::Ended`].
    pub fn segment(&mut self, plaintext: &[u8], last: bool) -> Result<Vec<u8>, FileError> {
        // Refused before it is copied: a caller's mistake may be of any length.
        self.course.place(plaintext.len(), last)?;
        let mut sealed = Vec::with_capacity(plaintext.len() + TAG_LENGTH);
        sealed.extend_from_slice(plaintext);
        let tag = self.segment_in_place(&mut sealed, last)?;
        sealed.extend_from_slice(&tag);
        Ok(sealed)
    }

    /// As [`Self::segment`]; the bytes are encrypted where they are, and the tag, which follows them in the blob, is
    /// given back.
    ///
    /// # Errors
    /// As [`Self::segment`]; the bytes are unchanged then.
    pub fn segment_in_place(
        &mut self,
        segment: &mut [u8],
        last: bool,
    ) -> Result<[u8; TAG_LENGTH], FileError> {
        let counter = self.course.place(segment.len(), last)?;
        let tag = self.stream.seal(counter, last, segment);
        self.course.advance(segment.len(), last);
        Ok(tag)
    }

    /// The length of the file, which is whole.
    ///
    /// # Errors
    /// [`FileError::Truncated`] when the last segment was not sealed.
    pub const fn finish(&self) -> Result<u64, FileError> {
        self.course.finish()
    }

    /// As if `next` segments had been sealed.
    #[cfg(test)]
    pub(super) const fn skip_to(&mut self, next: u64) {
        self.course.next = next;
    }
}
