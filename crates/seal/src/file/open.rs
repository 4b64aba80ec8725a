//! Opening a file, from its beginning or in its middle.

use zeroize::Zeroizing;

use super::{Course, FileError, FileHead, FileLayout, Stream, split_tag};
use crate::secret::{FileKey, opaque_debug};

/// Opens one file from its first segment to its last. Holds no bytes of the file.
pub struct FileOpener {
    stream: Stream,
    course: Course,
}

opaque_debug!(FileOpener);

impl FileOpener {
    /// Begins a blob with this head, of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`FileError::WrongKey`] when the blob is bound to another key.
    pub fn new(key: &FileKey, head: &FileHead, limit: u64) -> Result<Self, FileError> {
        Ok(Self { stream: Stream::admitted(key, head)?, course: Course::new(limit) })
    }

    /// The bytes of the file in the next segment. `last` says that the blob ends with it. After an error the same
    /// segment is still to come: no other is ever taken in its place.
    ///
    /// # Errors
    /// [`FileError::Segment`] when it is not this blob's at this place, or is the last when it should not be, or not
    /// the last when it should; [`FileError::SegmentLength`], [`FileError::TooLong`], [`FileError::Ended`].
    pub fn segment(&mut self, sealed: &[u8], last: bool) -> Result<Zeroizing<Vec<u8>>, FileError> {
        self.place(sealed.len(), last)?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let length = self.segment_in_place(&mut buffer, last)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// As [`Self::segment`]; the bytes are decrypted where they are, and how many they are, without the tag behind
    /// them, is given back. Whoever owns the buffer wipes it.
    ///
    /// # Errors
    /// As [`Self::segment`]; the bytes are unchanged then.
    pub fn segment_in_place(&mut self, sealed: &mut [u8], last: bool) -> Result<usize, FileError> {
        let counter = self.place(sealed.len(), last)?;
        let (segment, tag) = split_tag(sealed)?;
        let opened = self.stream.open(counter, last, segment, tag);
        opened.ok_or(FileError::Segment(counter.into()))?;
        self.course.advance(segment.len(), last);
        Ok(segment.len())
    }

    /// The length of the file, which is whole.
    ///
    /// # Errors
    /// [`FileError::Truncated`] when the last segment was not opened.
    pub const fn finish(&self) -> Result<u64, FileError> {
        self.course.finish()
    }

    fn place(&self, sealed: usize, last: bool) -> Result<u32, FileError> {
        let length = sealed.checked_sub(super::TAG_LENGTH).ok_or(FileError::SegmentLength(sealed))?;
        self.course.place(length, last)
    }

    /// As if `next` segments had been opened.
    #[cfg(test)]
    pub(super) const fn skip_to(&mut self, next: u64) {
        self.course.next = next;
    }
}

/// Opens any segment of a blob whose length is known: for answers to HTTP Range requests.
///
/// That one segment opens says nothing of the others; see the module.
pub struct RangeOpener {
    stream: Stream,
    layout: FileLayout,
}

opaque_debug!(RangeOpener);

impl RangeOpener {
    /// Opens segments of a blob with this head and this length in bytes, head included.
    ///
    /// # Errors
    /// [`FileError::WrongKey`] when the blob is bound to another key, [`FileError::Length`] and [`FileError::TooLong`]
    /// when no blob has this length.
    pub fn new(key: &FileKey, head: &FileHead, sealed_len: u64) -> Result<Self, FileError> {
        let layout = FileLayout::of_sealed(sealed_len)?;
        Ok(Self { stream: Stream::admitted(key, head)?, layout })
    }

    /// Where the segments are.
    #[must_use]
    pub const fn layout(&self) -> &FileLayout {
        &self.layout
    }

    /// The bytes of the file in segment `number`.
    ///
    /// # Errors
    /// [`FileError::NoSegment`], [`FileError::SegmentLength`] when these are not all of its bytes,
    /// [`FileError::Segment`] when they are others, or the blob's length is.
    pub fn segment(&self, number: u64, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, FileError> {
        self.place(number, sealed.len())?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let length = self.segment_in_place(number, &mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    /// As [`Self::segment`], in place: see [`FileOpener::segment_in_place`].
    ///
    /// # Errors
    /// As [`Self::segment`]; the bytes are unchanged then.
    pub fn segment_in_place(&self, number: u64, sealed: &mut [u8]) -> Result<usize, FileError> {
        let (counter, last) = self.place(number, sealed.len())?;
        let (segment, tag) = split_tag(sealed)?;
        self.stream.open(counter, last, segment, tag).ok_or(FileError::Segment(number))?;
        Ok(segment.len())
    }

    fn place(&self, number: u64, sealed: usize) -> Result<(u32, bool), FileError> {
        let place = self.layout.segment(number).ok_or(FileError::NoSegment(number))?;
        if place.sealed_length != sealed {
            return Err(FileError::SegmentLength(sealed));
        }
        let counter = u32::try_from(number).map_err(|_| FileError::NoSegment(number))?;
        Ok((counter, place.last))
    }
}
