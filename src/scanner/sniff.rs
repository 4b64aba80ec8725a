//! What a file really is. Its declared type says nothing: a program that is called a picture is opened as a program by
//! whoever renames it, and a picture that is an archive too shows the engine one thing and the reader another.
//!
//! The file goes by in segments, and is whole nowhere: its beginning and its end are kept, with what was seen on the way.

use zeroize::Zeroizing;

/// The bytes kept of a file's beginning.
const HEAD: usize = 64 * 1024;
/// The bytes kept of its end: the directory of an archive, and 65,557 bytes for its end record and comment at least.
const TAIL: usize = 256 * 1024;
/// The most bytes that an archive may say it unpacks to: clamd's own MaxFileSize, unless it is told another.
const MAX_UNPACKED: u64 = 100 * 1024 * 1024;
/// Where a browser that is told no type looks for markup.
const MARKUP_WITHIN: usize = 1024;

const OLE: [u8; 8] = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
/// An entry of an OLE directory stands at a multiple of its length, whatever the sectors' size.
const OLE_ENTRY: usize = 128;
/// What the entry of a Word document's own stream begins with: its name in UTF-16, little-endian.
const WORD_STREAM: &str = "WordDocument";

/// Whether a file is what it is said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is, and nothing else.
    Agrees,
    /// It is something else, or something else too.
    Differs,
    /// Parts of it are encrypted: nobody can look into them.
    Encrypted,
    /// It unpacks to more than the engine looks at: clamd cuts off an archive's entry that is longer than its
    /// MaxFileSize, and says nothing.
    TooLarge,
}

/// Looks at one file as it goes by.
pub struct Sniffer {
    head: Zeroizing<Vec<u8>>,
    tail: Zeroizing<Vec<u8>>,
    length: u64,
    has_word_stream: bool,
}

impl std::fmt::Debug for Sniffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sniffer")
    }
}

impl Default for Sniffer {
    fn default() -> Self {
        // Never grown: what a vector leaves behind when it moves is not wiped.
        let room = |bytes| Zeroizing::new(Vec::with_capacity(bytes));
        Self { head: room(HEAD), tail: room(2 * TAIL), length: 0, has_word_stream: false }
    }
}

impl Sniffer {
    /// The next bytes of the file: 64 KiB, or fewer at its end.
    pub fn take(&mut self, bytes: &[u8]) {
        let room = HEAD - self.head.len();
        self.head.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        for part in bytes.chunks(TAIL) {
            let surplus = (self.tail.len() + part.len()).saturating_sub(TAIL);
            self.tail.drain(..surplus);
            self.tail.extend_from_slice(part);
        }
        if !self.has_word_stream && self.head.starts_with(&OLE) {
            self.has_word_stream = bytes.chunks(OLE_ENTRY).any(is_word_stream);
        }
        self.length += bytes.len() as u64;
    }

    /// Whether the file, all of which went by, is of this media type.
    #[must_use]
    pub fn look(&self, mime_type: &str) -> Look {
        let agrees = match mime_type {
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document" => {
                return self.as_docx();
            }
            // A Word document holds other documents, archives among them: the engine opens those.
            "application/msword" => return of(self.head.starts_with(&OLE) && self.has_word_stream),
            "application/pdf" => self.head.starts_with(b"%PDF-"),
            "audio/mpeg" => self.is(&["audio/mpeg"]) || self.head.starts_with(&[0xff, 0xfa]),
            "video/mp4" => self.is(&["video/mp4", "video/x-m4v"]) || self.is_iso_media(),
            "image/jpeg" | "image/png" | "video/webm" => self.is(&[mime_type]),
            _ => false,
        };
        of(agrees && !self.is_archive_too() && !self.is_markup_too())
    }

    fn is(&self, types: &[&str]) -> bool {
        infer::get(&self.head).is_some_and(|found| types.contains(&found.mime_type()))
    }

    /// The brands `iso2` to `isoa` and their like, of which the list in `infer` has some.
    fn is_iso_media(&self) -> bool {
        self.head.get(4..11) == Some(b"ftypiso".as_slice())
    }

    /// Archives are read from their end, or from a place well behind their beginning.
    fn is_archive_too(&self) -> bool {
        let is_tar = self.head.get(257..262) == Some(b"ustar".as_slice());
        // What the end record says of its directory may be false, or stand in another record (ZIP64): readers look for the
        // directory then. A record that ends the file, or an entry anywhere near, is enough.
        is_tar
            || ends(&self.tail).any(|end| {
                let is_zip64 = end.at.checked_sub(20).and_then(|at| self.tail.get(at..end.at));
                end.comment_ends_file
                    || is_zip64.is_some_and(|locator| locator.starts_with(b"PK\x06\x07"))
                    || end.directory(&self.tail).is_some()
                    || contains(&self.tail, b"PK\x01\x02")
            })
    }

    fn is_markup_too(&self) -> bool {
        let beginning = self.head.get(..MARKUP_WITHIN).unwrap_or(&self.head).to_ascii_lowercase();
        let marks: [&[u8]; 5] = [b"<!doctype html", b"<html", b"<script", b"<hta:", b"<svg"];
        marks.iter().any(|mark| contains(&beginning, mark)) || contains(&self.head, b"<?php")
    }

    fn as_docx(&self) -> Look {
        if !self.head.starts_with(b"PK\x03\x04") {
            return Look::Differs;
        }
        let Some(end) = ends(&self.tail).find(|end| end.comment_ends_file) else { return Look::Differs };
        let at = self.length - (self.tail.len() - end.at) as u64;
        // Bytes before the archive's own beginning would be another file.
        if u64::from(end.offset) + u64::from(end.size) != at {
            return Look::Differs;
        }
        let Some(entries) = end.directory(&self.tail).and_then(entries) else { return Look::Differs };
        let has = |wanted: &dyn Fn(&[u8]) -> bool| entries.iter().any(|entry| wanted(entry.name));
        let is_document = has(&|name| name == b"[Content_Types].xml")
            && has(&|name| name.starts_with(b"word/document") && name.ends_with(b".xml"));
        let is_other = has(&|name| {
            let name = name.to_ascii_lowercase();
            name.ends_with(b"vbaproject.bin") || name.ends_with(b".dex") || name == b"meta-inf/manifest.mf"
        });
        if entries.iter().any(|entry| entry.encrypted) {
            return Look::Encrypted;
        }
        if entries.iter().map(|entry| u64::from(entry.unpacked)).sum::<u64>() > MAX_UNPACKED {
            return Look::TooLarge;
        }
        of(is_document && !is_other)
    }
}

const fn of(agrees: bool) -> Look {
    if agrees { Look::Agrees } else { Look::Differs }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

fn is_word_stream(entry: &[u8]) -> bool {
    let name = WORD_STREAM.encode_utf16().flat_map(u16::to_le_bytes);
    // Its name's length in bytes with the zero behind it, and its kind: a stream.
    let kind = [26, 0, 2];
    name.zip(entry).all(|(wanted, byte)| wanted == *byte) && entry.get(64..67) == Some(kind.as_slice())
}

/// The end record of a ZIP archive.
struct End {
    /// Where it is in the bytes that were looked at.
    at: usize,
    /// The length of the directory in bytes.
    size: u32,
    /// Where the directory is said to be in the archive.
    offset: u32,
    /// Whether nothing follows its comment.
    comment_ends_file: bool,
}

/// The end records of archives in a file's last bytes, the last first.
fn ends(tail: &[u8]) -> impl Iterator<Item = End> + '_ {
    (0..tail.len().saturating_sub(21)).rev().filter_map(|at| {
        let record = tail.get(at..)?;
        if !record.starts_with(b"PK\x05\x06") {
            return None;
        }
        let comment = usize::from(u16_at(record, 20)?);
        let follows = record.len() - 22;
        let end = End {
            at,
            size: u32_at(record, 12)?,
            offset: u32_at(record, 16)?,
            comment_ends_file: comment == follows,
        };
        (comment <= follows).then_some(end)
    })
}

impl End {
    /// The directory, which stands before its end record, when it is one and among the bytes kept. An archive that
    /// something was put in front of has it there too.
    fn directory<'a>(&self, tail: &'a [u8]) -> Option<&'a [u8]> {
        let size = usize::try_from(self.size).ok()?;
        let directory = tail.get(self.at.checked_sub(size)?..self.at)?;
        // An empty archive is one too.
        (size == 0 || directory.starts_with(b"PK\x01\x02")).then_some(directory)
    }
}

struct Entry<'a> {
    name: &'a [u8],
    encrypted: bool,
    /// How many bytes it says it unpacks to; all bits set when it is 4 GiB or more.
    unpacked: u32,
}

/// The entries of a directory; none when it is not made of entries from its beginning to its end.
fn entries(mut directory: &[u8]) -> Option<Vec<Entry<'_>>> {
    let mut entries = Vec::new();
    while !directory.is_empty() {
        let length = |at| u16_at(directory, at).map(usize::from);
        let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
        if !directory.starts_with(b"PK\x01\x02") {
            return None;
        }
        let encrypted = u16_at(directory, 8)? & 1 != 0;
        let unpacked = u32_at(directory, 24)?;
        entries.push(Entry { name: directory.get(46..46 + name)?, encrypted, unpacked });
        directory = directory.get(46 + name + extra + comment..)?;
    }
    Some(entries)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

#[cfg(test)]
#[path = "sniff_tests.rs"]
mod tests;
