//! The hunt for plaintext: every spelling of every line, in files and in a process's memory.
//!
//! What it proves: these bytes are not there now, in any of these spellings. What it cannot prove: that nobody
//! copied them elsewhere before, or stored them encrypted under a key of their own. The first is why the
//! clients are processes of their own; the second is why the server is never given a key.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use aho_corasick::AhoCorasick;
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};

use crate::{Error, Result};

/// Lines shorter than this many bytes would be found by chance.
pub const SHORTEST: usize = 12;

/// How much is read at once.
const CHUNK: usize = 64 * 1024;

/// What memory that was never written holds; comparing with it is quick even where nothing is optimized.
static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// What is hunted.
pub struct Hunt {
    automaton: AhoCorasick,
    spellings: Vec<(usize, &'static str)>,
    lines: Vec<String>,
    longest: usize,
}

/// A line that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The line.
    pub line: String,
    /// How it was spelt.
    pub spelling: &'static str,
    /// Where.
    pub place: String,
}

/// What a search saw.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many bytes were searched.
    pub bytes: u64,
    /// How many files or memory regions.
    pub places: usize,
    /// What was found; each line once a place.
    pub hits: Vec<Hit>,
}

impl Report {
    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.bytes += other.bytes;
        self.places += other.places;
        self.hits.extend(other.hits);
        self
    }
}

impl Hunt {
    /// A hunt for lines of at least [`SHORTEST`] bytes; shorter ones are left out.
    ///
    /// # Errors
    /// When there are too many lines for one search.
    pub fn for_lines(lines: impl IntoIterator<Item = String>) -> Result<Self> {
        let lines: Vec<String> = lines.into_iter().filter(|line| line.len() >= SHORTEST).collect();
        let mut needles: Vec<Vec<u8>> = Vec::new();
        let mut spellings = Vec::new();
        for (number, line) in lines.iter().enumerate() {
            for (spelling, bytes) in spell(line) {
                spellings.push((number, spelling));
                needles.push(bytes);
            }
        }
        let longest = needles.iter().map(Vec::len).max().unwrap_or(0);
        let automaton = AhoCorasick::new(&needles).map_err(Error::internal)?;
        Ok(Self { automaton, spellings, lines, longest })
    }

    /// How many lines are hunted.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// Searches every file below a folder.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn folder(&self, folder: &Path) -> Result<Report> {
        let mut report = Report::default();
        for file in files(folder)? {
            report = report.and(self.file(&file)?);
        }
        Ok(report)
    }

    /// Searches one file.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn file(&self, path: &Path) -> Result<Report> {
        let fail =
            |error: std::io::Error| Error::internal(format!("cannot read {}: {error}", path.display()));
        let mut file = File::open(path).map_err(fail)?;
        let mut search = Search::new(self, path.display().to_string());
        let mut chunk = vec![0; CHUNK];
        loop {
            match file.read(&mut chunk).map_err(fail)? {
                0 => return Ok(search.end()),
                read => search.feed(chunk.get(..read).unwrap_or_default()),
            }
        }
    }

    /// Searches a process's memory: every region it can write to. The process must be this user's.
    ///
    /// # Errors
    /// When the memory cannot be opened.
    pub fn memory(&self, pid: u32) -> Result<Report> {
        let fail = |error: std::io::Error| {
            Error::internal(format!("cannot read the memory of process {pid}: {error}"))
        };
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).map_err(fail)?;
        let mut memory = File::open(format!("/proc/{pid}/mem")).map_err(fail)?;
        let mut report = Report::default();
        for region in maps.lines().filter_map(Region::parse) {
            let mut search = Search::new(self, format!("memory {}", region.name));
            let mut at = region.start;
            if memory.seek(SeekFrom::Start(at)).is_err() {
                continue;
            }
            let mut chunk = vec![0; CHUNK];
            while at < region.end {
                let want = usize::try_from(region.end - at).map_or(CHUNK, |left| left.min(CHUNK));
                // A region may have gone or shrunk since it was listed.
                let Some(room) = chunk.get_mut(..want) else { break };
                let Ok(read) = memory.read(room) else { break };
                if read == 0 {
                    break;
                }
                search.feed(chunk.get(..read).unwrap_or_default());
                at += read as u64;
            }
            report = report.and(search.end());
        }
        Ok(report)
    }
}

/// One place's search, chunk by chunk: a needle may lie across two chunks.
struct Search<'a> {
    hunt: &'a Hunt,
    place: String,
    tail: Vec<u8>,
    bytes: u64,
    found: std::collections::BTreeSet<(usize, &'static str)>,
}

impl<'a> Search<'a> {
    fn new(hunt: &'a Hunt, place: String) -> Self {
        Self { hunt, place, tail: Vec::new(), bytes: 0, found: std::collections::BTreeSet::new() }
    }

    fn feed(&mut self, chunk: &[u8]) {
        self.bytes += chunk.len() as u64;
        self.look(chunk);
        let overlap = self.hunt.longest.saturating_sub(1);
        if overlap == 0 {
            return;
        }
        let mut seam = std::mem::take(&mut self.tail);
        seam.extend_from_slice(chunk.get(..overlap.min(chunk.len())).unwrap_or_default());
        self.look(&seam);
        let keep = if chunk.len() >= overlap { chunk } else { seam.as_slice() };
        self.tail = keep.get(keep.len().saturating_sub(overlap)..).unwrap_or_default().to_vec();
    }

    fn look(&mut self, bytes: &[u8]) {
        // Much of a process's memory was never written.
        if ZEROS.get(..bytes.len()).is_some_and(|zeros| zeros == bytes) {
            return;
        }
        for found in self.hunt.automaton.find_overlapping_iter(bytes) {
            if let Some(spelling) = self.hunt.spellings.get(found.pattern().as_usize()) {
                self.found.insert(*spelling);
            }
        }
    }

    fn end(self) -> Report {
        let hits = self
            .found
            .iter()
            .filter_map(|(line, spelling)| {
                Some(Hit { line: self.hunt.lines.get(*line)?.clone(), spelling, place: self.place.clone() })
            })
            .collect();
        Report { bytes: self.bytes, places: 1, hits }
    }
}

/// A line's spellings, as bytes.
fn spell(line: &str) -> Vec<(&'static str, Vec<u8>)> {
    let utf8 = line.as_bytes();
    let utf16: Vec<u8> = line.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let escaped: String = line
        .encode_utf16()
        .map(|unit| match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() && !byte.is_ascii_control() => char::from(byte).to_string(),
            _ => format!("\\u{unit:04x}"),
        })
        .collect();
    let mut spellings = vec![
        ("text", utf8.to_vec()),
        ("utf-16", utf16),
        ("hexadecimal", crate::audit::hex(utf8).into_bytes()),
        ("base64", base64_core(utf8, 0)),
        ("base64, shifted by one", base64_core(utf8, 1)),
        ("base64, shifted by two", base64_core(utf8, 2)),
    ];
    if escaped != line {
        spellings.push(("json", escaped.into_bytes()));
    }
    spellings
}

/// The digits of base64 that depend on the line alone when `shift` bytes stand before it.
fn base64_core(line: &[u8], shift: usize) -> Vec<u8> {
    let padded = [vec![0; shift], line.to_vec()].concat();
    let digits = STANDARD_NO_PAD.encode(&padded).into_bytes();
    // The first digits hold bits of what stands before, the last one bits of what follows.
    let start = (shift * 8).div_ceil(6);
    let end = padded.len() * 8 / 6;
    digits.get(start..end).unwrap_or_default().to_vec()
}

struct Region<'a> {
    start: u64,
    end: u64,
    name: &'a str,
}

impl<'a> Region<'a> {
    /// A line of `/proc/PID/maps` of memory the process writes to. What is only read is the program's own file,
    /// and the kernel's pages are the kernel's.
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let writable = words.next()?.starts_with("rw");
        let name = words.nth(3).unwrap_or("anonymous");
        if !writable || name.starts_with("[v") {
            return None;
        }
        Some(Self {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            name,
        })
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let fail = |error: std::io::Error| Error::internal(format!("cannot read {}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let path = entry.map_err(fail)?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    const LINE: &str = "¿Tomó la nueva medicación?";

    fn hits(bytes: &[u8]) -> Vec<&'static str> {
        let hunt = Hunt::for_lines([LINE.to_owned()]).unwrap();
        let mut search = Search::new(&hunt, "here".to_owned());
        // In pieces of one byte less than a needle: every needle lies across a seam.
        for chunk in bytes.chunks(LINE.len() - 1) {
            search.feed(chunk);
        }
        search.end().hits.into_iter().map(|hit| hit.spelling).collect()
    }

    #[test]
    fn every_spelling_is_found_wherever_it_stands() {
        for before in 0..7 {
            let text = [vec![b'x'; before], LINE.as_bytes().to_vec(), vec![b'y'; 5]].concat();
            assert_eq!(hits(&text), ["text"]);
            assert!(
                hits(STANDARD.encode(&text).as_bytes())[0].starts_with("base64"),
                "{before} bytes before"
            );
            assert_eq!(hits(crate::audit::hex(&text).as_bytes()), ["hexadecimal"]);
        }
        let utf16: Vec<u8> = LINE.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(hits(&utf16), ["utf-16"]);
        assert_eq!(hits(b"\"\\u00bfTom\\u00f3 la nueva medicaci\\u00f3n?\""), ["json"]);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert!(hits("¿Tomó la vieja medicación?".as_bytes()).is_empty());
        assert!(hits(&vec![0; 100_000]).is_empty());
    }

    #[test]
    fn a_process_finds_its_own_memory() {
        let hunt = Hunt::for_lines(["needle in my own memory".to_owned()]).unwrap();
        let report = hunt.memory(std::process::id()).unwrap();
        assert!(report.bytes > 1_000_000);
        assert!(!report.hits.is_empty());
    }
}
