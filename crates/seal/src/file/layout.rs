//! Where the segments of a file are in its blob: exact arithmetic, without any key.

use std::ops::Range;

use super::{FileError, HEAD_LENGTH, MAX_PLAIN_LENGTH, SEALED_SEGMENT_LENGTH, SEGMENT_LENGTH, TAG_LENGTH};

const HEAD: u64 = HEAD_LENGTH as u64;
const TAG: u64 = TAG_LENGTH as u64;
const SEGMENT: u64 = SEGMENT_LENGTH as u64;
const SEALED_SEGMENT: u64 = SEALED_SEGMENT_LENGTH as u64;

/// The lengths of a file and its blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLayout {
    plain_len: u64,
    segments: u64,
}

/// One segment of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentPlace {
    /// Its first byte in the blob.
    pub sealed_offset: u64,
    /// Its bytes in the blob, the tag included.
    pub sealed_length: usize,
    /// The place in the file of the first byte it holds.
    pub plain_offset: u64,
    /// Whether the file ends with it.
    pub last: bool,
}

/// What of a blob is needed for some bytes of its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Covering {
    /// The segments.
    pub segments: Range<u64>,
    /// Their bytes in the blob.
    pub sealed: Range<u64>,
    /// How many bytes of the first segment's plaintext come before the first that is wanted.
    pub skip: usize,
}

/// The length of the blob of a file, in bytes.
///
/// # Errors
/// [`FileError::TooLong`] above [`MAX_PLAIN_LENGTH`].
pub fn sealed_len(plain_len: u64) -> Result<u64, FileError> {
    FileLayout::of_plain(plain_len).map(|layout| layout.sealed_len())
}

/// The length of the file in a blob, in bytes.
///
/// # Errors
/// [`FileError::Length`] when no file has a blob of this length, [`FileError::TooLong`] when it is too long.
pub fn plain_len(sealed_len: u64) -> Result<u64, FileError> {
    FileLayout::of_sealed(sealed_len).map(|layout| layout.plain_len())
}

impl FileLayout {
    /// The layout of a file of this length.
    ///
    /// # Errors
    /// [`FileError::TooLong`] above [`MAX_PLAIN_LENGTH`].
    pub fn of_plain(plain_len: u64) -> Result<Self, FileError> {
        if plain_len > MAX_PLAIN_LENGTH {
            return Err(FileError::TooLong(MAX_PLAIN_LENGTH));
        }
        Ok(Self { plain_len, segments: plain_len.div_ceil(SEGMENT).max(1) })
    }

    /// The layout of a blob of this length.
    ///
    /// # Errors
    /// [`FileError::Length`] when no file has a blob of this length, [`FileError::TooLong`] when it is too long.
    pub fn of_sealed(sealed_len: u64) -> Result<Self, FileError> {
        let impossible = FileError::Length(sealed_len);
        let body = sealed_len.checked_sub(HEAD).filter(|body| *body > 0).ok_or(impossible)?;
        let segments = body.div_ceil(SEALED_SEGMENT);
        let plain_len = body.checked_sub(segments.saturating_mul(TAG)).ok_or(impossible)?;
        let layout = Self::of_plain(plain_len)?;
        // A last segment that is empty or shorter than its tag gives a file that would have had one segment fewer.
        if layout.segments == segments { Ok(layout) } else { Err(impossible) }
    }

    /// The length of the file in bytes.
    #[must_use]
    pub const fn plain_len(&self) -> u64 {
        self.plain_len
    }

    /// The length of the blob in bytes.
    #[must_use]
    pub const fn sealed_len(&self) -> u64 {
        HEAD + self.plain_len + self.segments * TAG
    }

    /// How many segments it has: at least one.
    #[must_use]
    pub const fn segments(&self) -> u64 {
        self.segments
    }

    /// Where segment `number` is, counted from 0; `None` when there is no such segment.
    #[must_use]
    pub fn segment(&self, number: u64) -> Option<SegmentPlace> {
        if number >= self.segments {
            return None;
        }
        let (plain_offset, last) = (number * SEGMENT, number + 1 == self.segments);
        let length = if last { self.plain_len - plain_offset } else { SEGMENT };
        Some(SegmentPlace {
            sealed_offset: HEAD + number * SEALED_SEGMENT,
            sealed_length: usize::try_from(length + TAG).ok()?,
            plain_offset,
            last,
        })
    }

    /// What is needed for the bytes `wanted` of the file; `None` for no bytes, or bytes beyond its end.
    #[must_use]
    pub fn covering(&self, wanted: Range<u64>) -> Option<Covering> {
        if wanted.is_empty() || wanted.end > self.plain_len {
            return None;
        }
        let segments = wanted.start / SEGMENT..wanted.end.div_ceil(SEGMENT);
        let first = self.segment(segments.start)?;
        let last = self.segment(segments.end - 1)?;
        Some(Covering {
            sealed: first.sealed_offset..last.sealed_offset + last.sealed_length as u64,
            skip: usize::try_from(wanted.start - first.plain_offset).ok()?,
            segments,
        })
    }
}
