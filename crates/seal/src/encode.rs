//! The encoding under every hash and signature of the protocol.
//!
//! ```text
//! lp(x)        u32be(length of x) || x
//! integers     u8, u16be, u32be, u64be, i64be; times are i64be microseconds since the Unix epoch
//! ids          lp of the 16 raw bytes of the UUID
//! list(items)  u16be(count) || items
//! absent       lp("")
//! statement    label || fields; labels are ASCII, "sigilo/v1/..."
//! ```
//!
//! Every field has a fixed width or carries its length, and every label has a fixed set of fields, so two
//! different statements never have the same bytes.

use sigilo_wire::Timestamp;

/// Why bytes are not the statement they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the last field.
    #[error("the bytes end before the last field")]
    Truncated,
    /// Bytes follow the last field.
    #[error("bytes follow the last field")]
    Trailing,
    /// The bytes do not begin with this statement's label.
    #[error("the bytes do not begin with {0:?}")]
    Label(&'static str),
    /// A field has a value that the statement does not allow.
    #[error("{0} has a value that is not allowed")]
    Value(&'static str),
}

/// Writes the fields of a statement one after the other.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: Vec::new() }
    }

    /// A writer that begins with a label.
    #[must_use]
    pub fn statement(label: &str) -> Self {
        Self { bytes: label.as_bytes().to_vec() }
    }

    /// Bytes as they are: for values whose length the statement fixes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// `u32be(length) || bytes`. No value of the protocol comes near 4 GiB; a longer one would be written with
    /// a length of 2^32 - 1, which no reader accepts.
    pub fn lp(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32be(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).raw(bytes)
    }

    /// `lp(bytes)`, or `lp("")` when absent.
    pub fn lp_optional(&mut self, bytes: Option<&[u8]>) -> &mut Self {
        self.lp(bytes.unwrap_or_default())
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.raw(&[value])
    }

    /// Two bytes, big endian.
    pub fn u16be(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Four bytes, big endian.
    pub fn u32be(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Eight bytes, big endian.
    pub fn u64be(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Eight bytes, big endian, two's complement.
    pub fn i64be(&mut self, value: i64) -> &mut Self {
        self.raw(&value.to_be_bytes())
    }

    /// Microseconds since the Unix epoch as `i64be`.
    pub fn time(&mut self, at: Timestamp) -> &mut Self {
        self.i64be(at.micros())
    }

    /// `u16be(count)`, then each item as `write` writes it. The callers' lists are bounded far below 65,536
    /// items; a longer one would be written with a count of 65,535, which no reader accepts.
    pub fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) -> &mut Self {
        self.u16be(u16::try_from(items.len()).unwrap_or(u16::MAX));
        for item in items {
            write(self, item);
        }
        self
    }

    /// What was written.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads what a [`Writer`] wrote, and nothing else: short input, trailing bytes and lengths that do not fit are
/// refused. Lengths are checked against what is there before anything is allocated.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Reads the fields after `label`.
    ///
    /// # Errors
    /// [`DecodeError::Label`] when the bytes begin otherwise.
    pub fn statement(bytes: &'a [u8], label: &'static str) -> Result<Self, DecodeError> {
        bytes.strip_prefix(label.as_bytes()).map(Self::new).ok_or(DecodeError::Label(label))
    }

    /// Whether every byte was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `length` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A length-prefixed value.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn lp(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.u32be()?).map_err(|_| DecodeError::Truncated)?;
        self.raw(length)
    }

    /// A length-prefixed value that is UTF-8, called `field` in the error.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], or [`DecodeError::Value`] for other bytes.
    pub fn text(&mut self, field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.lp()?).map_err(|_| DecodeError::Value(field))
    }

    /// A length-prefixed value of exactly `N` bytes, called `field` in the error.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], or [`DecodeError::Value`] for another length.
    pub fn lp_array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        self.lp()?.try_into().map_err(|_| DecodeError::Value(field))
    }

    /// As [`Self::lp_array`]; `lp("")` is `None`.
    ///
    /// # Errors
    /// As [`Self::lp_array`].
    pub fn lp_optional_array<const N: usize>(
        &mut self,
        field: &'static str,
    ) -> Result<Option<[u8; N]>, DecodeError> {
        match self.lp()? {
            [] => Ok(None),
            bytes => bytes.try_into().map(Some).map_err(|_| DecodeError::Value(field)),
        }
    }

    /// One byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// Two bytes, big endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u16be(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four bytes, big endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u32be(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes, big endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn u64be(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// Eight bytes, big endian, two's complement.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn i64be(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// Microseconds since the Unix epoch as `i64be`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn time(&mut self) -> Result<Timestamp, DecodeError> {
        self.i64be().map(Timestamp::from_micros)
    }

    /// `u16be(count)`, then that many items as `read` reads them.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn list<T>(
        &mut self,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.u16be()?;
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(read(self)?);
        }
        Ok(items)
    }

    /// The end of the statement.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] when bytes are left.
    pub const fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_encoding_is_what_the_protocol_writes_down() {
        let mut writer = Writer::statement("sigilo/v1/x");
        writer.lp(b"ab").lp_optional(None).u8(1).u16be(2).u32be(3).u64be(4).i64be(-1);
        writer.list(&[7u8, 8], |w, item| {
            w.u8(*item);
        });
        let expected: &[&[u8]] = &[
            b"sigilo/v1/x",
            &[0, 0, 0, 2, b'a', b'b'],
            &[0, 0, 0, 0],
            &[1],
            &[0, 2],
            &[0, 0, 0, 3],
            &[0, 0, 0, 0, 0, 0, 0, 4],
            &[0xff; 8],
            &[0, 2, 7, 8],
        ];
        assert_eq!(writer.as_bytes(), expected.concat());
    }

    #[test]
    fn short_long_and_foreign_bytes_are_refused() {
        assert_eq!(
            Reader::statement(b"sigilo/v1/y", "sigilo/v1/x").unwrap_err(),
            DecodeError::Label("sigilo/v1/x")
        );
        assert_eq!(Reader::new(&[0, 0, 0, 2, 1]).lp(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[0xff; 6]).lp(), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[0, 0, 0, 1, 1]).lp_array::<2>("pair"), Err(DecodeError::Value("pair")));
        assert_eq!(Reader::new(&[0xff, 0xff, 1]).list(Reader::u8), Err(DecodeError::Truncated));
        assert_eq!(Reader::new(&[1]).finish(), Err(DecodeError::Trailing));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            value in any::<Vec<u8>>(), short in any::<Option<[u8; 4]>>(), a in any::<u16>(), b in any::<u32>(),
            c in any::<u64>(), d in any::<i64>(), items in proptest::collection::vec(any::<u32>(), 0..20),
        ) {
            let mut writer = Writer::new();
            writer.lp(&value).lp_optional(short.as_ref().map(<[u8; 4]>::as_slice)).u16be(a).u32be(b).u64be(c);
            writer.i64be(d).list(&items, |w, item| { w.u32be(*item); });
            let bytes = writer.finish();
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(reader.lp().unwrap(), value.as_slice());
            prop_assert_eq!(reader.lp_optional_array::<4>("short").unwrap(), short);
            prop_assert_eq!(reader.u16be().unwrap(), a);
            prop_assert_eq!(reader.u32be().unwrap(), b);
            prop_assert_eq!(reader.u64be().unwrap(), c);
            prop_assert_eq!(reader.i64be().unwrap(), d);
            prop_assert_eq!(reader.list(Reader::u32be).unwrap(), items);
            prop_assert_eq!(reader.finish(), Ok(()));
        }
    }
}
